"""Puts the configuration in force again: when it is asked for, or when its files have changed."""

import asyncio
import logging
import signal
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


class Source:
    """Where the configuration comes from, made before it is read for the first time.

    So a signal or a change that comes while the process still starts is heard, too.

    Args:
        read: Reads it; is called in a thread, as a long file takes its time.
        files: The names of its files.
    """

    def __init__(self, read: Callable[[], Config], files: Iterable[str]) -> None:
        self.read = read
        self._paths = [Path(file) for file in files]
        self.at_first = self.content()
        self.asked_early = False
        signal.signal(signal.SIGHUP, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked_early = True

    def content(self) -> list[bytes]:
        """What the files hold, as digests; the same for one that cannot be read as for another."""
        found = []
        for path in self._paths:
            try:
                found.append(sha256(path.read_bytes()).digest() if path.is_file() else b"")
            except OSError:
                found.append(b"")
        return found


class Reloader:
    """Reads the configuration again and has it adopted; a bad one changes nothing.

    Args:
        source: Where it comes from.
        adopt: Puts it in force.
        telemetry: Learns whether it was right.
        now: The present, aware.
    """

    def __init__(
        self,
        source: Source,
        adopt: Callable[[Config], Awaitable[None]],
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._source = source
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
                config = await asyncio.to_thread(self._source.read)
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
        """Reload whenever a signal or somebody else asks for it, for ever."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.ask)
        if self._source.asked_early:
            self.ask()
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def follow(self, pause: Callable[[], Awaitable[None]] = _pause) -> None:
        """Reload whenever what the files hold has changed and rests, for ever.

        Args:
            pause: Waits until it is time for another look.
        """
        in_force = seen = self._source.at_first
        while True:
            await pause()
            before, seen = seen, await asyncio.to_thread(self._source.content)
            if seen == before != in_force:  # no longer being written
                in_force = seen
                await self.reload()
