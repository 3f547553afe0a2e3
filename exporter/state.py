"""What outlives the process, as text: a line for each workspace's memory and for each report's values. Pure.

The first line says what the file is and how much of it there is, with a digest: a part of a file,
or one with a bit turned over, is none.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from exporter.errors import StateError
from exporter.exposition import API_FAMILIES
from exporter.memory import Memory
from exporter.plan import Key
from exporter.samples import Family, Sample
from exporter.store import Record
from exporter.values import Drift

VERSION: Final = 1

_MAGIC: Final = b"seasalt-exporter-state"
_FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in API_FAMILIES}


class _Plain(NamedTuple):
    """A sample whose family is a name."""

    family: str
    labels: tuple[str, ...]
    value: int | float


class _Row(NamedTuple):
    """A report's record, its samples apart."""

    key: Key
    record: Record
    samples: tuple[_Plain, ...]


@cache  # made when used: most have no state file
def _memories() -> TypeAdapter[Memory]:
    return TypeAdapter(Memory)


@cache
def _rows() -> TypeAdapter[_Row]:
    return TypeAdapter(_Row)


@dataclass(frozen=True, slots=True)
class State:
    """All that is kept over a restart.

    Attributes:
        memories: One for each workspace.
        records: What is known of each report; the values may have expired since.
    """

    memories: tuple[Memory, ...] = ()
    records: tuple[tuple[Key, Record], ...] = ()


def encoded(state: State) -> bytes:
    """The state as a file holds it.

    Line by line, so that whoever runs beside it in another thread gets a turn.
    """
    lines = [_memories().dump_json(memory.shown()) + b"\n" for memory in state.memories]
    heads = len(lines)
    lines += (_rows().dump_json(_row(key, record)) + b"\n" for key, record in state.records)
    digest = sha256()
    for line in lines:
        digest.update(line)
    size = sum(map(len, lines))
    first = b"%s %d %s %d %d\n" % (_MAGIC, VERSION, digest.hexdigest().encode(), size, heads)
    return b"".join((first, *lines))


def decoded(content: bytes) -> State:
    """The state that a file holds; values of a family that is not known any more are left out.

    Raises:
        StateError: If it is not whole, or of another version.
    """
    first, _, payload = content.partition(b"\n")
    magic, _, rest = first.partition(b" ")
    if magic != _MAGIC:
        raise StateError("is no state file")
    words = rest.split(b" ")
    if words[0] != b"%d" % VERSION:
        raise StateError("is of another version")
    if words[1:3] != [sha256(payload).hexdigest().encode(), b"%d" % len(payload)]:
        raise StateError("is damaged")
    lines = payload.splitlines()
    try:
        heads = int(words[3])
        memories = tuple(_memories().validate_json(line, context=Drift()) for line in lines[:heads])
        records = tuple(map(_record, lines[heads:]))
    except (ValidationError, ValueError, IndexError):
        raise StateError("is of another shape") from None
    return State(memories, records)


def _row(key: Key, record: Record) -> _Row:
    samples = tuple(_Plain(family.name, labels, value) for family, labels, value in record.samples)
    return _Row(key, replace(record, samples=()), samples)


def _record(line: bytes) -> tuple[Key, Record]:
    key, record, plain = _rows().validate_json(line)
    return key, replace(record, samples=tuple(_known(plain)))


def _known(samples: Iterable[_Plain]) -> Iterator[Sample]:
    for name, labels, value in samples:
        family = _FAMILIES.get(name)
        if family and len(labels) == len(family.labels):
            yield Sample(family, labels, value)
