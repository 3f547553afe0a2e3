"""Keeps a workspace's bots up to date: reads the list now and then, and has new ones polled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from exporter.bots import MOST_PAGES, REPORT, Listing, Roster, page
from exporter.client import Client
from exporter.config import Bot, Discovery, Workspace
from exporter.errors import Outcome, ReplyError, RequestFailed
from exporter.plan import Target, plan
from exporter.poller import Failure, Poller
from exporter.schedule import Rhythm, phase
from exporter.store import Key, Record, Store
from exporter.telemetry import Telemetry
from exporter.values import Drift

_LONGEST_SLEEP: Final = 60.0  # a clock that was set is noticed within a minute

log = logging.getLogger(__name__)


async def whole_list(ask: Callable[[int], Awaitable[object]], drift: Drift) -> Listing:
    """Every page of a workspace's list of bots.

    Args:
        ask: Asks for the page that begins at an offset.
        drift: Takes note of rows that cannot be read.

    Raises:
        RequestFailed: If a page did not come.
        ReplyError: If a page cannot be read, or there is no end to them.
    """
    listing = Listing()
    for _ in range(MOST_PAGES):
        if not listing.add(page(await ask(listing.rows), drift), drift):
            return listing
    raise ReplyError(f"bots: more than {MOST_PAGES} pages")


class Finder:
    """Reads the list of a workspace's bots and tells its poller.

    Args:
        poller: Polls the bots, and has the budget that a page of the list is taken from.
        discovery: Which bots, and how often the list is read.
        client: Where to ask.
        store: Takes what the list says of the bots.
        telemetry: Takes the counts.
        now: The present as an aware instant.
    """

    def __init__(
        self,
        poller: Poller,
        discovery: Discovery,
        client: Client,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._poller = poller
        self._workspace: Workspace = poller.workspace
        self._interval = discovery.interval
        self._client = client
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self._roster = Roster(self._workspace.bots, discovery)
        self._target = Target(
            self._workspace.api, self._workspace.name, labels=self._workspace.static_labels()
        )
        self._key = Key(self._target, REPORT, "")
        self._polled: tuple[Bot, ...] = self._workspace.bots

    async def run(self) -> None:
        """Read the list when it is due, for ever."""
        place = phase(f"{self._workspace.name}|{REPORT}", self._interval)
        rhythm = Rhythm(self._interval, place, self._workspace.zone)
        due = self._now()
        while True:
            while (wait := (due - self._now()).total_seconds()) > 0:
                await asyncio.sleep(min(wait, _LONGEST_SLEEP))
            failure = await self.once()
            due = rhythm.after_failure(self._now()) if failure else rhythm.after(self._now())

    async def once(self) -> Failure | None:
        """Read the list one time and have its bots polled; what went wrong, if something did."""
        loop = asyncio.get_running_loop()
        begun, drift = loop.time(), Drift()
        try:
            self._roster.take(await whole_list(self._asked, drift))
        except (RequestFailed, ReplyError) as error:
            self._store.fail(
                self._key,
                duration_seconds=loop.time() - begun,
                interval_seconds=self._interval.total_seconds(),
            )
            failure = Failure(self._target, REPORT, str(error))
            failure.log(log)
            return failure
        self._telemetry.drifted(self._workspace.api, REPORT, drift)
        if self._roster.bots != self._polled:
            self._polled = self._roster.bots
            log.info("bots", extra={"workspace": self._workspace.name, "polled": len(self._polled)})
            self._poller.assign(plan(self._workspace, self._polled), {self._key})
        now = self._now()
        self._store.succeed(
            self._key,
            Record(
                interval_seconds=self._interval.total_seconds(),
                success=True,
                duration_seconds=loop.time() - begun,
                last_success=now,
                samples=self._roster.samples(),
                expires=now + self._interval * self._workspace.stale_after,
            ),
        )
        self._poller.changed()
        return None

    async def _asked(self, offset: int) -> object:
        await self._poller.allowed()
        loop = asyncio.get_running_loop()
        begun, outcome = loop.time(), Outcome.SUCCESS
        try:
            return await self._client.bots(offset)
        except RequestFailed as error:
            outcome = error.outcome
            raise
        finally:
            self._telemetry.requested(self._target, outcome, loop.time() - begun)
