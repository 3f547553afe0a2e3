"""Generates the events: conversations, calls, labels, ratings and agents' days.

Each (bot, local day) and (agent, local day) has its own random generator. So two sandboxes that
start at different times have the same data for the days that they share. Holidays and campaigns
follow from the day as well. Only the instant at which a bot falls silent comes from outside.
"""

import math
import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from importlib.resources import files
from itertools import accumulate
from random import Random
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from exporter.sandbox import companies
from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.conversation_scripts import STOCK, Script

_HOURS: Final = tuple(
    accumulate(
        (2, 1, 1, 1, 1, 2, 5, 12, 30, 52, 62, 60, 48, 52, 58, 56, 50, 42, 30, 22, 16, 12, 8, 4)
    )
)
_WEEKDAYS: Final = (1.12, 1.18, 1.15, 1.10, 1.05, 0.72, 0.62)
_CHANNELS: Final = ("WebChat", "WhatsApp", "SMS", "Messenger", "Line")
_CHANNEL_WEIGHTS: Final = tuple(accumulate((46, 20, 16, 12, 6)))
_BY_PHONE: Final = frozenset({"WhatsApp", "SMS"})
_FIRST_NAMES: Final = ("Alex", "Dana", "Kim", "Noor", "Sam", "Robin", "Yuki", "Ines", "Omar", "Lea")
_COMMENTS: Final = (
    ("Nobody could help me.", "Please call me back at +12065550143."),
    ("The answer came late.", "I had to ask three times."),
    ("It was all right.", "Useful, but a bit long-winded."),
    ("Quick and clear.", "Good help, thank you."),
    ("Solved in two minutes!", "Great service, write to me at kim@example.com any time."),
)
_EPOCH: Final = date(1970, 1, 1)
_GROWTH_FROM: Final = date(2024, 1, 1).toordinal()
_MOST_A_DAY: Final = 4095  # a conversation's number has twelve bits for its place in the day
_HOUR: Final = 3600
_AGAIN: Final = 26
"""Days from one holiday to the next, and from one campaign to the next.

Less than four weeks, so that there is always one in the last four weeks. Not a number of weeks, so
that the same weekday four weeks earlier is an ordinary one.
"""
_HOLIDAY: Final = (0,)
_CAMPAIGN: Final = (20, 21, 22)
"""The days of a holiday and of a campaign: days since 1970, modulo `_AGAIN`."""
_ON_A_HOLIDAY: Final = 0.3
_IN_A_CAMPAIGN: Final = 3.0
"""What a workspace's traffic on a holiday, and a bot's in a campaign, is of the usual one."""
_RATED: Final = 0.12
"""The share of conversations that are rated."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to generate: the local days around `now` (aware), and the mean daily volume of bots."""

    seed: int
    now: datetime
    days: int
    ahead_days: int
    conversations_per_day: float


_Rows: TypeAlias = defaultdict[str, list[tuple[Any, ...]]]
"""Rows to be inserted, by their table."""


@dataclass(frozen=True, slots=True)
class _Habits:
    """A bot's volume and quality, its users' channels, and the labels of its workspace."""

    bot: int
    seed: str
    a_day: float
    calls_a_day: float
    live: float
    rated: float
    ratings: tuple[float, ...]
    channels: tuple[str, ...]
    labels: tuple[int, ...]
    campaigns: bool
    until: float


@dataclass(frozen=True, slots=True)
class _Day:
    """A local day: its number since 1970, its volume, and the start of its hours in UTC."""

    text: str
    number: int
    weekday: int
    volume: float
    hours: tuple[int, ...]


def fill(
    connection: sqlite3.Connection, workspaces: Sequence[SandboxWorkspace], plan: Plan
) -> None:
    """Create all tables and fill them."""
    connection.executescript(files(__package__).joinpath("schema.sql").read_text("utf-8"))
    rows = _Rows(list)
    rows["script_line"] = [
        (script.number, place, after, sender)
        for stock in STOCK.values()
        for script in stock
        for place, (after, sender) in enumerate(script.lines)
    ]
    labels = companies.make_labels(plan.seed, workspaces)
    rows["label"] = labels
    for workspace in workspaces:
        calendar = _calendar(workspace, plan)
        own = [number for number, owner, *_ in labels if owner == workspace.number]
        for bot in workspace.bots:
            rows["bot"].append(_bot_row(bot, workspace))
            _fill_bot(rows, _habits(bot, own, plan), bot, calendar)
            _insert(connection, rows)  # one bot at a time, as its rows take far less as a table
            _insert_messages(connection, bot)
        _fill_agents(rows, workspace, calendar, plan.seed)
    _insert(connection, rows)
    connection.execute("CREATE INDEX conversation_start ON conversation (bot, started_at)")
    connection.commit()


def _insert(connection: sqlite3.Connection, rows: _Rows) -> None:
    """Move the rows to their tables."""
    for table, found in rows.items():
        marks = ", ".join("?" * len(found[0]))
        connection.executemany(
            f"INSERT INTO {table} VALUES ({marks})",  # noqa: S608 - a table of schema.sql
            found,
        )
    rows.clear()


