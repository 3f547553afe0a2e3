"""People: who asks for one on the bots, and what the staff on SeaX does."""

from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    BOT,
    MONTH,
    PERCENT,
    REPLIES,
    SURELY_UNSATISFIED,
    UNANSWERED_NEEDS,
    WEEK,
    alone,
    both_asked,
    busiest,
    lines_by_bot,
    link_column,
    nobody_replied,
    painted,
    surely_unanswered,
    unanswered,
)
from grafana.builder.panel import SPACES, Panel, Query
from grafana.builder.query import bots, ratio, total, whole
from grafana.builder.words import (
    AXIS,
    LAST_7_DAYS,
    LAST_30_DAYS,
    LEAST_REQUESTS,
    NOBODY_STEPS,
    RANGE_7_DAYS,
    RANGE_30_DAYS,
    RANGE_DAY,
    TODAY,
)

_SMALL: Final = (4, 5)
_SEAX: Final = "workspace"
_AGENTS: Final = total(whole("agent_activity_agents", "today", api="seax"), _SEAX)
_FREE: Final = total(whole("agent_activity_agents", "today", api="seax", status="available"), _SEAX)
AVAILABLE: Final = f"{_FREE} or 0 * {_AGENTS}"
"""A status that no agent is in has no series; 0 where there are agents at all."""


def _time(window: str, status: str = "") -> str:
    pins = {"status": status} if status else {}
    return total(whole("agent_activity_seconds", window, api="seax", **pins))


def _requests(window: str, by: str = "", at: str = "") -> str:
    return total(bots("conversation_overview_live_agent_requests", window, at=at), by)


def _conversations(window: str, by: str = "") -> str:
    return total(bots("conversation_overview_conversations", window), by)


_MOST: Final = _requests("last_day", BOT, " @ end()")


