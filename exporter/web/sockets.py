"""Listening sockets, and admission control for the connections that they accept.

A scraper must always get a connection, whatever other clients do with theirs. So connections are
limited in total and per client. A client is an IPv4 address or the /64 of an IPv6 address, because
one IPv6 subscriber may use every address of a /64. A few additional places are reserved for
loopback, so that a flood from outside cannot fail a local health check.

If a limit is reached, a new connection is not simply refused. That would let a client with idle
connections keep all others out. Instead `Crowd` closes an existing connection to make room:

1. The candidates are the connections of the new connection's own client, and of clients that hold
   more than it does. At the limit per client, only its own are candidates. So a client with many
   connections can never push out one with few.
2. The clients with the most connections are tried first.
3. Among their connections, idle ones go first, then those that have not sent a complete request,
   then those that wait for a password check. Within a kind the oldest goes first, except that the
   newest password check goes first, because the oldest one is next in the queue.
4. A connection that is being answered is busy, and so is one with unread data, whose request is
   about to be answered. Busy connections are spared, unless all connections of a client are busy
   and it has many. Many means more than the new client has, and more than a quarter of the limit
   per client.

If no candidate can go, the new connection is refused.

Admission happens when a connection is accepted, before TLS and HTTP. A TLS handshake that never
ends uses a file descriptor, too.
"""

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

from exporter.errors import StartError
from exporter.network_addresses import everywhere, joined, literal, party, split

log = logging.getLogger(__name__)

_TOLD_EVERY: Final = 10.0
BACKLOG: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits for clients.

    Attributes:
        connections: Maximum connections; never more than half of the file descriptors.
        per_address: Maximum connections from one IPv4 address, or one IPv6 /64.
        head_seconds: Timeout of the TLS handshake, and of receiving a request.
        write_seconds: Timeout of a client that reads nothing of its answer. Only the kernel can
            tell, and only Linux's does.
        answer_seconds: Timeout of an answer as a whole, however steadily the client reads it; far
            above any scrape timeout.
        keep_alive_seconds: Timeout of an idle connection.
        grace_seconds: Grace period of requests in flight on shutdown.
    """

    connections: int = 256
    per_address: int = 32
    head_seconds: float = 5
    write_seconds: float = 30
    answer_seconds: float = 300
    keep_alive_seconds: int = 75
    grace_seconds: int = 5


TRUSTED: Final = Limits(per_address=Limits().connections)
"""Limits for a server whose clients are all on this machine, like the sandbox."""


IDLE: Final = 0
UNHEARD: Final = 1
DOUBTED: Final = 2
ANSWERED: Final = 3
"""What a connection is doing, in the order in which connections are closed: idle since its last
answer; no complete request yet; waiting for a password check; being answered."""

_RESERVED: Final = 4
"""Additional places for loopback clients, so that a flood cannot fail a health check."""

_HERE: Final = frozenset({party("127.0.0.1"), party("::1")})


class Crowd:
    """The open connections, and the decision whether one more is admitted.

    Attributes:
        places: The connections that count, by file descriptor.
        patience: The write timeout, in seconds.
    """

    def __init__(self, limits: Limits) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = max(2, min(limits.connections, descriptors // 2))
        self._per_address = min(limits.per_address, self._limit // 2)
        self._few = self._per_address // 4
        self.patience = limits.write_seconds
        self.places: dict[int, Admitted] = {}
        self._untold: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    def room(self, client: str) -> bool:
        """Whether a client gets one more connection; closes another one to make room if needed."""
        size = Counter(one.client for one in self.places.values())
        if size[client] >= self._per_address:
            return self._make_room(client, size, at_most=size[client])
        limit = self._limit + (_RESERVED if client in _HERE else 0)
        return len(self.places) < limit or self._make_room(client, size)

    def tell(self, what: str, reason: str) -> None:
        """Log an event with the number of occurrences, at most once every few seconds."""
        self._untold[what] += 1
        if time.monotonic() - self._told.get(what, -_TOLD_EVERY) >= _TOLD_EVERY:
            log.warning(what, extra={"reason": reason, "count": self._untold.pop(what)})
            self._told[what] = time.monotonic()

    def _make_room(self, client: str, size: Counter[str], at_most: float = math.inf) -> bool:
        """Close a connection of the client, or of one that has more; False if none can go."""
        own = size[client]
        there = [
            one
            for one in self.places.values()
            if one.client == client or own < size[one.client] <= at_most
        ]
        there.sort(key=lambda one: (-size[one.client], *one.rank))
        for many, some in groupby(there, key=lambda one: size[one.client]):
            busy = []
            for one in some:
                # A request that has arrived but is not read yet is about to be answered.
                if (one.standing < DOUBTED and one.asks()) or one.standing == ANSWERED:
                    busy.append(one)
                else:
                    return self._let_go(one)
            if many > max(own, self._few):
                return self._let_go(max(busy, key=lambda one: one.standing))
        return False

    def _let_go(self, admitted: "Admitted") -> bool:
        self.places.pop(admitted.fileno(), None)
        admitted.end()
        self.tell("connections closed to make room", "too many connections")
        return True


class Door(socket.socket):
    """A listening socket that only accepts connections that `Crowd` admits.

    It also handles the exhaustion of file descriptors. asyncio would log that error hundreds of
    times for each waiting client. The socket keeps a spare descriptor instead: it frees it to
    accept the connection, and closes that at once.
    """

    def __init__(self, listening: socket.socket, crowd: Crowd) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._crowd = crowd
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection and its peer address.

        Raises:
            ConnectionAbortedError: If the connection was refused.
            OSError: If it could not even be refused; asyncio retries after a second.
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
        """Accept the next connection with the spare descriptor, and close it."""
        self._close_spare()
        with contextlib.suppress(OSError):  # taken by another thread, or the client is gone
            super().accept()[0].close()
        with contextlib.suppress(OSError):  # taken by another thread
            self._spare = os.open(os.devnull, os.O_RDONLY)
        self._crowd.tell("connections refused", "no more file descriptors")

    def close(self) -> None:
        """Close the socket and the spare descriptor."""
        self._close_spare()
        super().close()

    def _close_spare(self) -> None:
        """Close the spare descriptor only once, because its number may be reused."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)


