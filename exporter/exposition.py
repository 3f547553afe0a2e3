"""From records to the bytes that Prometheus reads. Pure.

The page has two parts. The snapshot, of values from the API and of each report's last try, is
made when a value changes, expires or passes midnight. The exporter's own metrics come fresh at each
scrape, as the end of the same gzip member. The snapshot holds gauges alone, which read the same in
both formats.

A large snapshot is made of blocks, one for each part of the records, and a block of a piece for
each family: only what is not as it was is looked at, written and compressed again. The targets of a
block are polled after each other.
A series comes once, whatever the API answers to entries that should not overlap: the first record
to have it keeps it. Blocks cannot share one, as what tells bots apart is in its labels.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from operator import is_
from typing import Final

from exporter import bots
from exporter.catalogue import REPORTS
from exporter.plan import Key, Target
from exporter.samples import COMMON_LABELS, REPORT_LABELS, Family, Samples, Shape
from exporter.stitch import NOTHING, Piece
from exporter.store import SKEW, Generation, Record

SUCCESS: Final = Family(
    "seasalt_report_success", "Whether the last try of the report brought values.", REPORT_LABELS
)
LAST_SUCCESS: Final = Family(
    "seasalt_report_last_success_timestamp_seconds",
    "When the report last brought values, in Unix time.",
    REPORT_LABELS,
)
DURATION: Final = Family(
    "seasalt_report_duration_seconds",
    "How long the request of the report's last try took.",
    REPORT_LABELS,
)
INTERVAL: Final = Family(
    "seasalt_report_interval_seconds", "How often the report is polled.", REPORT_LABELS
)

API_FAMILIES: Final = (
    *(family for report in REPORTS for family in report.families),
    *bots.FAMILIES,
)
REPORT_FAMILIES: Final = (SUCCESS, LAST_SUCCESS, DURATION, INTERVAL)

POLLED: Final = "Polled at the report's interval, not at the scrape."
"""Ends the help of every value from the API, as such values are not made for the scrape."""

_FAMILIES: Final = (*API_FAMILIES, *REPORT_FAMILIES)
_ALL: Final = frozenset(_FAMILIES)

_SHAPES: Final = 128
_SERIES_OF_A_SHAPE: Final = 128
_TAILS: Final = 8192
"""Of so many shapes, none of more series, and so many label values the text is remembered."""

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
            return _ALL
        found: set[Family] = set()
        for (key, after), before in zip(part.items(), self.part.values(), strict=True):
            was, now = before.shown(self.at), after.shown(at)
            if was is not now and was != now:
                found |= Samples.of(was).shape.kinds | Samples.of(now).shape.kinds
            if before is not after and key.report:
                found.update(family for family, _ in {*_last_try(before)} ^ {*_last_try(after)})
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
            for family in _FAMILIES
            if (here := [block.pieces[family] for block in blocks if family in block.pieces])
            for piece in (_header_piece(family), *here)
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
        pieces[None] = Piece.of(text(part.items(), at).encode())
    elif stale := before.stale(part, at):
        lines = _lines(part.items(), at, stale)
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


def text(records: Iterable[tuple[Key, Record]], now: datetime) -> str:
    """The records at an instant in the text format, families in the catalogue's order."""
    lines = _lines(records, now)
    return "".join(
        [_header(family) + "".join(lines[family]) for family in _FAMILIES if family in lines]
    )


def _lines(
    records: Iterable[tuple[Key, Record]], now: datetime, wanted: AbstractSet[Family] = _ALL
) -> Mapping[Family, Sequence[str]]:
    """The lines of the families that are wanted, of those that have any."""
    lines: dict[Family, list[str]] = {}
    prefixes: dict[Target, str] = {}
    tries: dict[tuple[str, str], str] = {}
    written: dict[tuple[str, Family], AbstractSet[str]] = {}
    told: set[tuple[str, str]] = set()
    for key, record in records:
        prefix = prefixes.get(key.target)
        if prefix is None:
            prefixes[key.target] = prefix = _pairs(_target_labels(key.target))
        shown = Samples.of(record.shown(now))
        parts = [part for part in _known_parts(shown.shape) if part.family in wanted]
        numbers = _numbers(shown.values) if parts else ()
        for part in parts:
            place, tails = (prefix, part.family), part.tails.keys()
            before = written.get(place)
            written[place] = before | tails if before else tails
            new = part.without(before) if before and not tails.isdisjoint(before) else part
            lines.setdefault(part.family, []).append(new.text(prefix, numbers))
        if key.report:
            tail = tries.get(key[1:])
            if tail is None:
                tries[key[1:]] = tail = _tail(zip(REPORT_LABELS, key[1:], strict=True))
            if (prefix, tail) in told:
                continue
            told.add((prefix, tail))
            tried = [(family, value) for family, value in _last_try(record) if family in wanted]
            numbers = _numbers([value for _, value in tried])
            for (family, _), number in zip(tried, numbers, strict=True):
                line = f"{family.name}{{{prefix}{tail} {number}\n"
                lines.setdefault(family, []).append(line)
    return lines


