"""Parts of replies that the three APIs share, in the format of the documents."""

from calendar import day_name, month_name
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from exporter.sandbox import figures
from exporter.sandbox.figures import Kept, Periods, Scope, Window


def zulu(at: int) -> str:
    """UTC epoch seconds as a date and time with `Z`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}Z"


def change(current: int, previous: int) -> float:
    """The change in percent with two decimals; from zero to a positive number it is 100."""
    if previous == 0:
        return 100.0 if current else 0.0
    return round(100 * (current - previous) / previous, 2)


def overview(scope: Scope, window: Window, kept: Kept) -> dict[str, object]:
    """The totals of a window, their changes from the preceding window, and both windows."""
    before = window.before()
    now, then = (figures.overview(scope, span, kept) for span in (window, before))
    changes = {
        f"{name}_change_percentage": change(now[name], then[name])
        for name in now
        if name != "distinct_user_count"
    }
    return {
        **now,
        **changes,
        "current_period_start": zulu(window.since),
        "current_period_end": zulu(window.until),
        "previous_period_start": zulu(before.since),
        "previous_period_end": zulu(before.until),
    }


def yearly(
    scope: Scope, year: Window, zone: ZoneInfo, months: Iterable[str] = ()
) -> dict[str, object]:
    """The totals of a year, of the given months, and of the other months with messages.

    Without conversations the average is the number of messages.
    """
    conversations = figures.overview(scope, year, "all")["conversations"]
    rows = figures.messages_by_period(scope, Periods(year, zone, "month"))
    monthly = dict.fromkeys(months, 0) | {
        month_name[int(period[5:])]: sum(counts.values()) for period, counts in rows
    }
    messages = sum(monthly.values())
    return {
        "total_conversations": conversations,
        "total_messages": messages,
        "average_messages_per_conversation": round(messages / max(conversations, 1), 2),
        "monthly_messages": monthly,
    }


def activity(scope: Scope, periods: Periods, kind: str) -> list[tuple[str, dict[str, int]]]:
    """(period, its messages by sender or calls by direction), oldest first."""
    if kind == "messages":
        return figures.messages_by_period(scope, periods)
    return figures.calls_by_period(scope, periods)


def total(rows: Iterable[tuple[str, dict[str, int]]]) -> int:
    """The sum of all counts of all periods."""
    return sum(sum(counts.values()) for _, counts in rows)


def label_usage(
    scope: Scope, periods: Periods, labels: Sequence[str]
) -> list[tuple[str, list[dict[str, object]]]]:
    """(period, its labels with counts), oldest first; see `figures.labels_by_period`."""
    rows = figures.labels_by_period(scope, periods, labels)
    return [
        (period, [{"name": name, "count": often} for _, name, often in found])
        for period, found in groupby(rows, key=itemgetter(0))
    ]


def breakdown(
    scope: Scope, window: Window, zone: ZoneInfo, fields: Iterable[str]
) -> dict[str, Any]:
    """The given fields of each channel, and messages by weekday and by hour, all of them."""
    by_day = dict.fromkeys(day_name, 0)
    by_hour = {str(hour): 0 for hour in range(24)}
    for weekday, hour, often in figures.weekday_hours(scope, window, zone):
        by_day[day_name[weekday]] += often
        by_hour[str(hour)] += often
    return {
        "channel_summary": {
            channel["channel"]: {field: channel[field] for field in fields}
            for channel in figures.channels(scope, window)
        },
        "messages_by_day": by_day,
        "messages_by_hour": by_hour,
    }
