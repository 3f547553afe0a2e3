"""agent_activity: how long live agents spent in each status, and their latest status.

SeaX Analytics API, 9: a list of sessions; open sessions have no end. Agents are user accounts,
whose ids are often e-mail addresses. They are aggregated unless the operator sets `agent_labels`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from pydantic import Field, TypeAdapter

from exporter.model.history import History, Span
from exporter.model.label_values import Text, unredacted_label_value
from exporter.model.reply_values import Lenient, ManyRows, Period, Reply, Unread, instant
from exporter.model.report import Form, LabelNames, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample
from exporter.model.windows import DAY, begins, local_day

SECONDS: Final = Family(
    "seasalt_agent_activity_seconds",
    "Time that agents spent in the status within the window; an open session lasts until the poll.",
    ("window", "agent", "status"),
)
SESSIONS: Final = Family(
    "seasalt_agent_activity_sessions",
    "Sessions in the status that overlap the window.",
    ("window", "agent", "status"),
)
AGENTS: Final = Family(
    "seasalt_agent_activity_agents",
    "Agents whose latest session of the window is in the status.",
    ("window", "status"),
)

STATUSES: Final = frozenset(
    (
        *("available", "offline", "on_the_call", "call_ringing", "outbound", "wrap_up"),
        *("meal", "break", "away", "do_not_disturb"),  # the last two are deprecated
    )
)


class AgentActivityOptions(Options):
    """How an agent_activity is asked for."""

    agents: LabelNames | None = Field(None, description="Accounts to include; all if omitted.")
    agent_labels: bool = Field(
        default=False,
        description="Adds a label per agent. Account names are often e-mail addresses.",
    )


class Session(Reply):
    """One session of an agent in one status; `end_time` is null while the session is open."""

    agent_id: Text | int | None = None
    status: str | None = None
    start_time: object = None
    end_time: object = None
    duration_seconds: Unread


class Activity(Reply):
    """The sessions of all requested agents."""

    agents: ManyRows[Lenient[Session]]


class _Stretch(NamedTuple):
    """A session clipped to the window; for one agent, the later of two compares greater."""

    agent: str
    begin: datetime
    end: datetime
    status: str


def samples(reply: Activity, reading: Reading[AgentActivityOptions]) -> Iterator[Sample]:
    """Seconds and sessions by status, and the number of agents whose latest status it is."""
    seconds: dict[tuple[str, str], float] = {}
    sessions: dict[tuple[str, str], int] = {}
    latest: dict[str, _Stretch] = {}
    accounts: dict[str, str] = {}
    for stretch in _stretches(reply, reading):
        agent = unredacted_label_value(stretch.agent) if reading.options.agent_labels else ""
        if agent and accounts.setdefault(agent, stretch.agent) != stretch.agent:
            reading.drift.add("agent_id")  # two accounts with the same label value
        place = (agent, stretch.status)
        lasted = (stretch.end - stretch.begin).total_seconds()
        seconds[place] = seconds.get(place, 0) + lasted
        sessions[place] = sessions.get(place, 0) + 1
        before = latest.get(stretch.agent)
        if before is None or before < stretch:
            latest[stretch.agent] = stretch
    for place, value in seconds.items():
        yield SECONDS.sample(value, reading.window, *place)
        yield SESSIONS.sample(sessions[place], reading.window, *place)
    now = [stretch.status for stretch in latest.values()]
    for status in dict.fromkeys(now):
        yield AGENTS.sample(now.count(status), reading.window, status)


def _stretches(reply: Activity, reading: Reading[AgentActivityOptions]) -> Iterator[_Stretch]:
    """The sessions, clipped to the window; unreadable, repeated and outside ones are drift."""
    since = begins(reading.days.first, reading.zone) if reading.days else None
    until = begins(reading.days.last + DAY, reading.zone) if reading.days else reading.at
    seen: set[tuple[object, ...]] = set()
    for session in filter(None, reply.agents):
        begun, ended = instant(session.start_time, UTC), instant(session.end_time, UTC)
        if session.agent_id is None or begun is None:
            reading.drift.unreadable("agent_id" if session.agent_id is None else "start_time")
            continue
        if ended is None and session.end_time is not None:  # closed, but its duration is unknown
            reading.drift.unreadable("end_time")
            continue
        reading.drift.read += 1
        if (session.agent_id, session.status, begun, ended) in seen:
            reading.drift.add("agents")
            continue
        seen.add((session.agent_id, session.status, begun, ended))
        begin, end = max(begun, since or begun), min(ended or reading.at, until)
        if end < begin or (since and end <= since):  # it ended when the window began, or earlier
            reading.drift.add("period")
            continue
        yield _Stretch(str(session.agent_id), begin, end, _status(session, reading))


def _status(session: Session, reading: Reading[AgentActivityOptions]) -> str:
    status = (session.status or "").lower()
    if status in STATUSES:
        return status
    reading.drift.add("status")
    return "other"


def _by_day(part: object, days: Period, zone: tzinfo) -> Mapping[date, object]:
    """The sessions of each local day that they overlap, without the status offline.

    A night offline belongs to two days. Which of them the API counts it to is unknown.
    """
    sessions = part.get("agents") if isinstance(part, dict) else None
    found: defaultdict[date, list[object]] = defaultdict(list)
    for session in sessions if isinstance(sessions, list) else ():
        begun = instant(session.get("start_time"), UTC) if isinstance(session, dict) else None
        if begun and str(session.get("status")).lower() != "offline":
            for day in _overlapped(begun, session.get("end_time"), days, zone):
                found[day].append(session)
    return {day: {"agents": of_day} for day, of_day in found.items()}


def _overlapped(begun: datetime, end_time: object, days: Period, zone: tzinfo) -> Iterator[date]:
    """Those of some local days that a session overlaps: to the last one while it is open."""
    ended = instant(end_time, UTC)
    day, last = local_day(begun, zone), days.last
    if ended is not None:
        last = min(last, local_day(max(begun, ended - timedelta(microseconds=1)), zone))
    elif end_time is not None:  # it cannot be read, and neither can the session
        last = min(last, day)
    day = max(day, days.first)
    while day <= last:
        yield day
        day += DAY


REPORT: Final = Report(
    name="agent_activity",
    apis={
        "seax": Form(
            windows=Windows.DATES,
            series=20,
            window="today",
            options=frozenset({"agents"}),
            history=History(
                span=Span.DAYS,
                families=(SECONDS, SESSIONS),
                additive=frozenset({SECONDS}),  # a session over midnight is one, not two
                whole_days=frozenset({SECONDS, SESSIONS}),
                left_out="the status offline, how many agents are in a status, and sessions over"
                " several days",
                by_day=_by_day,
            ),
        )
    },
    options=AgentActivityOptions,
    families=(SECONDS, SESSIONS, AGENTS),
    shape=single,
    reply=TypeAdapter(Activity),
    samples=samples,
    optional=lambda _: frozenset({"end_time"}),
)
