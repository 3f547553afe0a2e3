"""A key on its way to the API: one that was rejected is not sent again and again."""

from exporter.config import ApiKey
from exporter.errors import NotSent, Outcome, RequestFailed

_SHORT_OF = 0.95
"""Of an interval: the next turn of the request that was rejected must not fall just short of it."""


class Credential:
    """A key, and whether the API has rejected it; what it is stays in memory.

    Args:
        key: As the operator gives it.
        interval: Seconds for which a rejected key is not sent again.
    """

    def __init__(self, key: ApiKey, interval: float) -> None:
        self._key = key
        self._rest = interval * _SHORT_OF
        self._rejected = ""
        self._until = 0.0

    def usable(self, at: float) -> str:
        """The key to send at a time of the monotonic clock, in seconds.

        Raises:
            RequestFailed: If there is none.
            NotSent: If the API has rejected it not long ago.
        """
        key = self._key.read()
        if key == self._rejected and at < self._until:
            text = "the key was rejected; nothing is sent until it changes or an interval is over"
            raise NotSent(Outcome.UNAUTHORIZED, text)
        return key

    def rejected(self, key: str, at: float) -> None:
        """Note that the API rejected a key that was sent at a time."""
        self._rejected, self._until = key, at + self._rest

    def changed_since(self, key: str) -> bool:
        """Whether the operator gives another key by now."""
        try:
            return self._key.read() != key
        except RequestFailed:
            return False
