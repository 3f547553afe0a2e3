"""What is used and may have to be paid for: voice minutes, calls, chat responses."""

from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    BOT,
    COST_THIS_MONTH,
    busiest,
    change,
    conversations_paid_for,
    cost,
    dashed,
    lines_by_bot,
    link_column,
)
from grafana.builder.panel import Panel, Query
from grafana.builder.query import CHOSEN, bots, recorded, selector, total, whole
from grafana.builder.words import AXIS, RANGE_30_DAYS, SHOWN, THIS_MONTH, TODAY, USAGE_OF_CONTRACT

_VOICE: Final = "total_usage_voice_seconds"
_CHAT: Final = "total_usage_chat_responses"
_SMALL: Final = (8, 4)

_AHEAD: Final = (
    "max by (api, workspace) ("
    + selector("seasalt_workspace_utc_offset_seconds", CHOSEN | {"api": "seachat"})
    + ")"
)
_LOCAL: Final = f"({_AHEAD} + time())"
_PASSED: Final = f"((day_of_month({_LOCAL}) - 1) * 86400 + {_LOCAL} % 86400)"
_DAYS: Final = f"days_in_month({_LOCAL})"


def _forecast(family: str) -> str:
    """This month's use, if the rest of the month is like what has passed of it."""
    so_far = total(bots(family, "this_month"), "api, workspace")
    return f"sum({so_far} * {_DAYS} * 86400 / {_PASSED})"


def _number(title: str, asks: str, expression: str, window: str) -> Panel:
    return Panel(
        kind="stat",
        title=title,
        asks=asks,
        window=window,
        queries=(Query(expression),),
        decimals=0,
        size=_SMALL,
    )


_MINUTES: Final = " / 60"
GLANCE: Final = (
    _number(
        "Voice minutes today",
        "How many minutes of calls have the chosen SeaChat bots had?",
        total(bots(_VOICE, "today")) + _MINUTES,
        TODAY,
    ),
    _number(
        "Voice minutes this month",
        "How many minutes of calls does the month have so far?",
        total(bots(_VOICE, "this_month")) + _MINUTES,
        THIS_MONTH,
    ),
    _number(
        "Voice minutes, month's forecast",
        "How many minutes will the month have, if it goes on like this?",
        _forecast(_VOICE) + _MINUTES,
        f"{THIS_MONTH} Drawn out to the month's end; rough in its first days.",
    ),
    _number(
        "Chat responses today",
        "How many answers in chat have the chosen SeaChat bots and their agents given?",
        total(bots(_CHAT, "today")),
        TODAY,
    ),
    _number(
        "Chat responses this month",
        "How many answers does the month have so far?",
        total(bots(_CHAT, "this_month")),
        THIS_MONTH,
    ),
    _number(
        "Chat responses, month's forecast",
        "How many answers will the month have, if it goes on like this?",
        _forecast(_CHAT),
        f"{THIS_MONTH} Drawn out to the month's end; rough in its first days.",
    ),
)

_AGO: Final = " offset 30d"
MONEY: Final = (
    Panel(
        kind="stat",
        title="Cost this month",
        asks="What has this month cost so far, at the prices in thresholds.yml?",
        window=THIS_MONTH,
        queries=(Query(COST_THIS_MONTH, "{{currency}}"),),
        empty="No prices are set",
        decimals=0,
        options={"textMode": "value_and_name"},
        size=(8, 5),
    ),
    Panel(
        kind="stat",
        title="Cost per conversation, 30 days",
        asks="What does a conversation cost, at the prices in thresholds.yml?",
        window=(
            f"{RANGE_30_DAYS} Of the bots of workspaces with a price in that currency. Their usage: all time less"
            " what all time was 30 days ago, so only bots with that history count."
        ),
        queries=(Query(f"{cost(_AGO)} / ({conversations_paid_for(_AGO)} > 0)", "{{currency}}"),),
        empty="No prices are set, or no history",
        unit="none",
        decimals=3,
        options={"textMode": "value_and_name"},
        size=(8, 5),
    ),
    Panel(
        kind="bargauge",
        title="Contract used this month",
        asks=f"Which share of what a contract allows is used? The alert begins at {USAGE_OF_CONTRACT:.0%}.",
        window=THIS_MONTH,
        queries=tuple(
            Query(
                f"max by (workspace) ({recorded(f'workspace:seasalt_{what}_this_month:sum')}"
                f" / on (workspace) group_left () max by (workspace) (seasalt:contract:{what}_per_month{{}}))",
                "{{workspace}}, " + words,
            )
            for what, words in (("voice_seconds", "voice"), ("chat_responses", "chat"))
        ),
        empty="No contract is set in thresholds.yml",
        unit="percentunit",
        decimals=0,
        maximum=1,
        steps=((None, "text"), (USAGE_OF_CONTRACT, "orange"), (1.0, "red")),
        size=(8, 5),
    ),
)


def _an_hour(family: str, by: str = "") -> str:
    """What came within an hour: a sum of today over time zones would fall at each midnight."""
    now, before = bots(family, "today"), bots(family, "today", at=" offset 1h")
    return total(f"clamp_min({now} - {before}, 0)", by)


_WITHIN: Final = f"{SHOWN} Each point counts what came within an hour; needs an hour of history."
CALLS: Final = (
    Panel(
        title="Calls an hour, SeaChat bots",
        asks="How many calls come in and go out?",
        window=_WITHIN,
        queries=(Query(_an_hour("communication_volume_calls", "direction"), "{{direction}}"),),
    ),
    Panel(
        title="Inbound messages an hour without voice, SeaChat bots",
        asks="How much of the traffic is text: chat, SMS and the like?",
        window=_WITHIN,
        queries=(Query(_an_hour("communication_volume_non_voice_messages"), "messages"),),
    ),
)


