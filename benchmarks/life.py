"""Weeks in the life of bots, as the series that the exporter would show of them. Pure.

Customers begin conversations by themselves, more by day than by night, fewer at weekends. A bot's
day is livelier or calmer than usual by a quarter, and all bots of a workspace share a tenth. One
workspace has a holiday, one bot a campaign. A conversation is of a few turns, each a message of the
customer and one of the bot. One in twelve customers rates it, and some ask for a live agent.

Time is in steps of 10 minutes, each with a poll, from Thursday, 1970-01-01 00:00 UTC, where promtool's
tests begin.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

STEP: Final = 600
"""Seconds."""

DAY: Final = 86_400 // STEP
WEEK: Final = 7 * DAY

STALE_AFTER: Final = 3
"""Failed polls after which the exporter withdraws a value."""

_MONTH: Final = 30
"""Days of ratings that a reply covers; so many came before the first step, too."""

_OWN_SPREAD: Final = 0.25
_SHARED_SPREAD: Final = 0.10
_HOLIDAY: Final = 0.3
_CAMPAIGN: Final = 2.0
_CAMPAIGN_DAYS: Final = 3
_TURNS: Final = 2.5
_RATES: Final = 1 / 12
_WEEKDAYS: Final = (1.04, 1.0, 0.6, 0.5, 1.1, 1.08, 1.05)
"""From Thursday."""

_HOURS: Final = (
    *(0.20, 0.12, 0.08, 0.06, 0.06, 0.10, 0.25, 0.50, 0.90, 1.25, 1.45, 1.45),
    *(1.30, 1.30, 1.45, 1.50, 1.40, 1.25, 1.05, 0.95, 0.90, 0.75, 0.50, 0.30),
)

_SHOWN: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "messages": (
        "seasalt_activity_trend_messages",
        {"window": "today", "sender": "customer"},
    ),
    "responses": ("seasalt_csat_responses", {"window": "last_30_days"}),
    "satisfaction": ("seasalt_csat_satisfaction_ratio", {"window": "last_30_days"}),
    "rating": ("seasalt_csat_average_rating", {"window": "last_30_days"}),
    "conversations": (
        "seasalt_conversation_overview_conversations",
        {"window": "last_day"},
    ),
    "conversations_of_a_month": (
        "seasalt_conversation_overview_conversations",
        {"window": "last_30_days"},
    ),
    "requests": (
        "seasalt_conversation_overview_live_agent_requests",
        {"window": "last_day"},
    ),
}

Values = Sequence[float | None]
"""One for each step; None where there is no series."""


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot as its customers see it.

    Attributes:
        messages: On a weekday.
        satisfied: The share of its ratings that are 4 or 5.
        asks: The share of its conversations with a request for a live agent.
    """

    id: str
    workspace: str
    messages: float
    satisfied: float
    asks: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with a bot: by what a value is multiplied in a step.

    Attributes:
        fails_from: The step from which the API fails for the bot.
    """

    traffic: Callable[[int], float] = lambda _: 1.0
    satisfied: Callable[[int], float] = lambda _: 1.0
    asks: Callable[[int], float] = lambda _: 1.0
    rates: Callable[[int], float] = lambda _: 1.0
    fails_from: int | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace, the offset of its local time in seconds, and its bots."""

    name: str
    offset: int
    bots: tuple[Bot, ...]


def workspaces(bots: int, seed: int) -> list[Workspace]:
    """Four workspaces in four time zones, with bots of 20 to 8,000 messages a day."""
    dice = Random(f"{seed}/bots")  # noqa: S311 - a simulation
    zones = {"pacific": -8, "eastern": -5, "berlin": 1, "taipei": 8}
    made: dict[str, list[Bot]] = {name: [] for name in zones}
    for at in range(bots):
        name = list(zones)[at % len(zones)]
        size = 20 * 400 ** (at / max(1, bots - 1))
        bot = Bot(f"bot_{at:02}", name, size, dice.uniform(0.7, 0.95), dice.uniform(0.05, 0.2))
        made[name].append(bot)
    return [Workspace(name, zones[name] * 3600, tuple(of)) for name, of in made.items() if of]


