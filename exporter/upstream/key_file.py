"""An API key at hand: what its file held at the last look, so that nobody else waits for a disk."""

import asyncio
import logging
from typing import Final

from exporter.config import ApiKey
from exporter.errors import NoKey

PATIENCE: Final = 1.0
"""Seconds that a request waits for its key file at most."""

log = logging.getLogger(__name__)


class KeyAtHand:
    """A key that is looked at in a thread and kept in memory.

    Where the disk hangs, the key that was read last is sent on, however old it is: no disk says
    whether a key is good, only the API does, and it refuses one that was withdrawn.

    Args:
        key: As the operator gives it.
    """

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._looking: asyncio.Task[str | NoKey] | None = None
        self._begun = 0.0
        self._found: str | NoKey = NoKey("the key file cannot be read in time")
        self._hangs = False

    def read(self) -> str:
        """The key as the last look found it.

        Raises:
            NoKey: If it found none.
        """
        if self._key.file is None:
            return self._key.read()
        if isinstance(self._found, NoKey):
            failure = self._found
            raise NoKey(str(failure))
        return self._found

    async def look(self) -> None:
        """Take up what the file holds now, unless the disk takes too long; one look at a time."""
        if self._key.file is None:
            return
        time = asyncio.get_running_loop().time
        if self._looking and self._looking.done() and time() - self._begun > PATIENCE:
            self._take(self._looking)  # of a look that has hung: what it found may be old
        if self._looking is None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(_held_by, self._key))
            self._begun = time()
        looking = self._looking
        await asyncio.wait({looking}, timeout=max(0.0, self._begun + PATIENCE - time()))
        if looking.done():
            self._take(looking)
        elif not self._hangs:
            self._hangs = True
            text = f"no answer within {PATIENCE:g} s; the key that was read last is used on"
            log.warning("key file", extra={"file": str(self._key.file), "reason": text})

    def _take(self, looking: "asyncio.Task[str | NoKey]") -> None:
        if self._looking is not looking:
            return  # another request was first
        self._looking = None
        if looking.cancelled() or looking.exception():
            return  # no thread to be had: as if the disk hung
        self._found, self._hangs = looking.result(), False


def _held_by(key: ApiKey) -> str | NoKey:
    try:
        return key.read()
    except NoKey as failure:
        return failure.with_traceback(None)
