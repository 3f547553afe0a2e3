"""Keeps a workspace's bots up to date: reads the list now and then, and has new ones polled."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from exporter.agenda import Agenda
from exporter.bots import MOST_PAGES, REPORT, Listing, Roster, page
from exporter.config import Discovery
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.gate import LONGEST_SLEEP, Gate
from exporter.memory import Listed
from exporter.plan import target
from exporter.poller import Failure, Poller, next_turn
from exporter.samples import Sample
from exporter.schedule import Rhythm, phase
from exporter.store import Key, Record, Store
from exporter.telemetry import Telemetry
from exporter.values import Drift

log = logging.getLogger(__name__)


async def whole_list(gate: Gate, drift: Drift) -> tuple[Listing, float]:
    """Every page of a workspace's list of bots, and the seconds that the API took for them.

    Args:
        gate: The way to the API.
        drift: Takes note of rows that cannot be read.

    Raises:
        RequestFailed: If a page did not come.
        ReplyError: If a page cannot be read, or there is no end to them.
    """
    listing, seconds, more = Listing(), 0.0, True

    def read(answer: object, took: float) -> bool:
        nonlocal seconds, more
        seconds += took
        more = listing.add(page(answer, drift), drift)
        return True

    for _ in range(MOST_PAGES):
        await gate.bots(listing.rows, read)
        if not more:
            return listing, seconds
    raise ReplyError(f"bots: more than {MOST_PAGES} pages")


class Finder:
    """Reads the list of a workspace's bots and tells its poller.

    Args:
        poller: Polls the bots.
        discovery: Which bots, and how often the list is read.
        gate: The way to the API.
        store: Takes what the list says of the bots.
        telemetry: Takes the counts.
        now: The present as an aware instant.
    """

    def __init__(
        self,
        poller: Poller,
        discovery: Discovery,
        gate: Gate,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
    ) -> None:
        self._poller = poller
        self._workspace = poller.workspace
        self._interval = discovery.interval
        self._gate = gate
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self._roster = Roster(self._workspace.bots, discovery)
        self._key = Key(target(self._workspace), REPORT, "")
        self._told: tuple[object, ...] = ()
        place = phase(f"{self._workspace.name}|{REPORT}", self._interval)
        self._rhythm = Rhythm(self._interval, place, self._workspace.zone)
        self._due = now()

    def begin(self, before: Listed) -> None:
        """Have the bots polled that are known before the list is read.

        Args:
            before: What is remembered of earlier lists.
        """
        if before.due:
            self._due = min(before.due, self._rhythm.after(self._now()))
        self._roster.recall(before.bots)
        facts = self._facts()
        if self._news(facts):
            self._assign(self._agenda(), facts)
        for key in (self._key, *facts):
            self._store.adjust(key, "", self._interval, self._workspace.stale_after)

    @property
    def listed(self) -> Listed:
        """What is to be remembered of the list."""
        return Listed(self._roster.remembered, self._due)

    @property
    def turns(self) -> dict[Key, tuple[float, datetime | None]]:
        """The interval of the list's reading in seconds, and when it is read next."""
        return {self._key: (self._interval.total_seconds(), self._due)}

    async def run(self) -> None:
        """Read the list when it is due, for ever."""
        while True:
            while (wait := (self._due - self._now()).total_seconds()) > 0:
                await asyncio.sleep(min(wait, LONGEST_SLEEP))
                # The clock may have been set back.
                self._due = min(self._due, self._rhythm.after(self._now()))
            failure = await self.once()
            self._due = next_turn(self._rhythm, self._now(), failure, self._gate)

    async def once(self) -> Failure | None:
        """Read the list one time and have its bots polled; what went wrong, if something did."""
        drift = Drift()
        try:
            listing, seconds = await whole_list(self._gate, drift)
            self._roster.take(listing)
        except (RequestFailed, ReplyError) as error:
            self._store.fail(
                self._key,
                str(error),
                duration_seconds=getattr(error, "seconds", 0.0),
                interval_seconds=self._interval.total_seconds(),
            )
            failure = Failure(
                self._key,
                str(error),
                unsent=isinstance(error, NotSent),
                outcome=getattr(error, "outcome", Outcome.INVALID),
            )
            failure.log(log)
            self._poller.changed()
            return failure
        self._telemetry.drifted(self._workspace.api, REPORT, drift)
        await self._tell(self._now(), seconds)
        return None

    async def _tell(self, now: datetime, seconds: float) -> None:
        """Have the bots polled, and store what the list says of each."""
        interval, facts = self._interval.total_seconds(), self._facts()
        if self._news(facts):
            self._assign(await asyncio.to_thread(self._agenda), facts)
        for key, samples in {self._key: (), **facts}.items():
            record = Record(interval, True, seconds, now, samples)  # noqa: FBT003
            self._store.succeed(key, record.paced(self._interval, self._workspace.stale_after))
        self._poller.changed()

    def _facts(self) -> dict[Key, tuple[Sample, ...]]:
        """What the list says of each bot."""
        return {
            Key(target(self._workspace, bot), "", ""): samples
            for bot, samples in self._roster.facts()
        }

    def _news(self, facts: Iterable[Key]) -> bool:
        """Whether the bots are others than before."""
        told = (self._roster.bots, tuple(facts))
        if told == self._told:
            return False
        if any(told) or self._told:
            polled = len(self._roster.bots)
            log.info("bots", extra={"workspace": self._workspace.name, "polled": polled})
        self._told = told
        return True

    def _agenda(self) -> Agenda:
        return Agenda.of(self._workspace, self._roster.bots)

    def _assign(self, agenda: Agenda, facts: Iterable[Key]) -> None:
        self._poller.assign(agenda, {self._key, *facts})
