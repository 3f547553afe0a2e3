"""The rebuilt series as OpenMetrics with timestamps in seconds, for promtool.

A run of equal values is one join of prepared texts, so the interpreter works once a run and not
once a sample. The file has its name only once it is complete, so one that is there is whole.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from exporter.backfill.rebuild import Runs
from exporter.errors import StartError
from exporter.metrics.exposition import number

NAME: Final = "history.om"
_BUFFER: Final = 1024 * 1024
_MOST: Final = 4096
"""Samples of one write."""


class Times:
    """The moments of a grid as the ends of lines."""

    def __init__(self, times: Iterable[int]) -> None:
        self._ends = [f"{at}\n" for at in times]

    def lines(self, series: str, runs: Runs) -> Iterator[str]:
        """The lines of a series, in pieces."""
        for begin, end, value in runs:
            start = f"{series} {number(value)} "
            for first in range(begin, end, _MOST):
                ends = self._ends[first : min(first + _MOST, end)]
                yield start + start.join(ends)


class Writer:
    """Writes the file; it counts the samples.

    Attributes:
        samples: The number of samples so far.
    """

    def __init__(self, out: "os.PathLike[str]") -> None:
        self._out = Path(out).open("w", encoding="utf-8", buffering=_BUFFER)  # noqa: SIM115 - `writing` closes it
        self.samples = 0

    def family(self, header: str) -> None:
        """Begin a family; its series follow."""
        self._out.write(header)

    def series(self, text: str, runs: Runs, times: Times) -> None:
        """Write one series."""
        self._out.writelines(times.lines(text, runs))
        self.samples += len(runs)

    def end(self) -> None:
        """Write the end, and have all of it on the disk."""
        self._out.write("# EOF\n")
        self._out.flush()
        os.fsync(self._out.fileno())

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a full disk; it has been told already
            self._out.close()


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A writer whose file takes its name when the block is left without an error.

    Raises:
        StartError: If the file cannot be written. An earlier file of that name stays.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        writer = Writer(part)
        try:
            yield writer
            writer.end()
        finally:
            writer.close()
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        why = error.strerror or type(error).__name__
        raise StartError(f"{path}: cannot be written: {why}; the answers are kept") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise
