"""For somebody who runs fifty bots and has ten minutes in the morning."""

from dataclasses import replace
from typing import Final

from grafana.builder.attention import HEEDED, NUMBER, SINCE, TREND, WORST as WORST_ALERT
from grafana.builder.board import Board, Row
from grafana.builder.common import (
    A_WEEK_AGO,
    API,
    BOT,
    COST_THIS_MONTH,
    DASHED,
    FEW_ANSWERS,
    MONTH,
    PERCENT,
    SATISFIED,
    SUCCEED,
    SURELY_UNSATISFIED,
    TO_BOT,
    TO_WORKSPACE,
    UNSATISFIED,
    VS_LAST_WEEK,
    WEEK,
    alone,
    average_rating,
    busiest,
    coloured,
    lines_by_bot,
    link_column,
    messages_today,
    messages_yesterday,
    overview,
    states,
    surely_unsatisfied,
    unsatisfied,
)
from grafana.builder.panel import Json, Panel, Query
from grafana.builder.query import bots, own, recorded, reports, total, whole
from grafana.builder.words import (
    AGE_STEPS,
    ANY_STEPS,
    LAST_30_DAYS,
    LATE,
    LEAST_EXPECTED,
    LEAST_REQUESTS,
    NEEDS_RULES,
    NOW,
    RANGE_7_DAYS,
    RANGE_30_DAYS,
    SHARE_STEPS,
    SHOWN,
    THIS_MONTH,
    TODAY,
    VOLUME_DROPPED,
    VOLUME_SPIKED,
)

_SMALL: Final = (4, 5)
_USUAL: Final = recorded("target:seasalt_messages_today:usual")
_SO_FAR: Final = recorded("target:seasalt_messages_today:sum")
"""0 for a bot that the API leaves out, if it was asked lately and answered."""
_VS_USUAL: Final = f"max by ({BOT}) ({recorded('target:seasalt_messages_today:ratio')})"
_CONVERSATIONS: Final = total(bots("conversation_overview_conversations", WEEK))
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
        str(rank): {"color": colour, "index": place, "text": name}
        for place, (rank, name, colour) in enumerate(
            ((3, "Critical", "red"), (2, "Warning", "orange"), (1, "Info", "text"))
        )
    },
}


def _to(workspace: str, link: Json, board: str = "seasalt-bot") -> Json:
    """A link that takes the workspace from another column, and leads to another dashboard."""
    url = link["url"].replace("fields.Workspace", f"fields.{workspace}")
    return {**link, "url": url.replace("/d/seasalt-bot?", f"/d/{board}?")}


