"""What is left of an answer with more names than it may have."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from hypothesis import given as whatever, strategies as st

from exporter.metrics.series_limits import (
    FEW,
    LOYALTY,
    MOST_CHANNELS,
    NOTHING,
    Held,
    Room,
    Shares,
    cut,
    largest,
    largest_names,
)
from exporter.model.samples import Family, Sample
from exporter.reports.catalogue import REPORTS

Keep = Callable[..., tuple[Sample, ...]]

MADE = ("label", "label_id", "channel", "agent")
FAMILIES = [family for report in REPORTS for family in report.families]
NAMED = [family for family in FAMILIES if set(MADE) & set(family.labels)]
PLAIN = next(family for family in FAMILIES if not set(MADE) & set(family.labels))


def samples(family: Family, values: Mapping[str, float]) -> tuple[Sample, ...]:
    """A sample of the family for each name, its other labels alike."""
    return tuple(
        family.sample(value, *(name if label in MADE else "x" for label in family.labels))
        for name, value in values.items()
    )


def test_there_are_families_of_every_name_that_customers_make() -> None:
    assert {label for family in NAMED for label in family.labels} >= set(MADE)


@pytest.mark.parametrize("family", NAMED, ids=[family.name for family in NAMED])
def test_the_largest_names_are_kept_whatever_they_are_names_of(family: Family) -> None:
    given = samples(family, {"a": 1, "b": 3, "c": 2, "d": 0})

    assert [sample.value for sample in largest_names(given, 2)] == [3, 2]
    assert largest_names(given, 4) == given


@pytest.mark.parametrize("family", NAMED, ids=[family.name for family in NAMED])
def test_what_has_no_such_name_is_always_kept(family: Family) -> None:
    totals = (PLAIN.sample(0, *("x" for _ in PLAIN.labels)),)

    kept = largest_names((*samples(family, {"a": 1, "b": 3}), *totals), 1)

    assert [sample.value for sample in kept] == [3, 0]


def test_a_name_weighs_what_all_of_its_samples_add_up_to() -> None:
    one, two = (family for family in NAMED if "channel" in family.labels)
    given = (*samples(one, {"a": 5, "b": 1}), *samples(two, {"a": 1, "b": 9}))

    assert [sample.value for sample in largest_names(given, 1)] == [1, 9]


@pytest.mark.parametrize(
    ("limit", "values"),
    [(4, [1, 3, 2, 0]), (2, [3, 2]), (0, []), (-5, [])],
)
def test_of_too_many_samples_the_largest_are_kept_in_their_order(
    limit: int, values: list[float]
) -> None:
    given = samples(NAMED[0], {"a": 1, "b": 3, "c": 2, "d": 0})

    assert [sample.value for sample in largest(given, limit)] == values


def fair_shares(sizes: Sequence[int], limit: int) -> list[int]:
    """How many values each of some reports may have, so that together they have at most a limit.

    The law that `Shares` keeps up to date: nobody has more than the highest level at which what
    all have fits. The first ones have one more, where what is left cannot be divided.

    Args:
        sizes: How many each would have.
        limit: How many there may be of all together.
    """

    def fits(level: int) -> bool:
        return sum(min(size, level) for size in sizes) <= limit

    level = bisect_left(range(1, limit + 1), True, key=lambda level: not fits(level))  # noqa: FBT003 - sought
    shares = [min(size, level) for size in sizes]
    over = limit - sum(shares)
    for index, size in enumerate(sizes):
        if size > level and over:
            shares[index] += 1
            over -= 1
    return shares


VALUES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 9), max_size=30)


def polled(shares: Shares[int], held: dict[int, Held], name: int, size: int, limit: int) -> Room:
    """Let one that would have so many values come; what there was room for."""
    found = shares.room(held.get(name, NOTHING), size, limit)
    room = found or Room(size, size, 0)
    while found and (other := shares.largest(but=name)) is not None:
        need = shares.kept - held.get(name, NOTHING).kept + room.share - limit
        before = held[other]
        assert other != name
        assert before.kept == max(one.kept for key, one in held.items() if key != name)
        after = Held(before.wanted, cut(before.kept, room, need))
        if after == before:
            assert need <= 0
            break
        assert room.level - room.level // 8 <= after.kept < before.kept
        assert before.kept > room.level  # who has its share or less gives nothing
        shares.put(other, before, after)
        held[other] = after
    after = Held(size, room.share)
    shares.put(name, held.get(name, NOTHING), after)
    held[name] = after
    return room


TURNS = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.integers(0, 9), st.integers(0, 3000))), max_size=80
)


@whatever(TURNS, st.integers(1, 5000))
def test_what_is_kept_up_to_date_is_what_a_look_at_all_of_them_finds(
    turns: list[tuple[int, int]], limit: int
) -> None:
    shares, held = Shares[int](), dict[int, Held]()
    for name, size in turns:
        wanted = {key: one.wanted for key, one in held.items()} | {name: size}
        fair = dict(zip(wanted, fair_shares(list(wanted.values()), limit), strict=True))
        fits = shares.room(held.get(name, NOTHING), size, limit) is None
        assert fits == (sum(wanted.values()) <= limit)
        room = polled(shares, held, name, size, limit)
        share = min(size, room.level)
        assert share <= fair[name] <= share + 1
        assert share <= room.share <= share + 1
        assert fits or max(fair.values()) - room.level <= 1
        assert shares.kept == sum(one.kept for one in held.values()) <= limit
        if size == 0:
            shares.put(name, held.pop(name), NOTHING)


@whatever(
    st.lists(st.integers(0, 300), min_size=1, max_size=60), st.integers(1, 5000), st.randoms()
)
def test_whatever_was_before_a_round_brings_the_fair_shares_and_the_next_ones_change_nothing(
    sizes: list[int], limit: int, chance: Random
) -> None:
    shares, held = Shares[int](), dict[int, Held]()
    for name in range(len(sizes)):
        polled(shares, held, name, chance.randrange(400), limit)
    for _ in range(2):
        for name, size in enumerate(sizes):
            polled(shares, held, name, size, limit)
    settled = dict(held)

    fair = fair_shares(sizes, limit)
    assert sorted(one.kept for one in settled.values()) == sorted(fair)
    for _ in range(2):
        for name in chance.sample(range(len(sizes)), len(sizes)):
            polled(shares, held, name, sizes[name], limit)
            assert held == settled


@whatever(st.lists(st.integers(1, 300), min_size=1, max_size=FEW), st.integers(1, 5000))
def test_few_are_fair_at_once(sizes: list[int], limit: int) -> None:
    shares, held = Shares[int](), dict[int, Held]()
    for name, size in enumerate(sizes):
        polled(shares, held, name, size, limit)

    fair, kept = fair_shares(sizes, limit), [held[name].kept for name in range(len(sizes))]
    assert all(abs(one - two) <= 1 for one, two in zip(fair, kept, strict=True))


def test_one_more_is_taken_from_a_few_of_many_and_not_from_all() -> None:
    shares, held = Shares[int](), dict[int, Held]()
    cuts = []
    for name in range(3000):
        before = dict(held)
        polled(shares, held, name, 150, 10_000)
        cuts.append(sum(held[key].kept < one.kept for key, one in before.items()))

    assert sum(cuts) / len(cuts) <= 8
    assert max(cuts) <= 40


@whatever(VALUES, st.integers(1, 20), st.randoms())
def test_the_order_of_an_answer_does_not_matter(
    values: dict[str, float], limit: int, chance: Random
) -> None:
    shuffled = list(values.items())
    chance.shuffle(shuffled)

    for keep in (largest, largest_names):
        kept = keep(samples(NAMED[0], values), limit)
        assert set(keep(samples(NAMED[0], dict(shuffled)), limit)) == set(kept)
        assert len(kept) == min(limit, len(values))


@whatever(VALUES, st.integers(1, 20))
def test_what_is_left_out_is_no_larger_than_what_is_kept(
    values: dict[str, float], limit: int
) -> None:
    given = samples(NAMED[0], values)
    for keep in (largest, largest_names):
        kept = keep(given, limit)
        smallest = min((sample.value for sample in kept), default=0)
        assert all(sample.value <= smallest for sample in set(given) - set(kept))


@pytest.mark.parametrize("keep", [largest, largest_names])
def test_two_values_of_about_one_size_do_not_take_turns(keep: Keep) -> None:
    shown = keep(samples(NAMED[0], {"a": 100, "b": 101}), 1)
    for values in ({"a": 110, "b": 101}, {"a": 102, "b": 103}, {"a": 104, "b": 103}):
        kept = keep(samples(NAMED[0], values), 1, shown)
        assert [sample.value for sample in kept] == [values["b"]]
        shown = kept

    # One that is clearly larger comes in.
    kept = keep(samples(NAMED[0], {"a": 100 * LOYALTY + 1, "b": 100}), 1, shown)
    assert [sample.value for sample in kept] == [100 * LOYALTY + 1]


def test_labels_of_one_name_count_each_by_its_id() -> None:
    family = next(family for family in NAMED if "label_id" in family.labels)
    given = [family.sample(number, str(number), "same", "false") for number in range(50)]

    assert [sample.value for sample in largest_names(given, 3)] == [47, 48, 49]


@pytest.mark.parametrize("family", [family for family in NAMED if "channel" in family.labels])
def test_a_report_has_at_most_32_channels(family: Family) -> None:
    given = samples(family, {f"channel{number}": number for number in range(100)})

    assert len(largest_names(given, 200)) == MOST_CHANNELS == 32


def test_an_agent_that_is_not_named_is_no_name() -> None:
    family = next(family for family in NAMED if "agent" in family.labels)
    given = [family.sample(1, "today", "", status) for status in ("available", "away")]

    assert largest_names([*given, family.sample(5, "today", "a", "away")], 1) == (
        *given,
        family.sample(5, "today", "a", "away"),
    )


def test_ten_times_the_names_are_cut_in_about_ten_times_the_time() -> None:
    def seconds(count: int) -> float:
        given = samples(NAMED[0], {f"label {number}": number for number in range(count)})
        begun = time.thread_time()
        kept = largest_names(given, 200, given[:200])
        assert len(kept) == 200
        return time.thread_time() - begun

    few, many = (min(seconds(count) for _ in range(3)) for count in (2_000, 20_000))

    assert many < 30 * few  # a search through those kept would make it a hundred
