"""How the process ends: at the first signal cleanly and within seconds, at the second at once."""

import asyncio
import atexit
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Final

LAST_SECONDS: Final = 8
"""So long after the first signal the process ends, whatever hangs."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second one of them ends the process at once.

    A thread that waits for a name server cannot be stopped, and both the event loop and the
    interpreter would wait for it; and the loop itself may be at work for long, or hang. So the
    clock starts with the signal, not when the loop comes to it.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    ending = False

    def end() -> None:
        stop.set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever is about to end reads nothing again
        # The alarm of the kernel is heard between two steps of Python's main thread alone; this
        # one whatever that waits for, but it cannot be started safely from within a signal.
        watchdog = threading.Timer(LAST_SECONDS, os._exit, (0,))
        watchdog.daemon = True
        with suppress(RuntimeError):  # no thread to be had: the alarm must do
            watchdog.start()
        # Heard even where Python's main thread hangs. The first process of a container has no
        # usual effect to go back to.
        for number in _SIGNALS if os.getpid() != 1 else ():
            signal.signal(number, signal.SIG_DFL)

    def came(number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        if not (ending or loop.is_closed()):
            ending = True
            signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
            signal.alarm(LAST_SECONDS)
            loop.call_soon_threadsafe(end)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            os._exit(128 + number)

    for number in _SIGNALS:
        signal.signal(number, came)
    # By then all threads have ended, so nothing hangs any more; but the interpreter forgets whom
    # the alarm is for before it is gone itself.
    atexit.register(signal.alarm, 0)
    return stop
