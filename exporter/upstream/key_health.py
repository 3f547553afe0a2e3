"""Whether the API accepts a key, so that a rejected key is not sent over and over.

A rejection may be about the key or about the request: the key may be valid, but not for one bot.
The API does not say which. So the history of the key decides:

- A key that has never worked rests after its first rejection.
- A key that works does not rest after one rejection. The request becomes a suspect, and the next
  result decides. If that is another rejection, the key rests.
- If the next result is an answer, the key works and the suspects are to blame. They are barred:
  the later rejections of a barred request say nothing about the key, until it is answered.

A key that rests is not sent. When the rest is over, the next request probes the key: if it is
rejected, the key rests again. A rotated key is another key with a history of its own, so it is sent
at once.

A request is about a bot, named by its id, or about the workspace, named by an empty text. All times
are seconds on the monotonic clock; `at` is the present, unless said otherwise.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from exporter.errors import NotSent, Outcome, RequestFailed
from exporter.upstream.api_key_file import KeyAtHand


@dataclass(slots=True)
class Judgement:
    """What the exporter knows about one key.

    Attributes:
        works: Whether the key has been answered, and not been rejected since.
        suspects: The requests that were rejected since the last answer.
        barred: The requests that are rejected while others with the same key are answered.
        until: When the rest ends.
        why: How the API rejected the key; empty if it did not.
    """

    works: bool = False
    suspects: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    until: float = 0.0
    why: str = ""


_SHORT_OF = 0.95
"""Factor on the rest: the rejected request's next turn must not come just before its end."""

REJECTED = "the key was rejected"


class KeyHealth:
    """A key, and whether the API has rejected it; the key itself never leaves memory.

    Args:
        key: The key, as last read from its file.
        rest: Seconds for which a rejected key is not sent; 95 % of it is kept.
        known: Looks up the judgement of a key, shared by all that use it.
        who: Distinguishes the requests of different users of a shared key.

    Attributes:
        key: The key, as last read from its file.
    """

    def __init__(
        self, key: KeyAtHand, rest: float, known: Callable[[str], Judgement], who: str = ""
    ) -> None:
        self.key = key
        self._rest = rest * _SHORT_OF
        self._known = known
        self._who = who
        self._first_rests_until = 0.0

    def rest(self, until: float) -> None:
        """Make the first key that is read rest, because a key rested before a restart.

        The state file identifies no key, so nobody knows whether the two are the same.
        """
        self._first_rests_until = until

    def usable(self, at: float) -> str:
        """The key to send now.

        Raises:
            RequestFailed: If there is no key.
            NotSent: If the key rests after a rejection.
        """
        key = self.key.read()
        judgement = self._known(key)
        if at < self._first_rests_until:
            judgement.until, judgement.why = self._first_rests_until, judgement.why or REJECTED
        self._first_rests_until = 0.0
        if judgement.why and at < judgement.until:
            text = f"{judgement.why}; until it changes, it is sent at most once a minute"
            raise NotSent(Outcome.UNAUTHORIZED, text)
        return key

    @property
    def valid(self) -> bool | None:
        """Whether the API accepts the key; None if it has not said so, or there is no key."""
        with suppress(RequestFailed):
            judgement = self._known(self.key.read())
            return False if judgement.why else judgement.works or None
        return None

    def rests_until(self, at: float) -> float:
        """When the key's rest ends; 0 if it does not rest."""
        until = self._first_rests_until
        with suppress(RequestFailed):
            judgement = self._known(self.key.read())
            until = max(until, judgement.until) if judgement.why else until
        return until if at < until else 0.0

    def accepted(self, key: str, about: str = "") -> None:
        """Note that a request with a key was answered, and bar the suspects."""
        judgement = self._known(key)
        judgement.barred |= judgement.suspects
        judgement.barred.discard(self._about(about))
        judgement.suspects.clear()
        judgement.works, judgement.why = True, ""  # even for an earlier request

    def rejected(self, key: str, at: float, why: str = REJECTED, about: str = "") -> None:
        """Note that the API rejected a key.

        Args:
            key: The key that was sent.
            at: When it was sent.
            why: How the API rejected it.
            about: What the request was about.
        """
        judgement, asked = self._known(key), self._about(about)
        if asked in judgement.barred:
            return
        judgement.suspects.add(asked)
        if judgement.works:
            judgement.works = False  # the next rejection blames the key
        else:
            judgement.until, judgement.why = at + self._rest, why

    def changed_since(self, key: str) -> bool:
        """Whether the current key differs from this one."""
        try:
            return self.key.read() != key
        except RequestFailed:
            return False

    def _about(self, about: str) -> str:
        return f"{self._who}|{about}"
