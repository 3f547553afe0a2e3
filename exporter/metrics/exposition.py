"""Renders records as lines of the Prometheus text format. Pure.

Each series is written once, even if entries that should not overlap yield the same one: the first
record that has it wins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Final

from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.packed_samples import Samples, Shape
from exporter.metrics.store import Record
from exporter.model import bot_list, knowledge_base
from exporter.model.samples import COMMON_LABELS, REPORT_LABELS, Family
from exporter.model.targets import Key, Target
from exporter.reports.catalogue import REPORTS

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
    *bot_list.FAMILIES,
    *knowledge_base.FAMILIES,
)
REPORT_FAMILIES: Final = (SUCCESS, LAST_SUCCESS, DURATION, INTERVAL)

POLLED: Final = "Polled at the report's interval, not at the scrape."
"""Ends the HELP text of every family from the API, as its values are older than the scrape."""

FAMILIES: Final = (*API_FAMILIES, *REPORT_FAMILIES)
ALL_FAMILIES: Final = frozenset(FAMILIES)

_SHAPES: Final = 128
_SERIES_OF_A_SHAPE: Final = 128
_TAILS: Final = 8192
"""Cache limits: shapes, the series of a cached shape, and label texts."""


def rendered(records: Iterable[tuple[Key, Record]], now: datetime) -> str:
    """The records at an instant in the text format, with families in the catalogue's order."""
    lines = lines_of(records, now)
    return "".join(
        [header(family) + "".join(lines[family]) for family in FAMILIES if family in lines]
    )


def lines_of(
    records: Iterable[tuple[Key, Record]], now: datetime, wanted: AbstractSet[Family] = ALL_FAMILIES
) -> Mapping[Family, Sequence[str]]:
    """The lines by family, for the wanted families that have any."""
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
            tried = [(family, value) for family, value in last_try(record) if family in wanted]
            numbers = _numbers([value for _, value in tried])
            for (family, _), number in zip(tried, numbers, strict=True):
                line = f"{family.name}{{{prefix}{tail} {number}\n"
                lines.setdefault(family, []).append(line)
    return lines


@dataclass(frozen=True)
class _Lines:
    """The lines of one family in one shape, without the labels of a target and the numbers.

    Attributes:
        family: The family.
        tails: The text of each line's own labels, and the index of its number in the shape.
    """

    family: Family
    tails: Mapping[str, int]

    @cached_property
    def _form(self) -> str:
        """All lines, with placeholders for the target's labels and the number in each."""
        begin = f"{self.family.name}{{%s"
        return "".join(f"{begin}{tail.replace('%', '%%')} %s\n" for tail in self.tails)

    @cached_property
    def _places(self) -> Sequence[int]:
        return tuple(self.tails.values())

    def text(self, prefix: str, numbers: Sequence[str]) -> str:
        """The lines of one target, from the text of its labels and the numbers of the shape."""
        filled = [prefix] * (2 * len(self._places))
        filled[1::2] = [numbers[place] for place in self._places]
        return self._form % tuple(filled)

    def without(self, tails: AbstractSet[str]) -> "_Lines":
        """The lines whose label texts are not among these."""
        return _Lines(self.family, {t: place for t, place in self.tails.items() if t not in tails})


def _known_parts(shape: Shape) -> Sequence[_Lines]:
    """The lines of a shape; cached unless they are many, as most bots share their shape."""
    return (_parts if len(shape.families) <= _SERIES_OF_A_SHAPE else _parts.__wrapped__)(shape)


@lru_cache(maxsize=_SHAPES)
def _parts(shape: Shape) -> Sequence[_Lines]:
    """The lines of a shape, by family."""
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


def header(family: Family) -> str:
    """The HELP and TYPE lines of a family."""
    note = "" if family in REPORT_FAMILIES else f" {POLLED}"
    return f"# HELP {family.name} {_help(family.help + note)}\n# TYPE {family.name} gauge\n"


@cache
def header_piece(family: Family) -> Piece:
    """The HELP and TYPE lines of a family, compressed."""
    return Piece.of(header(family).encode())


def last_try(record: Record) -> Sequence[tuple[Family, float]]:
    """The values of the `seasalt_report_*` families for a record."""
    last = record.last_success
    return (
        (SUCCESS, float(record.success)),
        *([(LAST_SUCCESS, last.timestamp())] if last else ()),
        (DURATION, record.duration_seconds),
        (INTERVAL, record.interval_seconds),
    )


def series_labels(target: Target, family: Family, labels: Iterable[str]) -> list[tuple[str, str]]:
    """The labels of one series in the order of the page, without those that are empty."""
    own = zip(family.labels, labels, strict=True)
    return [pair for pair in (*_target_labels(target), *own) if pair[1]]


def series_text(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """A series as the page has it, without its value."""
    return f"{name}{{{_pairs(labels)}}}"


def number(value: float) -> str:
    """A value as the page has it."""
    return _numbers((value,))[0]


def _target_labels(target: Target) -> Iterator[tuple[str, str]]:
    own = (target.api, target.workspace, target.bot_id, target.bot)
    yield from zip(COMMON_LABELS, own, strict=True)
    yield from target.labels


def _pairs(labels: Iterable[tuple[str, str]]) -> str:
    """Label pairs as text; labels with an empty value are left out."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels if value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _numbers(values: Iterable[float]) -> Sequence[str]:
    return [str(whole) if (whole := int(value)) == value else repr(value) for value in values]
