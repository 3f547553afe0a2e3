"""The polling status of each workspace, target and report, for a human reader. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from exporter.errors import Cause
from exporter.metrics.store import Record
from exporter.model.targets import Key, Target

LATE = 1.5
"""The age of values, in intervals, beyond which a report is late."""


Rest = Callable[[], None]
"""Called regularly by a long computation, so that other threads get a turn."""


class ReportState(StrEnum):
    """The state of a report; the worst comes first."""

    FAILING = "failing"
    LATE = "late"
    WAITING = "waiting"
    OK = "ok"


class ReportStatus(NamedTuple):  # which is made in a third of the time of a frozen dataclass
    """The status of one report of one target.

    Attributes:
        report: The name of the report.
        window: The configured window; empty if the report has none.
        state: The state of the report.
        last_success: When the last successful poll was; None if there was none.
        age_seconds: How long ago that was, in seconds.
        interval_seconds: The polling interval in seconds.
        next_poll: When the next poll is due; None while a request is in flight.
        values: The number of values that are exported now.
        error: Why the last poll failed, in words; empty if it succeeded.
        cause: Why the last poll failed; None if it succeeded, or if nobody knows any more.
        failing_since: When the first poll failed after the last success; None if the last poll
            succeeded, or if nobody knows any more.
        values_until: When the values of the last success leave the metrics page, if no further poll
            succeeds, or when they left it; None without a success, or if nobody knows any more.
        lost: Whether it has no values to show because polls fail or are late.
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
    cause: Cause | None = None
    failing_since: datetime | None = None
    values_until: datetime | None = None
    lost: bool = False

    @property
    def late_since(self) -> datetime | None:
        """When a report that has not failed became late; None if it is not late."""
        if self.state is not ReportState.LATE or self.last_success is None:
            return None
        return self.last_success + timedelta(seconds=LATE * self.interval_seconds)


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """The status of a workspace's own reports, with an empty `bot_id`, or of one bot's reports."""

    bot_id: str
    bot: str
    reports: tuple[ReportStatus, ...]

    @property
    def state(self) -> ReportState:
        """The worst state of its reports."""
        return worst(report.state for report in self.reports)


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """The status of one workspace.

    Attributes:
        requests_today: The known requests of the current local day.
        requests_per_day: The limit per day, a shard's part of it; None for no limit.
        requests_per_minute: The rate limit, likewise.
        answered: Whether the API has answered any request yet.
        load: The requests that the intervals lead to, as a share of the allowed ones.
        paused_until: When the pause ends that the API requested; None without one.
        probe_at: When the open circuit breaker lets the next request through; None while it is
            closed.
        key_valid: Whether the API accepts the key; None if it has not said so.
        key_settings: The names of the settings that hold the keys for the reports and for the bot
            list.
    """

    name: str
    api: str
    timezone: str
    answered: bool
    requests_today: int
    requests_per_day: int | None
    requests_per_minute: float
    targets: tuple[TargetStatus, ...]
    load: float = 0.0
    paused_until: datetime | None = None
    probe_at: datetime | None = None
    key_valid: bool | None = None
    key_settings: tuple[str, str] = ("api_key", "api_key")

    @property
    def state(self) -> ReportState:
        """The worst state of its targets."""
        return worst(target.state for target in self.targets)


@dataclass(frozen=True, slots=True)
class Status:
    """The status of all workspaces at an instant."""

    version: str
    at: datetime
    workspaces: tuple[WorkspaceStatus, ...]

    def json(self) -> Iterator[str]:
        """The status as JSON, in pieces because it may be long; instants are ISO 8601 in UTC."""
        yield f"{_begun(self, 'workspaces')}["
        for number, workspace in enumerate(self.workspaces):
            yield f"{',' if number else ''}{_begun(workspace, 'targets')}["
            for place, target in enumerate(workspace.targets):
                shown = {
                    "bot_id": target.bot_id,
                    "bot": target.bot,
                    "reports": [report._asdict() for report in target.reports],
                    "state": target.state,
                }
                yield f"{',' if place else ''}{_ENCODER.encode(shown)}"
            yield f'],"state":{_ENCODER.encode(workspace.state)}}}'
        yield "]}"


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_instant)


def _begun(whole: Status | WorkspaceStatus, last: str) -> str:
    """An object as JSON, up to the beginning of the value of its last field."""
    others = {one.name: getattr(whole, one.name) for one in fields(whole) if one.name != last}
    return f'{_ENCODER.encode(others)[:-1]},"{last}":'


RANKS: Final = {state: rank for rank, state in enumerate(ReportState)}
"""The rank of each state; the worst has the lowest."""


def worst(states: Iterable[ReportState]) -> ReportState:
    """The worst of some states; `WAITING` if there is none."""
    return min(states, key=RANKS.__getitem__, default=ReportState.WAITING)


def targets(
    turns: Mapping[Key, tuple[float, datetime | None]],
    records: Mapping[Key, Record],
    now: datetime,
    rest: Rest = lambda: None,
) -> tuple[TargetStatus, ...]:
    """The status of each target of a workspace at an instant.

    Args:
        turns: Every polled report, with its interval in seconds and when it is polled next; None
            while a request is in flight.
        records: The records of the reports.
        now: The instant.
        rest: Called after each report.
    """
    found: dict[Target, list[ReportStatus]] = {}
    for key, (interval, turn) in turns.items():
        record = records.get(key) or Record(interval)
        found.setdefault(key.target, []).append(_report(key, record, turn, now))
        rest()
    return tuple(
        TargetStatus(target.bot_id, target.bot, tuple(reports)) for target, reports in found.items()
    )


def _report(key: Key, record: Record, turn: datetime | None, now: datetime) -> ReportStatus:
    last = record.last_success
    age = None if last is None else (now - last).total_seconds()
    valid = last is not None and record.valid(now)
    lost = False
    if record.error:
        state, lost = ReportState.FAILING, not valid
    elif age is None:
        state = ReportState.WAITING
    elif age > LATE * record.interval_seconds:
        state, lost = ReportState.LATE, not valid
    else:
        state = ReportState.OK
    until = None if last is None else record.expires
    if until and now < until and not valid:
        until = None  # the clock was set back, and the values are hidden until it is right again
    return ReportStatus(
        key.report,
        key.window,
        state,
        last,
        age,
        record.interval_seconds,
        turn,
        len(record.samples) if valid else 0,
        record.error,
        record.cause,
        record.failing_since,
        until,
        lost,
    )
