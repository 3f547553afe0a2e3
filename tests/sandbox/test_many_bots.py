"""The big sandbox: bots that differ as those of an account do, and days that are unlike others."""

import itertools
import re
import sqlite3
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

import httpx
import pytest

from exporter.model.label_values import label_value
from exporter.sandbox import Sandbox, SandboxBot, SandboxWorkspace
from exporter.sandbox.companies import Traits
from exporter.sandbox.many_bots import FEWEST, MOST, SAME_NAME, make_many

START: Final = datetime(2025, 7, 16, 15, 30, tzinfo=UTC)
DAYS: Final = 56
Make = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def big() -> Iterator[Sandbox]:
    """Fifty bots, and twice the four weeks in which something special must have happened."""
    with closing(Sandbox.make_big(now=lambda: START, days=DAYS)) as made:
        yield made


def bots(sandbox: Sandbox) -> list[SandboxBot]:
    return [bot for workspace in sandbox.workspaces for bot in workspace.bots]


def the_one(sandbox: Sandbox, special: Callable[[Traits], object]) -> SandboxBot:
    """The only bot with a trait."""
    (found,) = (bot for bot in bots(sandbox) if special(bot.traits))
    return found


def counted(sandbox: Sandbox, sql: str, *given: object) -> int:
    [(number,)] = sandbox.connection.execute(sql, given).fetchall()
    return int(number)


def messages_a_day(sandbox: Sandbox, bot: SandboxBot) -> float:
    until = START.timestamp() if bot.traits.silent_since is None else bot.traits.silent_since
    sql = "SELECT count(*) FROM message WHERE bot = ? AND at < ?"
    return counted(sandbox, sql, bot.number, until) / DAYS


def by_day(sandbox: Sandbox, workspace: SandboxWorkspace, *some: SandboxBot) -> dict[date, int]:
    """Conversations of the bots, or of the whole workspace, on each whole local day."""
    zone = ZoneInfo(workspace.timezone)
    found: Counter[date] = Counter()
    for bot in some or workspace.bots:
        rows = sandbox.connection.execute(
            "SELECT started_at FROM conversation WHERE bot = ?", (bot.number,)
        )
        found.update(datetime.fromtimestamp(at, zone).date() for (at,) in rows)
    today = START.astimezone(zone).date()
    return {day: found[day] for day in sorted(found) if day < today}


def against_usual(days: dict[date, int]) -> dict[date, float]:
    """What each day is of the median of its weekday."""
    weekdays = defaultdict(list)
    for day, number in days.items():
        weekdays[day.weekday()].append(number)
    return {day: number / median(weekdays[day.weekday()]) for day, number in days.items()}


def test_there_are_as_many_bots_as_asked_for_in_four_time_zones() -> None:
    for number in range(FEWEST, MOST + 1):
        made = make_many(1, number, 0.0)
        sizes = [len(workspace.bots) for workspace in made]
        assert sum(sizes) == number
        assert sizes == sorted(set(sizes), reverse=True)
        assert len({workspace.timezone for workspace in made}) == 4


def test_from_25_bots_on_all_unusual_names_are_there_and_with_fewer_all_but_two() -> None:
    named: dict[int, set[str]] = {
        number: {bot.name for workspace in make_many(1, number, 0.0) for bot in workspace.bots}
        for number in range(FEWEST, MOST + 1)
    }
    unusual = {name for name in named[50] if not re.fullmatch(r"[A-Z][A-Za-zöü -]+", name)}
    assert len(unusual) == 12
    for number, names in named.items():
        missing = unusual - names
        assert missing == ({"حجوزات الفنادق", "<b>Deals</b> & Co."} if number < 25 else set())


@pytest.mark.parametrize("number", [0, FEWEST - 1, MOST + 1])
def test_too_few_or_too_many_bots_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="20 to 200"):
        Sandbox.make_big(now=lambda: START, bots=number)


def test_a_naive_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Sandbox.make_big(now=lambda: START.replace(tzinfo=None))


