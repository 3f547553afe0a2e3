"""Keeps the snapshot current: made anew when values change, expire or pass midnight."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from exporter.metrics.snapshot import EMPTY, Snapshot, snapshot
from exporter.metrics.store import Store
from exporter.metrics.telemetry import PAGE_BYTES, SERIES, Telemetry

_SHORTEST_PAUSE: Final = 0.1
_PAUSE_AFTER_A_BUG: Final = 5.0
_SHARE_OF_TIME: Final = 10  # rendering takes at most a tenth of the process's time
_AT_ONCE: Final = 500  # so many values are forgotten before others get a turn
_LONGEST_AHEAD: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=1)

Elsewhere = Callable[..., Awaitable[Any]]
"""Calls a function with arguments where the event loop does not wait for it."""


class SnapshotRefresher:
    """The snapshot that is served, and the task that replaces it.

    A snapshot is made of one generation of the records, beside the event loop. It is made for the
    instant at which it will probably be there: what expires before is not in it.

    Args:
        store: What is on it.
        telemetry: Learns its size.
        now: The present, aware.
        elsewhere: Where it is made.
    """

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        elsewhere: Elsewhere = asyncio.to_thread,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self._elsewhere = elsewhere
        self._changed = asyncio.Event()
        self._one = asyncio.Lock()
        self._took = timedelta()
        self.snapshot = EMPTY
        self._take(snapshot(store.generation(), now()))

    def changed(self) -> None:
        """Let the snapshot be made anew soon."""
        self._changed.set()

    async def current(self) -> Snapshot:
        """A snapshot of what is true now; made first, where something in the last one is not."""
        while not self.snapshot.holds(self._now()):
            await self.refresh(unless_it_holds=True)
        return self.snapshot

    async def refresh(self, *, unless_it_holds: bool = False) -> None:
        """Make the snapshot of what the store has now.

        An error of our own is told as a bug. Then the last snapshot stays until one of its values
        expires; whoever asks later gets the error, and no old value.

        Args:
            unless_it_holds: Only if another has not made one that holds meanwhile.
        """
        async with self._one:
            begun = self._now()
            if unless_it_holds and self.snapshot.holds(begun):
                return
            self._changed.clear()
            at = begun + min(2 * self._took, _LONGEST_AHEAD)
            records = self._store.generation()
            try:
                made = await self._elsewhere(snapshot, records, at, self.snapshot)
            except Exception as error:
                self._telemetry.bug("page", error)
                raise
            self._took = max(self._now() - begun, timedelta())
            self._take(made)
            for some in range(0, len(made.hidden), _AT_ONCE):
                self._store.expire(made.hidden[some : some + _AT_ONCE], at)
                await asyncio.sleep(0)

    async def renewed(self) -> bool:
        """Refresh; whether that went well. What a page cannot be made of ends nobody's work."""
        try:
            await self.refresh()
        except Exception:  # noqa: BLE001 - told already, whatever it was
            return False
        return True

    def _take(self, made: Snapshot) -> None:
        self._telemetry.set(PAGE_BYTES, made.page.size, "identity")
        self._telemetry.set(PAGE_BYTES, made.page.compressed, "gzip")
        gone = dict.fromkeys(self.snapshot.series.keys() - made.series.keys(), 0)
        self.snapshot = made
        for place, series in (gone | dict(made.series)).items():
            if self._telemetry.tells(*place):  # else it is gone since the page was begun
                self._telemetry.set(SERIES, series, *place)

    async def run(self) -> None:
        """Refresh for ever: on every change, and when the next value expires."""
        while True:
            wait = min(self.snapshot.until - self._now(), _LONGEST_WAIT)
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await self._changed.wait()
            except TimeoutError:
                pass  # something expires now
            begun = time.perf_counter()
            made = await self.renewed()
            took = time.perf_counter() - begun
            least = _SHORTEST_PAUSE if made else _PAUSE_AFTER_A_BUG
            await asyncio.sleep(max(least, _SHARE_OF_TIME * took))
