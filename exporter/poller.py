"""The loop of one workspace: what is due is asked, read and stored. The only place where time passes.

Values travel one way here: plan, budget, client, report, store. Nothing is remembered of a call
between two turns but when it is due, and which of its reports the API refuses.
"""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from exporter.budget import Budget
from exporter.caps import largest, largest_names
from exporter.client import Client
from exporter.config import Workspace
from exporter.contract import Entry
from exporter.errors import Outcome, ReplyError, RequestFailed
from exporter.plan import Call, Target
from exporter.samples import Sample
from exporter.schedule import Rhythm, rhythms
from exporter.store import Key, Record, Store
from exporter.telemetry import BUDGET_REMAINING, SERIES_DROPPED, Telemetry
from exporter.windows import local_day

REFUSAL_REMEMBERED: Final = timedelta(hours=24)
"""How long a report that spoiled a shared request is left out of it."""

_LONGEST_SLEEP: Final = 60.0  # a clock that was set is noticed within a minute

log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class _Turn:
    """The next turn of a call; slow ones come after the others that are due with them."""

    due: datetime
    slow: bool
    order: int
    call: Call = field(compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """What kept one report of one target from being read.

    Attributes:
        target: The workspace or bot.
        report: The value of the label `report`.
        text: Why, in a few words of ours.
        refused: Whether the API objects to the report itself, so that asking again is no use.
    """

    target: Target
    report: str
    text: str
    refused: bool = False

    def __str__(self) -> str:
        """The failure in one line."""
        bot = f", bot {self.target.bot_id}" if self.target.bot_id else ""
        return f"workspace {self.target.workspace}{bot}: {self.report}: {self.text}"

    def log(self, logger: logging.Logger) -> None:
        """Tell it as one event."""
        logger.warning(
            "report failed",
            extra={
                "workspace": self.target.workspace,
                "bot_id": self.target.bot_id,
                "report": self.report,
                "reason": self.text,
            },
        )


class Poller:
    """Polls one workspace.

    Args:
        workspace: What to ask, how often and how fast.
        client: Where to ask.
        store: Takes the values.
        telemetry: Takes the counts.
        now: The present as an aware instant; durations come from the event loop's clock.
        changed: Called when the store has other values than before.

    Attributes:
        answered: Whether the API has answered anything yet.
        changed: As given.
    """

    def __init__(
        self,
        workspace: Workspace,
        client: Client,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = workspace
        self.answered = False
        self._client = client
        self._store = store
        self._telemetry = telemetry
        self._now = now
        self.changed = changed
        self._calls: dict[str, Call] = {}
        self._rhythms: Mapping[Call, Rhythm] = {}
        self._turns: list[_Turn] = []
        self._in_flight: set[str] = set()
        self._refused: dict[Key, datetime] = {}
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(workspace.concurrency)
        self._budget = Budget(
            workspace.requests_per_minute,
            workspace.requests_per_day,
            workspace.zone,
            asyncio.get_running_loop().time(),
        )
        self._telemetry.begin(workspace, now)

    def assign(self, calls: Iterable[Call], others: AbstractSet[Key] = frozenset()) -> None:
        """Let these be the calls to send.

        One that was there before keeps its place in time, a new one is sent as soon as the budget
        allows, and what the others brought is forgotten.

        Args:
            calls: All that the workspace leads to.
            others: What else of the workspace stays in the store.
        """
        # A bot that was renamed is another target: its values are wanted under the new name soon.
        due = {(turn.call.identity, turn.call.target): turn.due for turn in self._turns}
        self._calls = {call.identity: call for call in calls}
        self._rhythms = rhythms(
            self._calls.values(), self.workspace.requests_per_minute, self.workspace.zone
        )
        now = self._now()
        self._turns = [
            _Turn(due.get((identity, call.target), now), call.slow, order, call)
            for order, (identity, call) in enumerate(self._calls.items())
            if identity not in self._in_flight
        ]
        heapq.heapify(self._turns)
        keys = {
            Key.of(call.target, entry) for call in self._calls.values() for entry in call.entries
        }
        self._store.keep(keys | others, self.workspace.name)
        self._refused = {key: until for key, until in self._refused.items() if key in keys}
        self.changed()
        self._woken.set()

    async def run(self) -> None:
        """Send every call when it is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._slots.acquire()
                await self._until_due()
                await self.allowed()
                if not self._turns:  # other calls were assigned meanwhile
                    self._slots.release()
                    continue
                turn = heapq.heappop(self._turns)
                self._in_flight.add(turn.call.identity)
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
                await self.allowed()
                tasks.append(group.create_task(take(turn.call)))
        return tuple(failure for task in tasks for failure in task.result())

    async def _until_due(self) -> None:
        """Wait until the turn that has waited longest is due."""
        while True:
            self._woken.clear()
            due = self._turns[0].due if self._turns else None
            wait = (due - self._now()).total_seconds() if due else _LONGEST_SLEEP
            if wait <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, _LONGEST_SLEEP)):
                    await self._woken.wait()

    async def allowed(self) -> None:
        """Wait until one more request of this workspace may be sent, and spend it."""
        loop = asyncio.get_running_loop()
        while wait := self._budget.take(loop.time(), self._now()):
            await asyncio.sleep(min(wait, _LONGEST_SLEEP))
        remaining = self._budget.remaining(self._now())
        if remaining is not None:
            place = (self.workspace.api, self.workspace.name)
            self._telemetry.set(BUDGET_REMAINING, remaining, *place)

    async def _take(self, turn: _Turn) -> None:
        """One turn of a call, in the slot that was taken for it."""
        identity = turn.call.identity
        try:
            failures = await self._poll(turn.call)
        finally:
            self._slots.release()
            self._in_flight.discard(identity)
        call = self._calls.get(identity)
        if call is None:
            return  # no longer wanted
        rhythm, now = self._rhythms[call], self._now()
        failed = any(not failure.refused for failure in failures)
        turn.due = rhythm.after_failure(now) if failed else rhythm.after(now)
        turn.call = call
        heapq.heappush(self._turns, turn)
        self._woken.set()

    async def _poll(self, call: Call) -> tuple[Failure, ...]:
        """Ask for a call's reports; where the API refuses them together, one by one."""
        now = self._now()
        entries = [
            entry
            for entry in call.entries
            if self._refused.get(Key.of(call.target, entry), now) <= now
        ]
        if not entries:
            return ()
        failures = await self._ask(call, entries)
        if len(entries) > 1 and all(failure.refused for failure in failures) and failures:
            failures = await self._split(call, entries)
        for failure in failures:
            failure.log(log)
        self.changed()
        return failures

    async def _split(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """Each report by itself, as one may have spoiled the request for all."""
        failures: list[Failure] = []
        for entry in entries:
            await self.allowed()
            failures += await self._ask(call, [entry])
        refused = {failure.report for failure in failures if failure.refused}
        if len(refused) < len(entries):  # else the fault is not with one of them
            until = self._now() + REFUSAL_REMEMBERED
            self._refused.update(
                (Key.of(call.target, entry), until) for entry in entries if entry.name in refused
            )
        return tuple(failures)

    async def _ask(self, call: Call, entries: Sequence[Entry]) -> tuple[Failure, ...]:
        """One request, and what its answer says of each report."""
        loop = asyncio.get_running_loop()
        sent, begun = self._now(), loop.time()
        try:
            body = call.body(local_day(sent, self.workspace.zone), entries)
            answer = await self._client.ask(body)
        except RequestFailed as error:
            took = loop.time() - begun
            self.answered = self.answered or error.status is not None
            self._telemetry.answered(call.target, error.outcome, took)
            return tuple(
                self._failed(call, entry, str(error), took, refused=error.refused)
                for entry in entries
            )
        took = loop.time() - begun
        self.answered = True
        failures: list[Failure] = []
        for entry in entries:
            reading = entry.reading(sent)
            try:
                part = call.api.part(answer, entry.metric)
                samples = entry.report.read(part, reading)
            except ReplyError as error:
                failures.append(self._failed(call, entry, str(error), took))
            else:
                if call.identity in self._calls:  # else it was dropped while it was on its way
                    record = self._record(call, entry, samples, sent, took)
                    self._store.succeed(Key.of(call.target, entry), record)
            self._telemetry.drifted(call.target.api, entry.metric, reading.drift)
        outcome = Outcome.INVALID if len(failures) == len(entries) else Outcome.SUCCESS
        self._telemetry.answered(call.target, outcome, took)
        return tuple(failures)

    def _record(
        self, call: Call, entry: Entry, samples: tuple[Sample, ...], sent: datetime, took: float
    ) -> Record:
        now = self._now()
        stale = now + entry.interval * self.workspace.stale_after
        withdrawn = entry.withdrawn(sent)
        return Record(
            interval_seconds=entry.interval.total_seconds(),
            success=True,
            duration_seconds=took,
            last_success=now,
            samples=self._capped(call, entry, samples),
            expires=min(stale, withdrawn) if withdrawn else stale,
        )

    def _capped(self, call: Call, entry: Entry, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """As many of the samples as the configuration allows."""
        workspace = self.workspace
        named = largest_names(samples, workspace.max_labels)
        others = self._store.series(workspace.name, but=Key.of(call.target, entry))
        kept = largest(named, workspace.max_series - others)
        place = (workspace.api, workspace.name)
        dropped = {"max_labels": len(samples) - len(named), "max_series": len(named) - len(kept)}
        for reason, number in dropped.items():
            self._telemetry.count(SERIES_DROPPED, number, *place, reason)
        return kept

    def _failed(
        self, call: Call, entry: Entry, text: str, took: float, *, refused: bool = False
    ) -> Failure:
        if call.identity in self._calls:
            self._store.fail(
                Key.of(call.target, entry),
                duration_seconds=took,
                interval_seconds=entry.interval.total_seconds(),
            )
        return Failure(call.target, entry.name, text, refused)