def _insert_messages(connection: sqlite3.Connection, bot: SandboxBot) -> None:
    """Insert what is said in a bot's conversations."""
    # Sorted by the primary key, so that the table is only appended to.
    connection.execute(
        "INSERT INTO message SELECT bot, started_at + after * pace / 4 AS at, number, line, sender"
        " FROM conversation CROSS JOIN script_line USING (script)"
        " WHERE number >= :bot << 28 AND number < (:bot + 1) << 28 ORDER BY at, number, line",
        {"bot": bot.number},
    )


def _bot_row(bot: SandboxBot, workspace: SandboxWorkspace) -> tuple[Any, ...]:
    return (
        bot.number,
        bot.id,
        bot.name,
        bot.description,
        bot.use_case,
        bot.default_response_language,
        bot.live_agent_transfer,
        bot.is_enabled,
        bot.created_at,
        workspace.number,
    )


def _calendar(workspace: SandboxWorkspace, plan: Plan) -> list[_Day]:
    zone = ZoneInfo(workspace.timezone)
    today = plan.now.astimezone(zone).date()
    around = range(-plan.days, plan.ahead_days + 1)
    days = [_day(zone, today + timedelta(days=away)) for away in around]
    return [_scaled(day, _ON_A_HOLIDAY, _HOLIDAY) for day in days] if workspace.holidays else days


def _scaled(day: _Day, factor: float, which: Collection[int]) -> _Day:
    """The day with its volume times the factor, if it is one of `which`, modulo `_AGAIN`."""
    return replace(day, volume=day.volume * factor) if day.number % _AGAIN in which else day


def _day(zone: ZoneInfo, day: date) -> _Day:
    season = 1 + 0.08 * math.sin(math.tau * day.timetuple().tm_yday / 365)
    growth = min(2.5, max(0.4, 1 + 0.0003 * (day.toordinal() - _GROWTH_FROM)))
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return _Day(
        text=day.isoformat(),
        number=(day - _EPOCH).days,
        weekday=day.weekday(),
        volume=season * growth * _WEEKDAYS[day.weekday()],
        hours=tuple(int(midnight.replace(hour=hour).timestamp()) for hour in range(24)),
    )


def _habits(bot: SandboxBot, labels: Iterable[int], plan: Plan) -> _Habits:
    rng = Random(f"{plan.seed}/habits/{bot.id}")  # noqa: S311 - made-up data, no secrets
    traits = bot.traits
    near, good = rng.uniform(0.5, 1.5), rng.uniform(0.7, 1.6)
    mean, a_day = plan.conversations_per_day, plan.conversations_per_day * near
    if traits.conversations_per_day is not None:
        mean = a_day = traits.conversations_per_day
    if traits.good is not None:
        good = traits.good
    a_day *= bot.is_enabled
    people_known = max(6, round(mean * 25))
    return _Habits(
        bot=bot.number,
        seed=f"{plan.seed}/{bot.id}",
        a_day=a_day,
        calls_a_day=a_day * rng.choice((0.0, 0.15, 0.3)),
        live=rng.uniform(0.1, 0.3) if bot.live_agent_transfer else 0.0,
        rated=_RATED if traits.surveyed else 0.0,
        ratings=tuple(accumulate((6, 6, 14, 34 * good, 40 * good))),
        channels=tuple(rng.choices(_CHANNELS, cum_weights=_CHANNEL_WEIGHTS, k=people_known)),
        labels=tuple(labels),
        campaigns=traits.campaigns,
        until=math.inf if traits.silent_since is None else traits.silent_since,
    )


def _title(bot: SandboxBot, place: int, channel: str) -> str:
    if channel in _BY_PHONE:
        # 555-0100 to 555-0199 are reserved for fictional use.
        return f"+1{206 + bot.number % 600}55501{place % 100:02}"
    return f"{_FIRST_NAMES[place % len(_FIRST_NAMES)]} {chr(65 + place % 26)}."


def _fill_bot(rows: _Rows, habits: _Habits, bot: SandboxBot, calendar: Iterable[_Day]) -> None:
    rows["user"] += [
        (_user_number(bot.number, place), bot.number, channel, _title(bot, place, channel))
        for place, channel in enumerate(habits.channels)
    ]
    if not habits.a_day:
        return
    for each in calendar:
        rng = Random(f"{habits.seed}/{each.text}")  # noqa: S311 - made-up data, no secrets
        day = _scaled(each, _IN_A_CAMPAIGN, _CAMPAIGN) if habits.campaigns else each
        _fill_conversations(rows, habits, day, rng)
        _fill_calls(rows, habits, day, rng)


