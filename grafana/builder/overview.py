"""For somebody who runs fifty bots and has ten minutes in the morning."""

from typing import Final

from grafana.builder.board import FIRING, Board, Row
from grafana.builder.common import (
    A_WEEK_AGO,
    API,
    BOT,
    BOT_LEGEND,
    DASHED,
    FEW_ANSWERS,
    PERCENT,
    RATING,
    UNSATISFIED,
    VS_LAST_WEEK,
    WEEK,
    average_rating,
    busiest,
    change,
    coloured,
    link_column,
    messages_today,
    overview,
    states,
    unsatisfied,
    weighted,
)
from grafana.builder.panel import Panel, Query
from grafana.builder.query import bots, own, ratio, recorded, reports, total, whole
from grafana.builder.words import (
    ANY_STEPS,
    AXIS,
    LATE,
    LEAST_EXPECTED,
    NOW,
    RANGE_7_DAYS,
    TODAY,
    VOLUME_DROPPED,
    VOLUME_SPIKED,
)

_SMALL: Final = (6, 3)
_USUAL: Final = recorded("target:seasalt_messages_today:usual")
_SO_FAR: Final = recorded("target:seasalt_messages_today:sum")
"""0 for a bot that the API leaves out, if it was asked lately and answered."""
_VS_USUAL: Final = f"max by ({BOT}) ({recorded('target:seasalt_messages_today:ratio')})"
_CONVERSATIONS: Final = total(bots("conversation_overview_conversations", WEEK))
_BEFORE: Final = total(bots("conversation_overview_conversations", WEEK, at=" offset 1w"))
_USUAL_STEPS: Final = (
    (None, "text"),
    (0.0, "red"),
    (VOLUME_DROPPED, "text"),
    (VOLUME_SPIKED, "orange"),
)
_AGE: Final = f"time() - {reports('last_success_timestamp_seconds')}"
LATE_REPORTS: Final = f"({_AGE}) / {reports('interval_seconds')} > bool {LATE:g}"

_SEVERITIES: Final = {
    "type": "value",
    "options": {
        name: {"color": colour, "index": place, "text": name}
        for place, (name, colour) in enumerate((("critical", "red"), ("warning", "orange")))
    },
}

