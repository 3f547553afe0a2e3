"""Prometheus remote write 1.0: protocol buffers in snappy's block format. Pure.

Version 1.0 and not 2.0, because some stores answer well to 2.0 and store nothing. The message is
small: a series is its labels and its samples, a sample a float and a time in milliseconds. Snappy
is written as literals, without compression, which every reader takes. So neither needs a library.
A run of equal values is one join of prepared bytes.

    message WriteRequest { repeated TimeSeries timeseries = 1; }
    message TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    message Label        { string name = 1; string value = 2; }
    message Sample       { double value = 1; int64 timestamp = 2; }
"""

from collections.abc import Iterable, Iterator
from struct import pack
from typing import Final

from exporter.backfill.rebuild import Runs

HEADERS: Final = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

MOST_SAMPLES: Final = 20_000
"""Samples of one request: about 350 kB, and a fraction of a second for any store."""

_LITERAL: Final = 65_536
_LABEL, _VALUE, _TIME, _SERIES, _SAMPLE = b"\x0a", b"\x09", b"\x10", b"\x0a", b"\x12"


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


class Times:
    """The moments of a grid as the ends of samples."""

    def __init__(self, times: Iterable[int]) -> None:
        self._ends = [_TIME + _varint(at * 1000) for at in times]

    def samples(self, runs: Runs) -> Iterator[tuple[int, bytes]]:
        """The samples of a series in pieces: how many, and their bytes."""
        for begin, end, value in runs:
            double = _VALUE + pack("<d", value)
            first = begin
            while first < end:
                size = len(self._ends[first])
                until = min(end, first + MOST_SAMPLES)
                if len(self._ends[until - 1]) != size:  # a varint grows once in 69 years
                    until = first + 1
                start = _SAMPLE + _varint(len(double) + size) + double
                yield until - first, start + start.join(self._ends[first:until])
                first = until


class Batch:
    """Collects series up to the size of a request.

    Attributes:
        samples: The samples that it holds.
    """

    def __init__(self) -> None:
        self._series: list[bytes] = []
        self.samples = 0

    def add(self, labels: Iterable[tuple[str, str]], runs: Runs, times: Times) -> Iterator[bytes]:
        """Add one series, and yield the body of each request that is full.

        Args:
            labels: The series' labels with `__name__`; they are sorted here.
            runs: Its values.
            times: The moments of its grid.
        """
        named = b"".join(
            _field(_LABEL, _field(b"\x0a", name.encode()) + _field(b"\x12", value.encode()))
            for name, value in sorted(labels)
        )
        pieces: list[bytes] = []
        for number, piece in times.samples(runs):
            pieces.append(piece)
            self.samples += number
            if self.samples >= MOST_SAMPLES:
                self._series.append(_field(_SERIES, named + b"".join(pieces)))
                pieces = []
                yield self.taken()
        if pieces:
            self._series.append(_field(_SERIES, named + b"".join(pieces)))

    def taken(self) -> bytes:
        """The body of a request with everything that it holds; it is empty afterwards."""
        message = b"".join(self._series)
        self._series, self.samples = [], 0
        return snappy(message)


def snappy(content: bytes) -> bytes:
    """Snappy's block format, with literals alone."""
    pieces = [_varint(len(content))]
    for begin in range(0, len(content), _LITERAL):
        literal = content[begin : begin + _LITERAL]
        pieces += (b"\xf4" + pack("<H", len(literal) - 1), literal)
    return b"".join(pieces)
