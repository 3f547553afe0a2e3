"""The requests of an examination, and what is read of their answers. Pure.

The reports read the answers, as they do for the metrics page: an answer becomes samples. So a
finding is about what the exporter makes of the API, and nothing else of an answer is kept.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from math import ceil, floor
from typing import Final
from zoneinfo import ZoneInfo

from exporter.config import Workspace
from exporter.errors import ReplyError, RequestFailed
from exporter.model.entry import Entry
from exporter.model.reply_values import Period
from exporter.model.report import ABSENT, Absent
from exporter.model.samples import Family, Sample
from exporter.model.targets import Target
from exporter.model.windows import DAY, local_day
from exporter.polling.plan import Call
from exporter.reports import csat
from exporter.reports.catalogue import of_api

RANGE: Final = "last_30_days"
RANGE_DAYS: Final = 30
"""The range that is asked for, and its days."""

LONG: Final = "last_90_days"
"""The window in which something rare is looked for; the longest that the documents advise."""

LONG_AGO: Final = date(2000, 1, 1)
"""A day on which nothing can have happened."""

NO_BOT: Final = "seasalt-exporter-doctor-no-such-bot"
_LAST: Final = "01234567"
"""As many last characters of a bot's id are replaced with one of these."""

NO_LABELS: Final = ("seasalt-exporter-doctor-1", "seasalt-exporter-doctor-2")
"""The names of a bot and of labels that do not exist."""

AROUND: Final = timedelta(seconds=60)
"""How far the window around a rating reaches to both sides."""

Samples = tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request for reports.

    Attributes:
        name: What it is for.
        entries: What it asks for.
        bot: The bot that it is about; empty for the workspace.
        fields: Fields that differ from the entries' own, by SeaChat's spelling.
        days: The days of the dates in `fields`; None to read the rows of any period.
    """

    name: str
    entries: tuple[Entry, ...]
    bot: str = ""
    fields: Mapping[str, str | Absent] = field(default_factory=dict)
    days: Period | None = None

    def body(self, workspace: Workspace, at: datetime) -> dict[str, object]:
        """The body to send at an instant."""
        target = Target(workspace.api, workspace.name, self.bot)
        call = Call(workspace.dialect, target, self.entries)
        body = call.body(local_day(at, workspace.zone))
        for name, value in self.fields.items():
            spelled = workspace.dialect.spelling.get(name, name)
            body.pop(spelled, None)
            if value is not ABSENT:
                body[spelled] = value
        return body

    def apart(self) -> "tuple[Request, ...]":
        """The same as requests of one entry each, for an API that takes no more."""
        return tuple(replace(self, entries=(entry,)) for entry in self.entries)


@dataclass(frozen=True, slots=True, repr=False)  # samples have the names of labels
class Reply:
    """What was read of an answer.

    Attributes:
        sent: When the request was sent.
        seconds: How long it took.
        samples: The samples of each report that could be read.
        beyond: The same, with the rows of periods that were not asked for.
        ratings: When the survey was answered, see `csat.times`.
    """

    sent: datetime
    seconds: float
    samples: Mapping[str, Samples]
    beyond: Mapping[str, Samples]
    ratings: tuple[datetime, ...] = ()

    def of(self, family: Family, *, beyond: bool = False) -> dict[tuple[str, ...], float]:
        """The values of a family, by their labels."""
        given = self.beyond if beyond else self.samples
        return {
            sample.labels: sample.value
            for samples in given.values()
            for sample in samples
            if sample.family is family
        }

    def total(self, family: Family, *, beyond: bool = False) -> float | None:
        """The sum of a family's values; None if it has none."""
        values = self.of(family, beyond=beyond)
        return sum(values.values()) if values else None


def read(request: Request, workspace: Workspace, sent: datetime, answer: object) -> Reply:
    """What the reports make of an answer; the duration is not known here."""
    samples: dict[str, Samples] = {}
    beyond: dict[str, Samples] = {}
    ratings: tuple[datetime, ...] = ()
    for entry in request.entries:
        reading = entry.reading(sent)
        if request.fields:
            reading = replace(reading, days=request.days)
        try:
            part = workspace.dialect.part(answer, entry.metric)
            samples[entry.report.name] = entry.report.read(part, reading)
            beyond[entry.report.name] = entry.report.read(part, replace(reading, days=None))
        except ReplyError:
            continue
        if entry.report is csat.REPORT:
            ratings = csat.times(part)
    return Reply(sent, 0.0, samples, beyond, ratings)


