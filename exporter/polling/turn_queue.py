"""The calls of a workspace in the order in which they are due. Waits; sends nothing.

A call keeps its place in time whatever else changes: it is known by its signature, over a reload,
a restart and a renamed neighbour. A clock that is set back lets each be due as the new time has it.
"""

import asyncio
import heapq
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from exporter.model.targets import Key
from exporter.polling.agenda import EMPTY, Agenda
from exporter.polling.plan import Call
from exporter.upstream.sender import LONGEST_SLEEP

DueByKey = Callable[[], dict[Key, tuple[float, datetime | None]]]
"""Brings every report's interval in seconds, and when it is polled next; None is right now."""


@dataclass(order=True, slots=True)
class Turn:
    """The next turn of a call; slow ones come after the others that are due with them.

    Attributes:
        missing: In how many turns in a row its bot was not found.
        missing_since: The word of the API that was the first of them, see `MissingBots.number`.
        put_off: Whether it is to be sent as soon as the API answers again.
    """

    due: datetime
    slow: bool
    order: int
    call: Call = field(compare=False)
    missing: int = field(default=0, compare=False)
    missing_since: int = field(default=0, compare=False)
    put_off: bool = field(default=False, compare=False)


class TurnQueue:
    """When each call is sent next.

    Args:
        now: The present as an aware instant; durations come from the event loop's clock.

    Attributes:
        agenda: The calls that are in it.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.agenda = EMPTY
        self._now = now
        self._turns: list[Turn] = []
        self._in_flight: dict[str, Turn] = {}
        self._remembered: Mapping[str, datetime] = {}
        self._woken = asyncio.Event()
        self._seen = now()
        self._some_put_off = False

    def recall(self, due: Mapping[str, datetime]) -> None:
        """Take up what was remembered, before the calls are assigned."""
        self._remembered = due

    @property
    def due(self) -> Mapping[str, datetime]:
        """What is to be remembered, see `recall`: when each call is due, by its signature.

        A call that is on its way is due when it was, or at its next turn if it is a slow one.
        """
        turns = (*self._turns, *self._in_flight.values())
        return {turn.call.signature: turn.due for turn in turns}

    @property
    def known(self) -> set[str]:
        """The signatures of the calls that are there, or were in an earlier life."""
        return {*self.due, *self._remembered}

    def sorted(self) -> list[Call]:
        """Every call that is not on its way, the one that is due first in front."""
        return [turn.call for turn in sorted(self._turns)]

    def by_key(self) -> DueByKey:
        """What says when each report is polled next, as it is now, whoever asks it later."""
        due = {turn.call.identity: turn.due for turn in self._turns}
        calls = self.agenda.calls

        def found() -> dict[Key, tuple[float, datetime | None]]:
            return {
                key: (entry.interval.total_seconds(), due.get(identity))
                for identity, call in calls.items()
                for key, entry in zip(call.keys, call.entries, strict=True)
            }

        return found

    def placed(self, agenda: Agenda) -> list[Turn]:
        """The turns of these calls; changes nothing, see `assign`.

        One that is there, or is remembered, keeps its place in time, a new one is due now.
        """
        # By signature: what is asked of a bot that was renamed is wanted under its new name soon.
        kept = {turn.call.signature: turn for turn in self._turns}
        due = {signature: turn.due for signature, turn in kept.items()}
        now = self._now()
        for call in agenda.calls.values() if self._remembered else ():
            if call.signature in self._remembered:
                # The clock may have been set back since, or the interval be shorter now.
                latest = agenda.rhythms[call].after(now)
                due.setdefault(call.signature, min(self._remembered[call.signature], latest))
        turns = [
            Turn(due.get(call.signature, now), call.slow, order, call)
            for order, (identity, call) in enumerate(agenda.calls.items())
            if identity not in self._in_flight
        ]
        for turn in turns:
            before = kept.get(turn.call.signature)
            if before:
                turn.missing, turn.put_off = before.missing, before.put_off
                turn.missing_since = before.missing_since
        heapq.heapify(turns)
        return turns

    def assign(self, agenda: Agenda, turns: list[Turn]) -> None:
        """Let these be the calls, with the turns that `placed` has found for them."""
        self.agenda, self._turns, self._remembered = agenda, turns, {}
        self._woken.set()

    async def next(self) -> Turn:
        """The turn that has waited longest, when it is due; on its way until it is put back."""
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
        if turn.call.slow:  # now: another agenda may be in force before it is sent
            turn.due = self.agenda.rhythms[turn.call].after(self._now())
        self._in_flight[turn.call.identity] = turn
        return turn

    def landed(self, turn: Turn) -> Call | None:
        """Note that a turn is no longer on its way; its call as it is now, None if no longer wanted."""
        del self._in_flight[turn.call.identity]
        return self.agenda.calls.get(turn.call.identity)

    def put_back(self, turn: Turn, call: Call, due: datetime) -> None:
        """Let a call have its next turn."""
        self._some_put_off |= turn.put_off
        # Renamed meanwhile, or another question: then it is due now.
        turn.due = due if call.signature == turn.call.signature else self._now()
        turn.call = call
        heapq.heappush(self._turns, turn)
        self._woken.set()

    def catch_up(self) -> None:
        """Now that the API answers, let what was put off be due."""
        if not self._some_put_off:
            return  # as nearly always: nothing is looked through for it
        self._some_put_off = False
        for turn in self._turns:
            if turn.put_off:
                turn.due, turn.put_off = min(turn.due, self._now()), False
        heapq.heapify(self._turns)
        self._woken.set()

    def _notice_the_clock(self) -> None:
        """Where the clock was set back, let every turn be due as the new time has it."""
        now, before = self._now(), self._seen
        self._seen = now
        if now < before:
            for turn in self._turns:
                turn.due = min(turn.due, self.agenda.rhythms[turn.call].after(now))
            heapq.heapify(self._turns)
