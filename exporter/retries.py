"""Which failures are worth another request, how soon, and how many of those there may be. Pure.

Every request beyond the schedule is paid from one credit that the schedule itself fills. So in any
stretch of time, and at any rate of failures, all requests together are at most `1 + SHARE` times
those of the schedule, and `SPARE`.
"""

from collections.abc import Callable
from typing import Final

from exporter.errors import Outcome

ATTEMPTS: Final = 3
"""How often the same is asked at most, the first time included."""

SHARE: Final = 0.1
SPARE: Final = 10
"""How many requests there may be beyond the schedule: for each of its own, and saved up at most."""

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_ATTEMPTS: Final = {
    Outcome.CONNECT: ATTEMPTS,
    Outcome.SERVER_ERROR: ATTEMPTS,
    Outcome.TIMEOUT: 2,  # each costs the API, and whoever waits behind it, the whole time
}

Uniform = Callable[[float, float], float]
"""A random number between two bounds."""


def pause(outcome: Outcome, tried: int, uniform: Uniform) -> float | None:
    """Seconds until the same is asked again, with full jitter; None where that is of no use.

    Args:
        outcome: How the request ended.
        tried: How often it was sent.
        uniform: The source of randomness.
    """
    if tried >= _ATTEMPTS.get(outcome, 1):
        return None
    return uniform(0.0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tried))


class Credit:
    """How many requests beyond the schedule may be sent now.

    Args:
        owed: How much of it was spent in an earlier life.
    """

    def __init__(self, owed: float = 0.0) -> None:
        self._left = min(max(SPARE - owed, 0.0), float(SPARE))

    @property
    def owed(self) -> float:
        """How much of it is spent."""
        return SPARE - self._left

    def earn(self) -> None:
        """Note a request of the schedule."""
        self._left = min(SPARE, self._left + SHARE)

    def spend(self, cost: float = 1.0) -> bool:
        """Pay for one beyond it; whether there was enough."""
        enough = self._left >= cost - 1e-9  # ten tenths are enough
        if enough:
            self._left -= cost
        return enough
