"""An API key whose file is read in a thread and cached, so that no disk blocks the event loop."""

import asyncio
import logging
from typing import Final

from exporter.config import ApiKey
from exporter.errors import NoKey

PATIENCE: Final = 1.0
"""The longest that a request waits for its key file, in seconds."""

log = logging.getLogger(__name__)


class KeyAtHand:
    """A key that is read in a thread and cached in memory.

    If the disk hangs, requests keep using the last key that was read, however old it is. Only the
    API decides whether a key is valid, and it rejects one that was revoked.

    Args:
        key: The key as configured.
    """

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._looking: asyncio.Task[str | NoKey] | None = None
        self._begun = 0.0
        self._found: str | NoKey = NoKey("the key file cannot be read in time")
        self._hangs = False

    def read(self) -> str:
        """The cached key.

        Raises:
            NoKey: If the last read found none.
        """
        if self._key.file is None:
            return self._key.read()
        if isinstance(self._found, NoKey):
            raise NoKey(str(self._found))
        return self._found

    async def look(self) -> None:
        """Read the key file again, and wait for it up to `PATIENCE`; one read runs at a time."""
        if self._key.file is None:
            return
        time = asyncio.get_running_loop().time
        if self._looking and self._looking.done() and time() - self._begun > PATIENCE:
            self._take(self._looking)  # this read hung, so its result may be old
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
            return  # another request already took the result
        self._looking = None
        if looking.cancelled() or looking.exception():
            return  # no thread was available: treat it as a hanging disk
        self._found, self._hangs = looking.result(), False


def _held_by(key: ApiKey) -> str | NoKey:
    try:
        return key.read()
    except NoKey as failure:
        return failure.with_traceback(None)
