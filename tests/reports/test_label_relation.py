from collections.abc import Mapping
from typing import Any, Final

import pytest
from pydantic import ValidationError
from support.entries import JANUARY, entry, read

from exporter.errors import ReplyError

METRIC = "label_relation"
MONTH: Final[Mapping[str, Any]] = {"window": "this_month"}


def relation(name: str, base: str, comparison: str) -> str:
    of = f'base_label="{base}",comparison_label="{comparison}"'
    return f"label_relation_{name}{{{of}}}"


def test_there_is_no_ratio_where_the_base_is_zero() -> None:  # T72
    part = {
        "base_label": "b",
        "base_count": 0,
        "comparison_label": "a",
        "both_labels_count": 0,
        "ratio": None,
    }
    expected = {
        relation("base_conversations", "b", "a"): 0,
        relation("both_conversations", "b", "a"): 0,
    }
    for ratio in (None, 0, 0.0):
        found = read("seachat", METRIC, part | {"ratio": ratio}, labels=["b", "a"])
        assert found.series == expected


def test_a_ratio_is_a_ratio_and_not_percent() -> None:  # T71
    found = read("seachat", METRIC, {"base_count": 200, "ratio": 0.5}, labels=["b", "a"])
    assert found.series[relation("ratio", "b", "a")] == 0.5


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param({"base_label": "a", "comparison_label": "b"}, id="reversed"),
        pytest.param({"base_label": "x"}, id="another-base"),
        pytest.param({"comparison_label": "x"}, id="another-comparison"),
    ],
)
def test_an_answer_about_other_labels_is_a_failure(echo: dict[str, object]) -> None:  # T72
    with pytest.raises(ReplyError, match="other labels"):
        read("seachat", METRIC, {"base_count": 1, **echo}, labels=["b", "a"])


def test_an_answer_that_names_no_labels_is_about_the_asked_ones() -> None:  # T72
    found = read("seachat", METRIC, {"base_count": 1, "base_label": None}, labels=["b", "a"])
    assert found.series == {relation("base_conversations", "b", "a"): 1}


def test_the_range_of_dates_that_the_api_used_is_not_read() -> None:  # T84
    part = {
        "base_label": "a",
        "base_count": 1,
        "comparison_label": "b",
        "both_labels_count": 0,
        "ratio": 0,
        "date_range": {"start_date": "2024-01-01T00:00:00", "end_date": "2024-01-31T23:59:59"},
    }
    found = read("seachat", METRIC, part, labels=["a", "b"], **MONTH)
    assert found.series == {
        relation("base_conversations", "a", "b"): 1,
        relation("both_conversations", "a", "b"): 0,
        relation("ratio", "a", "b"): 0,
    }
    assert found.drift == {}


def test_the_asked_labels_are_cleaned_before_they_are_shown() -> None:
    part = {"base_count": 1, "base_label": "me@example.com", "comparison_label": "b"}
    found = read("seachat", METRIC, part, labels=["me@example.com", "b"])
    assert found.series == {relation("base_conversations", "redacted", "b"): 1}


def test_the_labels_are_sent_as_configured_base_first() -> None:  # T30, T31
    assert entry("seachat", METRIC, labels=["b", "a"]).fields["labels"] == ("b", "a")


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(["a"], id="one"),
        pytest.param(["a", "b", "c"], id="three"),
        pytest.param(["a", ""], id="empty"),
        pytest.param(None, id="none"),
    ],
)
def test_it_takes_exactly_two_labels(labels: object) -> None:  # T30
    with pytest.raises(ValidationError):
        entry("seachat", METRIC, labels=labels)


@pytest.mark.parametrize(
    ("labels", "window", "collides"),
    [
        pytest.param(["a", "b"], "this_month", True, id="same"),
        pytest.param(["b", "a"], "this_month", False, id="reversed"),
        pytest.param(["a", "b"], "last_month", False, id="another-window"),
    ],
)
def test_the_pair_and_the_window_keep_entries_apart(
    labels: list[str], window: str, *, collides: bool
) -> None:
    one = entry("seachat", METRIC, labels=["a", "b"], **MONTH)
    two = entry("seachat", METRIC, labels=labels, window=window)
    assert one.report.collides(one.options, two.options, JANUARY.date()) is collides
