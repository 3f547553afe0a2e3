"""One probe of one bot: its requests, one after the other, and what came of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from exporter.config import Module
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.model.answer_pattern import compiled
from exporter.probing.conversation import Said, opened, opening, question, said
from exporter.probing.result import Phase, Reason, Result
from exporter.upstream.answer import Answer
from exporter.upstream.client import Client
from exporter.upstream.sender import Received, Sender

FIRST_LOOK: Final = 1.0
"""Seconds after which the messages are read if the reply brought no answer; doubled each time."""

LOOK_BACK: Final = 20
"""Earlier messages that are read as well: a person may have taken over long before the question."""


async def probed(
    sender: Sender, bot_id: str, module: Module, now: Callable[[], datetime]
) -> Result:
    """Ask a bot a module's question, once.

    Args:
        sender: Sends the requests, within the limits of the workspace.
        bot_id: The id of the bot.
        module: The question, and what its answer must be like.
        now: The present as an aware instant; durations come from the event loop's clock.
    """
    exchange = _Exchange(sender, bot_id, module, now())
    try:
        return await exchange.run()
    except RequestFailed as error:
        return exchange.failed(error)
    except ReplyError as error:
        return exchange.ended(Reason.API_ERROR, str(error))


@dataclass
class _Exchange:
    """A probe that is under way.

    Attributes:
        sender: See `probed`.
        bot_id: Likewise.
        module: Likewise.
        at: When it began.
        phase: The present phase, apart from waiting.
        phases: The seconds of each phase so far.
        asked: Whether the question was sent.
    """

    sender: Sender
    bot_id: str
    module: Module
    at: datetime
    phase: Phase = Phase.CONVERSATION
    phases: dict[Phase, float] = field(default_factory=dict)
    asked: bool = False

    def __post_init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._pattern = compiled(self.module.answer)
        self._patience = self.module.timeout.total_seconds()
        self._look_next = FIRST_LOOK

    async def run(self) -> Result:
        """Open the conversation, ask, and wait for the answer.

        Raises:
            RequestFailed: If a request fails.
            ReplyError: If a reply cannot be read.
        """
        conversation = await self._open()
        self.phase = Phase.ANSWER
        found = await self._ask(conversation)
        while not (found.answered or found.handed_over):
            looked = await self._look(conversation, found)
            if looked is None:
                return self.ended(Reason.NO_ANSWER)
            found = looked
        # What a bot says before a person takes over is no answer.
        if found.handed_over:
            return self.ended(Reason.HANDOVER)
        reason = None if found.matches else Reason.WRONG_ANSWER
        return self.ended(reason, matches=found.matches)

    async def _open(self) -> str:
        """The id of the conversation."""
        body = opening(self.module)

        async def ask(client: Client, key: str) -> Answer:
            return await client.conversation(self.bot_id, body, key, self._patience)

        with await self._timed(self.sender.probe(self.bot_id, ask)) as received:
            return await received.made(opened)

    async def _ask(self, conversation: str) -> Said:
        """Send the question; what its reply says."""
        body = question(self.module)

        async def ask(client: Client, key: str) -> Answer:
            self.asked = True
            return await client.message(self.bot_id, conversation, body, key, self._patience)

        sent = self.sender.probe(self.bot_id, ask, replies=True)
        with await self._timed(sent) as received:
            return await received.made(partial(said, pattern=self._pattern))

    async def _look(self, conversation: str, before: Said) -> Said | None:
        """Read the messages after a while; None if the bot's time is over.

        The bot has answered the request without an answer in it. It may come later, and is then
        among the messages, as is the event with which a person took over.
        """
        left = self._patience - self.phases[Phase.ANSWER]
        if left <= 0 or before.sequence is None:
            return None
        pause = min(self._look_next, left)
        self._look_next *= 2
        await asyncio.sleep(pause)
        self.phases[Phase.ANSWER] += pause
        first = max(before.sequence - LOOK_BACK, 1)

        async def ask(client: Client, key: str) -> Answer:
            return await client.messages(self.bot_id, conversation, first, key, self._patience)

        with await self._timed(self.sender.probe(self.bot_id, ask)) as received:
            return await received.made(partial(said, pattern=self._pattern, since=before.sequence))

    async def _timed(self, sent: Awaitable[Received]) -> Received:
        """Await a request, and note how long it waited and took.

        Raises:
            RequestFailed: If it fails.
        """
        begun, took = self._time(), 0.0
        try:
            received = await sent
            took = received.seconds
        except RequestFailed as error:
            took = error.seconds
            raise
        else:
            return received
        finally:
            self._add(Phase.WAIT, max(self._time() - begun - took, 0.0))
            self._add(self.phase, took)

    def _add(self, phase: Phase, seconds: float) -> None:
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def failed(self, error: RequestFailed) -> Result:
        """What a failed request amounts to."""
        if error.outcome is Outcome.RATE_LIMITED and not isinstance(error, NotSent):
            self.asked = False  # whatever was refused so cost nothing
        return self.ended(self._reason(error), str(error))

    def _reason(self, error: RequestFailed) -> Reason:
        if error.outcome is Outcome.UNAUTHORIZED:
            return Reason.KEY_REJECTED
        if isinstance(error, NotSent) or error.outcome is Outcome.RATE_LIMITED:
            # If the question is out, only the reading of its answer was held back.
            answering = self.asked and isinstance(error, NotSent)
            return Reason.NO_ANSWER if answering else Reason.HELD_BACK
        if error.outcome is Outcome.TIMEOUT and self.asked:
            return Reason.NO_ANSWER
        return Reason.REFUSED if error.outcome is Outcome.CLIENT_ERROR else Reason.API_ERROR

    def ended(
        self, reason: Reason | None, detail: str = "", *, matches: bool | None = None
    ) -> Result:
        """The result."""
        return Result(self.at, dict(self.phases), reason, matches, detail, self.asked)
