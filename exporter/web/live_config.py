"""The web configuration in force: read anew whenever one of its files has changed and rests.

Most editors empty a file before they write it, and an empty one restricts nothing: a change that
was taken up at once would let everybody in for a second.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from exporter.config.models import Shape
from exporter.errors import ConfigError, Mistake
from exporter.web.config import WebConfig, load

log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=Shape)


class LiveWebConfig:
    """The web configuration in force, taken up anew when one of its files changes.

    Args:
        file: Its name; without one nothing is restricted.
        environment: What `${NAME}` is looked up in.
        reloaded: Learns whether what was read was right.
        bug: Learns of an error that is nobody's mistake but ours.

    Raises:
        ConfigError: If the file has mistakes at the start.
    """

    def __init__(
        self,
        file: str,
        environment: Mapping[str, str],
        reloaded: Callable[[bool], None],
        bug: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._file = file
        self._environment = environment
        self._reloaded = reloaded
        self._bug = bug
        self._told: object = ()
        self._pending = False
        self._looking: asyncio.Task[WebConfig | Exception | None] | None = None
        self.current = load(file, environment) if file else WebConfig()
        reloaded(True)  # noqa: FBT003 - what there is to say

    def look_beside(self) -> None:
        """Take up what the last look found, and look again in a thread: a disk may hang."""
        if self._looking is not None and self._looking.done():
            looking, self._looking = self._looking, None
            self._take(looking.exception() or looking.result())
        if self._looking is None and self.current.files:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._found))

    def look(self) -> None:
        """Take up what has changed, if it did before the last look and not since.

        What is wrong is told once, and looked at until it is right.
        """
        self._take(self._found())

    def _found(self) -> WebConfig | Exception | None:
        """What the files hold, or why it cannot be used; None where nothing is to be taken up."""
        try:
            return self._at_rest()
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good one stays
            return error

    def _at_rest(self) -> WebConfig | None:
        """What the files hold, unless it is in force, or may not be all that is to be written."""
        pending, self._pending = self._pending, self._changed()
        if self._pending or not (pending or self._told):
            return None
        fresh = self._fresh()
        self._pending = self._changed()  # then nobody knows what was read
        return None if self._pending else fresh

    def _changed(self) -> bool:
        """Whether a file holds something else than at the last look; each notes what it is now."""
        changed = [file.changed() for file in self.current.files]
        return any(changed)

    def _take(self, found: WebConfig | BaseException | None) -> None:
        if isinstance(found, ConfigError):
            self._tell(found.mistakes)
        elif isinstance(found, BaseException):
            if self._told is not type(found):
                self._bug(found)
            self._told = type(found)
        elif found is not None:
            self._told = ()
            self.current = found
            log.info("web configuration taken up")
        if found is not None:
            self._reloaded(isinstance(found, WebConfig))

    def _tell(self, mistakes: tuple[Mistake, ...]) -> None:
        if mistakes != self._told:
            self._told = mistakes
            for mistake in mistakes:
                log.error(
                    "web configuration not taken up, the last good one stays",
                    extra={"error": str(mistake)},
                )

    def _fresh(self) -> WebConfig:
        fresh = load(self._file, self._environment)
        if (fresh.tls is None) != (self.current.tls is None):
            text = "TLS is switched on and off by a restart alone"
            raise ConfigError([Mistake(self._file, 1, "tls_server_config", text)])
        return fresh
