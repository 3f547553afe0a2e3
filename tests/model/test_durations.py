"""Durations as people write and read them, and the whole numbers that are reckoned with."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from exporter.model.durations import TICKS, parse, show, ticks

YEAR = 366 * 86_400


@given(st.integers(1, YEAR))
def test_whole_seconds_are_shown_as_what_means_them(seconds: int) -> None:
    assert parse(show(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (500_000, "500ms"),
        (1_200_001, "1s201ms"),
        (59_999_999, "1m"),
        (60_000_001, "1m1s"),
        (257_142_858, "4m18s"),
        (1000 * 86_400 * TICKS, "1000d"),
    ],
)
def test_what_is_rounded_is_rounded_up(microseconds: int, text: str) -> None:
    assert show(timedelta(microseconds=microseconds)) == text


@given(st.floats(0, 10 * YEAR), st.integers(0, 10**12))
def test_a_wait_in_whole_microseconds_is_over_when_it_has_passed(at: float, wait: int) -> None:
    assert ticks(ticks(at) / TICKS + wait / TICKS) == ticks(at) + wait
