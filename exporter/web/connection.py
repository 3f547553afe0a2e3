"""One HTTP connection over uvicorn and h11: a deadline for every wait, and bounded memory.

uvicorn on its own only limits how long a connection may be idle. A client could send its request
byte by byte, or read its answer that slowly, and keep a connection and its buffers for hours. Here
every state of a connection has a deadline:

- A TLS handshake has `head_seconds` (see `server`), and so has a request: from the connection for
  the first one, and from its first byte for later ones, to its end.
- An answer has `answer_seconds` as a whole. If the client reads nothing of it, the kernel gives up
  after `write_seconds` (see `sockets`).
- An idle connection has uvicorn's keep-alive timeout.

Memory per connection is bounded as well. All connections share one read buffer, because each one
copies the data out at once. A head may have a limited number of lines. The write buffer pauses the
writer as soon as the kernel accepts no more, so at most one portion of a page waits for a client.

When a connection ends, its memory must be free at once, not at the next run of the garbage
collector. Hence `connection_lost` stops all timers and the task, and breaks every reference cycle
between protocol, transport and request.

Two more rules belong here. A connection is valid only under the TLS context that admitted it:
after a reload it closes when its current answer is complete. And it reports what it is doing to
`Crowd`, which decides on that basis which connection makes room for another.
"""

import asyncio
import re
import sys
from asyncio import sslproto
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web.live_web_config import LiveWebConfig
from exporter.web.sockets import ANSWERED, DOUBTED, IDLE, UNHEARD, Crowd, Limits

READ_SIZE: Final = 16_384
"""Maximum bytes of one read from a client; asyncio's default is 256 KiB.

h11 keeps an unfinished head of about the same size. So the process holds at most twice this amount
of a client's data, and no larger head is parsed.
"""

_LINES: Final = 256
"""Maximum lines of a request's head, far above what clients send; short lines cost CPU, too."""

_PIPELINE_DELAY: Final = 0.25
"""Seconds by which the answer to a pipelined request is delayed.

No scraper pipelines. Without the delay, hundreds of connections with thousands of requests each
could keep the event loop busy for minutes.
"""

_HEAD_ENDS: Final = re.compile(rb"\n\r?\n")


@dataclass(slots=True, eq=False)
class _Alarm:
    """A timer that calls a function once, unless it is stopped before."""

    seconds: float
    ring: Callable[[], None]
    timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the timer, unless it is running."""
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.seconds, self.ring)

    def stop(self) -> None:
        """Stop the timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Together:
    """A transport that coalesces the writes of one event loop iteration.

    uvicorn writes the head and the body of an answer separately. That would send two packets, and
    the first one would wake the client for nothing.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the data at the end of the current iteration."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Send pending data, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """One connection, with a deadline for every wait; no timer, task or cycle outlives it."""

    def __init__(
        self,
        limits: Limits,
        crowd: "Crowd",
        kept: LiveWebConfig | None,
        room: bytearray,
        config: uvicorn.Config,
        state: ServerState,
    ) -> None:
        super().__init__(config, state, {"doubt": self._doubt})
        self._limits = limits
        self._crowd = crowd
        self._kept = kept
        self._room = room
        self._answered_by = self.app
        self.app = self._answer
        self._task: asyncio.Task[None] | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._gone = self._doubted = self._bodiless = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection, or abort it if the client certificate is not admitted."""
        super().connection_made(cast(asyncio.Transport, _Together(transport)))
        self._head = _Alarm(self._limits.head_seconds, transport.abort)
        self._slow = _Alarm(self._limits.answer_seconds, transport.abort)
        self._place = self._crowd.places.get(transport.get_extra_info("socket").fileno())
        if self._place:
            self._place.abort = transport.abort
        # The writer pauses as soon as the kernel's buffer is full: one portion waits, no more.
        transport.set_write_buffer_limits(high=1, low=0)
        secured = transport.get_extra_info("ssl_object")
        if not self._in_force() or (secured and not secured.context.admits(secured.getpeercert())):
            transport.abort()
        else:
            self._head.start()

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - the size is fixed
        """The shared read buffer."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Copy the data out of the shared buffer and process it."""
        self.data_received(bytes(memoryview(self._room)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process data; while a request is incomplete, its deadline runs."""
        if self.transport.is_closing():
            return  # over TLS, data may still arrive
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._head.start()
        else:
            self._head.stop()
        self._stand()

    def handle_events(self) -> None:
        """Process the received data, after removing empty lines before a request."""
        if self.conn.their_state is h11.IDLE:
            unread = self.conn._receive_buffer  # noqa: SLF001 - h11 has no public way
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
        """Continue with the next request; delay it if it is pipelined, so its head is there."""
        self._slow.stop()
        if _HEAD_ENDS.search(self.conn._receive_buffer._data):  # noqa: SLF001 - no public way
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
        """Release everything, including the timer that uvicorn leaves behind after a reset."""
        self._gone = True
        self._head.stop()
        self._slow.stop()
        if self._delayed:
            self._delayed.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.transport.close()  # a TLS transport keeps its protocol until the second close
        if self._task:
            self._task.cancel()  # its result is no longer needed
        self.app, self.app_state = self._answered_by, {}
        if self.cycle is not None:
            self.cycle.scope["state"].clear()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP, unless an answer has already begun, and close the connection."""
        if error := sys.exc_info()[1]:
            error.__traceback__ = None  # its frame refers to the exception: a reference cycle
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
            self.cycle.disconnected = True  # discards the answer to the previous request
        self.transport.close()

    def renew(self) -> None:
        """Close the connection if the TLS context that admitted it is no longer in force."""
        if not self._in_force():
            self.shutdown()  # after the current answer

    def _in_force(self) -> bool:
        secured = self.transport.get_extra_info("ssl_object")
        return not (secured and self._kept) or secured.context is self._kept.current.tls

    async def _answer(self, *request: Any) -> None:  # noqa: ANN401 - scope, receive and send
        """Run the application for one request, until the client is gone."""
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
        return bool(self.conn._receive_buffer)  # noqa: SLF001 - the public way copies all of it

    @property
    def _answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _doubt(self, *, doubted: bool) -> None:
        """Record whether the current request waits for a password check."""
        self._doubted = doubted
        self._stand()

    def _stand(self) -> None:
        """Report to `Crowd` what the connection is doing."""
        if self._place is None or self._gone:
            return
        if self._answering and self.conn.their_state is not h11.SEND_BODY:
            self._place.stands(DOUBTED if self._doubted else ANSWERED)
        else:
            waits = self.conn.their_state is h11.IDLE and not self._unread
            self._place.stands(IDLE if waits else UNHEARD)


class Secured(sslproto.SSLProtocol):
    """asyncio's TLS with small reads and without reference cycles.

    A failed handshake would leave a cycle between its exception and the frame that reports it.
    """

    max_size = READ_SIZE

    def _fatal_error(self, exc: BaseException, message: str = "") -> None:
        super()._fatal_error(exc, message)
        exc.__traceback__ = None
