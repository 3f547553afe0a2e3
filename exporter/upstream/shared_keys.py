"""What the API makes of a key, whoever sends it: a pause that it asked for, and a rejection. Pure.

Workspaces that share a key share its fate: a pause that one of them is told is not asked for by
each of the others, and a key that is rejected is not tried by all in turn.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeVar

from exporter.upstream.key_health import Judgement

_FIRST: Final = 10.0
"""Seconds for which the others wait for the first answer to a key at most."""

_TICK: Final = 0.1
MOST: Final = 20_000
"""Keys that are remembered; whatever has not been looked at for longest is forgotten, as a rotated one.

Far above what workspaces there are, as each looks at its keys all the time.
"""


@dataclass(slots=True)
class SharedPause:
    """Until when one key is not sent, on the monotonic clock in seconds.

    After a start or a pause nobody knows what the API makes of the key now. Then one workspace
    goes first, and the others hear what it is told.

    Attributes:
        until: As the API asked.
    """

    until: float = 0.0
    _settled: bool = False
    _first: str = ""
    _lease: float = 0.0

    def wait(self, who: str, at: float) -> float:
        """Seconds until a workspace may send the key, or should look again; 0 if now."""
        if at < self.until:
            return self.until - at
        if self._settled or self._first in {"", who} or at >= self._lease:
            return 0.0
        return min(self._lease - at, _TICK)

    def sent(self, who: str, at: float) -> None:
        """Note that a workspace sends the key."""
        if not self._settled and (not self._first or at >= self._lease):
            self._first, self._lease = who, at + _FIRST

    def doubt(self) -> None:
        """Let one workspace go first again, as nobody knows what the API makes of the key."""
        self._settled, self._first = False, ""

    def ended(self, until: float, at: float) -> None:
        """Note that a request has ended, and until when its workspace pauses since."""
        self._settled = True
        self.recalled(until, at)

    def recalled(self, until: float, at: float) -> None:
        """Note until when a workspace pauses, as it knows from before."""
        if until > max(self.until, at):
            self.until = until
            self.doubt()


ValueT = TypeVar("ValueT", SharedPause, Judgement)


class SharedKeys:
    """All that is known of the keys in use.

    Args:
        secret: Random bytes that never leave the process.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._own = blake2b(b"own", key=secret, digest_size=8).hexdigest()
        self._pauses: OrderedDict[tuple[str, ...], SharedPause] = OrderedDict()
        self._judgements: OrderedDict[tuple[str, ...], Judgement] = OrderedDict()

    def mark(self, key: str) -> str:
        """A text that tells a key from others; without the secret, nothing can be told from it."""
        digest = blake2b(key.encode(), key=self._secret, digest_size=16).hexdigest()
        return f"{self._own}.{digest}"

    def knows(self, mark: str) -> bool:
        """Whether a mark is of these keys: those of another life can be compared to nothing."""
        return mark.startswith(f"{self._own}.")

    def pause(self, host: str, key: str) -> SharedPause:
        """The pause of a key at a host."""
        return _found(self._pauses, (host, self.mark(key)), SharedPause)

    def judgement(self, host: str, use: str, key: str) -> Judgement:
        """What a host makes of a key for some use: each has a scope of its own."""
        return _found(self._judgements, (host, use, self.mark(key)), Judgement)


def _found(
    known: OrderedDict[tuple[str, ...], ValueT], place: tuple[str, ...], new: type[ValueT]
) -> ValueT:
    """What is known of a key; nothing yet, if it is a new one."""
    with suppress(KeyError):
        known.move_to_end(place)
        return known[place]
    if len(known) >= MOST:
        known.popitem(last=False)
    known[place] = found = new()
    return found
