"""Files that somebody else writes: read whole and within a bound, or refused.

A file is opened without waiting, and everything about it is asked of the open descriptor: what was
judged is what is read, whatever takes the name of the file meanwhile.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

LARGEST_PEM: Final = 4 * 1024 * 1024
"""Bytes of a file of certificates or of a key for TLS; the public authorities take a tenth."""

_SETTLED_AFTER: Final = 2_000_000_000
"""Nanoseconds: a write that comes sooner after another may leave the same times on the file."""

Stamp = tuple[int, ...]


class Unfit(OSError):
    """The file can be opened, and is not to be read: its text says why."""


def reason(error: OSError) -> str:
    """Why a file cannot be read, in words that name nothing of it."""
    if isinstance(error, Unfit):
        return str(error)
    return f"cannot be read: {error.strerror or type(error).__name__}"


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[tuple[int, os.stat_result]]:
    """The descriptor of a regular file and what the system says of it.

    Args:
        path: Where it is.
        flags: For `os.open`, beside those that keep it from waiting.

    Raises:
        Unfit: If it is something else: a pipe would be waited for, a device never ends.
        OSError: If it cannot be opened.
    """
    flags |= os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL in the name
        raise Unfit("must be the name of a file") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unfit("must be a regular file")
        yield descriptor, status
    finally:
        os.close(descriptor)


def content(descriptor: int, status: os.stat_result, most: int) -> bytes:
    """All that an open file holds.

    Raises:
        Unfit: If that is more than so many bytes; then hardly more than those are read.
        OSError: If it cannot be read.
    """
    too_large = Unfit(f"must not be larger than {most} bytes")
    if status.st_size > most:
        raise too_large
    found, room = [], most + 1  # it may grow, and some systems tell no size
    while room and (part := os.read(descriptor, room)):
        found.append(part)
        room -= len(part)
    if not room:
        raise too_large
    return b"".join(found)


def read(path: Path, most: int) -> bytes:
    """All that a file holds.

    Raises:
        Unfit: If it is not a regular file, or holds more than so many bytes.
        OSError: If it cannot be read.
    """
    with opened(path) as (descriptor, status):
        return content(descriptor, status, most)


class Followed:
    """A file that is looked at again and again, and read only where it may hold something else.

    Its stamp is taken from the open descriptor before the content: what is written while it is
    read is a change that the next look sees.

    Args:
        path: Where it is.
        most: Bytes that it may have.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self._most = most
        self._stamp: Stamp | None = None
        self._digest = b""

    def read(self) -> bytes:
        """What it holds now.

        Raises:
            Unfit: If it is not a regular file, or too large.
            OSError: If it cannot be read.
        """
        self._stamp, self._digest = None, b""
        with opened(self.path) as (descriptor, status):
            # Of the clock, before the content: what is young may change and keep its stamp.
            age = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
            if age > _SETTLED_AFTER:
                self._stamp = _stamp(status)
            found = content(descriptor, status, self._most)
        self._digest = sha256(found).digest()
        return found

    def digest(self) -> bytes:
        """Stands for what it holds now; empty where it cannot be read."""
        try:
            if self._stamp is None or _stamp(self.path.stat()) != self._stamp:
                self.read()
        except (OSError, ValueError):
            self._stamp, self._digest = None, b""
        return self._digest

    def stamp(self) -> Stamp:
        """Another one whenever it was written or replaced, whatever it holds; empty for none."""
        try:
            return _stamp(self.path.stat())
        except (OSError, ValueError):
            return ()

    def changed(self) -> bool:
        """Whether it holds something else than when it was read or looked at last."""
        before = self._digest
        return self.digest() != before


def _stamp(status: os.stat_result) -> Stamp:
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )
