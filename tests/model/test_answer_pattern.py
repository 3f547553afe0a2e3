import time

import pytest

from exporter.model.answer_pattern import LONGEST_PATTERN, LONGEST_TEXT, AnswerPattern, checked

SLOW = (
    *("(a+)+$", "(a|aa)+$", "(.*)*x", r"(\w+\s?)+$", "(.{0,100}){10}Q"),
    *(r"(?:\w{1,20}){1,10}!", "(?:a{1,30}){1,30}b", r"(?:[\w ]{1,30}){1,3}!"),
    *(r"(?:\p{L}{1,20}){1,10}!", r"(?:[\p{L}\p{N} ]{1,30}){1,3}!"),
)
TOO_SLOW = (
    "(?:(?:a{1,30}){1,30}){1,8}b",
    "(?:(?:a{1,30}){1,30}){1,2}b",
    "(?x) (?:(?:a{1,30}){1,30}){1,8}b # never ends",
)


@pytest.mark.parametrize("pattern", SLOW)
def test_no_pattern_takes_long_over_any_text(pattern: str) -> None:
    compiled = AnswerPattern(checked(pattern))
    for text in ("a" * 100_000 + "!", "ab cd " * 20_000, "é漢 " * 40_000):
        begun = time.process_time()
        compiled.found_in(text)
        # Some 30 ms at most; a test machine may be slow.
        assert time.process_time() - begun < 0.3


@pytest.mark.parametrize("pattern", TOO_SLOW)
def test_a_pattern_that_would_take_long_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="must be a smaller regular expression"):
        checked(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"(?i)\b(9|nine) ?am\b", r"(?i)\w{1,50}x", r"(?s)open.{0,200}nine", r"[\d.]+ €", "a|"),
        *(r"\p{L}{3}", r"\pL{2}", r"[\p{Han}\P{Lu}]{2,9}", r"\\p\{L"),
    ],
)
def test_a_usual_pattern_is_small_enough(pattern: str) -> None:
    assert checked(pattern) == pattern


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
