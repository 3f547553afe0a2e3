"""A key on its way to the API: one that was rejected is not sent again and again.

What is rejected may be the key, or what was asked with it: a bot that it must not read, say. A key
that works for others is not to blame, and rests only when it is rejected twice in a row.
"""

from typing import Protocol

from exporter.errors import NotSent, Outcome, RequestFailed

_SHORT_OF = 0.95
"""Of the rest: the next turn of the request that was rejected must not fall just short of it."""


class Key(Protocol):
    """A key as the operator gives it."""

    def read(self) -> str:
        """The key to send now.

        Raises:
            RequestFailed: If there is none.
        """


class Credential:
    """A key, and whether the API has rejected it; what it is stays in memory.

    Args:
        key: As the operator gives it.
        rest: Seconds for which a rejected key is not sent again.
    """

    def __init__(self, key: Key, rest: float) -> None:
        self._key = key
        self._rest = rest * _SHORT_OF
        self._works = ""
        self._suspects: set[str] = set()
        self._barred: set[str] = set()
        self._rejected = ""
        self._why = ""
        self._until = 0.0

    def usable(self, at: float) -> str:
        """The key to send at a time of the monotonic clock, in seconds.

        Raises:
            RequestFailed: If there is none.
            NotSent: If the API has rejected it not long ago.
        """
        key = self._key.read()
        if key == self._rejected and at < self._until:
            text = f"{self._why}; nothing is sent until it changes, but one probe a minute"
            raise NotSent(Outcome.UNAUTHORIZED, text)
        return key

    def accepted(self, key: str, about: str = "") -> None:
        """Note that a key brought an answer about something: what was rejected since is barred."""
        self._barred = (self._barred | self._suspects) - {about}
        self._suspects.clear()
        self._works = key
        if key == self._rejected:  # an answer to what was sent before
            self._rejected = ""

    def rejected(
        self, key: str, at: float, why: str = "the key was rejected", about: str = ""
    ) -> None:
        """Note that the API rejected a key.

        Args:
            key: Which.
            at: When it was sent, on the monotonic clock in seconds.
            why: How the API says so.
            about: What was asked with it.
        """
        if about in self._barred:
            return
        self._suspects.add(about)
        if key == self._works:
            self._works = ""  # the next rejection is the key's
        else:
            self._rejected, self._until, self._why = key, at + self._rest, why

    def changed_since(self, key: str) -> bool:
        """Whether the operator gives another key by now."""
        try:
            return self._key.read() != key
        except RequestFailed:
            return False
