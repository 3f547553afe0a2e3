"""The laws by which instances share targets and limits, whatever their names and numbers."""

import math
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from exporter.model.shards import MOST, WHOLE, Shard
from exporter.model.targets import Target

names = st.text(max_size=20)
counts = st.integers(1, 60)
BOTS = tuple(f"bot-{number}" for number in range(20_000))


def all_of(count: int) -> list[Shard]:
    return [Shard(index, count) for index in range(count)]


def owners(count: int, workspace: str, bot_id: str) -> list[int]:
    return [shard.index for shard in all_of(count) if shard.owns(workspace, bot_id)]


# Who owns what.


@given(counts, names, names)
def test_every_target_is_in_exactly_one_shard(count: int, workspace: str, bot_id: str) -> None:
    assert len(owners(count, workspace, bot_id)) == 1


@given(counts, names, names)
def test_one_shard_more_only_takes_targets_and_moves_no_other(
    count: int, workspace: str, bot_id: str
) -> None:
    (before,), (after,) = (owners(number, workspace, bot_id) for number in (count, count + 1))
    assert after in {before, count}


@pytest.mark.parametrize("count", [2, 3, 7, 10, 40])
def test_shards_are_of_nearly_the_same_size(count: int) -> None:
    sizes = Counter(owners(count, "acme", bot)[0] for bot in BOTS[:8000])
    mean = sizes.total() / count
    # Five standard deviations of a number of independent draws.
    assert all(abs(size - mean) < 5 * math.sqrt(mean) for size in sizes.values())
    assert len(sizes) == count


def test_the_targets_of_a_shard_are_spread_over_the_whole_interval() -> None:
    shard = Shard(3, 10)
    places = [Target("seachat", "acme", bot).place for bot in BOTS if shard.owns("acme", bot)]
    tenths = Counter(int(place * 10) for place in places)
    mean = len(places) / 10
    assert len(tenths) == 10
    assert all(abs(number - mean) < 5 * math.sqrt(mean) for number in tenths.values())


OWNERS = "1001 1001 1331 1831"


def test_an_owner_is_the_same_in_every_process_and_every_version() -> None:
    """Otherwise a restart, or an upgrade of one instance after the other, polls targets twice."""
    program = (
        "from exporter.model.shards import Shard\n"
        "targets = [('acme', ''), ('acme', 'bot_12345'), ('globex', 'b0'), ('å', 'b:1')]\n"
        "owner = lambda count, target: next(i for i in range(count) if Shard(i, count).owns(*target))\n"
        "print(' '.join(''.join(str(owner(count, one)) for one in targets) for count in (2, 3, 5, 10)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert told == {OWNERS}


# Several counts at a time, while it changes.


@st.composite
def running(draw: st.DrawFn) -> list[Shard]:
    """Instances of any counts of which none has an index beyond the count of another one."""
    found = draw(
        st.lists(
            st.integers(1, 12).flatmap(
                lambda count: st.builds(Shard, st.integers(0, count - 1), st.just(count))
            ),
            max_size=8,
            unique_by=lambda shard: shard.index,
        )
    )
    least = min((shard.count for shard in found), default=0)
    return [shard for shard in found if shard.index < least]


@given(running(), names, names)
def test_while_the_count_changes_no_target_has_two_owners(
    shards: list[Shard], workspace: str, bot_id: str
) -> None:
    assert sum(shard.owns(workspace, bot_id) for shard in shards) <= 1


@given(running(), st.integers(1, 1000), st.integers(1, 100_000), st.integers(1, 10**7))
def test_while_the_count_changes_the_parts_are_never_more_than_the_limit(
    shards: list[Shard], whole: int, per_minute: int, per_day: int
) -> None:
    assert sum(shard.part(whole) for shard in shards) <= whole
    assert sum(shard.per_day(per_day) for shard in shards) <= per_day
    assert sum(shard.pace(per_minute, None) for shard in shards) <= per_minute
    assert sum(shard.pace(per_minute, per_day) for shard in shards) <= per_minute


@given(running(), st.integers(1, 10**7))
def test_spread_over_the_longest_day_the_paces_never_spend_more_than_a_days_limit(
    shards: list[Shard], per_day: int
) -> None:
    if not any(shard.alone for shard in shards):
        longest = timedelta(hours=25) // timedelta(minutes=1)
        assert sum(shard.pace(10**6, per_day) for shard in shards) * longest <= per_day


def test_a_new_shard_beside_old_ones_that_do_not_know_it_would_poll_twice() -> None:
    """Otherwise the rule would forbid what does no harm."""
    shards = [Shard(0, 2), Shard(1, 2), Shard(2, 3)]
    twice = [bot for bot in BOTS if sum(shard.owns("acme", bot) for shard in shards) == 2]
    assert 0.3 < len(twice) / len(BOTS) < 0.37
    assert sum(shard.pace(60, None) for shard in shards) > 60


@given(counts, st.integers(1, 10**6))
def test_the_least_limit_of_a_day_is_the_least(count: int, part: int) -> None:
    shard = Shard(0, count)
    least = shard.whole_day(part)
    assert shard.per_day(least) >= part > shard.per_day(least - 1)


def test_without_other_shards_nothing_is_divided() -> None:
    assert WHOLE.alone
    assert (WHOLE.part(7), WHOLE.per_day(7), WHOLE.whole_day(7)) == (7, 7, 7)
    assert WHOLE.pace(60, 10) == Fraction(60)
    assert WHOLE.owns("acme", "b")


# On the command line.


@given(counts.flatmap(lambda count: st.builds(Shard, st.integers(0, count - 1), st.just(count))))
def test_a_shard_is_read_as_it_is_written(shard: Shard) -> None:
    assert Shard.parsed(str(shard)) == shard


@pytest.mark.parametrize(
    "text",
    ["", "1", "/3", "0/0", "3/3", "4/3", "-1/3", "0/3/1", "a/3", " 0/3", "0/3\n", "\u0660/\u0663", f"0/{MOST + 1}"],
)  # fmt: skip
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="i/n"):
        Shard.parsed(text)
