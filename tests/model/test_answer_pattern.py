import time

import pytest

from exporter.model.answer_pattern import LONGEST_PATTERN, LONGEST_TEXT, AnswerPattern

SLOW = ("(a+)+$", "(a|aa)+$", "(.*)*x", r"(\w+\s?)+$", "(.{0,100}){10}Q")


@pytest.mark.parametrize("pattern", SLOW)
def test_no_pattern_takes_long_over_any_text(pattern: str) -> None:
    compiled = AnswerPattern(pattern)
    for text in ("a" * 100_000 + "!", "ab cd " * 20_000, "é漢 " * 40_000):
        begun = time.process_time()
        compiled.found_in(text)
        assert time.process_time() - begun < 1


def test_a_pattern_matches_anywhere_in_the_first_part_of_a_text() -> None:
    pattern = AnswerPattern("(?i)nine")
    assert pattern.found_in("We open at NINE.")
    assert not pattern.found_in("We open at ten.")
    assert pattern.found_in("x" * (LONGEST_TEXT - 4) + "nine")
    assert not pattern.found_in("x" * (LONGEST_TEXT - 3) + "nine")


@pytest.mark.parametrize(
    "pattern",
    ["(canary", r"(?=canary)", r"(canary)\1", "canary{", r"((canary|\w){1,200}){1,200}"],
)
def test_a_pattern_that_cannot_be_used_is_refused_without_quoting_it(pattern: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        AnswerPattern(pattern)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "\n" not in str(refused.value)


def test_a_pattern_has_a_greatest_length() -> None:
    AnswerPattern("a" * LONGEST_PATTERN)
    with pytest.raises(ValueError, match="at most"):
        AnswerPattern("a" * (LONGEST_PATTERN + 1))


def test_a_text_that_is_no_unicode_matches_nothing() -> None:
    assert not AnswerPattern("a").found_in("a\ud800")
