"""What is left of an answer with more names than it may have."""

import pytest

from exporter.caps import largest, largest_names
from exporter.catalogue import REPORTS
from exporter.samples import Family, Sample

MADE = ("label", "channel", "agent")
FAMILIES = [family for report in REPORTS for family in report.families]
NAMED = [family for family in FAMILIES if set(MADE) & set(family.labels)]
PLAIN = next(family for family in FAMILIES if not set(MADE) & set(family.labels))


def samples(family: Family, values: dict[str, float]) -> tuple[Sample, ...]:
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
