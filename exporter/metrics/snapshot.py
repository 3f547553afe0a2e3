"""The page's values, compressed: made anew when a value changes, expires or passes midnight. Pure.

The page has two parts: this snapshot, and the exporter's own metrics, which come fresh at each
scrape as the end of the same gzip member. The snapshot holds gauges alone, which read the same in
both formats.

A large snapshot is made of blocks, one for each part of the records, and a block of a piece for
each family: only what is not as it was is looked at, written and compressed again. The targets of a
block are polled after each other. Blocks cannot share a series, as what tells bots apart is in its
labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import is_
from typing import Final

from exporter.metrics.exposition import (
    ALL_FAMILIES,
    FAMILIES,
    header_piece,
    last_try,
    lines_of,
    rendered,
)
from exporter.metrics.gzip_pieces import NOTHING, Piece
from exporter.metrics.packed import Samples
from exporter.metrics.store import SKEW, Generation, Record
from exporter.model.samples import Family
from exporter.model.targets import Key

EVER: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""When a page without values has to be made anew."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The records of some targets, and what is on the page of them.

    Attributes:
        part: The records.
        at: The instant at which they were looked at.
        until: The first instant after it at which one of their values must go.
        since: The last instant before it at which one of them was not yet true.
        pieces: The page's text of them, by family; all under None where there is but one block.
        series: Values from the API, by (api, workspace).
        hidden: The keys of records with values that must not be shown.
    """

    part: Mapping[Key, Record] = field(default_factory=dict)
    at: datetime = NEVER
    until: datetime = NEVER
    since: datetime = EVER
    pieces: Mapping[Family | None, Piece] = field(default_factory=dict)
    series: Counter[tuple[str, str]] = field(default_factory=Counter)
    hidden: Sequence[Key] = ()

    def holds(self, part: Mapping[Key, Record], at: datetime) -> bool:
        """Whether there is nothing new in these records at an instant.

        That a hidden value may be shown again, as the clock goes on after it was set back, is not
        looked for: whoever keeps pages forgets what was hidden.
        """
        return self.part is part and self.at <= at < self.until

    def stale(self, part: Mapping[Key, Record], at: datetime) -> AbstractSet[Family]:
        """The families whose text is another with these records at an instant."""
        if list(self.part) != list(part):
            return ALL_FAMILIES
        found: set[Family] = set()
        for (key, after), before in zip(part.items(), self.part.values(), strict=True):
            was, now = before.shown(self.at), after.shown(at)
            if was is not now and was != now:
                found |= Samples.of(was).shape.kinds | Samples.of(now).shape.kinds
            if before is not after and key.report:
                found.update(family for family, _ in {*last_try(before)} ^ {*last_try(after)})
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rendered values.

    Attributes:
        page: Their text, compressed.
        at: The instant that they were rendered for.
        until: The first instant after it at which one of them must go.
        since: The last instant before it at which one of them was not yet true.
        series: Values from the API in it, by (api, workspace).
        hidden: The keys of records with values that must not be shown.
        blocks: What it is made of.
    """

    page: Piece = NOTHING
    at: datetime = NEVER
    until: datetime = NEVER
    since: datetime = EVER
    series: Mapping[tuple[str, str], int] = field(default_factory=dict)
    hidden: Sequence[Key] = ()
    blocks: Sequence[_Block] = ()

    def holds(self, now: datetime) -> bool:
        """Whether all of it may still be shown; a clock that was set back leaves that open."""
        return self.at - SKEW <= now < self.until and self.since <= now


EMPTY: Final = Snapshot()


def snapshot(records: Generation, at: datetime, before: Snapshot = EMPTY) -> Snapshot:
    """The snapshot of what is true at an instant.

    Args:
        records: All of them.
        at: The instant.
        before: The last one, of which the unchanged part is taken.
    """
    number = len(records.parts)
    old = before.blocks if len(before.blocks) == number else (_Block(),) * number
    blocks = [
        block if block.holds(part, at) else _renewed(block, part, at, whole=number == 1)
        for block, part in zip(old, records.parts, strict=True)
    ]
    if all(map(is_, blocks, old)):
        page = before.page
    elif number > 1:
        page = Piece.joined(
            piece
            for family in FAMILIES
            if (here := [block.pieces[family] for block in blocks if family in block.pieces])
            for piece in (header_piece(family), *here)
        )
    else:
        page = Piece.joined(blocks[0].pieces.values())
    series = Counter[tuple[str, str]]()
    for block in blocks:
        series.update(block.series)
    return Snapshot(
        page,
        at,
        min(block.until for block in blocks),
        max(block.since for block in blocks),
        series,
        [key for block in blocks for key in block.hidden],
        blocks,
    )


def _renewed(before: _Block, part: Mapping[Key, Record], at: datetime, *, whole: bool) -> _Block:
    """The block of these records, with what is still right of the one before.

    Args:
        before: The one before.
        part: The records as they are now.
        at: The instant.
        whole: Whether it is the only one.
    """
    pieces = dict(before.pieces)
    if whole:
        pieces[None] = Piece.of(rendered(part.items(), at).encode())
    elif stale := before.stale(part, at):
        lines = lines_of(part.items(), at, stale)
        for family in stale:
            pieces.pop(family, None)
            if family in lines:
                pieces[family] = Piece.of("".join(lines[family]).encode())
    series, hidden, until, since = Counter[tuple[str, str]](), list[Key](), NEVER, EVER
    for key, record in part.items():
        series[key.target.api, key.target.workspace] += len(record.shown(at))
        if not (record.samples or record.left_out):
            continue  # nothing of it is shown, and nothing wants room
        if record.expires and record.valid(at):
            until, since = min(until, record.expires), max(since, record.since or EVER)
        else:
            hidden.append(key)
    return _Block(part, at, until, since, pieces, series, hidden)
