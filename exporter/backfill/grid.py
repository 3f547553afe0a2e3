"""The moments at which the rebuilt series have samples. Pure.

Moments are multiples of the step since the Unix epoch, because dashboards ask at those too. Each
local day has one more, five minutes before it ends: there the values of the whole day stand.
Prometheus looks back five minutes and no longer, so at midnight they are out of sight.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from itertools import pairwise
from typing import Final

from exporter.backfill.plan import WHOLE_DAY
from exporter.model.windows import DAY, begins

FINEST: Final = 300
"""Seconds of the finest step; as far as Prometheus looks back for a sample."""

STEPS: Final = {"5m": FINEST, "1h": 3600, "1d": 86_400}
"""The steps in seconds, by name. With the largest, a day has its last moment alone."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments of some local days in a row.

    Attributes:
        days: The days.
        times: The moments as Unix times, rising.
        begins: The index of each day's first moment; one more than the days have. A day that the
            clocks left out has no moment.
        hours: The index of the moments at which a local hour begins, by the day's number and the
            hour, on those days that are known by the hour.
    """

    days: tuple[date, ...]
    times: "array[int]"
    begins: tuple[int, ...]
    hours: dict[tuple[int, int], int]

    @classmethod
    def of(
        cls, days: Iterable[date], zone: tzinfo, step: int, by_hour: Collection[date] = ()
    ) -> "Grid":
        """The moments of some local days in a row.

        Args:
            days: The days, in order.
            zone: The time zone of the days.
            step: Seconds between two moments, one of `STEPS`.
            by_hour: Days that are known by the hour. They have the finest step.
        """
        given = tuple(days)
        times = array("q")  # a tenth of a list of numbers
        first, hours = [0], dict[tuple[int, int], int]()
        edges = [int(begins(day, zone).timestamp()) for day in (*given, given[-1] + DAY)]
        for number, (day, (begin, end)) in enumerate(zip(given, pairwise(edges), strict=True)):
            if begin == end:
                first.append(len(times))
                continue
            last, every = end - FINEST, FINEST if day in by_hour else step
            if every < STEPS["1d"]:
                times.extend(range(-(-begin // every) * every, last, every))
            times.append(last)
            if day in by_hour:
                for hour in range(WHOLE_DAY):
                    at = int(datetime.combine(day, time(hour), zone).timestamp())
                    place = bisect_left(times, at, first[-1])
                    if place < len(times) and times[place] == at:
                        hours[number, hour] = place
            first.append(len(times))
        return cls(given, times, tuple(first), hours)
