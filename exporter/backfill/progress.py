"""Shows how far a backfill is: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

from exporter import logs
from exporter.backfill.plan import PARTS, Request

_EVERY: Final = 10.0
"""Seconds between two lines without a terminal."""


class Lines:
    """Progress as plain lines on standard error.

    Args:
        totals: How many requests each part has.
        time: The monotonic clock, in seconds.
    """

    def __init__(self, totals: Mapping[str, int], time: Callable[[], float]) -> None:
        self._totals = totals
        self._time = time
        self._done = Counter[str]()
        self._told = time()

    def done(self, request: Request) -> None:
        """Count a request, and say so if the last line is long ago or the part is complete."""
        part = request.part
        self._done[part] += 1
        complete = self._done[part] == self._totals[part]
        if complete or self._time() - self._told >= _EVERY:
            self._told = self._time()
            logs.say(f"{part}: {self._done[part]} of {self._totals[part]} requests")

    def note(self, text: str) -> None:
        """Print the text."""
        logs.say(text)


@contextmanager
def shown(totals: Mapping[str, int], time: Callable[[], float]) -> "Iterator[Lines | _Bars]":
    """The progress for as long as the block lasts."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield Lines(totals, time)
        return
    with _Bars(totals) as bars:
        yield bars


class _Bars:
    """Progress as one bar for each part."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        # Slow to import, and of use on a terminal alone.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True, markup=False, highlight=False))
        self._tasks = {
            part: self._bars.add_task(f"{part}  {what}", total=totals[part])
            for part, what in PARTS.items()
            if totals.get(part)
        }

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def done(self, request: Request) -> None:
        """Move the part's bar."""
        self._bars.advance(self._tasks[request.part])

    def note(self, text: str) -> None:
        """Print the text above the bars."""
        self._bars.console.print(text)
