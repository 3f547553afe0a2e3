"""The one way out to the API: every request of a workspace waits for the budget, is sent and counted.

Knows nothing of reports but whether an answer could be read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from exporter.budget import Budget
from exporter.client import Client
from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed
from exporter.standing import Standing
from exporter.telemetry import BUDGET_REMAINING, KEY_VALID, UP, Telemetry

LONGEST_SLEEP: Final = 60.0
"""Seconds that anything sleeps at most, so that a clock that was set is soon noticed."""

log = logging.getLogger(__name__)

Read = Callable[[object, float], bool]
"""Takes an answer and the seconds it took; whether anything of it could be read."""


class Gate:
    """Sends the requests of one workspace.

    Args:
        workspace: What it may spend, and with which keys.
        client: Where to.
        telemetry: Takes the counts.
        now: The present as an aware instant; durations come from the event loop's clock.
        standing: What an earlier life remembered.

    Attributes:
        standing: What a later life must remember.
        answered: Whether the API has answered anything yet.
    """

    def __init__(
        self,
        workspace: Workspace,
        client: Client,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        standing: Standing = Standing(),  # noqa: B008 - immutable
    ) -> None:
        self.standing = standing
        self.answered = False
        self._workspace = workspace
        self._place = (workspace.api, workspace.name)
        self._client = client
        self._telemetry = telemetry
        self._now = now
        self._url = workspace.url
        self._line = asyncio.Lock()
        self._budget = Budget(
            workspace.requests_per_minute,
            workspace.requests_per_day,
            workspace.zone,
            asyncio.get_running_loop().time(),
        )

    def begin(self) -> None:
        """Let what is told of the workspace be there from the start."""
        self._telemetry.begin(self._workspace, self._now)
        self._tell_budget()

    @property
    def requests_today(self) -> int:
        """How many requests were sent on the workspace's day, since the process started."""
        return self._budget.spent(self._now())

    async def report(self, body: Callable[[], Mapping[str, object]], read: Read) -> None:
        """Send a request for reports and let its answer be read.

        Args:
            body: What to ask, once the request may be sent: dates may have changed by then.
            read: Reads the answer.

        Raises:
            RequestFailed: If there is no answer that can be used.
        """
        try:
            key = self._workspace.key.read()
        except RequestFailed:  # nothing is sent without a key
            self._telemetry.set(KEY_VALID, 0, *self._place)
            self._telemetry.set(UP, 0, *self._place)
            raise
        asked = self._url
        try:
            await self._send(lambda: self._client.report(asked, body(), key), read, judged=True)
        except RequestFailed as failure:
            other = self._workspace.other_url
            if failure.status not in {404, 405} or not other or asked == other:
                raise
            # The documents name two paths; the one that answers is remembered.
            await self._send(lambda: self._client.report(other, body(), key), read, judged=True)
            self._url = other
            log.info("other path", extra={"workspace": self._workspace.name, "url": other})

    async def bots(self, offset: int, read: Read) -> None:
        """Ask for a page of the list of bots and let it be read.

        Raises:
            RequestFailed: If there is no answer that can be used.
            ReplyError: If it cannot be read.
        """
        key = self._workspace.bots_key.read()
        # With a key of its own, the list says nothing of the other one.
        judged = self._workspace.bots_key == self._workspace.key
        await self._send(lambda: self._client.bots(offset, key), read, judged=judged)

    async def _send(
        self, send: Callable[[], Awaitable[object]], read: Read, *, judged: bool
    ) -> None:
        """One request: allowed, sent, read and counted.

        Args:
            send: Sends it.
            read: Reads its answer.
            judged: Whether it says something of the workspace and of the key for reports.
        """
        await self._allowed()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcome: Outcome | None = None  # of a request that was called off, nothing is known
        try:
            answer = await send()
            self.answered = True
            outcome = Outcome.INVALID
            if read(answer, loop.time() - begun):
                outcome = Outcome.SUCCESS
        except RequestFailed as failure:
            failure.seconds = loop.time() - begun
            outcome = failure.outcome
            self.answered = self.answered or failure.status is not None
            raise
        finally:
            if outcome:
                self._telemetry.requested(*self._place, outcome, loop.time() - begun)
            if outcome and judged:
                self._telemetry.judged(*self._place, outcome)

    async def _allowed(self) -> None:
        """Wait until one more request may be sent, and spend it."""
        loop = asyncio.get_running_loop()
        async with self._line:  # first come, first served
            while wait := self._budget.take(loop.time(), self._now()):
                await asyncio.sleep(min(wait, LONGEST_SLEEP))
        self._tell_budget()

    def _tell_budget(self) -> None:
        remaining = self._budget.remaining(self._now())
        if remaining is not None:
            self._telemetry.set(BUDGET_REMAINING, remaining, *self._place)
