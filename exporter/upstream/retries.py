"""Which failures are retried, after what backoff, and within what retry budget. Pure.

A limit on the attempts of one request is not enough. In an outage every request fails, so three
attempts each would triple the load just when the API can bear it least. The retry budget therefore
limits the retries of all requests together.

Each scheduled request earns a tenth of a retry, and each retry costs a whole one. The budget holds
at most ten. So over any period, and at any failure rate, retries never exceed 10 % of the scheduled
requests plus a burst of ten.

The budget also pays for the attempt at the other URL of an API that has two, and for a failed
report's turn ahead of its regular one. Such a turn costs a tenth more, because it earns that tenth
back as a scheduled request. The requests into which a refused shared request is split count as
scheduled.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from exporter.errors import Outcome

ATTEMPTS: Final = 3
"""Attempts per request at most, the first one included."""

SHARE: Final = Fraction(1, 10)
SPARE: Final = 10
"""Retries earned per scheduled request, and the most that the budget can hold."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_ATTEMPTS: Final = {
    Outcome.CONNECT: ATTEMPTS,
    Outcome.SERVER_ERROR: ATTEMPTS,
    Outcome.TIMEOUT: 2,  # each attempt takes the full timeout of the API and of the line
}

_AGAIN: Final = frozenset({408, 425})
"""The statuses below 500 that mean no more than "try again later"."""

Uniform = Callable[[float, float], float]
"""Draws a random number between two bounds."""


def pause(
    outcome: Outcome, tried: int, uniform: Uniform, status: int | None = None
) -> float | None:
    """The backoff before the next attempt in seconds, with full jitter; None for no retry.

    The outcome and the HTTP status are those of the last attempt; `tried` counts the attempts.
    """
    if tried >= _ATTEMPTS.get(outcome, ATTEMPTS if status in _AGAIN else 1):
        return None
    return uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tried))


class RetryBudget:
    """The retry budget of one workspace; it starts full.

    Args:
        owed: The part that was spent before a restart or a reload, in requests.
    """

    def __init__(self, owed: float = 0.0) -> None:
        spent = Fraction(owed).limit_denominator(1000)
        self._left = min(max(SPARE - spent, Fraction(0)), Fraction(SPARE))

    @property
    def owed(self) -> float:
        """The spent part of the budget, in requests."""
        return float(SPARE - self._left)

    def earn(self) -> None:
        """Note a scheduled request."""
        self._left = min(Fraction(SPARE), self._left + SHARE)

    def spend(self, cost: Fraction = Fraction(1)) -> bool:
        """Pay for a request beyond the schedule; whether the budget was enough."""
        enough = self._left >= cost
        if enough:
            self._left -= cost
        return enough