GLANCE: Final = (
    Panel(
        kind="stat",
        title="Conversations, 7 days",
        asks="How many conversations did the chosen SeaChat bots have?",
        window=RANGE_7_DAYS,
        queries=(Query(_CONVERSATIONS),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="vs last week",
        asks="Do the SeaChat bots have more or fewer conversations than a week ago?",
        window=f"{RANGE_7_DAYS} {A_WEEK_AGO}",
        queries=(Query(change(_CONVERSATIONS, _BEFORE)),),
        empty="Needs a week of history",
        unit="percentunit",
        decimals=0,
        minimum=None,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Users, 7 days",
        asks="How many people wrote to the chosen SeaChat bots? Who wrote to two counts twice.",
        window=RANGE_7_DAYS,
        queries=(Query(total(bots("conversation_overview_users", WEEK))),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Agent requests, 7 days",
        asks="How often did users of the SeaChat bots ask for a person?",
        window=RANGE_7_DAYS,
        queries=(Query(total(bots("conversation_overview_live_agent_requests", WEEK))),),
        size=_SMALL,
    ),
    average_rating(
        "CSAT, 30 days",
        "Which rating from 1 to 5 do users of the SeaChat bots give, weighted by answers?",
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Today vs usual",
        asks="Is it as busy as at this hour of the last four weeks (SeaChat bots)? 100% is as usual.",
        window=(
            f"{TODAY} Empty early in the day, while fewer than {LEAST_EXPECTED:g} messages are usual,"
            " and without the recording rules and two weeks of history."
        ),
        queries=(
            Query(
                f"sum({_SO_FAR} and {_USUAL}) / (sum({_USUAL} and {_SO_FAR}) >= {LEAST_EXPECTED:g})"
            ),
        ),
        empty="Too early",
        unit="percentunit",
        decimals=0,
        steps=_USUAL_STEPS,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Data age",
        asks="How old is the oldest report about today, of any API?",
        window=NOW,
        queries=(
            Query(f"max(time() - {reports('last_success_timestamp_seconds', window='today')})"),
        ),
        empty="Not scraped",
        unit="s",
        decimals=0,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Alerts firing",
        asks="How many alerts are firing, of the chosen workspaces and of the exporter?",
        window=NOW,
        queries=(
            Query(
                f"count({FIRING}) or"
                ' 0 * count(ALERTS{alertname="SeasaltWatchdog",alertstate="firing"})'
            ),
        ),
        empty="Needs the alert rules",
        steps=ANY_STEPS,
        size=_SMALL,
    ),
)

_ADDRESS: Final = "topk(1, max by (url) (seasalt:address:runbooks{}))"
ALERTS: Final = Panel(
    kind="table",
    title="Which alerts",
    asks="What is firing, and where? An alert leads to its runbook, a bot to its page.",
    window=f"{NOW} A dash: of all bots, or of the exporter.",
    queries=(
        Query(
            f"max by (alertname, severity, workspace, bot_id, bot) ({FIRING})"
            f" * on () group_left (url) {_ADDRESS}"
        ),
    ),
    empty="No alert is firing, or the alert rules are missing",
    names={
        "alertname": "Alert",
        "severity": "Severity",
        "workspace": "Workspace",
        "bot": "Bot",
        "url": "Runbooks",
    },
    columns={
        "Alert": {
            "links": [
                {
                    "title": "What to do",
                    "url": "${__data.fields.Runbooks:raw}/${__data.fields.Alert:raw}.md",
                    "targetBlank": True,
                }
            ]
        },
        "Severity": {"mappings": [_SEVERITIES], "custom__cellOptions": {"type": "color-text"}},
        "Bot": link_column(),
    },
    options={"sortBy": [{"displayName": "Severity", "desc": False}]},
    size=(24, 5),
)

WORST: Final = Panel(
    kind="table",
    title="Bots, the least satisfied first",
    asks="Which SeaChat bots need a look? A bot's name leads to its page.",
    window=(
        f"{RANGE_7_DAYS} {A_WEEK_AGO} CSAT: the last 30 days with today. {FEW_ANSWERS}"
        " Messages: today; usual is the same hour of the last four weeks, and needs the recording rules."
    ),
    queries=(
        Query(overview("conversations")),
        Query(VS_LAST_WEEK),
        Query(f"{messages_today(BOT)} or 0 * {_VS_USUAL}"),
        Query(_VS_USUAL),
        Query(ratio(overview("live_agent_requests"), overview("conversations"))),
        Query(weighted("csat_average_rating", BOT)),
        Query(unsatisfied(BOT)),
        Query(total(bots("csat_responses", "last_30_days"), BOT)),
    ),
    names={
        "workspace": "Workspace",
        "bot": "Bot",
        "Value #A": "Conversations, 7 days",
        "Value #B": "Change vs last week",
        "Value #C": "Messages today",
        "Value #D": "Today vs usual",
        "Value #E": "Agent asked, 7 days",
        "Value #F": "CSAT, 30 days",
        "Value #G": "Unsatisfied, 30 days",
        "Value #H": "Answers, 30 days",
    },
    columns={
        "Bot": link_column(),
        "Workspace": {"custom__width": 100},
        "Conversations, 7 days": {"custom__minWidth": 165},
        "Change vs last week": {"custom__minWidth": 155, **PERCENT, "min": -1},
        "Today vs usual": coloured(_USUAL_STEPS, **PERCENT),
        "Agent asked, 7 days": PERCENT,
        "CSAT, 30 days": RATING,
        "Unsatisfied, 30 days": UNSATISFIED,
        "Answers, 30 days": {"custom__width": 130},
    },
    options={"sortBy": [{"displayName": "Unsatisfied, 30 days", "desc": True}]},
    size=(24, 11),
)

_BY_BOT: Final = messages_today(BOT)
VOLUME: Final = (
    Panel(
        title="Messages today by bot, the ten busiest",
        asks="How does the day go for the SeaChat bots with most messages?",
        window=f"{TODAY} {AXIS}",
        queries=(Query(busiest(_BY_BOT, messages_today(BOT, " @ end()")), BOT_LEGEND),),
        size=(12, 9),
    ),
    Panel(
        title="Messages today, all chosen bots",
        asks="Is the day of all chosen SeaChat bots together like the same days of four weeks?",
        window=f"{TODAY} The dashed line needs the recording rules. {AXIS}",
        queries=(
            Query(messages_today(), "today"),
            Query(total(_USUAL), "usual"),
        ),
        decimals=0,
        overrides=(DASHED,),
        size=(12, 9),
    ),
)

_CHANNEL: Final = "conversation_breakdown_channel_messages"
CHANNELS: Final = (
    Panel(
        kind="bargauge",
        title="Inbound messages today by channel",
        asks="Through which channels do users write to the SeaChat bots?",
        window=TODAY,
        queries=(
            Query(
                f"sort_desc({total(bots(_CHANNEL, 'today', direction='inbound'), 'channel')})",
                "{{channel}}",
            ),
        ),
        size=(8, 8),
    ),
    Panel(
        title="Inbound messages today by channel over time",
        asks="Does a channel of the SeaChat bots fall silent?",
        window=f"{TODAY} {AXIS}",
        queries=(
            Query(total(bots(_CHANNEL, "today", direction="inbound"), "channel"), "{{channel}}"),
        ),
        size=(16, 8),
    ),
)

_EACH: Final = "workspace, api"
WHOLE: Final = (
    Panel(
        kind="table",
        title="Whole workspaces on Portal and SeaX",
        asks="What do Portal and SeaX say, which tell of workspaces and not of bots?",
        window=f"{TODAY} Where the same company is on SeaChat too, these are the same messages.",
        queries=(
            Query(total(whole("activity_trend_messages", "today", api="=~portal|seax"), _EACH)),
            Query(
                total(
                    whole("communication_volume_non_voice_messages", "today", api="=~portal|seax"),
                    _EACH,
                )
            ),
            Query(total(whole("communication_volume_calls", "today", api="=~portal|seax"), _EACH)),
        ),
        names={
            "workspace": "Workspace",
            "api": "API",
            "Value #A": "Messages today",
            "Value #B": "Inbound texts today",
            "Value #C": "Calls today",
        },
        columns={"API": API},
        size=(12, 6),
    ),
    Panel(
        kind="table",
        title="State of the workspaces",
        asks="Is every workspace's API answering, with a key that is taken and reports in time?",
        window=f"{NOW} A report is late after {LATE:g} of its intervals. Of several exporters the worst answer and key count.",
        queries=(
            Query(own("seasalt_up", _EACH, of="min")),
            Query(own("seasalt_api_key_valid", _EACH, of="min")),
            Query(f"count by ({_EACH}) ({reports('success')})"),
            Query(total(f"{reports('success')} == bool 0", _EACH)),
            Query(total(LATE_REPORTS, _EACH)),
        ),
        names={
            "workspace": "Workspace",
            "api": "API",
            "Value #A": "Answers",
            "Value #B": "Key",
            "Value #C": "Reports",
            "Value #D": "Failing",
            "Value #E": "Late",
        },
        columns={
            "API": API,
            "Answers": states("No", "Yes"),
            "Key": states("Rejected", "Taken"),
            "Failing": coloured(ANY_STEPS),
            "Late": coloured(ANY_STEPS),
        },
        custom={"minWidth": 70},
        size=(12, 6),
    ),
)

BOARD: Final = Board(
    uid="seasalt-overview",
    title="Overview",
    about="All bots at a glance: volume, satisfaction, and whether the numbers can be believed.",
    rows=(
        Row("SeaChat bots at a glance", (*GLANCE, ALERTS)),
        Row("Which bots need a look", (WORST,)),
        Row("Volume of the SeaChat bots", VOLUME),
        Row("Channels of the SeaChat bots", CHANNELS),
        Row("Workspaces", WHOLE),
    ),
)
