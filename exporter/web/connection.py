"""One HTTP/1.1 connection: asyncio's protocol around h11, which parses and checks what is sent.

h11 is a state machine without I/O. `Connection` feeds it what arrives, hands each request to the
application, and writes what h11 makes of the answer. Between the two stands an `Exchange`: one
request and its answer in the form of ASGI.

Every state of a connection has a deadline. Otherwise a client could send its request byte by byte,
or read its answer that slowly, and keep a connection and its buffers for hours:

- A TLS handshake has `head_seconds` (see `server`), and so has a request: from the connection for
  the first one, and from its first byte for later ones, to its end.
- An answer has `answer_seconds` as a whole. If the client reads nothing of it, the kernel gives up
  after `write_seconds` (see `sockets`).
- An idle connection has `keep_alive_seconds`.

Memory per connection is bounded as well. All connections share one read buffer, because each one
copies the data out at once. A head may have a limited number of lines. Reading pauses while a
request is answered and the next one waits, and while a body waits for the application. The write
buffer pauses the writer as soon as the kernel accepts no more, so at most one portion of a page
waits for a client.

When a connection ends, its memory must be free at once, not at the next run of the garbage
collector. Hence `connection_lost` stops all timers and the task, and breaks every reference cycle
between protocol, transport and request.

Two more rules belong here. A connection is valid only under the TLS context that admitted it:
after a reload it closes when its current answer is complete. And it reports what it is doing to
`Crowd`, which decides on that basis which connection makes room for another.
"""

import asyncio
import logging
import re
from asyncio import sslproto
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11

from exporter.web.live_web_config import LiveWebConfig
from exporter.web.sockets import ANSWERED, DOUBTED, IDLE, UNHEARD, Crowd, Limits

READ_SIZE: Final = 16_384
"""Maximum bytes of one read from a client; asyncio's default is 256 KiB.

h11 keeps an unfinished head of about the same size. So the process holds at most twice this amount
of a client's data, and no larger head is parsed.
"""

_LINES: Final = 256
"""Maximum lines of a request's head, far above what clients send; short lines cost CPU, too."""

_BODY: Final = 65_536
"""Bytes of a body that may wait for the application before reading pauses."""

_PIPELINE_DELAY: Final = 0.25
"""Seconds by which the answer to a pipelined request is delayed.

No scraper pipelines. Without the delay, hundreds of connections with thousands of requests each
could keep the event loop busy for minutes.
"""

_HEAD_ENDS: Final = re.compile(rb"\n\r?\n")
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_CLOSE: Final = (b"connection", b"close")
_PLAIN: Final = (b"content-type", b"text/plain; charset=utf-8")

App = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: it takes a scope, and functions to receive and to send messages."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Open:
    """What the connections of a server have in common.

    Attributes:
        app: Answers requests.
        limits: The limits on connections.
        crowd: Counts the connections.
        kept: The web configuration; None without TLS.
        headers: For every answer.
        connections: All that are open.
        tasks: Of the requests that are being answered.
        room: The read buffer. A view, because asyncio's TLS fills it record by record, by slices of
            it: a slice of the bytes themselves would be a copy, and what was there before would be
            taken for the client's.
    """

    app: App
    limits: Limits
    crowd: Crowd
    kept: LiveWebConfig | None
    headers: Sequence[tuple[bytes, bytes]] = ()
    connections: "set[Connection]" = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    room: memoryview = field(default_factory=lambda: memoryview(bytearray(READ_SIZE)))


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


