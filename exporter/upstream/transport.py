"""HTTP/1.1 to the API: a transport of httpx straight on asyncio and h11.

A TLS handshake costs more than all the rest of a request, so connections are kept: each for at most
a minute, so that a changed address or certificate is soon noticed. Two things can go wrong with a
kept connection.

**An answer that nobody asked for.** A server or a proxy that has lost count may send one answer too
many. Whoever reads on takes it for the answer to the next request, and shows one bot's numbers as
another's. So a connection is used again only if it is silent: the answer before was complete, not a
byte has come after it, and the socket has none to read. Otherwise it is closed.

**An end at the wrong moment.** The server may close the connection just when the next request is
sent. `KeptConnectionLost` says that a kept connection ended before the first byte of an answer; the
sender then repeats the request, if its limits allow that. The other kept connections may have ended
as well, and a server may end each one like this. So all of them are closed, and for a while none is
kept. A request that must not be sent twice has the header `Connection: close`, and gets a connection
of its own.

Before the head of an answer is complete, its size is limited, all interim answers (103 Early Hints)
included, and it is parsed in small steps, with other tasks in between. Otherwise a server could
block the event loop with interim answers without end. The caller limits the body.
"""

import asyncio
import re
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import h11
import httpx

from exporter.errors import ExporterError
from exporter.network_addresses import joined

KEPT: Final = 60.0
"""Seconds after its beginning in which a connection takes further requests."""

UNKEPT: Final = 600.0
"""Seconds after the loss of a kept connection in which none is kept."""

LARGEST_HEAD: Final = 64 * 1024
"""Bytes up to the end of an answer's head, all interim answers included."""

_STEP: Final = 1024
"""Bytes of a head that are parsed at a time; other tasks run in between."""

_READ: Final = 64 * 1024
"""Bytes of one read, and bytes that may wait for the reader before reading pauses."""

_STAGGER: Final = 0.25
"""Seconds until the next address of a host is tried, beside the one that does not answer."""

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")

Header = tuple[bytes, bytes]
Origin = tuple[bytes, bytes, int | None]


class NoEnd(ExporterError):
    """More bytes than `LARGEST_HEAD` have arrived before the end of an answer's head."""


class NotHttp(httpx.RemoteProtocolError):
    """What has arrived is not HTTP/1.1."""


class KeptConnectionLost(httpx.ReadError):
    """A kept connection ended before the first byte of an answer."""


