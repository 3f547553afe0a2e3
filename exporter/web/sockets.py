"""Sockets that listen, and who may come in through them: places, per address and in all."""

import contextlib
import errno
import logging
import math
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, Final, cast

from exporter.addresses import everywhere, joined, literal, party, split
from exporter.errors import StartError

log = logging.getLogger(__name__)

_TOLD_EVERY: Final = 10.0
BACKLOG: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take.

    Attributes:
        connections: How many there may be; never more than half of the file descriptors.
        per_address: How many of them from one IPv4 address, or one /64 of IPv6.
        head_seconds: How long a TLS handshake may take, and a request from its first byte.
        write_seconds: How long a client may take nothing of what it is sent, where the kernel
            can tell, which Linux's can.
        answer_seconds: How long a client may take over one answer, however steadily it reads: far
            above any scrape's timeout.
        keep_alive_seconds: How long a connection may be idle.
        grace_seconds: How long what is in flight may take when the end is wanted.
    """

    connections: int = 256
    per_address: int = 32
    head_seconds: float = 5
    write_seconds: float = 30
    answer_seconds: float = 300
    keep_alive_seconds: int = 75
    grace_seconds: int = 5


TRUSTED: Final = Limits(per_address=Limits().connections)
"""For a server whose clients are all on this machine, like the sandbox."""


IDLE: Final = 0
UNHEARD: Final = 1
DOUBTED: Final = 2
ANSWERED: Final = 3
"""What a connection does: nothing since its last answer; it has not asked anything yet, or not to
the end; it waits for the check of its password; it is being answered. The first is let go first."""

_RESERVED: Final = 4
"""Places for clients on this machine alone, so that a flood fails no health check."""

_HERE: Final = frozenset({party("127.0.0.1"), party("::1")})


class Crowd:
    """Who is connected, and whether one more may come in.

    Where there is no room, the party with the most places makes it, and of its connections the one
    that can best be spared. Nobody keeps others out, whatever they do with their connections. Whoever
    is being answered keeps their place, unless their party has many.

    Args:
        limits: How many connections there may be.
    """

    def __init__(self, limits: Limits) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = max(2, min(limits.connections, descriptors // 2))
        self._per_address = min(limits.per_address, self._limit // 2)
        self._few = self._per_address // 4
        self.patience = limits.write_seconds
        self._present: Counter[str] = Counter()
        self._places: dict[int, Admitted] = {}
        self._untold: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    def place(self, descriptor: int) -> "Admitted | None":
        """Whoever came in with this file descriptor."""
        return self._places.get(descriptor)

    def room(self, client: str) -> bool:
        """Whether there is room for one more of a client, perhaps as another one goes."""
        if self._present[client] >= self._per_address:
            return self._make_room(client, at_most=self._present[client])
        limit = self._limit + (_RESERVED if client in _HERE else 0)
        return len(self._places) < limit or self._make_room(client)

    def enter(self, admitted: "Admitted") -> None:
        """Count somebody in."""
        self._present[admitted.client] += 1
        self._places[admitted.fileno()] = admitted

    def leave(self, admitted: "Admitted") -> None:
        """Count somebody out, once."""
        if admitted.counted:
            admitted.counted = False
            self._places.pop(admitted.fileno(), None)
            self._present[admitted.client] -= 1
            if not self._present[admitted.client]:
                del self._present[admitted.client]

    def tell(self, what: str, reason: str) -> None:
        """Say what became of somebody, a line every few seconds at most."""
        self._untold[what] += 1
        if time.monotonic() - self._told.get(what, -_TOLD_EVERY) >= _TOLD_EVERY:
            log.warning(what, extra={"reason": reason, "count": self._untold.pop(what)})
            self._told[what] = time.monotonic()

    def _make_room(self, client: str, at_most: float = math.inf) -> bool:
        """Let go one of the client's own, or of a party that has more."""
        size, own = self._present, self._present[client]
        there = [
            one
            for one in self._places.values()
            if one.client == client or own < size[one.client] <= at_most
        ]
        there.sort(key=lambda one: (-size[one.client], *one.rank))
        for many, some in groupby(there, key=lambda one: size[one.client]):
            busy = []
            for one in some:
                # What has come and is not read yet is about to be answered.
                if (one.standing < DOUBTED and one.asks()) or one.standing == ANSWERED:
                    busy.append(one)
                else:
                    return self._let_go(one)
            if many > max(own, self._few):
                return self._let_go(max(busy, key=lambda one: one.standing))
        return False

    def _let_go(self, admitted: "Admitted") -> bool:
        self.leave(admitted)
        admitted.end()
        self.tell("connections closed to make room", "too many connections")
        return True


