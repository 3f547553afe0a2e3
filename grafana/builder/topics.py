"""What conversations are about: labels, how they change, and which come together."""

from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    BOT,
    MONTH,
    PERCENT,
    WEEK,
    change,
    link_column,
    matrix,
)
from grafana.builder.panel import Panel, Query
from grafana.builder.query import bots, told_apart, total, whole
from grafana.builder.words import (
    ALL_TIME,
    AXIS,
    LAST_7_DAYS,
    LAST_30_DAYS,
    THIS_MONTH,
    TODAY,
)

_USES: Final = "label_usage_uses"
_WEEK: Final = total(bots(_USES, WEEK), "label")
_MOST: Final = 15


def _top(expression: str) -> tuple[Query, ...]:
    return (Query(f"sort_desc(topk({_MOST}, {expression}))", "{{label}}"),)


NOW: Final = (
    Panel(
        kind="bargauge",
        title="Labels, 7 days, SeaChat bots",
        asks="What have conversations been about?",
        window=LAST_7_DAYS,
        queries=_top(_WEEK),
        size=(12, 14),
    ),
    Panel(
        kind="table",
        title="Labels that grow and shrink, 7 days, SeaChat bots",
        asks="Which topics come up, and which go?",
        window=f"{LAST_7_DAYS} The change is against the same window a week ago: needs that history.",
        queries=(
            Query(_WEEK),
            Query(f"{_WEEK} / on () group_left () {total(bots(_USES, WEEK))}"),
            Query(change(_WEEK, total(bots(_USES, WEEK, at=" offset 1w"), "label"))),
        ),
        names={
            "label": "Label",
            "Value #A": "Uses",
            "Value #B": "Share",
            "Value #C": "Against a week ago",
        },
        columns={
            "Label": {"custom__minWidth": 150},
            "Share": PERCENT,
            "Against a week ago": {**PERCENT, "min": -1},
        },
        options={"sortBy": [{"displayName": "Uses", "desc": True}]},
        size=(12, 14),
    ),
)

TIME: Final = (
    Panel(
        title="Labels of 7 days over time, SeaChat bots",
        asks="Does a topic suddenly come up? The ten most used.",
        window=f"{LAST_7_DAYS} {AXIS}",
        queries=(
            Query(
                f"{_WEEK} and topk(10, {total(bots(_USES, WEEK, at=' @ end()'), 'label')})",
                "{{label}}",
            ),
        ),
        size=(24, 9),
    ),
)

_BY_BOT: Final = (
    f"{total(bots(_USES, MONTH), f'{BOT}, label')}"
    f" / on ({BOT}) group_left () {total(bots(_USES, MONTH), BOT)}"
    f" and on (label) topk({_MOST}, {total(bots(_USES, MONTH), 'label')})"
)
MATRIX: Final = (
    Panel(
        kind="table",
        title="Labels of each bot, 30 days",
        asks="Which SeaChat bot is asked about what?",
        window=f"{LAST_30_DAYS} The stronger the colour, the larger the share of the bot's labels; {_MOST} labels.",
        queries=(Query(f'label_join({told_apart(_BY_BOT)}, "who", " / ", "bot", "workspace")'),),
        unit="percentunit",
        decimals=0,
        **matrix("label", usual=1 / _MOST),
        size=(24, 14),
    ),
)

_PAIR: Final = "workspace, bot_id, bot, base_label, comparison_label"
OVERLAP: Final = (
    Panel(
        kind="table",
        title="Labels that come together this month",
        asks="Of the conversations with the first label, which share has the second one too?",
        window=f"{THIS_MONTH} The pairs are those that the configuration asks for, on SeaChat.",
        queries=(
            Query(total(bots("label_relation_base_conversations", "this_month"), _PAIR)),
            Query(total(bots("label_relation_both_conversations", "this_month"), _PAIR)),
            Query(f"max by ({_PAIR}) ({bots('label_relation_ratio', 'this_month')})"),
        ),
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "base_label": "First label",
            "Value #A": "Conversations",
            "comparison_label": "Second label",
            "Value #B": "With both",
            "Value #C": "Share",
        },
        columns={"Workspace": {"custom__width": 115}, "Bot": link_column(), "Share": PERCENT},
        options={"sortBy": [{"displayName": "With both", "desc": True}]},
        size=(16, 11),
    ),
    Panel(
        kind="bargauge",
        title="Labels of all time, SeaChat",
        asks="Which labels do conversations of the whole workspace carry?",
        window=ALL_TIME,
        queries=_top(total(whole("label_overview_conversations", api="seachat"), "label")),
        size=(8, 11),
    ),
)

OTHERS: Final = (
    Panel(
        kind="bargauge",
        title="Labels, 7 days, Portal",
        asks="What do whole workspaces on Portal talk about?",
        window=LAST_7_DAYS,
        queries=_top(total(whole(_USES, WEEK, api="portal"), "label")),
        size=(12, 9),
    ),
    Panel(
        kind="bargauge",
        title="Labels today, SeaX",
        asks="What do whole workspaces on SeaX talk about?",
        window=TODAY,
        queries=_top(total(whole(_USES, "today", api="seax"), "label")),
        size=(12, 9),
    ),
)

BOARD: Final = Board(
    uid="seasalt-topics",
    title="Topics",
    about="The labels of conversations: how often, on which bots, and which come together.",
    rows=(
        Row("What it is about", NOW),
        Row("Over time", TIME),
        Row("Bot by bot", MATRIX),
        Row("Overlap and all time", OVERLAP),
        Row("Whole workspaces on Portal and SeaX", OTHERS),
    ),
    since="now-30d",
)
