"""Bot discovery: reads a workspace's bot list at an interval and hands the bots to the poller."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from exporter.config import Discovery, Workspace
from exporter.errors import Cause, Outcome, ReplyError, RequestFailed
from exporter.metrics.packed_samples import Samples
from exporter.metrics.poll_results import Results
from exporter.metrics.store import Record, undone_if_it_fails
from exporter.model.bot_list import DEFAULT_MOST, MOST_PAGES, OPTIONAL, REPORT, Listing, page
from exporter.model.reply_values import Drift, Fields
from exporter.model.samples import Sample
from exporter.model.targets import Key
from exporter.polling.known_bots import KnownBots
from exporter.polling.plan import target
from exporter.polling.poller import Failure, ReportPoller, next_turn, unreadable
from exporter.polling.schedule import Rhythm, phase
from exporter.polling.workload import Workload
from exporter.state.workspace_memory import RememberedBots
from exporter.upstream.sender import LONGEST_SLEEP, Sender

log = logging.getLogger(__name__)


async def whole_list(
    sender: Sender, drift: Drift, most: int = DEFAULT_MOST, known: Collection[str] = frozenset()
) -> tuple[Listing, float]:
    """A workspace's bot list, and the duration of its requests in seconds.

    A list with more than `most` bots is read only as far as the known bots need it. Rows that
    cannot be read are counted as drift.

    Raises:
        RequestFailed: If a page's request failed.
        ReplyError: If a page cannot be read, or the list does not end.
    """
    listing, seconds = Listing(most, known), 0.0
    for _ in range(MOST_PAGES):
        with await sender.bots(listing.rows) as received:
            more = listing.add(await received.made(lambda answer: page(answer, drift)), drift)
        seconds += received.seconds
        if not more:
            return listing, seconds
    if listing.left_out:
        listing.proves = False  # it has unread pages
        return listing, seconds
    raise ReplyError(f"bots: more than {MOST_PAGES} pages")


def known_bots(workspace: Workspace, listed: RememberedBots) -> KnownBots:
    """The known bots of a workspace with bot discovery, from what is remembered of its list."""
    owns = partial(workspace.shard.owns, workspace.name)
    discovery = workspace.discover_bots or Discovery()
    return KnownBots(workspace.bots, discovery, listed.bots, owns=owns)


class BotDiscovery:
    """Reads a workspace's bot list and hands the bots to its poller.

    Args:
        workspace: The workspace.
        discovery: Which bots to poll, and how often to read the list.
        poller: Polls the bots.
        sender: Sends the requests.
        results: Takes the samples about the bots.
        now: The present as an aware instant.

    Attributes:
        listed_once: Whether there has been a list, now or before a restart.
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
        self._known_bots = known_bots(self._workspace, RememberedBots())
        self._key = Key(target(self._workspace), REPORT, "")
        self._told: tuple[object, ...] = ()
        self.listed_once = False
        name, shard = workspace.name, workspace.shard
        # Each shard reads the list, so at a time of its own.
        place = phase(f"{name}|{REPORT}{'' if shard.alone else f'|{shard}'}", self._interval)
        self._rhythm = Rhythm(self._interval, place, self._workspace.zone)
        self._due = now()

    def begin(self, before: RememberedBots, workload: Workload | None = None) -> None:
        """Hand the poller the bots that are known from earlier lists.

        `workload` is theirs, if it was made already.
        """
        if before.due:
            self._due = min(before.due, self._rhythm.after(self._now()))
        self._known_bots = known_bots(self._workspace, before)
        self.listed_once = bool(before.bots)
        found = self._found(self._known_bots, workload)
        self._assign(found)
        for key in (self._key, *found.facts):
            self._results.store.adjust(key, "", self._interval, self._workspace.stale_after)

    @property
    def listed(self) -> RememberedBots:
        """What to remember of the list."""
        return RememberedBots(self._known_bots.remembered, self._due)

    @property
    def switched_off(self) -> frozenset[str]:
        """The ids of the listed bots that the list says are not enabled."""
        return frozenset(
            str(bot.id) for bot, _ in self._known_bots.remembered if bot.is_enabled is False
        )

    @property
    def turns(self) -> dict[Key, tuple[float, datetime | None]]:
        """The interval of reading the list in seconds, and when it is read next."""
        return {self._key: (self._interval.total_seconds(), self._due)}

    async def run(self) -> None:
        """Read the list whenever it is due, until cancelled."""
        while True:
            while (wait := (self._due - self._now()).total_seconds()) > 0:
                await asyncio.sleep(min(wait, LONGEST_SLEEP))
                # The clock may have been set back.
                self._due = min(self._due, self._rhythm.after(self._now()))
            failure = await self.once()
            self._due = next_turn(self._rhythm, self._now(), failure, self._sender)

    async def once(self) -> Failure | None:
        """Read the list once and hand the poller its bots; the failure, if there is one."""
        drift = Drift()
        try:
            listing, seconds = await whole_list(
                self._sender, drift, self._most, self._known_bots.known
            )
            before = self._results.store.fields(self._key)
            drift.missing(before, OPTIONAL)
            # In a thread, because thousands of bots take a while.
            found = await asyncio.to_thread(
                self._taken, listing, drift.fields(before), self._now(), seconds
            )
            self._take_up(found)
        except RequestFailed as error:
            return self._failed(error)
        except ReplyError as error:
            return self._failed(unreadable(error))
        except Exception as error:  # noqa: BLE001 - the last-known-good list stays in force
            return self._bug(error, "bots: rejected because of a bug in the exporter")
        try:
            await self._results.put_all(found.records)
        except Exception as error:  # noqa: BLE001 - the bots are polled all the same
            text = "bots: polled, but not on the page because of a bug in the exporter"
            return self._bug(error, text)
        place = (self._workspace.api, self._workspace.name)
        self._results.telemetry.drifted(*place, REPORT, drift)
        self._results.changed()
        return None

    def _take_up(self, found: "_Found") -> None:
        """Put a list in force, in full or not at all."""
        try:
            with undone_if_it_fails(self._results.store, {self._workspace.name}):
                self._assign(found)
        except Exception:
            self._poller.report_load()
            raise
        self._known_bots, self.listed_once = found.known_bots, True
        self._tell_left_out(found.known_bots.left_out)

    def _bug(self, error: Exception, text: str) -> Failure:
        """Report an unexpected exception; the failure for the caller."""
        self._results.telemetry.bug("discovery", error, log, self._workspace.name)
        return self._failed(RequestFailed(Outcome.INVALID, text, cause=Cause.BUG))

    def _failed(self, error: RequestFailed) -> Failure:
        """Record and log that reading the list failed; the last-known-good list stays in force."""
        self._results.store.fail(
            self._key, error, now=self._now(), interval_seconds=self._interval.total_seconds()
        )
        failure = Failure(self._key, error)
        failure.log(log)
        self._results.changed()
        return failure

    def _tell_left_out(self, number: int) -> None:
        """Log and count the bots beyond `max_bots`."""
        if not number or not self._workspace.shard.owns(self._workspace.name):
            return  # one shard is enough to count them
        self._results.dropped("max_bots", number)
        reason = (
            f"the list has at least {number} more than max_bots {self._most}, which are not polled"
        )
        log.warning(
            "bots beyond max_bots are not polled",
            extra={"workspace": self._workspace.name, "reason": reason},
        )

    def _taken(self, listing: Listing, fields: Fields, at: datetime, seconds: float) -> "_Found":
        """What follows from a complete list.

        Args:
            listing: The list.
            fields: The fields that this list and earlier ones had.
            at: When it was complete.
            seconds: How long all its requests took.

        Raises:
            ReplyError: If the list is suddenly empty.
        """
        found = self._found(self._known_bots.after(listing))
        interval = self._interval.total_seconds()
        for key, samples in {self._key: (), **found.facts}.items():
            record = Record(
                interval,
                success=True,
                duration_seconds=seconds,
                last_success=at,
                samples=Samples.of(samples),
                fields=fields if key is self._key else (),
            )
            found.records[key] = record.paced(self._interval, self._workspace.stale_after)
        return found

    def _found(self, known_bots: KnownBots, workload: Workload | None = None) -> "_Found":
        facts = {
            Key(target(self._workspace, bot), "", ""): samples
            for bot, samples in known_bots.facts()
        }
        told = (known_bots.bots, tuple(facts))
        if told == self._told:
            workload = None
        elif workload is None or workload.bots != known_bots.bots:
            workload = Workload.of(self._workspace, known_bots.bots)
        return _Found(known_bots, facts, told, workload)

    def _assign(self, found: "_Found") -> None:
        """Hand the poller the new bots if they changed."""
        if found.workload is None:
            return
        if any(found.told) or self._told:
            polled = len(found.known_bots.bots)
            log.info("bots", extra={"workspace": self._workspace.name, "polled": polled})
        self._poller.assign(found.workload, {self._key, *found.facts})
        self._told = found.told


@dataclass(frozen=True, slots=True)
class _Found:
    """What follows from a bot list.

    Attributes:
        known_bots: The bots.
        facts: The samples about each listed bot.
        told: A value that differs if other bots are polled or listed.
        workload: The new workload; None if no bots changed.
        records: The records of the list and of each listed bot, for the store.
    """

    known_bots: KnownBots
    facts: Mapping[Key, tuple[Sample, ...]]
    told: tuple[object, ...]
    workload: Workload | None
    records: dict[Key, Record] = field(default_factory=dict)
