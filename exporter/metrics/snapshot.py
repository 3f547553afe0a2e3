"""The snapshot: the rendered and compressed values of the page, renewed block by block. Pure.

The page is this snapshot followed by the exporter's own metrics, which are rendered at each scrape
and end the same gzip member. The snapshot holds only gauges, whose text is the same in both
exposition formats. It is renewed when a value changes or must no longer be shown.

Each poll changes only a few values, but the cost of rendering and compressing all of them grows
with the number of bots. A large snapshot is therefore made of blocks, one per part of the store's
generation. A block holds one compressed piece per family. The page joins the pieces of all blocks,
family by family, under one header each.

A block is reused, without reading its records, if its part is the same object as before and none of
its values has expired since. In any other block, only the families whose text differs are rendered
and compressed again.

This works for two reasons. The targets of a block are polled one after the other, so the changes of
any minute fall into few blocks. And no series is in two blocks: the workspace and the bot id
determine a target's block, and both are labels. Duplicates can therefore be removed within a block.
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
from exporter.metrics.packed_samples import Samples
from exporter.metrics.store import SKEW, Generation, Record
from exporter.model.samples import Family
from exporter.model.targets import Key

EVER: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""When a page without values must be renewed."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The records of one part, and their text on the page.

    Attributes:
        part: The records.
        at: The instant for which they were rendered.
        until: The earliest expiry of the values shown.
        since: The latest instant before which one of the values shown must not be shown.
        pieces: The rendered text by family; all of it under None if there is only one block.
        series: The number of API values shown, by (api, workspace).
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
        """Whether the block is still right for these records at an instant.

        A value that was hidden because the clock was set back could be shown again once the clock
        catches up. This is not checked, as the refresher deletes hidden values from the store.
        """
        return self.part is part and self.at <= at < self.until

    def stale(self, part: Mapping[Key, Record], at: datetime) -> AbstractSet[Family]:
        """The families whose text differs with these records at an instant."""
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
        at: The instant for which they were rendered.
        until: The earliest expiry of the values shown.
        since: The latest instant before which one of the values shown must not be shown.
        series: The number of API values shown, by (api, workspace).
        hidden: The keys of records with values that must not be shown.
        blocks: The blocks that it is made of.
    """

    page: Piece = NOTHING
    at: datetime = NEVER
    until: datetime = NEVER
    since: datetime = EVER
    series: Mapping[tuple[str, str], int] = field(default_factory=dict)
    hidden: Sequence[Key] = ()
    blocks: Sequence[_Block] = ()

    def holds(self, now: datetime) -> bool:
        """Whether all of it may be shown; not if the clock was set back by more than `SKEW`."""
        return self.at - SKEW <= now < self.until and self.since <= now


EMPTY: Final = Snapshot()


def snapshot(records: Generation, at: datetime, before: Snapshot = EMPTY) -> Snapshot:
    """The snapshot of the values that may be shown at an instant.

    Unchanged blocks and pieces of the previous snapshot are reused.
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
        ).grouped()
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
    """The block of these records, which reuses unchanged pieces of the previous one.

    If it is the only block, it is rendered as one piece.
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
            continue  # it has no values, neither kept nor left out
        if record.expires and record.valid(at):
            until, since = min(until, record.expires), max(since, record.since or EVER)
        else:
            hidden.append(key)
    return _Block(part, at, until, since, pieces, series, hidden)
