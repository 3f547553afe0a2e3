"""Nothing is sent before the API wants it, and not much later."""

import pytest
from hypothesis import given, strategies as st

from exporter.upstream.retry_after import LONGEST, RequestedPause


def parking(share: float = 0.0, until: float = 0.0) -> RequestedPause:
    return RequestedPause(until, lambda low, high: low + share * (high - low))


@given(st.floats(0, LONGEST), st.floats(0, 1e7), st.floats(0, 1))
def test_a_wish_is_kept_and_at_most_a_tenth_more(wish: float, at: float, share: float) -> None:
    found = parking(share)
    found.park(at, wish)

    wait = found.wait(at)
    assert wish - 1e-6 <= wait <= min(wish * 1.1, LONGEST) + 1e-6


def test_no_wish_shortens_another() -> None:
    found = parking()
    found.park(0, 600)
    found.park(1, 5)

    assert found.wait(1) == 599


def test_a_refusal_that_names_no_time_is_a_minute_and_the_next_ones_longer() -> None:
    found, at, waits = parking(), 0.0, []
    for _ in range(6):
        found.park(at, None)
        waits.append(found.wait(at))
        at = found.until

    assert waits == [60, 120, 240, 480, 540, 540]
    found.succeeded()
    found.park(at, None)
    assert found.wait(at) == 60


def test_after_the_pause_there_is_nothing_to_wait_for() -> None:
    found = parking(1.0)
    found.park(0, 100)

    assert found.wait(109) == pytest.approx(1)
    assert found.wait(111) == 0


def test_an_earlier_wish_is_still_one() -> None:
    assert parking(until=30.0).wait(10) == 20
