"""What several dashboards have in common: sums, tables by bot, and the links of their rows."""

from typing import Final

from exporter.model.apis import APIS
from grafana.builder.panel import NOTHING, Json, Panel, Query, named
from grafana.builder.query import bots, ratio, total
from grafana.builder.words import (
    LAST_30_DAYS,
    LEAST_ANSWERS,
    RATING_STEPS,
    SATISFACTION_LOW,
    SATISFIED_STEPS,
)

BOT: Final = "workspace, bot_id, bot"
BOT_LEGEND: Final = "{{bot}} ({{workspace}})"
MONTH: Final = "last_30_days"
FOUR_WEEKS: Final = "last_28_days"
WEEK: Final = "last_7_days"
_TO_BOT: Final = (
    "/d/seasalt-bot?${datasource:queryparam}&${job:queryparam}"
    "&var-workspace=${__data.fields.Workspace:percentencode}"
    "&var-bot=${__data.fields.Id:percentencode}&${__url_time_range}"
)
TO_BOT: Final[Json] = {"title": "This bot in detail", "url": _TO_BOT, "targetBlank": False}


def overview(of: str, window: str = WEEK, at: str = "") -> str:
    """A number of conversation_overview, by bot."""
    return total(bots(f"conversation_overview_{of}", window, at=at), BOT)


def messages_today(by: str = "", at: str = "") -> str:
    """The messages of today; SeaChat tells them by sender."""
    return total(bots("activity_trend_messages", "today", at=at), by)


def weighted(family: str, by: str = "", window: str = MONTH, at: str = "") -> str:
    """A mean of csat over bots, each as heavy as it has answers; none without answers."""
    answers = bots("csat_responses", window, at=at)
    return ratio(total(f"{bots(family, window, at=at)} * {answers}", by), total(answers, by))


def unsatisfied(by: str) -> str:
    """The share of answers that are not a 4 or a 5; none of so few that no alert heeds them."""
    enough = f"{total(bots('csat_responses', MONTH), by)} >= {LEAST_ANSWERS:g}"
    return f"1 - {weighted('csat_satisfaction_ratio', by)} and {enough}"


def change(expression: str, before: str) -> str:
    """How much more than before: 0.1 is ten per cent."""
    return f"{ratio(expression, before)} - 1"


VS_LAST_WEEK: Final = change(overview("conversations"), overview("conversations", at=" offset 1w"))
"""By bot. The API's own change cannot be added up over bots, so neither sums nor rows use it."""
A_WEEK_AGO: Final = "Compared with what the same window showed seven days ago: needs that history."


def busiest(expression: str, last: str, count: int = 10) -> str:
    """The largest series of an expression, as they are at the end of the time range."""
    return f"{expression} and topk({count}, {last})"


def worst(family: str, count: int = 10) -> str:
    """The lowest series of csat, as they are at the end of the time range."""
    return f"{bots(family, MONTH)} and bottomk({count}, {bots(family, MONTH, at=' @ end()')})"


def link_column() -> Json:
    """The column of bots: each leads to its page."""
    return {"links": [TO_BOT], "custom__minWidth": 150}


def coloured(steps: tuple[tuple[float | None, str], ...], **settings: object) -> Json:
    """A column whose text has the colour of its threshold."""
    shown = [{"color": colour, "value": value} for value, colour in steps]
    return {
        "thresholds": {"mode": "absolute", "steps": shown},
        "custom__cellOptions": {"type": "color-text"},
        "color": {"mode": "thresholds"},
        **settings,
    }


def states(no: str, yes: str) -> Json:
    """A column of 0 and 1 in words; the first one is bad."""
    words: Json = {
        "0": {"color": "red", "index": 0, "text": no},
        "1": {"color": "text", "index": 1, "text": yes},
    }
    return {
        "mappings": [{"type": "value", "options": words}, NOTHING],
        "custom__cellOptions": {"type": "color-text"},
    }


RATING: Final = coloured(RATING_STEPS, unit="none", decimals=2)
UNSATISFIED: Final = coloured(
    ((None, "text"), (1 - SATISFACTION_LOW, "orange")),
    unit="percentunit",
    decimals=0,
    custom__minWidth=165,
)
API: Final[Json] = {
    "mappings": [
        {
            "type": "value",
            "options": {
                name: {"index": place, "text": api.title}
                for place, (name, api) in enumerate(APIS.items())
            },
        }
    ]
}
"""The column of APIs, as their makers spell them."""
FEW_ANSWERS: Final = (
    f"The unsatisfied gave 3 or less, and are told from {LEAST_ANSWERS:g} answers on."
)
PERCENT: Final[Json] = {"unit": "percentunit", "decimals": 0}

RATING_COLOURS: Final = ("red", "orange", "yellow", "light-green", "green")
DASHED: Final[Json] = {
    "matcher": {"id": "byName", "options": "usual"},
    "properties": [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "text"}},
    ],
}
"""The look of what is usual."""


def painted(name: str, colour: str) -> Json:
    """One series in a colour that means something."""
    return named(name, color={"mode": "fixed", "fixedColor": colour})


def ratings(size: tuple[int, int]) -> Panel:
    """How many answers there are of each rating."""
    each = (
        total(bots("csat_rating_responses", MONTH, rating=str(rating))) for rating in range(1, 6)
    )
    return Panel(
        kind="bargauge",
        title="Answers by rating, 30 days",
        asks="Is the mean made of middling answers, or of very good and very bad ones?",
        window=LAST_30_DAYS,
        queries=tuple(Query(expression, str(rating)) for rating, expression in enumerate(each, 1)),
        overrides=tuple(
            painted(str(rating), colour) for rating, colour in enumerate(RATING_COLOURS, 1)
        ),
        size=size,
    )


def average_rating(
    title: str,
    asks: str,
    window: str = MONTH,
    words: str = LAST_30_DAYS,
    size: tuple[int, int] = (4, 4),
) -> Panel:
    """The mean rating of the chosen bots as one number."""
    return Panel(
        kind="stat",
        title=title,
        asks=asks,
        window=words,
        queries=(Query(weighted("csat_average_rating", window=window)),),
        unit="none",
        decimals=2,
        minimum=1,
        maximum=5,
        steps=RATING_STEPS,
        size=size,
    )


SATISFIED: Final = Panel(
    kind="stat",
    title="Satisfied, 30 days",
    asks="Which share of the answers is a 4 or a 5?",
    window=LAST_30_DAYS,
    queries=(Query(weighted("csat_satisfaction_ratio")),),
    unit="percentunit",
    decimals=0,
    maximum=1,
    steps=SATISFIED_STEPS,
    size=(4, 4),
)
