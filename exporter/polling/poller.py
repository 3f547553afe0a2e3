"""The polling loop of one workspace: send what is due, read the answer, store the samples.

Values flow one way: turn queue, sender, report, results. Between two turns of a call, the poller
remembers when the call is due and what the API refuses.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from exporter.config import Bot, Workspace
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.poll_results import Results
from exporter.metrics.series_limits import largest_names
from exporter.metrics.store import Record, expiry
from exporter.metrics.telemetry import LOAD
from exporter.model import knowledge_base
from exporter.model.entry import Entry
from exporter.model.reply_values import Drift, Fields
from exporter.model.samples import Sample
from exporter.model.targets import Key
from exporter.model.windows import local_day
from exporter.polling.missing_bots import MissingBots
from exporter.polling.plan import Call
from exporter.polling.schedule import Rhythm
from exporter.polling.turn_queue import DueByKey, Turn, TurnQueue
from exporter.polling.workload import Workload
from exporter.state.workspace_memory import RememberedTurns
from exporter.upstream.sender import Received, Sender

GONE_AFTER: Final = 2
ASK_THE_GONE: Final = timedelta(hours=1)
"""Turns in a row without a bot until it may count as gone, and the wait before the next one."""

REFUSAL_REMEMBERED: Final = timedelta(hours=24)
"""How long a report that the API refused is left out of its shared request."""

log = logging.getLogger(__name__)


async def nowhere() -> None:
    """Write no state: there is no state file."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One report's part of an answer.

    Attributes:
        samples: The samples, or the failure if the part cannot be read.
        drift: What the documents do not describe.
        dropped: The number of samples that `max_labels` has removed.
    """

    samples: tuple[Sample, ...] | RequestFailed
    drift: Drift
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of one report of one target.

    Attributes:
        key: The report and the target.
        error: Why it failed; an answer that cannot be read counts as a failed request, too.
    """

    key: Key
    error: RequestFailed

    def __post_init__(self) -> None:
        """Let go of the frames that the error passed: they hold the answer and the API key."""
        self.error.__traceback__ = self.error.__context__ = None

    @property
    def unsent(self) -> bool:
        """Whether the request was not sent at all."""
        return isinstance(self.error, NotSent)

    def __str__(self) -> str:
        """The failure in one line."""
        target = self.key.target
        bot = f", bot {target.bot_id}" if target.bot_id else ""
        return f"workspace {target.workspace}{bot}: {self.key.report}: {self.error}"

    def log(self, logger: logging.Logger) -> None:
        """Log the failure as one event."""
        logger.warning(
            "report failed",
            extra={
                "workspace": self.key.target.workspace,
                "bot_id": self.key.target.bot_id,
                "report": self.key.report,
                "window": self.key.window,
                "reason": str(self.error),
            },
        )


def unreadable(error: ReplyError, seconds: float = 0.0) -> RequestFailed:
    """An answer that cannot be read, as a failed request of this duration."""
    failed = RequestFailed(Outcome.INVALID, str(error))
    failed.seconds = seconds
    return failed


def next_turn(rhythm: Rhythm, now: datetime, failed: Failure | None, sender: Sender) -> datetime:
    """The next turn: ahead of the regular one after a failure, if the retry budget allows it.

    A request that was not sent costs no budget.
    """
    regular, soon = rhythm.after(now), rhythm.after_failure(now)
    if failed and soon < regular and (failed.unsent or sender.early(failed.error.outcome)):
        return soon
    return regular


