"""The latest values of each report of each target, and how long they may be shown. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from exporter.metrics.packed import Samples
from exporter.metrics.series_limits import NOTHING, Held, Room, Shares, largest
from exporter.model.samples import Sample
from exporter.model.targets import Key

SKEW: Final = timedelta(minutes=1)
"""How far ahead of the clock values may be; beyond it, the clock was set back and their age is unknown."""

LAST: Final = datetime.max.replace(tzinfo=UTC)
"""The last instant that there is."""

RECORDS_OF_A_PART: Final = 256
"""So many records are looked at together, where there are more than a few parts."""

_FEWEST_PARTS: Final = 8

NONE: Final = Samples()


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one report of one target.

    Attributes:
        interval_seconds: The interval in force.
        success: Whether the last try brought values.
        duration_seconds: How long the last try's request took.
        last_success: When values last came, None if never.
        samples: Those values.
        expires: From when on they must not be shown, None if there are none.
        error: Why the last try brought nothing, in words of ours; empty if it did.
        withdrawn: When the window of the values moves on, None if never.
        since: When it came to mean the days that they are of, None if it always did: a clock that
            is set back makes another day of it.
        question: What the values answer, see `Entry.question`; empty where they are no report's.
        left_out: How many values came with them that were too many for the workspace.
    """

    interval_seconds: float
    success: bool = False
    duration_seconds: float = 0.0
    last_success: datetime | None = None
    samples: Sequence[Sample] = NONE
    expires: datetime | None = None
    error: str = ""
    withdrawn: datetime | None = None
    question: str = ""
    left_out: int = 0
    since: datetime | None = None

    @property
    def held(self) -> Held:
        """What it takes of the workspace's room, and what it would take."""
        return Held(len(self.samples) + self.left_out, len(self.samples))

    def without_values(self) -> "Record":
        """The same once its values are gone: they want no room any more, nor do those left out."""
        return replace(self, samples=NONE, left_out=0)

    def paced(self, interval: timedelta, stale_after: float) -> "Record":
        """The same at an interval, with the expiry that follows from it.

        Args:
            interval: In force from now on.
            stale_after: How many of them the values outlive their success.
        """
        expires = expiry(self.last_success, self.withdrawn, interval, stale_after)
        seconds = interval.total_seconds()
        if (self.interval_seconds, self.expires) == (seconds, expires):
            return self
        return replace(self, interval_seconds=seconds, expires=expires)

    def valid(self, now: datetime) -> bool:
        """Whether what the last success said is still true at an instant."""
        known = self.last_success is None or self.last_success <= now + SKEW
        known = known and (self.since is None or self.since <= now)
        return known and self.expires is not None and now < self.expires

    def shown(self, now: datetime) -> Sequence[Sample]:
        """The values that are still true at an instant."""
        return self.samples if self.valid(now) else NONE


def expiry(
    last_success: datetime | None,
    withdrawn: datetime | None,
    interval: timedelta,
    stale_after: float,
) -> datetime | None:
    """From when on values must not be shown: they are too old, or their window moves on."""
    if last_success is None:
        return withdrawn
    try:
        stale = last_success + interval * stale_after
    except OverflowError:  # a file remembers a clock that was set to the end of time
        stale = LAST
    return min(stale, withdrawn) if withdrawn else stale


