"""A world in which time passes only when nobody has anything to do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from async_solipsism import EventLoop

T = TypeVar("T")

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def _loop() -> EventLoop:
    """A loop whose clock moves on, be a timer only a rounding error ahead.

    Standing still there, whoever sets a timer anew until its time has come would do so for ever.
    """
    loop = EventLoop()
    clock = loop._selector.clock  # noqa: SLF001 - there is no other way to it
    step = clock.advance
    clock.advance = lambda delta: step(max(delta, clock.resolution))
    return loop


class World:
    """A wall clock that follows the event loop's.

    Attributes:
        start: The instant at which the loop's clock shows 0.
    """

    def __init__(self, start: datetime = START) -> None:
        self.start = start
        self._passed = 0.0

    def now(self) -> datetime:
        """The present, aware; when nothing runs any more, the last one that was asked for."""
        with suppress(RuntimeError):
            self._passed = asyncio.get_running_loop().time()
        return self.start + timedelta(seconds=self._passed)

    def run(self, what: Callable[[], Awaitable[T]]) -> T:
        """What a coroutine function brings, however long it waits."""

        async def within() -> T:
            return await what()

        with asyncio.Runner(loop_factory=_loop) as runner:
            return runner.run(within())
