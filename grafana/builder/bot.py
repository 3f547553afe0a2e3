"""One bot, or the few that are chosen: what it does, how it is liked, what it is asked."""

from dataclasses import replace
from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    A_WEEK_AGO,
    BOT,
    DASHED,
    FEW_ANSWERS,
    FOUR_WEEKS,
    MONTH,
    NARROW,
    PERCENT,
    REPLIES,
    SATISFIED,
    TEN_WORST,
    UNANSWERED_NEEDS,
    UNSATISFIED,
    VS_LAST_WEEK,
    WEEK,
    average_rating,
    change,
    lines_by_bot,
    link_column,
    messages_today,
    messages_yesterday,
    painted,
    ratings,
    states,
    unanswered,
    unsatisfied,
    worst,
)
from grafana.builder.panel import Panel, Query
from grafana.builder.query import bots, probes, ratio, recorded, told_apart, total
from grafana.builder.words import (
    AXIS,
    LAST_7_DAYS,
    LAST_29_DAYS,
    LAST_30_DAYS,
    NOW,
    RANGE_7_DAYS,
    RANGE_30_DAYS,
    RANGE_DAY,
    TODAY,
)

_SMALL: Final = (6, 5)


def _sum(of: str, window: str = WEEK, at: str = "") -> str:
    return total(bots(f"conversation_overview_{of}", window, at=at))


