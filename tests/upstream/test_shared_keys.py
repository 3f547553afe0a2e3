"""What one workspace is told of a key, the others hear."""

from hypothesis import given, strategies as st

from exporter.upstream.shared_keys import MOST, SharedKeys, SharedPause

KEY = "sk-canary-0123456789"


def test_a_key_has_one_pause_and_another_none_of_it() -> None:
    ring = SharedKeys(b"secret")
    ring.pause("host", KEY).ended(600.0, 0.0)

    assert ring.pause("host", KEY).wait("other", 0.0) == 600
    assert ring.pause("elsewhere", KEY).wait("other", 0.0) == 0
    assert ring.pause("host", "sk-2").wait("other", 0.0) == 0


def test_a_mark_is_of_its_ring_and_holds_nothing_of_the_key() -> None:
    one, two = SharedKeys(b"one"), SharedKeys(b"two")

    assert one.mark(KEY) == one.mark(KEY) != one.mark("sk-2")
    assert one.knows(one.mark(KEY))
    assert not two.knows(one.mark(KEY))
    assert one.mark(KEY).partition(".")[2] != two.mark(KEY).partition(".")[2]


def test_one_goes_first_and_the_others_follow_its_answer() -> None:
    pause = SharedPause()
    pause.sent("a", 0.0)

    assert pause.wait("a", 1.0) == 0
    assert 0 < pause.wait("b", 1.0) <= 0.1
    pause.ended(0.0, 0.0)
    assert pause.wait("b", 1.0) == 0


def test_a_pause_that_is_over_holds_up_nobody() -> None:
    pause = SharedPause()
    for at in range(10):
        pause.ended(float(at), at + 1.0)
        pause.sent("a", at + 1.0)
        assert pause.wait("b", at + 1.0) == 0


def test_one_that_hangs_is_waited_for_for_seconds() -> None:
    pause = SharedPause()
    for at in range(10):
        pause.sent("a", float(at))  # its other requests win it no time

    assert pause.wait("b", 9.9) > 0
    assert pause.wait("b", 10.0) == 0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=20))
def test_nothing_shortens_a_pause(ends: list[tuple[float, bool]]) -> None:
    pause = SharedPause()
    for until, doubted in ends:
        pause.ended(until, 0.0)
        if doubted:
            pause.doubt()

    longest = max((until for until, _ in ends), default=0.0)
    assert pause.wait("a", 0.0) == longest


def test_many_keys_fill_no_memory() -> None:
    ring = SharedKeys(b"secret")
    for number in range(MOST + 1):
        if number == MOST:  # what is used stays
            assert ring.pause("host", "sk-1").wait("a", 0.0) == 600
            assert ring.judgement("host", "reports", "sk-1").why == "no"
        ring.pause("host", f"sk-{number}").ended(600.0, 0.0)
        ring.judgement("host", "reports", f"sk-{number}").why = "no"

    assert ring.pause("host", "sk-999").wait("a", 0.0) == 600
    assert ring.judgement("host", "reports", "sk-999").why == "no"
    assert ring.judgement("host", "reports", "sk-0").why == ""
    assert ring.pause("host", "sk-1").wait("a", 0.0) == 600
    assert ring.judgement("host", "reports", "sk-1").why == "no"
