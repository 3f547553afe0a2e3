"""An API that is down is asked by one probe at a time."""

import pytest
from hypothesis import given, strategies as st

from exporter.upstream.circuit_breaker import PROBE_EVERY, CircuitBreaker


def after(failures: list[bool], every: float = 1.0, deadline: float = 60.0) -> CircuitBreaker:
    """A breaker that has seen these, at their times."""
    found = CircuitBreaker(deadline)
    for number, failed in enumerate(failures):
        found.ended(number * every, failed=failed)
    return found


@pytest.mark.parametrize(
    ("failures", "opened"),
    [
        ([True] * 19, False),
        ([True] * 20, True),
        ([False] * 10 + [True] * 10, True),
        ([False] * 11 + [True] * 10, False),
        ([False] * 1000 + [True] * 24, False),
        ([False] * 1000 + [True] * 25, True),
    ],
    ids=["few", "enough", "half", "less-than-half", "not-yet", "an-outage-after-a-long-time"],
)
def test_it_opens_when_half_of_enough_requests_have_failed(
    failures: list[bool], opened: bool
) -> None:
    assert (after(failures).probe_at is not None) is opened


def test_who_asks_little_is_never_held_back() -> None:
    assert after([True] * 1000, every=200.0).probe_at is None


@pytest.mark.parametrize("deadline", [5.0, 60.0, 300.0])
def test_a_probe_that_hangs_or_is_called_off_holds_up_the_next_for_its_deadline_alone(
    deadline: float,
) -> None:
    found = after([True] * 20, deadline=deadline)
    at = 19 + PROBE_EVERY
    assert found.wait(at) == 0
    found.sent(at)

    assert found.wait(at + 1) > 0
    assert found.wait(at + max(deadline, PROBE_EVERY)) == 0


def test_an_answer_closes_it_and_the_past_is_forgotten() -> None:
    found = after([True] * 20)
    found.sent(100)
    found.ended(101, failed=False)

    assert found.wait(101) == 0
    for at in range(19):
        found.ended(102 + at, failed=True)
    assert found.wait(121) == 0


Event = tuple[str, float]
EVENTS = st.tuples(st.sampled_from(["sent", "failed", "answered"]), st.floats(0, 200))


@given(st.lists(EVENTS, max_size=200), st.floats(1, 300))
def test_whatever_happens_a_request_may_be_sent_before_long(
    events: list[Event], deadline: float
) -> None:
    found, at = after([True] * 20, deadline=deadline), 20.0
    for what, later in events:
        at += later
        if what == "sent":
            found.sent(at)
        else:
            found.ended(at, failed=what == "failed")
        assert found.wait(at) <= max(deadline, PROBE_EVERY) + 1e-6