class ReportPoller:
    """Polls the reports of one workspace.

    Args:
        workspace: The workspace.
        sender: Sends the requests.
        results: Takes the samples.
        now: The present as an aware instant; durations come from the event loop's clock.
        noted: Awaited before a slow call is sent. It writes the state file, so that a restart does
            not send the call again.
    """

    def __init__(
        self,
        workspace: Workspace,
        sender: Sender,
        results: Results,
        now: Callable[[], datetime],
        noted: Callable[[], Awaitable[None]] = nowhere,
    ) -> None:
        self._workspace = workspace
        self._sender = sender
        self._results = results
        self._now = now
        self._noted = noted
        self._queue = TurnQueue(now, patient=not workspace.shard.alone)
        self._refused: dict[Key, datetime] = {}
        self._split_in_vain: dict[str, datetime] = {}
        self._missing_bots = MissingBots()
        self._slots = asyncio.Semaphore(workspace.own_concurrency)

    def recall(self, turns: RememberedTurns) -> None:
        """Restore what was remembered; call this before `assign`."""
        latest = self._now() + REFUSAL_REMEMBERED  # the clock may have been set back since
        self._queue.recall(turns.due)
        self._refused = {key: min(until, latest) for key, until in turns.refused}
        self._split_in_vain = {
            signature: min(until, latest) for signature, until in turns.split_in_vain.items()
        }

    @property
    def remembered(self) -> RememberedTurns:
        """What to remember, see `recall`."""
        return RememberedTurns(
            self._queue.due, tuple(self._refused.items()), dict(self._split_in_vain)
        )

    def assign(self, workload: Workload, others: AbstractSet[Key] = frozenset()) -> None:
        """Replace the calls.

        A call that was there before, or is remembered, keeps its next turn. A new call is due now.
        Of the workspace's records, those of these calls and of the `others` stay in the store.
        """
        # Everything that may fail comes first and changes nothing, so nothing is left half done.
        turns, known = self._queue.placed(workload), self._queue.known
        wanted, before = workload.wanted, self._queue.workload.wanted
        refused = {
            key: until
            for key, until in self._refused.items()
            if key in wanted and wanted[key][0] in known
        }
        signatures = {signature for signature, _ in wanted.values()}
        split_in_vain = {
            signature: until
            for signature, until in self._split_in_vain.items()
            if signature in signatures
        }
        store, stale_after = self._results.store, self._workspace.stale_after
        store.keep(wanted.keys() | workload.counted | others, self._workspace.name)
        for key in wanted.keys() - before.keys():
            _, entry = wanted[key]
            store.adjust(key, entry.question, entry.interval, stale_after)
        for key in workload.counted - self._queue.workload.counted:
            store.adjust(key, "", knowledge_base.INTERVAL, stale_after)
        self.report_load(workload)
        self._queue.assign(workload, turns)
        self._refused, self._split_in_vain = refused, split_in_vain
        self._missing_bots.keep({call.target.bot_id for call in workload.calls.values()})
        self._results.changed()

    def report_load(self, workload: Workload | None = None) -> None:
        """Set the load metric, and log shortages unless they are those of the present workload.

        Args:
            workload: One that is about to be assigned; by default the present one, for which
                nothing is logged.
        """
        workspace, before = self._workspace, self._queue.workload
        workload = workload or before
        self._results.telemetry.set(LOAD, workload.load, workspace.api, workspace.name)
        for shortage in workload.shortages if workload.shortages != before.shortages else ():
            extra = {"workspace": workspace.name, "reason": str(shortage)}
            log.warning("polling needs more requests than the limits allow", extra=extra)

    @property
    def bots(self) -> tuple[Bot, ...]:
        """The bots that are polled."""
        return self._queue.workload.bots

    @property
    def quiet(self) -> bool:
        """Whether no report is due or in flight."""
        return self._queue.quiet

    @property
    def requests_per_minute(self) -> float:
        """The requests per minute that the intervals lead to."""
        return self._queue.workload.requests_per_minute

    @property
    def load(self) -> float:
        """The requests that the intervals lead to, as a share of the allowed ones."""
        return self._queue.workload.load

    @property
    def due(self) -> DueByKey:
        """A function that returns when each report is polled next, see `TurnQueue.by_key`."""
        return self._queue.by_key()

    async def run(self) -> None:
        """Send every call whenever it is due, until cancelled."""
        await self._results.settle()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._slots.acquire()
                tasks.create_task(self._take(await self._queue.next()))

    async def once(self) -> tuple[Failure, ...]:
        """Send every call once; the failures."""
        self._results.exactly = True

        async def take(call: Call) -> tuple[Failure, ...]:
            async with self._slots:
                return await self._poll(call)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take(call)) for call in self._queue.sorted()]
        return tuple(failure for task in tasks for failure in task.result())

    async def _take(self, turn: Turn) -> None:
        """Take one turn of a call, release its slot, and put its next turn into the queue."""
        try:
            if turn.call.slow:
                await self._noted()
            failures = await self._poll(turn.call)
        finally:
            self._slots.release()
        # Not reached after a cancellation: the outcome is unknown then.
        call = self._queue.landed(turn)
        if call is None:
            return
        rhythm, now = self._queue.workload.rhythms[call], self._now()
        if self._gone(turn, failures):
            due = max(rhythm.after(now), now + ASK_THE_GONE)
        else:
            failed = next((one for one in failures if one.key not in self._refused), None)
            if turn.missing >= GONE_AFTER:
                failed = None  # probably gone: no reason to ask sooner
            due = next_turn(rhythm, now, failed, self._sender)
        turn.put_off = any(failure.unsent for failure in failures)
        self._queue.put_back(turn, call, due)

    def _gone(self, turn: Turn, failures: Sequence[Failure]) -> bool:
        """Note whether the bot of a call was found; if it is gone, withdraw its values.

        While the API answers for no other target, a bot that is not found is an ordinary failure:
        its values go stale, and it is polled again at its next turn.
        """
        bot = turn.call.target.bot_id
        if len(failures) < len(self._to_ask(turn.call)):
            turn.missing = 0
        elif bot and all(failure.error.missing for failure in failures):
            turn.missing += 1
            if turn.missing == 1:
                turn.missing_since = self._missing_bots.number
            if turn.missing >= GONE_AFTER and self._missing_bots.gone(bot, turn.missing_since):
                for key in turn.call.keys:
                    self._results.store.withdraw(key, self._now())
                self._results.changed()
                return True
        return False

    def _to_ask(self, call: Call) -> list[Entry]:
        """The entries of a call, without those that the API refused recently."""
        now = self._now()
        return [entry for entry in call.entries if self._refused.get(call.key(entry), now) <= now]

    async def _poll(self, call: Call) -> tuple[Failure, ...]:
        """Poll a call's reports; if the API refuses them together, poll them one by one."""
        now, entries = self._now(), self._to_ask(call)
        if not entries:
            return ()
        failures = await self._ask(call, entries)
        together = len(entries) > 1 and len(failures) == len(entries)
        worth_it = self._split_in_vain.get(call.signature, now) <= now
        if together and worth_it and all(failure.error.refused for failure in failures):
            failures = await self._split(call, entries)
        for failure in failures:
            failure.log(log)
        self._results.changed()
        return failures

    async def _split(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """Poll each report by itself, because one may have caused the refusal of all.

        The refused ones are left out of the call for `REFUSAL_REMEMBERED`. If the API refuses all
        of them, the call is not split again for that time.
        """
        failures: list[Failure] = []
        for entry in entries:
            failures += await self._ask(call, [entry])
        until = self._now() + REFUSAL_REMEMBERED
        culprits = [failure.key for failure in failures if failure.error.refused]
        if len(culprits) == len(entries):
            self._split_in_vain[call.signature] = until
        else:
            self._refused.update((key, until) for key in culprits)
        return tuple(failures)

    async def _ask(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """Send one request, and store what its answer says about each report; the failures."""
        zone, bot = self._workspace.zone, call.target.bot_id
        try:
            with await self._sender.report(
                lambda sent: call.body(local_day(sent, zone), entries), bot
            ) as received:
                store, keys = self._results.store, [call.key(entry) for entry in entries]
                known = [(store.samples(key), store.fields(key)) for key in keys]
                parts = await received.made(
                    lambda answer: [
                        self._part(call, entry, answer, received, *before)
                        for entry, before in zip(entries, known, strict=True)
                    ]
                )
                failures = [
                    failure
                    for entry, part in zip(entries, parts, strict=True)
                    for failure in self._read(call, entry, part, received)
                ]
                received.readable = len(failures) < len(entries)
        except RequestFailed as error:
            if error.missing:
                self._missing_bots.heard(bot, known=False)
            return tuple(self._failed(call, entry, error) for entry in entries)
        if received.readable:
            self._missing_bots.heard(bot, known=True)
        self._queue.catch_up()
        return tuple(failures)

    def _part(
        self,
        call: Call,
        entry: Entry,
        answer: object,
        received: Received,
        shown: Iterable[Sample],
        fields: Fields,
    ) -> _Part:
        """One report's part of an answer; changes nothing, because it may run in a thread."""
        reading = entry.reading(received.sent, fields)
        try:
            samples = entry.report.read(call.api.part(answer, entry.metric), reading)
        except ReplyError as error:
            return _Part(unreadable(error, received.seconds), reading.drift)
        kept = largest_names(samples, self._workspace.max_labels, shown)
        return _Part(kept, reading.drift, len(samples) - len(kept))

    def _read(self, call: Call, entry: Entry, part: _Part, received: Received) -> Iterator[Failure]:
        """Store one report's part of an answer, or yield the failure if it cannot be read."""
        if isinstance(part.samples, RequestFailed):
            yield self._failed(call, entry, part.samples)
        elif self._wanted(call):
            key = call.key(entry)
            fields = part.drift.fields(self._results.store.fields(key))
            self._results.put(key, self._record(entry, part.samples, received, fields))
            self._results.dropped("max_labels", part.dropped)
        target = call.target
        self._results.telemetry.drifted(target.api, target.workspace, entry.metric, part.drift)

    def _record(
        self, entry: Entry, samples: Sequence[Sample], received: Received, fields: Fields
    ) -> Record:
        withdrawn = entry.withdrawn(received.sent)
        # If the clock was set back since the request, the age of the values is unknown. They are
        # then not shown before the clock reaches the instant of the request again.
        known = max(received.sent, self._now())
        return Record(
            interval_seconds=entry.interval.total_seconds(),
            success=True,
            duration_seconds=received.seconds,
            last_success=known,
            samples=samples,
            expires=expiry(known, withdrawn, entry.interval, self._workspace.stale_after),
            withdrawn=withdrawn,
            since=entry.since(received.sent),
            question=entry.question,
            fields=fields,
        )

    def _failed(self, call: Call, entry: Entry, error: RequestFailed) -> Failure:
        key = call.key(entry)
        if self._wanted(call):
            self._results.store.fail(
                key, error, now=self._now(), interval_seconds=entry.interval.total_seconds()
            )
        return Failure(key, error)

    def _wanted(self, call: Call) -> bool:
        """Whether a call is still in the workload, neither dropped nor changed while it was sent."""
        now = self._queue.workload.calls.get(call.identity)
        return now is not None and now.signature == call.signature
