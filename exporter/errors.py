"""Every error that the exporter raises on purpose, by who acts on it.

ExporterError
├─ ConfigError     the operator: all mistakes of the configuration at once, exit status 1
├─ StartError      the operator: any other start-up error, exit status 1
├─ RequestFailed   the poller: the API gave no usable answer to a request
│  ├─ NoConnection the prober: the request was not sent, because nothing could be reached
│  └─ NotSent      the poller: the request was not sent, because of earlier answers
│     └─ NoKey     the operator: the key file cannot be read, so there is no key to send
├─ Ending          the reloader: the exporter is shutting down and accepts no configuration
├─ ReplyError      the poller: one report's part of an answer cannot be read
└─ StateError      the state file: its content cannot be trusted
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


class Cause(StrEnum):
    """Why a report has no new values: finer than an outcome, so that it tells who can act."""

    KEY_REJECTED = "key_rejected"
    NO_KEY = "no_key"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    BUDGET_SPENT = "budget_spent"
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    INVALID = "invalid"
    BUG = "bug"


_CAUSES: Final = {
    Outcome.UNAUTHORIZED: Cause.KEY_REJECTED,
    Outcome.RATE_LIMITED: Cause.RATE_LIMITED,
    Outcome.CLIENT_ERROR: Cause.REFUSED,
    Outcome.SERVER_ERROR: Cause.SERVER_ERROR,
    Outcome.TIMEOUT: Cause.TIMEOUT,
    Outcome.CONNECT: Cause.CONNECT,
    Outcome.INVALID: Cause.INVALID,
}
"""The usual cause of each outcome; whoever knows better says so."""


class ExporterError(Exception):
    """The base class of all errors that are raised on purpose."""


AFTER_ALL: Final = -1
"""The line number of a remark that is listed after all mistakes with a line."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a configuration file.

    Attributes:
        file: As the operator named it.
        line: From 1; 0 if the file could not be read at all, or `AFTER_ALL`.
        path: The place in the document, like `workspaces[0].metrics[2].window`; may be empty.
        text: What is wrong and what would be valid. Never a value from the file.
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
    """The configuration is invalid; the error lists every mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(
            sorted(mistakes, key=lambda one: (one.file, one.line == AFTER_ALL, one))
        )
        super().__init__("\n".join(map(str, self.mistakes)))


class StartError(ExporterError):
    """A cause outside the configuration file prevents the exporter from starting."""


class RequestFailed(ExporterError):
    """The API gave no usable answer to a request.

    The text is the exporter's own. It contains no part of the answer, which may echo the key.

    Attributes:
        outcome: The outcome under which the request is counted.
        status: The HTTP status, None without an answer.
        wish: The seconds of Retry-After, None without it.
        own: Whether the body was an error in the API's own format. A proxy may answer with the
            same status; without this flag, the status says nothing about the request.
        fault: Whether the circuit breaker counts the failure whatever its outcome, because the
            answer was too expensive to read.
        cause: Why the reports of the request have no new values.
        code: The API's own error code, None without one.
        of_a_kept_connection: Whether a connection of an earlier request ended before the first byte
            of an answer. That says nothing about the API.
        seconds: The time until the failure.
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
        cause: Cause | None = None,
    ) -> None:
        self.outcome = outcome
        self.status = status
        self.wish = wish
        self.own = own
        self.fault = fault
        self.code: int | None = None
        self.of_a_kept_connection = False
        self.seconds = 0.0
        super().__init__(text)
        self.cause = cause or (Cause.NOT_FOUND if self.missing else _CAUSES[outcome])

    @property
    def refused(self) -> bool:
        """Whether the API rejected the request itself, so that a smaller one may succeed."""
        return self.own and self.status in {400, 422} and self.outcome is Outcome.CLIENT_ERROR

    @property
    def missing(self) -> bool:
        """Whether the API says that the requested object does not exist."""
        return self.own and self.status == 404


class NoConnection(RequestFailed):
    """There was no connection on which a request could be sent."""


class NotSent(RequestFailed):
    """A request was not sent.

    Requests are paused, the daily budget is spent, the circuit breaker is open, or the API has
    rejected the key.
    """


class NoKey(NotSent):
    """A request was not sent because there is no key.

    This does not mean that the key was rejected: only the API can do that.
    """

    def __init__(self, text: str) -> None:
        super().__init__(Outcome.CLIENT_ERROR, text, cause=Cause.NO_KEY)


class Ending(ExporterError):
    """The exporter is shutting down and accepts no new configuration."""


class ReplyError(ExporterError):
    """One report's part of an answer is missing or does not have the documented shape."""


class StateError(ExporterError):
    """The content of a state file cannot be trusted."""