_turns: Final = count()


class Admitted(socket.socket):
    """A connection that counts towards the limits until it is closed or has to make room.

    Attributes:
        client: The client to which it counts.
        abort: Aborts its transport, even while reading is paused; None during a TLS handshake.
        standing: What it is doing: `IDLE`, `UNHEARD`, `DOUBTED` or `ANSWERED`.
        rank: The order in which connections make room, lowest first.
    """

    def __init__(self, accepted: socket.socket, crowd: Crowd, client: str) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._crowd = crowd
        self.client = client
        self.abort: Callable[[], None] | None = None
        self.stands(UNHEARD)
        # asyncio sets this only if the socket was created with a protocol number. Without it, the
        # body of a small answer waits for the client's delayed ACK of the head: 40 ms on Linux.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Only the kernel knows whether the client acknowledges data. This works over TLS, too,
            # and after this side has closed the connection with data left to send.
            milliseconds = int(crowd.patience * 1000)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        crowd.places[self.fileno()] = self

    def stands(self, standing: int) -> None:
        """Record what the connection is doing from now on."""
        if standing != getattr(self, "standing", None):
            self.standing, turn = standing, next(_turns)
            # The newest password check goes first, because the oldest is next in the queue.
            self.rank = standing, -turn if standing == DOUBTED else turn

    def asks(self) -> bool:
        """Whether the socket has unread data."""
        try:
            return bool(self.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def end(self) -> None:
        """Make the owner of the socket close it."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        if self.abort:
            self.abort()

    def close(self) -> None:
        """Close the socket and stop counting it."""
        self.abort = None
        self._crowd.places.pop(self.fileno(), None)
        super().close()


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Sockets that listen on these addresses.

    Raises:
        StartError: If an address cannot be used; the message says which and why.
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
    """A listening socket; for a name, on one of its addresses, preferably IPv4 as in Go."""
    if everywhere(host) and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    if not host:
        return socket.create_server(("", port), backlog=BACKLOG)
    host = str(literal(host) or host)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    # The whole tuple: a link-local address has its scope id at the end.
    return socket.create_server(cast(tuple[str, int], address), family=family, backlog=BACKLOG)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeError):
        return "no such name"
    if isinstance(error, ValueError):
        return str(error)
    # Python's message also contains the address. Errors of a DNS look-up have negative numbers
    # and a message of their own.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror).partition(" (")[0]


def bound(listening: socket.socket) -> str:
    """The address of a listening socket, as `host:port`."""
    host, port, *others = listening.getsockname()
    link = others[1] if others else 0
    return joined(f"{host}%{socket.if_indextoname(link)}" if link else host, port)
