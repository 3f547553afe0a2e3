"""Stops asking an API that is down, but for a probe now and then. Pure.

A probe is a lease: it ends by itself, so that none that hangs or is called off can keep the next
from being sent.
"""

from collections import deque
from typing import Final

from exporter.model.durations import TICKS, ticks

PROBE_EVERY: Final = 60.0
"""Seconds from one failed probe to the next."""

_WINDOW: Final = 3600 * TICKS
_MOST: Final = 50
_LEAST: Final = 20
"""Opens when of the last hour's last 50 requests, and at least 20, half have failed.

A workspace that asks less is no burden to an API that is down, and is not held back.
"""


class CircuitBreaker:
    """Whether the API is asked at all.

    Args:
        deadline: Seconds after which a request has ended in any case.
        probe_at: When to probe, on the monotonic clock in seconds; None for closed.

    Attributes:
        probe_at: As given, and as the requests since have it.
    """

    def __init__(self, deadline: float, probe_at: float | None = None) -> None:
        self.probe_at = probe_at
        self._lease = max(PROBE_EVERY, deadline)
        self._window: deque[tuple[int, bool]] = deque(maxlen=_MOST)

    def wait(self, at: float) -> float:
        """Seconds until a request may be sent, 0 if now."""
        # In ticks, as whoever waits so long must find that the time has come.
        return 0.0 if self.probe_at is None else max(0, ticks(self.probe_at) - ticks(at)) / TICKS

    def sent(self, at: float) -> None:
        """Note that a request is on its way; while the breaker is open it is the probe."""
        if self.probe_at is not None:
            self.probe_at = at + self._lease

    def ended(self, at: float, *, failed: bool) -> None:
        """Note how a request ended.

        Args:
            at: The present on the monotonic clock, in seconds.
            failed: Whether the API could not be reached or failed; a refusal is an answer.
        """
        if self.probe_at is not None:
            self.probe_at = at + PROBE_EVERY if failed else None
            return
        self._window.append((ticks(at), failed))
        while ticks(at) - self._window[0][0] > _WINDOW:
            self._window.popleft()
        failures = sum(failed for _, failed in self._window)
        if len(self._window) >= _LEAST and 2 * failures >= len(self._window):
            self._window.clear()
            self.probe_at = at + PROBE_EVERY