@pytest.mark.parametrize("number", [FEWEST, MOST])
def test_names_are_long_of_many_scripts_and_of_three_bots_at_once(number: int) -> None:
    made = make_many(1, number, 0.0)
    names = Counter(bot.name for workspace in made for bot in workspace.bots)
    assert names.pop(SAME_NAME) == 3
    assert set(names.values()) == {1}
    homes = [one for one in made if SAME_NAME in {bot.name for bot in one.bots}]
    assert len(homes) == 2  # so that neither the name nor the name and the workspace is enough
    assert max(map(len, names)) > 100
    letters = {unicodedata.name(letter).split()[0] for letter in "".join(names) if letter.isalpha()}
    assert {"CJK", "HIRAGANA", "HANGUL", "DEVANAGARI", "LATIN"} <= letters
    assert any("\u200d" in name for name in names)  # an emoji of several characters
    assert any({'"', "\\"} <= set(name) for name in names)


def test_no_name_is_one_that_the_exporter_would_change() -> None:
    for workspace in make_many(1, MOST, 0.0):
        for bot in workspace.bots:
            assert label_value(bot.name) == bot.name


def test_identifiers_are_all_different() -> None:
    made = make_many(1, MOST, 0.0)
    ids = [bot.id for workspace in made for bot in workspace.bots]
    assert len(set(ids)) == MOST


def test_sizes_go_evenly_from_twenty_to_thousands_of_messages_a_day(big: Sandbox) -> None:
    found = sorted(messages_a_day(big, bot) for bot in bots(big) if bot.is_enabled)
    assert 10 < found[0] < 40
    assert 2000 < found[-1] < 5000
    # On a logarithmic scale each step is about a tenth.
    assert all(after < 2 * before for before, after in itertools.pairwise(found))
    assert sum(number < 120 for number in found) > 10
    assert sum(number > 1000 for number in found) > 5


def test_one_bot_has_fallen_silent_and_every_other_has_messages_of_the_last_day(
    big: Sandbox,
) -> None:
    silent = the_one(big, lambda traits: traits.silent_since is not None)
    assert silent.name == SAME_NAME
    sql = "SELECT count(*) FROM conversation WHERE bot = ? AND started_at >= ?"
    since = START - timedelta(hours=30)
    assert counted(big, sql, silent.number, since.timestamp()) == 0
    assert counted(big, sql, silent.number, (since - timedelta(days=1)).timestamp()) > 50
    last = "SELECT count(*) FROM message WHERE bot = ? AND at >= ?"
    for bot in bots(big):
        if bot.is_enabled and bot != silent:
            assert counted(big, last, bot.number, (START - timedelta(days=2)).timestamp()) > 0


def test_a_bot_falls_silent_when_it_is_told_to() -> None:
    since = START + timedelta(days=2)
    sandbox = Sandbox.make_big(
        now=lambda: START, bots=FEWEST, days=3, ahead_days=4, silent_since=since
    )
    with closing(sandbox):
        silent = the_one(sandbox, lambda traits: traits.silent_since is not None)
        sql = "SELECT max(started_at) FROM conversation WHERE bot = ?"
        last = counted(sandbox, sql, silent.number)
        assert START + timedelta(days=1) < datetime.fromtimestamp(last, UTC) < since


def test_one_bot_of_many_conversations_has_no_answer_to_its_survey(big: Sandbox) -> None:
    without = the_one(big, lambda traits: not traits.surveyed)
    sql = "SELECT count(*) FROM survey_answer WHERE bot = ?"
    none = [bot for bot in bots(big) if bot.is_enabled and not counted(big, sql, bot.number)]
    assert none == [without]
    assert messages_a_day(big, without) > 500


def test_one_bot_is_rated_far_worse_than_all_others(big: Sandbox) -> None:
    bad = the_one(big, lambda traits: traits.good is not None)
    rows = big.connection.execute(
        "SELECT bot, avg(rating > 3) FROM survey_answer GROUP BY bot HAVING count(*) > 100"
    )
    shares = dict(rows.fetchall())
    assert 0.35 < shares.pop(bad.number) < 0.55
    assert min(shares.values()) > 0.6


def test_one_bot_is_switched_off_and_has_nothing(big: Sandbox) -> None:
    (off,) = (bot for bot in bots(big) if not bot.is_enabled)
    assert messages_a_day(big, off) == 0


