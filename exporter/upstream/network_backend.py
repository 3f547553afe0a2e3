"""Connections to the API that limit how much may arrive before an answer's head is complete.

httpcore reads interim responses (103 Early Hints) until the final one arrives, and processes all
that it has received without yielding. A server that sends them without end would block the event
loop.
"""

import asyncio
from typing import Any, Final

from exporter.errors import ExporterError

LARGEST_HEAD: Final = 64 * 1024
"""Bytes up to the end of an answer's head, all interim responses included."""

_STEP: Final = 1024
"""Bytes of a head that are read at a time; other tasks run in between."""


class NoEnd(ExporterError):
    """More bytes than `LARGEST_HEAD` have arrived before the end of an answer's head."""


class Streams:
    """A network backend for httpcore whose connections are `Stream`s.

    It cannot sleep: httpcore sleeps only before its own retries, which are off.

    Args:
        inner: The backend that makes the connections.
    """

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - httpcore's type
        self._inner = inner

    async def connect_tcp(self, *args: Any, **more: Any) -> "Stream":  # noqa: ANN401 - httpcore's
        """Open a TCP connection."""
        return Stream(await self._inner.connect_tcp(*args, **more))


class Stream:
    """A connection for one request.

    Args:
        inner: The wrapped connection.

    Attributes:
        headed: Whether the head of the answer is complete; the client sets it and limits the body
            itself.
        ended: Whether the other side has closed its end of the connection.
    """

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - httpcore's
        self.headed = False
        self.ended = False
        self._inner = inner
        self._before = 0
        self.write = inner.write
        self.aclose = inner.aclose
        self.get_extra_info = inner.get_extra_info

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Read what has arrived.

        Raises:
            NoEnd: If the head is not complete and more than `LARGEST_HEAD` bytes have arrived.
        """
        if self.headed:
            content = bytes(await self._inner.read(max_bytes, timeout))
        else:
            content = bytes(await self._inner.read(min(max_bytes, _STEP), timeout))
            self._before += len(content)
            if self._before > LARGEST_HEAD:
                raise NoEnd
            await asyncio.sleep(0)
        self.ended = not content
        return content

    async def start_tls(self, *args: Any, **more: Any) -> "Stream":  # noqa: ANN401 - httpcore's
        """Start TLS on the connection."""
        return Stream(await self._inner.start_tls(*args, **more))
