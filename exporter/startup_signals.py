"""Signal handling during start-up, before the real handlers exist.

The exporter takes a while to import its modules and to read its configuration. In that time the
default actions of signals are wrong. PID 1 of a container only receives the signals that it
handles, so SIGTERM and SIGHUP would be lost. Any other process would be killed by SIGHUP, although
the operator asks for a reload.

So this module installs handlers before anything else is imported. SIGTERM and SIGINT end the
process at once. SIGHUP is recorded, and the reloader acts on it later.
"""

import os
import signal

# No `typing` here: importing it takes longer than the rest of this module.
_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_hung_up: list[int] = []


def listen() -> None:
    """Let SIGTERM and SIGINT end the process with their own exit status, and record SIGHUP.

    A parent process may start the exporter with these signals blocked, so that none is lost while
    the interpreter starts. They are unblocked here.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup
        signal.signal(signal.SIGHUP, lambda number, _: _hung_up.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CAUGHT)


def hung_up() -> bool:
    """Whether a SIGHUP was received since the last call."""
    came = bool(_hung_up)
    _hung_up.clear()
    return came


def usual() -> None:
    """Restore the default action of SIGHUP, for a command that has no reload.

    A SIGHUP that was recorded before is delivered again.
    """
    if callable(signal.getsignal(signal.SIGHUP)):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if hung_up():
            os.kill(os.getpid(), signal.SIGHUP)


def _end(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # PID 1 survives a signal with the default action
