"""For somebody who runs fifty bots and has ten minutes in the morning."""

from typing import Final

from grafana.builder.board import FIRING, Board, Row
from grafana.builder.common import (
    API,
    BOT,
    BOT_LEGEND,
    DASHED,
    PERCENT,
    RATING,
    UNSATISFIED,
    WEEK,
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
    LAST_30_DAYS,
    LATE,
    NOW,
    RANGE_7_DAYS,
    RATING_STEPS,
    THRESHOLDS,
    TODAY,
    VOLUME_DROPPED,
    VOLUME_SPIKED,
)

_SMALL: Final = (3, 4)
_SO_FAR: Final = recorded("bot:seasalt_messages_today:sum")
_USUAL: Final = recorded("bot:seasalt_messages_today:avg4w")
_CONVERSATIONS: Final = total(bots("conversation_overview_conversations", WEEK))
_A_WEEK_AGO: Final = total(bots("conversation_overview_conversations", WEEK, at=" offset 1w"))
_USUAL_STEPS: Final = ((None, "red"), (VOLUME_DROPPED, "text"), (VOLUME_SPIKED, "orange"))
_AGE: Final = f"time() - {reports('last_success_timestamp_seconds')}"
LATE_REPORTS: Final = f"({_AGE}) / {reports('interval_seconds')} > bool {LATE:g}"

GLANCE: Final = (
    Panel(
        kind="stat",
        title="Conversations",
        asks="How many conversations did the chosen SeaChat bots have?",
        window=RANGE_7_DAYS,
        queries=(Query(_CONVERSATIONS),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="vs last week",
        asks="Do the SeaChat bots have more or fewer conversations than a week ago?",
        window=f"{RANGE_7_DAYS} Compared with what the same window showed seven days ago.",
        queries=(Query(change(_CONVERSATIONS, _A_WEEK_AGO)),),
        empty="Needs a week of history",
        unit="percentunit",
        decimals=0,
        minimum=None,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Users",
        asks="How many people wrote to the chosen SeaChat bots? Who wrote to two counts twice.",
        window=RANGE_7_DAYS,
        queries=(Query(total(bots("conversation_overview_users", WEEK))),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Agent requests",
        asks="How often did users of the SeaChat bots ask for a person?",
        window=RANGE_7_DAYS,
        queries=(Query(total(bots("conversation_overview_live_agent_requests", WEEK))),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="CSAT, 1 to 5",
        asks="Which rating from 1 to 5 do users of the SeaChat bots give, weighted by answers?",
        window=LAST_30_DAYS,
        queries=(Query(weighted("csat_average_rating")),),
        unit="none",
        decimals=2,
        minimum=1,
        maximum=5,
        steps=RATING_STEPS,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Today vs usual",
        asks="Is it as busy as at this hour of the last four weeks (SeaChat bots)? 100% is as usual.",
        window=TODAY,
        queries=(
            Query(
                f"sum({_SO_FAR} and {_USUAL}) / (sum({_USUAL}) >="
                f" {THRESHOLDS['volume_least_expected']:g})"
            ),
        ),
        empty="Early in the day, or no recording rules with two weeks of history",
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

WORST: Final = Panel(
    kind="table",
    title="Bots, the least satisfying first",
    asks="Which SeaChat bots need a look? A bot's name leads to its page.",
    window=(
        f"{RANGE_7_DAYS} Change: against the 7 days before. CSAT, and the unsatisfied who gave 3 or"
        " less: the last 30 days with today. Messages: today; usual is the same hour of the last four"
        " weeks, and needs the recording rules."
    ),
    queries=(
        Query(overview("conversations")),
        Query(
            f"max by ({BOT}) ("
            + bots("conversation_overview_change_ratio", WEEK, of="conversations")
            + ")"
        ),
        Query(messages_today(BOT)),
        Query(f"max by ({BOT}) ({recorded('bot:seasalt_messages_today:vs_avg4w')})"),
        Query(ratio(overview("live_agent_requests"), overview("conversations"))),
        Query(weighted("csat_average_rating", BOT)),
        Query(unsatisfied(BOT)),
        Query(total(bots("csat_responses", "last_30_days"), BOT)),
    ),
    names={
        "workspace": "Workspace",
        "bot": "Bot",
        "Value #A": "Conversations",
        "Value #B": "Change",
        "Value #C": "Messages today",
        "Value #D": "Of the usual",
        "Value #E": "Asked for an agent",
        "Value #F": "CSAT",
        "Value #G": "Unsatisfied",
        "Value #H": "Answers",
    },
    columns={
        "Bot": link_column(),
        "Change": {**PERCENT, "min": -1},
        "Of the usual": coloured(_USUAL_STEPS, **PERCENT),
        "Asked for an agent": PERCENT,
        "CSAT": RATING,
        "Unsatisfied": UNSATISFIED,
    },
    options={"sortBy": [{"displayName": "Unsatisfied", "desc": True}]},
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
            Query(total(_USUAL), "mean of four weeks"),
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
        title="Inbound messages by channel",
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
        title="Inbound messages by channel over time",
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
            "Value #A": "Messages",
            "Value #B": "Inbound texts",
            "Value #C": "Calls",
        },
        columns={"API": API},
        size=(12, 6),
    ),
    Panel(
        kind="table",
        title="State of the workspaces",
        asks="Is every workspace's API answering, with a key that is taken and reports in time?",
        window=f"{NOW} A report is late after {LATE:g} of its intervals.",
        queries=(
            Query(own("seasalt_up", _EACH)),
            Query(own("seasalt_api_key_valid", _EACH)),
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
        Row("SeaChat bots at a glance", GLANCE),
        Row("Which bots need a look", (WORST,)),
        Row("Volume of the SeaChat bots", VOLUME),
        Row("Channels of the SeaChat bots", CHANNELS),
        Row("Workspaces", WHOLE),
    ),
)
