"""The latest values of each report of each target, and how long they may be shown. Pure.

A page with many bots takes a while to render. It is rendered in another thread, while the polls
continue to change the store on the event loop. The renderer needs a consistent view that does not
change: a generation. To copy all records for each generation would block the event loop, so the
store copies on write.

The records are divided into parts. A generation holds the parts themselves, and the store marks
them as shared. The first write to a shared part replaces it in the store with a copy; later writes
change the copy in place, until the next generation shares it again. So a generation costs next to
nothing, and a write copies one part at most.

A part that was not written to is the same object in two successive generations. The renderer
recognises it by identity and skips it, see `snapshot`.

The position of its target determines the part of a record. Targets that are polled at about the
same time therefore share a part, and a round of polls dirties the parts one after the other. The
number of parts follows the number of records; it changes only when a generation is taken.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from exporter.errors import Cause, RequestFailed
from exporter.metrics.packed_samples import Samples
from exporter.metrics.series_limits import NOTHING, Held, Shares, largest
from exporter.model.reply_values import Fields
from exporter.model.samples import Sample
from exporter.model.targets import Key

SKEW: Final = timedelta(minutes=1)
"""How far in the future a success may lie before the clock must have been set back.

The age of such values is unknown, so they are not shown.
"""

LAST: Final = datetime.max.replace(tzinfo=UTC)
"""The latest instant that a `datetime` can represent."""

RECORDS_OF_A_PART: Final = 256
"""The fewest records per part, on average, if there is more than one part."""

_FEWEST_PARTS: Final = 8

NONE: Final = Samples()


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one report of one target.

    Attributes:
        interval_seconds: The interval in force.
        success: Whether the last poll succeeded.
        duration_seconds: How long the last poll's request took.
        last_success: When a poll last succeeded; None if never.
        samples: The values of that success.
        expires: When the values must no longer be shown; None if no poll has succeeded.
        error: Why the last poll failed, in the exporter's own words; empty if it succeeded.
        withdrawn: When the values must go whatever their age: their window moves on, or their bot
            is gone; None if never.
        since: When the window last moved on before the values; None if never. If the clock is set
            back before that, the window has another meaning.
        question: The fingerprint of the question that the values answer, see `Entry.question`;
            empty for facts about a target.
        left_out: How many values of the last success were dropped for the workspace's limit.
        fields: The fields that the answers had so far, to notice if one goes.
        failing_since: When the first poll failed after the last success; None if the last poll
            succeeded, or if nobody knows any more.
        cause: Why the last poll failed; None if it succeeded, or if nobody knows any more.
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
    fields: Fields = ()
    failing_since: datetime | None = None
    cause: Cause | None = None

    @property
    def held(self) -> Held:
        """How many values it has with and without those left out."""
        return Held(len(self.samples) + self.left_out, len(self.samples))

    def without_values(self) -> "Record":
        """A copy without values, which no longer counts towards the limit on series."""
        return replace(self, samples=NONE, left_out=0)

    def withdrawn_at(self, now: datetime) -> "Record":
        """A copy whose values were withdrawn at an instant, if they had not expired before."""
        until = self.expires and min(self.expires, now)
        return replace(self.without_values(), expires=until, withdrawn=until)

    def paced(self, interval: timedelta, stale_after: float) -> "Record":
        """A copy with another interval, and with the expiry that follows from it."""
        expires = expiry(self.last_success, self.withdrawn, interval, stale_after)
        seconds = interval.total_seconds()
        if (self.interval_seconds, self.expires) == (seconds, expires):
            return self
        return replace(self, interval_seconds=seconds, expires=expires)

    def valid(self, now: datetime) -> bool:
        """Whether the values of the last success may be shown at an instant."""
        known = self.last_success is None or self.last_success <= now + SKEW
        known = known and (self.since is None or self.since <= now)
        return known and self.expires is not None and now < self.expires

    def shown(self, now: datetime) -> Sequence[Sample]:
        """The values that may be shown at an instant."""
        return self.samples if self.valid(now) else NONE


def expiry(
    last_success: datetime | None,
    withdrawn: datetime | None,
    interval: timedelta,
    stale_after: float,
) -> datetime | None:
    """When values must no longer be shown: when they go stale or their window moves on."""
    if last_success is None:
        return withdrawn
    try:
        stale = last_success + interval * stale_after
    except OverflowError:  # restored from a run whose clock was near year 9999
        stale = LAST
    return min(stale, withdrawn) if withdrawn else stale


@dataclass(frozen=True, slots=True, eq=False)
class Generation(Mapping[Key, Record]):
    """An immutable view of all records at an instant.

    Attributes:
        parts: The records by the position of their targets, each part in order of first insertion.
            A part without a change is the same object as in the previous generation.
    """

    parts: Sequence[Mapping[Key, Record]] = ({},)

    def __getitem__(self, key: Key) -> Record:
        return self.parts[_part(key, len(self.parts))][key]

    def __iter__(self) -> Iterator[Key]:
        return chain.from_iterable(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def _part(key: Key, number: int) -> int:
    """The index of the part that holds a key, for a number of parts."""
    return int(key.target.place * number)


def _parts(records: int, size: int) -> int:
    """The number of parts for a number of records: one if they are few, else a power of two."""
    number = records // size
    return 1 if number < _FEWEST_PARTS else 1 << (number.bit_length() - 1)


class Store:
    """All records by key, in parts that are copied on write.

    Args:
        size: The fewest records per part, on average, if there is more than one part.
    """

    def __init__(self, size: int = RECORDS_OF_A_PART) -> None:
        self._size = size
        self._parts: list[dict[Key, Record]] = [{}]
        self._given: set[int] = set()  # the parts that a generation shares
        self._shares: defaultdict[str, Shares[Key]] = defaultdict(Shares)
        self._keys: defaultdict[str, set[Key]] = defaultdict(set)  # by workspace

    def put(self, key: Key, record: Record) -> None:
        """Replace the record of a key; series missing from the new one are gone."""
        samples = Samples.of(record.samples)
        if samples is not record.samples:
            record = replace(record, samples=samples)
        self._shares[key.target.workspace].put(key, self.held(key), record.held)
        self._set(key, record)

    def fail(
        self, key: Key, error: RequestFailed, *, now: datetime, interval_seconds: float
    ) -> None:
        """Note a failed poll; the values of the last success stay until they expire."""
        before = self._find(key) or Record(interval_seconds)
        after = replace(
            before,
            success=False,
            error=str(error),
            duration_seconds=error.seconds,
            interval_seconds=interval_seconds,
            # A failure that was restored without its beginning keeps it unknown.
            failing_since=before.failing_since if before.error else now,
            cause=error.cause,
        )
        self._set(key, after)

    def adjust(self, key: Key, question: str, interval: timedelta, stale_after: float) -> None:
        """Apply the settings in force to a record from before a reload or a restart.

        If its values answer another question, the record is deleted.
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
        """Delete every record of a workspace except these."""
        for key in self._keys[workspace] - keys:
            self._forget(key)

    def of(self, workspace: str) -> Iterator[Record]:
        """Every record of a workspace."""
        return filter(None, map(self._find, self._keys[workspace]))

    def withdraw(self, key: Key, now: datetime) -> None:
        """Delete a report's values at an instant, but keep the time of its last success."""
        if record := self._find(key):
            self.put(key, record.withdrawn_at(now))

    def expire(self, keys: Iterable[Key], now: datetime) -> None:
        """Delete the values of those keys that must not be shown at an instant."""
        for key in keys:
            record = self._find(key)
            if record and (record.samples or record.left_out) and not record.valid(now):
                self.put(key, record.without_values())

    def shares(self, workspace: str) -> Shares[Key]:
        """The number of values of each report of a workspace, its bot list included."""
        return self._shares[workspace]

    def held(self, key: Key) -> Held:
        """How many values a key has; none if there is no record."""
        record = self._find(key)
        return record.held if record else NOTHING

    def cut(self, key: Key, number: int) -> int:
        """Cut a key to its largest values, at most `number`, and return how many were removed."""
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

    def _find(self, key: Key) -> Record | None:
        return self._parts[_part(key, len(self._parts))].get(key)

    def _own(self, key: Key) -> dict[Key, Record]:
        """The part that holds a key, safe to write to: copied first if it is shared."""
        index = _part(key, len(self._parts))
        if index in self._given:
            self._given.remove(index)
            self._parts[index] = self._parts[index].copy()
        return self._parts[index]

    def samples(self, key: Key) -> Sequence[Sample]:
        """The stored values of a key; none if there is no record."""
        record = self._find(key)
        return record.samples if record else NONE

    def last_success(self, key: Key) -> datetime | None:
        """When a key's values came; None if there are none, or no record."""
        record = self._find(key)
        return record.last_success if record else None

    def fields(self, key: Key) -> Fields:
        """The fields that the answers for a key had so far; none if there is no record."""
        record = self._find(key)
        return record.fields if record else ()

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        """Every record with its key."""
        return chain.from_iterable(part.items() for part in self._parts)

    def generation(self) -> Generation:
        """An immutable view of the records as they are now."""
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
    """Restore the records of some workspaces if the body of the `with` statement raises."""
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
