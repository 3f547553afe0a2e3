"""The windows that a report can be asked for, and where local days begin. Pure.

Windows are calendar arithmetic on local dates; an instant comes in with its zone and is turned
into a date first. A day begins at its first instant, which is not midnight where the clocks jump
over it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from exporter.model.values import Period

DAY: Final = timedelta(days=1)

_STARTS: Final[dict[str, Callable[[date], date]]] = {
    "day": lambda day: day,
    "week": lambda day: day - DAY * day.weekday(),
    "month": lambda day: day.replace(day=1),
    "year": lambda day: day.replace(month=1, day=1),
}
_LONGEST: Final = {"day": 1, "week": 7, "month": 31, "year": 366}

RANGE_TYPES: Final = ("last_day", "last_7_days", "last_30_days", "last_90_days", "last_180_days")
"""The API's own ranges (SeaChat Analytics API, "Request Fields", `range_type`)."""

CALENDAR: Final = {
    "today": ("day", 0),
    "yesterday": ("day", 1),
    "this_week": ("week", 0),
    "last_week": ("week", 1),
    "this_month": ("month", 0),
    "last_month": ("month", 1),
    "this_year": ("year", 0),
    "last_year": ("year", 1),
}
SLIDING: Final = re.compile(r"last_([1-9]\d{0,3})_days", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of local days, named as in the configuration.

    Attributes:
        name: `today`, `last_7_days`, `all` …; the value of the label `window`.
    """

    name: str

    def days(self, today: date) -> Period:
        """The first and the last day, both included, as seen from a local day.

        Raises:
            ValueError: For `all`, and for a range of the API's own that has no days of ours.
        """
        if self.name in CALENDAR:
            unit, back = CALENDAR[self.name]
            start = _STARTS[unit](today)
            return Period(_STARTS[unit](start - DAY), start - DAY) if back else Period(start, today)
        if found := SLIDING.fullmatch(self.name):
            return Period(today - DAY * (int(found[1]) - 1), today)
        raise ValueError(f"{self.name} has no days")

    @property
    def sliding(self) -> bool:
        """Whether the window moves with every instant, so that its values stay true for a while."""
        return self.name not in CALENDAR

    def moved_on(self, today: date) -> date | None:
        """The local day on which the window came to mean the days that it means, None if it slides."""
        if self.sliding:
            return None
        unit, _ = CALENDAR[self.name]
        return _STARTS[unit](today)

    def moves_on(self, today: date) -> date | None:
        """The local day on which the window comes to mean other days, None if it slides.

        A window that runs up to today, `this_week` say, grows by a day before that: its values
        still belong to the same week.
        """
        if self.sliding:
            return None
        unit, _ = CALENDAR[self.name]
        return _STARTS[unit](_STARTS[unit](today) + DAY * _LONGEST[unit])

    @property
    def longest(self) -> int:
        """The number of days that it can span at most."""
        if found := SLIDING.fullmatch(self.name):
            return int(found[1])
        return _LONGEST[CALENDAR[self.name][0]] if self.name in CALENDAR else 0


TODAY: Final = Window("today")
THIS_YEAR: Final = Window("this_year")
LAST_YEAR: Final = Window("last_year")
ALL: Final = Window("all")


def window(name: str) -> Window:
    """The window of that name.

    Raises:
        ValueError: If there is none; says which there are.
    """
    if name in CALENDAR or name in RANGE_TYPES or name == "all" or SLIDING.fullmatch(name):
        return Window(name)
    raise ValueError(f"must be one of {', '.join(CALENDAR)}, last_<N>_days or all")


def local_day(now: datetime, zone: tzinfo) -> date:
    """The date that the calendar shows in a zone at an instant."""
    return now.astimezone(zone).date()


@lru_cache(maxsize=64)  # nearly always of the days about today, and one object for all
def begins(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day, in UTC.

    Where midnight is skipped, the instant of the jump; where it comes twice, the first.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)
