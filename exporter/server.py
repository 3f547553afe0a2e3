"""uvicorn as this exporter wants it: sockets of ours, no banner, no signals, an end within seconds."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any

import uvicorn

from exporter.errors import StartError

GRACE_SECONDS = 5


class Server(uvicorn.Server):
    """Serves an application on sockets that are bound already, until told to stop."""

    def __init__(self, app: Callable[..., Any]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",  # the stricter parser
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to whoever runs server and poller together."""
        yield

    async def serve_until(self, stop: asyncio.Event, sockets: list[socket.socket]) -> None:
        """Serve until the event is set, then let what is in flight end."""
        serving = asyncio.ensure_future(self.serve(sockets))
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            self.should_exit = True
            await serving


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
