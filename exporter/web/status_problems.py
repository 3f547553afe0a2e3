"""What is wrong, grouped by cause: one problem for one cause, however many reports it hits. Pure.

A problem says whose side it is on and what to do about it. It gathers the reports of one API that
are not ok for the same reason, and keeps a `Hit` for each workspace.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from exporter.errors import Cause
from exporter.model import bot_list
from exporter.model.apis import APIS
from exporter.polling.status import ReportState, ReportStatus, TargetStatus, WorkspaceStatus
from exporter.web.status_view import FORBIDDEN, UNKNOWN, Level

YOURS: Final = "Yours to fix"
THEIRS: Final = "Seasalt's side"
BETWEEN: Final = "The network, or Seasalt's side"
OURS: Final = "The exporter's side"
NOBODYS: Final = "Passes by itself"

MOST_ERRORS: Final = 100
"""Different error texts that are counted for a problem; an error may name an instant."""

NAMED: Final = 3
"""Bots, reports and errors that a line names before it counts the rest."""

_Instants = Sequence[datetime | None]


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person on call needs to know about a kind of problem.

    Attributes:
        short: The reason in a few words, for a line about one target.
        title: What is wrong, in one line; `{api}` is the title of the API.
        whose: Who can act on it.
        do: What to do, with settings and commands in backquotes; `{where}` is where the key is
            configured, `{scope}` the scope that it needs.
        runbook: The runbook that has more; empty if there is none.
    """

    short: str
    title: str
    whose: str
    do: str
    runbook: str = ""


ADVICE: Final[Mapping[str, Advice]] = {
    Cause.KEY_REJECTED: Advice(
        "key rejected",
        "{api} rejects the key",
        YOURS,
        "Put a valid key with the scope “{scope}” into {where}.",
        "SeasaltKeyRejected",
    ),
    FORBIDDEN: Advice(
        "key not allowed",
        "{api} does not let the key read everything",
        YOURS,
        "The key works for other bots. Give it access to these, or stop polling them.",
        "SeasaltDataStale",
    ),
    Cause.NO_KEY: Advice(
        "no key",
        "The key cannot be read",
        YOURS,
        "Check the file in {where}: it must be readable for the exporter and hold the key alone.",
        "SeasaltWorkspaceBlind",
    ),
    Cause.CONNECT: Advice(
        "not reached",
        "{api} cannot be reached",
        BETWEEN,
        "Check name resolution, proxy, firewall and certificates from this host. The exporter keeps"
        " trying.",
        "SeasaltApiFailing",
    ),
    Cause.TIMEOUT: Advice(
        "timeout",
        "{api} does not answer in time",
        BETWEEN,
        "Check whether this host reaches other addresses. If the API is just slow, raise `timeout`. The"
        " exporter keeps trying.",
        "SeasaltApiFailing",
    ),
    Cause.SERVER_ERROR: Advice(
        "server error",
        "{api} answers with server errors",
        THEIRS,
        "Nothing to change here: the exporter keeps trying. If it lasts, report it to Seasalt.",
        "SeasaltApiFailing",
    ),
    Cause.INVALID: Advice(
        "invalid answer",
        "{api} sends answers that cannot be read",
        THEIRS,
        "If it lasts, compare `base_url` and `path` with the API's documentation, and report it to"
        " Seasalt.",
        "SeasaltApiFailing",
    ),
    Cause.BLOCKED: Advice(
        "blocked before the API",
        "Something before {api} refuses the requests",
        BETWEEN,
        "A firewall, proxy or gateway answers in place of the API. Ask whoever runs it.",
        "SeasaltApiRateLimited",
    ),
    Cause.RATE_LIMITED: Advice(
        "rate limited",
        "{api} asks to slow down",
        NOBODYS,
        "If it comes back, lower `requests_per_minute` or raise `interval`, and look for another client"
        " that uses the same key.",
        "SeasaltApiRateLimited",
    ),
    Cause.BUDGET_SPENT: Advice(
        "budget spent",
        "The daily request budget is spent",
        YOURS,
        "Polling goes on when the workspace's next day begins. Raise `requests_per_day` or `interval`.",
        "SeasaltBudgetNearlySpent",
    ),
    Cause.REFUSED: Advice(
        "refused",
        "{api} refuses the request",
        YOURS,
        "Check the options of these reports in the configuration. If it refuses every report, check"
        " `base_url`, `path` and `workspace_id`.",
        "SeasaltDataStale",
    ),
    Cause.NOT_FOUND: Advice(
        "not found",
        "{api} does not know what is polled",
        YOURS,
        "If the bot was deleted, remove it from the configuration. Otherwise check its id, and"
        " whether the key belongs to the same workspace.",
        "SeasaltDataStale",
    ),
    Cause.BUG: Advice(
        "bug in the exporter",
        "A bug in the exporter",
        OURS,
        "Report it with the log lines of level `critical`. What was known before stays in force.",
    ),
    UNKNOWN: Advice(
        "failed before the restart",
        "Failed before the restart, and not polled since",
        NOBODYS,
        "The next poll tells more.",
    ),
    ReportState.LATE: Advice(
        "late",
        "Reports are late",
        NOBODYS,
        "Polling is behind, for example after a pause, and catches up.",
        "SeasaltDataStale",
    ),
    ReportState.WAITING: Advice(
        "not polled yet",
        "Not polled yet",
        NOBODYS,
        "Nothing: the first round is under way, as fast as the limits allow.",
    ),
}
"""The advice for each kind of problem; of those that are equally bad, the first comes first."""

