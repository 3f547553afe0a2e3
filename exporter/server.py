"""uvicorn as this exporter wants it: sockets of ours, deadlines, no banner, an end within seconds."""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from exporter.errors import StartError
from exporter.tls import Current
from exporter.web_config import Kept

log = logging.getLogger(__name__)

_TOLD_EVERY: Final = 10.0
_BACKLOG: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take.

    Attributes:
        connections: How many there may be; never more than half of the file descriptors.
        per_address: How many of them from one address.
        head_seconds: How long a TLS handshake may take, and a request's head from its first byte.
        write_seconds: How long a client may take nothing of what it is sent, where the kernel
            can tell, which Linux's can.
        keep_alive_seconds: How long a connection may be idle.
        grace_seconds: How long what is in flight may take when the end is wanted.
    """

    connections: int = 256
    per_address: int = 32
    head_seconds: float = 5
    write_seconds: float = 30
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


class Connection(H11Protocol):
    """One connection, with an end to each of its waits."""

    def __init__(self, limits: Limits, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let in whom the certificate allows."""
        super().connection_made(cast(asyncio.Transport, _Together(transport)))
        self._head = _Alarm(self._limits.head_seconds, transport.abort)
        # Whatever the kernel does not take pauses the writer: one piece of a page waits, no more.
        transport.set_write_buffer_limits(high=1, low=0)
        secured = transport.get_extra_info("ssl_object")
        if secured and not secured.context.admits(secured.getpeercert()):
            transport.abort()
        else:
            self._head.start()

    def data_received(self, data: bytes) -> None:
        """Read on; a head that has begun must be there in time."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._head.start()
        else:
            self._head.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._head.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun already, and say no more."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = msg.encode() + b"\n"
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


class Crowd:
    """Who is connected, and whether one more may come in.

    Args:
        limits: How many connections there may be.
    """

    def __init__(self, limits: Limits) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = max(2, min(limits.connections, descriptors // 2))
        self._per_address = min(limits.per_address, self._limit // 2)
        self.patience = limits.write_seconds
        self._present: Counter[str] = Counter()
        self._refused = 0
        self._told = -_TOLD_EVERY

    def enter(self, address: str) -> bool:
        """Count somebody in, if there is room."""
        if self._present.total() >= self._limit or self._present[address] >= self._per_address:
            return False
        self._present[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count somebody out."""
        self._present[address] -= 1
        if not self._present[address]:
            del self._present[address]

    def refused(self, reason: str) -> None:
        """Say that somebody was turned away, a line every few seconds at most."""
        self._refused += 1
        if time.monotonic() - self._told >= _TOLD_EVERY:
            log.warning("connections refused", extra={"reason": reason, "count": self._refused})
            self._told, self._refused = time.monotonic(), 0


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
        """
        try:
            accepted, address = super().accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._turn_away()
                raise ConnectionAbortedError from None
            raise
        if not self._crowd.enter(address[0]):
            accepted.close()
            self._crowd.refused("too many connections")
            raise ConnectionAbortedError
        return _Admitted(accepted, self._crowd, address[0]), address

    def _turn_away(self) -> None:
        """Take the next one with the descriptor that was kept for this, and close it."""
        os.close(self._spare)
        try:
            super().accept()[0].close()
        except OSError:
            pass  # another thread was faster, or nobody waits any more
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        self._crowd.refused("no more file descriptors")

    def close(self) -> None:
        """Close it, and what it kept."""
        if self.fileno() >= 0:
            os.close(self._spare)
        super().close()


class _Admitted(socket.socket):
    """A connection that is counted until it is closed."""

    def __init__(self, accepted: socket.socket, crowd: Crowd, address: str) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._crowd = crowd
        self._address = address
        # asyncio does so only where the protocol's number is told. Without it the body of a small
        # answer waits until the client has acknowledged the head, which takes Linux 40 ms.
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # The kernel sees what no protocol does: whether the client takes anything, over TLS
            # too, and after the connection is closed on our side with something left to send.
            milliseconds = int(crowd.patience * 1000)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def close(self) -> None:
        """Close it and make room."""
        if self.fileno() >= 0:
            self._crowd.leave(self._address)
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

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever runs server and poller together."""
        yield

    async def serve_until(self, stop: asyncio.Event, sockets: list[socket.socket]) -> None:
        """Serve until the event is set, then let what is in flight end."""
        crowd = Crowd(self._limits)
        doors: list[socket.socket] = [Door(listening, crowd) for listening in sockets]
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
        limits: dict[str, Any] = {}
        if self._tls:
            seconds = self._limits.head_seconds
            limits = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}
        self.servers = [
            await loop.create_server(
                lambda: Connection(self._limits, self.config, self.server_state),
                sock=door,
                ssl=self._tls,
                backlog=_BACKLOG,
                **limits,
            )
            for door in sockets or []
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look after the web configuration once a second."""
        ending = await super().on_tick(counter)
        if self._kept and counter % 10 == 0:
            self._kept.look_beside()
            current = self._kept.current
            if self._tls and current.tls:
                self._tls.context = current.tls
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


def _address(text: str) -> tuple[str, int]:
    """Host and port of an address like `:9877`, `127.0.0.1:0` or `[::1]:9877`.

    Raises:
        StartError: If it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise StartError(f"cannot listen on {text}: must be host:port or :port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Sockets that listen on these addresses.

    Raises:
        StartError: If one cannot be had; says which and why.
    """
    sockets: list[socket.socket] = []
    for text in addresses:
        host, port = _address(text)
        try:
            if host:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                sockets.append(socket.create_server((host, port), family=family, backlog=512))
            elif socket.has_dualstack_ipv6():
                dual = ("", port)
                sockets.append(
                    socket.create_server(
                        dual, family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
                    )
                )
            else:
                sockets.append(socket.create_server(("", port), backlog=512))
        except OSError as error:
            for opened in sockets:
                opened.close()
            # Python adds the address to the system's words; a failed look-up has its own, below 0.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else str(error.strerror).partition(" (")[0]
            raise StartError(f"cannot listen on {text}: {reason}") from None
    return sockets


def bound(listening: socket.socket) -> str:
    """Where a socket listens, as `host:port`."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