GLANCE: Final = (
    Panel(
        kind="stat",
        title="Agents available now",
        asks="How many agents on SeaX are free to take a conversation?",
        window=f"{TODAY} An agent counts by the latest status.",
        queries=(Query(f"sum({AVAILABLE})"),),
        steps=NOBODY_STEPS,
        empty="No agent was there today",
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Agents there today",
        asks="How many agents on SeaX have had any status today?",
        window=TODAY,
        queries=(Query(f"sum({_AGENTS})"),),
        empty="No agent was there today",
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Occupied, 7 days",
        asks="Which share of their time at work do agents on SeaX spend on calls and after them?",
        window=f"{LAST_7_DAYS} Calls, outbound and wrap-up against the same and available.",
        queries=(
            Query(
                ratio(
                    _time(WEEK, "=~on_the_call|outbound|wrap_up"),
                    _time(WEEK, "=~available|on_the_call|outbound|wrap_up"),
                )
            ),
        ),
        unit="percentunit",
        decimals=0,
        maximum=1,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Agent requests, last day",
        asks="How often did users of the SeaChat bots ask for a person?",
        window=RANGE_DAY,
        queries=(Query(_requests("last_day")),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Handled by bots, 7 days",
        asks="In which share of the SeaChat bots' conversations did nobody ask for a person?",
        window=RANGE_7_DAYS,
        queries=(Query(alone()),),
        unit="percentunit",
        decimals=0,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Answered by bots, 30 days",
        asks="Which share of all answers do bots give, and not agents?",
        window=RANGE_30_DAYS,
        queries=(
            Query(
                ratio(
                    total(bots("conversation_overview_bot_messages", MONTH)),
                    f"({total(bots('conversation_overview_bot_messages', MONTH))}"
                    f" + {total(bots('conversation_overview_agent_messages', MONTH))})",
                )
            ),
        ),
        unit="percentunit",
        decimals=0,
        size=_SMALL,
    ),
)

_STATUS: Final = {
    "available": "green",
    "on the call": "blue",
    "outbound": "light-blue",
    "wrap up": "purple",
    "call ringing": "dark-blue",
    "break": "yellow",
    "meal": "orange",
    "offline": "#8e8e8e",
}
_COLOURS: Final = tuple(painted(*status) for status in _STATUS.items())
STAFF: Final = (
    Panel(
        title="Agents by status today, SeaX",
        asks="How many agents are in which status over the day?",
        window=f"{TODAY} An agent counts by the latest status, from the first one on. {AXIS}",
        queries=(
            Query(
                total(whole("agent_activity_agents", "today", api="seax"), "status"), "{{status}}"
            ),
        ),
        empty="No agent was there today",
        custom={
            "stacking": {"mode": "normal", "group": "A"},
            "fillOpacity": 60,
            # Nothing is drawn on from a status that has ended: the stack is never above all agents.
            "drawStyle": "bars",
            "barWidthFactor": 1,
            "lineWidth": 0,
            "spanNulls": False,
        },
        transformations=(SPACES,),
        overrides=_COLOURS,
        size=(16, 9),
    ),
    Panel(
        kind="bargauge",
        title="Hours by status, 7 days, SeaX",
        asks="What do agents spend their time with, in hours of all together?",
        window=LAST_7_DAYS,
        queries=(
            Query(
                "sort_desc("
                + total(
                    whole("agent_activity_seconds", WEEK, api="seax", status="!=offline"), "status"
                )
                + " / 3600)",
                "{{status}}",
            ),
        ),
        unit="locale",
        decimals=1,
        transformations=(SPACES,),
        overrides=_COLOURS,
        size=(8, 9),
    ),
    Panel(
        kind="state-timeline",
        title="Somebody available today, SeaX",
        asks="When was nobody free to take a conversation?",
        window=(
            f"{TODAY} Blank where no agent has had a status yet on that day, as at night."
            f" The alert speaks up in office hours alone. {AXIS}"
        ),
        queries=(Query(f"{AVAILABLE.join(('(', ')'))} > bool 0", "{{workspace}}"),),
        empty="No agent was there today",
        unit="none",
        mappings={"0": ("Nobody", "#8e8e8e"), "1": ("Somebody", "green")},
        size=(16, 6),
    ),
    Panel(
        kind="bargauge",
        title="Sessions by status, 7 days, SeaX",
        asks="How often do agents change into each status?",
        window=LAST_7_DAYS,
        queries=(
            Query(
                "sort_desc("
                + total(
                    whole("agent_activity_sessions", WEEK, api="seax", status="!=offline"), "status"
                )
                + ")",
                "{{status}}",
            ),
        ),
        transformations=(SPACES,),
        overrides=_COLOURS,
        size=(8, 6),
    ),
)

DEMAND: Final = (
    Panel(
        title="Requests for an agent, last day, by bot",
        asks="On which SeaChat bots do users ask for a person, and is it a surge? The ten with most requests.",
        window=f"{RANGE_DAY} {AXIS}",
        queries=(lines_by_bot(busiest(_requests("last_day", BOT), _MOST)),),
        size=(12, 9),
    ),
    Panel(
        title="Asked for an agent, last day, over time",
        asks="In which share of the SeaChat bots' conversations is a person asked for? The same ten.",
        window=f"{RANGE_DAY} {AXIS}",
        queries=(
            lines_by_bot(
                busiest(ratio(_requests("last_day", BOT), _conversations("last_day", BOT)), _MOST)
            ),
        ),
        unit="percentunit",
        decimals=0,
        size=(12, 9),
    ),
    Panel(
        kind="table",
        title="Bots that ask for agents most, 7 days",
        asks="Which SeaChat bots lean on people? A bot's name leads to its page.",
        window=f"{RANGE_7_DAYS} Handled alone: nobody asked for a person, told from {LEAST_REQUESTS:g} conversations on.",
        queries=(
            Query(_requests(WEEK, BOT)),
            Query(f"{alone(BOT)} and {_conversations(WEEK, BOT)} >= {LEAST_REQUESTS:g}"),
            Query(total(bots("conversation_overview_agent_messages", WEEK), BOT)),
            Query(total(bots("conversation_overview_bot_messages", WEEK), BOT)),
        ),
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "Value #A": "Requests",
            "Value #B": "Handled alone",
            "Value #C": "Messages by agents",
            "Value #D": "Messages by the bot",
        },
        columns={"Bot": link_column(), "Handled alone": PERCENT},
        options={"sortBy": [{"displayName": "Requests", "desc": True}]},
        size=(24, 14),
    ),
)

