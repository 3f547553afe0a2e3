"""The queue of a workspace's turns, ordered by when they are due. It waits but sends nothing.

Each call has exactly one turn, which is either in a heap or in flight. `next` waits for the first
turn of the heap and moves it to the turns in flight; `put_back` returns it with its next time. So
a call is never sent twice at a time.

A call has two names. Its identity says which call it is, and matches a turn in flight to its call
in a new workload. Its signature also covers the target and the questions. A call whose signature is
unchanged keeps its next turn over a reload or a restart, whatever happens to other calls. A call
with a new signature is due at once, because its old values answer another question.

Turns are instants of the system clock, which may be set back. Every remembered turn is therefore
limited to the call's next regular turn, at a restart and whenever the clock has gone backwards.
Otherwise a call could wait for as long as the clock was wrong.
"""

import asyncio
import heapq
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from exporter.model.targets import Key
from exporter.polling.plan import Call
from exporter.polling.workload import EMPTY, Workload
from exporter.upstream.sender import LONGEST_SLEEP

DueByKey = Callable[[], dict[Key, tuple[float, datetime | None]]]
"""Returns each report's interval in seconds, and when it is polled next; None while in flight."""


@dataclass(order=True, slots=True)
class Turn:
    """The next turn of a call.

    Attributes:
        due: When it is due.
        slow: Whether the call is slow; slow calls come after others that are due at the same time.
        order: The place of the call in the workload.
        call: The call.
        missing: The turns in a row in which the API did not know the call's bot.
        missing_since: The number of the first such response, see `MissingBots.number`.
        put_off: Whether the call was not sent, so it is due as soon as the API answers again.
    """

    due: datetime
    slow: bool
    order: int
    call: Call = field(compare=False)
    missing: int = field(default=0, compare=False)
    missing_since: int = field(default=0, compare=False)
    put_off: bool = field(default=False, compare=False)


class TurnQueue:
    """The queue of a workspace's turns.

    Args:
        now: The present as an aware instant; durations come from the event loop's clock.
        patient: Whether a new call waits for its regular turn, because another shard may have sent it
            within the last interval.

    Attributes:
        workload: The workload in force.
    """

    def __init__(self, now: Callable[[], datetime], *, patient: bool = False) -> None:
        self.workload = EMPTY
        self._patient = patient
        self._now = now
        self._turns: list[Turn] = []
        self._in_flight: dict[str, Turn] = {}
        self._remembered: Mapping[str, datetime] = {}
        self._woken = asyncio.Event()
        self._seen = now()
        self._some_put_off = False

    def recall(self, due: Mapping[str, datetime]) -> None:
        """Restore the remembered turns; call this before `assign`."""
        self._remembered = due

    @property
    def due(self) -> Mapping[str, datetime]:
        """The turns to remember, see `recall`: when each call is due, by its signature.

        A call in flight is still due, so a restart sends it again. A slow one is not: its next turn
        is remembered.
        """
        turns = (*self._turns, *self._in_flight.values())
        return {turn.call.signature: turn.due for turn in turns}

    @property
    def quiet(self) -> bool:
        """Whether no call is due or in flight."""
        now = self._now()
        return not self._in_flight and all(turn.due > now for turn in self._turns[:1])

    @property
    def known(self) -> set[str]:
        """The signatures of the present calls, and of the remembered ones."""
        return {*self.due, *self._remembered}

    def sorted(self) -> list[Call]:
        """Every call that is not in flight, ordered by when it is due."""
        return [turn.call for turn in sorted(self._turns)]

    def by_key(self) -> DueByKey:
        """A function that returns when each report is polled next, as of now.

        It works on a copy, so another thread may call it later.
        """
        due = {turn.call.identity: turn.due for turn in self._turns}
        calls = self.workload.calls

        def found() -> dict[Key, tuple[float, datetime | None]]:
            return {
                key: (entry.interval.total_seconds(), due.get(identity))
                for identity, call in calls.items()
                for key, entry in zip(call.keys, call.entries, strict=True)
            }

        return found

    def placed(self, workload: Workload) -> list[Turn]:
        """The turns of a workload's calls; changes nothing, see `assign`.

        A call that is in the queue or remembered keeps its next turn. A new call is due now, or if
        the queue is patient, at its regular turn.
        """
        # By signature: the reports of a renamed bot are needed under the new name soon.
        kept = {turn.call.signature: turn for turn in self._turns}
        now, turns = self._now(), list[Turn]()
        for order, (identity, call) in enumerate(workload.calls.items()):
            if identity in self._in_flight:
                continue
            turn = Turn(now, call.slow, order, call)
            if before := kept.get(call.signature):
                turn = replace(before, order=order, call=call)
            elif call.signature in self._remembered:
                # The clock may have been set back since, or the interval may be shorter now.
                rhythm = workload.rhythms[call]
                turn.due = min(self._remembered[call.signature], rhythm.after(now))
                if self._patient and turn.due + rhythm.interval <= now:
                    turn.due = rhythm.after(now)  # others may have sent it since
            elif self._patient and identity not in self.workload.calls:
                turn.due = workload.rhythms[call].after(now)
            turns.append(turn)
        heapq.heapify(turns)
        return turns

    def assign(self, workload: Workload, turns: list[Turn]) -> None:
        """Put a workload in force, with the turns that `placed` has returned for it."""
        self.workload, self._turns, self._remembered = workload, turns, {}
        self._woken.set()

    async def next(self) -> Turn:
        """Wait until a turn is due, and take the one that is due first; it is then in flight."""
        while True:
            self._woken.clear()
            self._notice_the_clock()
            due = self._turns[0].due if self._turns else None
            wait = (due - self._now()).total_seconds() if due else LONGEST_SLEEP
            if wait <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LONGEST_SLEEP)):
                    await self._woken.wait()
        turn = heapq.heappop(self._turns)
        if turn.call.slow:  # now, because the workload may change before it is sent
            turn.due = self.workload.rhythms[turn.call].after(self._now())
        self._in_flight[turn.call.identity] = turn
        return turn

    def landed(self, turn: Turn) -> Call | None:
        """Note that a turn is no longer in flight; its call in the workload, or None if gone."""
        del self._in_flight[turn.call.identity]
        return self.workload.calls.get(turn.call.identity)

    def put_back(self, turn: Turn, call: Call, due: datetime) -> None:
        """Put the next turn of a call into the queue.

        The call may have changed while the turn was in flight; `due` is for an unchanged one.
        """
        self._some_put_off |= turn.put_off
        # A call whose target or question has changed meanwhile is due now.
        turn.due = due if call.signature == turn.call.signature else self._now()
        turn.call = call
        heapq.heappush(self._turns, turn)
        self._woken.set()

    def catch_up(self) -> None:
        """Make all calls due that were put off, because the API answers again."""
        if not self._some_put_off:
            return  # the usual case, which needs no search
        self._some_put_off = False
        for turn in self._turns:
            if turn.put_off:
                turn.due, turn.put_off = min(turn.due, self._now()), False
        heapq.heapify(self._turns)
        self._woken.set()

    def _notice_the_clock(self) -> None:
        """If the clock was set back, move each turn up to its call's next regular turn."""
        now, before = self._now(), self._seen
        self._seen = now
        if now < before:
            for turn in self._turns:
                turn.due = min(turn.due, self.workload.rhythms[turn.call].after(now))
            heapq.heapify(self._turns)
