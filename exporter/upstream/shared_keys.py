"""What is known about each API key, shared by all workspaces that use it. Pure.

A pause or a rejection concerns the key, whichever workspace sent it. If each workspace found out
for itself, every one of them would send a request in vain. So two things are shared: the pause that
the API requested, and the judgement of the key (see `key_health`).

After a start or a pause nobody knows how the API will respond. One workspace then goes first, and
the others wait for its result. The right to go first is a lease of ten seconds: if the first
request hangs, the next workspace takes over. Once a request has ended without a pause, all may
send.

A key is identified by its mark, a keyed digest. The secret of the digest is random and never leaves
the process, so a mark in the state file reveals nothing about the key. For the same reason, a mark
from another process cannot be compared; `knows` recognizes such a mark.

All times are seconds on the monotonic clock; `at` is the present, and `who` a workspace's name.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from exporter.upstream.key_health import Judgement

_FIRST: Final = 10.0
"""The longest that the others wait for the first workspace's result, in seconds."""

_TICK: Final = 0.1
MOST: Final = 20_000
"""Keys that are remembered; the least recently used one is forgotten first.

That is a rotated key. There are far fewer workspaces, and each looks up its keys all the time.
"""


@dataclass(slots=True)
class SharedPause:
    """The pause of one key, and which workspace goes first after it.

    Attributes:
        until: When the pause ends that the API requested.
    """

    until: float = 0.0
    _settled: bool = False
    _first: str = ""
    _lease: float = 0.0

    def wait(self, who: str, at: float) -> float:
        """Seconds until a workspace may send the key or must check again; 0 if it may send now."""
        if at < self.until:
            return self.until - at
        if self._settled or self._first in {"", who} or at >= self._lease:
            return 0.0
        return min(self._lease - at, _TICK)

    def sent(self, who: str, at: float) -> None:
        """Note that a workspace sends the key; it goes first if no other does."""
        if not self._settled and (not self._first or at >= self._lease):
            self._first, self._lease = who, at + _FIRST

    def doubt(self) -> None:
        """Let one workspace go first again, because nobody knows how the API will respond."""
        self._settled, self._first = False, ""

    def ended(self, until: float, at: float) -> None:
        """Note that a request has ended, and take over its workspace's pause."""
        self._settled = True
        self.recalled(until, at)

    def recalled(self, until: float, at: float) -> None:
        """Take over a workspace's pause if it is longer."""
        if until > max(self.until, at):
            self.until = until
            self.doubt()


class SharedKeys:
    """The pauses and judgements of all keys in use.

    Args:
        secret: Random bytes for the marks; they never leave the process.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._own = blake2b(b"own", key=secret, digest_size=8).hexdigest()
        # Caches as registries: an entry that was forgotten begins anew, which costs one request.
        self._pauses = lru_cache(MOST)(lambda *_: SharedPause())
        self._judgements = lru_cache(MOST)(lambda *_: Judgement())

    def mark(self, key: str) -> str:
        """A digest that identifies a key within this process and reveals nothing about it."""
        digest = blake2b(key.encode(), key=self._secret, digest_size=16).hexdigest()
        return f"{self._own}.{digest}"

    def knows(self, mark: str) -> bool:
        """Whether a mark was made with this secret; only then can it be compared to others."""
        return mark.startswith(f"{self._own}.")

    def pause(self, host: str, key: str) -> SharedPause:
        """The pause of a key at a host."""
        return self._pauses(host, self.mark(key))

    def judgement(self, host: str, use: str, key: str) -> Judgement:
        """The judgement of a key at a host, for one use; each use needs a scope of its own."""
        return self._judgements(host, use, self.mark(key))
