"""Parts of replies that the three APIs share, in the format of the documents."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Final, TypedDict
from zoneinfo import ZoneInfo

from exporter.sandbox import figures
from exporter.sandbox.figures import Kept, Periods, Scope, Window

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS: Final = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)


class Yearly(TypedDict):
    """A year in total and by month."""

    total_conversations: int
    total_messages: int
    average_messages_per_conversation: float
    monthly_messages: dict[str, int]


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
    now, then = (asdict(figures.overview(scope, span, kept)) for span in (window, before))
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


def yearly(scope: Scope, year: Window, zone: ZoneInfo) -> Yearly:
    """The totals of a year, and of each month with messages.

    Without conversations the average is the number of messages.
    """
    conversations = figures.overview(scope, year, "all").conversations
    rows = figures.messages_by_period(scope, Periods(year, zone, "month"))
    monthly = {MONTHS[int(period[5:]) - 1]: sum(counts.values()) for period, counts in rows}
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


def label_periods(
    rows: Iterable[tuple[str, str, int]],
) -> list[tuple[str, list[dict[str, object]]]]:
    """(period, labels with counts), from the rows of `figures.labels_by_period`."""
    return [
        (period, [{"name": name, "count": often} for _, name, often in labels])
        for period, labels in groupby(rows, key=itemgetter(0))
    ]


def weekdays(rows: Iterable[tuple[int, int, int]]) -> dict[str, int]:
    """Messages by name of the weekday, all seven, from the rows of `figures.weekday_hours`."""
    found = dict.fromkeys(WEEKDAYS, 0)
    for weekday, _, often in rows:
        found[WEEKDAYS[weekday]] += often
    return found


def hours(rows: Iterable[tuple[int, int, int]]) -> dict[str, int]:
    """Messages by hour, all 24, from the rows of `figures.weekday_hours`."""
    found = {str(hour): 0 for hour in range(24)}
    for _, hour, often in rows:
        found[str(hour)] += often
    return found
