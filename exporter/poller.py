"""The loop of one workspace: what is due is asked, read and stored.

Values travel one way here: plan, gate, report, store. Nothing is remembered of a call between two
turns but when it is due, and what the API refuses of it.
"""

import asyncio
import heapq
import logging
from collections.abc import (
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from exporter.agenda import EMPTY, Agenda
from exporter.caps import fair_shares, largest, largest_names
from exporter.config import Workspace
from exporter.contract import Entry, Fields
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.gate import LONGEST_SLEEP, Gate
from exporter.memory import Turns
from exporter.plan import Call, Key
from exporter.presence import Presence
from exporter.samples import Sample, Samples
from exporter.schedule import Rhythm
from exporter.store import Record, Store, expiry
from exporter.telemetry import LOAD, SERIES_DROPPED, Telemetry
from exporter.values import Drift
from exporter.windows import local_day

GONE_AFTER: Final = 2
ASK_THE_GONE: Final = timedelta(hours=1)
"""A bot that is not found in so many turns in a row, while others are, is asked no sooner."""

REFUSAL_REMEMBERED: Final = timedelta(hours=24)
"""How long a report that spoiled a shared request is left out of it."""

log = logging.getLogger(__name__)


Turning = Callable[[], dict[Key, tuple[float, datetime | None]]]
"""Brings every report's interval in seconds, and when it is polled next; None is right now."""


async def nowhere() -> None:
    """Write nothing down: nothing is kept over a restart."""


@dataclass(order=True, slots=True)
class _Turn:
    """The next turn of a call; slow ones come after the others that are due with them.

    Attributes:
        missing: In how many turns in a row its bot was not found.
        missing_since: The word of the API that was the first of them, see `Presence.number`.
        put_off: Whether it is to be sent as soon as the API answers again.
    """

    due: datetime
    slow: bool
    order: int
    call: Call = field(compare=False)
    missing: int = field(default=0, compare=False)
    missing_since: int = field(default=0, compare=False)
    put_off: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class _Times:
    """When a request was sent, when its answer came, and how many seconds that took."""

    sent: datetime
    came: datetime
    took: float


@dataclass(frozen=True, slots=True)
class Failure:
    """What kept one report of one target from being read.

    Attributes:
        key: Which report of which target.
        text: Why, in a few words of ours.
        refused: Whether the API objects to what was asked.
        missing: Whether the API itself says that it does not know what was asked about.
        unsent: Whether it was not even asked.
        outcome: How its request ended.
    """

    key: Key
    text: str
    refused: bool = False
    missing: bool = False
    unsent: bool = False
    outcome: Outcome = Outcome.INVALID

    def __str__(self) -> str:
        """The failure in one line."""
        target = self.key.target
        bot = f", bot {target.bot_id}" if target.bot_id else ""
        return f"workspace {target.workspace}{bot}: {self.key.report}: {self.text}"

    def log(self, logger: logging.Logger) -> None:
        """Tell it as one event."""
        logger.warning(
            "report failed",
            extra={
                "workspace": self.key.target.workspace,
                "bot_id": self.key.target.bot_id,
                "report": self.key.report,
                "window": self.key.window,
                "reason": self.text,
            },
        )


def next_turn(rhythm: Rhythm, now: datetime, failed: Failure | None, gate: Gate) -> datetime:
    """When something is asked again: soon if it failed, and was not sent or may be sent once more."""
    regular, soon = rhythm.after(now), rhythm.after_failure(now)
    if failed and soon < regular and (failed.unsent or gate.early(failed.outcome)):
        return soon
    return regular


class Poller:
    """Polls one workspace.

    Args:
        workspace: What to ask, how often and how fast.
        gate: The way to the API.
        store: Takes the values.
        telemetry: Takes the counts.
        now: The present as an aware instant; durations come from the event loop's clock.
        changed: Called when the store has other values than before.

    Attributes:
        workspace: As given.
        changed: As given.
        noted: Waited for before a slow call is sent: writes down what is remembered, so that no
            restart sends it again, however soon it comes.
    """

    def __init__(
        self,
        workspace: Workspace,
        gate: Gate,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = workspace
        self._gate = gate
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self.changed = changed
        self.noted: Callable[[], Awaitable[None]] = nowhere
        self._remembered: Mapping[str, datetime] = {}
        self._agenda = EMPTY
        self._turns: list[_Turn] = []
        self._in_flight: dict[str, _Turn] = {}
        self._refused: dict[Key, datetime] = {}
        self._split_in_vain: dict[str, datetime] = {}
        self._woken = asyncio.Event()
        self._seen = now()
        self._some_put_off = False
        self._presence = Presence()
        self._had: dict[Key, frozenset[tuple[str, str]]] = {}
        self._known_fields: dict[
            Fields, frozenset[tuple[str, str]]
        ] = {}  # most reports have the same
        self._slots = asyncio.Semaphore(workspace.concurrency)

    def recall(self, turns: Turns) -> None:
        """Take up what was remembered, before the calls are assigned."""
        latest = self._now() + REFUSAL_REMEMBERED  # the clock may have been set back since
        self._remembered = turns.due
        self._refused = {key: min(until, latest) for key, until in turns.refused}
        self._split_in_vain = {
            signature: min(until, latest) for signature, until in turns.split_in_vain.items()
        }

    @property
    def remembered(self) -> Turns:
        """What is to be remembered, see `recall`.

        A call that is on its way is due when it was, or at its next turn if it is a slow one.
        """
        return Turns(
            {turn.call.signature: turn.due for turn in (*self._turns, *self._in_flight.values())},
            tuple(self._refused.items()),
            dict(self._split_in_vain),
        )

    def assign(self, agenda: Agenda, others: AbstractSet[Key] = frozenset()) -> None:
        """Let these be the calls to send.

        One that was there before, or is remembered, keeps its place in time, a new one is sent as
        soon as the budget allows, and what the others brought is forgotten.

        Args:
            agenda: All that the workspace leads to.
            others: What else of the workspace stays in the store.
        """
        # By signature: what is asked of a bot that was renamed is wanted under its new name soon.
        kept = {turn.call.signature: turn for turn in self._turns}
        due = {signature: turn.due for signature, turn in kept.items()}
        known = {*due, *(turn.call.signature for turn in self._in_flight.values())}
        known |= self._remembered.keys()
        last, self._agenda = self._agenda, agenda
        now = self._now()
        for call in agenda.calls.values() if self._remembered else ():
            if call.signature in self._remembered:
                # The clock may have been set back since, or the interval be shorter now.
                latest = agenda.rhythms[call].after(now)
                due.setdefault(call.signature, min(self._remembered[call.signature], latest))
        self._remembered = {}
        self._turns = [
            _Turn(due.get(call.signature, now), call.slow, order, call)
            for order, (identity, call) in enumerate(agenda.calls.items())
            if identity not in self._in_flight
        ]
        for turn in self._turns:
            before = kept.get(turn.call.signature)
            if before:
                turn.missing, turn.put_off = before.missing, before.put_off
                turn.missing_since = before.missing_since
        heapq.heapify(self._turns)
        self._presence.keep({call.target.bot_id for call in agenda.calls.values()})
        wanted = agenda.wanted
        self._had = {key: had for key, had in self._had.items() if key in wanted}
        self._store.keep(wanted.keys() | others, self.workspace.name)
        stale_after = self.workspace.stale_after
        for key in wanted.keys() - last.wanted.keys():
            _, entry = wanted[key]
            self._store.adjust(key, entry.question, entry.interval, stale_after)
        self._refused = {
            key: until
            for key, until in self._refused.items()
            if key in wanted and wanted[key][0] in known
        }
        signatures = {signature for signature, _ in wanted.values()}
        self._split_in_vain = {
            signature: until
            for signature, until in self._split_in_vain.items()
            if signature in signatures
        }
        self._tell_the_load(last)
        self.changed()
        self._woken.set()

    def _tell_the_load(self, before: Agenda) -> None:
        """Say so where the intervals ask for more than is allowed, and what would be right."""
        workspace, agenda = self.workspace, self._agenda
        self._telemetry.set(LOAD, agenda.load, workspace.api, workspace.name)
        for shortage in agenda.shortages if agenda.shortages != before.shortages else ():
            extra = {"workspace": workspace.name, "reason": str(shortage)}
            log.warning("more is to be polled than is allowed", extra=extra)

    def turns(self) -> Turning:
        """What says when each report is polled next, as it is now, whoever asks it later."""
        due = {turn.call.identity: turn.due for turn in self._turns}
        calls = self._agenda.calls

        def found() -> dict[Key, tuple[float, datetime | None]]:
            return {
                key: (entry.interval.total_seconds(), due.get(identity))
                for identity, call in calls.items()
                for key, entry in zip(call.keys, call.entries, strict=True)
            }

        return found

    async def run(self) -> None:
        """Send every call when it is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._slots.acquire()
                await self._until_due()
                turn = heapq.heappop(self._turns)
                if turn.call.slow:  # now: another agenda may be in force before the task begins
                    turn.due = self._agenda.rhythms[turn.call].after(self._now())
                self._in_flight[turn.call.identity] = turn
                tasks.create_task(self._take(turn))

    async def once(self) -> tuple[Failure, ...]:
        """Send every call one time; what went wrong."""

        async def take(call: Call) -> tuple[Failure, ...]:
            try:
                return await self._poll(call)
            finally:
                self._slots.release()

        tasks: list[asyncio.Task[tuple[Failure, ...]]] = []
        async with asyncio.TaskGroup() as group:
            for turn in sorted(self._turns):
                await self._slots.acquire()
                tasks.append(group.create_task(take(turn.call)))
        return tuple(failure for task in tasks for failure in task.result())

    async def _until_due(self) -> None:
        """Wait until the turn that has waited longest is due."""
        while True:
            self._woken.clear()
            self._notice_the_clock()
            due = self._turns[0].due if self._turns else None
            wait = (due - self._now()).total_seconds() if due else LONGEST_SLEEP
            if wait <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LONGEST_SLEEP)):
                    await self._woken.wait()

    def _notice_the_clock(self) -> None:
        """Where the clock was set back, let every turn be due as the new time has it."""
        now, before = self._now(), self._seen
        self._seen = now
        if now < before:
            for turn in self._turns:
                turn.due = min(turn.due, self._agenda.rhythms[turn.call].after(now))
            heapq.heapify(self._turns)

    async def _take(self, turn: _Turn) -> None:
        """One turn of a call, in the slot that was taken for it."""
        identity = turn.call.identity
        try:
            if turn.call.slow:
                await self.noted()
            failures = await self._poll(turn.call)
        finally:
            self._slots.release()
        # Not where it was called off: what became of it is not known then.
        del self._in_flight[identity]
        call = self._agenda.calls.get(identity)
        if call is None:
            return  # no longer wanted
        rhythm, now = self._agenda.rhythms[call], self._now()
        if self._gone(turn, failures):
            turn.due = max(rhythm.after(now), now + ASK_THE_GONE)
        else:
            failed = next((one for one in failures if one.key not in self._refused), None)
            if turn.missing >= GONE_AFTER:
                failed = None  # likely gone, if nobody knows: no reason to ask sooner
            turn.due = next_turn(rhythm, now, failed, self._gate)
        turn.put_off = any(failure.unsent for failure in failures)
        self._some_put_off |= turn.put_off
        if call.signature != turn.call.signature:  # renamed meanwhile, or another question
            turn.due = now
        turn.call = call
        heapq.heappush(self._turns, turn)
        self._woken.set()

    def _gone(self, turn: _Turn, failures: Sequence[Failure]) -> bool:
        """Whether the bot of a call is gone; then its values are withdrawn.

        Without another target that is answered, a bot that is not found has failed like any other:
        its values go stale, and it is asked again at its turn.
        """
        bot = turn.call.target.bot_id
        if len(failures) < len(self._to_ask(turn.call)):
            turn.missing = 0
        elif bot and all(failure.missing for failure in failures):
            turn.missing += 1
            if turn.missing == 1:
                turn.missing_since = self._presence.number
            if turn.missing >= GONE_AFTER and self._presence.gone(bot, turn.missing_since):
                for key in turn.call.keys:
                    self._store.withdraw(key)
                self.changed()
                return True
        return False

    def _to_ask(self, call: Call) -> list[Entry]:
        """The reports of a call, without those that would spoil it."""
        now = self._now()
        return [entry for entry in call.entries if self._refused.get(call.key(entry), now) <= now]

    def _catch_up(self) -> None:
        """Now that the API answers, let what was put off be due."""
        if not self._some_put_off:
            return  # as nearly always: nothing is looked through for it
        self._some_put_off = False
        late = [turn for turn in self._turns if turn.put_off]
        for turn in late:
            turn.due, turn.put_off = min(turn.due, self._now()), False
        heapq.heapify(self._turns)
        self._woken.set()

    async def _poll(self, call: Call) -> tuple[Failure, ...]:
        """Ask for a call's reports; where the API refuses them together, one by one."""
        now, entries = self._now(), self._to_ask(call)
        if not entries:
            return ()
        failures = await self._ask(call, entries)
        together = len(entries) > 1 and len(failures) == len(entries)
        worth_it = self._split_in_vain.get(call.signature, now) <= now
        if together and worth_it and all(failure.refused for failure in failures):
            failures = await self._split(call, entries)
        for failure in failures:
            failure.log(log)
        self.changed()
        return failures

    async def _split(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """Each report by itself, as one may have spoiled the request for all.

        The culprit is remembered, so that it spoils no more; and where all are refused, that
        splitting is of no use.
        """
        failures: list[Failure] = []
        for entry in entries:
            failures += await self._ask(call, [entry])
        until = self._now() + REFUSAL_REMEMBERED
        culprits = [failure.key for failure in failures if failure.refused]
        if len(culprits) == len(entries):
            self._split_in_vain[call.signature] = until
        else:
            self._refused.update((key, until) for key in culprits)
        return tuple(failures)

    async def _ask(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """One request, and what its answer says of each report."""
        sent = self._now()
        failures: list[Failure] = []

        def body() -> Mapping[str, object]:
            nonlocal sent
            sent = self._now()  # the wait for the budget may have been long
            return call.body(local_day(sent, self.workspace.zone), entries)

        def read(answer: object, took: float) -> bool:
            times = _Times(sent, self._now(), took)
            for entry in entries:
                failures.extend(self._read(call, entry, answer, times))
            return len(failures) < len(entries)

        try:
            await self._gate.report(body, read, call.target.bot_id)
        except RequestFailed as error:
            if error.missing:
                self._presence.heard(call.target.bot_id, known=False)
            return tuple(self._failed(call, entry, error, error.seconds) for entry in entries)
        if len(failures) < len(entries):
            self._presence.heard(call.target.bot_id, known=True)
        self._catch_up()
        return tuple(failures)

    def _read(self, call: Call, entry: Entry, answer: object, times: _Times) -> Iterator[Failure]:
        """Store what an answer says of one report; why not, if it cannot be read."""
        key = call.key(entry)
        reading = entry.reading(times.sent, self._had.get(key, frozenset()))
        try:
            samples = entry.report.read(call.api.part(answer, entry.metric), reading)
        except ReplyError as error:
            yield self._failed(call, entry, error, times.took)
        else:
            if self._wanted(call):
                self._remember_fields(key, reading.drift)
                self._store.succeed(key, self._record(key, entry, samples, times))
        self._telemetry.drifted(call.target.api, entry.metric, reading.drift)

    def _remember_fields(self, key: Key, drift: Drift) -> None:
        """Keep what an answer had, so that it is missed where the next has it no more."""
        had = self._had.get(key, frozenset()) | {
            (name, one) for name, fields in drift.had.items() for one in fields
        }
        self._had[key] = self._known_fields.setdefault(had, had)

    def _record(self, key: Key, entry: Entry, samples: tuple[Sample, ...], times: _Times) -> Record:
        kept, left_out = self._capped(key, samples)
        withdrawn = entry.withdrawn(times.sent)
        # The clock may have been set back meanwhile: then nobody knows how old they are, and they
        # are not shown before the instant at which they were asked for.
        known = max(times.sent, times.came)
        return Record(
            interval_seconds=entry.interval.total_seconds(),
            success=True,
            duration_seconds=times.took,
            last_success=known,
            samples=Samples.of(kept),
            expires=expiry(known, withdrawn, entry.interval, self.workspace.stale_after),
            withdrawn=withdrawn,
            since=entry.since(times.sent),
            question=entry.question,
            left_out=left_out,
        )

    def _capped(self, key: Key, samples: tuple[Sample, ...]) -> tuple[tuple[Sample, ...], int]:
        """As many of the samples as may be kept, and how many more the workspace has no room for."""
        workspace = self.workspace
        shown = self._store.samples(key)
        named = largest_names(samples, workspace.max_labels, shown)
        kept = named
        if self._store.series(workspace.name, but=key) + len(named) > workspace.max_series:
            kept = largest(named, self._make_room(key, len(named)), shown)
        left_out = len(named) - len(kept)
        self._dropped("max_labels", len(samples) - len(named))
        self._dropped("max_series", left_out)
        return kept, left_out

    def _make_room(self, key: Key, size: int) -> int:
        """Take from the workspace's other reports what is more than their share; the share of one."""
        workspace = self.workspace
        mine = {
            other: record
            for other, record in self._store
            if other.report and other.target.workspace == workspace.name
        }
        sizes = {other: len(record.samples) + record.left_out for other, record in mine.items()}
        sizes[key] = size
        shares = dict(
            zip(sizes, fair_shares(list(sizes.values()), workspace.max_series), strict=True)
        )
        for other, record in mine.items():
            more = len(record.samples) - shares[other]
            if more > 0 and other != key:
                kept = largest(record.samples, shares[other])
                left_out = record.left_out + more
                self._store.succeed(other, replace(record, samples=kept, left_out=left_out))
                self._dropped("max_series", more)
        return shares[key]

    def _dropped(self, reason: str, number: int) -> None:
        if number:
            place = (self.workspace.api, self.workspace.name)
            self._telemetry.count(SERIES_DROPPED, number, *place, reason)

    def _failed(
        self, call: Call, entry: Entry, error: RequestFailed | ReplyError, took: float
    ) -> Failure:
        key, text = call.key(entry), str(error)
        if self._wanted(call):
            self._store.fail(
                key,
                text,
                duration_seconds=took,
                interval_seconds=entry.interval.total_seconds(),
            )
        if isinstance(error, ReplyError):
            return Failure(key, text)
        return Failure(
            key,
            text,
            refused=error.refused,
            missing=error.missing,
            unsent=isinstance(error, NotSent),
            outcome=error.outcome,
        )

    def _wanted(self, call: Call) -> bool:
        """Whether a call is still to be sent as it was, not dropped or changed on its way."""
        now = self._agenda.calls.get(call.identity)
        return now is not None and now.signature == call.signature
