"""What several dashboards have in common: sums, tables by bot, and the links of their rows."""

from typing import Any, Final

from exporter.model.apis import APIS
from grafana.builder.panel import NOTHING, Json, Panel, Query, named
from grafana.builder.query import bots, ratio, told_apart, total, whole
from grafana.builder.words import (
    LAST_30_DAYS,
    LEAST_ANSWERS,
    RATING_STDDEV,
    RATING_STEPS,
    SATISFACTION_LOW,
    SATISFIED_STEPS,
    SHARE_STEPS,
    YESTERDAY,
)

BOT: Final = "workspace, bot_id, bot"
MONTH: Final = "last_30_days"
FOUR_WEEKS: Final = "last_29_days"
"""With today; `whole_days` takes it away."""
WEEK: Final = "last_7_days"
_TO_BOT: Final = (
    "/d/seasalt-bot?${datasource:queryparam}&${job:queryparam}"
    "&var-workspace=${__data.fields.Workspace:percentencode}"
    "&var-bot=${__data.fields.Id:percentencode}&${__url_time_range}"
)
TO_WORKSPACE: Final[Json] = {
    "title": "This workspace's reports",
    "url": (
        "/d/seasalt-exporter?${datasource:queryparam}&${job:queryparam}"
        "&var-workspace=${__data.fields.Workspace:percentencode}&var-bot=$__all&${__url_time_range}"
    ),
    "targetBlank": False,
}
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


def _most(of: str, at: str = "") -> str:
    """What a mean of csat is at most, with a probability of 95 %: few answers say little."""
    mean, answers = bots(f"csat_{of}", MONTH, at=at), bots("csat_responses", MONTH, at=at)
    if of == "average_rating":
        return f"{mean} + 1.64 * {RATING_STDDEV:g} / sqrt({answers} > 0)"
    return f"{mean} + 1.64 * sqrt({mean} * (1 - {mean}) / ({answers} > 0))"


def whole_days(family: str, by: str, api: str = "", **pins: str) -> str:
    """The messages of four whole weeks by hour or weekday: no day is there in part."""

    def of(window: str) -> str:
        return whole(family, window, api=api, **pins) if api else bots(family, window, **pins)

    return total(f"clamp_min({of(FOUR_WEEKS)} - {of('today')}, 0) or {of(FOUR_WEEKS)}", by)


def surely_unsatisfied(by: str) -> str:
    """The share that is unsatisfied at least, which puts many bad answers before a few worse ones."""
    enough = f"{total(bots('csat_responses', MONTH), by)} >= {LEAST_ANSWERS:g}"
    return f"clamp_min(1 - max by ({by}) ({_most('satisfaction_ratio')}), 0) and {enough}"


def unsatisfied(by: str) -> str:
    """The share of answers that are not a 4 or a 5; none of so few that no alert heeds them."""
    enough = f"{total(bots('csat_responses', MONTH), by)} >= {LEAST_ANSWERS:g}"
    return f"1 - {weighted('csat_satisfaction_ratio', by)} and {enough}"


def _price(family: str, price: str, per: int, at: str = "") -> str:
    """By workspace and currency: what the bots used in a window costs."""
    used = bots(f"total_usage_{family}", "all" if at else "this_month")
    if at:  # bot by bot: one without that history would add all its time
        used += f" - {bots(f'total_usage_{family}', 'all', at=at)}"
    return (
        f"{total(used, 'workspace')} / {per} * on (workspace) group_right ()"
        f" max by (workspace, currency) (seasalt:price:{price}{{}})"
    )


def cost(at: str = "") -> str:
    """By currency: this month's cost, or with ` offset 30d` that of thirty days."""
    voice, chat = (
        _price("voice_seconds", "voice_minute", 60, at),
        _price("chat_responses", "chat_response", 1, at),
    )
    # A workspace may have one price and not the other.
    return f"sum by (currency) (({voice}) + ({chat}) or ({voice}) or ({chat}))"


COST_THIS_MONTH: Final = cost()


def conversations_paid_for(at: str) -> str:
    """By currency: the conversations of thirty days of the bots whose cost is in `cost(at)`."""
    had = bots("conversation_overview_conversations", MONTH)
    then = bots("total_usage_chat_responses", "all", at=at)
    # The label comes from the price, whichever of the two a workspace has.
    priced = "group by (workspace, currency) (seasalt:price:voice_minute{} or seasalt:price:chat_response{})"
    each = total(f"{had} and on (workspace, bot_id) {then}", "workspace")
    return f"sum by (currency) ({each} * on (workspace) group_right () {priced})"


def change(expression: str, before: str) -> str:
    """How much more than before: 0.1 is ten per cent."""
    return f"{ratio(expression, before)} - 1"


VS_LAST_WEEK: Final = change(overview("conversations"), overview("conversations", at=" offset 1w"))
"""By bot. The API's own change cannot be added up over bots, so neither sums nor rows use it."""
A_WEEK_AGO: Final = "Compared with what the same window showed seven days ago: needs that history."


def lines_by_bot(expression: str) -> Query:
    """A line for each bot, which its legend tells from all others."""
    return Query(told_apart(expression), "{{bot}} ({{workspace}})")


def busiest(expression: str, last: str, count: int = 10) -> str:
    """The largest series of an expression, as they are at the end of the time range."""
    return f"{expression} and topk({count}, {last})"


