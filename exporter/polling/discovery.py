"""Keeps a workspace's bots up to date: reads the list now and then, and has new ones polled."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from exporter.config import Discovery, Workspace
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.packed import Samples
from exporter.metrics.results import Results
from exporter.metrics.store import Record, undone_if_it_fails
from exporter.model.bot_list import DEFAULT_MOST, MOST_PAGES, REPORT, Listing, page
from exporter.model.samples import Sample
from exporter.model.targets import Key
from exporter.model.values import Drift
from exporter.polling.agenda import Agenda
from exporter.polling.plan import target
from exporter.polling.poller import Failure, ReportPoller, next_turn
from exporter.polling.roster import Roster
from exporter.polling.schedule import Rhythm, phase
from exporter.state.memory import RememberedBots
from exporter.upstream.sender import LONGEST_SLEEP, Sender

log = logging.getLogger(__name__)


async def whole_list(
    sender: Sender, drift: Drift, most: int = DEFAULT_MOST, known: Collection[str] = frozenset()
) -> tuple[Listing, float]:
    """Every page of a workspace's list of bots, and the seconds that the API took for them.

    Of a list that is too long, only the pages that have the first and the known bots.

    Args:
        sender: The way to the API.
        drift: Takes note of rows that cannot be read.
        most: How many bots are taken.
        known: The ids of those that are known.

    Raises:
        RequestFailed: If a page did not come.
        ReplyError: If a page cannot be read, or there is no end to them.
    """
    listing, seconds = Listing(most, known), 0.0
    for _ in range(MOST_PAGES):
        with await sender.bots(listing.rows) as received:
            more = listing.add(await received.made(lambda answer: page(answer, drift)), drift)
        seconds += received.seconds
        if not more:
            return listing, seconds
    if listing.left_out:
        listing.proves = False  # whatever it has beyond
        return listing, seconds
    raise ReplyError(f"bots: more than {MOST_PAGES} pages")


def roster(workspace: Workspace, listed: RememberedBots) -> Roster:
    """The bots of a workspace that has its list read, as they are remembered."""
    return Roster(workspace.bots, workspace.discover_bots or Discovery(), listed.bots)


class BotDiscovery:
    """Reads the list of a workspace's bots and tells its poller.

    Args:
        workspace: Whose bots.
        discovery: Which bots, and how often the list is read.
        poller: Polls them.
        sender: The way to the API.
        results: Takes what the list says of the bots.
        now: The present as an aware instant.
    """

    def __init__(
        self,
        workspace: Workspace,
        discovery: Discovery,
        poller: ReportPoller,
        sender: Sender,
        results: Results,
        now: Callable[[], datetime],
    ) -> None:
        self._workspace = workspace
        self._poller = poller
        self._interval = discovery.interval
        self._most = discovery.max_bots
        self._sender = sender
        self._results = results
        self._now = now
        self._roster = roster(self._workspace, RememberedBots())
        self._key = Key(target(self._workspace), REPORT, "")
        self._told: tuple[object, ...] = ()
        place = phase(f"{self._workspace.name}|{REPORT}", self._interval)
        self._rhythm = Rhythm(self._interval, place, self._workspace.zone)
        self._due = now()

    def begin(self, before: RememberedBots, agenda: Agenda | None = None) -> None:
        """Have the bots polled that are known before the list is read.

        Args:
            before: What is remembered of earlier lists.
            agenda: That of these bots, if it was made already.
        """
        if before.due:
            self._due = min(before.due, self._rhythm.after(self._now()))
        self._roster = roster(self._workspace, before)
        found = self._found(self._roster, agenda)
        self._assign(found)
        for key in (self._key, *found.facts):
            self._results.store.adjust(key, "", self._interval, self._workspace.stale_after)

    @property
    def listed(self) -> RememberedBots:
        """What is to be remembered of the list."""
        return RememberedBots(self._roster.remembered, self._due)

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
            self._due = next_turn(self._rhythm, self._now(), failure, self._sender)

    async def once(self) -> Failure | None:
        """Read the list one time and have its bots polled; what went wrong, if something did."""
        drift = Drift()
        try:
            listing, seconds = await whole_list(self._sender, drift, self._most, self._roster.known)
            # Beside the loop, as thousands of bots take their time.
            found = await asyncio.to_thread(self._taken, listing, self._now(), seconds)
            self._take_up(found)
        except (RequestFailed, ReplyError) as error:
            return self._failed(
                str(error),
                seconds=getattr(error, "seconds", 0.0),
                unsent=isinstance(error, NotSent),
                outcome=getattr(error, "outcome", Outcome.INVALID),
            )
        except Exception as error:  # noqa: BLE001 - whatever a list leads to, the last one stays
            self._results.telemetry.bug("discovery", error, log)
            return self._failed("bots: refused because of a bug in the exporter")
        try:
            await self._results.put_all(found.records)
        except Exception as error:  # noqa: BLE001 - it is polled all the same
            self._results.telemetry.bug("discovery", error, log)
            return self._failed(
                "bots: polled, but not on the page because of a bug in the exporter"
            )
        self._results.telemetry.drifted(self._workspace.api, REPORT, drift)
        self._results.changed()
        return None

    def _take_up(self, found: "_Found") -> None:
        """Let a list be in force, wholly or not at all."""
        before = self._told
        try:
            with undone_if_it_fails(self._results.store, {self._workspace.name}):
                self._assign(found)
        except Exception:
            self._told = before
            self._poller.tell_the_load()
            raise
        self._roster = found.roster
        self._tell_left_out(found.roster.left_out)

    def _failed(
        self,
        text: str,
        *,
        seconds: float = 0.0,
        unsent: bool = False,
        outcome: Outcome = Outcome.INVALID,
    ) -> Failure:
        """Note that a list could not be had; the one before stays in force."""
        interval = self._interval.total_seconds()
        self._results.store.fail(
            self._key, text, duration_seconds=seconds, interval_seconds=interval
        )
        failure = Failure(self._key, text, unsent=unsent, outcome=outcome)
        failure.log(log)
        self._results.changed()
        return failure

    def _tell_left_out(self, number: int) -> None:
        """Say how many bots of the list there is no room for."""
        if not number:
            return
        self._results.dropped("max_bots", number)
        reason = (
            f"the list has at least {number} more than max_bots {self._most}, which are not polled"
        )
        log.warning("bots left out", extra={"workspace": self._workspace.name, "reason": reason})

    def _taken(self, listing: Listing, at: datetime, seconds: float) -> "_Found":
        """What a list leads to that was complete at an instant.

        Raises:
            ReplyError: If it cannot be believed.
        """
        found = self._found(self._roster.after(listing))
        interval = self._interval.total_seconds()
        for key, samples in {self._key: (), **found.facts}.items():
            record = Record(
                interval,
                success=True,
                duration_seconds=seconds,
                last_success=at,
                samples=Samples.of(samples),
            )
            found.records[key] = record.paced(self._interval, self._workspace.stale_after)
        return found

    def _found(self, roster: Roster, agenda: Agenda | None = None) -> "_Found":
        facts = {
            Key(target(self._workspace, bot), "", ""): samples for bot, samples in roster.facts()
        }
        told = (roster.bots, tuple(facts))
        if told == self._told:
            agenda = None
        elif agenda is None or agenda.bots != roster.bots:
            agenda = Agenda.of(self._workspace, roster.bots)
        return _Found(roster, facts, told, agenda)

    def _assign(self, found: "_Found") -> None:
        """Have the bots polled, where they are others than before."""
        if found.agenda is None:
            return
        if any(found.told) or self._told:
            polled = len(found.roster.bots)
            log.info("bots", extra={"workspace": self._workspace.name, "polled": polled})
        self._told = found.told
        self._poller.assign(found.agenda, {self._key, *found.facts})


@dataclass(frozen=True, slots=True)
class _Found:
    """What a list of bots leads to.

    Attributes:
        roster: The bots.
        facts: What the list says of each.
        told: Another value if other bots are to be polled or told of.
        agenda: What is to be polled then; None where nothing changes.
        records: What the store is to have of the list and of each bot.
    """

    roster: Roster
    facts: Mapping[Key, tuple[Sample, ...]]
    told: tuple[object, ...]
    agenda: Agenda | None
    records: dict[Key, Record] = field(default_factory=dict)