GLANCE: Final = (
    Panel(
        kind="stat",
        title="Conversations, 7 days",
        asks="How many conversations did the chosen bots have?",
        window=RANGE_7_DAYS,
        queries=(Query(_sum("conversations")),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="vs last week",
        asks="Is that more or less than a week ago?",
        window=f"{RANGE_7_DAYS} {A_WEEK_AGO}",
        queries=(Query(change(_sum("conversations"), _sum("conversations", at=" offset 1w"))),),
        empty="Needs a week of history",
        unit="percentunit",
        decimals=0,
        minimum=None,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Users, 7 days",
        asks="How many people wrote? Who wrote to two bots counts twice.",
        window=RANGE_7_DAYS,
        queries=(Query(_sum("users")),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Asked for an agent, 7 days",
        asks="In which share of the conversations was a person asked for?",
        window=RANGE_7_DAYS,
        queries=(Query(ratio(_sum("live_agent_requests"), _sum("conversations"))),),
        unit="percentunit",
        decimals=0,
        size=_SMALL,
    ),
    messages_yesterday(_SMALL),
    Panel(
        kind="stat",
        title="Unanswered, 30 days",
        asks="In which share of the conversations did neither bot nor agent reply?",
        window=f"{RANGE_30_DAYS} {REPLIES}",
        queries=(Query(unanswered()),),
        empty=UNANSWERED_NEEDS,
        unit="percentunit",
        decimals=1,
        maximum=1,
        size=_SMALL,
    ),
    average_rating(
        "CSAT, 30 days",
        "Which rating from 1 to 5 do users give, weighted by answers?",
        size=_SMALL,
    ),
    replace(SATISFIED, size=_SMALL),
)

_SENDERS: Final = {"bot": "blue", "customer": "green", "agent": "orange", "system": "#8e8e8e"}
DAY: Final = (
    Panel(
        title="Messages today against usual",
        asks="Does the day go as the same days of the last four weeks went?",
        window=f"{TODAY} The dashed line needs the recording rules. {AXIS}",
        queries=(
            Query(messages_today(), "today"),
            Query(total(recorded("target:seasalt_messages_today:usual")), "usual"),
        ),
        decimals=0,
        overrides=(DASHED,),
    ),
    Panel(
        title="Messages today by sender",
        asks="Who writes: customers, the bot, agents, the system?",
        window=f"{TODAY} {AXIS}",
        queries=(Query(messages_today("sender"), "{{sender}}"),),
        custom={"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 30, "lineWidth": 1},
        overrides=tuple(painted(*sender) for sender in _SENDERS.items()),
    ),
)

_CHANNEL: Final = bots("conversation_breakdown_channel_messages", "today")
MIX: Final = (
    Panel(
        kind="bargauge",
        title="Messages today by channel and direction",
        asks="On which channels is the bot busy?",
        window=TODAY,
        queries=(
            Query(
                f"sort_desc({total(_CHANNEL, 'channel, direction')})", "{{channel}}, {{direction}}"
            ),
        ),
        size=(8, 8),
    ),
    Panel(
        kind="bargauge",
        title="Users by channel, 29 days",
        asks="Through which channels do people come? Who uses two counts twice.",
        window=LAST_29_DAYS,
        queries=(
            Query(
                "sort_desc("
                + total(bots("conversation_breakdown_channel_users", FOUR_WEEKS), "channel")
                + ")",
                "{{channel}}",
            ),
        ),
        size=(8, 8),
    ),
    Panel(
        kind="bargauge",
        title="Conversations in three windows",
        asks="How many conversations were there in the last day, week and month?",
        window=f"{RANGE_DAY} Likewise last_7_days and last_30_days.",
        queries=(
            Query(_sum("conversations", "last_day"), "last day"),
            Query(_sum("conversations", WEEK), "last 7 days"),
            Query(_sum("conversations", MONTH), "last 30 days"),
        ),
        size=(8, 8),
    ),
)

LIKED: Final = (
    Panel(
        title="CSAT of 30 days over time",
        asks="Do users rate the chosen bots better or worse than before? " + TEN_WORST,
        window=f"{LAST_30_DAYS} A moving window: a change shows slowly. {AXIS}",
        queries=(lines_by_bot(worst("average_rating")),),
        unit="none",
        decimals=2,
        minimum=None,
        custom=NARROW,
        size=(16, 8),
    ),
    ratings(size=(8, 8)),
)

ASKED: Final = (
    Panel(
        kind="bargauge",
        title="The fifteen most used labels, 30 days",
        asks="What are the conversations about?",
        window=LAST_30_DAYS,
        queries=(
            Query(
                f"sort_desc(topk(15, {total(bots('label_usage_uses', MONTH), 'label')}))",
                "{{label}}",
            ),
        ),
        size=(16, 9),
    ),
    Panel(
        kind="bargauge",
        title="Messages by sender, 7 days",
        asks="How much of the talking do customers, the bot and the agents do?",
        window=LAST_7_DAYS,
        queries=(
            Query(
                f"sort_desc({total(bots('activity_trend_messages', WEEK), 'sender')})",
                "{{sender}}",
            ),
        ),
        overrides=tuple(painted(*sender) for sender in _SENDERS.items()),
        size=(8, 9),
    ),
)

_PROBE: Final = "{{bot}}, {{module}}"
_NOT_PROBED: Final = "Needs modules and a job that scrapes /probe"
PROBED: Final = (
    Panel(
        kind="state-timeline",
        title="Whether probes are answered",
        asks="When did the bot answer the question of a probe, and when not as it should?",
        window=f"{NOW} A result is shown until the next probe. {AXIS}",
        queries=(Query(told_apart(probes("probe_success")), _PROBE),),
        empty=_NOT_PROBED,
        unit="none",
        mappings={"0": ("Failed", "red"), "1": ("Answered", "green")},
        size=(12, 8),
    ),
    Panel(
        title="Time to the answer of a probe",
        asks="How long does the bot take to answer, and how long does the API need before that?",
        window=f"{NOW} Waiting for the exporter's rate limit is left out. {AXIS}",
        queries=(
            Query(
                told_apart(probes("seasalt_probe_phase_duration_seconds", phase="answer")),
                f"{_PROBE}: answer",
            ),
            Query(
                told_apart(probes("seasalt_probe_phase_duration_seconds", phase="conversation")),
                f"{_PROBE}: conversation",
            ),
        ),
        empty=_NOT_PROBED,
        unit="s",
        size=(12, 8),
    ),
    Panel(
        kind="table",
        title="Probes that fail",
        asks="Why did the last probe of a bot fail, and how many have failed in a row?",
        window=NOW,
        queries=(
            Query(
                f"{probes('seasalt_probe_failure')} * on (workspace, bot_id, bot, module)"
                f" group_left () {probes('seasalt_probe_consecutive_failures')}"
            ),
        ),
        empty="Nothing failed, or nothing is probed",
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "module": "Module",
            "reason": "Reason",
            "Value": "Failed in a row",
        },
        columns={"Bot": link_column()},
        size=(24, 6),
    ),
)

_YES_NO: Final = {
    "type": "value",
    "options": {"false": {"index": 0, "text": "No"}, "true": {"index": 1, "text": "Yes"}},
}
ABOUT: Final = (
    Panel(
        kind="table",
        title="What the list of bots says",
        asks="What are the chosen bots for, in which language, and are they switched on?",
        window=f"{NOW} The change is of conversations, the API's own last_7_days. {A_WEEK_AGO} {FEW_ANSWERS}",
        queries=(
            Query(bots("bot_info")),
            Query(f"max by ({BOT}) ({bots('bot_enabled')})"),
            Query(VS_LAST_WEEK),
            Query(unsatisfied(BOT)),
            Query(f"max by ({BOT}) ({bots('knowledge_base_files')})"),
        ),
        empty="Needs discover_bots",
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "use_case": "Use case",
            "language": "Language",
            "live_agent_transfer": "Hands over to agents",
            "Value #B": "Switched on",
            "Value #C": "Change vs last week",
            "Value #D": "Unsatisfied, 30 days",
            "Value #E": "Knowledge base files",
        },
        columns={
            "Bot": link_column(),
            "Workspace": {"custom__width": 120},
            "Use case": {"custom__minWidth": 240},
            "Switched on": states("No", "Yes"),
            "Change vs last week": {"custom__minWidth": 155, **PERCENT, "min": -1},
            "Hands over to agents": {"mappings": [_YES_NO]},
            "Unsatisfied, 30 days": UNSATISFIED,
        },
        size=(24, 7),
    ),
)

BOARD: Final = Board(
    uid="seasalt-bot",
    title="Bot",
    about="One SeaChat bot, or the few that are chosen, added up.",
    one_bot=True,
    rows=(
        Row("At a glance", GLANCE),
        Row("Today", DAY),
        Row("Where and how much", MIX),
        Row("Satisfaction", LIKED),
        Row("Topics and senders", ASKED),
        Row("Probes", PROBED),
        Row("About the bots", ABOUT),
    ),
)
