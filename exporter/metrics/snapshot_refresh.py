"""Keeps the snapshot current: renews it when values change, expire or are withdrawn."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from exporter.metrics.snapshot import EMPTY, Snapshot, snapshot
from exporter.metrics.store import Store
from exporter.metrics.telemetry import PAGE_BYTES, SERIES, Telemetry

_SHORTEST_PAUSE: Final = 1.0
_PAUSE_AFTER_A_BUG: Final = 5.0
_SHARE_OF_TIME: Final = 10  # rendering takes less than a tenth of the time
_AT_ONCE: Final = 500  # records expired before other tasks get a turn
_LONGEST_AHEAD: Final = timedelta(seconds=30)
_LONGEST_WAIT: Final = timedelta(hours=1)

log = logging.getLogger(__name__)

Elsewhere = Callable[..., Awaitable[Any]]
"""Runs a function with arguments without blocking the event loop."""


class SnapshotRefresher:
    """The snapshot to serve, and the task that renews it.

    A snapshot is rendered from one generation of the records, off the event loop. It is rendered
    for the instant at which it will probably be ready, so it omits values that expire until then.

    Args:
        store: The store whose values it shows.
        telemetry: Receives the size of the page and the number of series.
        now: Returns the current instant, aware.
        elsewhere: Runs the rendering.
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
        """Request a refresh."""
        self._changed.set()

    async def current(self) -> Snapshot:
        """A snapshot that may be shown now; refreshed first if the last one may not."""
        while not self.snapshot.holds(self._now()):
            await self.refresh(unless_it_holds=True)
        return self.snapshot

    async def refresh(self, *, unless_it_holds: bool = False) -> None:
        """Render a snapshot of the current records.

        An exception while rendering is a bug: it is logged, counted and raised again. The last
        snapshot stays until one of its values expires. After that, `current` raises the error
        rather than return an expired value. With `unless_it_holds`, nothing is done if a concurrent
        refresh has produced a valid snapshot.
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
                self._telemetry.bug("page", error, log)
                raise
            self._took = max(self._now() - begun, timedelta())
            self._take(made)
            for some in range(0, len(made.hidden), _AT_ONCE):
                self._store.expire(made.hidden[some : some + _AT_ONCE], at)
                await asyncio.sleep(0)

    async def renewed(self) -> bool:
        """Refresh, and return whether it succeeded; a rendering bug never stops the caller."""
        try:
            await self.refresh()
        except Exception:  # noqa: BLE001 - already logged
            return False
        return True

    def _take(self, made: Snapshot) -> None:
        self._telemetry.set(PAGE_BYTES, made.page.size, "identity")
        self._telemetry.set(PAGE_BYTES, made.page.compressed, "gzip")
        gone = dict.fromkeys(self.snapshot.series.keys() - made.series.keys(), 0)
        self.snapshot = made
        for place, series in (gone | dict(made.series)).items():
            if self._telemetry.tells(*place):  # or it was removed during rendering
                self._telemetry.set(SERIES, series, *place)

    async def run(self) -> None:
        """Refresh on every change and whenever a value expires, forever."""
        while True:
            wait = min(self.snapshot.until - self._now(), _LONGEST_WAIT)
            with suppress(TimeoutError):  # a value expires now
                async with asyncio.timeout(wait.total_seconds()):
                    await self._changed.wait()
            begun = time.perf_counter()
            made = await self.renewed()
            took = time.perf_counter() - begun
            least = _SHORTEST_PAUSE if made else _PAUSE_AFTER_A_BUG
            await asyncio.sleep(max(least, _SHARE_OF_TIME * took))
