"""The time windows of reports, and the instants at which local days begin. Pure.

Windows are calendar arithmetic on local dates: an instant is first converted to the date in its
time zone. A day begins at its first instant, which is not midnight if a clock change skips it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from exporter.model.reply_values import Period

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
    """A range of local days, named as in the configuration.

    Attributes:
        name: `today`, `last_7_days`, `all` …; the value of the label `window`.
    """

    name: str

    def days(self, today: date) -> Period:
        """The first and the last day, both inclusive, relative to a local day.

        Raises:
            ValueError: For `all` and `last_day`, which do not name calendar days.
        """
        if self.name in CALENDAR:
            unit, back = CALENDAR[self.name]
            start = _STARTS[unit](today)
            return Period(_STARTS[unit](start - DAY), start - DAY) if back else Period(start, today)
        if found := SLIDING.fullmatch(self.name):
            return Period(today - DAY * (int(found[1]) - 1), today)
        raise ValueError(f"{self.name} has no days")

    def moved_on(self, today: date) -> date | None:
        """The local day on which the window moved to its current period; None if it slides.

        A sliding window has no calendar boundary: its values go stale but are never withdrawn.
        """
        if self.name not in CALENDAR:
            return None
        unit, _ = CALENDAR[self.name]
        return _STARTS[unit](today)

    def moves_on(self, today: date) -> date | None:
        """The local day on which the window moves to its next period; None if it slides.

        A window that ends today, such as `this_week`, also grows by a day at each midnight in
        between. Its values still belong to the same week.
        """
        start = self.moved_on(today)
        return self.moved_on(start + DAY * self.longest) if start else None

    @property
    def longest(self) -> int:
        """The most days that it can span; 0 for `all` and `last_day`."""
        if found := SLIDING.fullmatch(self.name):
            return int(found[1])
        return _LONGEST[CALENDAR[self.name][0]] if self.name in CALENDAR else 0


TODAY: Final = Window("today")
THIS_YEAR: Final = Window("this_year")
LAST_YEAR: Final = Window("last_year")
ALL: Final = Window("all")


def window(name: str) -> Window:
    """The window with this name.

    Raises:
        ValueError: If there is none; the message lists the valid names.
    """
    if name in CALENDAR or name in RANGE_TYPES or name == "all" or SLIDING.fullmatch(name):
        return Window(name)
    raise ValueError(f"must be one of {', '.join(CALENDAR)}, last_<N>_days or all")


def local_day(now: datetime, zone: tzinfo) -> date:
    """The local date in a time zone at an instant."""
    return now.astimezone(zone).date()


@lru_cache(maxsize=64)  # nearly all calls are for days near today; they share one object
def begins(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day, in UTC.

    If a clock change skips midnight, the instant of the change. If midnight occurs twice, the
    first.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)