class Evidence:
    """The result of each request so far, and why others were not sent."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], Reply | RequestFailed] = {}
        self._skipped: dict[str, str] = {}

    def skip(self, name: str, why: str) -> None:
        """Note that a request is not sent."""
        self._skipped[name] = why

    def skipped(self, name: str) -> str:
        """Why a request was not sent."""
        return self._skipped.get(name, "what it builds on was not answered")

    def add(self, request: Request, result: Reply | RequestFailed) -> None:
        """Note the result of a request."""
        for entry in request.entries:
            self._results[request.name, entry.report.name] = result

    def answered(self, name: str, report: str) -> Reply | None:
        """The answer to a request for a report, readable or not; None if there was none."""
        found = self._results.get((name, report))
        return found if isinstance(found, Reply) else None

    def reply(self, name: str, report: str) -> Reply | None:
        """The answer to a request for a report; None if there was none that could be read."""
        found = self.answered(name, report)
        return found if found and report in found.samples else None

    def failure(self, name: str, report: str) -> RequestFailed | None:
        """Why a request for a report had no answer; None if it had one, or was not sent."""
        found = self._results.get((name, report))
        return found if isinstance(found, RequestFailed) else None


class Questions:
    """Makes the requests of a workspace's examination.

    Args:
        workspace: The workspace.
        today: Its present local day.
    """

    def __init__(self, workspace: Workspace, today: date) -> None:
        self._workspace = workspace
        self.yesterday = today - DAY

    def first(self) -> Request:
        """Reports of the recent past: whether the API answers at all."""
        if not self._workspace.dialect.many:
            return self._request("first", self._entry("today_communication_volume"))
        overview = self._entry("conversation_overview", window=RANGE)
        return self._request("first", self._entry("label_overview"), overview)

    def labels(self) -> Request:
        """Which labels were used, for an API that does not list them."""
        return self._request("labels", self._entry("label_usage", window=LONG, time_unit="month"))

    def whole_day(self) -> Request:
        """Yesterday as the exporter asks for it: naive dates, and `timezone` beside them."""
        # The dates are fixed, so that midnight may come during the examination.
        return self._request(
            "whole_day",
            self._entry("conversation_breakdown", window="yesterday"),
            self._entry("activity_trend", window="yesterday"),
            fields=_dates(*_edges(self.yesterday)),
            days=Period(self.yesterday, self.yesterday),
        )

    def range_and_dates(self) -> Request:
        """A range, and the dates of the day before yesterday beside it."""
        entries = [self._entry("activity_trend", window="yesterday")]
        if self._workspace.dialect.many:
            entries.append(self._entry("conversation_overview", window=RANGE))
        return self._request(
            "range_and_dates", *entries, fields=_dates(*_edges(self.yesterday - DAY))
        )

    def part_day(self, last_hour: int) -> Request:
        """Yesterday up to the end of an hour."""
        first, _ = _edges(self.yesterday)
        end = datetime.combine(self.yesterday, time(last_hour, 59, 59))
        entry = self._entry("conversation_breakdown", window="yesterday")
        return self._request("part_day", entry, fields=_dates(first, end))

    def offsets(self) -> Request:
        """Yesterday, with the offset from UTC in the dates."""
        zone = self._workspace.zone
        edges = (edge.replace(tzinfo=zone) for edge in _edges(self.yesterday))
        entry = self._entry("conversation_breakdown", window="yesterday")
        return self._request("offsets", entry, fields=_dates(*edges))

    def undated(self) -> Request:
        """One report that takes no dates, and one that requires them, without dates."""
        return self._request(
            "undated",
            self._entry("label_overview"),
            self._entry("communication_volume", window="yesterday"),
            fields={"start_date": ABSENT, "end_date": ABSENT},
        )

    def nothing(self) -> Request:
        """A day on which nothing happened."""
        names = ["total_usage", "activity_trend"]
        if self._workspace.dialect.many:
            names += ["communication_volume", "conversation_breakdown", "label_usage"]
        entries = (self._entry(name, window="yesterday") for name in names)
        return self._request("nothing", *entries, fields=_dates(*_edges(LONG_AGO)))

    def nothing_of_a_bot(self, bot: str) -> Request:
        """The same for the reports that divide by a number of items."""
        return self._request(
            "nothing_of_a_bot",
            self._entry("csat", window="yesterday"),
            self._entry("label_relation", window="yesterday", labels=NO_LABELS),
            bot=bot,
            fields=_dates(*_edges(LONG_AGO)),
        )

    def missing_bot(self, known: Collection[str]) -> Request:
        """A bot that does not exist, with an id of the same form as those of the known bots."""
        bot = absent(known)
        return self._request("missing_bot", self._entry("total_usage", window=LONG), bot=bot)

    def ratings(self, bot: str) -> Request:
        """A bot's ratings and its labels."""
        return self._request(
            "ratings", self._entry("csat", window=LONG), self._entry("label_overview"), bot=bot
        )

    def around(self, bot: str, rating: datetime) -> Request:
        """The ratings of the two minutes around one, if its naive time is in UTC."""
        at = rating.replace(tzinfo=UTC, microsecond=0)
        fields = _dates(at - AROUND, at + AROUND)
        return self._request("around", self._entry("csat", window=LONG), bot=bot, fields=fields)

    def _request(
        self,
        name: str,
        *entries: Entry,
        bot: str = "",
        fields: Mapping[str, str | Absent] | None = None,
        days: Period | None = None,
    ) -> Request:
        return Request(name=name, entries=entries, bot=bot, fields=fields or {}, days=days)

    def _entry(self, metric: str, **options: object) -> Entry:
        report, form = of_api(self._workspace.api)[metric]
        return Entry(
            report=report,
            form=form,
            options=report.options(metric=metric, **options),
            name=metric,
            interval=self._workspace.interval,
            scope="workspace",
            zone=self._workspace.zone,
        )


def _edges(day: date) -> tuple[datetime, datetime]:
    return datetime.combine(day, time()), datetime.combine(day, time(23, 59, 59))


def _dates(start: datetime, end: datetime) -> dict[str, str | Absent]:
    """The two fields, as ISO 8601: with an offset if the datetimes are aware."""
    return {"start_date": start.isoformat(), "end_date": end.isoformat()}


def hours(samples: Iterable[tuple[tuple[str, ...], float]]) -> dict[int, float]:
    """Values by hour, from a family whose last label is the hour."""
    return {int(labels[-1]): value for labels, value in samples}


def last_hour(by_hour: Mapping[int, float]) -> int | None:
    """The hour whose end comes nearest to dividing a day's messages in two equal parts.

    None if there is no hour with messages both up to its end and after it.
    """
    total, best = sum(by_hour.values()), None
    found = total
    for hour in sorted(by_hour):
        before = sum(value for other, value in by_hour.items() if other <= hour)
        if 0 < before < total and abs(2 * before - total) < found:
            best, found = hour, abs(2 * before - total)
    return best


def absent(known: Collection[str]) -> str:
    """An id that none of the known bots has, in the form of one of them if there is one."""
    like = next(iter(known), "")
    made = (like[: -len(_LAST)] + digit * len(_LAST) for digit in _LAST)
    return next((one for one in made if len(like) > len(_LAST) and one not in known), NO_BOT)


def shared_hours(ahead: timedelta) -> range:
    """The whole hours of a day that it shares with the same day elsewhere.

    Args:
        ahead: By how much the clocks here are ahead of those elsewhere.
    """
    hours = ahead / timedelta(hours=1)
    return range(ceil(hours), 24) if hours >= 0 else range(floor(24 + hours))


def offset_matters(zone: ZoneInfo, day: date) -> bool:
    """Whether a local day of a time zone is another one than that of UTC."""
    return any(edge.replace(tzinfo=zone).utcoffset() != timedelta() for edge in _edges(day))
