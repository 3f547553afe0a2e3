"""The threads that wait so that the event loop does not: for name servers and for disks."""

import asyncio
import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

LOOKUPS: Final = 256
"""Names that are looked up at a time at most, each in a thread that waits as long as it takes.

A few threads would do, but for a name server that does not answer: it holds one for each request
that asks it, and with none left every other workspace would wait, and a reload.
"""

LEAST: Final = 4
"""Threads that are started at once, as later there may be none to be had."""


_TURN: Final = 0.0005
_ARENA_MAX: Final = -8  # malloc.h's M_ARENA_MAX


class Workers(ThreadPoolExecutor):
    """Threads; where no more can be started, those that there are do the work.

    Raises:
        RuntimeError: If not one can be started.
    """

    def __init__(self) -> None:
        super().__init__(LOOKUPS, "waits")
        for _ in range(LEAST):
            self._adjust_thread_count()

    def _adjust_thread_count(self) -> None:
        # The one step of `submit` that fails; what is submitted is in the queue by then.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def considerate() -> None:
    """Let threads take as little as can be from the loop and from memory; before any has begun.

    Python lets a thread that works have 5 ms before another's turn, and a scrape takes some twenty
    turns. And glibc has a heap for each thread, of which each keeps what its largest answer took.
    """
    sys.setswitchinterval(_TURN)
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that ends even where no thread can be started that waits for the others."""

    async def shutdown_default_executor(self, *timeout: float) -> None:
        """Wait for what is at work, if that can be done."""
        with suppress(RuntimeError):
            await super().shutdown_default_executor(*timeout)
