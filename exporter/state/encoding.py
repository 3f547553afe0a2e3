"""The encoding of the state file. Pure.

The first line holds a magic word, the format version, the SHA-256 digest and the size of the rest,
and the number of memories. Then each workspace's memory follows as one line of JSON, and then each
report's record.

A state is read as a whole or not at all. Its loss costs one round of requests, but a wrong state
would show wrong values. So `decoded` checks three things in turn:

1. The digest and the size detect a truncated or corrupted file.
2. Typed models validate the shape of each line.
3. Plausibility checks refuse values that no process of ours writes, such as an instant outside the
   years 2000 to 2999.

Samples name their metric family. A sample whose family no longer exists is left out, so a state
survives an upgrade that removes a metric.

Lines are encoded one by one, because the encoder holds the interpreter's lock for the length of
each. The event loop gets its turn between two lines.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from sys import float_info
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from exporter.config.validation import RESERVED_LABELS
from exporter.errors import StateError
from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.store import Record
from exporter.model.bot_list import BOT_ID
from exporter.model.reply_values import Drift, shared
from exporter.model.samples import Family, Sample
from exporter.model.targets import Key, Target
from exporter.state.workspace_memory import Memory

VERSION: Final = 1

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a state; a larger one is neither written nor read. 100,000 values take about 10 MB."""

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)
_MOST_SECONDS: Final = 1e9
_MOST: Final = 2**53
_MOST_LABELS: Final = 100
_MOST_LEFT_OUT: Final = 1_000_000  # more than any answer can hold
_FIRST_LINE: Final = 200
_ID: Final = re.compile(BOT_ID, re.ASCII)
_LABEL: Final = re.compile("(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

_MAGIC: Final = b"seasalt-exporter-state"
_FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in API_FAMILIES}


_Plain = tuple[str, tuple[str, ...], int | float]
"""A sample with the name of its family in place of the family."""


class _Row(NamedTuple):
    """A report's record, with its samples moved out of it."""

    key: Key
    record: Record
    samples: tuple[_Plain, ...]


@cache  # made on first use: most processes have no state file
def _memories() -> TypeAdapter[Memory]:
    return TypeAdapter(Memory)


@cache
def _rows() -> TypeAdapter[_Row]:
    return TypeAdapter(_Row)


@dataclass(frozen=True, slots=True)
class State:
    """Everything that survives a restart.

    Attributes:
        memories: One for each workspace.
        records: The record of each report; its values may have expired since.
    """

    memories: tuple[Memory, ...] = ()
    records: tuple[tuple[Key, Record], ...] = ()


def encoded(state: State, most: int = LARGEST) -> bytes:
    """The state as the content of the state file.

    Raises:
        StateError: If the content would be larger than `most` bytes.
    """
    lines: list[bytes] = []
    digest, size = sha256(), 0
    for line in _lines(state):
        size += len(line)
        if size > most - _FIRST_LINE:
            raise StateError(f"is larger than {most} bytes")
        digest.update(line)
        lines.append(line)
    heads = len(state.memories)
    first = b"%s %d %s %d %d\n" % (_MAGIC, VERSION, digest.hexdigest().encode(), size, heads)
    return b"".join((first, *lines))


def _lines(state: State) -> Iterator[bytes]:
    for memory in state.memories:
        yield _memories().dump_json(memory) + b"\n"
    for key, record in state.records:
        samples = tuple((family.name, labels, value) for family, labels, value in record.samples)
        yield _rows().dump_json(_Row(key, replace(record, samples=()), samples)) + b"\n"


def decoded(content: bytes) -> State:
    """The state in the content of a state file; samples of unknown families are left out.

    Raises:
        StateError: If the content is damaged, of another version, or implausible.
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
    except Exception:  # noqa: BLE001 - no file of ours raises anything here
        raise StateError("is of another shape") from None
    if not (all(map(_possible_memory, memories)) and all(_possible(*row) for row in records)):
        raise StateError("says what cannot be")
    return State(memories, records)


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
        and all(abs(value) <= float_info.max for _, _, value in record.samples)
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


def _record(line: bytes) -> tuple[Key, Record]:
    key, record, plain = _rows().validate_json(line)
    samples = tuple(
        Sample(family, labels, value)
        for name, labels, value in plain
        if (family := _FAMILIES.get(name)) and len(labels) == len(family.labels)
    )
    return key, replace(record, samples=samples, fields=shared(record.fields))
