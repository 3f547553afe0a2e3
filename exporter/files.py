"""Reading of files that other programs write: size-limited, never blocking on a pipe, race-free.

A path that an operator configures may lead to anything: a pipe that blocks, a device that never
ends, a file that is replaced at this moment. So a file is opened without blocking, and its type
and size are checked on the open descriptor. The file that was checked is then the file that is
read, even if another one takes over its name.

`Followed` detects changes in two steps. The cheap one compares the stamp: device, inode, size,
mtime and ctime. Only if the stamp differs is the file read again and its digest compared. A second
write shortly after the first may leave the same stamp, because file systems count time in ticks.
Hence the stamp of a file is used only if its times are more than two seconds old.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

LARGEST_PEM: Final = 4 * 1024 * 1024
"""Maximum bytes of a TLS certificate or key file; a bundle of all public CAs needs a tenth."""

_SETTLED_AFTER: Final = 2_000_000_000
"""Nanoseconds; two writes within less time may leave the same times on the file."""

Stamp = tuple[int, ...]


class Unfit(OSError):
    """The file can be opened but must not be read; the text says why."""


def reason(error: OSError) -> str:
    """Why a file cannot be read, without its name or content."""
    if isinstance(error, Unfit):
        return str(error)
    return f"cannot be read: {error.strerror or type(error).__name__}"


@contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[tuple[int, os.stat_result]]:
    """The descriptor of a regular file and its status; the flags add to those against blocking.

    Raises:
        Unfit: If it is not a regular file: a pipe may block, and a device may never end.
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
    """The whole content of an open file.

    Raises:
        Unfit: If the file has more than `most` bytes; at most one byte beyond them is read.
        OSError: If it cannot be read.
    """
    too_large = Unfit(f"must not be larger than {most} bytes")
    if status.st_size > most:
        raise too_large
    found, room = [], most + 1  # the file may grow, and some file systems report no size
    while room and (part := os.read(descriptor, room)):
        found.append(part)
        room -= len(part)
    if not room:
        raise too_large
    return b"".join(found)


def read(path: Path, most: int) -> bytes:
    """The whole content of a file; the errors are those of `opened` and `content`."""
    with opened(path) as (descriptor, status):
        return content(descriptor, status, most)


class Followed:
    """A file that is checked for changes regularly, and read only if it may have changed.

    The stamp is taken from the open descriptor before the content is read. So the next check
    detects a write that happens during the read.

    Attributes:
        noted: The digest of what was read last; empty if that failed.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.noted = b""
        self._most = most
        self._stamp: Stamp | None = None

    def read(self) -> bytes:
        """The current content; the errors are those of `opened` and `content`."""
        self._stamp, self.noted = None, b""
        with opened(self.path) as (descriptor, status):
            age = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
            found = content(descriptor, status, self._most)
        self.noted = sha256(found).digest()
        # A file that was just written may change again without a new stamp.
        if age > _SETTLED_AFTER:
            self._stamp = _stamp(status)
        return found

    def digest(self) -> bytes:
        """The digest of the current content; empty if the file cannot be read."""
        if self._stamp is None or self.stamp() != self._stamp:
            with suppress(OSError):
                self.read()
        return self.noted

    def stamp(self) -> Stamp:
        """The current stamp, which changes with a write or replacement; empty without a file."""
        try:
            return _stamp(self.path.stat())
        except (OSError, ValueError):
            return ()

    def changed(self) -> bool:
        """Whether the content differs from that of the last read or check."""
        before = self.noted
        return self.digest() != before


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
