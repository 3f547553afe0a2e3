"""Signals that come before anybody is there to act on them; set up before all else is imported.

The first process of a container gets no signal that it does not catch, and one that is not caught
ends any other process. Both would be wrong while the exporter starts, which takes a while.
"""

import os
import signal

# Nothing of typing: it alone takes longer than all of this.
_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_hung_up: list[int] = []


def listen() -> None:
    """End at once, and as the signal has it, on SIGTERM and SIGINT; keep SIGHUP in mind.

    Whoever starts the process may block the three until here, so that none is lost while Python
    itself starts.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else nohup wants it so
        signal.signal(signal.SIGHUP, lambda number, _: _hung_up.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CAUGHT)


def hung_up() -> bool:
    """Whether a SIGHUP has come; it is forgotten with the answer."""
    came = bool(_hung_up)
    _hung_up.clear()
    return came


def usual() -> None:
    """Give SIGHUP its usual effect, for a command that reads nothing again."""
    if callable(signal.getsignal(signal.SIGHUP)):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if hung_up():
            os.kill(os.getpid(), signal.SIGHUP)


def _end(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container outlives its own signal
