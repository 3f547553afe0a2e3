"""The file that keeps the state over a restart: locked, whole or not there, for its owner alone."""

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
from types import TracebackType
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
from exporter.state.encoding import LARGEST, State, decoded, encoded

WRITE_EVERY: Final = 30.0
"""Seconds between two writes, but for what must not be forgotten."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at whether there is something to write."""

_SHARE_OF_TIME: Final = 5  # writing takes at most a fifth of the process's time

_LAST_WRITE: Final = 2.0
"""Seconds that the write at the end may take."""

LONGEST_WAIT: Final = 30.0
"""Seconds that anybody waits for a write: a disk that hangs must not stop what can do without."""

log = logging.getLogger(__name__)


class StateFile:
    """Keeps a state while it is entered; nobody else can use the file meanwhile.

    Args:
        path: Where; a lock of the same name with `.lock` is made beside it.
        telemetry: Learns how the writing goes.
        now: The present, aware.

    Attributes:
        used: Whether a state was found that could be read.
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
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")

    def __enter__(self) -> Self:
        """Take the lock, beside what can be a state file and nothing else.

        Raises:
            StartError: If another process has it, or something else than a file is there.
        """
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                raise self._odd()
        try:
            self._take_lock()
        except BlockingIOError:
            raise StartError(f"--state.file {self._path}: another process uses it") from None
        except OSError as error:
            # Without a lock there is no state yet, but there is a page.
            self._complain("cannot be locked", error, self._whose())
        self._telemetry.count(STATE_WRITE_FAILURES, 0)
        self._telemetry.count(STATE_QUARANTINED, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the lock go."""
        self._writer.shutdown(wait=False, cancel_futures=True)
        if self._lock >= 0:
            os.close(self._lock)

    def read(self) -> State:
        """What was kept; nothing where there is no file, or none that can be believed.

        A damaged file is put aside under the name with `.corrupt`.

        Raises:
            StartError: If it is something else than a file: that was not meant.
        """
        try:
            found = decoded(self._content())
        except FileNotFoundError:
            pass
        except StateError as error:
            self.put_aside(str(error))
        except OSError as error:
            self._complain("cannot be read", error)
        else:
            self.used = True
            return found
        return State()

    def changed(self) -> None:
        """Note that there is something new to keep."""
        self._changed = True

    async def noted(self) -> None:
        """Wait until what is so now is written down, or could not be, or takes too long."""
        self._awaited = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT):
                await self._round.wait()

    async def run(self, state: Callable[[], State], pressing: Callable[[], object]) -> None:
        """Keep what there is, for ever: soon after the first change, then at most now and then.

        Args:
            state: What to keep.
            pressing: What must be kept at once when it is another than before.
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
        """Write it down now, away from the loop; a failure is told and counted, no more."""
        self._changed = False
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self.write, state)
        except Exception as error:  # noqa: BLE001 - the page needs no state file
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
        """Write it down before the end, unless the disk takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WRITE):
                await self.keep(state)

    def write(self, state: State) -> None:
        """Put a state in the place of the one before, whole or not at all.

        Raises:
            OSError: If that cannot be; the file is as it was.
            StateError: If nobody would read so large a file again; likewise.
        """
        if self._lock < 0:
            self._take_lock()
        written, beside = encoded(state), self._beside(".tmp")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()  # of a process that was killed while it wrote
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
        text = f"--state.file {self._path}: must be a regular file, or not be there yet"
        return StartError(text)

    def _content(self) -> bytes:
        """What the file holds.

        Raises:
            OSError: If it cannot be opened.
            StartError: If it is something else than a file.
            StateError: If it is nothing that we wrote.
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
            if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
                raise odd from None
            raise

    def put_aside(self, why: str) -> None:
        """Keep a file that cannot be used under another name, and say so."""
        aside = self._beside(".corrupt")
        self._telemetry.count(STATE_QUARANTINED, 1)
        extra = {"file": str(self._path), "reason": why, "kept_as": str(aside)}
        try:
            self._path.replace(aside)
        except OSError as error:
            extra["kept_as"] = f"left where it is: {error.strerror}"
        log.warning("state not used", extra=extra)

    def _whose(self) -> str:
        """What to do about a lock that somebody else has left; empty where nobody has."""
        try:
            owner = self._beside(".lock").lstat().st_uid
        except OSError:
            return ""
        if owner == os.geteuid():
            return ""
        return f"; it belongs to user {owner}, and this is user {os.geteuid()}: remove the file"

    def _complain(self, what: str, error: OSError, then: str = "") -> None:
        """Say what went wrong with which file."""
        named = Path(os.fsdecode(error.filename)) if error.filename else self._path
        self._say(f"{what}: {error.strerror}{then}", named)

    def _say(self, reason: str, file: Path) -> None:
        """Say something, once for as long as it stays the same."""
        if reason != self._failed:
            self._failed = reason
            log.error("state", extra={"file": str(file), "reason": reason})

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)
