"""Puts the configuration in force again: when it is asked for, or when its files have changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from exporter.config import Config
from exporter.errors import ConfigError, StartError
from exporter.telemetry import RELOAD_SUCCESSFUL, Telemetry

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files; a change is acted on when two looks agree."""

log = logging.getLogger(__name__)


async def _pause() -> None:
    await asyncio.sleep(LOOK_EVERY)


class Reloader:
    """Reads the configuration again and has it adopted; a bad one changes nothing.

    Args:
        read: Reads it; runs in a thread, as a long file takes its time.
        adopt: Puts it in force.
        telemetry: Learns whether it was right.
        now: The present, aware.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        adopt: Callable[[Config], Awaitable[None]],
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._read = read
        self._adopt = adopt
        self._telemetry = telemetry
        self._now = now
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have it read again soon; asking often meanwhile asks once."""
        self._asked.set()

    async def reload(self) -> str:
        """Read it again now; every mistake, a line each, or nothing if it is in force."""
        async with self._one_at_a_time:
            try:
                config = await asyncio.to_thread(self._read)
                await self._adopt(config)
            except (ConfigError, StartError) as error:
                self._telemetry.set(RELOAD_SUCCESSFUL, 0)
                for line in str(error).splitlines():
                    log.error("configuration refused", extra={"reason": line})  # noqa: TRY400 - for the operator
                return str(error)
            self._telemetry.reloaded(self._now())
        for warning in config.warnings:
            log.warning("configuration", extra={"reason": str(warning)})
        log.info("configuration in force", extra={"workspaces": len(config.workspaces)})
        return ""

    async def run(self) -> None:
        """Reload whenever it is asked for, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def follow(
        self, files: Iterable[str], pause: Callable[[], Awaitable[None]] = _pause
    ) -> None:
        """Reload whenever what the files hold has changed and rests, for ever.

        Args:
            files: Their names.
            pause: Waits until it is time for another look.
        """
        paths = [Path(file) for file in files]
        in_force = seen = await asyncio.to_thread(_content, paths)
        while True:
            await pause()
            before, seen = seen, await asyncio.to_thread(_content, paths)
            if seen == before != in_force:  # no longer being written
                in_force = seen
                await self.reload()


def _content(paths: Iterable[Path]) -> list[bytes]:
    """What files hold, as digests; the same for one that cannot be read as for another such."""
    found = []
    for path in paths:
        try:
            found.append(sha256(path.read_bytes()).digest() if path.is_file() else b"")
        except OSError:
            found.append(b"")
    return found
