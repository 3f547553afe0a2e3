"""uvicorn as this exporter wants it: sockets of ours, deadlines, no banner, an end within seconds."""

import asyncio
import contextlib
import errno
import logging
import math
import os
import re
import resource
import socket
import ssl
import sys
import time
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.addresses import everywhere, joined, literal, party, split
from exporter.errors import StartError
from exporter.tls import Current
from exporter.web_config import Kept

log = logging.getLogger(__name__)

_TOLD_EVERY: Final = 10.0
_BACKLOG: Final = 512

_READ: Final = 16_384
"""Bytes that are read from a client at a time.

With what h11 keeps of an unfinished head, no client makes this process hold over twice as much of
what it sends, and no head that is parsed is larger. asyncio alone would read 256 KiB.
"""

_LINES: Final = 256
"""Lines of a request's head: far above what any client sends, and each takes as long as a long one."""

_PIPELINE_DELAY: Final = 0.25
"""Seconds until a pipelined request is answered: one that came before the answer to the last.

No scraper pipelines. Without this, hundreds of connections with thousands of requests each would
keep the event loop busy for minutes.
"""

_HEAD_ENDS: Final = re.compile(rb"\n\r?\n")


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


class _Alarm:
    """Rings after some seconds, unless it is stopped."""

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self._seconds = seconds
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Count the seconds, from now unless they are counted already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._ring)

    def stop(self) -> None:
        """Forget it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Together:
    """A transport that sends at once what is written in one turn of the event loop.

    uvicorn writes the head of an answer and its body one after the other: two packets, of which
    the first wakes the client for nothing.

    Args:
        transport: The connection's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it when the turn is over."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Send what is left, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """One connection, with an end to each of its waits.

    Nothing of it outlives it: no timer, no task, no ring of references that would keep its buffers
    until the garbage collector comes by.

    Args:
        limits: What clients may take.
        crowd: Learns what it does at the moment, as some are let go to make room.
        tls: The TLS context in force, None for plain HTTP.
        room: Takes what is read; the same for all, as each hands it on at once.
        config: uvicorn's.
        state: uvicorn's.
    """

    def __init__(
        self,
        limits: Limits,
        crowd: "Crowd",
        tls: Current | None,
        room: bytearray,
        config: uvicorn.Config,
        state: ServerState,
    ) -> None:
        super().__init__(config, state, {"doubt": self._doubt})
        self._limits = limits
        self._crowd = crowd
        self._tls = tls
        self._room = room
        self._answered_by = self.app
        self.app = self._answer
        self._task: asyncio.Task[None] | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._gone = self._doubted = self._bodiless = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let in whom the certificate allows."""
        super().connection_made(cast(asyncio.Transport, _Together(transport)))
        self._head = _Alarm(self._limits.head_seconds, transport.abort)
        self._slow = _Alarm(self._limits.answer_seconds, transport.abort)
        self._place = self._crowd.place(transport.get_extra_info("socket").fileno())
        if self._place:
            self._place.abort = transport.abort
        # Whatever the kernel does not take pauses the writer: one piece of a page waits, no more.
        transport.set_write_buffer_limits(high=1, low=0)
        secured = transport.get_extra_info("ssl_object")
        if not self._in_force() or (secured and not secured.context.admits(secured.getpeercert())):
            transport.abort()
        else:
            self._head.start()

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - no more than this
        """Where to put what comes."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Read on."""
        self.data_received(bytes(memoryview(self._room)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Read on; a request that has begun must be there in time."""
        if self.transport.is_closing():
            return  # over TLS, something may still come
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._head.start()
        else:
            self._head.stop()
        self._stand()

    def handle_events(self) -> None:
        """Take what has come, but for empty lines before a request."""
        if self.conn.their_state is h11.IDLE:
            unread = self.conn._receive_buffer  # noqa: SLF001 - h11 has no other door
            held = unread._data  # noqa: SLF001
            while held.startswith((b"\r\n", b"\n")):
                unread.maybe_extract_at_most(1 + held.startswith(b"\r"))
            if held == b"\r":
                return
            self._bodiless = held.startswith(b"HEAD ")
            end = held.find(b"\r\n\r\n")
            if held.count(b"\n", 0, len(held) if end < 0 else end) > _LINES:
                self.send_400_response("Too many header fields.")
                return
        super().handle_events()

    def on_response_complete(self) -> None:
        """Wait for the next request, of which a part may be there already."""
        self._slow.stop()
        if self._pipelined:
            loop = asyncio.get_running_loop()
            self._delayed = loop.call_later(_PIPELINE_DELAY, self._take_next)
            self._stand()
        else:
            self._take_next()

    def _take_next(self) -> None:
        super().on_response_complete()
        if self._unread and not self._answering:
            self._head.start()
        self._stand()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything; uvicorn forgets its timer where the client has reset."""
        self._gone = True
        self._head.stop()
        self._slow.stop()
        if self._delayed:
            self._delayed.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.transport.close()  # over TLS, the transport holds on to us until it is told twice
        if self._task:
            self._task.cancel()  # what it waits for, nobody waits for any more
        self.app, self.app_state = self._answered_by, {}
        if self.cycle is not None:
            self.cycle.scope["state"].clear()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun already, and say no more."""
        if error := sys.exc_info()[1]:
            error.__traceback__ = None  # h11 raises it from a frame that holds it: a ring
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = b"" if self._bodiless else msg.encode() + b"\n"
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True  # what it was about to answer goes nowhere
        self.transport.close()

    def renew(self) -> None:
        """End it, where it was let in by a TLS context that is no longer in force."""
        if not self._in_force():
            self.shutdown()  # after the answer that is under way

    def _in_force(self) -> bool:
        secured = self.transport.get_extra_info("ssl_object")
        return not (secured and self._tls) or secured.context is self._tls.context

    async def _answer(self, *request: Any) -> None:  # noqa: ANN401 - scope, receive and send
        """Have one request answered, for as long as the client is there and may be."""
        if self._gone or not self._in_force():
            self.cycle.disconnected = True
            self.transport.abort()
            return
        self._task = asyncio.current_task()
        self._slow.start()
        try:
            await self._answered_by(*request)
        except asyncio.CancelledError:
            if not self._gone:
                raise
        finally:
            self._task = None

    @property
    def _unread(self) -> bool:
        return bool(self.conn._receive_buffer)  # noqa: SLF001 - its other door copies all of it

    @property
    def _pipelined(self) -> bool:
        """Whether the head of another request is there already."""
        held = self.conn._receive_buffer._data  # noqa: SLF001 - h11 has no other door
        return bool(_HEAD_ENDS.search(held))

    @property
    def _answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _doubt(self, *, doubted: bool) -> None:
        """Learn whether the client of the request under way waits to be known."""
        self._doubted = doubted
        self._stand()

    def _stand(self) -> None:
        """Tell what it does at the moment."""
        if self._place is None or self._gone:
            return
        if self._answering and self.conn.their_state is not h11.SEND_BODY:
            self._place.stands(DOUBTED if self._doubted else ANSWERED)
        else:
            waits = self.conn.their_state is h11.IDLE and not self._unread
            self._place.stands(IDLE if waits else UNHEARD)


class Secured(sslproto.SSLProtocol):
    """asyncio's TLS, of which nothing waits for the garbage collector and little is read at a time.

    A handshake that fails would leave a ring: the frame that tells of it, and its exception.
    """

    max_size = _READ

    def _fatal_error(self, exc: BaseException, message: str = "") -> None:
        super()._fatal_error(exc, message)
        exc.__traceback__ = None


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
        self._places: dict[int, _Admitted] = {}
        self._untold: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    def place(self, descriptor: int) -> "_Admitted | None":
        """Whoever came in with this file descriptor."""
        return self._places.get(descriptor)

    def room(self, client: str) -> bool:
        """Whether there is room for one more of a client, perhaps as another one goes."""
        if self._present[client] >= self._per_address:
            return self._make_room(client, at_most=self._present[client])
        limit = self._limit + (_RESERVED if client in _HERE else 0)
        return len(self._places) < limit or self._make_room(client)

    def enter(self, admitted: "_Admitted") -> None:
        """Count somebody in."""
        self._present[admitted.client] += 1
        self._places[admitted.fileno()] = admitted

    def leave(self, admitted: "_Admitted") -> None:
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

    def _let_go(self, admitted: "_Admitted") -> bool:
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
        return _Admitted(accepted, self._crowd, client), address

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


class _Admitted(socket.socket):
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


class Server(uvicorn.Server):
    """Serves an application on sockets that are bound already, until told to stop.

    Args:
        app: The application.
        kept: The web configuration, for TLS and for headers; none where left out.
        limits: What clients may take.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        kept: Kept | None = None,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,  # over h11, the stricter parser
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="error",  # what clients do wrong is no news, and as much as they like
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=limits.keep_alive_seconds,
                # After the grace connections are cut, and whoever wrote to them notices.
                timeout_graceful_shutdown=limits.grace_seconds + 2,
            )
        )
        self._kept = kept
        self._tls: Current | None = None
        if kept and kept.current.tls:
            self._tls = Current(ssl.PROTOCOL_TLS_SERVER)
            self._tls.context = kept.current.tls
        self._limits = limits
        self._crowd = Crowd(limits)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever runs server and poller together."""
        yield

    async def serve_until(self, stop: asyncio.Event, sockets: list[socket.socket]) -> None:
        """Serve until the event is set, then let what is in flight end."""
        doors: list[socket.socket] = [Door(listening, self._crowd) for listening in sockets]
        serving = asyncio.ensure_future(self.serve(doors))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            self.should_exit = True
            await serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; as uvicorn does, which has no setting for how long a handshake may take."""
        loop = asyncio.get_running_loop()
        # asyncio takes floats, typeshed does not. To the end belongs what the client has yet to take.
        begins: Any = self._limits.head_seconds
        ends: Any = self._limits.write_seconds
        tls = self._tls
        shared = self._limits, self._crowd, tls, bytearray(_READ)

        def connection() -> asyncio.BaseProtocol:
            plain = Connection(*shared, self.config, self.server_state)
            if tls is None:
                return plain
            # As asyncio would make it, but ours.
            return Secured(
                loop,
                plain,
                tls,
                waiter=cast(Any, None),
                server_side=True,
                ssl_handshake_timeout=begins,
                ssl_shutdown_timeout=ends,
            )

        self.servers = [
            await loop.create_server(connection, sock=door, backlog=_BACKLOG)
            for door in sockets or []
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look after the web configuration once a second."""
        ending = await super().on_tick(counter)
        if self._kept and counter % 10 == 0:
            self._kept.look_beside()
            current = self._kept.current
            if self._tls and current.tls and self._tls.context is not current.tls:
                # Whoever was let in by what was in force before must prove themselves anew.
                self._tls.context = current.tls
                for connection in list(self.server_state.connections):
                    cast(Connection, connection).renew()
            # The one list that is on every answer, whoever gives it.
            self.server_state.default_headers = [
                *self.server_state.default_headers,
                *current.headers,
            ]
        return ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is in flight end; whoever takes too long is let go."""
        timer = asyncio.get_running_loop().call_later(self._limits.grace_seconds, self._abort)
        await super().shutdown(sockets)
        timer.cancel()

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


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
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
        )
    if not host:
        return socket.create_server(("", port), backlog=_BACKLOG)
    host = str(literal(host) or host)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    # All of it: an address of one link alone has the link's number at its end.
    return socket.create_server(cast(tuple[str, int], address), family=family, backlog=_BACKLOG)


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
