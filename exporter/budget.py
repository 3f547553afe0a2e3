"""What a workspace may spend on requests: so many a minute, and perhaps so many a day. Pure.

The bucket starts empty: whatever makes the process start again and again, what it sends stays
below the rate times the time that it ran, without any memory of earlier lives.
"""

from datetime import date, datetime, tzinfo
from typing import Final

from exporter.windows import DAY, begins, local_day

CAPACITY: Final = 10
"""How many requests can be saved up while there is nothing to ask."""


class Budget:
    """A token bucket, and a count of the local day's requests.

    Args:
        per_minute: Tokens that come in a minute.
        per_day: Requests allowed on a local day, None for any number.
        zone: Where the day is local.
        at: The present on the monotonic clock, in seconds.
    """

    def __init__(self, per_minute: float, per_day: int | None, zone: tzinfo, at: float) -> None:
        self._per_second = per_minute / 60
        self._per_day = per_day
        self._zone = zone
        self._tokens = 0.0
        self._at = at
        self._day: date | None = None
        self._spent = 0

    def take(self, at: float, now: datetime) -> float:
        """Spend one request if that is allowed; else how many seconds until it may be.

        Args:
            at: The present on the monotonic clock, in seconds.
            now: The present as an instant, for the day.
        """
        self._tokens = min(CAPACITY, self._tokens + max(0.0, at - self._at) * self._per_second)
        self._at = at
        if self.remaining(now) == 0:
            tomorrow = begins(local_day(now, self._zone) + DAY, self._zone)
            return (tomorrow - now).total_seconds()
        if self._tokens < 1 - 1e-9:  # a wait of exactly a token's time is enough
            return (1 - self._tokens) / self._per_second
        self._tokens -= 1
        self._spent += 1
        return 0.0

    def spent(self, now: datetime) -> int:
        """How many requests were sent on the local day."""
        today = local_day(now, self._zone)
        if today != self._day:
            self._day, self._spent = today, 0
        return self._spent

    def remaining(self, now: datetime) -> int | None:
        """How many requests are left of the local day's, None where there is no such limit."""
        spent = self.spent(now)
        return None if self._per_day is None else max(0, self._per_day - spent)
