"""What is left of an answer with more names than it may have."""

import time
from collections.abc import Callable, Mapping
from random import Random

import pytest
from hypothesis import given as whatever, strategies as st

from exporter.caps import LOYALTY, MOST_CHANNELS, fair_shares, largest, largest_names
from exporter.catalogue import REPORTS
from exporter.samples import Family, Sample

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


SIZES = st.lists(st.integers(0, 300), max_size=40)
VALUES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 9), max_size=30)


@whatever(SIZES, st.integers(0, 2000))
def test_shares_are_as_much_as_fits_and_no_more(sizes: list[int], limit: int) -> None:
    shares = fair_shares(sizes, limit)

    assert sum(shares) == min(limit, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


@whatever(SIZES, st.integers(0, 2000))
def test_nobody_gives_way_to_somebody_who_has_more(sizes: list[int], limit: int) -> None:
    shares = fair_shares(sizes, limit)

    cut = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert not cut or max(shares) - min(cut) <= 1


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
