"""uvicorn, configured for the exporter: own sockets, deadlines, no banner, quick shutdown."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import uvicorn

from exporter.web.connection import READ_SIZE, Connection, Secured
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.sockets import BACKLOG, Crowd, Door, Limits

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves an application on bound sockets, with the TLS and headers of a web configuration.

    Args:
        app: The ASGI application.
        kept: The web configuration.
        limits: The limits on connections.
        dates: Whether the server adds the header Date; if not, the application has to.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        kept: LiveWebConfig | None = None,
        limits: Limits = Limits(),
        *,
        dates: bool = True,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,  # over h11, the stricter parser
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                log_level="error",  # clients must not be able to fill the log
                access_log=False,
                server_header=False,
                date_header=dates,
                proxy_headers=False,
                timeout_keep_alive=limits.keep_alive_seconds,
                # Connections are aborted after the grace period; their tasks need time to end.
                timeout_graceful_shutdown=limits.grace_seconds + 2,
            )
        )
        self._kept = kept
        self._limits = limits
        self._crowd = Crowd(limits)
        self._began: Callable[[], Awaitable[None]] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signal handling to the caller, which runs the server and the poller."""
        yield

    async def serve_until(
        self,
        stop: asyncio.Event,
        sockets: list[socket.socket],
        began: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve until the event is set, then drain the requests in flight.

        `began` is awaited once, when requests are answered.
        """
        self._began = began
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
        """Listen as uvicorn does, but with a timeout for the TLS handshake, which it lacks."""
        loop = asyncio.get_running_loop()
        # asyncio takes floats, but typeshed says otherwise. The TLS shutdown has to wait until the
        # client has read the rest of the answer, so its timeout is the one for writing.
        begins: Any = self._limits.head_seconds
        ends: Any = self._limits.write_seconds
        shared = self._limits, self._crowd, self._kept, bytearray(READ_SIZE)

        def connection() -> asyncio.BaseProtocol:
            plain = Connection(*shared, self.config, self.server_state)
            tls = self._kept.current.tls if self._kept else None
            if tls is None:
                return plain
            # The same as asyncio creates, but of our own class.
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
            await loop.create_server(connection, sock=door, backlog=BACKLOG)
            for door in sockets or []
        ]
        self.started = True
        if self._began:
            await self._began()

    async def on_tick(self, counter: int) -> bool:
        """Check the web configuration for changes once a second."""
        ending = await super().on_tick(counter)
        if self._kept and counter % 10 == 0:
            before = self._kept.current
            self._kept.look_beside()
            current = self._kept.current
            if current.tls is not before.tls:
                # Clients that were admitted under the old TLS context must reconnect.
                for connection in list(self.server_state.connections):
                    cast(Connection, connection).renew()
            # uvicorn adds this list to every response, including its own error responses.
            self.server_state.default_headers += current.headers
        return ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the requests in flight, and abort connections after the grace period."""
        timer = asyncio.get_running_loop().call_later(self._limits.grace_seconds, self._abort)
        await super().shutdown(sockets)
        timer.cancel()

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