class Door(socket.socket):
    """A listening socket that turns away whom there is no room for.

    Here, and not where HTTP begins: a TLS handshake that never ends takes a descriptor too. And
    it never lets the event loop see that the descriptors have run out, which would be logged
    hundreds of times for each client that waits.

    Args:
        listening: What it takes the place of.
        crowd: Who is connected, through this door and others.
    """

    def __init__(self, listening: socket.socket, crowd: Crowd) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._crowd = crowd
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: If the next one was turned away.
            OSError: If not even that can be done; asyncio tries again in a second.
        """
        try:
            accepted, address = super().accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._turn_away()
                if self._spare >= 0:
                    raise ConnectionAbortedError from None
            raise
        client = party(address[0])
        if not self._crowd.room(client):
            accepted.close()
            self._crowd.tell("connections refused", "too many connections")
            raise ConnectionAbortedError
        return Admitted(accepted, self._crowd, client), address

    def _turn_away(self) -> None:
        """Take the next one with the descriptor that was kept for this, and close it."""
        self._close_spare()
        with contextlib.suppress(OSError):  # another thread was faster, or nobody waits any more
            super().accept()[0].close()
        with contextlib.suppress(OSError):  # another thread was faster here too
            self._spare = os.open(os.devnull, os.O_RDONLY)
        self._crowd.tell("connections refused", "no more file descriptors")

    def close(self) -> None:
        """Close it, and what it kept."""
        self._close_spare()
        super().close()

    def _close_spare(self) -> None:
        """Close it once: its number may be somebody else's soon."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)


_turns: Final = count()


class Admitted(socket.socket):
    """A connection that is counted until it is closed, or must go.

    Attributes:
        client: Who it is for the limits.
        counted: Whether it still is.
        abort: Ends it where nobody reads from it at the moment; none during a TLS handshake.
        standing: What it does at the moment.
        rank: The lower, the better it can be spared.
    """

    def __init__(self, accepted: socket.socket, crowd: Crowd, client: str) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._crowd = crowd
        self.client = client
        self.counted = True
        self.abort: Callable[[], None] | None = None
        self.stands(UNHEARD)
        # asyncio does so only where the protocol's number is told. Without it the body of a small
        # answer waits until the client has acknowledged the head, which takes Linux 40 ms.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # The kernel sees what no protocol does: whether the client takes anything, over TLS
            # too, and after the connection is closed on our side with something left to send.
            milliseconds = int(crowd.patience * 1000)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        crowd.enter(self)

    def stands(self, standing: int) -> None:
        """Learn what it does from now on.

        Of those whose password waits to be checked the newest is spared first: the oldest is next.
        """
        if standing != getattr(self, "standing", None):
            self.standing, turn = standing, next(_turns)
            self.rank = standing, -turn if standing == DOUBTED else turn

    def asks(self) -> bool:
        """Whether something has come that is not read yet."""
        try:
            return bool(self.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def end(self) -> None:
        """Have it closed by whoever has it."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        if self.abort:
            self.abort()

    def close(self) -> None:
        """Close it and make room."""
        self.abort = None
        if self.fileno() >= 0:
            self._crowd.leave(self)
        super().close()


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Sockets that listen on these addresses.

    Raises:
        StartError: If one cannot be had; says which and why.
    """
    sockets: list[socket.socket] = []
    for text in addresses:
        try:
            sockets.append(_listening(*split(text)))
        except (OSError, ValueError) as error:
            for opened in sockets:
                opened.close()
            raise StartError(f"cannot listen on {text}: {_reason(error)}") from None
    return sockets


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; on one address of a name, of IPv4 if it has any, as Go's programs do."""
    if everywhere(host) and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    if not host:
        return socket.create_server(("", port), backlog=BACKLOG)
    host = str(literal(host) or host)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    # All of it: an address of one link alone has the link's number at its end.
    return socket.create_server(cast(tuple[str, int], address), family=family, backlog=BACKLOG)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeError):
        return "no such name"
    if isinstance(error, ValueError):
        return str(error)
    # Python adds the address to the system's words; a failed look-up has its own, below 0.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror).partition(" (")[0]


def bound(listening: socket.socket) -> str:
    """Where a socket listens, as `host:port`."""
    host, port, *others = listening.getsockname()
    link = others[1] if others else 0
    return joined(f"{host}%{socket.if_indextoname(link)}" if link else host, port)
