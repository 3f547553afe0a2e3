"""Until when the API wants to be left alone. Pure."""

from typing import Final

from exporter.retries import Uniform
from exporter.retry_after import LONGEST

_JITTER: Final = 0.1
_FIRST: Final = 60.0
_LONGEST: Final = 540.0
"""Seconds after a refusal that names no time: the first of a row, and what they grow to.

Short of ten minutes, after which a failed report is asked for again.
"""


class Parking:
    """When requests may be sent again.

    Args:
        until: On the monotonic clock, in seconds.
        uniform: The source of randomness.

    Attributes:
        until: As given, and as the API asked since.
    """

    def __init__(self, until: float, uniform: Uniform) -> None:
        self.until = until
        self._uniform = uniform
        self._unsaid = _FIRST

    def park(self, at: float, wish: float | None) -> None:
        """Send nothing for as long as the API asks, and up to a tenth longer: never less.

        Args:
            at: The present on the monotonic clock, in seconds.
            wish: The seconds that it asked for, None if it did not say.
        """
        if wish is None:
            wish, self._unsaid = self._unsaid, min(self._unsaid * 2, _LONGEST)
        length = min(wish + self._uniform(0.0, wish * _JITTER), LONGEST)
        self.until = max(self.until, at + length)

    def heed(self, until: float) -> None:
        """Send nothing before a time that another has been told."""
        self.until = max(self.until, until)

    def succeeded(self) -> None:
        """Note that the API answers: the next refusal is the first of a row."""
        self._unsaid = _FIRST

    def wait(self, at: float) -> float:
        """Seconds until a request may be sent, 0 if now."""
        return max(0.0, self.until - at)
