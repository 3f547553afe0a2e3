"""Passwords against their bcrypt hashes: one check at a time, off the loop, each client in its turn.

Only successes are remembered: whoever guesses can push nobody out and make nobody wait who has
been let in before. Whoever has not waits for one check of each other client at most.
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
"""Checks of one client that may wait; whoever comes on top is told to come again.

As many as it may have connections: as long as there are no more of them, nobody behind a shared
address is turned away because another one behind it guesses. Whoever guesses over all of its
connections, and opens more, does lock out the others of that address.
"""

REMEMBERED: Final = 100
_LONGEST: Final = 72  # bytes that bcrypt looks at


class Busy(Exception):
    """Too many passwords of one client wait to be checked."""


class _Turns:
    """One at a time; of those who wait, one of each client after the other."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncGenerator[None]:
        """Wait for a turn, and have it.

        Raises:
            Busy: If too many of the client wait already.
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
                self._next()  # it came as this one went
            elif turn in line:
                line.remove(turn)
                if not line and self._waiting.get(client) is line:
                    del self._waiting[client]
            raise

    def _next(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            client, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[client] = line
            if not turn.done():  # else it is gone, and has not noticed yet
                turn.set_result(None)
                self._taken = True


class Passwords:
    """Tells whether a password is a user's.

    Attributes:
        users: The hash of each user's password; may be replaced at any time.
    """

    def __init__(self, users: Mapping[bytes, bytes]) -> None:
        self.users = users
        self._worker = ThreadPoolExecutor(1, "passwords")
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._turns = _Turns()

    def remembers(self, name: bytes, password: bytes) -> bool:
        """Whether the password has been found right before, and still is."""
        digest = self._digest(name, self.users.get(name, b""), password)
        if digest in self._right:
            self._right.move_to_end(digest)
            return True
        return False

    async def right(self, name: bytes, password: bytes, client: str = "") -> bool:
        """Whether the user exists and the password is theirs; a stranger's takes as long.

        Args:
            name: The user's.
            password: What was given as theirs.
            client: Who asks: nobody waits for more than one check of each other client.

        Raises:
            Busy: If too many of the client's wait already.
        """
        if self.remembers(name, password):
            return True
        async with self._turns.turn(client):
            if self.remembers(name, password):  # since it waits, as the same was asked before
                return True
            hashed = self.users.get(name)
            checked = self._worker.submit(_checked, password, hashed, _dearest(self.users))
            if await asyncio.wrap_future(checked) and hashed:
                self._right[self._digest(name, hashed, password)] = None
                if len(self._right) > REMEMBERED:
                    self._right.popitem(last=False)
                return True
        return False

    def _digest(self, *parts: bytes) -> bytes:
        """What the parts and nothing else give: no password is kept, no joining confuses two."""
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, told, "sha256")


def _dearest(users: Mapping[bytes, bytes]) -> int:
    """The highest cost of the users' hashes."""
    return max((_cost(hashed) for hashed in users.values()), default=4)


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def _checked(password: bytes, hashed: bytes | None, dearest: int) -> bool:
    """Whether the password is the hash's; what is wrong takes as long as the dearest of all hashes.

    So neither that a name is known shows, nor how dear its hash is. Each cost is twice the one
    before: all from some cost on and that one again are as dear as the next one alone.
    """
    fits = len(password) <= _LONGEST and b"\0" not in password
    password = password.replace(b"\0", b"")[:_LONGEST]
    if hashed and bcrypt.checkpw(password, hashed) and fits:
        return True
    for others in range(_cost(hashed), dearest) if hashed else [dearest]:
        bcrypt.checkpw(password, b"$2b$%02d$" % others + b"." * 53)  # what nothing matches
    return False
