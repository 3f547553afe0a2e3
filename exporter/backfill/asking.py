"""Sends the requests of a backfill through the same sender as `serve`, and keeps every answer.

The rate limit, the daily budget, the pause that the API asks for, the circuit breaker and the retry
budget are those of the sender. A live poller gives up where it would have to wait for long, because
its next turn comes anyway. A backfill waits instead, and asks again.

It ends early, with everything so far in the journal, if waiting does not help: the key is rejected,
the day's budget is spent, or a request has failed `TRIES` times. A bot that the API does not know
any more costs its own past alone, and a question that the API refuses costs its own answers.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from exporter.backfill.journal import Journal
from exporter.backfill.plan import WHOLE_DAY, Plan, Request
from exporter.backfill.readings import Reading, nothing, readings
from exporter.errors import Cause, NotSent, Outcome, RequestFailed
from exporter.model.entry import Entry
from exporter.model.history import Span
from exporter.upstream.sender import Sender

TRIES: Final = 6
"""How often a request is sent before the backfill ends; the sender's own retries not counted."""

_REFUSED_FOR_GOOD: Final = 3
"""How often a question is refused before it is not asked any more."""

_FIRST_WAIT: Final = 5.0
_LONGEST_WAIT: Final = 60.0
_LONGEST_PAUSE: Final = 3600.0
"""Seconds between two tries, and the longest pause that is waited for."""


class Progress(Protocol):
    """Shows how far a backfill is."""

    def done(self, request: Request) -> None:
        """A request of the plan needs no more attention."""

    def note(self, text: str) -> None:
        """Something that the operator should know."""


class Stopped(Exception):
    """The backfill cannot go on; the text says why."""


class Interrupted(Stopped):
    """The operator ended it, or another request did."""

    def __init__(self) -> None:
        super().__init__("interrupted")


def _weight(error: BaseException) -> int:
    return isinstance(error, Stopped) + isinstance(error, Interrupted)


