"""Absence is believed of one, in company; never of all."""

from hypothesis import given, strategies as st

from exporter.polling.missing_bots import MissingBots

words = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=30)


def heard(*said: tuple[str, bool]) -> MissingBots:
    made = MissingBots()
    for target, known in said:
        made.heard(target, known=known)
    return made


def test_a_bot_is_gone_if_others_are_answered_since() -> None:
    assert heard(("a", False), ("b", True), ("a", False)).gone("a", 0)
    assert not heard(("b", True), ("a", False), ("a", False)).gone("a", 1)


def test_a_bot_that_was_answered_itself_is_not_gone() -> None:
    assert not heard(("a", False), ("b", True), ("a", True)).gone("a", 0)


def test_most_of_those_that_were_asked_must_be_answered() -> None:
    denied = [(one, False) for one in "bcd"]
    assert not heard(("a", False), *denied, ("e", True), ("a", False)).gone("a", 0)
    assert heard(("a", False), ("b", False), ("e", True), ("a", False)).gone("a", 0)


@given(words)
def test_where_nobody_is_answered_nobody_is_gone(said: list[tuple[str, bool]]) -> None:
    found = heard(*((target, False) for target, _ in said))
    assert not any(found.gone(target, 0) for target in "abcdef")


@given(words, st.integers(0, 30))
def test_at_least_one_other_was_answered_wherever_one_is_gone(
    said: list[tuple[str, bool]], since: int
) -> None:
    found = heard(*said)
    for target in "abcdef":
        if found.gone(target, since):
            assert any(known and other != target for other, known in said[since:])


def test_what_is_no_longer_wanted_is_no_witness() -> None:
    found = heard(("a", False), ("b", True), ("a", False))
    found.keep({"a"})
    assert not found.gone("a", 0)
