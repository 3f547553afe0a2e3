"""The regular expression that a bot's answer must match. Pure.

The pattern comes from the operator and the text from the API, so neither may be able to stall the
event loop. Python's `re` backtracks: on an unlucky text, `(a+)+$` takes longer than anybody waits.
Rust's `regex`, which pydantic brings along, takes time linear in the text. It therefore has neither
look-around nor backreferences.
"""

import re
from contextlib import suppress
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST_PATTERN: Final = 1000
LONGEST_TEXT: Final = 4096
"""Characters of a pattern, and of an answer that are matched; the rest of the answer is ignored."""

_SPACE: Final = 100
"""A pattern must fit so many times into the library's limit for the size of a compiled pattern.

The matching holds the interpreter's lock, and takes time by the size of the pattern times that of
the text. Without this limit, nested counted repetitions took half a second for an answer.
"""

_CLASS: Final = re.compile(r"\\[pP](?:\{[^{}]*\}|.)|\\.|\.", re.DOTALL)
_CLASSES: Final = frozenset((r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\p", r"\P", "."))


class AnswerPattern:
    """A compiled pattern; it may match anywhere in a text.

    Args:
        pattern: In the syntax of Rust's `regex`.

    Raises:
        ValueError: If it is not a valid pattern, or too large; the text quotes nothing of it.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > LONGEST_PATTERN:
            raise ValueError(f"must have at most {LONGEST_PATTERN} characters")
        try:
            self._validator = _validator(pattern)
        except SchemaError as error:
            large = "size limit" in str(error)
            raise ValueError(_TOO_LARGE if large else _INVALID) from None

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches in the first `LONGEST_TEXT` characters of a text."""
        return self._validator.isinstance_python(text[:LONGEST_TEXT])


_INVALID: Final = (
    "must be a regular expression without look-around and backreferences, like (?i)nine|9 ?am"
)
_TOO_LARGE: Final = "must be a smaller regular expression: its repetitions multiply"


@lru_cache(maxsize=64)
def compiled(pattern: str) -> AnswerPattern:
    """The compiled pattern, kept because a large one takes some hundredths of a second.

    Raises:
        ValueError: See `AnswerPattern`.
    """
    return AnswerPattern(pattern)


def checked(pattern: str) -> str:
    """The pattern itself, if it is valid, and no text takes long to match.

    Raises:
        ValueError: If it is not.
    """
    compiled(pattern)
    # The classes of Unicode are large, but their size costs no time: letters stand in for them.
    small = _CLASS.sub(lambda found: "a" if found[0][:2] in _CLASSES else found[0], pattern)
    with suppress(SchemaError):
        # On a line of its own, because a comment may end the pattern.
        _validator(f"(?:{small}\n){{{_SPACE}}}")
        return pattern
    raise ValueError(_TOO_LARGE)


def _validator(pattern: str) -> SchemaValidator:
    schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
    return SchemaValidator(schema)
