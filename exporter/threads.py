"""The threads that block on DNS and disks, so that the event loop does not."""

import asyncio
import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

LOOKUPS: Final = 256
"""Maximum threads, and so concurrent DNS look-ups; each blocks its thread until it is done.

A few threads would do if every name server answered. One that does not answer blocks a thread for
each request. Without a free thread, all other workspaces and a reload would wait.
"""

LEAST: Final = 4
"""Threads that are started immediately, because later the system may allow no more."""


_TURN: Final = 0.0005
_ARENA_MAX: Final = -8  # malloc.h's M_ARENA_MAX


class Workers(ThreadPoolExecutor):
    """A thread pool that carries on with the threads it has if no more can be started.

    Raises:
        RuntimeError: If it cannot start a single thread.
    """

    def __init__(self) -> None:
        super().__init__(LOOKUPS, "waits")
        for _ in range(LEAST):
            self._adjust_thread_count()

    def _adjust_thread_count(self) -> None:
        # The only step of `submit` that fails; by then the work is in the queue.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def considerate() -> None:
    """Limit what threads cost the event loop and memory. Call it before any thread starts.

    By default Python lets a busy thread run for 5 ms before it switches, and a scrape needs some
    twenty switches. And glibc gives each thread a heap, which keeps the memory of the largest
    answer that it ever held.
    """
    sys.setswitchinterval(_TURN)
    with suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that closes even if it cannot start a thread to wait for the others."""

    async def shutdown_default_executor(self, *timeout: float) -> None:
        """Wait for the running threads, if possible."""
        with suppress(RuntimeError):
            await super().shutdown_default_executor(*timeout)
