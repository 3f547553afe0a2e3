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
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from exporter.config import Workspace
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.packed import Samples
from exporter.metrics.series_limits import cut, largest, largest_names
from exporter.metrics.store import Record, Store, expiry
from exporter.metrics.telemetry import LOAD, SERIES_DROPPED, Telemetry
from exporter.model.entry import Entry
from exporter.model.report import Fields
from exporter.model.samples import Sample
from exporter.model.targets import Key
from exporter.model.values import Drift
from exporter.model.windows import local_day
from exporter.polling.agenda import EMPTY, Agenda
from exporter.polling.missing_bots import Presence
from exporter.polling.plan import Call
from exporter.polling.schedule import Rhythm
from exporter.state.memory import Turns
from exporter.upstream.sender import LONGEST_SLEEP, Gate

GONE_AFTER: Final = 2
ASK_THE_GONE: Final = timedelta(hours=1)
"""A bot that is not found in so many turns in a row, while others are, is asked no sooner."""

REFUSAL_REMEMBERED: Final = timedelta(hours=24)
"""How long a report that spoiled a shared request is left out of it."""

_TOGETHER: Final = 64
"""So many are stored or cut before others have their turn on the loop."""

_MANY_SAMPLES: Final = 2_000
"""Samples of an answer, beyond which the largest names are picked beside the loop."""

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
class _Part:
    """What an answer says of one report.

    Attributes:
        samples: That, or why it cannot be read.
        drift: What was odd.
        dropped: How many more samples there were.
    """

    samples: tuple[Sample, ...] | ReplyError
    drift: Drift
    dropped: int = 0


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
        self._exactly = False
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

    def retire(self, store: Store, telemetry: Telemetry) -> None:
        """Keep and tell what still comes elsewhere."""
        self._store, self._telemetry = store, telemetry

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
        # All that could fail comes first, on the side: then nothing is half done.
        # By signature: what is asked of a bot that was renamed is wanted under its new name soon.
        kept = {turn.call.signature: turn for turn in self._turns}
        due = {signature: turn.due for signature, turn in kept.items()}
        known = {*due, *(turn.call.signature for turn in self._in_flight.values())}
        known |= self._remembered.keys()
        last, now = self._agenda, self._now()
        for call in agenda.calls.values() if self._remembered else ():
            if call.signature in self._remembered:
                # The clock may have been set back since, or the interval be shorter now.
                latest = agenda.rhythms[call].after(now)
                due.setdefault(call.signature, min(self._remembered[call.signature], latest))
        turns = [
            _Turn(due.get(call.signature, now), call.slow, order, call)
            for order, (identity, call) in enumerate(agenda.calls.items())
            if identity not in self._in_flight
        ]
        for turn in turns:
            before = kept.get(turn.call.signature)
            if before:
                turn.missing, turn.put_off = before.missing, before.put_off
                turn.missing_since = before.missing_since
        heapq.heapify(turns)
        wanted = agenda.wanted
        had = {key: had for key, had in self._had.items() if key in wanted}
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
        self._store.keep(wanted.keys() | others, self.workspace.name)
        stale_after = self.workspace.stale_after
        for key in wanted.keys() - last.wanted.keys():
            _, entry = wanted[key]
            self._store.adjust(key, entry.question, entry.interval, stale_after)
        self.tell_the_load(agenda)
        self._agenda, self._turns, self._remembered = agenda, turns, {}
        self._refused, self._split_in_vain, self._had = refused, split_in_vain, had
        self._presence.keep({call.target.bot_id for call in agenda.calls.values()})
        self.changed()
        self._woken.set()

    def tell_the_load(self, agenda: Agenda | None = None) -> None:
        """Say so where the intervals ask for more than is allowed, and what would be right.

        Args:
            agenda: What is about to be polled; what is polled already where left out.
        """
        workspace, before = self.workspace, self._agenda
        agenda = agenda or before
        self._telemetry.set(LOAD, agenda.load, workspace.api, workspace.name)
        for shortage in agenda.shortages if agenda.shortages != before.shortages else ():
            extra = {"workspace": workspace.name, "reason": str(shortage)}
            log.warning("more is to be polled than is allowed", extra=extra)

    @property
    def requests_per_minute(self) -> float:
        """How many requests the intervals lead to."""
        return self._agenda.requests_per_minute

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
        await self.settle()
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
        self._exactly = True  # there is no other turn that would give back what was taken

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

        shown = [self._store.samples(call.key(entry)) for entry in entries]

        def body() -> Mapping[str, object]:
            nonlocal sent
            sent = self._now()  # the wait for the budget may have been long
            return call.body(local_day(sent, self.workspace.zone), entries)

        def prepare(answer: object) -> list[_Part]:
            return [
                self._part(call, entry, answer, sent, before)
                for entry, before in zip(entries, shown, strict=True)
            ]

        def read(parts: list[_Part], took: float) -> bool:
            times = _Times(sent, self._now(), took)
            for entry, part in zip(entries, parts, strict=True):
                failures.extend(self._read(call, entry, part, times))
            return len(failures) < len(entries)

        try:
            await self._gate.report(body, read, call.target.bot_id, prepare)
        except RequestFailed as error:
            if error.missing:
                self._presence.heard(call.target.bot_id, known=False)
            return tuple(self._failed(call, entry, error, error.seconds) for entry in entries)
        if len(failures) < len(entries):
            self._presence.heard(call.target.bot_id, known=True)
        self._catch_up()
        return tuple(failures)

    def _part(
        self, call: Call, entry: Entry, answer: object, sent: datetime, shown: Iterable[Sample]
    ) -> _Part:
        """What an answer says of one report; changes nothing, as it may run beside the loop."""
        before = self._had.get(call.key(entry), frozenset())
        reading = entry.reading(sent, before)
        try:
            samples = entry.report.read(call.api.part(answer, entry.metric), reading)
        except ReplyError as error:
            return _Part(error, reading.drift)
        if len(samples) <= _MANY_SAMPLES:
            return _Part(samples, reading.drift)
        kept = largest_names(samples, self.workspace.max_labels, shown)
        return _Part(kept, reading.drift, len(samples) - len(kept))

    def _read(self, call: Call, entry: Entry, part: _Part, times: _Times) -> Iterator[Failure]:
        """Store what an answer says of one report; why not, if it cannot be read."""
        if isinstance(part.samples, ReplyError):
            yield self._failed(call, entry, part.samples, times.took)
        elif self._wanted(call):
            key = call.key(entry)
            self._remember_fields(key, part.drift)
            self._dropped("max_labels", part.dropped)
            self._store.succeed(key, self._record(key, entry, part.samples, times))
        self._telemetry.drifted(call.target.api, entry.metric, part.drift)

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
        shown = self._store.samples(key)
        named = largest_names(samples, self.workspace.max_labels, shown)
        share = self._make_room(key, len(named))
        kept = largest(named, share, shown)
        left_out = len(named) - len(kept)
        self._dropped("max_labels", len(samples) - len(named))
        self._dropped("max_series", left_out)
        return kept, left_out

    def _make_room(self, key: Key, size: int) -> int:
        """Take from the workspace's others what one needs of its share; the share.

        Only those that have the most are cut, and only as there is need: the rest come to their
        shares at their own turns. To cut all at once would take longer the more there are.
        """
        name, limit = self.workspace.name, self.workspace.max_series
        room = self._store.room(key, size, limit)
        if room is None:
            return size
        before = len(self._store.samples(key))
        while other := self._store.largest(name, but=key):
            need = self._store.series(name) - before + room.share - limit
            kept = len(self._store.samples(other))
            left = cut(kept, room, need, exactly=self._exactly)
            if left == kept:
                break
            self._cut(other, left)
        return room.share

    def _cut(self, key: Key, number: int) -> None:
        self._dropped("max_series", self._store.cut(key, number))

    async def tell(self, records: Mapping[Key, Record]) -> None:
        """Store what is known beside the reports, as much of it as `max_series` has room for.

        A few at a time, as others wait for the loop.
        """
        for number, (key, record) in enumerate(records.items(), 1):
            kept, left_out = self._capped(key, tuple(record.samples))
            self._store.succeed(key, replace(record, samples=Samples.of(kept), left_out=left_out))
            if number % _TOGETHER == 0:
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Cut what is over a limit that is lower than it was, before anything is asked; a few at a time."""
        name, limit = self.workspace.name, self.workspace.max_series
        number = 0
        while self._store.series(name) > limit and (key := self._store.largest(name)):
            self._cut(key, self._store.level(name, limit))
            number += 1
            if number % _TOGETHER == 0:
                self.changed()
                await asyncio.sleep(0)
        if number:
            self.changed()

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