def _largest(family: str) -> str:
    """This month's use by bot, of those that use most."""
    month = total(bots(family, "this_month"), BOT)
    return f"({busiest(month, total(bots(family, 'this_month', at=' @ end()'), BOT))})"


_HISTORY: Final = "Needs the recording rules and a month of history"


def _last_month(what: str) -> str:
    """By bot: what last month had at its same day and hour."""
    return f"max by ({BOT}) ({recorded(f'bot:seasalt_{what}_last_month:same_day')})"


def _against(title: str, asks: str, what: str, per: str = "") -> Panel:
    """This month beside last month, both up to the same day and hour."""
    now, before = total(bots(f"total_usage_{what}", "this_month"), BOT), _last_month(what)
    return Panel(
        title=title,
        asks=asks,
        window=(
            f"{THIS_MONTH} Last month up to the same day and hour, of the bots that were polled at both"
            f" times; none on a day that last month lacks. {_HISTORY}. {AXIS}"
        ),
        queries=(
            Query(f"{total(now)}{per}", "this month"),
            Query(f"{total(f'{before} and {now}')}{per}", "last month by the same day"),
        ),
        empty=_HISTORY,
        decimals=0,
        overrides=(dashed("last month by the same day"),),
    )


def _moved(title: str, asks: str, what: str) -> Panel:
    """The change of what both months had by the same day, of the same bots."""
    now, before = total(bots(f"total_usage_{what}", "this_month"), BOT), _last_month(what)
    return Panel(
        kind="stat",
        title=title,
        asks=asks,
        window=(
            f"{THIS_MONTH} Against last month up to the same day and hour, of the bots that were polled"
            f" at both times. {_HISTORY}."
        ),
        queries=(Query(change(total(f"{now} and {before}"), total(f"{before} and {now}"))),),
        empty="Needs a month of history",
        unit="percentunit",
        decimals=0,
        minimum=None,
        size=(12, 4),
    )


AGAINST: Final = (
    _moved(
        "Voice minutes against last month",
        "Is this month's use of voice more or less than last month's at the same day?",
        "voice_seconds",
    ),
    _moved(
        "Chat responses against last month",
        "Is this month's use of chat more or less than last month's at the same day?",
        "chat_responses",
    ),
    _against(
        "Voice minutes, this month and last",
        "Where did last month stand on the same day, in minutes of the chosen SeaChat bots?",
        "voice_seconds",
        _MINUTES,
    ),
    _against(
        "Chat responses, this month and last",
        "Where did last month stand on the same day, in answers of the chosen SeaChat bots?",
        "chat_responses",
    ),
)

MONTH: Final = (
    Panel(
        title="Voice minutes of the month by bot",
        asks="Which SeaChat bots use up the minutes? The ten largest; begins again with each month.",
        window=f"{THIS_MONTH} {AXIS}",
        queries=(lines_by_bot(_largest(_VOICE) + _MINUTES),),
        decimals=0,
        size=(12, 10),
    ),
    Panel(
        title="Chat responses of the month by bot",
        asks="Which SeaChat bots use up the answers? The ten largest; begins again with each month.",
        window=f"{THIS_MONTH} {AXIS}",
        queries=(lines_by_bot(_largest(_CHAT)),),
        size=(12, 10),
    ),
    Panel(
        kind="table",
        title="Usage by bot",
        asks="What has each SeaChat bot used? A bot's name leads to its page.",
        window=f"{TODAY} Likewise this month, and all time.",
        queries=(
            *(
                Query(total(bots(_VOICE, window), BOT) + _MINUTES)
                for window in ("today", "this_month", "all")
            ),
            *(Query(total(bots(_CHAT, window), BOT)) for window in ("today", "this_month", "all")),
        ),
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "Value #A": "Minutes today",
            "Value #B": "Minutes this month",
            "Value #C": "Minutes, all time",
            "Value #D": "Chat today",
            "Value #E": "Chat this month",
            "Value #F": "Chat, all time",
        },
        columns={
            "Bot": link_column(),
            **{
                name: {"decimals": 0, "custom__minWidth": 120}
                for name in (
                    "Minutes today",
                    "Minutes this month",
                    "Minutes, all time",
                )
            },
        },
        options={"sortBy": [{"displayName": "Minutes this month", "desc": True}]},
        size=(24, 13),
    ),
)


def _table(title: str, asks: str, api: str, window: str, words: str) -> Panel:
    return Panel(
        kind="table",
        title=title,
        asks=asks,
        window=f"{words} Where a company is on SeaChat too, this is the same usage.",
        queries=(
            Query(total(whole(_VOICE, window, api=api), "workspace") + _MINUTES),
            Query(total(whole(_CHAT, window, api=api), "workspace")),
        ),
        names={"workspace": "Workspace", "Value #A": "Voice minutes", "Value #B": "Chat responses"},
        columns={"Voice minutes": {"decimals": 0}},
        size=(12, 6),
    )


OTHERS: Final = (
    _table("Portal, this month", "What does Portal count?", "portal", "this_month", THIS_MONTH),
    _table("SeaX, today", "What does SeaX count?", "seax", "today", TODAY),
)

BOARD: Final = Board(
    uid="seasalt-usage",
    title="Voice and usage",
    about="Minutes of calls and answers in chat, against what a contract may allow.",
    rows=(
        Row("SeaChat bots at a glance", GLANCE),
        Row("Costs and contracts", MONEY),
        Row("Against last month", AGAINST),
        Row("Calls and messages", CALLS),
        Row("By bot", MONTH),
        Row("Whole workspaces on Portal and SeaX", OTHERS),
    ),
    since="now-30d",
)
