"""Keeps the snapshot current: made anew when values change, expire or pass midnight."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from exporter.exposition import Snapshot, snapshot
from exporter.store import Store
from exporter.telemetry import PAGE_BYTES, SERIES, Telemetry

_SHORTEST_PAUSE: Final = 0.1
_SHARE_OF_TIME: Final = 10  # rendering takes at most a tenth of the process's time


class Pages:
    """The snapshot that is served, and the task that replaces it.

    Args:
        store: What is on it.
        telemetry: Learns its size.
        now: The present, aware.
    """

    def __init__(self, store: Store, telemetry: Telemetry, now: Callable[[], datetime]) -> None:
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self._changed = asyncio.Event()
        self._snapshot: Snapshot
        self._made: datetime
        self._expiry: datetime | None
        self.refresh()

    @property
    def snapshot(self) -> Snapshot:
        """What to serve now: nothing that has expired, whatever the clock has done meanwhile.

        The task that replaces it may be late: it rests after a long page, and sleeps by another
        clock, which a suspended machine stops.
        """
        now = self._now()
        if now < self._made or (self._expiry and now >= self._expiry):
            self.refresh()
        return self._snapshot

    def changed(self) -> None:
        """Let the snapshot be made anew soon."""
        self._changed.set()

    def refresh(self) -> None:
        """Make the snapshot of this instant."""
        self._changed.clear()
        now = self._now()
        self._store.expire(now)
        self._snapshot = made = snapshot(self._store, now)
        self._made, self._expiry = now, self._store.next_expiry(now)
        self._telemetry.set(PAGE_BYTES, made.size, "identity")
        self._telemetry.set(PAGE_BYTES, len(made.deflated), "gzip")
        for place, series in made.series.items():
            self._telemetry.set(SERIES, series, *place)

    async def run(self) -> None:
        """Refresh for ever: on every change, and when the next value expires."""
        while True:
            wait = (self._expiry - self._now()).total_seconds() if self._expiry else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass  # something expires now
            begun = time.perf_counter()
            self.refresh()
            took = time.perf_counter() - begun
            await asyncio.sleep(max(_SHORTEST_PAUSE, _SHARE_OF_TIME * took))
