"""How the process ends: at the first signal cleanly and within seconds, at the second at once."""

import asyncio
import contextlib
import os
import signal
from types import FrameType
from typing import Final

LAST_SECONDS: Final = 8
"""So long after the first signal the process ends, whatever hangs."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second one of them ends the process at once.

    The clock starts with the signal itself, not when the event loop comes to it: the loop may be
    at work or hang, and so may a thread that waits for a name server, for which both the loop and
    the interpreter would wait.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        stop.set()
        # Whoever is about to end reads nothing again; and the loop's own end would let it kill.
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def first(_number: int, _frame: FrameType | None) -> None:
        # A timer of the kernel's: a thread cannot be started safely from within a signal.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.alarm(LAST_SECONDS)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(end)

    for number in _SIGNALS:
        signal.signal(number, first)
    return stop
