"""What of the status a page shows: the filters in its address, and the links to other views. Pure.

Everything is in the query of the address, so a view can be bookmarked and sent to a colleague, and
no cookie is needed. Links are relative, so that they work behind any proxy.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Final, Self
from urllib.parse import parse_qs, quote, urlencode

from exporter.errors import Cause
from exporter.model import bot_list
from exporter.model.apis import APIS
from exporter.polling.status import ReportState, ReportStatus, TargetStatus, WorkspaceStatus

FORBIDDEN: Final = "forbidden"
"""The kind of a rejection that is about some bots, because the key works for others."""

UNKNOWN: Final = "unknown"
"""The kind of a failure that was restored from a state file without its cause."""

KINDS: Final = frozenset({*Cause, FORBIDDEN, UNKNOWN, ReportState.LATE, ReportState.WAITING})
_LONGEST_SEARCH: Final = 100
_LONGEST_NAME: Final = 200
_LAST_PAGE: Final = 10_000
REFRESH: Final = (5, 3600)
"""The fewest and the most seconds between two refreshes."""


class Level(IntEnum):
    """How bad a report is, the worst first: `LOST` splits those that have no values left."""

    LOST = 0
    FAILING = 1
    LATE = 2
    WAITING = 3
    OK = 4


_LEVELS: Final = {
    ReportState.FAILING: Level.FAILING,
    ReportState.LATE: Level.LATE,
    ReportState.WAITING: Level.WAITING,
    ReportState.OK: Level.OK,
}


STATES: Final = {found.name.lower(): found for found in Level}
"""The filters by state."""


def level(report: ReportStatus) -> Level:
    """How bad a report is."""
    return Level.LOST if report.lost else _LEVELS[report.state]


def worst(target: TargetStatus) -> Level:
    """How bad a target is: as its worst report."""
    return min(map(level, target.reports), default=Level.WAITING)


def kind(report: ReportStatus, workspace: WorkspaceStatus) -> str:
    """Why a report is not ok, one of `KINDS`; empty for one that is."""
    state, cause = report.state, report.cause
    if state is not ReportState.FAILING:
        return "" if state is ReportState.OK else state
    # The judgement is about the key of the reports. The bot list may have a key of its own.
    if cause is Cause.KEY_REJECTED and workspace.key_valid and report.report != bot_list.REPORT:
        return FORBIDDEN
    return cause or UNKNOWN


def by_kind(
    reports: Iterable[ReportStatus], workspace: WorkspaceStatus
) -> dict[str, list[ReportStatus]]:
    """Reports that are not ok, by why they are not."""
    found: dict[str, list[ReportStatus]] = {}
    for report in reports:
        if why := kind(report, workspace):
            found.setdefault(why, []).append(report)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of the status to show; everything by default.

    Attributes:
        workspace: Only this workspace; empty for all.
        bot: Only the bot with this id; empty for all.
        state: Only targets whose worst report is at this level, one of `STATES`; empty for any.
        cause: Only targets with a report that is not ok for this reason, one of `KINDS`; empty for
            any.
        api: Only targets of this API, one of `APIS`; empty for any.
        q: Only targets with this text in a name, a state, a cause or an error; empty for any.
        page: The page of a long list, from 1 on.
        refresh: Seconds until the browser loads the page again; 0 for never.
    """

    workspace: str = ""
    bot: str = ""
    state: str = ""
    cause: str = ""
    api: str = ""
    q: str = ""
    page: int = 1
    refresh: int = 0

    @classmethod
    def parsed(cls, query: str) -> Self:
        """The view that the query of an address asks for; what makes no sense is left out."""
        asked: dict[str, list[str]] = parse_qs(query)

        def text(name: str, most: int) -> str:
            return asked.get(name, [""])[0].strip()[:most].rstrip()

        def number(name: str) -> int:
            found = text(name, 6)
            return int(found) if found.isascii() and found.isdigit() else 0

        state, cause, api = text("state", 20), text("cause", 20), text("api", 20)
        seconds = number("refresh")
        return cls(
            workspace=text("workspace", _LONGEST_NAME),
            bot=text("bot", _LONGEST_NAME),
            state=state if state in STATES else "",
            cause=cause if cause in KINDS else "",
            api=api if api in APIS else "",
            q=text("q", _LONGEST_SEARCH),
            page=min(max(1, number("page")), _LAST_PAGE),
            refresh=min(max(REFRESH[0], seconds), REFRESH[1]) if seconds else 0,
        )

    @property
    def filters(self) -> bool:
        """Whether it shows a list of some targets, whatever workspace or bot they belong to."""
        return bool(self.state or self.cause or self.api or self.q)

    @property
    def given(self) -> dict[str, str]:
        """What differs from the default, as the parameters of an address."""
        return {
            one.name: str(value)
            for one in fields(self)
            if (value := getattr(self, one.name)) != one.default
        }

    @property
    def link(self) -> str:
        """The relative address of this view."""
        return "?" + urlencode(self.given, quote_via=quote)

    def at(
        self,
        *,
        workspace: str = "",
        bot: str = "",
        state: str = "",
        cause: str = "",
        api: str = "",
        q: str = "",
    ) -> str:
        """The address of another view, refreshed as often as this one."""
        other = View(workspace=workspace, bot=bot, state=state, cause=cause, api=api, q=q)
        return replace(other, refresh=self.refresh).link

    def refreshed(self, seconds: int) -> str:
        """The address of this view, loaded again every so many seconds; 0 for never."""
        return replace(self, refresh=seconds).link

    def on_page(self, number: int) -> str:
        """The address of another page of this view."""
        return replace(self, page=number).link

    def has(self, workspace: WorkspaceStatus, target: TargetStatus) -> bool:
        """Whether a target is in the scope of the view: its workspace, and its bot if it names one."""
        return (not self.workspace or workspace.name == self.workspace) and (
            not self.bot or target.bot_id == self.bot
        )

    def wants(self, workspace: WorkspaceStatus, target: TargetStatus) -> bool:
        """Whether the filters let a target through, the search aside."""
        if self.api not in {"", workspace.api}:
            return False
        if self.state and worst(target) is not STATES[self.state]:
            return False
        return not self.cause or any(kind(one, workspace) == self.cause for one in target.reports)


@dataclass(frozen=True, slots=True)
class Links:
    """Where the page leads besides its own views.

    Attributes:
        metrics: The relative address of the metrics.
        api: The relative address of the status as JSON.
        runbooks: The URL of the folder of runbooks, without a trailing slash; empty if unknown.
        grafana: The URL of Grafana, without a trailing slash; empty if unknown.
    """

    metrics: str
    api: str
    runbooks: str = ""
    grafana: str = ""

    def dashboard(self, workspace: str, bot: str = "") -> str:
        """The address of the dashboard about a workspace, or about the bot with an id."""
        name = "seasalt-bot" if bot else "seasalt-exporter"
        variables = {"var-workspace": workspace} | ({"var-bot": bot} if bot else {})
        return f"{self.grafana}/d/{name}?{urlencode(variables, quote_via=quote)}"
