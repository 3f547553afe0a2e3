import time
from collections.abc import Mapping
from typing import Any, Final

import pytest
from support.entries import JANUARY, entry, read

from exporter.model.report import ABSENT

METRIC = "label_usage"
MONTH: Final[Mapping[str, Any]] = {"window": "this_month"}


def uses(**labels: float) -> dict[str, float]:
    return {f'label_usage_uses{{label="{name}"}}': n for name, n in labels.items()}


def row(period: object, *labels: object) -> dict[str, object]:
    return {"period": period, "labels": list(labels)}


def label(name: object, count: object) -> dict[str, object]:
    return {"name": name, "count": count}


def test_the_edge_months_of_a_window_are_part_of_the_sum() -> None:  # T39
    part = {
        "metric": "label_usage",
        "time_unit": "month",
        "data": [
            {"date": "2024-06", "labels": [{"name": "sales", "count": 45}]},
            {"date": "2024-05", "labels": [{"name": "sales", "count": 15}]},
        ],
    }
    june_1 = JANUARY.replace(month=6, day=1)
    found = read("portal", METRIC, part, june_1, window="last_32_days", time_unit="month")
    assert found.series == uses(sales=60)


def test_periods_in_an_object_are_the_same_as_a_bare_list() -> None:  # T51
    rows = [{"period": "2024-01", "labels": [{"name": "a", "count": 1}]}]
    wrapped = read("seachat", METRIC, {"time_unit": "month", "data": rows}, **MONTH)
    assert wrapped == read("seachat", METRIC, rows, **MONTH)
    assert wrapped.series == uses(a=1)


def test_periods_that_cannot_be_read_are_left_out_and_counted() -> None:  # T58
    part = [row(period, label("a", 1)) for period in (2024, "2024-1", "Q1 2024", None)]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(a=2)
    assert found.drift == {"period": 2}


def test_a_label_that_some_periods_lack_is_the_sum_of_the_others() -> None:  # R-ZERO
    part = [
        row("2024-01-01", label("a", 1), label("b", 0)),
        row("2024-01-02", label("a", 2), label("c", None)),
        {"period": "2024-01-03", "labels": None},
        {"period": "2024-01-04"},
    ]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(a=3, b=0)
    assert found.drift == {}


def test_a_sum_with_a_part_that_cannot_be_believed_is_not_shown() -> None:  # T85
    part = [
        row("2024-01-01", label("a", 1), label("b", 4)),
        row("2024-01-02", label("a", "many"), label("b", "5")),
        row("2024-01-03", label("a", 2)),
    ]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(b=9)
    assert found.drift == {"count": 1}


def test_a_label_twice_in_one_period_is_added_up_and_counted() -> None:  # T69
    found = read("seachat", METRIC, [row("2024-01", label("a", 1), label("a", 2))], **MONTH)
    assert found.series == uses(a=3)
    assert found.drift == {"name": 1}


def test_a_row_that_comes_twice_counts_once() -> None:
    part = [row("2024-01-01", label("a", 1), label("a", 1)), row("2024-01-02", label("a", 2))] * 2
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(a=3)
    assert found.drift == {"data": 2, "labels": 1}


def test_a_row_that_says_the_same_in_another_spelling_counts_once() -> None:
    part = [
        {"period": "2024-01-01", "labels": [label("a", 1), {"count": 1.0, "name": "a"}]},
        {"labels": [{"count": 1, "name": "a"}, label("a", 1)], "period": "2024-01-01", "x": [1]},
    ]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(a=1)
    assert found.drift == {"data": 1, "labels": 1}


@pytest.mark.parametrize(
    ("one", "two", "counted"),
    [
        pytest.param(label("a", 1), label("a", 2), 3, id="another-count"),
        pytest.param({"id": 1} | label("a", 1), {"id": 2} | label("a", 1), 2, id="another-id"),
        pytest.param(label("a", 1), label("a", "1"), 2, id="another-type"),
    ],
)
def test_rows_that_do_not_say_the_same_both_count(
    one: dict[str, object], two: dict[str, object], counted: int
) -> None:
    found = read("seachat", METRIC, [row("2024-01-01", one, two)], **MONTH)
    assert found.series == uses(a=counted)


def test_what_is_in_no_documented_field_costs_nothing() -> None:
    part = [row("2024-01-01", label("a", n)) | {"x": [10**4000] * 1000} for n in (1, 2)]
    before = time.process_time()
    found = read("seachat", METRIC, part, **MONTH)
    assert time.process_time() - before < 0.5
    assert found.series == uses(a=3)


def test_a_label_without_a_name_is_drift_in_documented_fields_alone() -> None:
    reading = entry("seachat", METRIC, **MONTH).reading(JANUARY)
    entry("seachat", METRIC, **MONTH).report.read([row("2024-01", label("a", 1))], reading)
    assert ("Label", "count", "name") in reading.drift.fields(())


@pytest.mark.parametrize(
    ("one", "two", "shown"),
    [
        ("+1 206 555 0142", "+1 206 555 0143", "redacted"),
        ("me@example.com", "+1 206 555 0143", "redacted"),
        ("VIP", "VIP\u200b", "VIP"),
        ("", "\u200b", "unnamed"),
        ("x" * 120 + "a", "x" * 120 + "b", "x" * 120),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["in-one-period", "in-two"])
def test_two_labels_that_are_shown_alike_are_summed_and_drift(
    one: str, two: str, shown: str, *, apart: bool
) -> None:
    rows = [row("2024-01-01", label(one, 1)), row("2024-01-02", label(two, 1))]
    part = rows if apart else [row("2024-01-01", label(one, 1), label(two, 1))]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == {f'label_usage_uses{{label="{shown}"}}': 2}
    assert found.drift["name"] >= 1


def test_one_list_of_labels_of_another_shape_does_not_take_the_others_down() -> None:
    part = [{"period": "2024-01-01", "labels": "many"}, row("2024-01-02", label("a", 1))]
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == uses(a=1)
    assert found.drift == {"labels": 1}


def test_labels_are_shown_by_their_own_name_whatever_was_asked() -> None:  # T31
    part = [row("2024-01", label("Support", 1))]
    found = read("seachat", METRIC, part, labels=["label-123"], **MONTH)
    assert found.series == uses(Support=1)


def test_all_labels_are_asked_for_by_leaving_them_out() -> None:  # T26, T31
    assert entry("seachat", METRIC).fields["labels"] is ABSENT
    assert entry("seachat", METRIC, labels=["a"]).fields["labels"] == ("a",)
    assert entry("portal", METRIC).fields["time_unit"] == "day"


@pytest.mark.parametrize(
    ("one", "two", "collides"),
    [
        pytest.param(None, None, True, id="all-twice"),
        pytest.param(None, ["a"], True, id="all-and-one"),
        pytest.param(["a", "b"], ["b", "c"], True, id="one-in-common"),
        pytest.param(["a"], ["b"], False, id="none-in-common"),
    ],
)
def test_a_label_and_a_window_are_not_asked_twice(
    one: list[str] | None, two: list[str] | None, *, collides: bool
) -> None:
    first, second = entry("seachat", METRIC, labels=one), entry("seachat", METRIC, labels=two)
    other_window = entry("seachat", METRIC, labels=two, window="yesterday")
    clash = first.report.collides
    assert clash(first.options, second.options, JANUARY.date()) is collides
    assert not clash(first.options, other_window.options, JANUARY.date())
