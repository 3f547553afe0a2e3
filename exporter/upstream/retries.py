"""Which failures are worth another request, how soon, and how many of those there may be. Pure.

Every request beyond the schedule is paid from one credit that the schedule itself fills. So in any
stretch of time, and at any rate of failures, all requests together are at most `1 + SHARE` times
those of the schedule, and `SPARE`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from exporter.errors import Outcome

ATTEMPTS: Final = 3
"""How often the same is asked at most, the first time included."""

SHARE: Final = Fraction(1, 10)
SPARE: Final = 10
"""How many requests there may be beyond the schedule: for each of its own, and saved up at most."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_ATTEMPTS: Final = {
    Outcome.CONNECT: ATTEMPTS,
    Outcome.SERVER_ERROR: ATTEMPTS,
    Outcome.TIMEOUT: 2,  # each costs the API, and whoever waits behind it, the whole time
}

_AGAIN: Final = frozenset({408, 425})
"""Statuses below 500 that say nothing but: not now."""

Uniform = Callable[[float, float], float]
"""A random number between two bounds."""


def pause(
    outcome: Outcome, tried: int, uniform: Uniform, status: int | None = None
) -> float | None:
    """Seconds until the same is asked again, with full jitter; None where that is of no use.

    Args:
        outcome: How the request ended.
        tried: How often it was sent.
        uniform: The source of randomness.
        status: The HTTP status, if an answer came at all.
    """
    if tried >= _ATTEMPTS.get(outcome, ATTEMPTS if status in _AGAIN else 1):
        return None
    return uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tried))


class RetryBudget:
    """How many requests beyond the schedule may be sent now.

    Args:
        owed: How much of it was spent in an earlier life.
    """

    def __init__(self, owed: float = 0.0) -> None:
        spent = Fraction(owed).limit_denominator(1000)
        self._left = min(max(SPARE - spent, Fraction(0)), Fraction(SPARE))

    @property
    def owed(self) -> float:
        """How much of it is spent."""
        return float(SPARE - self._left)

    def earn(self) -> None:
        """Note a request of the schedule."""
        self._left = min(Fraction(SPARE), self._left + SHARE)

    def spend(self, cost: Fraction = Fraction(1)) -> bool:
        """Pay for one beyond it; whether there was enough."""
        enough = self._left >= cost
        if enough:
            self._left -= cost
        return enough
