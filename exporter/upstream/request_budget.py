"""The request budget of a workspace: a rate per minute and an optional limit per day. Pure.

The rate per minute is a token bucket. Tokens arrive at the rate, a request takes one, and the
bucket holds at most `CAPACITY` of them. The bucket starts empty. A process that crashes and
restarts in a loop therefore never sends more than the rate times its running time, and nothing
about the bucket has to survive a restart. With a full bucket, every restart would send a burst.

Each 429 halves the rate, and each success doubles it again up to half of the configured rate. The
full rate returns an hour after the refusal, so a rate that the API refuses is not retried at once.
Refusals within a minute count once, because requests that are in flight together are refused
together.

The limit per day counts the requests of the local day. It does survive a restart.

If several shards share the budget, each has a part of the rate, of the bucket and of the limit per
day, see `exporter.model.shards`.

Tokens are exact fractions and times are whole microseconds. A caller that sleeps exactly as long as
`take` says therefore finds a whole token, and no rounding error makes it wait again.

`at` is the present on the monotonic clock in seconds, and `now` the same as an aware instant.
"""

from datetime import date, datetime, tzinfo
from fractions import Fraction
from math import ceil
from typing import Final

from exporter.model.durations import TICKS, ticks
from exporter.model.windows import DAY, begins, local_day

CAPACITY: Final = 10
"""Tokens that the bucket can hold, so the largest burst after an idle time."""

SLOWEST: Final = Fraction(1, 600)
"""Requests per second below which repeated refusals never push the rate."""

_TOGETHER: Final = 60 * TICKS
_REMEMBERED: Final = 3600 * TICKS
"""Refusals within a minute count once; an hour after the last counted one, full rate is allowed."""


class RequestBudget:
    """A token bucket, and a counter of the local day's requests.

    Args:
        per_minute: Tokens added per minute; a fraction if other shards have the rest.
        per_day: Requests allowed per local day; None for no limit.
        zone: The time zone of the local day.
        at: The present.
        day: The local day that was counted before a restart; None if there was none.
        spent: The requests counted on that day.
        capacity: Tokens that the bucket can hold.
        by_day: Whether the rate keeps the limit per day: tokens are lost at local midnight, so that no
            day gets more than its own, and the count stops nothing.

    Attributes:
        day: The local day that is being counted.
    """

    def __init__(  # noqa: PLR0913 - the last two are of shards alone
        self,
        per_minute: Fraction | int,
        per_day: int | None,
        zone: tzinfo,
        at: float,
        day: date | None = None,
        spent: int = 0,
        capacity: int = CAPACITY,
        *,
        by_day: bool = False,
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
        self._capacity = capacity
        self._by_day = by_day
        self._filled_on: date | None = None

    def take(self, at: float, now: datetime) -> float:
        """Spend one request and return 0, or return the seconds to wait if none is allowed yet."""
        self._refill(at)
        today = local_day(now, self._zone)
        if self._by_day and today != self._filled_on:
            self._tokens, self._filled_on = Fraction(), today
        tomorrow = self.until_tomorrow(now)
        if tomorrow:
            return tomorrow
        if self._tokens < 1:
            return ceil((1 - self._tokens) / self._per_second * TICKS) / TICKS
        self._tokens -= 1
        self._spent += 1
        return 0.0

    def until_tomorrow(self, now: datetime) -> float:
        """Seconds until the next local day if this day's budget is spent, else 0.

        Among several shards, the rate keeps the limit: what was counted when a shard had a larger part
        says nothing about the smaller one.
        """
        if self._by_day or self.remaining(now) != 0:
            return 0.0
        return (begins(local_day(now, self._zone) + DAY, self._zone) - now).total_seconds()

    def slow_down(self, at: float) -> None:
        """Halve the rate after a refusal for too many requests."""
        self._refill(at)
        if self._refused_at is None or self._at - self._refused_at >= _TOGETHER:
            self._per_second = min(self._per_second, max(self._per_second / 2, SLOWEST))
            self._refused_at = self._at  # only here: steady refusals must keep counting

    def speed_up(self, at: float) -> None:
        """Double a reduced rate after a success; the step to the full rate takes an hour."""
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
        self._tokens = min(Fraction(self._capacity), self._tokens + come)

    def spent(self, now: datetime) -> int:
        """The requests sent on the current local day."""
        today = local_day(now, self._zone)
        if today != self.day:
            self.day, self._spent = today, 0
        return self._spent

    def remaining(self, now: datetime) -> int | None:
        """The requests left on the current local day; None if the day has no limit."""
        spent = self.spent(now)
        return None if self._per_day is None else max(0, self._per_day - spent)
