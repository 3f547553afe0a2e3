"""Hot reload of the web configuration: load a changed file once it is stable, else keep the old.

The server looks at the files regularly. A change is not loaded at once, because most editors
truncate a file before they write it. An empty web configuration is valid and restricts nothing, so
an immediate reload would disable authentication for a moment.

Hence a change has to be stable. A look that finds a change only records it. The next look loads
the files if they have not changed again, and checks once more afterwards that they did not change
during the load. If they did, the result is discarded and the wait begins anew.

If the files are invalid, the last-known-good configuration stays in force. The mistakes are logged
once, and every look retries until the files are valid. The looks run in a thread, because the disk
may hang.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exporter.errors import ConfigError, Mistake
from exporter.web.web_config import WebConfig, load

log = logging.getLogger(__name__)


@dataclass(eq=False)
class LiveWebConfig:
    """The web configuration in force, reloaded when one of its files changes.

    Attributes:
        file: The name of the file; if it is empty, nothing is restricted.
        environment: The variables for `${NAME}`.
        reloaded: Called with the success of each load.
        bug: Called with an error that is a bug of the exporter.
        current: The configuration in force.

    Raises:
        ConfigError: If the file has mistakes at start-up.
    """

    file: str
    environment: Mapping[str, str]
    reloaded: Callable[[bool], None]
    bug: Callable[[BaseException, logging.Logger], None] = lambda *_: None

    def __post_init__(self) -> None:
        self._told: object = ()
        self._pending = False
        self._looking: asyncio.Task[WebConfig | Exception | None] | None = None
        self.current = load(self.file, self.environment) if self.file else WebConfig()
        self.reloaded(True)  # noqa: FBT003 - the success, as the only argument

    def look_beside(self) -> None:
        """Apply the result of the last look, and start the next one in a thread."""
        if self._looking is not None and self._looking.done():
            looking, self._looking = self._looking, None
            self._take(looking.exception() or looking.result())
        if self._looking is None and self.current.files:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._found))

    def look(self) -> None:
        """Look at the files now, and apply a change that has been stable since the last look."""
        self._take(self._found())

    def _found(self) -> WebConfig | Exception | None:
        """The new configuration, or why it cannot be used; None if there is nothing to apply."""
        try:
            return self._at_rest()
        except Exception as error:  # noqa: BLE001 - on any error, the last-known-good stays
            return error

    def _at_rest(self) -> WebConfig | None:
        """The content of the files; None if it is in force already or not yet stable."""
        pending, self._pending = self._pending, self._changed()
        if self._pending or not (pending or self._told):
            return None
        noted = {file.path: file.noted for file in self.current.files}
        try:
            fresh = self._fresh()
        except ConfigError:
            self._pending = self._changed()
            if self._pending:
                return None
            raise
        # What was loaded must be what was seen at rest, and still be there.
        mixed = any(noted.get(file.path, file.noted) != file.noted for file in fresh.files)
        self._pending = self._changed() or mixed
        return None if self._pending else fresh

    def _changed(self) -> bool:
        """Whether a file has changed since the last look; every file records its new digest."""
        changed = [file.changed() for file in self.current.files]
        return any(changed)

    def _take(self, found: WebConfig | BaseException | None) -> None:
        if isinstance(found, ConfigError):
            self._tell(found.mistakes)
        elif isinstance(found, BaseException):
            if self._told is not type(found):
                self.bug(found, log)
            self._told = type(found)
        elif found is not None:
            self._told = ()
            self.current = found
            log.info("web configuration reloaded")
        if found is not None:
            self.reloaded(isinstance(found, WebConfig))

    def _tell(self, mistakes: tuple[Mistake, ...]) -> None:
        if mistakes != self._told:
            self._told = mistakes
            for mistake in mistakes:
                log.error(
                    "web configuration rejected, the last-known-good stays in force",
                    extra={"error": str(mistake)},
                )

    def _fresh(self) -> WebConfig:
        fresh = load(self.file, self.environment)
        if (fresh.tls is None) != (self.current.tls is None):
            text = "TLS is switched on and off by a restart alone"
            raise ConfigError([Mistake(self.file, 1, "tls_server_config", text)])
        return fresh