def worst(of: str, count: int = 10) -> str:
    """The lowest series of csat at the end of the time range, of those with enough answers."""
    now = " @ end()"
    enough = f"{bots('csat_responses', MONTH, at=now)} >= {LEAST_ANSWERS:g}"
    return f"{bots(f'csat_{of}', MONTH)} and bottomk({count}, {_most(of, now)} and {enough})"


def alone(by: str = "", window: str = WEEK) -> str:
    """The share of conversations in which nobody asked for a person."""
    of = "conversation_overview_"
    asked = total(bots(f"{of}live_agent_requests", window), by)
    return f"1 - {ratio(asked, total(bots(f'{of}conversations', window), by))}"


_ALL: Final = bots("conversation_overview_conversations", MONTH)
_REPLIED: Final = bots("conversation_overview_conversations", MONTH, exclude_empty_response="true")
UNANSWERED_NEEDS: Final = "Needs exclude_empty_response"
"""Stands where the share of unanswered conversations would be."""
REPLIES: Final = "A conversation is unanswered until its first reply, by a bot or an agent."


def both_asked(by: str = "") -> str:
    """The conversations of the bots for which the answered ones are known as well."""
    return total(f"({_ALL} and {_REPLIED})", by)


def nobody_replied(by: str = "") -> str:
    """How many conversations have had no reply: the two numbers come from two requests."""
    return total(f"clamp_min({_ALL} - {_REPLIED}, 0)", by)


def unanswered(by: str = "") -> str:
    """The share of conversations that nobody has replied to."""
    return ratio(nobody_replied(by), both_asked(by))


def surely_unanswered(by: str) -> str:
    """The share that is unanswered at least, chance taken off; a share of few is pushed down."""
    share = f"({unanswered(by)})"
    return f"clamp_min({share} - 1.64 * sqrt({share} * (1 - {share}) / {both_asked(by)}), 0)"


def messages_yesterday(size: tuple[int, int]) -> Panel:
    """All of yesterday, as the API counts it."""
    return Panel(
        kind="stat",
        title="Messages yesterday",
        asks="How many messages had the SeaChat bots on their last whole day?",
        window=(
            f"{YESTERDAY} The API's own count, whole: none of it came after the last poll of the day."
        ),
        queries=(Query(total(bots("activity_trend_messages", "yesterday"))),),
        size=size,
    )


def link_column() -> Json:
    """The column of bots: each leads to its page."""
    return {"links": [TO_BOT], "custom__minWidth": 190}


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


# Without the decimal, 99.8 % would be a red 100 %.
SUCCEED: Final = coloured(SHARE_STEPS, unit="percentunit", decimals=1)
RATING: Final = coloured(RATING_STEPS, unit="none", decimals=2)
SURELY_UNSATISFIED: Final[Json] = {"unit": "percentunit", "decimals": 0}
UNSATISFIED: Final = coloured(
    ((None, "text"), (1 - SATISFACTION_LOW, "orange")),
    unit="percentunit",
    decimals=0,
    custom__minWidth=150,
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
TEN_WORST: Final = f"Of the bots with {LEAST_ANSWERS:g} answers the ten that are worst even if chance was against them."
FEW_ANSWERS: Final = (
    f"The unsatisfied gave 3 or less, and are told from {LEAST_ANSWERS:g} answers on."
)
PERCENT: Final[Json] = {"unit": "percentunit", "decimals": 0}

NARROW: Final[Json] = {"axisSoftMin": 3, "axisSoftMax": 4}
"""The axis of mean ratings: between 1 and 5 their lines would lie on each other."""
RATING_COLOURS: Final = ("red", "orange", "yellow", "light-green", "green")


def dashed(name: str) -> Json:
    """The look of what something is compared with."""
    return named(
        name,
        custom__lineStyle={"fill": "dash", "dash": [8, 8]},
        custom__fillOpacity=0,
        color={"mode": "fixed", "fixedColor": "text"},
    )


DASHED: Final = dashed("usual")


# White on the blues has a contrast of 4.5 and more in both themes; the lightest lets the page through.
MATRIX_COLOURS: Final = ("transparent", "rgba(50, 116, 217, 0.2)", "#2a66c4", "#1d4a94", "#123066")


def matrix(label: str, values: tuple[str, ...] = (), *, usual: float) -> dict[str, Any]:
    """The settings of a table of bots against something, a colour for the share of the bot's own.

    Args:
        label: What the columns are.
        values: Its values in order, where they have one.
        usual: The share of each if all had the same.
    """
    corner = f"who\\{label}"
    steps = ((None, 0.0), *((at * usual, at) for at in (0.75, 1.25, 1.75, 2.5)))
    return {
        "custom": {"cellOptions": {"type": "color-background", "mode": "basic"}, "minWidth": 50},
        "steps": tuple(
            (start, colour) for (start, _), colour in zip(steps, MATRIX_COLOURS, strict=True)
        ),
        "options": {"sortBy": [{"displayName": "Bot", "desc": False}]},
        "transformations": (
            # The first row decides the order of the columns, and may lack one.
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": label}]}},
            {
                "id": "groupingToMatrix",
                "options": {"rowField": "who", "columnField": label, "valueField": "Value"},
            },
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": {name: place for place, name in enumerate((corner, *values))},
                    "renameByName": {corner: "Bot"},
                },
            },
        ),
        "columns": {
            "Bot": {
                "custom__cellOptions": {"type": "auto"},
                "custom__width": 260,
                "custom__tooltip": {"field": "Bot", "placement": "auto"},
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": "text", "value": None}],
                },
            }
        },
    }


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
    size: tuple[int, int] = (4, 5),
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
    size=(4, 5),
)