def _instants(a_day: float, day: _Day, until: float, rng: Random) -> list[int]:
    """When something begins on a day, in order; nothing does at or after `until`."""
    often = min(_MOST_A_DAY, int(a_day * day.volume * rng.uniform(0.7, 1.3) + rng.random()))
    hours = rng.choices(day.hours, cum_weights=_HOURS, k=often)
    found = sorted(hour + int(rng.random() * _HOUR) for hour in hours)
    return found[: bisect_left(found, until)]


def _user_number(bot: int, place: int) -> int:
    """The database key of one of a bot's users."""
    return (bot << 16) | place


def _choose_script(habits: _Habits, rng: Random) -> Script:
    chance = rng.random()
    if chance < habits.live:
        stock = STOCK["live"]
    elif chance > 0.97:
        stock = STOCK["notice"]
    elif chance > 0.90:
        stock = STOCK["unanswered"]
    else:
        stock = STOCK["talk"]
    return stock[int(rng.random() * len(stock))]


def _fill_conversations(rows: _Rows, habits: _Habits, day: _Day, rng: Random) -> None:
    random, bot, known = rng.random, habits.bot, len(habits.channels)
    for place, started_at in enumerate(_instants(habits.a_day, day, habits.until, rng)):
        # Numbers ascend by bot, local day and place in the day.
        number = (bot << 28) | (day.number << 12) | place
        # Squared, so that some users return often.
        user = int(random() ** 2 * known)
        script, pace = _choose_script(habits, rng), 20 + int(random() * 160)
        chance = random()
        status = "RESOLVED" if chance < 0.78 else "PENDING" if chance < 0.92 else "FOLLOW_UP"
        live_agent = script.first("SYSTEM") if script.kind == "live" else None
        first = (live_agent, script.first("CUSTOMER"), script.first("AGENT", "BOT"))
        instants = [None if after is None else started_at + after * pace // 4 for after in first]
        user_number, channel = _user_number(bot, user), habits.channels[user]
        rows["conversation"].append(
            (number, bot, user_number, channel, status, started_at, *instants, script.number, pace)
        )
        ended_at = started_at + script.lines[-1][0] * pace // 4
        for label in _choose_labels(script, habits.labels, rng):
            rows["label_application"].append((bot, ended_at + int(random() * 600), number, label))
        if script.kind != "unanswered" and random() < habits.rated:
            rating = rng.choices((1, 2, 3, 4, 5), cum_weights=habits.ratings)[0]
            comment = rng.choice(_COMMENTS[rating - 1]) if random() < 0.4 else ""
            answered_at = ended_at + 30 + int(random() * 1800)
            rows["survey_answer"].append((bot, answered_at, number, rating, comment))


def _choose_labels(script: Script, own: Sequence[int], rng: Random) -> set[int]:
    # System labels are numbered from 1: live agent, unanswered, resolved by bot.
    system = {"live": 1, "unanswered": 2}.get(script.kind, 3)
    chance = rng.random()
    labels = {system} if chance < 0.5 else set()
    for threshold in (0.65, 0.25):
        if chance < threshold:
            labels.add(own[int(rng.random() ** 1.5 * len(own))])
    return labels


def _fill_calls(rows: _Rows, habits: _Habits, day: _Day, rng: Random) -> None:
    for place, started_at in enumerate(_instants(habits.calls_a_day, day, habits.until, rng)):
        direction = "inbound" if rng.random() < 0.7 else "outbound"
        seconds = 15 + int(rng.expovariate(1 / 210))
        rows["call"].append((habits.bot, started_at, place, direction, seconds))


def _fill_agents(
    rows: _Rows, workspace: SandboxWorkspace, calendar: Iterable[_Day], seed: int
) -> None:
    working = [day for day in calendar if day.weekday < 6]
    for place, account in enumerate(companies.AGENTS):
        number = 100 * workspace.number + place + 1
        rows["agent"].append((number, workspace.number, account))
        for day in working:
            if day.weekday == 5 and place % 3:
                continue
            rng = Random(  # noqa: S311 - made-up data, no secrets
                f"{seed}/{workspace.id}/{account}/{day.text}"
            )
            rows["status_change"] += [
                (number, at, status) for at, status in _shift(day, place, rng)
            ]


def _shift(day: _Day, place: int, rng: Random) -> list[tuple[int, str]]:
    """An agent's day: calls between breaks, from the morning until OFFLINE in the evening."""
    at = day.hours[8 + place % 2] + rng.randrange(1500)
    changes = []
    for part in ("BREAK", "MEAL", "BREAK", "OFFLINE"):
        for _ in range(rng.randint(0, 2)):
            ring = rng.choice(("CALL_RINGING", "OUTBOUND"))
            for status, longest in (
                ("AVAILABLE", 2400),
                (ring, 40),
                ("ON_THE_CALL", 900),
                ("WRAP_UP", 300),
            ):
                changes.append((at, status))
                at += longest // 4 + rng.randrange(longest)
        changes.append((at, "AVAILABLE"))
        at += 1800 + rng.randrange(2400)
        changes.append((at, part))
        at += 2700 if part == "MEAL" else 600
    return changes
