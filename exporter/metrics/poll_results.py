"""Stores the results of one workspace's polls, within its limit on series.

A workspace keeps at most `max_series` values. If its reports have more, each report gets a fair
share of the limit and keeps its largest values (see `series_limits`). A limit is enforced as values
arrive: a report that needs room takes it, up to its share, from the reports that keep the most.

Reports are cut one at a time, and only as far as needed. To cut all of them to their shares at once
would take longer the more there are, and would block the event loop. What does not fit is counted
in `seasalt_series_dropped_total`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from exporter.config import Workspace
from exporter.metrics.packed_samples import Samples
from exporter.metrics.series_limits import Shares, cut, largest
from exporter.metrics.store import Record, Store
from exporter.metrics.telemetry import SERIES_DROPPED, Telemetry
from exporter.model.targets import Key

_TOGETHER = 16
"""How many records are stored or cut before other tasks get a turn on the event loop."""


@dataclass(eq=False)
class Results:
    """The destination of one workspace's results.

    Attributes:
        _workspace: The workspace, with its limit.
        store: Receives the values; another one once the workspace is retired.
        telemetry: Receives the counts; likewise.
        changed: Called after values in the store have changed.
        exactly: Whether reports are cut no further than to their share, because they have no later
            poll that would restore the rest.
    """

    _workspace: Workspace
    store: Store
    telemetry: Telemetry
    changed: Callable[[], None] = lambda: None
    exactly: bool = False

    def put(self, key: Key, record: Record) -> None:
        """Store the values of a successful poll, as far as `max_series` allows."""
        samples = record.samples
        share = self._make_room(key, len(samples))
        kept = largest(samples, share, self.store.samples(key))
        left_out = len(samples) - len(kept)
        self.dropped("max_series", left_out)
        self.store.put(key, replace(record, samples=Samples.of(kept), left_out=left_out))

    async def put_all(self, records: Mapping[Key, Record]) -> None:
        """Store records in batches, and let other tasks run on the event loop in between."""
        for number, (key, record) in enumerate(records.items(), 1):
            self.put(key, record)
            if number % _TOGETHER == 0:
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Cut stored values to a lowered `max_series`, in batches, before the first poll."""
        limit = self._workspace.max_series
        while self._shares.kept > limit:
            level, _ = self._shares.level(limit)
            for _ in range(_TOGETHER):
                if self._shares.kept > limit and (key := self._shares.largest()):
                    self._cut(key, level)
            self.changed()
            await asyncio.sleep(0)

    def dropped(self, reason: str, number: int) -> None:
        """Count dropped values, if any, under a reason."""
        if number:
            place = (self._workspace.api, self._workspace.name)
            self.telemetry.count(SERIES_DROPPED, number, *place, reason)

    @property
    def _shares(self) -> Shares[Key]:
        return self.store.shares(self._workspace.name)

    def _make_room(self, key: Key, size: int) -> int:
        """Cut other reports until a key's share fits, and return the share."""
        limit, before = self._workspace.max_series, self.store.held(key)
        room = self._shares.room(before, size, limit)
        if room is None:
            return size
        while other := self._shares.largest(but=key):
            need = self._shares.kept - before.kept + room.share - limit
            kept = len(self.store.samples(other))
            left = cut(kept, room, need, exactly=self.exactly)
            if left >= kept:
                break
            self._cut(other, left)
        return room.share

    def _cut(self, key: Key, number: int) -> None:
        self.dropped("max_series", self.store.cut(key, number))