_LABELLED: Final = bots("label_usage_uses", MONTH, label="=~(?i)unanswered")
UNANSWERED: Final = (
    Panel(
        kind="stat",
        title="Unanswered, 30 days",
        asks="In which share of the SeaChat bots' conversations did neither bot nor agent reply?",
        window=f"{RANGE_30_DAYS} {REPLIES}",
        queries=(Query(unanswered()),),
        empty=UNANSWERED_NEEDS,
        unit="percentunit",
        decimals=1,
        maximum=1,
        size=(12, 5),
    ),
    Panel(
        kind="stat",
        title="Labelled unanswered, 30 days",
        asks="How often have the SeaChat bots' conversations got the label Unanswered, however it is written?",
        window=f"{LAST_30_DAYS} A label is set once and stays, so this need not agree with the share.",
        queries=(Query(total(_LABELLED)),),
        empty="No label of that name, or label_usage, last_30_days is not polled",
        size=(12, 5),
    ),
    Panel(
        kind="table",
        title="Bots with most unanswered conversations, 30 days",
        asks="Which SeaChat bots leave people without a reply? A bot's name leads to its page.",
        window=(
            f"{RANGE_30_DAYS} {REPLIES} At least: chance taken off. The labels: the last 30 days with today."
        ),
        queries=(
            Query(both_asked(BOT)),
            Query(nobody_replied(BOT)),
            Query(unanswered(BOT)),
            Query(surely_unanswered(BOT)),
            Query(total(_LABELLED, BOT)),
        ),
        empty=f"{UNANSWERED_NEEDS}: true beside all conversations",
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "Value #A": "Conversations",
            "Value #B": "Unanswered",
            "Value #C": "Share",
            "Value #D": "At least",
            "Value #E": "Labelled unanswered",
        },
        columns={
            "Bot": link_column(),
            "Share": {**PERCENT, "decimals": 1},
            "At least": {**SURELY_UNSATISFIED, "decimals": 1},
            "Labelled unanswered": {"custom__minWidth": 150},
        },
        options={"sortBy": [{"displayName": "At least", "desc": True}]},
        size=(24, 14),
    ),
)

PORTAL: Final = (
    Panel(
        kind="stat",
        title="Waiting today, Portal",
        asks="Which share of today's conversations is pending, and so waits for somebody?",
        window=TODAY,
        queries=(
            Query(
                ratio(
                    total(
                        whole(
                            "conversation_overview_conversations",
                            "today",
                            api="portal",
                            handling_status="PENDING",
                        )
                    ),
                    total(whole("conversation_overview_conversations", "today", api="portal")),
                )
            ),
        ),
        empty="Nothing yet today, or PENDING is not polled",
        unit="percentunit",
        decimals=0,
        size=(8, 6),
    ),
    Panel(
        kind="bargauge",
        title="Conversations today by handling, Portal",
        asks="How many of today's conversations are resolved, and how many wait for somebody?",
        window=f"{TODAY} All include those that are neither.",
        queries=(
            Query(
                total(whole("conversation_overview_conversations", "today", api="portal")), "all"
            ),
            *(
                Query(
                    total(
                        whole(
                            "conversation_overview_conversations",
                            "today",
                            api="portal",
                            handling_status=status,
                        )
                    ),
                    status.lower(),
                )
                for status in ("RESOLVED", "PENDING")
            ),
        ),
        empty="Nothing yet today, or conversation_overview with handling_status is not polled",
        size=(16, 6),
    ),
)

BOARD: Final = Board(
    uid="seasalt-agents",
    title="Live agents and staff",
    about="Requests for a person on the SeaChat bots, and what agents on SeaX do.",
    rows=(
        Row("At a glance", GLANCE),
        Row("Staff on SeaX", STAFF),
        Row("Who asks for a person", DEMAND),
        Row("Who gets no reply", UNANSWERED),
        Row("Whole workspaces on Portal", PORTAL),
    ),
)
