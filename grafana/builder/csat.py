"""How satisfied people are: the average, who answers, which bots are behind it."""

from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    BOT,
    BOT_LEGEND,
    FEW_ANSWERS,
    MONTH,
    PERCENT,
    RATING,
    RATING_COLOURS,
    SATISFIED,
    UNSATISFIED,
    WEEK,
    average_rating,
    link_column,
    painted,
    ratings,
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
)

_SMALL: Final = (4, 4)
_AVERAGE: Final = "csat_average_rating"
_ANSWERS: Final = "csat_responses"


GLANCE: Final = (
    average_rating(
        "Rating, 30 days",
        "Which rating from 1 to 5 do users give the chosen bots, weighted by answers?",
    ),
    average_rating(
        "Rating, 7 days",
        "And which in the last week? Few answers make it jump.",
        WEEK,
        LAST_7_DAYS,
    ),
    average_rating("Rating, all time", "And which since there are answers?", "all", ALL_TIME),
    SATISFIED,
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
TIME: Final = (
    Panel(
        title="Rating by bot, 30 days",
        asks="Whose rating falls? The dashed line is where the alert begins; ten worst bots.",
        window=f"{LAST_30_DAYS} A moving window: a change shows slowly. {AXIS}",
        queries=(Query(worst(_AVERAGE), BOT_LEGEND),),
        unit="none",
        decimals=2,
        minimum=1,
        maximum=5,
        steps=((None, "transparent"), (CSAT_LOW, "red")),
        custom=_LINE,
        size=(12, 9),
    ),
    Panel(
        title="Satisfied by bot, 30 days",
        asks="Whose share of 4 and 5 falls? Ten worst bots.",
        window=f"{LAST_30_DAYS} A moving window: a change shows slowly. {AXIS}",
        queries=(Query(worst("csat_satisfaction_ratio"), BOT_LEGEND),),
        unit="percentunit",
        decimals=0,
        maximum=1,
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
        "Value #E": "Answers, 30 days",
        "Value #F": "Response rate, 30 days",
    },
    columns={
        "Bot": link_column(),
        "Rating, 30 days": RATING,
        "Against a week ago": {"unit": "none", "decimals": 2, "min": -4},
        "Rating, 7 days": {"unit": "none", "decimals": 2},
        "Unsatisfied, 30 days": UNSATISFIED,
        "Response rate, 30 days": PERCENT,
    },
    options={"sortBy": [{"displayName": "Unsatisfied, 30 days", "desc": True}]},
    size=(24, 10),
)

BOARD: Final = Board(
    uid="seasalt-csat",
    title="Customer satisfaction",
    about="What users say in the survey after a conversation with a SeaChat bot.",
    rows=(
        Row("SeaChat bots at a glance", GLANCE),
        Row("Over time", TIME),
        Row("Ratings", RATINGS),
        Row("Bot by bot", (TABLE,)),
    ),
    since="now-30d",
)
