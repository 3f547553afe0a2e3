"""Hot reload of the configuration: on request, on SIGHUP, or when its files change.

A reload is a transaction. The configuration is read and checked in full before `adopt` puts it in
force, and `adopt` itself changes everything or nothing (see `Fleet`). If any step fails, the
last-known-good configuration stays in force, and the metric
`seasalt_exporter_config_last_reload_successful` is 0. A lock lets only one reload run at a time.

A change of the files is found by comparing digests of their content. The content must be the same
at two looks in a row, so a file that is still being written is not read. It must also differ from
the content of the last attempt, so a bad configuration is tried once and not every five seconds.

That digest is taken before the files are read. A write during the read is then a change of its own.
If the files were written during the read, nobody knows which content was read, and the next look
tries again.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from exporter import startup_signals
from exporter.config import Config
from exporter.config.yaml_document import LARGEST_FILE
from exporter.errors import ConfigError, Ending, StartError
from exporter.files import Followed, Stamp
from exporter.metrics.telemetry import RELOAD_SUCCESSFUL, Telemetry
from exporter.systemd import Notifier

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files; a change counts when two looks agree."""

_UNKNOWN: Final = [b"unknown"]
"""Equals no files' digests, so any content differs from it."""

log = logging.getLogger(__name__)


async def _pause() -> None:
    await asyncio.sleep(LOOK_EVERY)


class Source:
    """The source of the configuration.

    It is made before the configuration is first read, so a signal or a change during the start is
    not lost.

    Args:
        read: Reads the configuration; it is called in a thread, because a long file takes a while.
        files: The paths of the configuration files.

    Attributes:
        read: Reads the configuration.
        at_first: The content of the files at the start, see `content`.
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
        """Whether SIGHUP has arrived since the process started."""
        return startup_signals.hung_up() or self._asked_early

    def stamps(self) -> list[Stamp]:
        """The stamps of the files; a write changes them even if the content stays the same."""
        return [file.stamp() for file in self._files]

    def content(self) -> list[bytes]:
        """The digests of the files' contents; all unreadable files have the same digest."""
        return [file.digest() for file in self._files]


class Reloader:
    """Reloads the configuration; a bad one changes nothing.

    Args:
        source: The source of the configuration.
        adopt: Puts a configuration in force, or raises and changes nothing.
        telemetry: The exporter's own metrics.
        now: The present as an aware instant.
        notifier: Tells systemd when a reload begins and ends.
    """

    def __init__(
        self,
        source: Source,
        adopt: Callable[[Config], Awaitable[None]],
        telemetry: Telemetry,
        now: Callable[[], datetime],
        notifier: Notifier | None = None,
    ) -> None:
        self._source = source
        self._adopt = adopt
        self._telemetry = telemetry
        self._now = now
        self._notifier = notifier or Notifier({})
        self._one_at_a_time = asyncio.Lock()
        self._tried = source.at_first
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Request a reload soon; requests that arrive before it starts are merged."""
        self._asked.set()

    async def reload(self) -> str:
        """Reload now; every mistake, one per line, or an empty text if the reload succeeded."""
        async with self._one_at_a_time:
            await self._notifier.reloading()
            mistakes = await self._reload()
            await self._notifier.reloaded(successful=not mistakes)
        return mistakes

    async def _reload(self) -> str:
        try:
            # Before the read: a write during it must count as another change.
            self._tried = await asyncio.to_thread(self._source.content)
            config = await asyncio.to_thread(self._read)
            await self._adopt(config)
        except (ConfigError, StartError) as error:
            self._telemetry.set(RELOAD_SUCCESSFUL, 0)
            for line in str(error).splitlines():
                log.error("configuration rejected", extra={"reason": line})  # noqa: TRY400 - for the operator
            return str(error)
        except Ending as ending:
            return str(ending)
        except Exception as error:  # noqa: BLE001 - whatever happens, the last-known-good stays
            self._telemetry.set(RELOAD_SUCCESSFUL, 0)
            self._telemetry.bug("reload", error, log)
            return "rejected because of a bug in the exporter, which the log tells"
        self._telemetry.reloaded(self._now())
        for warning in config.warnings:
            log.warning("configuration", extra={"reason": str(warning)})
        log.info("configuration in force", extra={"workspaces": len(config.workspaces)})
        return ""

    def _read(self) -> Config:
        """Read the configuration; if the files were written meanwhile, forget which content it was.

        Raises:
            ConfigError: If the configuration has mistakes.
        """
        before = self._source.stamps()
        try:
            return self._source.read()
        finally:
            if self._source.stamps() != before:
                self._tried = _UNKNOWN

    async def run(self) -> None:
        """Reload on every SIGHUP and every `ask`, until cancelled."""
        loop = asyncio.get_running_loop()

        # Not `loop.add_signal_handler`: when the loop closes, SIGHUP would kill the process again.
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
        """Reload whenever the files' content has changed and settled, until cancelled.

        Content that a signal or a request has reloaded already is no change.
        """
        seen = self._source.at_first
        while True:
            await pause()
            before, seen = seen, await self._seen(seen)
            if seen == before != self._tried:  # no longer being written
                await self.reload()

    async def _seen(self, before: list[bytes]) -> list[bytes]:
        """The digests of the files' present contents, or the earlier ones if no thread is free."""
        async with self._one_at_a_time:
            try:
                return await asyncio.to_thread(self._source.content)
            except Exception as error:  # noqa: BLE001 - no thread is available
                self._telemetry.bug("reload", error, log)
                return before
