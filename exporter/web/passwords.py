"""Checks passwords against bcrypt hashes: one at a time, off the event loop, fair to all clients.

bcrypt is slow by design, so guessing passwords costs the exporter CPU time. Four rules keep
guesses from delaying scrapes and from revealing anything:

- A single thread checks passwords. Guessing therefore uses at most one core, and never the event
  loop.
- Successful checks are cached, so a scraper with the right password pays for bcrypt once. Failures
  are not cached, so guesses cannot evict anything. The cache key is an HMAC of user, hash and
  password: no password is stored, and a changed hash invalidates the entry.
- Checks that wait are queued per client and served round-robin. A client waits for at most one
  check of each other client, however many others queue. The queue of a client is limited; beyond
  that, the check fails with `Busy`.
- A failed check takes as long as one with the highest cost of all hashes, whether the user exists
  or not. So the response time reveals no user names.
"""

import asyncio
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import bcrypt

WAITING: Final = 32
"""Maximum queued checks of one client; further ones are refused with a request to retry.

It equals the connections that a client may have. So clients behind a shared address are not
refused because one of them guesses, as long as they all fit into these connections. An attacker
who uses all of them and opens more does lock out the others behind that address.
"""

REMEMBERED: Final = 100
_LONGEST: Final = 72  # bytes that bcrypt looks at


class Busy(Exception):
    """Too many checks of one client are queued."""


class _Turns:
    """A mutex whose waiters are served round-robin by client."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncGenerator[None]:
        """Hold the mutex.

        Raises:
            Busy: If the client's queue is full.
        """
        if self._taken:
            await self._wait(client)
        self._taken = True
        try:
            yield
        finally:
            self._next()

    async def _wait(self, client: str) -> None:
        line = self._waiting.setdefault(client, deque())
        if len(line) >= WAITING:
            raise Busy
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._next()  # cancelled just as its turn came; pass the turn on
            elif turn in line:
                line.remove(turn)
                if not line:
                    del self._waiting[client]
            raise

    def _next(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            client, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[client] = line
            if not turn.done():  # else the waiter is cancelled, but has not run yet
                turn.set_result(None)
                self._taken = True


class Passwords:
    """Checks the passwords of users.

    Attributes:
        users: The bcrypt hash of each user's password; may be replaced at any time.
    """

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        self.users = users
        self._worker = ThreadPoolExecutor(1, "passwords")
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._turns = _Turns()

    async def right(self, name: bytes, password: bytes, client: str = "") -> bool:
        """Whether the user exists and has this password; an unknown user takes as long.

        Raises:
            Busy: If the client's queue is full.
        """
        if self._remembers(name, password):
            return True
        async with self._turns.turn(client):
            if self._remembers(name, password):  # an equal check has finished meanwhile
                return True
            hashed = self.users.get(name)
            dearest = max(map(_cost, self.users.values()), default=4)
            checked = self._worker.submit(_checked, password, hashed, dearest)
            if await asyncio.wrap_future(checked) and hashed:
                self._right[self._digest(name, hashed, password)] = None
                if len(self._right) > REMEMBERED:
                    self._right.popitem(last=False)
                return True
        return False

    def _remembers(self, name: bytes, password: bytes) -> bool:
        """Whether the password was found right before and the user's hash is still the same."""
        digest = self._digest(name, self.users.get(name, b""), password)
        if digest in self._right:
            self._right.move_to_end(digest)
            return True
        return False

    def _digest(self, *parts: bytes) -> bytes:
        """A keyed digest of the parts, each with its length, so that no two inputs collide."""
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, told, "sha256")


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def _checked(password: bytes, hashed: bytes | None, dearest: int) -> bool:
    """Whether the password matches the hash; a failure takes as long as the costliest hash.

    So the time reveals neither whether the user exists nor the cost of the hash. Each cost takes
    twice as long as the one before. So a failed check at cost c is followed by one at each cost
    from c to `dearest` - 1. All of them together take as long as a single one at `dearest`.
    """
    fits = len(password) <= _LONGEST and b"\0" not in password
    password = password.replace(b"\0", b"")[:_LONGEST]
    if hashed and bcrypt.checkpw(password, hashed) and fits:
        return True
    for others in range(_cost(hashed), dearest) if hashed else [dearest]:
        bcrypt.checkpw(password, b"$2b$%02d$" % others + b"." * 53)  # matches no password
    return False
