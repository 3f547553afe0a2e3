"""Strict validation of requests: anything that the documents do not describe is rejected.

A rejected body is answered with the documented validation error: a list of `{loc, msg, type}`, one
for each mistake.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from exporter.sandbox.figures import UTC, Kept, Periods, Scope, Window
from exporter.sandbox.temperaments import Temper, Temperament

RANGE_DAYS: Final = {
    "last_day": 1,
    "last_7_days": 7,
    "last_30_days": 30,
    "last_90_days": 90,
    "last_180_days": 180,
}
"""The predefined ranges, as the number of 24-hour days that end now."""

_DATETIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_YEAR: Final = re.compile(r"\d{4}", re.ASCII)


class Refusal(Exception):
    """The request is answered with an error; has the HTTP status, more headers, and the body."""

    def __init__(
        self,
        status: int,
        detail: object,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers)
        self.body = {"detail": detail} | more


class Wrong(ValueError):
    """A field's value is invalid; has the message and type for the validation error."""

    def __init__(self, msg: str, kind: str) -> None:
        super().__init__(msg)
        self.kind = kind


Check = Callable[[object], Any]
"""Converts a field's JSON value for further use, or raises `Wrong`."""


def mistake(loc: Sequence[str | int], msg: str, kind: str) -> dict[str, object]:
    """One entry of a validation error."""
    return {"loc": list(loc), "msg": msg, "type": kind}


