"""What a test can leave in its process, to the harm of those that run after it."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import zoneinfo
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

PATIENCE: Final = 5.0
"""Seconds that a thread may take to end once it was told to."""

_PAUSE: Final = 0.01
_SIGNALS: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD),
)
_OPEN: Final = "/proc/self/fd"
_LISTED: Final = Path(_OPEN).exists()
_PYTESTS: Final = "PYTEST_CURRENT_TEST"

Look = Mapping[str, object]


def look() -> Look:
    """What stands in the process now, by what it is called."""
    return {
        "threads": frozenset(threading.enumerate()),
        "descriptors": _descriptors(),
        "signal handlers": tuple(signal.getsignal(number) for number in _SIGNALS),
        "environment": {name: os.environ[name] for name in os.environ if name != _PYTESTS},
        "working directory": os.getcwd(),  # noqa: PTH109 - a word is cheaper
        "module path": tuple(sys.path),
        "garbage collector": (gc.isenabled(), gc.get_threshold()),
        "log levels": [logging.getLogger(name).level for name in ("", "exporter")],
        "zones": zoneinfo.TZPATH,
        "local time": time.tzname,
        "profiler": sys.getprofile(),
    }


def since(before: Look) -> list[str]:
    """A line for each thing that is there now and was not, after some patience."""
    until = time.monotonic() + PATIENCE
    while (left := _left(before, look())) and time.monotonic() < until:
        gc.collect()  # what is in a cycle goes when the collector comes, which is no leftover
        time.sleep(_PAUSE)
    return left


def _left(before: Look, now: Look) -> list[str]:
    return [
        f"left behind: {name}: {_told(before[name], value)}"
        for name, value in now.items()
        if value != before[name] and _told(before[name], value)
    ]


def _told(before: object, now: object) -> str:
    """What is new, or what it was and is; nothing where something has merely gone."""
    if isinstance(before, frozenset) and isinstance(now, frozenset):
        return ", ".join(sorted(map(str, now - before)))
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted(
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        )
        return ", ".join(names)
    return f"{before} became {now}"


def _descriptors() -> frozenset[str]:
    """Open sockets, pipes and files, as `socket:[123]`.

    Without the connections that a server here has accepted: its clients come and go as they like,
    and where it is left behind, the socket that listens is.
    """
    found: dict[str, str] = {}
    for number in os.listdir(_OPEN) if _LISTED else ():  # noqa: PTH208 - for every test
        with suppress(FileNotFoundError):  # the one that lists them
            found[number] = os.readlink(f"{_OPEN}/{number}")  # noqa: PTH115
    sockets = {
        number: _address(int(number)) for number, name in found.items() if name.startswith("socket")
    }
    served = {address for address, listens in sockets.values() if listens}
    accepted = {n for n, (address, listens) in sockets.items() if address in served and not listens}
    return frozenset(name for number, name in found.items() if number not in accepted)


def _address(number: int) -> tuple[object, bool]:
    """The address of a socket on this side, and whether it listens.

    None in place of the address of one that has none, or whose client has gone.
    """
    with suppress(OSError):  # closed meanwhile, or another file by now
        copy = os.dup(number)
        try:
            one = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            raise
        with one:
            listens = bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            gone = one.type != socket.SOCK_STREAM or (not listens and _ended(one))
            return None if gone else one.getsockname() or None, listens
    return None, False


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
