"""The connections to the API, so that what comes before an answer has an end.

A client reads interim answers (103 Early Hints) until the final one comes, in one go for all that
is there: a server that never stops sending them would hold the event loop.
"""

import asyncio
from typing import Any, Final

from exporter.errors import ExporterError

LARGEST_HEAD: Final = 64 * 1024
"""Bytes up to the end of an answer's head, with all interim answers before it."""

_STEP: Final = 1024
"""Bytes of it that are read at a time; others get a turn in between."""


class NoEnd(ExporterError):
    """More has come before an answer than any head may hold."""


class Streams:
    """A network backend of httpcore whose connections are `Stream`s.

    Args:
        inner: The backend that connects.
    """

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - httpcore's, which only httpx knows
        self._inner = inner

    async def connect_tcp(self, *args: Any, **more: Any) -> "Stream":  # noqa: ANN401 - httpcore's
        """Connect."""
        return Stream(await self._inner.connect_tcp(*args, **more))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


class Stream:
    """A connection that one request is sent over.

    Args:
        inner: The connection itself.

    Attributes:
        headed: Whether the head of the answer is here, so that its body has bounds of its own.
        ended: Whether the other side sends no more.
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
        """What has come.

        Raises:
            NoEnd: If it is too much for a head, and there is none yet.
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
        """The same connection under TLS."""
        return Stream(await self._inner.start_tls(*args, **more))
