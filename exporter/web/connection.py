"""One connection over uvicorn and h11: an end to each of its waits, and nothing that outlives it."""

import asyncio
import logging
import re
import sys
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.tls import Current
from exporter.web.sockets import ANSWERED, DOUBTED, IDLE, UNHEARD, Crowd, Limits

log = logging.getLogger(__name__)

READ_SIZE: Final = 16_384
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

    max_size = READ_SIZE

    def _fatal_error(self, exc: BaseException, message: str = "") -> None:
        super()._fatal_error(exc, message)
        exc.__traceback__ = None
