"""A key on its way to the API: one that was rejected is not sent again and again.

What is rejected may be the key, or what was asked with it: a bot that it must not read, say. A key
that works for others is not to blame, and rests only when it is rejected twice in a row.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from exporter.errors import NotSent, Outcome, RequestFailed


@dataclass(slots=True)
class Judgement:
    """Whether the API accepts one key.

    Attributes:
        works: Whether it brought an answer, and has not been rejected since.
        suspects: What it was rejected for since the last answer.
        barred: What it is rejected for while it works for others.
        until: Until when it rests, on the monotonic clock in seconds.
        why: How the API rejected it; empty where it did not.
    """

    works: bool = False
    suspects: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    until: float = 0.0
    why: str = ""


_SHORT_OF = 0.95
"""Of the rest: the next turn of the request that was rejected must not fall just short of it."""

REJECTED = "the key was rejected"


class Key(Protocol):
    """A key as the operator gives it."""

    def read(self) -> str:
        """The key to send now.

        Raises:
            RequestFailed: If there is none.
        """


class KeyHealth:
    """A key, and whether the API has rejected it; what it is stays in memory.

    Args:
        key: As the operator gives it.
        rest: Seconds for which a rejected key is not sent again.
        known: What is known of a key, by whoever uses it; by this one alone where left out.
        who: Tells apart what is asked by those that share it.
    """

    def __init__(
        self,
        key: Key,
        rest: float,
        known: Callable[[str], Judgement] | None = None,
        who: str = "",
    ) -> None:
        self._key = key
        self._rest = rest * _SHORT_OF
        self._mine: dict[str, Judgement] = {}
        self._known = known or (lambda key: self._mine.setdefault(key, Judgement()))
        self._who = who
        self._first_rests_until = 0.0

    def rest(self, until: float) -> None:
        """Let the first key that is read rest, as one did in an earlier life.

        Nothing is kept of that one by which the two could be compared.
        """
        self._first_rests_until = until

    def usable(self, at: float) -> str:
        """The key to send at a time of the monotonic clock, in seconds.

        Raises:
            RequestFailed: If there is none.
            NotSent: If the API has rejected it not long ago.
        """
        key = self._key.read()
        judgement = self._known(key)
        if at < self._first_rests_until:
            judgement.until, judgement.why = self._first_rests_until, judgement.why or REJECTED
        self._first_rests_until = 0.0
        if judgement.why and at < judgement.until:
            text = f"{judgement.why}; nothing is sent until it changes, but one probe a minute"
            raise NotSent(Outcome.UNAUTHORIZED, text)
        return key

    def rests_until(self, at: float) -> float:
        """Until when the key is not sent, on the monotonic clock in seconds; 0 if it may be."""
        until = self._first_rests_until
        with suppress(RequestFailed):
            judgement = self._known(self._key.read())
            until = max(until, judgement.until) if judgement.why else until
        return until if at < until else 0.0

    def accepted(self, key: str, about: str = "") -> None:
        """Note that a key brought an answer about something: what was rejected since is barred."""
        judgement = self._known(key)
        judgement.barred |= judgement.suspects
        judgement.barred.discard(self._about(about))
        judgement.suspects.clear()
        judgement.works, judgement.why = True, ""  # be it an answer to what was sent before

    def rejected(self, key: str, at: float, why: str = REJECTED, about: str = "") -> None:
        """Note that the API rejected a key.

        Args:
            key: Which.
            at: When it was sent, on the monotonic clock in seconds.
            why: How the API says so.
            about: What was asked with it.
        """
        judgement, asked = self._known(key), self._about(about)
        if asked in judgement.barred:
            return
        judgement.suspects.add(asked)
        if judgement.works:
            judgement.works = False  # the next rejection is the key's
        else:
            judgement.until, judgement.why = at + self._rest, why

    def changed_since(self, key: str) -> bool:
        """Whether the operator gives another key by now."""
        try:
            return self._key.read() != key
        except RequestFailed:
            return False

    def _about(self, about: str) -> str:
        return f"{self._who}|{about}"
