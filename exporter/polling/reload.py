"""Puts the configuration in force again: when it is asked for, or when its files have changed."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from exporter import early_signals
from exporter.config import Config
from exporter.config.document import LARGEST_FILE
from exporter.errors import ConfigError, Ending, StartError
from exporter.files import Followed, Stamp
from exporter.metrics.telemetry import RELOAD_SUCCESSFUL, Telemetry

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files; a change is acted on when two looks agree."""

_UNKNOWN: Final = [b"unknown"]
"""Stands for no content of any files."""

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
        self._files = [Followed(Path(file), LARGEST_FILE) for file in files]
        self.at_first = self.content()
        self._asked_early = False
        signal.signal(signal.SIGHUP, self._ask)

    def _ask(self, *_: object) -> None:
        self._asked_early = True

    @property
    def asked_early(self) -> bool:
        """Whether a signal has come since the process began."""
        return early_signals.hung_up() or self._asked_early

    def stamps(self) -> list[Stamp]:
        """What tells that a file was written, though it may hold the same again."""
        return [file.stamp() for file in self._files]

    def content(self) -> list[bytes]:
        """What the files hold, as digests; the same for one that cannot be read as for another."""
        return [file.digest() for file in self._files]


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
        self._tried = source.at_first
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have it read again soon; asking often meanwhile asks once."""
        self._asked.set()

    async def reload(self) -> str:
        """Read it again now; every mistake, a line each, or nothing if it is in force."""
        async with self._one_at_a_time:
            try:
                # Before it is read: what is written meanwhile is another change.
                self._tried = await asyncio.to_thread(self._source.content)
                config = await asyncio.to_thread(self._read)
                await self._adopt(config)
            except (ConfigError, StartError) as error:
                self._telemetry.set(RELOAD_SUCCESSFUL, 0)
                for line in str(error).splitlines():
                    log.error("configuration refused", extra={"reason": line})  # noqa: TRY400 - for the operator
                return str(error)
            except Ending as ending:
                return str(ending)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is in force stays
                self._telemetry.set(RELOAD_SUCCESSFUL, 0)
                self._telemetry.bug("reload", error, log)
                return "refused because of a bug in the exporter, which the log tells"
            self._telemetry.reloaded(self._now())
        for warning in config.warnings:
            log.warning("configuration", extra={"reason": str(warning)})
        log.info("configuration in force", extra={"workspaces": len(config.workspaces)})
        return ""

    def _read(self) -> Config:
        """What the files hold; of files that were written meanwhile nobody knows what was read.

        Raises:
            ConfigError: If they have mistakes.
        """
        before = self._source.stamps()
        try:
            return self._source.read()
        finally:
            if self._source.stamps() != before:
                self._tried = _UNKNOWN

    async def run(self) -> None:
        """Reload whenever a signal or somebody else asks for it, for ever."""
        loop = asyncio.get_running_loop()

        # Not the loop's own way: its end gives a signal back its usual effect, which is to kill.
        def came(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.ask)

        signal.signal(signal.SIGHUP, came)
        if self._source.asked_early:
            self.ask()
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def follow(self, pause: Callable[[], Awaitable[None]] = _pause) -> None:
        """Reload whenever what the files hold has changed and rests, for ever.

        What a signal or a request has had read already is no change.

        Args:
            pause: Waits until it is time for another look.
        """
        seen = self._source.at_first
        while True:
            await pause()
            before, seen = seen, await self._seen(seen)
            if seen == before != self._tried:  # no longer being written
                await self.reload()

    async def _seen(self, before: list[bytes]) -> list[bytes]:
        """What the files hold now; as before where nobody can look."""
        async with self._one_at_a_time:
            try:
                return await asyncio.to_thread(self._source.content)
            except Exception as error:  # noqa: BLE001 - no thread to be had
                self._telemetry.bug("reload", error, log)
                return before