_READ_AGAIN: Final = " The exporter reads the file again at the next request."
_RELOAD: Final = (
    " Then reload the configuration; if the key comes from an environment variable, restart the"
    " exporter instead."
)
_TOO_MUCH: Final = Advice(
    "late",
    "The plan does not fit the rate",
    YOURS,
    "The intervals need more requests than the limits allow. Raise `interval`, `requests_per_minute`"
    " or `requests_per_day`; `seasalt-exporter plan` prints the requests.",
    "SeasaltDataStale",
)
HELD: Final = frozenset(
    {
        *(Cause.CONNECT, Cause.TIMEOUT, Cause.SERVER_ERROR, Cause.INVALID, Cause.BLOCKED),
        *(Cause.RATE_LIMITED, ReportState.LATE, ReportState.WAITING),
    }
)
"""The kinds that lead to a pause or an open circuit breaker, or follow from one."""

_ORDER: Final = {name: place for place, name in enumerate(ADVICE)}


@dataclass(slots=True)
class Extent:
    """How far a problem reaches.

    Attributes:
        reports: The number of reports.
        lost: How many of them have no values left.
        never: How many of them have never had any.
        since: When the first of them began to fail or became late; None if that is not known.
        tried: When the first of those was tried that have never succeeded; None if there is none.
        gone: When the first values left the metrics page; None if none did.
        until: When the first of the values leave the metrics page that are still there.
        retry: When the next of them is polled; None if one is being polled.
    """

    reports: int = 0
    lost: int = 0
    never: int = 0
    since: datetime | None = None
    tried: datetime | None = None
    gone: datetime | None = None
    until: datetime | None = None
    retry: datetime | None = None

    def add(self, reports: Sequence[ReportStatus]) -> None:
        """Add some reports, at least one."""
        begun = [one.failing_since or one.late_since for one in reports if one.last_success]
        tried = [one.failing_since for one in reports if not one.last_success]
        gone = [one.values_until for one in reports if one.lost]
        kept = [one.values_until for one in reports if not one.lost]
        self._count(len(reports), len(gone), len(tried), [one.next_poll for one in reports])
        self._date(begun, tried, gone, kept)

    def join(self, other: "Extent") -> None:
        """Add the reports of another extent, which has at least one."""
        self._count(other.reports, other.lost, other.never, [other.retry])
        self._date([other.since], [other.tried], [other.gone], [other.until])

    def _count(self, reports: int, lost: int, never: int, polls: Sequence[datetime | None]) -> None:
        if self.reports:
            polls = [self.retry, *polls]
        # One that is under way comes first.
        self.retry = None if None in polls else _earliest(polls)
        self.reports += reports
        self.lost += lost
        self.never += never

    def _date(self, begun: _Instants, tried: _Instants, gone: _Instants, kept: _Instants) -> None:
        if begun:
            self.since = _earliest([self.since, *begun])
        if tried:
            self.tried = _earliest([self.tried, *tried])
        if gone:
            self.gone = _earliest([self.gone, *gone])
        if kept:
            self.until = _earliest([self.until, *kept])


def _earliest(instants: _Instants) -> datetime | None:
    """The earliest of some instants, of which each may be unknown."""
    return min(filter(None, instants), default=None)


