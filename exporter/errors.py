"""Every error that the exporter raises on purpose, by who acts on it.

ExporterError
├─ ConfigError     the operator: every mistake in one go, exit status 1
├─ StartError      the operator: what else keeps the exporter from starting, exit status 1
├─ RequestFailed   the poller: the API gave no usable answer to a request
│  └─ NotSent      the poller: it was not even sent, because of how earlier ones ended
│     └─ NoKey     the operator: there is no key to send, as its file cannot be read
├─ ReplyError      the poller: one report's part of an answer cannot be read
└─ StateError      the state file: what it holds cannot be believed
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """How a request to the API ended; a label value, so the set is closed."""

    SUCCESS = "success"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    INVALID = "invalid"


class ExporterError(Exception):
    """What every error raised on purpose is."""


AFTER_ALL: Final = -1
"""The line of what is said after all that stands in a line."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing to mend in a configuration file.

    Attributes:
        file: As the operator named it.
        line: From 1; 0 where the file could not be read at all, or `AFTER_ALL`.
        path: Where in the document, `workspaces[0].metrics[2].window`; may be empty.
        text: What is wrong and what would be right. Never a value from the file.
    """

    file: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        """The mistake as `file:line: path: text`."""
        place = f"{self.file}:{self.line}" if self.line > 0 else self.file
        return ": ".join(filter(None, (place, self.path, self.text)))


class ConfigError(ExporterError):
    """The configuration cannot be used; says every mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(
            sorted(mistakes, key=lambda one: (one.file, one.line == AFTER_ALL, one))
        )
        super().__init__("\n".join(map(str, self.mistakes)))


class StartError(ExporterError):
    """Something outside the configuration file keeps the exporter from starting."""


class RequestFailed(ExporterError):
    """A request to the API brought no usable answer.

    The text is ours alone: no part of the answer, which may echo the key.

    Attributes:
        outcome: The word under which the request is counted.
        status: The HTTP status, if an answer came at all.
        wish: The seconds for which the API asks to be left alone, None if it does not.
        own: Whether the body was an error in the API's own form. Anything on the way to the API
            can answer with its statuses, so that without this one says nothing of what was asked.
        fault: Whether the breaker counts it, whatever the outcome: an answer that costs too much.
        seconds: How long it took to fail.
    """

    def __init__(
        self,
        outcome: Outcome,
        text: str,
        status: int | None = None,
        wish: float | None = None,
        *,
        own: bool = False,
        fault: bool = False,
    ) -> None:
        self.outcome = outcome
        self.status = status
        self.wish = wish
        self.own = own
        self.fault = fault
        self.seconds = 0.0
        super().__init__(text)

    @property
    def refused(self) -> bool:
        """Whether the API objects to what was asked, so that asking less may succeed."""
        return self.own and self.status in {400, 422} and self.outcome is Outcome.CLIENT_ERROR

    @property
    def missing(self) -> bool:
        """Whether the API says that it does not know what was asked about."""
        return self.own and self.status == 404


class NotSent(RequestFailed):
    """A request was not sent: the API wants none, is down, or has rejected the key."""


class NoKey(NotSent):
    """A request was not sent: there is no key to send with it.

    That is no rejection, which is the API's alone.
    """

    def __init__(self, text: str) -> None:
        super().__init__(Outcome.CLIENT_ERROR, text)


class Ending(ExporterError):
    """The exporter is ending, and takes nothing up any more."""


class ReplyError(ExporterError):
    """One report's part of an answer is missing or has another shape than documented."""


class StateError(ExporterError):
    """A state file holds nothing that can be believed."""
