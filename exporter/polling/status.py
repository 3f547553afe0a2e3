"""How the polling goes, for a person who looks: each workspace, target and report. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Final

from exporter.metrics.store import Record
from exporter.model.targets import Key, Target

LATE = 1.5
"""The age, in intervals, from which on values are called late."""


Rest = Callable[[], None]
"""Called now and then by what takes long, should others need a turn."""


class ReportState(StrEnum):
    """What a report's state is in a word, the worst first."""

    FAILING = "failing"
    LATE = "late"
    WAITING = "waiting"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class ReportStatus:
    """One report of one target.

    Attributes:
        report: Its name.
        window: As configured; empty where it has none.
        state: In a word.
        last_success: When it last brought values, None if never.
        age_seconds: How long ago that was.
        interval_seconds: How often it is polled.
        next_poll: When it is polled next, None while a request is under way.
        values: How many are shown now.
        error: What went wrong at the last try, in words; empty where nothing did.
    """

    report: str
    window: str
    state: ReportState
    last_success: datetime | None
    age_seconds: float | None
    interval_seconds: float
    next_poll: datetime | None
    values: int
    error: str


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """A workspace as a whole, or one of its bots; `bot_id` is empty for the former."""

    bot_id: str
    bot: str
    reports: tuple[ReportStatus, ...]

    @property
    def state(self) -> ReportState:
        """The worst of its reports'."""
        return worst(report.state for report in self.reports)


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """One workspace.

    Attributes:
        requests_today: Sent on the local day, as far as is known.
        requests_per_day: The day's budget, None for none.
        requests_per_minute: Allowed.
        answered: Whether the API has answered anything yet.
    """

    name: str
    api: str
    timezone: str
    answered: bool
    requests_today: int
    requests_per_day: int | None
    requests_per_minute: int
    targets: tuple[TargetStatus, ...]

    @property
    def state(self) -> ReportState:
        """The worst of its targets'."""
        return worst(target.state for target in self.targets)


@dataclass(frozen=True, slots=True)
class Status:
    """All of it at an instant."""

    version: str
    at: datetime
    workspaces: tuple[WorkspaceStatus, ...]

    def json(self) -> Iterator[str]:
        """The status as JSON, bit by bit, as it may be long: instants in ISO 8601, UTC."""
        yield f"{_begun(self, 'workspaces')}["
        for number, workspace in enumerate(self.workspaces):
            yield f"{',' if number else ''}{_begun(workspace, 'targets')}["
            for place, target in enumerate(workspace.targets):
                shown = {
                    "bot_id": target.bot_id,
                    "bot": target.bot,
                    "reports": [
                        dict(zip(_REPORT, _values(one), strict=True)) for one in target.reports
                    ],
                    "state": target.state,
                }
                yield f"{',' if place else ''}{_ENCODER.encode(shown)}"
            yield f'],"state":{_ENCODER.encode(workspace.state)}}}'
        yield "]}"


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(value)


_REPORT: Final = tuple(one.name for one in fields(ReportStatus))
_values: Final = attrgetter(*_REPORT)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_instant)


def _begun(whole: Status | WorkspaceStatus, last: str) -> str:
    """All but the last field of an object, as JSON, up to where that one begins."""
    others = {one.name: getattr(whole, one.name) for one in fields(whole) if one.name != last}
    return f'{_ENCODER.encode(others)[:-1]},"{last}":'


RANKS: Final = {state: rank for rank, state in enumerate(ReportState)}
"""The worst comes first."""


def worst(states: Iterable[ReportState]) -> ReportState:
    """The worst of some states; waiting where there is none."""
    return min(states, key=RANKS.__getitem__, default=ReportState.WAITING)


def targets(
    records: Iterable[tuple[Key, Record]],
    intervals: Mapping[Key, float],
    turns: Mapping[Key, datetime | None],
    now: datetime,
    rest: Rest = lambda: None,
) -> tuple[TargetStatus, ...]:
    """The targets of a workspace, as they are at an instant.

    Args:
        records: What is known of reports.
        intervals: Every report that is polled, with its interval in seconds.
        turns: When each is polled next, None while a request is under way.
        now: The instant.
        rest: Called after each report.
    """
    known: dict[Key, Record] = {}
    for key, record in records:
        known[key] = record
        rest()
    found: dict[Target, list[ReportStatus]] = {}
    for key in (*intervals, *(key for key in known if key.report and key not in intervals)):
        record = known.get(key) or Record(intervals[key])
        found.setdefault(key.target, []).append(_report(key, record, turns.get(key), now))
        rest()
    return tuple(
        TargetStatus(target.bot_id, target.bot, tuple(reports)) for target, reports in found.items()
    )


def _report(key: Key, record: Record, turn: datetime | None, now: datetime) -> ReportStatus:
    age = (now - record.last_success).total_seconds() if record.last_success else None
    if record.error:
        state = ReportState.FAILING
    elif age is None:
        state = ReportState.WAITING
    else:
        state = ReportState.LATE if age > LATE * record.interval_seconds else ReportState.OK
    return ReportStatus(
        key.report,
        key.window,
        state,
        record.last_success,
        age,
        record.interval_seconds,
        turn,
        len(record.shown(now)),
        record.error,
    )