_ADDRESS: Final = "topk(1, max by (url) (seasalt:address:runbooks{}))"
ATTENTION: Final = Panel(
    kind="table",
    title="Needs attention",
    asks="What is wrong, with which bot or workspace, and since when? The alert leads to what to do.",
    window=(
        f"{NOW} A row for each bot or workspace with its worst alert, without what Alertmanager"
        " inhibits. Messages an hour: over the time range above; the trend needs Grafana 10.3."
    ),
    queries=(
        Query(f"{WORST_ALERT} * on () group_left (url) {_ADDRESS}"),
        Query(NUMBER),
        Query(SINCE),
        Query(TREND, trend=True),
    ),
    empty="No alert is firing, or the alert rules are missing",
    names={
        "Value #A": "Severity",
        "workspace": "Workspace",
        "bot": "Bot",
        "alertname": "Why",
        "Value #B": "Alerts",
        "Value #C": "Since",
        "Trend #D": "Messages an hour",
        "url": "Runbooks",
        "board": "Board",
        "scope": "Scope",
    },
    # Grafana takes a table with a time in each row for a line as well, unless told which one to take.
    first=(
        {
            "id": "timeSeriesTable",
            "filter": {"id": "byRefId", "options": "D"},
            "options": {"D": {"stat": "lastNotNull"}},
        },
    ),
    # A line ends up to a step before now: an alert of then that is none any more is no row.
    transformations=(
        {
            "id": "filterByValue",
            "options": {
                "filters": [{"fieldName": "Severity", "config": {"id": "isNull", "options": {}}}],
                "match": "any",
                "type": "exclude",
            },
        },
    ),
    columns={
        "Severity": {
            "mappings": [_SEVERITIES],
            "custom__cellOptions": {"type": "color-text"},
            "custom__align": "left",
            "custom__width": 110,
        },
        "Workspace": {"links": [_to("Scope", TO_WORKSPACE)], "custom__minWidth": 130},
        "Why": {
            "links": [
                {
                    "title": "What to do",
                    "url": "${__data.fields.Runbooks:raw}/${__data.fields.Why:raw}.md",
                    "targetBlank": True,
                }
            ],
            "custom__minWidth": 200,
        },
        "Bot": {**link_column(), "links": [_to("Scope", TO_BOT, "${__data.fields.Board:raw}")]},
        "Alerts": {"custom__width": 100},
        "Since": {"unit": "s", "decimals": 0, "custom__width": 120},
        "Messages an hour": {
            # Without its last point as a number: that of a bot whose values are gone is an old one.
            "custom__cellOptions": {
                "type": "sparkline",
                "fillOpacity": 10,
                "lineWidth": 2,
                "hideValue": True,
            },
            "custom__minWidth": 220,
        },
    },
    options={
        "sortBy": [
            {"displayName": "Severity", "desc": True},
            {"displayName": "Since", "desc": True},
        ],
        "frozenColumns": {"left": 0},
    },
    size=(24, 11),
)

GLANCE: Final = (
    Panel(
        kind="stat",
        title="To look at",
        asks="How many bots and workspaces need attention? The rows of the table above.",
        window=NOW,
        queries=(
            Query(
                f"count({NUMBER}) or"
                ' 0 * count(ALERTS{alertname="SeasaltWatchdog",alertstate="firing"})'
            ),
        ),
        empty="Needs the rules",
        steps=ANY_STEPS,
        size=_SMALL,
    ),
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
        title="Handled by bots, 7 days",
        asks="In which share of the conversations did nobody ask for a person?",
        window=RANGE_7_DAYS,
        queries=(Query(alone()),),
        unit="percentunit",
        decimals=0,
        size=_SMALL,
    ),
    replace(SATISFIED, size=_SMALL),
    Panel(
        kind="stat",
        title="Answers, 30 days",
        asks="How many answers to the survey are behind it?",
        window=LAST_30_DAYS,
        queries=(Query(total(bots("csat_responses", MONTH))),),
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
        title="Cost this month",
        asks="What has this month cost so far, at the prices in thresholds.yml?",
        window=THIS_MONTH,
        queries=(Query(COST_THIS_MONTH, "{{currency}}"),),
        empty="No prices are set",
        decimals=0,
        options={"textMode": "value_and_name"},
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Reports that succeed",
        asks="Which share of the reports, of any API, succeeded when last tried?",
        window=NOW,
        queries=(Query(f"avg({reports('success')})"),),
        empty="Not scraped",
        unit="percentunit",
        decimals=1,
        maximum=1,
        steps=SHARE_STEPS,
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
        steps=AGE_STEPS,
        size=_SMALL,
    ),
)