@dataclass(slots=True)
class Hit(Extent):
    """How far a problem reaches in one workspace.

    Attributes:
        workspace: The workspace.
        errors: How many reports each error is about, in all workspaces that the problem hits.
        bots: The number of bots.
        whole: Whether it also hits reports of the whole workspace.
        named: The first of the bots.
        lists: Whether reading the bot list is among the reports.
    """

    workspace: WorkspaceStatus = field(kw_only=True)
    errors: Counter[str] = field(kw_only=True)
    bots: int = 0
    whole: bool = False
    named: list[TargetStatus] = field(default_factory=list)
    lists: bool = False

    def found(self, target: TargetStatus, reports: Sequence[ReportStatus]) -> None:
        """Add all reports of a target that the problem hits."""
        if not target.bot_id:
            self.whole = True
            self.lists = any(one.report == bot_list.REPORT for one in reports)
        else:
            self.bots += 1
            if len(self.named) < NAMED:
                self.named.append(target)
        for report in reports:
            if report.error in self.errors or len(self.errors) < MOST_ERRORS:
                self.errors[report.error] += 1
        self.add(reports)


@dataclass(slots=True)
class Problem:
    """One cause, and everything that it hits in the workspaces of one API.

    Attributes:
        kind: The reason, a key of `ADVICE`.
        api: The name of the API.
        hits: What it hits in each workspace, by the workspace's name.
        errors: How many reports each error is about; at most `MOST_ERRORS` different ones.
    """

    kind: str
    api: str
    hits: dict[str, Hit] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def hit(self, workspace: WorkspaceStatus) -> Hit:
        """What it hits in a workspace; nothing at first."""
        hit = self.hits.get(workspace.name)
        if hit is None:
            hit = self.hits[workspace.name] = Hit(workspace=workspace, errors=self.errors)
        return hit

    @property
    def extent(self) -> Extent:
        """How far it reaches in all workspaces."""
        whole = Extent()
        for hit in self.hits.values():
            whole.join(hit)
        return whole

    @property
    def level(self) -> Level:
        """How bad it is: values that are gone are worse than a poll that failed."""
        if any(hit.lost for hit in self.hits.values()):
            return Level.LOST
        states = {ReportState.LATE: Level.LATE, ReportState.WAITING: Level.WAITING}
        return next((found for state, found in states.items() if state == self.kind), Level.FAILING)

    @property
    def overloaded(self) -> list[Hit]:
        """The workspaces whose intervals need more requests than are allowed, worst first."""
        found = [hit for hit in self.hits.values() if hit.workspace.load > 1]
        return sorted(found, key=lambda hit: -hit.workspace.load)

    @property
    def advice(self) -> Advice:
        """What to know about it."""
        if self.kind == ReportState.LATE and self.overloaded:
            return _TOO_MUCH
        return ADVICE[self.kind]

    @property
    def title(self) -> str:
        """What is wrong, in one line."""
        return self.advice.title.format(api=_title(self.api))

    @property
    def to_do(self) -> str:
        """What to do about it."""
        scope = APIS[self.api].key_scope if self.api in APIS else ""
        settings = sorted({one for hit in self.hits.values() for one in _settings(hit)})
        places = " or ".join(f"`{setting}`" for setting in settings) + " of "
        if len(self.hits) == 1:
            places += f"workspace {next(iter(self.hits))}"
        else:
            places += "each workspace"
        text = self.advice.do.format(scope=scope, where=places)
        if self.kind == Cause.KEY_REJECTED:
            by_file = all(setting.endswith("_file") for setting in settings)
            text += _READ_AGAIN if by_file else _RELOAD
        return text


def _title(api: str) -> str:
    return APIS[api].title if api in APIS else api


def _settings(hit: Hit) -> tuple[str, ...]:
    """The settings with the keys that a workspace's failing requests use."""
    key, bots_key = hit.workspace.key_settings
    if not hit.lists:
        return (key,)
    return (bots_key,) if hit.reports == 1 else (key, bots_key)


def ranked(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order in which to look at them: the worst first, then by reports hit."""

    def rank(problem: Problem) -> tuple[int, int, int]:
        whole = problem.extent
        return problem.level, -(whole.lost or whole.reports), _ORDER[problem.kind]

    return sorted(problems, key=rank)
