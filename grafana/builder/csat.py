"""How satisfied people are: the average, who answers, which bots are behind it."""

from dataclasses import replace
from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    BOT,
    FEW_ANSWERS,
    MONTH,
    NARROW,
    PERCENT,
    RATING,
    RATING_COLOURS,
    SATISFIED,
    SURELY_UNSATISFIED,
    TEN_WORST,
    UNSATISFIED,
    WEEK,
    average_rating,
    lines_by_bot,
    link_column,
    painted,
    ratings,
    surely_unsatisfied,
    unsatisfied,
    weighted,
    worst,
)
from grafana.builder.panel import Panel, Query
from grafana.builder.query import bots, ratio, total
from grafana.builder.words import (
    ALL_TIME,
    AXIS,
    CSAT_LOW,
    LAST_7_DAYS,
    LAST_30_DAYS,
    SATISFACTION_LOW,
)

_SMALL: Final = (6, 5)
_AVERAGE: Final = "csat_average_rating"
_ANSWERS: Final = "csat_responses"


GLANCE: Final = (
    average_rating(
        "Rating, 30 days",
        "Which rating from 1 to 5 do users give the chosen bots, weighted by answers?",
        size=(8, 5),
    ),
    average_rating(
        "Rating, all time", "And which since there are answers?", "all", ALL_TIME, (8, 5)
    ),
    average_rating(
        "Rating, 7 days",
        "And which in the last week? Few answers make it jump.",
        WEEK,
        LAST_7_DAYS,
        (8, 5),
    ),
    replace(SATISFIED, size=_SMALL),
    Panel(
        kind="stat",
        title="Budget used, 30 days",
        asks=(
            "How much of the unsatisfied answers that the alert's threshold allows has there been?"
            " From 100% on fewer than the threshold's share are satisfied."
        ),
        window=LAST_30_DAYS,
        queries=(Query(f"(1 - {weighted('csat_satisfaction_ratio')}) / {1 - SATISFACTION_LOW:g}"),),
        unit="percentunit",
        decimals=0,
        steps=((None, "text"), (1.0, "orange")),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Answers, 30 days",
        asks="How many answers are behind it?",
        window=LAST_30_DAYS,
        queries=(Query(total(bots(_ANSWERS, MONTH))),),
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Response rate, 30 days",
        asks="After which share of the conversations is the survey answered?",
        window=f"{LAST_30_DAYS} Conversations: the API's own last_30_days.",
        queries=(
            Query(
                ratio(
                    total(bots(_ANSWERS, MONTH)),
                    total(bots("conversation_overview_conversations", MONTH)),
                )
            ),
        ),
        unit="percentunit",
        decimals=1,
        size=_SMALL,
    ),
)

_LINE: Final = {"thresholdsStyle": {"mode": "dashed"}}
_BELOW: Final = "The dashed line is the alert's threshold; it fires below it by what chance may do to so few answers."
TIME: Final = (
    Panel(
        title="Rating by bot, 30 days",
        asks=f"Whose rating falls? {_BELOW} {TEN_WORST}",
        window=f"{LAST_30_DAYS} A moving window: a change shows slowly. {AXIS}",
        queries=(lines_by_bot(worst("average_rating")),),
        unit="none",
        decimals=2,
        minimum=None,
        steps=((None, "transparent"), (CSAT_LOW, "red")),
        custom={**NARROW, **_LINE},
        size=(12, 9),
    ),
    Panel(
        title="Satisfied by bot, 30 days",
        asks=f"Whose share of 4 and 5 falls? {_BELOW} {TEN_WORST}",
        window=f"{LAST_30_DAYS} A moving window: a change shows slowly. {AXIS}",
        queries=(lines_by_bot(worst("satisfaction_ratio")),),
        unit="percentunit",
        minimum=None,
        steps=((None, "transparent"), (SATISFACTION_LOW, "red")),
        custom=_LINE,
        size=(12, 9),
    ),
)

RATINGS: Final = (
    ratings(size=(8, 9)),
    Panel(
        title="Answers by rating, 30 days, over time",
        asks="Does the mix of ratings shift?",
        window=f"{LAST_30_DAYS} {AXIS}",
        queries=(Query(total(bots("csat_rating_responses", MONTH), "rating"), "{{rating}}"),),
        custom={
            "stacking": {"mode": "percent", "group": "A"},
            "fillOpacity": 60,
            "lineWidth": 0,
        },
        overrides=tuple(
            painted(str(rating), colour) for rating, colour in enumerate(RATING_COLOURS, 1)
        ),
        size=(16, 9),
    ),
)

_NOW: Final = weighted(_AVERAGE, BOT)
TABLE: Final = Panel(
    kind="table",
    title="Bots, the least satisfied first",
    asks="Which bots are behind it, and where has it changed? A bot's name leads to its page.",
    window=f"{LAST_30_DAYS} {FEW_ANSWERS} The change is against the same window a week ago: needs that history.",
    queries=(
        Query(_NOW),
        Query(f"{_NOW} - {weighted(_AVERAGE, BOT, at=' offset 1w')}"),
        Query(weighted(_AVERAGE, BOT, window=WEEK)),
        Query(unsatisfied(BOT)),
        Query(surely_unsatisfied(BOT)),
        Query(total(bots(_ANSWERS, MONTH), BOT)),
        Query(
            ratio(
                total(bots(_ANSWERS, MONTH), BOT),
                total(bots("conversation_overview_conversations", MONTH), BOT),
            )
        ),
    ),
    names={
        "workspace": "Workspace",
        "bot": "Bot",
        "Value #A": "Rating, 30 days",
        "Value #B": "Against a week ago",
        "Value #C": "Rating, 7 days",
        "Value #D": "Unsatisfied, 30 days",
        "Value #E": "At least, 30 days",
        "Value #F": "Answers, 30 days",
        "Value #G": "Response rate, 30 days",
    },
    columns={
        "Workspace": {"custom__width": 110},
        "Bot": link_column(),
        "Rating, 30 days": RATING,
        "Against a week ago": {"unit": "none", "decimals": 2, "min": -4},
        "Rating, 7 days": {"unit": "none", "decimals": 2},
        "Unsatisfied, 30 days": UNSATISFIED,
        "At least, 30 days": SURELY_UNSATISFIED,
        "Response rate, 30 days": {**PERCENT, "custom__minWidth": 170},
    },
    options={"sortBy": [{"displayName": "At least, 30 days", "desc": True}]},
    size=(24, 14),
)

SILENT: Final = Panel(
    kind="table",
    title="Bots without answers, 30 days",
    asks="Which bots have conversations, and nobody has answered the survey?",
    window=f"{LAST_30_DAYS} Conversations: the API's own last_30_days. Those that csat is polled for.",
    queries=(
        Query(
            f"({total(bots('conversation_overview_conversations', MONTH), BOT)} > 0)"
            f" and on (workspace, bot_id) {bots('csat_responses', MONTH)} == 0"
        ),
    ),
    empty="Every bot with conversations has answers",
    names={"workspace": "Workspace", "bot": "Bot", "Value": "Conversations, 30 days"},
    columns={"Bot": link_column()},
    options={"sortBy": [{"displayName": "Conversations, 30 days", "desc": True}]},
    size=(24, 7),
)

BOARD: Final = Board(
    uid="seasalt-csat",
    title="Customer satisfaction",
    about="What users say in the survey after a conversation with a SeaChat bot.",
    rows=(
        Row("SeaChat bots at a glance", GLANCE),
        Row("Over time", TIME),
        Row("Ratings", RATINGS),
        Row("Bot by bot", (TABLE, SILENT)),
    ),
    since="now-30d",
)