def test_one_workspace_has_a_holiday_of_a_third_of_the_traffic_in_the_last_four_weeks(
    big: Sandbox,
) -> None:
    for workspace in big.workspaces:
        last = list(against_usual(by_day(big, workspace)).items())[-28:]
        quiet = [day for day, share in last if share < 0.45]
        assert len(quiet) in ({1, 2} if workspace.holidays else {0}), workspace.name
    assert sum(workspace.holidays for workspace in big.workspaces) == 1


def test_one_bot_has_a_campaign_of_three_days_with_three_times_its_traffic(big: Sandbox) -> None:
    bot = the_one(big, lambda traits: traits.campaigns)
    (workspace,) = (one for one in big.workspaces if bot in one.bots)
    found = against_usual(by_day(big, workspace, bot))
    loud = {day: share for day, share in found.items() if share > 2}
    one = timedelta(days=1)
    begins = [day for day in loud if day - one not in loud]
    assert set(loud) == {day + after * one for day in begins for after in range(3)}
    assert 2.4 < median(loud.values()) < 3.6
    assert max(loud) > (START - timedelta(weeks=4)).date()


def test_the_same_seed_makes_the_same_and_another_one_other_sizes_and_keys() -> None:
    one, same, other = (make_many(seed, 50, 0.0) for seed in (1, 1, 2))
    assert one == same
    for mine, theirs in zip(one, other, strict=True):
        assert mine.seachat_key != theirs.seachat_key
        assert [bot.traits for bot in mine.bots] != [bot.traits for bot in theirs.bots]


def conversations(sandbox: Sandbox, since: datetime, until: datetime) -> list[sqlite3.Row]:
    return sandbox.connection.execute(
        "SELECT * FROM conversation WHERE started_at >= ? AND started_at < ? ORDER BY number",
        (since.timestamp(), until.timestamp()),
    ).fetchall()


def test_sandboxes_made_at_different_instants_agree_about_the_days_they_share() -> None:
    silent = START - timedelta(days=1)
    later = START + timedelta(days=3, hours=7)
    one = Sandbox.make_big(now=lambda: START, bots=FEWEST, days=6, silent_since=silent)
    other = Sandbox.make_big(now=lambda: later, bots=FEWEST, days=9, silent_since=silent)
    with closing(one), closing(other):
        span = START - timedelta(days=4), START + timedelta(days=2)
        found = conversations(one, *span)
        assert found == conversations(other, *span) != []


def test_the_small_sandbox_has_none_of_this(make_sandbox: Make) -> None:
    small = make_sandbox(now=lambda: START, days=1)
    (workspace,) = small.workspaces
    assert not workspace.holidays
    assert {bot.traits for bot in workspace.bots} == {Traits()}
    assert small.trouble is None


def test_the_overview_of_one_bot_does_not_read_the_conversations_of_all(
    big: Sandbox, post: Callable[..., httpx.Response]
) -> None:
    smallest = min(bots(big), key=lambda bot: bot.traits.conversations_per_day or 0)
    body = {"metrics": ["conversation_overview"], "range_type": "last_day"}
    thousands: list[None] = []
    big.connection.set_progress_handler(lambda: thousands.append(None), 1000)
    post("seachat", {**body, "gptbot_id": smallest.id}, big).raise_for_status()
    big.connection.set_progress_handler(None, 0)
    conversations = counted(big, "SELECT count(*) FROM conversation")
    assert 1000 * len(thousands) < conversations  # of SQLite's instructions


def test_the_reports_of_an_api_count_the_big_sandboxs_bots(
    big: Sandbox, post: Callable[..., httpx.Response]
) -> None:
    silent = the_one(big, lambda traits: traits.silent_since is not None)
    body = {"metrics": ["conversation_overview"], "range_type": "last_day"}
    of_all = post("seachat", body, big).json()["conversation_overview"]["conversations"]
    of_one = post("seachat", {**body, "gptbot_id": silent.id}, big).json()
    assert of_all > 100
    assert of_one["conversation_overview"]["conversations"] == 0
