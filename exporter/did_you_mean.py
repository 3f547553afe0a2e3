"""Suggestions for a misspelt word."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that is most similar; empty if none is similar enough."""
    return "".join(get_close_matches(word, [*known], n=1, cutoff=cutoff))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion for the end of an error message; empty if no known word is similar."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""
