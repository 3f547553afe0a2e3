"""Graceful shutdown: the first signal ends the process within seconds, the second one at once.

The first SIGTERM or SIGINT sets an event, and the event loop then shuts down by itself. That may
hang. A thread that waits for a name server cannot be stopped, yet both the event loop and the
interpreter wait for it. The loop itself may be busy or blocked. So a deadline runs from the signal
on, and it is enforced twice:

- An alarm is set in the signal handler. Its own handler ends the process, but Python only runs
  handlers between two steps of the main thread. A main thread that is blocked never gets there.
- A watchdog thread ends the process whatever the main thread does. But no thread can be started
  safely within a signal handler, so the event loop starts it.

A second signal kills the process. The default action does that even if the main thread is
blocked. PID 1 of a container has no default action, so there the handler stays installed.
"""

import asyncio
import atexit
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Final

LAST_SECONDS: Final = 8
"""The usual deadline in seconds from the first signal: the process ends then, whatever hangs."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def signalled(within: int | None = None, status: int = 0) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second signal ends the process at once.

    The deadline runs from the first signal, not from when the event loop handles it.

    Args:
        within: The deadline in seconds; None for `LAST_SECONDS`.
        status: The exit status at the deadline: not 0 if something would then be lost.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    seconds = LAST_SECONDS if within is None else within
    ending = False

    def end() -> None:
        stop.set()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # no reload during shutdown
        watchdog = threading.Timer(seconds, os._exit, (status,))
        watchdog.daemon = True
        with suppress(RuntimeError):  # no thread can be started; the alarm remains
            watchdog.start()
        for number in _SIGNALS if os.getpid() != 1 else ():
            signal.signal(number, signal.SIG_DFL)

    def came(number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        if not (ending or loop.is_closed()):
            ending = True
            signal.signal(signal.SIGALRM, lambda *_: os._exit(status))
            signal.alarm(seconds)
            loop.call_soon_threadsafe(end)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            os._exit(128 + number)

    for number in _SIGNALS:
        signal.signal(number, came)
    # At exit all threads have ended and nothing hangs any more. But the interpreter drops the
    # handler before it is gone itself, and the alarm would then kill the process.
    atexit.register(signal.alarm, 0)
    return stop