@dataclass(frozen=True, slots=True, eq=False)
class Generation(Mapping[Key, Record]):
    """All records at an instant, whatever came later.

    Attributes:
        parts: The records by the place of their targets, in the order in which they first came. A
            part in which nothing has changed is the very one of the generation before.
    """

    parts: Sequence[Mapping[Key, Record]] = ({},)

    def __getitem__(self, key: Key) -> Record:
        return self.parts[_part(key, len(self.parts))][key]

    def __iter__(self) -> Iterator[Key]:
        return chain.from_iterable(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def _part(key: Key, number: int) -> int:
    """In which of so many parts the record of a key is."""
    return int(key.target.place * number)


def _parts(records: int, size: int) -> int:
    """Into how many parts so many records go: one if they are few, else a power of two."""
    number = records // size
    return 1 if number < _FEWEST_PARTS else 1 << (number.bit_length() - 1)


class Store:
    """Records by key.

    They are kept in parts. Whoever asks for a generation gets the parts themselves, and what
    changes later is changed in a copy: what all of them cost is paid for a few at a time.

    Args:
        size: Records of a part.
    """

    def __init__(self, size: int = RECORDS_OF_A_PART) -> None:
        self._size = size
        self._parts: list[dict[Key, Record]] = [{}]
        self._given: set[int] = set()  # the parts that a generation has
        self._shares: defaultdict[str, Shares[Key]] = defaultdict(Shares)
        self._keys: defaultdict[str, set[Key]] = defaultdict(set)  # of each workspace

    def put(self, key: Key, record: Record) -> None:
        """Replace a report's values, so that what the answer no longer names is gone."""
        samples = Samples.of(record.samples)
        if samples is not record.samples:
            record = replace(record, samples=samples)
        self._shares[key.target.workspace].put(key, self._held(key), record.held)
        self._set(key, record)

    def fail(
        self, key: Key, error: str, *, duration_seconds: float, interval_seconds: float
    ) -> None:
        """Note a try that brought nothing; values from before stay until they expire."""
        before = self._find(key) or Record(interval_seconds)
        after = replace(
            before,
            success=False,
            error=error,
            duration_seconds=duration_seconds,
            interval_seconds=interval_seconds,
        )
        self._set(key, after)

    def adjust(self, key: Key, question: str, interval: timedelta, stale_after: float) -> None:
        """Let a record from before a reload or a restart live on as the settings now have it.

        What answers another question is forgotten.
        """
        record = self._find(key)
        if record is None:
            return
        paced = record.paced(interval, stale_after)
        if record.last_success and record.question != question:
            self._forget(key)
        elif paced is not record:
            self._set(key, paced)

    def keep(self, keys: AbstractSet[Key], workspace: str) -> None:
        """Forget every record of a workspace but these."""
        for key in self._keys[workspace] - keys:
            self._forget(key)

    def of(self, workspace: str) -> Iterator[Record]:
        """Every record of a workspace."""
        return filter(None, map(self._find, self._keys[workspace]))

    def withdraw(self, key: Key) -> None:
        """Forget a report's values; when they last came is still known."""
        record = self._find(key)
        if record:
            self.put(key, record.without_values())

    def expire(self, keys: Iterable[Key], now: datetime) -> None:
        """Forget those of these keys' values that must not be shown from an instant on."""
        for key in keys:
            record = self._find(key)
            if record and (record.samples or record.left_out) and not record.valid(now):
                self.put(key, record.without_values())

    def series(self, workspace: str) -> int:
        """How many values of a workspace are kept: of its reports, and of what is told of its bots."""
        return self._shares[workspace].kept

    def room(self, key: Key, size: int, limit: int) -> Room | None:
        """What a key may have of its workspace's room, see `Shares.room`."""
        return self._shares[key.target.workspace].room(self._held(key), size, limit)

    def largest(self, workspace: str, but: Key | None = None) -> Key | None:
        """A key of a workspace that has the most values, see `Shares.largest`."""
        return self._shares[workspace].largest(but)

    def level(self, workspace: str, limit: int) -> int:
        """What each key of a workspace may have."""
        return self._shares[workspace].level(limit)

    def cut(self, key: Key, number: int) -> int:
        """Leave the largest values to a key, so many; how many are left out with that."""
        record = self._parts[_part(key, len(self._parts))][key]
        kept = largest(record.samples, number)
        more = len(record.samples) - len(kept)
        left_out = record.left_out + more
        self.put(key, replace(record, samples=Samples.of(kept), left_out=left_out))
        return more

    def _set(self, key: Key, record: Record) -> None:
        self._own(key)[key] = record
        self._keys[key.target.workspace].add(key)

    def _forget(self, key: Key) -> None:
        record = self._own(key).pop(key)
        self._keys[key.target.workspace].remove(key)
        self._shares[key.target.workspace].put(key, record.held, NOTHING)

    def _held(self, key: Key) -> Held:
        record = self._find(key)
        return record.held if record else NOTHING

    def _find(self, key: Key) -> Record | None:
        return self._parts[_part(key, len(self._parts))].get(key)

    def _own(self, key: Key) -> dict[Key, Record]:
        """The part that holds a key, to be changed."""
        index = _part(key, len(self._parts))
        if index in self._given:
            self._given.remove(index)
            self._parts[index] = self._parts[index].copy()
        return self._parts[index]

    def samples(self, key: Key) -> Sequence[Sample]:
        """The values that are kept of one key, none where there is no record."""
        record = self._find(key)
        return record.samples if record else NONE

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        """Every record with its key."""
        return chain.from_iterable(part.items() for part in self._parts)

    def generation(self) -> Generation:
        """All that there is now, whatever comes later."""
        number = _parts(sum(map(len, self._parts)), self._size)
        if number != len(self._parts):
            records = list(self)
            self._parts, self._given = [{} for _ in range(number)], set()
            for key, record in records:
                self._parts[_part(key, number)][key] = record
        self._given.update(range(number))
        return Generation(tuple(self._parts))


@contextmanager
def undone_if_it_fails(store: Store, workspaces: AbstractSet[str]) -> Iterator[None]:
    """Let the records of some workspaces be as they were, should what is done inside fail."""
    before = store.generation()
    try:
        yield
    except BaseException:
        records = [
            (key, record) for key, record in before.items() if key.target.workspace in workspaces
        ]
        keys = {key for key, _ in records}
        for workspace in workspaces:
            store.keep(keys, workspace)
        for key, record in records:
            store.put(key, record)
        raise