class Exchange:
    """One request and its answer, as an ASGI application sees them.

    Attributes:
        scope: What is known of the request before its body.
        complete: Whether the answer is.
        disconnected: Whether the client is gone, or gets no answer.
        keep_alive: Whether the connection may stay open after the answer.
    """

    def __init__(self, connection: "Connection", scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.complete = self.disconnected = False
        self.keep_alive = True
        self._connection = connection
        self._head: list[bytes] | None = None
        self._body = bytearray()
        self._more_body = True
        self._come = asyncio.Event()

    def feed(self, data: bytes) -> bool:
        """Take some of the body; whether that is enough for now."""
        self._body += data
        self._come.set()
        return len(self._body) > _BODY

    def end(self) -> None:
        """Note that the body is complete."""
        self._more_body = False
        self._come.set()

    def leave(self) -> None:
        """Note that the client is gone."""
        self.disconnected = True
        self._come.set()

    async def receive(self) -> Mapping[str, Any]:
        """The next part of the body, or that the client is gone; ASGI."""
        self._connection.wants_body()
        if not (self.disconnected or self.complete):
            await self._come.wait()
            self._come.clear()
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send the head of the answer or a part of its body; ASGI.

        The head waits for the first part of the body. Two packets would wake the client twice.

        Raises:
            RuntimeError: If the message is not the one to be sent now.
        """
        connection = self._connection
        await connection.writable.wait()
        if self.disconnected:
            return
        started = self._head is not None
        if self.complete or message["type"] != f"http.response.{'body' if started else 'start'}":
            raise RuntimeError(f"{message['type']} is not what is to be sent now")
        if self._head is None:
            headers = [*connection.headers, *message["headers"]]
            if not self.keep_alive:
                headers.append(_CLOSE)
            self._head = connection.turned(_response(message["status"], headers))
            return
        body = b"" if self.scope["method"] == "HEAD" else message["body"]
        parts = [*self._head, *connection.turned(h11.Data(data=body))]
        self._head = []
        if not message.get("more_body"):
            self.complete = True
            parts += connection.turned(h11.EndOfMessage())
        connection.write(parts)
        if self.complete:
            self._come.set()
            connection.completed(self)


def _response(status: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    return h11.Response(status_code=status, headers=headers, reason=_PHRASES.get(status, b""))


class Connection(asyncio.BufferedProtocol):
    """One connection, with a deadline for every wait; no timer, task or cycle outlives it.

    Attributes:
        conn: The state of HTTP.
        transport: The connection to the client.
        writable: Set while the kernel accepts more.
    """

    transport: asyncio.Transport

    def __init__(self, opened: Open) -> None:
        self._open = opened
        self.conn = h11.Connection(h11.SERVER)
        self.writable = asyncio.Event()
        self.writable.set()
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._gone = self._doubted = self._bodiless = self._paused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the connection, or abort it if the client certificate is not admitted."""
        limits = self._open.limits
        self._open.connections.add(self)
        self.transport = transport
        self._head = _Alarm(limits.head_seconds, transport.abort)
        self._slow = _Alarm(limits.answer_seconds, transport.abort)
        self._idle = _Alarm(limits.keep_alive_seconds, transport.close)
        self._place = self._open.crowd.places.get(transport.get_extra_info("socket").fileno())
        if self._place:
            self._place.abort = transport.abort
        # The writer pauses as soon as the kernel's buffer is full: one portion waits, no more.
        transport.set_write_buffer_limits(high=1, low=0)
        secured = transport.get_extra_info("ssl_object")
        if not self._in_force() or (secured and not secured.context.admits(secured.getpeercert())):
            transport.abort()
        else:
            self._head.start()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the size is fixed
        """The shared read buffer."""
        return self._open.room

    def buffer_updated(self, nbytes: int) -> None:
        """Process data; while a request is incomplete, its deadline runs."""
        data = bytes(self._open.room[:nbytes])
        if self.transport.is_closing():
            return  # over TLS, data may still arrive
        self._idle.stop()
        self.conn.receive_data(data)
        self._proceed()
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._head.start()
        else:
            self._head.stop()
        self._stand()

    def pause_writing(self) -> None:
        """Note that the kernel accepts no more."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Note that the kernel accepts more."""
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was
        """Release everything."""
        self._gone = True
        self._open.connections.discard(self)
        for alarm in (self._head, self._slow, self._idle):
            alarm.stop()
        if self._delayed:
            self._delayed.cancel()
        self.writable.set()
        self.transport.close()  # a TLS transport keeps its protocol until the second close
        if self._exchange:
            self._exchange.leave()
            self._exchange.scope["state"].clear()
            self._exchange = None
        if self._task:
            self._task.cancel()  # its result is no longer needed

    def renew(self) -> None:
        """Close the connection if the TLS context that admitted it is no longer in force."""
        if not self._in_force():
            self.finish()  # after the current answer

    def finish(self) -> None:
        """Close the connection once its current answer is complete."""
        if self._exchange and self._answering:
            self._exchange.keep_alive = False
        else:
            self.transport.close()

    # What an exchange needs

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers of every answer."""
        return self._open.headers

    def turned(self, event: h11.Event) -> list[bytes]:
        """An event as bytes to be sent."""
        return list(self.conn.send_with_data_passthrough(event) or ())

    def write(self, parts: Sequence[bytes]) -> None:
        """Send bytes to the client, together."""
        self.transport.write(b"".join(parts))

    def wants_body(self) -> None:
        """Read on, and tell a client that waits with its body to send it."""
        if self.conn.they_are_waiting_for_100_continue and not self.transport.is_closing():
            headers: list[tuple[bytes, bytes]] = []
            event = h11.InformationalResponse(status_code=100, headers=headers, reason=b"Continue")
            self.write(self.turned(event))
        self._read_on()

    def completed(self, exchange: Exchange) -> None:
        """Continue with the next request; delay it if it is pipelined, so its head is there."""
        self._slow.stop()
        if self.conn.our_state is h11.MUST_CLOSE or not exchange.keep_alive:
            self.transport.close()
        elif _HEAD_ENDS.search(self.conn._receive_buffer._data):  # noqa: SLF001 - no public way
            loop = asyncio.get_running_loop()
            self._delayed = loop.call_later(_PIPELINE_DELAY, self._take_next)
            self._stand()
        else:
            self._take_next()

    def _take_next(self) -> None:
        if self.transport.is_closing():
            return
        self._idle.start()
        self._read_on()
        if self.conn.our_state is self.conn.their_state is h11.DONE:
            self.conn.start_next_cycle()
            self._proceed()
        if self._unread and not self._answering:
            self._head.start()
        self._stand()

    def _proceed(self) -> None:
        """Process what has been received."""
        while self.conn.their_state is not h11.IDLE or self._head_may_come():
            try:
                event = self.conn.next_event()
            except h11.RemoteProtocolError as error:
                error.__traceback__ = None  # its frame refers to it: a reference cycle
                self._refuse(400, "Invalid HTTP request received.")
                return
            if event is h11.NEED_DATA:
                return
            if event is h11.PAUSED:  # a pipelined request waits for the current answer
                self._pause()
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif self.conn.our_state is h11.DONE:  # the body was not needed for the answer
                if isinstance(event, h11.EndOfMessage):
                    self.conn.start_next_cycle()
            elif isinstance(event, h11.EndOfMessage) and self._exchange:
                self._exchange.end()
            elif isinstance(event, h11.Data) and self._exchange and self._exchange.feed(event.data):
                self._pause()

    def _head_may_come(self) -> bool:
        """Remove empty lines before a request, and look whether a head has too many lines."""
        unread = self.conn._receive_buffer  # noqa: SLF001 - h11 has no public way
        held = unread._data  # noqa: SLF001
        while held.startswith((b"\r\n", b"\n")):
            unread.maybe_extract_at_most(1 + held.startswith(b"\r"))
        if held == b"\r":
            return False
        self._bodiless = held.startswith(b"HEAD ")
        end = held.find(b"\r\n\r\n")
        if held.count(b"\n", 0, len(held) if end < 0 else end) > _LINES:
            self._refuse(400, "Too many header fields.")
            return False
        return True

    def _begin(self, request: h11.Request) -> None:
        """Let the application answer a request."""
        self._idle.stop()
        path, _, query = request.target.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "scheme": "https" if self.transport.get_extra_info("ssl_object") else "http",
            "client": self._client(),
            "method": request.method.decode("ascii"),
            "root_path": "",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": list(request.headers),
            "state": {"doubt": self._doubt},
        }
        self._exchange = exchange = Exchange(self, scope)
        self._task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._open.tasks.add(self._task)
        self._task.add_done_callback(self._open.tasks.discard)

    def _client(self) -> tuple[str, int] | None:
        """Address and port of the client."""
        peer = self.transport.get_extra_info("peername")
        return peer[:2] if peer else None

    def _refuse(self, status: int, why: str) -> None:
        """Answer with an error, unless an answer has already begun, and close the connection."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = b"" if self._bodiless else why.encode() + b"\n"
            length = (b"content-length", str(len(body)).encode())
            response = _response(status, [*self.headers, _PLAIN, length, _CLOSE])
            events = (response, h11.Data(data=body), h11.EndOfMessage())
            self.write([part for event in events for part in self.turned(event)])
        if self._exchange:
            self._exchange.leave()  # discards the answer to the previous request
        self.transport.close()

    async def _answer(self, exchange: Exchange) -> None:
        """Run the application for one request, until the client is gone."""
        if self._gone or not self._in_force():
            exchange.leave()
            self.transport.abort()
            return
        self._slow.start()
        try:
            await self._open.app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not self._gone:
                raise
        except Exception as error:
            log.critical("a request failed because of a bug in the exporter", exc_info=error)
        finally:
            if self._task is asyncio.current_task():
                self._task = None
        if not (exchange.complete or exchange.disconnected):
            self._refuse(500, "Internal Server Error")

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _in_force(self) -> bool:
        secured, kept = self.transport.get_extra_info("ssl_object"), self._open.kept
        return not (secured and kept) or secured.context is kept.current.tls

    @property
    def _unread(self) -> bool:
        return bool(self.conn._receive_buffer)  # noqa: SLF001 - the public way copies all of it

    @property
    def _answering(self) -> bool:
        return self._exchange is not None and not self._exchange.complete

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
