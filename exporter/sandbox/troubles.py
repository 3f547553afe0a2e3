"""Faults of the stand-in API that come and go: what `--trouble` switches on. Pure.

Everything follows from the seed, the start and the present instant. Nothing begins in the first
half minute, so that an exporter that starts together with the sandbox has its first values.

A fault changes the answer to a request that is otherwise right: one that the sandbox refuses is
refused as ever, but for a rejected key, which comes before all other checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final

from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.requests import Refusal

_MINUTE: Final = 60.0
_FAILING: Final = 3


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that begins again and again; all figures are in seconds.

    Attributes:
        first: After the start of the sandbox, when it begins for the first time.
        lasts: How long it lasts.
        every: From one beginning to the next.
    """

    first: float
    lasts: float
    every: float

    def on(self, elapsed: float) -> bool:
        """Whether it is going on so many seconds after the start."""
        return elapsed >= self.first and (elapsed - self.first) % self.every < self.lasts


class Trouble:
    """The faults of one sandbox.

    Args:
        seed: Determines when the faults begin.
        start: When the sandbox had its data, aware.
        workspaces: Those of the sandbox, at least one.

    Attributes:
        start: As given.
        failing: The bot whose reports all fail.
        rejected: The workspace whose SeaChat key is rejected from time to time.
        rejections: When it is.
        limited: The workspace that is told to send less from time to time.
        limits: When it is.
        slowness: When answers are slow.
    """

    RETRY_AFTER: Final = 15
    SLOW: Final = 4.0
    """Seconds to wait after a 429, and seconds that a slow answer takes."""

    def __init__(self, seed: int, start: datetime, workspaces: Sequence[SandboxWorkspace]) -> None:
        rng = Random(f"{seed}/trouble")  # noqa: S311 - made-up faults, no secrets
        self.start = start
        self.failing: SandboxBot = workspaces[0].bots[: _FAILING + 1][-1]
        # The smallest workspace loses its key, and not the one that is limited, where there are
        # several, so that each fault is seen alone.
        self.rejected, self.limited = workspaces[-1], workspaces[-2:][0]
        # The alert on a rejected key waits until 20 minutes without an answer have lasted 5 more.
        self.rejections = Spell(rng.uniform(120, 180), 30 * _MINUTE, 60 * _MINUTE)
        self.limits = Spell(rng.uniform(60, 100), 20, 30 * _MINUTE)
        self.slowness = Spell(rng.uniform(30, 60), 2, _MINUTE)

    def rejects(self, workspace: SandboxWorkspace, at: datetime) -> bool:
        """Whether the workspace's SeaChat key is rejected at an instant."""
        return workspace is self.rejected and self.rejections.on(self._elapsed(at))

    def refuse(self, workspace: SandboxWorkspace, bot: object, at: datetime) -> None:
        """Refuse a request for a report of SeaChat, or do nothing.

        Raises:
            Refusal: 429 with Retry-After, or 500.
        """
        if workspace is self.limited and self.limits.on(self._elapsed(at)):
            headers = {"retry-after": str(self.RETRY_AFTER)}
            raise Refusal(429, "Too Many Requests", headers=headers)
        if bot == self.failing.id:
            raise Refusal(500, "Internal Server Error")

    def delay(self, at: datetime) -> float:
        """The seconds by which an answer to a request of this instant is late."""
        return self.SLOW if self.slowness.on(self._elapsed(at)) else 0.0

    def _elapsed(self, at: datetime) -> float:
        return (at - self.start).total_seconds()
