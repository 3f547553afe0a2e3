"""A circuit breaker that stops the requests to an API that is down. Pure.

While the breaker is closed, requests pass and their results fill a window: the last 50 requests of
the last hour. The breaker opens when at least half of the requests in the window have failed and
the window holds at least 20.

While the breaker is open, it lets one request through per minute: the probe. A successful probe
closes the breaker, and a failed one keeps it open for another minute. Opening empties the window,
so failures from before an outage never reopen the breaker after it.

A probe is a lease. Its lease ends with the request's own deadline, or after a minute if that is
later. So a probe that hangs, or is cancelled and never reports its end, cannot block the next one.

The breaker of a workspace that sends fewer than 20 requests an hour never opens: so few requests
are no burden to an API that is down.

All times are seconds on the monotonic clock; `at` is the present.
"""

from collections import deque
from typing import Final

from exporter.model.durations import TICKS, ticks

PROBE_EVERY: Final = 60.0
"""Seconds from a failed probe to the next one."""

_WINDOW: Final = 3600 * TICKS
_MOST: Final = 50
_LEAST: Final = 20
"""The window: its length, and the most and the fewest requests in it for the breaker to open."""


class CircuitBreaker:
    """A circuit breaker for one workspace.

    Args:
        deadline: Seconds after which every request has ended.
        probe_at: The initial value of the attribute.

    Attributes:
        probe_at: When to send the next probe; None while the breaker is closed.
    """

    def __init__(self, deadline: float, probe_at: float | None = None) -> None:
        self.probe_at = probe_at
        self._lease = max(PROBE_EVERY, deadline)
        self._window: deque[tuple[int, bool]] = deque(maxlen=_MOST)

    def wait(self, at: float) -> float:
        """Seconds until a request may be sent; 0 if it may be sent now."""
        # In ticks: a caller that sleeps exactly this long must not wait again.
        return 0.0 if self.probe_at is None else max(0, ticks(self.probe_at) - ticks(at)) / TICKS

    def sent(self, at: float) -> None:
        """Note that a request is being sent; while the breaker is open, it is the probe."""
        if self.probe_at is not None:
            self.probe_at = at + self._lease

    def ended(self, at: float, *, failed: bool) -> None:
        """Note whether a request failed: the API could not be reached, timed out or failed.

        A refusal such as a 4xx is an answer, so it is no failure.
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
