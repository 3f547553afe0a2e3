"""The HTTP server: sockets in, connections out, TLS in force, and an end that drains."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final, cast

from exporter.web.connection import App, Connection, Open, Secured
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.sockets import BACKLOG, Crowd, Door, Limits

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the web configuration."""

_ENDING: Final = 2.0
"""Seconds that the tasks of aborted connections have to end."""

_STEP: Final = 0.05
"""Seconds between two looks whether all connections have ended."""

_ACCEPTED: Final = 2
"""Turns of the loop in which asyncio makes transports of sockets that it has accepted.

Once a server is closed, it makes none, and leaves the socket to the garbage collector.
"""


class Server:
    """Serves an application on bound sockets, with the TLS and headers of a web configuration.

    Args:
        app: The ASGI application.
        kept: The web configuration.
        limits: The limits on connections.
        dates: Whether the server adds the header Date; if not, the application has to.
    """

    def __init__(
        self,
        app: App,
        kept: LiveWebConfig | None = None,
        limits: Limits = Limits(),
        *,
        dates: bool = True,
    ) -> None:
        self._kept = kept
        self._limits = limits
        self._dates = dates
        self._open = Open(app, limits, Crowd(limits), kept)

    async def serve_until(
        self,
        stop: asyncio.Event,
        sockets: Sequence[socket.socket],
        began: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve until the event is set, then drain the requests in flight.

        `began` is awaited once, when requests are answered.
        """
        loop = asyncio.get_running_loop()
        self._look()
        doors = [Door(listening, self._open.crowd) for listening in sockets]
        servers = [
            await loop.create_server(self._connection, sock=door, backlog=BACKLOG) for door in doors
        ]
        try:
            if began:
                await began()
            while not stop.is_set():
                self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY):
                        await stop.wait()
        finally:
            for door in doors:
                loop.remove_reader(door.fileno())
            for _ in range(_ACCEPTED):
                await asyncio.sleep(0)
            for server, door in zip(servers, doors, strict=True):
                server.close()
                door.close()
            await self._drain()

    def _connection(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection, behind TLS if the web configuration has it."""
        plain = Connection(self._open)
        tls = self._kept.current.tls if self._kept else None
        if tls is None:
            return plain
        # asyncio takes floats, but typeshed says otherwise. The TLS shutdown has to wait until the
        # client has read the rest of the answer, so its timeout is the one for writing.
        begins: Any = self._limits.head_seconds
        ends: Any = self._limits.write_seconds
        # The same as asyncio creates, but of our own class, and with a timeout for the handshake.
        return Secured(
            asyncio.get_running_loop(),
            plain,
            tls,
            waiter=cast(Any, None),
            server_side=True,
            ssl_handshake_timeout=begins,
            ssl_shutdown_timeout=ends,
        )

    def _look(self) -> None:
        """Look for changes of the web configuration, and renew the headers of every answer."""
        headers = []
        if self._dates:
            headers.append((b"date", formatdate(time.time(), usegmt=True).encode()))
        if self._kept:
            before = self._kept.current
            self._kept.look_beside()
            current = self._kept.current
            if current.tls is not before.tls:
                # Clients that were admitted under the old TLS context must reconnect.
                for connection in list(self._open.connections):
                    connection.renew()
            headers += current.headers
        self._open.headers = headers

    async def _drain(self) -> None:
        """Wait for the requests in flight, and abort connections after the grace period."""
        places = self._open.crowd.places
        for place in list(places.values()):
            if place.abort is None:  # accepted, but no connection yet: maybe within a TLS handshake
                place.end()
        for connection in list(self._open.connections):
            connection.finish()
        grace = self._limits.grace_seconds
        timer = asyncio.get_running_loop().call_later(grace, self._abort)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace + _ENDING):
                while places or self._open.tasks:
                    await asyncio.sleep(_STEP)
        timer.cancel()
        for task in self._open.tasks:
            task.cancel()

    def _abort(self) -> None:
        for connection in list(self._open.connections):
            connection.transport.abort()