_Z: Final = recorded("target:seasalt_messages_today:zscore")
WORST: Final = Panel(
    kind="table",
    title="Bots, those with alerts first",
    asks="Which SeaChat bots need a look? A bot's name leads to its page.",
    window=(
        f"{RANGE_7_DAYS} {A_WEEK_AGO} Then: the share that is unsatisfied at least, chance taken off."
        f" Answers: the last 30 days with today. {FEW_ANSWERS} Messages: today; usual is the same hour of"
        " the last four weeks, and needs the recording rules. Beyond chance: standard deviations."
    ),
    queries=(
        Query(
            f"count by ({BOT}) ({HEEDED}) and on (workspace, bot_id) {bots('bot_enabled')}"
            f" or 0 * {overview('conversations')}"
        ),
        Query(f"{messages_today(BOT)} or max by ({BOT}) ({_SO_FAR})"),
        Query(_VS_USUAL),
        Query(f"max by ({BOT}) ({_Z})"),
        Query(overview("conversations")),
        Query(VS_LAST_WEEK),
        Query(f"{alone(BOT)} and {overview('conversations')} >= {LEAST_REQUESTS:g}"),
        Query(unsatisfied(BOT)),
        Query(surely_unsatisfied(BOT)),
        Query(total(bots("csat_responses", "last_30_days"), BOT)),
    ),
    names={
        "workspace": "Workspace",
        "bot": "Bot",
        "Value #A": "Alerts",
        "Value #B": "Messages today",
        "Value #C": "Today vs usual",
        "Value #D": "Beyond chance",
        "Value #E": "Conversations, 7 days",
        "Value #F": "Change vs last week",
        "Value #G": "Alone, 7 days",
        "Value #H": "Unsatisfied, 30 days",
        "Value #I": "At least, 30 days",
        "Value #J": "Answers, 30 days",
    },
    columns={
        "Bot": {**link_column(), "custom__minWidth": 155},
        "Workspace": {"custom__width": 110},
        "Alerts": coloured(ANY_STEPS, custom__width=90),
        "Messages today": {"custom__minWidth": 120},
        "Beyond chance": {"unit": "none", "decimals": 1, "min": None, "custom__minWidth": 115},
        "Conversations, 7 days": {"custom__minWidth": 160},
        "Change vs last week": {"custom__minWidth": 150, **PERCENT, "min": -1},
        "Today vs usual": coloured(_USUAL_STEPS, **PERCENT, custom__minWidth=115),
        "Alone, 7 days": {**PERCENT, "custom__minWidth": 105},
        "Unsatisfied, 30 days": UNSATISFIED,
        "At least, 30 days": {**SURELY_UNSATISFIED, "custom__minWidth": 150},
        "Answers, 30 days": {"custom__width": 135},
    },
    options={
        "sortBy": [
            {"displayName": "Alerts", "desc": True},
            {"displayName": "At least, 30 days", "desc": True},
        ]
    },
    size=(24, 13),
)

UNUSED_BOTS: Final = Panel(
    kind="table",
    title="Switched on, and no conversations in 30 days",
    asks="Which SeaChat bots are switched on in the list, and nobody uses them?",
    window=RANGE_30_DAYS,
    queries=(
        Query(
            f"max by ({BOT}) ({bots('bot_enabled')}) == 1 and on (workspace, bot_id)"
            f" {overview('conversations', MONTH)} == 0"
        ),
    ),
    empty="Every bot that is switched on has had conversations",
    names={"workspace": "Workspace", "bot": "Bot", "Value": "Switched on"},
    columns={"Bot": link_column(), "Switched on": states("No", "Yes")},
    size=(24, 5),
)