def silent(transport: asyncio.BaseTransport) -> bool:
    """Whether the socket of a connection has nothing to read, not even its end."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not poll.poll(0)


class Transport(httpx.AsyncBaseTransport):
    """The connections of one workspace.

    Args:
        tls: The TLS context of the API; None if it uses no TLS.
        proxy: The proxy, if any.
        most: Maximum requests at a time, and maximum connections; further requests wait.
        silent: Whether the socket of a connection has nothing to read.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        proxy: httpx.Proxy | None,
        most: int,
        silent: Callable[[asyncio.BaseTransport], bool] = silent,
    ) -> None:
        self._tls: Any = tls
        self._proxy = proxy
        self._proxy_headers = _proxy_headers(proxy) if proxy else []
        self._proxy_tls: Any = None
        if proxy and proxy.url.scheme == "https":
            self._proxy_tls = proxy.ssl_context or httpx.create_ssl_context(trust_env=False)
        self._most = most
        self._silent = silent
        self._free = asyncio.Semaphore(most)
        self._busy = 0
        self._idle: list[_Connection] = []
        self._kept_from = 0.0
        self._room = memoryview(bytearray(_READ))
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and wait for the head of its answer.

        Raises:
            httpx.ConnectTimeout: If there is no connection in time.
            httpx.ConnectError: If there is none; its cause says why.
            httpx.ProxyError: If the proxy refuses; its text is the status.
            KeptConnectionLost: If a kept connection has ended.
            NotHttp: If what arrives is not HTTP/1.1.
            NoEnd: If the head has no end.
            httpx.TransportError: If the connection breaks.
        """
        await self._free.acquire()
        self._busy += 1
        connection: _Connection | None = None
        try:
            connection = self._kept(request) or await self._connected(request)
            head = await connection.ask(*self._forwarded(request), request.content)
        except KeptConnectionLost:
            self._kept_from = asyncio.get_running_loop().time() + UNKEPT
            self._forget()
            self._done(connection)
            raise
        except BaseException:
            self._done(connection)
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(connection, self._done),
        )

    async def aclose(self) -> None:
        """Close the idle connections; any other closes after its answer."""
        self._closed = True
        self._forget()
        await asyncio.sleep(0)  # their sockets are closed in the loop's next turn

    def _forget(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _forwarded(self, request: httpx.Request) -> tuple[bytes, bytes, list[Header]]:
        """Method, target and headers of a request; a proxy gets the whole URL of plain HTTP."""
        url, method, headers = request.url, request.method.encode("ascii"), request.headers.raw
        if self._proxy and url.scheme == "http":
            return method, str(url).encode("ascii"), [*self._proxy_headers, *headers]
        return method, url.raw_path, headers

    def _done(self, connection: "_Connection | None") -> None:
        """Keep the connection after an answer that was read, or close it."""
        keeps = not self._closed and asyncio.get_running_loop().time() >= self._kept_from
        if connection and keeps and connection.rests():
            self._idle.append(connection)
        elif connection:
            connection.close()
        self._busy -= 1
        self._free.release()

    def _kept(self, request: httpx.Request) -> "_Connection | None":
        """The connection of an earlier request, the latest first, if one can be used again."""
        if request.headers["connection"] == "close":
            return None
        origin = _origin(request.url)
        for connection in self._idle[::-1]:
            if connection.origin == origin:
                self._idle.remove(connection)
                if connection.wakes(self._silent):
                    return connection
        return None

    async def _connected(self, request: httpx.Request) -> "_Connection":
        """A new connection."""
        while self._idle and len(self._idle) + self._busy > self._most:
            self._idle.pop(0).close()
        connection = _Connection(_origin(request.url), self._room)
        try:
            async with asyncio.timeout(request.extensions["timeout"]["connect"]):
                await self._connect(connection, request.url)
        except TimeoutError:
            connection.close()
            raise httpx.ConnectTimeout("no connection in time") from None
        except OSError as error:
            connection.close()
            raise httpx.ConnectError("no connection") from _told(error)
        except UnicodeError:  # a part of the name is longer than a name may have
            connection.close()
            unknown = socket.gaierror(socket.EAI_NONAME, "no such name")
            raise httpx.ConnectError("no connection") from unknown
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, connection: "_Connection", url: httpx.URL) -> None:
        """Connect to a host, through the proxy if there is one."""
        first = self._proxy.url if self._proxy else url
        await asyncio.get_running_loop().create_connection(
            lambda: connection, _host(first), _port(first), happy_eyeballs_delay=_STAGGER
        )
        if self._proxy_tls:
            await connection.secure(self._proxy_tls, _host(first))
        if url.scheme == "https":
            if self._proxy:
                await connection.tunnel(joined(_host(url), _port(url)), self._proxy_headers)
            await connection.secure(self._tls, _host(url))


class _Connection(asyncio.BufferedProtocol):
    """One connection.

    Args:
        origin: Whose requests it takes.
        room: The read buffer of all connections; each copies what it gets out at once. A view,
            because TLS fills it by slices.

    Attributes:
        origin: As given.
    """

    def __init__(self, origin: Origin, room: memoryview) -> None:
        self.origin = origin
        self._transport: Any = None
        self._room = room
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._come = bytearray()
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._ended = self._over = self._idle = self._old = self._kept = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, for a minute."""
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(KEPT, self._age)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the size is fixed
        """The shared read buffer."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived; what nobody asked for ends the connection."""
        if self._idle:
            self.close()
            return
        self._come += self._room[:nbytes]
        if len(self._come) > _READ and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._go_on()

    def eof_received(self) -> None:
        """Note that nothing more will arrive; the connection closes."""
        self._ended = True
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will arrive, and why."""
        self._ended, self._error = True, exc
        if self._timer:
            self._timer.cancel()
        self._transport.close()  # a TLS transport keeps its protocol until the second close
        self._go_on()

    def _go_on(self) -> None:
        if self._wake and not self._wake.done():
            self._wake.set_result(None)

    def _age(self) -> None:
        self._old = True
        if self._idle:
            self.close()

    def close(self) -> None:
        """Close the connection at once; harmless if it is closed or was never opened."""
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()  # one that closes in peace may wait for its other side

    async def secure(self, tls: ssl.SSLContext, host: str) -> None:
        """Start TLS.

        Raises:
            OSError: If the other side cannot be trusted, or the connection breaks.
        """
        tls.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, tls, server_hostname=host)

    async def tunnel(self, target: str, headers: list[Header]) -> None:
        """Ask a proxy for a connection to a host.

        Raises:
            httpx.ProxyError: If it refuses.
        """
        at = target.encode("ascii")
        head = await self.ask(b"CONNECT", at, [(b"Host", at), (b"Accept", b"*/*"), *headers])
        if not 200 <= head.status_code < 300:
            raise httpx.ProxyError(str(head.status_code))
        if self._unread:
            raise NotHttp("data before TLS")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)

    async def ask(
        self, method: bytes, target: bytes, headers: list[Header], body: bytes = b""
    ) -> h11.Response:
        """Send a request, and wait for the head of its answer."""
        try:
            request = h11.Request(method=method, target=target, headers=headers)
            events = (request, h11.Data(data=body), h11.EndOfMessage())
            sent = [self._http.send(event) or b"" for event in events]
        except h11.LocalProtocolError:
            raise httpx.LocalProtocolError("not a request") from None
        self._transport.write(b"".join(sent))
        before = 0
        while not isinstance(event := self._event(), h11.Response):
            if event is h11.NEED_DATA:
                if before:
                    await asyncio.sleep(0)
                data = await self._arrived(_STEP)
                if self._kept and not (before or data):
                    raise KeptConnectionLost("before an answer") from self._error
                before += len(data)
                if before > LARGEST_HEAD:
                    raise NoEnd
                self._receive(data, whole=False)
        return event

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the answer, as it arrives.

        Raises:
            httpx.TransportError: If it does not arrive as a whole.
        """
        while (event := self._event()) is h11.NEED_DATA or isinstance(event, h11.Data):
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                self._receive(await self._arrived(_READ), whole=True)

    def rests(self) -> bool:
        """Prepare for another request; false if there can be none."""
        done = self._http.our_state is self._http.their_state is h11.DONE
        if not done or self._unread or self._ended or self._old:
            return False
        self._http.start_next_cycle()
        self._idle = self._kept = True
        return True

    def wakes(self, silent: Callable[[asyncio.BaseTransport], bool]) -> bool:
        """Take another request, if nothing has arrived since the last answer; close otherwise."""
        self._idle = False
        if not self._transport.is_closing() and silent(self._transport):
            return True
        self.close()
        return False

    @property
    def _unread(self) -> bool:
        """Whether something has come beyond the answer."""
        return bool(self._come or self._http.trailing_data[0])

    def _event(self) -> object:
        """The next event of HTTP."""
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError:
            broken = httpx.RemoteProtocolError if self._over else NotHttp
            raise broken("not a whole answer") from None

    async def _arrived(self, most: int) -> bytes:
        """Some of what has arrived; nothing at the end of the connection."""
        while not (self._come or self._ended):
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        data = bytes(self._come[:most])
        del self._come[:most]
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    def _receive(self, data: bytes, *, whole: bool) -> None:
        """Hand on what has arrived; nothing may be the end of a body alone."""
        if not data and self._error:
            raise httpx.ReadError("broken") from self._error
        if not (data or whole):
            raise httpx.RemoteProtocolError("closed before an answer")
        self._over = not data
        self._http.receive_data(data)


class _Body(httpx.AsyncByteStream):
    """The body of an answer; its connection is free once it is closed."""

    def __init__(self, connection: _Connection, done: Callable[[_Connection], None]) -> None:
        self._connection = connection
        self._done = done

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.body()

    async def aclose(self) -> None:
        """Give the connection back; httpx does that once."""
        try:
            await asyncio.sleep(0)  # TLS reads on in the loop's next turn, if it was paused
        finally:
            self._done(self._connection)


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _proxy_headers(proxy: httpx.Proxy) -> list[Header]:
    """What only a proxy is told."""
    if proxy.raw_auth is None:
        return []
    return [(b"Proxy-Authorization", b"Basic " + b64encode(b":".join(proxy.raw_auth)))]


def _told(error: OSError) -> OSError:
    """The error with a number, where asyncio has put those of several addresses into one text."""
    found = _NUMBER.search(str(error)) if error.errno is None else None
    return OSError(int(found[1]), "no connection") if found else error
