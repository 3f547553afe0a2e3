from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from exporter.upstream.request_budget import CAPACITY, SLOWEST, RequestBudget

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_the_bucket_starts_empty() -> None:
    budget = RequestBudget(60, None, UTC, at=100.0)

    assert budget.take(100.0, NOON) == pytest.approx(1.0)


@given(st.integers(1, 600_000), st.integers(0, 10**14), st.integers(0, 12))
def test_waiting_as_long_as_told_is_enough_at_any_rate_and_any_time(
    per_minute: int, microseconds: int, refusals: int
) -> None:
    at = microseconds / 1_000_000
    budget = RequestBudget(per_minute, None, UTC, at=at)
    for _ in range(refusals):
        at += 60
        budget.slow_down(at)
    for _ in range(CAPACITY + 3):
        while budget.take(at, NOON) == 0:
            pass
        at += budget.take(at, NOON)
        assert budget.take(at, NOON) == 0


def test_no_more_is_saved_up_than_the_bucket_holds() -> None:
    budget = RequestBudget(60, None, UTC, at=0.0)

    taken = 0
    while budget.take(3600.0, NOON) == 0:
        taken += 1

    assert taken == CAPACITY


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=200),
    st.sampled_from([1, 7, 60, 600]),
)
def test_no_stretch_of_time_sees_more_than_rate_times_length_and_a_bucket(
    pauses: list[float], per_minute: int
) -> None:
    budget, at, sent = RequestBudget(per_minute, None, UTC, at=0.0), 0.0, []
    for pause in pauses:
        at += pause
        while budget.take(at, NOON) == 0:
            sent.append(at)

    for first, begin in enumerate(sent):
        for last in range(first, len(sent)):
            length = sent[last] - begin
            assert last - first + 1 <= per_minute / 60 * length + CAPACITY + 1e-6


@given(st.lists(st.floats(0, 5), max_size=100))
def test_a_crash_loop_sends_no_more_than_the_rate_times_the_time_it_ran(
    lives: list[float],
) -> None:
    at, sent = 0.0, 0
    for life in lives:
        budget = RequestBudget(60, None, UTC, at=at)
        at += life
        while budget.take(at, NOON) == 0:
            sent += 1

    assert sent <= at + 1e-6


def test_a_clock_that_goes_backwards_gives_nothing_away() -> None:
    budget = RequestBudget(60, None, UTC, at=100.0)

    assert budget.take(50.0, NOON) > 0


def test_the_days_budget_is_hard_until_local_midnight() -> None:
    zone = ZoneInfo("America/Los_Angeles")
    budget = RequestBudget(6000, 2, zone, at=0.0)
    evening = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)  # 23:00 in Los Angeles

    assert [budget.take(60.0, evening), budget.take(60.0, evening)] == [0, 0]
    assert budget.remaining(evening) == 0
    assert budget.take(60.0, evening) == 3600

    assert budget.take(61.0, evening + timedelta(hours=1)) == 0
    assert budget.remaining(evening + timedelta(hours=1)) == 1


def test_without_a_days_budget_nothing_remains_to_be_told() -> None:
    assert RequestBudget(60, None, UTC, at=0.0).remaining(NOON) is None


def rate(budget: RequestBudget, at: float) -> float:
    """Seconds between two requests from an instant on."""
    while not budget.take(at, NOON):
        pass
    return budget.take(at, NOON)


def test_a_refusal_halves_the_rate_and_those_that_come_with_it_no_more() -> None:
    budget = RequestBudget(60, None, UTC, at=0.0)
    for at in (100.0, 101.0, 102.0):
        budget.slow_down(at)

    assert rate(budget, 103.0) <= 2
    assert rate(budget, 200.0) == pytest.approx(2.0)


@pytest.mark.parametrize("every", [0.5, 7.0, 59.0, 60.0])
def test_refusals_that_never_cease_halve_the_rate_down_to_a_request_in_ten_minutes(
    every: float,
) -> None:
    budget, at = RequestBudget(60, None, UTC, at=0.0), 0.0
    while at < 20 * 60:
        at += every
        budget.slow_down(at)

    assert rate(budget, at) == pytest.approx(1 / SLOWEST) == 600


def test_answers_bring_half_the_rate_back_at_once_and_all_of_it_after_an_hour() -> None:
    budget, at = RequestBudget(60, None, UTC, at=0.0), 0.0
    for _ in range(20):
        at += 60
        budget.slow_down(at)
    for _ in range(20):
        budget.speed_up(at + 1)

    assert rate(budget, at + 600) == pytest.approx(2.0)
    budget.speed_up(at + 3601)
    assert rate(budget, at + 4000) == pytest.approx(1.0)


def test_an_answer_does_not_undo_the_one_refusal() -> None:
    budget = RequestBudget(60, None, UTC, at=0.0)
    budget.slow_down(10.0)
    budget.speed_up(11.0)

    assert rate(budget, 100.0) == pytest.approx(2.0)


@given(
    st.lists(st.tuples(st.sampled_from(["send", "no", "yes"]), st.floats(0, 4000)), max_size=100)
)
def test_whatever_the_api_says_the_rate_stays_between_its_bounds(
    events: list[tuple[str, float]],
) -> None:
    budget, at = RequestBudget(60, None, UTC, at=0.0), 0.0
    for what, later in events:
        at += later
        if what == "no":
            budget.slow_down(at)
        if what == "yes":
            budget.speed_up(at)
        wait = rate(budget, at)
        assert 0 < wait <= 1 / SLOWEST + 1e-6


def test_what_was_spent_in_an_earlier_life_counts_on_its_day_alone() -> None:
    budget = RequestBudget(60, 10, UTC, at=0.0, day=NOON.date(), spent=9)
    assert budget.remaining(NOON) == 1
    assert budget.remaining(NOON + timedelta(days=1)) == 10

    budget = RequestBudget(60, 10, UTC, at=0.0, day=NOON.date() - timedelta(days=1), spent=9)
    assert budget.remaining(NOON) == 10


# With other shards.


def test_a_shards_bucket_holds_its_part() -> None:
    budget = RequestBudget(60, None, UTC, at=0.0, capacity=3)

    taken = 0
    while budget.take(3600.0, NOON) == 0:
        taken += 1
    assert taken == 3


def test_what_a_shard_has_saved_up_before_midnight_is_not_spent_on_the_next_day() -> None:
    budget = RequestBudget(Fraction(20), 1000, UTC, at=0.0, capacity=3, by_day=True)
    late = NOON.replace(hour=23, minute=59)
    budget.take(0.0, late)

    assert budget.take(30.0, late + timedelta(seconds=30)) == 0
    assert budget.take(90.0, late + timedelta(seconds=90)) == pytest.approx(3)
    assert budget.take(93.0, late + timedelta(seconds=93)) == 0


def test_what_a_shard_spent_of_a_larger_part_does_not_stop_it() -> None:
    budget = RequestBudget(Fraction(20), 100, UTC, 0.0, NOON.date(), spent=500, by_day=True)
    budget.take(0.0, NOON)

    assert budget.take(30.0, NOON + timedelta(seconds=30)) == 0
    assert budget.spent(NOON) == 501
