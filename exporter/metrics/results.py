"""What one workspace's polls leave behind: values in the store, counts in the telemetry, within limits.

A workspace has at most `max_series` values. Where its reports bring more, those that have the most
share what the others leave, and each keeps its largest. A report that comes takes what it needs of
its share from those that are over theirs, one by one and only as there is need: to bring all to
their shares at once would take longer the more there are, and hold the event loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from exporter.config import Workspace
from exporter.metrics.packed import Samples
from exporter.metrics.series_limits import cut, largest, largest_names
from exporter.metrics.store import Record, Store
from exporter.metrics.telemetry import SERIES_DROPPED, Telemetry
from exporter.model.targets import Key

_TOGETHER = 64
"""So many are stored or cut before others have their turn on the loop."""


class Results:
    """Where the results of one workspace go.

    Args:
        workspace: Whose they are.
        store: Takes the values.
        telemetry: Takes the counts.
        changed: Called when the store has other values than before.

    Attributes:
        store: As given, until they go elsewhere.
        telemetry: Likewise.
        changed: As given.
        exactly: Whether a report that must give room gives no more than is needed, because it has no
            other turn to take it back.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: Store,
        telemetry: Telemetry,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._workspace = workspace
        self.store = store
        self.telemetry = telemetry
        self.changed = changed
        self.exactly = False

    def go_elsewhere(self, store: Store, telemetry: Telemetry) -> None:
        """Keep and count what still comes where it is nobody's."""
        self.store, self.telemetry = store, telemetry

    def put(self, key: Key, record: Record, dropped: int = 0) -> None:
        """Store what a success brought, as much of it as there is room for.

        Args:
            key: Whose values.
            record: With all of them.
            dropped: How many of its names were left out already.
        """
        samples, shown = tuple(record.samples), self.store.samples(key)
        named = largest_names(samples, self._workspace.max_labels, shown)
        share = self._make_room(key, len(named))
        kept = largest(named, share, shown)
        left_out = len(named) - len(kept)
        self.dropped("max_labels", dropped + len(samples) - len(named))
        self.dropped("max_series", left_out)
        self.store.put(key, replace(record, samples=Samples.of(kept), left_out=left_out))

    async def put_all(self, records: Mapping[Key, Record]) -> None:
        """Store what is known beside the reports; a few at a time, as others wait for the loop."""
        for number, (key, record) in enumerate(records.items(), 1):
            self.put(key, record)
            if number % _TOGETHER == 0:
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Cut what is over a limit that is lower than it was, before anything is asked; a few at a time."""
        name, limit = self._workspace.name, self._workspace.max_series
        number = 0
        while self.store.series(name) > limit and (key := self.store.largest(name)):
            self._cut(key, self.store.level(name, limit))
            number += 1
            if number % _TOGETHER == 0:
                self.changed()
                await asyncio.sleep(0)
        if number:
            self.changed()

    def dropped(self, reason: str, number: int) -> None:
        """Count what there is no room for."""
        if number:
            place = (self._workspace.api, self._workspace.name)
            self.telemetry.count(SERIES_DROPPED, number, *place, reason)

    def _make_room(self, key: Key, size: int) -> int:
        """Take from the workspace's others what one needs of its share; the share."""
        name, limit = self._workspace.name, self._workspace.max_series
        room = self.store.room(key, size, limit)
        if room is None:
            return size
        before = len(self.store.samples(key))
        while other := self.store.largest(name, but=key):
            need = self.store.series(name) - before + room.share - limit
            kept = len(self.store.samples(other))
            left = cut(kept, room, need, exactly=self.exactly)
            if left == kept:
                break
            self._cut(other, left)
        return room.share

    def _cut(self, key: Key, number: int) -> None:
        self.dropped("max_series", self.store.cut(key, number))