@dataclass(frozen=True)
class _Lines:
    """The lines of one family in one shape, without what is each target's own.

    Attributes:
        family: Whose they are.
        tails: Their label values, as they end a line, and where their number is.
    """

    family: Family
    tails: Mapping[str, int]

    @cached_property
    def _form(self) -> str:
        """All of them, with slots for the target's labels and the number of each in turn."""
        begin = f"{self.family.name}{{%s"
        return "".join(f"{begin}{_unslotted(tail)} %s\n" for tail in self.tails)

    @cached_property
    def _places(self) -> Sequence[int]:
        return tuple(self.tails.values())

    def text(self, prefix: str, numbers: Sequence[str]) -> str:
        """The lines of one target.

        Args:
            prefix: The target's labels.
            numbers: Of the whole shape.
        """
        filled = [prefix] * (2 * len(self._places))
        filled[1::2] = [numbers[place] for place in self._places]
        return self._form % tuple(filled)

    def without(self, tails: AbstractSet[str]) -> "_Lines":
        """The lines with other label values than these."""
        return _Lines(self.family, {t: place for t, place in self.tails.items() if t not in tails})


def _known_parts(shape: Shape) -> Sequence[_Lines]:
    """The lines of a shape, remembered unless they are many: most bots have those of another."""
    return (_parts if len(shape.families) <= _SERIES_OF_A_SHAPE else _parts.__wrapped__)(shape)


@lru_cache(maxsize=_SHAPES)
def _parts(shape: Shape) -> Sequence[_Lines]:
    """The lines of a shape."""
    found: dict[Family, dict[str, int]] = {}
    for index, (family, labels) in enumerate(shape):
        found.setdefault(family, {}).setdefault(_own_tail(family, labels), index)
    return [_Lines(family, tails) for family, tails in found.items()]


@lru_cache(maxsize=_TAILS)
def _own_tail(family: Family, labels: tuple[str, ...]) -> str:
    return _tail(zip(family.labels, labels, strict=True))


def _tail(labels: Iterable[tuple[str, str]]) -> str:
    pairs = _pairs(labels)
    return f"{pairs and ','}{pairs}}}"


def _header(family: Family) -> str:
    note = "" if family in REPORT_FAMILIES else f" {POLLED}"
    return f"# HELP {family.name} {_help(family.help + note)}\n# TYPE {family.name} gauge\n"


@cache
def _header_piece(family: Family) -> Piece:
    return Piece.of(_header(family).encode())


def _last_try(record: Record) -> Sequence[tuple[Family, float]]:
    last = record.last_success
    return (
        (SUCCESS, float(record.success)),
        *([(LAST_SUCCESS, last.timestamp())] if last else ()),
        (DURATION, record.duration_seconds),
        (INTERVAL, record.interval_seconds),
    )


def _target_labels(target: Target) -> Iterator[tuple[str, str]]:
    own = (target.api, target.workspace, target.bot_id, target.bot)
    yield from zip(COMMON_LABELS, own, strict=True)
    yield from target.labels


def _pairs(labels: Iterable[tuple[str, str]]) -> str:
    """Label pairs as text; an empty value is the label's absence."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels if value)


def _unslotted(text: str) -> str:
    return text.replace("%", "%%")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _numbers(values: Iterable[float]) -> Sequence[str]:
    return [str(whole) if (whole := int(value)) == value else repr(value) for value in values]
