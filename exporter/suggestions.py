"""What somebody may have meant who wrote a word that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that is most like another one; empty where none is."""
    return "".join(get_close_matches(word, [*known], n=1, cutoff=cutoff))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question at the end of an error message; empty where there is nothing to ask."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""
