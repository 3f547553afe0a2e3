"""The network of a world without a clock: the client's own transport over connections in memory."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx


class _Stream(httpcore.AsyncNetworkStream):
    """A connection in memory, which has no number that the system could be asked about."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """What has come."""
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send."""
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """There is none."""
        raise NotImplementedError

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        """As of the real one, but whether there is something to read is asked of the connection."""
        if info != "is_readable":
            return self._inner.get_extra_info(info)
        return self._inner.get_extra_info("socket").fileno().socket.read_ready()


class _Backend(httpcore.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a server in memory."""
        return _Stream(
            await super().connect_tcp(host, port, timeout, local_address, socket_options)
        )


def transport(concurrency: int) -> httpx.AsyncHTTPTransport:
    """A transport as httpx makes it, but for where its connections lead.

    Args:
        concurrency: As configured.
    """
    made = httpx.AsyncHTTPTransport(verify=False, trust_env=False)  # there is no TLS in memory
    made._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001 - httpx has no way to say it
        max_connections=concurrency + 1,
        max_keepalive_connections=concurrency,
        network_backend=_Backend(),
    )
    return made
