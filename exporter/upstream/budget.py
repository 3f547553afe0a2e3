"""What a workspace may spend on requests: so many a minute, and perhaps so many a day. Pure.

The bucket starts empty: whatever makes the process start again and again, what it sends stays
below the rate times the time that it ran, without any memory of earlier lives.
"""

from datetime import date, datetime, tzinfo
from fractions import Fraction
from math import ceil
from typing import Final

from exporter.model.durations import TICKS, ticks
from exporter.model.windows import DAY, begins, local_day

CAPACITY: Final = 10
"""How many requests can be saved up while there is nothing to ask."""

SLOWEST: Final = Fraction(1, 600)
"""Requests a second, however often the API says that there are too many: never none."""

_TOGETHER: Final = 60 * TICKS
_REMEMBERED: Final = 3600 * TICKS
"""Refusals within the first count once; after the second without any, all is well."""


class RequestBudget:
    """A token bucket, and a count of the local day's requests.

    Args:
        per_minute: Tokens that come in a minute.
        per_day: Requests allowed on a local day, None for any number.
        zone: Where the day is local.
        at: The present on the monotonic clock, in seconds.
        day: The local day whose requests were counted before.
        spent: How many were.

    Attributes:
        day: The local day whose requests are counted.
    """

    def __init__(
        self,
        per_minute: int,
        per_day: int | None,
        zone: tzinfo,
        at: float,
        day: date | None = None,
        spent: int = 0,
    ) -> None:
        self.day = day
        self._full = Fraction(per_minute, 60)
        self._per_second = self._full
        self._refused_at: int | None = None
        self._per_day = per_day
        self._zone = zone
        self._tokens = Fraction()
        self._at = ticks(at)
        self._spent = spent

    def take(self, at: float, now: datetime) -> float:
        """Spend one request if that is allowed; else how many seconds until it may be.

        Args:
            at: The present on the monotonic clock, in seconds.
            now: The present as an instant, for the day.
        """
        self._refill(at)
        tomorrow = self.until_tomorrow(now)
        if tomorrow:
            return tomorrow
        if self._tokens < 1:
            return ceil((1 - self._tokens) / self._per_second * TICKS) / TICKS
        self._tokens -= 1
        self._spent += 1
        return 0.0

    def until_tomorrow(self, now: datetime) -> float:
        """Seconds until there is a day's budget again, 0 where there is some left."""
        if self.remaining(now) != 0:
            return 0.0
        return (begins(local_day(now, self._zone) + DAY, self._zone) - now).total_seconds()

    def slow_down(self, at: float) -> None:
        """Halve the rate, as the API says that there are too many requests."""
        self._refill(at)
        if self._refused_at is None or self._at - self._refused_at >= _TOGETHER:
            self._per_second = min(self._per_second, max(self._per_second / 2, SLOWEST))
            self._refused_at = self._at  # no later one moves it: those that never cease count, too

    def speed_up(self, at: float) -> None:
        """Double a rate that was halved, as the API answers; the last time only after an hour."""
        self._refill(at)
        if self._refused_at is not None:
            forgotten = self._at - self._refused_at >= _REMEMBERED
            most = self._full if forgotten else max(self._full / 2, self._per_second)
            self._per_second = min(self._per_second * 2, most)
            if self._per_second == self._full:
                self._refused_at = None

    def _refill(self, at: float) -> None:
        before, self._at = self._at, ticks(at)
        come = max(0, self._at - before) * self._per_second / TICKS
        self._tokens = min(Fraction(CAPACITY), self._tokens + come)

    def spent(self, now: datetime) -> int:
        """How many requests were sent on the local day."""
        today = local_day(now, self._zone)
        if today != self.day:
            self.day, self._spent = today, 0
        return self._spent

    def remaining(self, now: datetime) -> int | None:
        """How many requests are left of the local day's, None where there is no such limit."""
        spent = self.spent(now)
        return None if self._per_day is None else max(0, self._per_day - spent)
