"""What is asked again, and never too often."""

import pytest
from hypothesis import given, strategies as st

from exporter.errors import Outcome
from exporter.upstream.retries import ATTEMPTS, SHARE, SPARE, RetryBudget, pause


def longest(_: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [
        (Outcome.CONNECT, ATTEMPTS),
        (Outcome.SERVER_ERROR, ATTEMPTS),
        (Outcome.TIMEOUT, 2),
        *(
            (outcome, 1)
            for outcome in Outcome
            if outcome not in {Outcome.CONNECT, Outcome.SERVER_ERROR, Outcome.TIMEOUT}
        ),
    ],
)
def test_only_what_may_be_over_in_a_moment_is_asked_again(outcome: Outcome, attempts: int) -> None:
    again = [pause(outcome, tried, longest) is not None for tried in range(1, 6)]

    assert again == [tried < attempts for tried in range(1, 6)]


def test_a_pause_is_any_time_up_to_a_bound_that_doubles() -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    assert [pause(Outcome.CONNECT, tried, uniform) for tried in (1, 2)] == [0, 0]
    assert asked == [(0, 2), (0, 4)]


@given(st.lists(st.booleans(), max_size=400))
def test_in_any_stretch_the_extra_requests_are_a_tenth_of_the_schedule_and_ten(
    wants: list[bool],
) -> None:
    credit, paid = RetryBudget(), []
    for want in wants:  # each time one of the schedule, and perhaps up to two beyond it
        credit.earn()
        paid.append(sum(want and credit.spend() for _ in range(ATTEMPTS - 1)))

    for first in range(len(wants)):
        for last in range(first, len(wants)):
            scheduled = last - first + 1
            assert sum(paid[first : last + 1]) <= SHARE * scheduled + SPARE


def test_ten_are_free_and_ten_of_the_schedule_pay_for_one_beyond_it_however_often() -> None:
    credit = RetryBudget()
    assert [credit.spend() for _ in range(11)] == [True] * 10 + [False]

    for _ in range(10_000):
        for _ in range(9):
            credit.earn()
        assert not credit.spend()
        credit.earn()
        assert credit.spend()
