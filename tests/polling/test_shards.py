"""Several instances share a workspace: together they are one, also while their number changes."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any, Final

import pytest
from support.sharded import LATENCY, Shards, of_shard
from support.virtual import START
from support.workspaces import workspace

from exporter.config import Config
from exporter.errors import StartError
from exporter.model import api_paths
from exporter.model.shards import Shard
from exporter.polling.workload import Workload
from exporter.upstream.limiter import Limiter, SenderState
from exporter.upstream.request_budget import CAPACITY

INTERVAL: Final = timedelta(minutes=10)
SLACK: Final = timedelta(seconds=30)
"""How late a turn may be because others are due at the same time."""
MANY: Final[Mapping[str, Any]] = {
    "metrics": [
        *("total_usage", "csat", "conversation_overview", "label_overview"),
        {"metric": "activity_trend", "scope": "workspace"},
        {"metric": "conversation_overview_yearly", "interval": "30m"},
    ],
    "knowledge_base": True,
    "requests_per_minute": 6000,
}
_WHEN: Final = re.compile(r"^(seasalt_report_(?:last_success_timestamp|duration)_seconds\{.*\}) .*")
Story = Callable[[Shards], Awaitable[None]]


def lines(*pages: str) -> Counter[str]:
    """The series of pages with their values, and how often each is there.

    The list of bots is read by each shard, so what is told of the reading is on each page. When a
    report was polled differs by what else was due at that moment.
    """
    return Counter(
        _WHEN.sub(r"\1", line)
        for page in pages
        for line in page.splitlines()
        if line[0] != "#" and 'report="bots"' not in line
    )


@cache
def shown(*shards: str, found: bool = False) -> list[str]:
    """The pages of some shards once each report has been polled at its regular turn."""
    pages: list[str] = []

    async def story(run: Shards) -> None:
        run.start(*shards)
        await run.lasts(hours=2, minutes=5)
        pages.extend(run.pages())

    Shards(12, found=found, **MANY).through(story)
    return pages


# The pages.


@pytest.mark.parametrize(
    ("count", "found"), [(3, False), (2, True), (4, True)], ids=["configured", "found", "of four"]
)
def test_the_union_of_the_pages_is_the_page_of_one_instance(count: int, *, found: bool) -> None:
    one = shown("0/1", found=found)
    several = shown(*(f"{index}/{count}" for index in range(count)), found=found)
    assert len(several) == count
    assert lines(*several) == lines(*one)
    assert set(lines(*one).values()) == {1}
    assert sum(lines(*one).values()) > 12 * 20
    assert len([page for page in several if 'bot_id="' in page]) == count


def test_what_is_told_of_a_workspace_as_a_whole_is_on_exactly_one_page() -> None:
    pages = shown("0/3", "1/3", "2/3")
    whole = [page for page in pages if "seasalt_label_overview_conversations{" in page]
    assert len(whole) == 1
    assert "seasalt_activity_trend_messages{" in whole[0]


# Requests.


def test_a_round_of_all_shards_has_the_requests_of_one_instance() -> None:
    def asked(*shards: str) -> Counter[tuple[str, ...]]:
        async def story(run: Shards) -> None:
            run.start(*shards)
            await run.lasts(hours=2)

        run = Shards(12, **MANY).through(story)
        # From the second hour on, so without the first round of one instance.
        return Counter(
            {
                about: sum(at >= run.world.start + timedelta(hours=1) for at in times)
                for about, times in run.asked.items()
            }
        )

    assert asked("0/3", "1/3", "2/3") == asked("0/1")


def test_each_shard_reads_the_list_of_bots_at_a_time_of_its_own() -> None:
    async def story(run: Shards) -> None:
        run.start("0/3", "1/3", "2/3")
        await run.lasts(hours=5)

    run = Shards(12, found=True, requests_per_minute=600).through(story)
    read = [at for at, path, _ in run.journal.entries if path == api_paths.BOTS]
    later = [at for at in read if at > run.world.start + timedelta(hours=1)]
    assert len(read) in {3 * 5, 3 * 6}
    assert len({(at - run.world.start) % timedelta(hours=1) // SLACK for at in later}) == 3


def test_bots_beyond_the_limit_are_counted_once() -> None:
    told: list[float] = []

    async def story(run: Shards) -> None:
        run.start("0/2", "1/2")
        await run.lasts(minutes=5)
        for one in run.running.values():
            page = one.telemetry.text(openmetrics=False).decode()
            (value,) = re.findall(r'dropped_total\{.*reason="max_bots".*\} (\S+)', page)
            told.append(float(value))

    Shards(12, found=True, discover_bots={"max_bots": 10}).through(story)
    assert sorted(told) == [0, 2]


# A new number of shards.


async def all_at_once(run: Shards) -> None:
    """As a StatefulSet does that is deleted and made anew."""
    await run.stop(*list(run.running))
    for shard in ("0/3", "1/3", "2/3"):
        await run.lasts(seconds=20)
        run.start(shard)


async def one_by_one(run: Shards) -> None:
    """The old ones in any order, each with the new number, and the new one last."""
    for shard in ("1/3", "0/3"):
        await run.stop(Shard.parsed(shard).index)
        await run.lasts(seconds=20)
        run.start(shard)
    await run.lasts(seconds=20)
    run.start("2/3")


async def fewer(run: Shards) -> None:
    """The last one ends first, then the others learn of it."""
    await run.stop(2)
    for shard in ("0/2", "1/2"):
        await run.lasts(seconds=20)
        await run.stop(Shard.parsed(shard).index)
        await run.lasts(seconds=10)
        run.start(shard)


CHANGES: Final = {
    "all at once": ("0/2 1/2", all_at_once),
    "one by one": ("0/2 1/2", one_by_one),
    "fewer": ("0/3 1/3 2/3", fewer),
}


@pytest.fixture(params=CHANGES, scope="module")
def changed(request: pytest.FixtureRequest) -> tuple[Shards, list[list[str]]]:
    """Instances whose number changes, and their pages every half interval from the change on."""
    before, change = CHANGES[request.param]
    pages: list[list[str]] = []

    async def story(run: Shards) -> None:
        run.start(*before.split())
        await run.lasts(hours=1)
        await change(run)
        for _ in range(6):
            await run.lasts(minutes=5)
            pages.append(run.pages())
        await run.lasts(hours=1)

    return Shards(40, metrics=["total_usage"], requests_per_minute=60).through(story), pages


def test_while_the_number_of_shards_changes_no_target_is_polled_twice_within_an_interval(
    changed: tuple[Shards, list[list[str]]],
) -> None:
    run, _ = changed
    turns = list(run.turns())
    assert len(turns) == 40
    assert all(earlier < later for bot in turns for earlier, later in pairwise(bot))
    assert min(run.gaps()) > INTERVAL - 2 * SLACK  # after one that a restart has delayed


def test_while_the_number_of_shards_changes_no_target_is_missed_for_longer_than_one_interval(
    changed: tuple[Shards, list[list[str]]],
) -> None:
    run, pages = changed
    missed = [later - earlier - 1 for bot in run.turns() for earlier, later in pairwise(bot)]
    assert max(missed) <= 1
    assert sum(missed) < 10  # those whose turn came while nobody owned them
    assert max(run.gaps()) < 2 * INTERVAL + SLACK
    bots = [set(re.findall('bot_id="([^"]+)"', "".join(page))) for page in pages]
    assert all(len(found) == 40 for found in bots[4:])


def test_a_new_shard_that_starts_before_the_old_ones_know_it_would_poll_twice() -> None:
    """Otherwise the tests above would show nothing."""

    async def story(run: Shards) -> None:
        run.start("0/2", "1/2")
        await run.lasts(hours=1)
        run.start("2/3")
        await run.lasts(hours=1)

    run = Shards(40, requests_per_minute=60).through(story)
    assert min(run.gaps()) < timedelta(seconds=2)


async def there_and_back(run: Shards) -> None:
    """From two shards to three and back to two, as often as the time allows."""
    run.start("0/2", "1/2")
    for _ in range(3):
        await run.lasts(minutes=37)
        await one_by_one(run)
        await run.lasts(minutes=37)
        await fewer(run)


def test_an_old_state_file_of_a_shard_makes_it_poll_nothing_twice_within_an_interval() -> None:
    run = Shards(40, metrics=["total_usage"], requests_per_minute=60).through(there_and_back)
    assert min(run.gaps()) > INTERVAL - 2 * SLACK
    assert max(run.gaps()) < 2 * INTERVAL + SLACK


# Limits.


def test_all_shards_together_never_send_more_than_the_rate_also_while_their_number_changes() -> (
    None
):
    run = Shards(40, requests_per_minute=3, interval="10m").through(there_and_back)
    # 40 bots would need 4 a minute, so the rate is used up.
    assert len(run.times) > 2.5 * (run.times[-1] - run.times[0]) / timedelta(minutes=1)
    assert run.beyond(3) <= CAPACITY


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_all_shards_together_never_send_more_than_a_days_limit_also_while_their_number_changes(
    zone: str,
) -> None:
    async def story(run: Shards) -> None:
        for _ in range(6):
            await there_and_back(run)
            await run.stop(*list(run.running))

    # In New York, the day of this start has 25 hours.
    start = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    run = Shards(
        40, start=start, timezone=zone, requests_per_day=500, requests_per_minute=30
    ).through(story)
    days = Counter[date](at.astimezone(run.one.zone).date() for at in run.times)
    assert max(days.values()) <= 500
    assert max(days.values()) > 300


def test_the_last_turns_of_a_day_begin_early_enough_for_the_pace_of_a_shard() -> None:
    one = of_shard(
        workspace(
            [{"metric": "total_usage", "window": "today"}], bots=100, requests_per_day=20_000
        ),
        "0/2",
    )
    rhythms = Workload.of(one, one.bots).rhythms.values()
    lead = max(rhythm.before_midnight for rhythm in rhythms if rhythm.before_midnight)
    pace = one.shard.pace(one.requests_per_minute, one.requests_per_day)
    spare = pace - len(rhythms) * Fraction(1, 10)
    assert spare > 0
    assert Fraction(lead / timedelta(minutes=1)) * spare >= len(rhythms)


@pytest.mark.parametrize(("count", "each"), [(1, 10), (3, 3), (10, 1), (20, 1)])
def test_the_shards_share_what_a_bucket_holds(count: int, each: int) -> None:
    passed = iter([0.0])
    one = of_shard(workspace(bots=1, concurrency=count), f"0/{count}")
    limiter = Limiter(one, SenderState(), lambda: next(passed, 3600.0), lambda: START, lambda *_: 0)
    taken = 0
    limiter.budget.take(0.0, START)
    while limiter.budget.take(3600.0, START) == 0:
        taken += 1
    assert taken == each


def test_requests_in_flight_are_shared() -> None:
    flying = [
        of_shard(workspace(bots=1, concurrency=10), f"{index}/3").own_concurrency
        for index in range(3)
    ]
    assert flying == [3, 3, 3]


def test_limits_that_are_too_low_for_so_many_shards_are_refused_all_at_once() -> None:
    config = Config((workspace(bots=1, concurrency=4, requests_per_day=7),))
    with pytest.raises(StartError) as refused:
        config.of_shard(Shard(0, 8))
    assert str(refused.value).splitlines() == [
        "workspace acme: concurrency 4 is too low for 8 shards, which need 8",
        "workspace acme: requests_per_day 7 is too low for 8 shards, which need 9",
    ]


# Readiness.


def test_a_shard_is_ready_before_its_first_turn_and_says_that_the_api_has_not_answered() -> None:
    seen: list[tuple[bool, bool]] = []

    async def story(run: Shards) -> None:
        run.start("0/2")
        poller = run.running[0].poller
        seen.append((poller.ready, poller.answered))
        await run.lasts(minutes=11)
        seen.append((poller.ready, poller.answered))

    Shards(2).through(story)
    assert seen == [(True, False), (True, True)]


def test_a_shard_without_a_target_is_ready() -> None:
    async def story(run: Shards) -> None:
        run.start(*(f"{index}/9" for index in range(9)))
        await run.lasts(minutes=11)
        assert all(one.poller.ready for one in run.running.values())
        assert not all(one.poller.answered for one in run.running.values())

    Shards(1, concurrency=9).through(story)


def test_a_shard_that_discovers_bots_is_ready_once_the_list_was_read() -> None:
    async def story(run: Shards) -> None:
        run.start("0/2")
        poller = run.running[0].poller
        assert not poller.ready
        await run.lasts(seconds=LATENCY + 5)
        assert poller.ready

    Shards(4, found=True).through(story)