def days(workspace: Workspace, weeks: int, seed: int, *, ordinary: bool) -> dict[str, list[float]]:
    """How lively each local day of each bot is, from the one before the first step's."""
    number = weeks * 7 + 3
    shared = Random(f"{seed}/{workspace.name}")  # noqa: S311 - a simulation
    alike = [shared.gauss(0, _SHARED_SPREAD) for _ in range(number)]
    late = range(number // 2, number - 2 - _CAMPAIGN_DAYS)
    holiday = shared.choice([day for day in late if weekday(day - 1)])
    campaign = shared.choice(late)
    chosen = shared.choice(workspace.bots).id
    found = {}
    for bot in workspace.bots:
        own = Random(f"{seed}/{bot.id}/days")  # noqa: S311 - a simulation
        lively = [1.0] * number
        if ordinary:
            lively = [math.exp(own.gauss(0, _OWN_SPREAD) + same) for same in alike]
        if ordinary and workspace.name == "berlin":
            lively[holiday] *= _HOLIDAY
        if ordinary and workspace.name == "eastern" and bot.id == chosen:
            for day in range(campaign, campaign + _CAMPAIGN_DAYS):
                lively[day] *= _CAMPAIGN
        found[bot.id] = lively
    return found


@dataclass(slots=True)
class _Ratings:
    """A day's ratings."""

    number: int = 0
    satisfied: int = 0
    points: int = 0

    def add(self, number: int, satisfied: float, dice: Random) -> None:
        """So many more, each with this probability of 4 or 5."""
        for _ in range(number):
            pleased = dice.random() < satisfied
            self.number += 1
            self.satisfied += pleased
            self.points += dice.choice((4, 5, 5) if pleased else (1, 2, 3))


def series(
    bot: Bot, offset: int, lively: Sequence[float], steps: int, seed: int, trouble: Trouble
) -> Iterator[tuple[str, Mapping[str, str], Values]]:
    """The series of a bot: name, further labels, a value for each step."""
    dice = Random(f"{seed}/{bot.id}/life")  # noqa: S311 - a simulation
    usual = bot.messages / (2 * _TURNS)
    ratings = [_Ratings() for _ in range(_MONTH)]
    for past in ratings:
        past.add(poisson(usual * _RATES * 0.9, dice), bot.satisfied, dice)
    today, conversations, requests = 0.0, [0], [0]
    shown: dict[str, list[float | None]] = {name: [] for name in _SHOWN}
    for step in range(steps):
        day, moment = divmod(step + offset // STEP, DAY)
        if moment == 0:
            today = 0.0
            ratings.append(_Ratings())
        often = usual * usual_share(step, offset) * lively[day + 1]
        begun = poisson(often * trouble.traffic(step), dice)
        today += 2 * sum(_turns(dice) for _ in range(begun))
        rated = binomial(begun, _RATES * trouble.rates(step), dice)
        ratings[-1].add(rated, bot.satisfied * trouble.satisfied(step), dice)
        conversations.append(conversations[-1] + begun)
        requests.append(requests[-1] + binomial(begun, min(1, bot.asks * trouble.asks(step)), dice))
        month = ratings[-_MONTH:]
        number = sum(one.number for one in month)
        since = max(0, step + 1 - DAY)
        month_ago = step + 1 - _MONTH * DAY
        answered = {
            "messages": round(today),
            "responses": number,
            "satisfaction": sum(one.satisfied for one in month) / number if number else None,
            "rating": sum(one.points for one in month) / number if number else None,
            "conversations": conversations[-1] - conversations[since],
            "conversations_of_a_month": conversations[-1]
            - conversations[max(0, month_ago)]
            + round(usual * 0.9 * max(0, -month_ago) / DAY),
            "requests": requests[-1] - requests[since],
        }
        for name, value in answered.items():
            shown[name].append(value)
    gone = steps if trouble.fails_from is None else trouble.fails_from + STALE_AFTER
    for name, values in shown.items():
        values[gone:] = [None] * len(values[gone:])
        family, labels = _SHOWN[name]
        yield family, labels, values


def usual_share(step: int, offset: int) -> float:
    """The share of a usual weekday's messages that comes in a step."""
    day, moment = divmod(step + offset // STEP, DAY)
    return _WEEKDAYS[day % 7] * _HOURS[moment * STEP // 3600] / sum(_HOURS) * 24 / DAY


def weekday(day: int) -> bool:
    """Whether a day, counted from a Thursday, is no Saturday or Sunday."""
    return _WEEKDAYS[day % 7] >= 1


def poisson(mean: float, dice: Random) -> int:
    """How often something happens that happens so often on average."""
    if mean > 60:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    number, left = 0, dice.random()
    floor = math.exp(-mean)
    while left > floor:
        number += 1
        left *= dice.random()
    return number


def binomial(of: int, share: float, dice: Random) -> int:
    """How many of so many, each with this probability."""
    return sum(dice.random() < share for _ in range(of))


def _turns(dice: Random) -> int:
    """A geometric number, at least one."""
    return 1 + int(math.log(1 - dice.random()) / math.log(1 - 1 / _TURNS))
