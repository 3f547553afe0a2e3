"""The state file: locked by one process, replaced atomically, readable by its owner only.

One process owns the file, because two would overwrite each other's state. It holds a lock on a
second file with the suffix `.lock`. The state file itself cannot carry the lock, because every
write replaces it.

A write goes to a temporary file, which is flushed to the disk and then renamed to the state file.
After a crash there is therefore either the old state or the new one, never a part of one. A file
that cannot be decoded is renamed to `.corrupt` and kept for inspection, and the process starts
without state.

Two things trigger a write. Changed values are written at most every 30 seconds. What protects the
API, such as a pause, an open breaker or the next turn of an expensive request, is written at the
next look, within about a second: a crash loop must not forget it.

The metrics matter more than the state. A thread of its own does the writing, every wait for it has
a limit, and a failure is logged and counted but ends nothing.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from exporter.errors import StartError, StateError
from exporter.files import Unfit, content, opened
from exporter.metrics.telemetry import (
    STATE_QUARANTINED,
    STATE_TIMESTAMP,
    STATE_WRITE_FAILURES,
    STATE_WRITTEN,
    Telemetry,
)
from exporter.state.encoding import LARGEST, Encoder, State, decoded

WRITE_EVERY: Final = 30.0
"""Seconds between two writes of ordinary changes."""

LOOK_EVERY: Final = 1.0
"""Seconds between two checks for something to write."""

_SHARE_OF_TIME: Final = 5  # writing takes at most a fifth of the process's time

_LAST_WRITE: Final = 2.0
"""Seconds that the write at shutdown may take."""

LONGEST_WAIT: Final = 30.0
"""The longest wait for a write in seconds; a hanging disk must not stop the polling."""

log = logging.getLogger(__name__)


class StateFile:
    """The state file as a context manager that holds its lock.

    Args:
        path: The state file; the lock file is beside it, with the suffix `.lock`.
        telemetry: The exporter's own metrics.
        now: The present as an aware instant.

    Attributes:
        used: Whether `read` found a valid state.
    """

    def __init__(self, path: Path, telemetry: Telemetry, now: Callable[[], datetime]) -> None:
        self._path = path
        self._telemetry = telemetry
        self._now = now
        self._lock = -1
        self._changed = False
        self._awaited = False
        self._round = asyncio.Event()
        self._failed = ""
        self.used = False
        self._encoder = Encoder()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            StartError: If another process holds the lock, or the path is no regular file.
        """
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                raise self._odd()
        try:
            self._take_lock()
        except BlockingIOError:
            raise StartError(f"--state.file {self._path}: another process uses it") from None
        except OSError as error:
            # Serve metrics without state; the next write tries to take the lock again.
            self._complain("cannot be locked", error, self._whose())
        self._telemetry.count(STATE_WRITE_FAILURES, 0)
        self._telemetry.count(STATE_QUARANTINED, 0)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._writer.shutdown(wait=False, cancel_futures=True)
        if self._lock >= 0:
            os.close(self._lock)

    def read(self) -> State:
        """Read the state; it is empty if there is no file, or none that can be used.

        A damaged file is renamed with the suffix `.corrupt`.

        Raises:
            StartError: If the path is no regular file, which must be a configuration mistake.
        """
        found = State()
        try:
            found, self.used = decoded(self._content()), True
        except FileNotFoundError:
            pass
        except StateError as error:
            self.put_aside(str(error))
        except OSError as error:
            self._complain("cannot be read", error)
        return found

    def changed(self) -> None:
        """Note that the state has changed."""
        self._changed = True

    async def noted(self) -> None:
        """Wait until the present state is written, until that fails, or for `LONGEST_WAIT`."""
        self._awaited = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT):
                await self._round.wait()

    async def run(self, state: Callable[[], State], pressing: Callable[[], object]) -> None:
        """Write the state until cancelled.

        The first change is written soon, later ones at most every `WRITE_EVERY` seconds.

        Args:
            state: Makes the state to write.
            pressing: Returns a value; whenever it changes, the state is written at the next look.
        """
        loop = asyncio.get_running_loop()
        kept, rested, took = pressing(), -WRITE_EVERY, 0.0
        while True:
            await asyncio.sleep(max(LOOK_EVERY, _SHARE_OF_TIME * took))
            due = self._changed and loop.time() - rested >= WRITE_EVERY
            took = 0.0
            if due or self._awaited or pressing() != kept:
                kept, rested = pressing(), loop.time()
                done, self._round, self._awaited = self._round, asyncio.Event(), False
                await self.keep(state())
                took = loop.time() - rested
                done.set()

    async def keep(self, state: State) -> None:
        """Write the state now, in the writer's thread; a failure is only logged and counted."""
        self._changed = False
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self.write, state)
        except Exception as error:  # noqa: BLE001 - the metrics need no state file
            self._changed = True
            self._telemetry.set(STATE_WRITTEN, 0)
            self._telemetry.count(STATE_WRITE_FAILURES, 1)
            if isinstance(error, OSError):
                self._complain("cannot be written", error, self._whose() if self._lock < 0 else "")
            elif isinstance(error, StateError):
                self._say(f"not written, as it {error}; the one before stays", self._path)
            elif self._failed != type(error).__name__:
                self._failed = type(error).__name__
                self._telemetry.bug("state", error, log)
        else:
            self._failed = ""
            self._telemetry.set(STATE_WRITTEN, 1)
            self._telemetry.set(STATE_TIMESTAMP, self._now().timestamp())

    async def keep_last(self, state: State) -> None:
        """Write the state at shutdown, and give up after `_LAST_WRITE` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                await self.keep(state)

    def write(self, state: State) -> None:
        """Replace the state file atomically.

        Raises:
            OSError: If the write fails; the file then stays as it was, unless only the last sync of
                the folder failed.
            StateError: If the state is too large to be read again; the file stays as it was.
        """
        if self._lock < 0:
            self._take_lock()
        written, beside = self._encoder.encoded(state), self._beside(".tmp")
        beside.unlink(missing_ok=True)  # left by a process that was killed during a write
        try:
            target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(target, "wb") as stream:
                stream.write(written)
                stream.flush()
                os.fsync(target)
            beside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        lock = os.open(self._beside(".lock"), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def _odd(self) -> StartError:
        return StartError(f"--state.file {self._path}: must be a regular file, or not be there yet")

    def _content(self) -> bytes:
        """The content of the file.

        Raises:
            OSError: If the file cannot be opened or read.
            StartError: If it is no regular file.
            StateError: If it belongs to another user or is too large.
        """
        odd = self._odd()
        try:
            with opened(self._path, os.O_NOFOLLOW) as (source, status):
                if status.st_uid != os.geteuid():
                    raise StateError("is another user's")
                if status.st_size > LARGEST:
                    raise StateError("is too large")
                return content(source, status, LARGEST)
        except Unfit:
            raise odd from None
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
                raise odd from None
            raise

    def put_aside(self, why: str) -> None:
        """Rename an unusable state file, and log what is wrong with it."""
        aside = self._beside(".corrupt")
        self._telemetry.count(STATE_QUARANTINED, 1)
        extra = {"file": str(self._path), "reason": why, "kept_as": str(aside)}
        try:
            self._path.replace(aside)
        except OSError as error:
            extra["kept_as"] = f"left where it is: {error.strerror}"
        log.warning("state file ignored", extra=extra)

    def _whose(self) -> str:
        """What to do about a lock file of another user; empty if it is no other user's."""
        try:
            owner = self._beside(".lock").lstat().st_uid
        except OSError:
            return ""
        if owner == os.geteuid():
            return ""
        return f"; it belongs to user {owner}, and this is user {os.geteuid()}: remove the file"

    def _complain(self, what: str, error: OSError, then: str = "") -> None:
        """Log what failed, the system error with its file, and what to do then, if anything."""
        named = Path(os.fsdecode(error.filename)) if error.filename else self._path
        self._say(f"{what}: {error.strerror}{then}", named)

    def _say(self, reason: str, file: Path) -> None:
        """Log a failure, unless it is the same as the last one."""
        if reason != self._failed:
            self._failed = reason
            log.error("state", extra={"file": str(file), "reason": reason})

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)
