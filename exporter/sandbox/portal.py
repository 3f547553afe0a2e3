"""Portal's analytics: one metric per call, for the whole workspace, newest period first."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final

from exporter.sandbox import figures, reply_shapes, requests
from exporter.sandbox.figures import UTC, Kept, Periods, Scope, Window
from exporter.sandbox.requests import Check, Refusal

_TODAY: Final[dict[str, Check]] = {"metric": requests.text, "timezone": requests.zone}
_DATED: Final = _TODAY | {"from_date": requests.instant, "to_date": requests.instant}
_UNIT: Final[dict[str, Check]] = {"time_unit": requests.TIME_UNIT}
_STATUS: Final = requests.one_of("RESOLVED", "PENDING", "FOLLOW_UP")


@dataclass(frozen=True, slots=True)
class _Call:
    """A validated call; without dates, its periods are those of today in its time zone."""

    periods: Periods
    type: str
    labels: tuple[str, ...]
    kept: Kept
    handling_status: str | None
    year: Window


def report(given: dict[str, object], scope: Scope) -> object:
    """The reply to a call: the metric's name and its data.

    Raises:
        Refusal: 400 for an unknown metric or an invalid year, 422 for fields that are invalid or
            that the metric does not accept.
    """
    # The metric determines which other fields are valid, so it is read first.
    first = {name: value for name, value in given.items() if name == "metric"}
    metric = requests.read(first, {"metric": requests.text}, {"metric"})["metric"]
    if metric not in _METRICS:
        raise Refusal(400, f"Unsupported metric: {metric}")
    checks, required, answer = _METRICS[metric]
    found = requests.read(given, checks, required)
    zone = found.get("timezone", UTC)
    today = datetime.fromtimestamp(scope.now, zone).date()
    midnight = datetime.combine(today, time(), zone)
    window = requests.window(
        found.get("from_date", midnight),
        found.get("to_date", datetime.combine(today, time(23, 59, 59), zone)),
        zone,
        scope,
        field="from_date",
    )
    call = _Call(
        periods=Periods(window, zone, found.get("time_unit", "day")),
        type=found.get("type", "messages"),
        labels=found.get("labels", ()),
        kept="replied" if found.get("exclude_empty_response") else "all",
        handling_status=found.get("handling_status"),
        year=requests.year_window(found.get("year", f"{today.year:04}"), zone),
    )
    return {"metric": metric, **answer(scope, call)}


def _today_communication_volume(of: Scope, call: _Call) -> dict[str, object]:
    return {"time_unit": "day", "data": [figures.volume(of, call.periods.window)]}


def _activity_trend(of: Scope, call: _Call) -> dict[str, object]:
    rows, before = (
        [
            # The document mentions SYSTEM, but its samples never contain it.
            (period, {name: often for name, often in counts.items() if name != "SYSTEM"})
            for period, counts in reply_shapes.activity(of, periods, call.type)
        ]
        for periods in (call.periods, call.periods.before())
    )
    return {
        "time_unit": call.periods.time_unit,
        "data": [{"date": period} | _spelled(period, counts) for period, counts in reversed(rows)],
        "change_percent": reply_shapes.change(reply_shapes.total(rows), reply_shapes.total(before)),
    }


def _spelled(period: str, counts: dict[str, int]) -> dict[str, int]:
    """A row's counts; in about one of five rows, `bot` is lower case as in the documents."""
    odd = zlib.crc32(period.encode()) % 5 == 0
    return {"bot" if odd and name == "BOT" else name: often for name, often in counts.items()}


def _label_usage(of: Scope, call: _Call) -> dict[str, object]:
    usage = reply_shapes.label_usage(of, call.periods, call.labels)
    return {
        "time_unit": call.periods.time_unit,
        "data": [{"date": period, "labels": labels} for period, labels in reversed(usage)],
    }


def _conversation_overview(of: Scope, call: _Call) -> dict[str, object]:
    rows = figures.conversations_by_period(of, call.periods, call.kept, call.handling_status)
    return {
        "time_unit": call.periods.time_unit,
        "data": [{"date": period, "count": often} for period, often in reversed(rows)],
    }


def _total_usage(of: Scope, call: _Call) -> dict[str, object]:
    minutes, responses = figures.usage(of, call.periods.window)
    usage = {"total_voice_minutes": minutes or 0, "total_chat_responses": responses}
    return {"time_unit": call.periods.time_unit, "data": [usage]}


def _conversation_overview_yearly(of: Scope, call: _Call) -> dict[str, object]:
    return reply_shapes.yearly(of, call.year, call.periods.zone)


def _conversation_breakdown(of: Scope, call: _Call) -> dict[str, object]:
    fields = ("user_count", "inbound_message_count")
    return reply_shapes.breakdown(of, call.periods.window, call.periods.zone, fields)


_Answer = Callable[[Scope, _Call], dict[str, object]]
_METRICS: Final[dict[str, tuple[dict[str, Check], frozenset[str], _Answer]]] = {
    "today_communication_volume": (_TODAY, frozenset(), _today_communication_volume),
    "activity_trend": (
        _DATED | _UNIT | {"type": requests.MESSAGE_TYPE},
        frozenset({"type", "time_unit"}),
        _activity_trend,
    ),
    "label_usage": (
        _DATED | _UNIT | {"labels": requests.texts},
        frozenset({"time_unit"}),
        _label_usage,
    ),
    "conversation_overview": (
        _DATED | _UNIT | {"handling_status": _STATUS, "exclude_empty_response": requests.boolean},
        frozenset({"time_unit"}),
        _conversation_overview,
    ),
    # The documents' table has no time_unit, but the sample sends one.
    "total_usage": (_DATED | _UNIT, frozenset(), _total_usage),
    "conversation_overview_yearly": (
        _TODAY | {"year": requests.text},
        frozenset(),
        _conversation_overview_yearly,
    ),
    "conversation_breakdown": (_DATED, frozenset(), _conversation_breakdown),
}
"""The metrics, each with its documented fields, its required fields, and its reply."""
