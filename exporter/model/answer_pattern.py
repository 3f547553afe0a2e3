"""The regular expression that a bot's answer must match. Pure.

The pattern comes from the operator and the text from the API, so neither may be able to stall the
event loop. Python's `re` backtracks: on an unlucky text, `(a+)+$` takes longer than anybody waits.
Rust's `regex`, which pydantic brings along, takes time linear in the text. It therefore has neither
look-around nor backreferences.
"""

from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST_PATTERN: Final = 1000
LONGEST_TEXT: Final = 4096
"""Characters of a pattern, and of an answer that are matched; the rest of the answer is ignored.

The matching holds the interpreter's lock. With a pattern of nested counted repetitions, 16,384
characters took half a second.
"""


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
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        try:
            self._validator = SchemaValidator(schema)
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
    """The pattern itself, if it is valid.

    Raises:
        ValueError: If it is not.
    """
    compiled(pattern)
    return pattern
