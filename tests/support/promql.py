"""What a PromQL expression names: its selectors with their matchers, and the labels it groups by.

No parser: promtool says whether an expression is right. This splits one into words, which is enough
to hold its names to the catalogue.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    | (?P<range>\[[^\]]*\])
    | (?P<number>\d[\w.]*)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^=<>(){},@])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)
FILTERS: Final = ("handling_status", "exclude_empty_response")
"""Labels that say what was left out: without pinning them, a sum counts the same several times."""

_LISTING: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS_OF_THE_LANGUAGE: Final = _LISTING | {
    *("and", "or", "unless", "bool", "offset", "inf", "nan", "atan2", "start", "end")
}


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector of an expression.

    Attributes:
        name: The metric.
        matchers: Label, operator and value, in order.
    """

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def pinned(self, label: str) -> str | None:
        """The one value that a label may have; None where it may have several."""
        return next(
            (value for of, sign, value in self.matchers if (of, sign) == (label, "=")), None
        )


def _tokens(expression: str) -> list[tuple[str, str]]:
    """Kind and text of each word.

    Raises:
        ValueError: If there is something that is none.
    """
    found, at = [], 0
    while at < len(expression):
        match = _WORDS.match(expression, at)
        if match is None:
            raise ValueError(f"what is this: {expression[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup not in {"space", "comment"}:
            found.append((match.lastgroup or "", match[0]))
    return found


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression, from left to right."""
    return [found for found in _read(expression) if isinstance(found, Selector)]


def labels(expression: str) -> set[str]:
    """Every label that an expression groups or matches series by, outside its selectors."""
    return {found for found in _read(expression) if isinstance(found, str)}


def _read(expression: str) -> Iterator[Selector | str]:
    tokens = [*_tokens(expression), ("", "")]
    at = 0
    while at < len(tokens) - 1:
        kind, word = tokens[at]
        following = tokens[at + 1][1]
        at += 1
        if kind != "name":
            continue
        if word.lower() in _LISTING:
            if following == "(":
                close = tokens.index(("sign", ")"), at)
                yield from (name for sort, name in tokens[at:close] if sort == "name")
                at = close
        elif following == "{":
            close = tokens.index(("sign", "}"), at)
            yield Selector(word, tuple(_matchers(tokens[at + 1 : close])))
            at = close
        elif word.lower() not in _WORDS_OF_THE_LANGUAGE and following not in {"(", "by", "without"}:
            yield Selector(word)


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    words = [word for _, word in tokens if word != ","]
    for label, sign, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        yield label, sign, value[1:-1]