_HOUR: Final = recorded("target:seasalt_messages_1h:sum")
_BY_BOT: Final = f"max by ({BOT}) ({_HOUR})"
_YESTERDAY: Final = total(bots("activity_trend_messages", "yesterday", at=" @ end()"), BOT)
# Grafana evaluates it at the midnights of whoever looks. The morning after, at half past ten, a day is over and
# the next one is not, from ten hours behind Greenwich to thirteen ahead.
_A_DAY: Final = bots("activity_trend_messages", "yesterday", at=" offset -34h30m", over="8h")
VOLUME: Final = (
    Panel(
        title="Messages an hour by bot, the ten busiest yesterday",
        asks="How does the day go for the SeaChat bots with most messages?",
        window=(
            f"{SHOWN} Each point counts what came within an hour. The ten had most messages yesterday: today"
            f" has only begun in some time zones. {NEEDS_RULES}."
        ),
        queries=(lines_by_bot(busiest(_BY_BOT, _YESTERDAY)),),
        empty=NEEDS_RULES,
        size=(24, 9),
    ),
    Panel(
        title="Messages an hour, all chosen bots",
        asks="Is it as busy as at the same hours of the last four weeks, whatever the time zones?",
        window=f"{SHOWN} Each point counts what came within an hour. {NEEDS_RULES}.",
        queries=(
            Query(total(_HOUR), "messages an hour"),
            Query(total(recorded("target:seasalt_messages_1h:usual")), "usual"),
        ),
        empty=NEEDS_RULES,
        overrides=(DASHED,),
        size=(10, 9),
    ),
    messages_yesterday((4, 9)),
    Panel(
        title="Messages a day until yesterday",
        asks="How many messages does a day bring the chosen SeaChat bots?",
        window=f"{SHOWN} The API's own count of each whole day, in each workspace's time zone.",
        queries=(Query(total(_A_DAY), "messages a day"),),
        empty="Needs history: a day is there from half past ten of the next morning on",
        interval="1d",
        custom={"drawStyle": "bars", "fillOpacity": 60, "lineWidth": 0, "spanNulls": False},
        size=(10, 9),
    ),
)

_CHANNEL: Final = "conversation_breakdown_channel_messages"
_INBOUND: Final = bots(_CHANNEL, "today", direction="inbound")
_AN_HOUR_AGO: Final = bots(_CHANNEL, "today", at=" offset 1h", direction="inbound")
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
        title="Inbound messages an hour by channel",
        asks="Does a channel of the SeaChat bots fall silent?",
        window=f"{SHOWN} Each point counts what came within an hour; needs an hour of history.",
        queries=(
            Query(total(f"clamp_min({_INBOUND} - {_AN_HOUR_AGO}, 0)", "channel"), "{{channel}}"),
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
        columns={
            "Inbound texts today": {"custom__minWidth": 145},
            "API": {**API, "custom__width": 80},
        },
        size=(12, 10),
    ),
    Panel(
        kind="table",
        title="State of the workspaces",
        asks="Is every workspace's API answering, with a key that is taken and reports in time?",
        window=f"{NOW} A report is late after {LATE:g} of its intervals. Of several exporters the worst key counts.",
        queries=(
            Query(f"avg by ({_EACH}) ({reports('success')})"),
            Query(own("seasalt_api_key_valid", _EACH, of="min")),
            Query(f"count by ({_EACH}) ({reports('success')})"),
            Query(total(f"{reports('success')} == bool 0", _EACH)),
            Query(total(LATE_REPORTS, _EACH)),
        ),
        names={
            "workspace": "Workspace",
            "api": "API",
            "Value #A": "Succeed",
            "Value #B": "Key",
            "Value #C": "Reports",
            "Value #D": "Failing",
            "Value #E": "Late",
        },
        columns={
            "API": API,
            "Succeed": SUCCEED,
            "Key": states("Rejected", "Taken"),
            "Failing": coloured(ANY_STEPS),
            "Late": coloured(ANY_STEPS),
        },
        options={"sortBy": [{"displayName": "Failing", "desc": True}]},
        custom={"minWidth": 70},
        size=(12, 10),
    ),
)

BOARD: Final = Board(
    uid="seasalt-overview",
    title="Overview",
    about="All bots at a glance: volume, satisfaction, and whether the numbers can be believed.",
    rows=(
        Row("What is wrong", (ATTENTION,)),
        Row("SeaChat bots at a glance", GLANCE),
        Row("Which bots need a look", (WORST, UNUSED_BOTS)),
        Row("Volume of the SeaChat bots", VOLUME),
        Row("Channels of the SeaChat bots", CHANNELS),
        Row("Workspaces", WHOLE),
    ),
)
