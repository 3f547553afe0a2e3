"""The encoding of the state file. Pure.

The first line holds a magic word, the format version, the SHA-256 digest and the size of the rest,
and the number of memories. The rest is compressed text: each workspace's memory as one line of
JSON, and then each report's record.

The series of a record take far more space than its values, and the bots of a workspace mostly have
the same. So the first record with some series holds them, and those after it hold their number. An
empty line begins a part of the store, and the numbers anew: a part that has not changed since the
last write is not encoded again.

A state is read as a whole or not at all. Its loss costs one round of requests, but a wrong state
would show wrong values. So `decoded` checks three things in turn:

1. The digest and the size detect a truncated or corrupted file.
2. Typed models validate the shape of each line.
3. Plausibility checks refuse values that no process of ours writes, such as an instant outside the
   years 2000 to 2999.

Series name their metric family. A value whose family no longer exists is left out, so a state
survives an upgrade that removes a metric. Files of version 1, which was not compressed and held all
series of each record, are still read.

Lines are encoded one by one, because the encoder holds the interpreter's lock for the length of
each. The event loop gets its turn between two lines.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from gzip import GzipFile
from hashlib import sha256
from io import BytesIO
from itertools import chain, compress as chosen
from sys import float_info
from typing import Final, NamedTuple

from pydantic import NonNegativeInt, TypeAdapter

from exporter.config.validation import RESERVED_LABELS
from exporter.errors import StateError
from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.packed_samples import Samples, Shape
from exporter.metrics.store import Generation, Record
from exporter.model.bot_list import BOT_ID
from exporter.model.reply_values import Drift, shared
from exporter.model.samples import Family
from exporter.model.targets import Key, Target
from exporter.state.workspace_memory import Memory

VERSION: Final = 2

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a state before compression; a larger one is neither written nor read."""

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)
_MOST_SECONDS: Final = 1e9
_MOST: Final = 2**53
_MOST_LABELS: Final = 100
_MOST_LEFT_OUT: Final = 1_000_000  # more than any answer can hold
_ID: Final = re.compile(BOT_ID, re.ASCII)
_LABEL: Final = re.compile("(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

_MAGIC: Final = b"seasalt-exporter-state"
_FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in API_FAMILIES}


_Series = tuple[str, tuple[str, ...]]
"""The name of a family, and the values of its labels."""


class _Row(NamedTuple):
    """A report's record, with its samples moved out of it: their series, or the number of those."""

    key: Key
    record: Record
    series: NonNegativeInt | tuple[_Series, ...]
    values: tuple[float, ...]


class _RowOfVersion1(NamedTuple):
    """The same in version 1, with each value beside its series."""

    key: Key
    record: Record
    samples: tuple[tuple[str, tuple[str, ...], float], ...]


class _Known(NamedTuple):
    """Series that were read: those of known families, and for each that was read whether it is one."""

    shape: Shape
    known: tuple[bool, ...]

    @classmethod
    def of(cls, series: Iterable[_Series]) -> "_Known":
        """The series with these names and label values."""
        families = [(_FAMILIES.get(name), labels) for name, labels in series]
        known = tuple(
            [
                family is not None and len(labels) == len(family.labels)
                for family, labels in families
            ]
        )
        kept = tuple(chosen(families, known))
        shape = Shape.of(
            tuple([family for family, _ in kept if family]),
            tuple(chain.from_iterable([labels for _, labels in kept])),
        )
        return cls(shape, known)

    def samples(self, values: Sequence[float]) -> Samples:
        """The samples with these values.

        Raises:
            ValueError: If there are not as many as series.
        """
        if len(values) != len(self.known):
            raise ValueError
        return Samples.restored(self.shape, tuple(chosen(values, self.known)))


@cache  # made on first use: most processes have no state file
def _memories() -> TypeAdapter[Memory]:
    return TypeAdapter(Memory)


@cache
def _rows() -> TypeAdapter[_Row]:
    return TypeAdapter(_Row)


@cache
def _rows_of_version_1() -> TypeAdapter[_RowOfVersion1]:
    return TypeAdapter(_RowOfVersion1)


@dataclass(frozen=True, slots=True)
class State:
    """Everything that survives a restart.

    Attributes:
        memories: One for each workspace.
        records: The record of each report; its values may have expired since.
    """

    memories: tuple[Memory, ...] = ()
    records: Generation = field(default_factory=Generation)


class Encoder:
    """Encodes one state after another.

    Args:
        most: The largest number of bytes of a state before compression.
    """

    def __init__(self, most: int = LARGEST) -> None:
        self._most = most
        self._pieces: dict[int, tuple[Mapping[Key, Record], Piece]] = {}

    def encoded(self, state: State) -> bytes:
        """The state as the content of the state file.

        Raises:
            StateError: If the state is too large.
        """
        memories = [_memories().dump_json(memory) + b"\n" for memory in state.memories]
        head = Piece.of(b"".join(memories))
        size, pieces = head.size, {}
        for part in state.records.parts:
            known = self._pieces.get(id(part))
            piece = known[1] if known else Piece.of(b"".join(_lines(part)))
            pieces[id(part)] = part, piece  # as long as the part is held, no other has its id
            size += piece.size
            if size > self._most:
                raise StateError(f"is larger than {self._most} bytes")
        self._pieces = pieces
        packed = Piece.joined((head, *(piece for _, piece in pieces.values()))).member()
        payload = b"".join(packed)
        digest = sha256(payload).hexdigest().encode()
        first = (_MAGIC, VERSION, digest, len(payload), len(memories))
        return b"%s %d %s %d %d\n" % first + payload


def encoded(state: State, most: int = LARGEST) -> bytes:
    """A state, encoded once.

    Raises:
        StateError: If the state is too large.
    """
    return Encoder(most).encoded(state)


def _lines(part: Mapping[Key, Record]) -> Iterator[bytes]:
    numbers: dict[Shape, int] = {}
    yield b"\n"
    for key, record in part.items():
        samples = Samples.of(record.samples)
        series: int | tuple[_Series, ...] | None = numbers.get(samples.shape)
        if series is None:
            series = tuple([(family.name, labels) for family, labels in samples.shape])
            numbers[samples.shape] = len(numbers)
        row = _Row(key, replace(record, samples=()), series, samples.values)
        yield _rows().dump_json(row) + b"\n"


def decoded(content: bytes, most: int = LARGEST) -> State:
    """The state in the content of a state file; values of unknown families are left out.

    Args:
        content: The content.
        most: The largest number of bytes of a state before compression.

    Raises:
        StateError: If the content is damaged, of another version, too large, or implausible.
    """
    first, _, payload = content.partition(b"\n")
    magic, _, rest = first.partition(b" ")
    if magic != _MAGIC:
        raise StateError("is no state file")
    version, *words = rest.split(b" ")
    if version not in {b"1", b"%d" % VERSION}:
        raise StateError("is of another version")
    if words[:2] != [sha256(payload).hexdigest().encode(), b"%d" % len(payload)]:
        raise StateError("is damaged")
    old, stream = version == b"1", BytesIO(payload)
    try:
        lines = _bounded(stream if old else GzipFile(fileobj=stream), most)
        heads = [next(lines) for _ in range(int(words[2]))]
        memories = tuple(_memories().validate_json(line, context=Drift()) for line in heads)
        records = _plausible(map(_record_of_version_1, lines) if old else _records(lines))
    except StateError:
        raise
    except Exception:  # noqa: BLE001 - no file of ours raises anything here
        raise StateError("is of another shape") from None
    if not all(map(_possible_memory, memories)):
        raise StateError("says what cannot be")
    return State(memories, Generation((records,)))


def _bounded(stream: BytesIO | GzipFile, most: int) -> Iterator[bytes]:
    """The lines of a stream.

    Raises:
        StateError: If they have more bytes than `most`.
    """
    left = most
    while line := stream.readline(left + 1):
        left -= len(line)
        if left < 0:
            raise StateError("is too large")
        yield line


def _records(lines: Iterable[bytes]) -> Iterator[tuple[Key, Record]]:
    known: list[_Known] = []
    for line in lines:
        if line == b"\n":
            known = []
            continue
        key, record, series, values = _rows().validate_json(line)
        if isinstance(series, int):
            those = known[series]
        else:
            those = _Known.of(series)
            known.append(those)
        yield key, _restored(record, those.samples(values))


def _record_of_version_1(line: bytes) -> tuple[Key, Record]:
    key, record, plain = _rows_of_version_1().validate_json(line)
    series = _Known.of([(name, labels) for name, labels, _ in plain])
    return key, _restored(record, series.samples([value for *_, value in plain]))


def _restored(record: Record, samples: Samples) -> Record:
    return replace(record, samples=samples, fields=shared(record.fields))


def _plausible(rows: Iterable[tuple[Key, Record]]) -> dict[Key, Record]:
    """The records by key.

    Raises:
        StateError: If no process of ours could have written one of them.
    """
    records = {}
    for key, record in rows:
        if not _possible(key, record):
            raise StateError("says what cannot be")
        records[key] = record
    return records


def _possible_memory(memory: Memory) -> bool:
    """Whether a process of ours could have written this memory."""
    standing, turns, listed = memory.standing, memory.turns, memory.listed
    instants = (
        *(standing.not_before, standing.open_until, listed.due),
        *turns.due.values(),
        *turns.split_in_vain.values(),
        *(until for _, until in turns.refused),
        *(until for *_, until in standing.resting),
    )
    return (
        all(map(_instant, instants))
        and (standing.day is None or _EARLIEST.date() <= standing.day < _LATEST.date())
        and 0 <= standing.spent <= _MOST
        and 0 <= standing.owed <= _MOST
        and all(0 <= missed <= _MOST for _, missed in listed.bots)
        and all(_ID.fullmatch(str(bot.id)) for bot, _ in listed.bots)
        and all(_target(key.target) for key, _ in turns.refused)
    )


def _possible(key: Key, record: Record) -> bool:
    """Whether a process of ours could have written this record."""
    instants = (
        *(record.last_success, record.expires, record.withdrawn),
        *(record.since, record.failing_since),
    )
    return (
        _target(key.target)
        and all(map(_instant, instants))
        and 0 < record.interval_seconds <= _MOST_SECONDS
        and 0 <= record.duration_seconds <= _MOST_SECONDS
        and 0 <= record.left_out <= _MOST_LEFT_OUT
        and all(record.fields)  # each begins with a name
        and all(abs(value) <= float_info.max for value in Samples.of(record.samples).values)
    )


def _instant(instant: datetime | None) -> bool:
    return instant is None or (instant.tzinfo is not None and _EARLIEST <= instant < _LATEST)


def _target(target: Target) -> bool:
    names = [name for name, _ in target.labels]
    return (
        len(names) <= _MOST_LABELS
        and len({*names}) == len(names)
        and RESERVED_LABELS.isdisjoint(names)
        and all(map(_LABEL.fullmatch, names))
    )