def text(value: object) -> str:
    """A non-empty string."""
    if not isinstance(value, str):
        raise Wrong("str type expected", "type_error.str")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Wrong("str is not valid Unicode", "value_error.str")
    if not value:
        raise Wrong("ensure this value has at least 1 characters", "value_error.any_str.min_length")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of non-empty strings."""
    if not isinstance(value, list):
        raise Wrong("value is not a valid list", "type_error.list")
    return tuple(text(item) for item in value)


def some_texts(value: object) -> tuple[str, ...]:
    """A list of at least one non-empty string."""
    if not (items := texts(value)):
        raise Wrong("ensure this value has at least 1 items", "value_error.list.min_items")
    return items


def boolean(value: object) -> bool:
    """A JSON boolean; other types are not converted."""
    if not isinstance(value, bool):
        raise Wrong("value could not be parsed to a boolean", "type_error.bool")
    return value


def one_of(*members: str) -> Check:
    """A check for one of the members of an enumeration."""

    def member(value: object) -> str:
        if value not in members:
            permitted = ", ".join(f"'{name}'" for name in members)
            raise Wrong(
                f"value is not a valid enumeration member; permitted: {permitted}",
                "type_error.enum",
            )
        return str(value)

    return member


_zone_names: Final = cache(available_timezones)  # looking them up takes long


def zone(value: object) -> ZoneInfo:
    """A time zone, given by its name in the tz database."""
    name = text(value)
    if name not in _zone_names():
        raise Wrong("unknown time zone", "value_error.timezone")
    return ZoneInfo(name)


def instant(value: object) -> datetime:
    """An ISO 8601 date and time, naive or with `Z` or an offset."""
    found, wrong = text(value), Wrong("invalid datetime format", "value_error.datetime")
    if not _DATETIME.fullmatch(found):
        raise wrong
    try:
        return datetime.fromisoformat(found)
    except ValueError:
        raise wrong from None


TIME_UNIT: Final = one_of("day", "month", "year")
MESSAGE_TYPE: Final = one_of("messages", "calls")


def json_object(body: bytes, content_type: str) -> dict[str, object]:
    """The request's body, which must be a JSON object with a JSON content type.

    Raises:
        Refusal: 422 with a validation error.
    """
    if not body:
        raise Refusal(422, [mistake(["body"], "field required", "value_error.missing")])
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(422, [mistake(["body"], "value is not a valid dict", "type_error.dict")])
    try:
        found = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise Refusal(
            422, [mistake(["body", place], "body is not valid JSON", "value_error.jsondecode")]
        ) from None
    if not isinstance(found, dict):
        raise Refusal(422, [mistake(["body"], "value is not a valid dict", "type_error.dict")])
    return found


def _no_constant(name: str) -> float:
    raise ValueError(name)


def read(
    given: Mapping[str, object],
    checks: Mapping[str, Check],
    required: Collection[str],
    place: str = "body",
) -> dict[str, Any]:
    """The given fields, validated; omitted fields remain absent.

    Raises:
        Refusal: 422 with a validation error that lists every mistake.
    """
    mistakes = [
        mistake([place, name], "field required", "value_error.missing")
        for name in checks
        if name in required and name not in given
    ]
    found = {}
    for name, value in given.items():
        try:
            found[name] = checks.get(name, _not_permitted)(value)
        except Wrong as wrong:
            mistakes.append(mistake([place, name], str(wrong), wrong.kind))
    if mistakes:
        raise Refusal(422, mistakes)
    return found


def _not_permitted(_: object) -> None:
    raise Wrong("extra fields not permitted", "value_error.extra")


def epoch(when: datetime, clock: ZoneInfo) -> int:
    """The datetime in UTC epoch seconds, rounded down; a naive one is local time in the zone."""
    aware = when if when.tzinfo else when.replace(tzinfo=clock)
    return int(aware.timestamp() // 1)


def window(
    start: datetime | None,
    end: datetime | None,
    clock: ZoneInfo,
    of: Scope,
    field: str,
) -> Window:
    """The window from `start` to the end of the second of `end`; by default, all data's.

    Raises:
        Refusal: 422 for `field` if the start is after the end.
    """
    if Temperament.UTC_DATES in of.temper:
        clock = UTC
    if Temperament.WHOLE_DAYS in of.temper:
        start = start and _at(start, clock, time())
        end = end and _at(end, clock, time(23, 59, 59))
    since = of.everything.since if start is None else epoch(start, clock)
    until = of.everything.until if end is None else epoch(end, clock) + 1
    if start is not None and end is not None and since >= until:
        raise Refusal(
            422, [mistake(["body", field], "start is after end", "value_error.date_range")]
        )
    return Window(since, until)


def _at(when: datetime, clock: ZoneInfo, at: time) -> datetime:
    """Another time of the same local day."""
    local = when.astimezone(clock) if when.tzinfo else when
    return datetime.combine(local.date(), at, clock)


def year_window(year: str, clock: ZoneInfo) -> Window:
    """A calendar year in the time zone.

    Raises:
        Refusal: 400 with the documented text if the year is not valid and of four digits.
    """
    # The year 9999 cannot be used, because its end is not a valid datetime.
    if not _YEAR.fullmatch(year) or not 1 <= int(year) <= 9998:
        raise Refusal(400, "Invalid year format")
    first = datetime(int(year), 1, 1, tzinfo=clock)
    return Window(epoch(first, clock), epoch(first.replace(year=int(year) + 1), clock))


@dataclass(frozen=True, slots=True)
class Asked:
    """A validated call for several metrics, as SeaChat and SeaX accept it."""

    metrics: tuple[str, ...]
    window: Window
    """The requested dates; without a start, since the first event; without an end, until now."""
    ranged: Window
    """The predefined range, or the dates if none was requested."""
    year: Window
    """The year, or the dates if none was requested."""
    zone: ZoneInfo
    message_type: str
    time_unit: str
    exclude_empty_response: bool
    labels: tuple[str, ...]
    agents: tuple[str, ...]
    gptbot_id: str | None
    dates: dict[str, object]
    """`start_date` and `end_date` as the request has them."""
    refused: Mapping[str, object]
    """The error of each metric that is refused alone; with `partial-batches` only."""

    @property
    def periods(self) -> Periods:
        """The dates, divided by the time unit."""
        return Periods(self.window, self.zone, self.time_unit)

    def kept(self, when_excluded: Kept) -> Kept:
        """Which conversations the overview counts: `when_excluded` if empty ones are excluded."""
        return when_excluded if self.exclude_empty_response else "all"


_SHARED: Final[dict[str, Check]] = {
    "metrics": some_texts,
    "message_type": MESSAGE_TYPE,
    "time_unit": TIME_UNIT,
    "timezone": zone,
    "start_date": instant,
    "end_date": instant,
    "range_type": one_of(*RANGE_DAYS),
    "exclude_empty_response": boolean,
    "labels": texts,
    "year": text,
}
_DATED: Final = frozenset(
    {
        "activity_trend",
        "communication_volume",
        "conversation_breakdown",
        "label_relation",
        "label_usage",
    }
)


def asked(
    given: Mapping[str, object],
    supported: Collection[str],
    more: dict[str, Check],
    of: Scope,
) -> Asked:
    """A validated call for several metrics; one mistake or unknown metric rejects the whole call.

    Args:
        given: The body.
        supported: The metrics of this API.
        more: Checks of the fields that only this API has.
        of: Whose figures are requested.

    Raises:
        Refusal: 422 for an invalid field, 400 for an unsupported metric or a missing field.
    """
    found = read(given, _SHARED | more, {"metrics"})
    metrics = tuple(dict.fromkeys(found["metrics"]))
    clock = found.get("timezone", UTC)
    dates = window(found.get("start_date"), found.get("end_date"), clock, of, field="start_date")
    if Temperament.RANGE_OR_DATES in of.temper and "range_type" in found and "start_date" in found:
        raise Refusal(400, "Use either range type or start date and end date")
    refused: dict[str, object] = {}
    for metric, refusal in _refusals(metrics, supported, found, of.temper):
        if Temperament.PARTIAL_BATCHES not in of.temper:
            raise refusal
        refused.setdefault(metric, refusal.body)
    return Asked(
        metrics=metrics,
        window=dates,
        ranged=_ranged(found, clock, of, dates),
        year=year_window(found["year"], clock) if "year" in found else dates,
        zone=clock,
        message_type=found.get("message_type", "messages"),
        time_unit=found.get("time_unit", "month"),
        exclude_empty_response=found.get("exclude_empty_response", False),
        labels=found.get("labels", ()),
        agents=found.get("agents", ()),
        gptbot_id=found.get("gptbot_id"),
        dates={name: given.get(name) for name in ("start_date", "end_date")},
        refused=refused,
    )


def _ranged(found: Mapping[str, Any], clock: ZoneInfo, of: Scope, dates: Window) -> Window:
    """The window of the predefined range; the dates if they count instead."""
    days, now = RANGE_DAYS.get(found.get("range_type", ""), 0), of.everything.until
    dated = "start_date" in found and "end_date" in found
    if not days or (dated and Temperament.DATES_WIN in of.temper):
        return dates
    if Temperament.CALENDAR_RANGES not in of.temper:
        return Window(now - 86_400 * days, now)
    today = datetime.fromtimestamp(now, clock).date()
    first, last = (
        datetime.combine(today - timedelta(days=back), time(), clock) for back in (days, 0)
    )
    return Window(epoch(first, clock), epoch(last, clock))


def _refusals(
    metrics: Sequence[str], supported: Collection[str], found: Mapping[str, Any], temper: Temper
) -> Iterator[tuple[str, Refusal]]:
    """Each metric that cannot be computed, with the reason; unsupported metrics come first."""
    for metric in metrics:
        if metric not in supported:
            yield metric, Refusal(400, f"Unsupported metric: {metric}")
    for metric in metrics:
        try:
            _require(metric, found, temper)
        except Refusal as refusal:
            yield metric, refusal


def _require(metric: str, found: Mapping[str, Any], temper: Temper) -> None:
    dated = "start_date" in found and "end_date" in found
    dated = dated or Temperament.OPTIONAL_DATES in temper
    if metric == "conversation_overview" and "range_type" not in found:
        raise Refusal(400, "Range type is required for conversation overview")
    if metric == "conversation_overview_yearly" and "year" not in found:
        raise Refusal(400, "Year is required for conversation overview yearly")
    if metric == "csat" and "gptbot_id" not in found:
        raise Refusal(400, "gptbot_id is required for csat")
    needs_dates = metric in _DATED or (metric == "agent_activity" and "range_type" not in found)
    if needs_dates and not dated:
        spoken = metric.replace("_", " ")
        raise Refusal(400, f"Start date and end date are required for {spoken}")
    if metric == "label_relation" and len(found.get("labels", ())) != 2:
        raise Refusal(400, "Label relation requires exactly 2 labels")
