"""From records to the bytes that Prometheus reads. Pure.

The page has two pieces. The snapshot, of values from the API and of each report's last try, is
rendered and compressed when a value changes, expires or passes midnight. The exporter's own
metrics come fresh at each scrape, as the end of the same gzip member. The snapshot holds gauges
alone, which read the same in both formats.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter import bots
from exporter.catalogue import REPORTS
from exporter.plan import Target
from exporter.samples import COMMON_LABELS, REPORT_LABELS, Family
from exporter.store import Key, Record

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

_LEVEL: Final = 6
_CHUNK: Final = 65_536
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rendered values, compressed.

    Attributes:
        deflated: A raw deflate stream, flushed but not ended.
        crc: CRC-32 of the text.
        size: Length of the text in bytes.
        series: Values from the API in it, by (api, workspace).
    """

    deflated: bytes
    crc: int
    size: int
    series: Mapping[tuple[str, str], int]

    def text(self) -> Iterator[bytes]:
        """The text, piece by piece."""
        inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        rest = self.deflated
        while rest:
            yield inflate.decompress(rest, _CHUNK)
            rest = inflate.unconsumed_tail

    def gzipped(self, own: bytes) -> bytes:
        """One gzip member of the snapshot and, after it, the exporter's own metrics."""
        deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
        return b"".join(
            (
                _GZIP_HEADER,
                self.deflated,
                deflate.compress(own),
                deflate.flush(zlib.Z_FINISH),
                zlib.crc32(own, self.crc).to_bytes(4, "little"),
                ((self.size + len(own)) & 0xFFFF_FFFF).to_bytes(4, "little"),
            )
        )


def snapshot(records: Iterable[tuple[Key, Record]], now: datetime) -> Snapshot:
    """The snapshot of what is true at an instant."""
    given = tuple(records)
    body = text(given, now).encode()
    deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    # Flushed to a byte's end, so that the next piece can follow.
    deflated = deflate.compress(body) + deflate.flush(zlib.Z_FULL_FLUSH)
    series = Counter[tuple[str, str]]()
    for key, record in given:
        series[key.target.api, key.target.workspace] += len(record.shown(now))
    return Snapshot(deflated, zlib.crc32(body), len(body), series)


def text(records: Iterable[tuple[Key, Record]], now: datetime) -> str:
    """The records at an instant in the text format, families in the catalogue's order.

    A series comes once, whatever the API answers to entries that should not overlap: the first
    record to have it keeps it.
    """
    lines: dict[Family, dict[str, str]] = {}
    prefixes: dict[Target, str] = {}
    for key, record in records:
        if key.target not in prefixes:
            prefixes[key.target] = _pairs(_target_labels(key.target))
        prefix = prefixes[key.target]
        for family, labels, value in record.shown(now):
            pairs = _pairs(zip(family.labels, labels, strict=True))
            series = f"{prefix}{pairs and ','}{pairs}"
            lines.setdefault(family, {}).setdefault(series, _number(value))
        if key.report:
            last_try = _pairs(zip(REPORT_LABELS, (key.report, key.window), strict=True))
            for family, number in _last_try(record):
                lines.setdefault(family, {})[f"{prefix},{last_try}"] = _number(number)
    return "".join(
        block
        for families, note in ((API_FAMILIES, f" {POLLED}"), (REPORT_FAMILIES, ""))
        for family in families
        if family in lines
        for block in (
            f"# HELP {family.name} {_help(family.help + note)}\n# TYPE {family.name} gauge\n",
            *(f"{family.name}{{{labels}}} {value}\n" for labels, value in lines[family].items()),
        )
    )


def _last_try(record: Record) -> Iterator[tuple[Family, float]]:
    yield SUCCESS, float(record.success)
    if record.last_success:
        yield LAST_SUCCESS, record.last_success.timestamp()
    yield DURATION, record.duration_seconds
    yield INTERVAL, record.interval_seconds


def _target_labels(target: Target) -> Iterator[tuple[str, str]]:
    own = (target.api, target.workspace, target.bot_id, target.bot)
    yield from zip(COMMON_LABELS, own, strict=True)
    yield from target.labels


def _pairs(labels: Iterable[tuple[str, str]]) -> str:
    """Label pairs as text; an empty value is the label's absence."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels if value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    whole = int(value)
    return str(whole) if whole == value else repr(float(value))
