"""Passwords against their bcrypt hashes: one check at a time, off the loop, and few waiting.

Only successes are remembered: whoever guesses can push nobody out and make nobody wait who has
been let in before.
"""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

WAITING: Final = 8
"""Checks under way or waiting; whoever comes on top is told to come again."""

REMEMBERED: Final = 100
_LONGEST: Final = 72  # bytes that bcrypt looks at


class Busy(Exception):
    """Too many passwords wait to be checked."""


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
        self._running: dict[bytes, asyncio.Future[bool]] = {}

    async def right(self, name: bytes, password: bytes) -> bool:
        """Whether the user exists and the password is theirs; a stranger's takes as long.

        Raises:
            Busy: If too many wait already.
        """
        known = name in self.users
        hashed = self.users[name] if known else self._stand_in(name)
        if len(password) > _LONGEST or b"\0" in password:
            known, password = False, password.replace(b"\0", b"")[:_LONGEST]
        remembered = self._digest(name, hashed, password)
        if known and remembered in self._right:
            self._right.move_to_end(remembered)
            return True
        if await self._matches(remembered, hashed, password) and known:
            self._right[remembered] = None
            if len(self._right) > REMEMBERED:
                self._right.popitem(last=False)
            return True
        return False

    async def _matches(self, digest: bytes, hashed: bytes, password: bytes) -> bool:
        """Check in the worker; the same question at the same time is asked once."""
        running = self._running.get(digest)
        if running is None:
            if len(self._running) >= WAITING:
                raise Busy
            checked = self._worker.submit(bcrypt.checkpw, password, hashed)
            running = self._running[digest] = asyncio.wrap_future(checked)
            running.add_done_callback(lambda _: self._running.pop(digest))
        return await asyncio.shield(running)

    def _stand_in(self, name: bytes) -> bytes:
        """A hash that nothing matches, for somebody unknown: as dear as one of the users' own."""
        costs = sorted(hashed[4:6] for hashed in self.users.values())
        return b"$2b$%b$" % costs[hash(name) % len(costs)] + b"." * 53

    def _digest(self, *parts: bytes) -> bytes:
        """What the parts and nothing else give: no password is kept, no joining confuses two."""
        told = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, told, "sha256")