class Asking:
    """Sends the requests of one workspace.

    Args:
        plan: The requests.
        sender: Sends them.
        journal: Keeps the answers.
        progress: Shows the progress.
        now: The present as an aware instant.

    Attributes:
        name: The name of the workspace.
        sent: How many requests were answered, by part.
        skipped: How many were not sent because part A shows that the day is empty, by part.
        problems: What is missing in the end, one line each.
    """

    def __init__(
        self,
        plan: Plan,
        sender: Sender,
        journal: Journal,
        progress: Progress,
        now: Callable[[], datetime],
    ) -> None:
        self.sent, self.skipped = Counter[str](), Counter[str]()
        self.problems: dict[str, None] = {}
        self._plan = plan
        self.name = plan.workspace.name
        self._sender = sender
        self._journal = journal
        self._progress = progress
        self._now = now
        self._stop = asyncio.Event()
        self._gone: set[str] = set()
        self._refusals = Counter[str]()
        self._empty: tuple[str, frozenset[int]] | None = None

    def end(self) -> None:
        """Send no further request, and end once the answers in flight are in the journal."""
        self._stop.set()

    async def run(self) -> None:
        """Send what the journal does not have yet.

        Raises:
            Stopped: If it must end early.
        """
        # Part by part: part B leaves out days that part A shows to be empty.
        for part in ("A", "C", "D", "B"):
            waiting = iter(self._plan.part(part))
            workers = [self._work(waiting) for _ in range(self._plan.workspace.concurrency)]
            # Each ends its own request, whatever the others do: an answer is never thrown away.
            ends = await asyncio.gather(*workers, return_exceptions=True)
            # The cause first: a bug, then what stopped one worker, then those that it interrupted.
            for end in sorted(filter(None, ends), key=_weight):
                raise end
            if self._stop.is_set():
                raise Interrupted

    async def _work(self, waiting: Iterator[Request]) -> None:
        for request in waiting:
            if self._stop.is_set():
                return
            try:
                await self._take(request)
            except BaseException:
                self._stop.set()
                raise
            self._progress.done(request)

    async def _take(self, request: Request) -> None:
        """Have the answer of one request in the journal, unless there is none to be had."""
        if request.target.bot_id in self._gone:
            return
        missing = await asyncio.to_thread(self._journal.missing, self._plan.account, request)
        if missing is None:
            return
        if missing.part == "B" and await asyncio.to_thread(self._is_empty, missing):
            await self._keep(nothing(missing, self._now()))
            self.skipped[missing.part] += 1
            return
        often = self._refusals
        asked = tuple(one for one in missing.asked if often[one.question] < _REFUSED_FOR_GOOD)
        try:
            if asked:
                await self._answer(missing, asked)
        except RequestFailed as error:
            if error.missing and request.target.bot_id:
                self._gone.add(request.target.bot_id)
                self._problem(f"bot {request.target.bot_id}: {error}; its past is left out")
                return
            if not error.refused:
                raise Stopped(f"{error}") from None
            if len(asked) == 1:
                self._refused(asked[0], error)
            else:
                await self._split(missing, asked)

    async def _split(self, request: Request, asked: tuple[Entry, ...]) -> None:
        """Ask the questions of a refused request one by one: one may have caused the refusal."""
        for entry in asked:
            try:
                await self._answer(request, (entry,))
            except RequestFailed as error:
                if error.outcome is not Outcome.CLIENT_ERROR:
                    raise Stopped(f"{error}") from None
                self._refused(entry, error)

    async def _keep(self, found: tuple[Reading, ...]) -> None:
        """Have readings in the journal, and with them the day's count: a kill may come next."""
        await asyncio.to_thread(self._journal.add, self._plan.account, found, self._sender.standing)

    def _refused(self, entry: Entry, error: RequestFailed) -> None:
        self._refusals[entry.question] += 1
        self._problem(f"{entry.report.name}: {error}; it is left out where that happened")

    async def _answer(self, request: Request, asked: tuple[Entry, ...]) -> None:
        """Send some questions of a request, as often as it takes, and keep the answer.

        Raises:
            RequestFailed: If the API refuses them, or does not know the bot.
            Stopped: If it must end early.
        """
        wait, tried = _FIRST_WAIT, 0
        part = replace(request, asked=asked)
        while True:
            try:
                with await self._sender.report(
                    lambda _sent: part.body(), request.target.bot_id
                ) as received:
                    made, errors = await received.made(
                        lambda answer: readings(part, answer, received.sent)
                    )
                    received.readable = bool(made)
            except NotSent as error:
                if error.cause in {Cause.BUDGET_SPENT, Cause.NO_KEY, Cause.KEY_REJECTED}:
                    raise Stopped(f"{error}") from None
                await self._pause(self._held_back(), f"{error}")
            except RequestFailed as error:
                tried += 1
                await self._keep(())
                if error.missing or error.refused:
                    raise
                last = tried == TRIES or error.outcome is Outcome.UNAUTHORIZED
                if last or error.outcome is Outcome.CLIENT_ERROR:
                    raise Stopped(f"{error}") from None
                await self._pause(max(wait, self._held_back()), f"{error}")
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                self.sent[request.part] += 1
                for unread in errors:
                    self._problem(f"{unread}; it is left out where that happened")
                await self._keep(made)
                return

    def _held_back(self) -> float:
        """Seconds until the pause or the breaker lets a request through, and one second more."""
        until = [at for at in self._sender.held_back if at]
        seconds = [(at - self._now()).total_seconds() for at in until]
        return max(seconds, default=0.0) + 1.0

    async def _pause(self, seconds: float, why: str) -> None:
        """Wait, unless that takes too long or is interrupted.

        Raises:
            Stopped: If it takes too long, or if it was interrupted.
        """
        if seconds > _LONGEST_PAUSE:
            raise Stopped(why)
        self._progress.note(f"workspace {self.name}: {why}; waiting {seconds:.0f} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        if self._stop.is_set():
            raise Interrupted

    def _is_empty(self, request: Request) -> bool:
        """Whether part A shows that nothing happened on a day: all of its counts are there and 0."""
        bot, day = request.target.bot_id, request.days.first
        # Another thread may be at the next bot and replace what is kept for all of them.
        empty = self._empty
        if empty is None or empty[0] != bot:
            self._empty = empty = (bot, self._empty_days(bot))
        return day.toordinal() in empty[1]

    def _empty_days(self, bot: str) -> frozenset[int]:
        scope = "bots" if bot else "workspace"
        if not self._plan.shows_empty_days(scope):
            return frozenset()
        asked = self._plan.questions(scope, Span.DAYS)
        known = [self._journal.known(self._plan.account, bot, entry.question) for entry in asked]
        return frozenset(
            day.toordinal()
            for day, hour in known[0]
            if hour == WHOLE_DAY
            and all(
                (day, hour) in one and not any(sample.value for sample in one[day, hour])
                for one in known
            )
        )

    def _problem(self, text: str) -> None:
        line = f"workspace {self.name}: {text}"
        if line not in self.problems:
            self.problems[line] = None
            self._progress.note(line)
