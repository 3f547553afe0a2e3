"""One probe of one bot: its requests, one after the other, and what came of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from exporter.config import Module
from exporter.errors import NoConnection, NotSent, Outcome, ReplyError, RequestFailed
from exporter.model.answer_pattern import compiled
from exporter.model.reply_values import Drift
from exporter.probing.conversation import FIRST_LOOK, Said, opened, opening, question, said
from exporter.probing.result import Phase, Reason, Result
from exporter.upstream.answer import Answer
from exporter.upstream.client import Client
from exporter.upstream.sender import Received, Sender

LAST_READ: Final = 5.0
"""Seconds for a reading of the messages beyond the bot's time."""

LOOK_BACK: Final = 20
"""Earlier messages that are read as well: a person may have taken over long before the question."""

_DRIFT: Final = "probe"
"""The name under which deviations from the documents are counted."""


async def probed(
    sender: Sender,
    bot_id: str,
    module: Module,
    now: Callable[[], datetime],
    *,
    asking: Callable[[], None] = lambda: None,
    handed_over: bool = False,
) -> Result:
    """Ask a bot a module's question, once.

    Args:
        sender: Sends the requests, within the limits of the workspace.
        bot_id: The id of the bot.
        module: The question, and what its answer must be like.
        now: The present as an aware instant; durations come from the event loop's clock.
        asking: Called when the question is sent.
        handed_over: Whether a person had the conversation when it was last seen. It is still so if
            the bot does not answer and no message says otherwise.
    """
    exchange = _Exchange(sender, bot_id, module, now(), asking, handed_over)
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
        asking: See `probed`.
        handed_over: Likewise.
        phase: The present phase, apart from waiting.
        phases: The seconds of each phase so far.
        asked: Whether the question was sent, and not refused unread.
        replied: Whether the request that carries the question has ended well.
    """

    sender: Sender
    bot_id: str
    module: Module
    at: datetime
    asking: Callable[[], None]
    handed_over: bool
    phase: Phase = Phase.CONVERSATION
    phases: dict[Phase, float] = field(default_factory=dict)
    asked: bool = False
    replied: bool = False

    def __post_init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._pattern = compiled(self.module.answer)
        self._patience = self.module.timeout.total_seconds()
        self._look_next = FIRST_LOOK
        self._drift = Drift()

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
            if found.handed_over is False:
                self.handed_over = False
            looked = await self._look(conversation, found.sequence)
            if looked is None:
                return self.ended(Reason.HANDOVER if self.handed_over else Reason.NO_ANSWER)
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
            return await received.made(partial(opened, drift=self._drift))

    async def _ask(self, conversation: str) -> Said:
        """Send the question; what its reply says."""
        body = question(self.module)

        async def ask(client: Client, key: str) -> Answer:
            self.asked = True
            self.asking()
            return await client.message(self.bot_id, conversation, body, key, self._patience)

        sent = self.sender.probe(self.bot_id, ask, replies=True)
        with await self._timed(sent) as received:
            self.replied = True
            return await received.made(partial(said, pattern=self._pattern, drift=self._drift))

    async def _look(self, conversation: str, sequence: int) -> Said | None:
        """Read the messages after a while; None if the bot's time is over.

        The bot has answered the request without an answer in it. It may come later, and is then
        among the messages, as is the event with which a person took over.
        """
        left = self._patience - self.phases[Phase.ANSWER]
        if left <= 0:
            return None
        pause = min(self._look_next, left)
        self._look_next *= 2
        await asyncio.sleep(pause)
        self._add(Phase.ANSWER, pause)
        first, seconds = max(sequence - LOOK_BACK, 1), left - pause + LAST_READ

        async def ask(client: Client, key: str) -> Answer:
            return await client.messages(self.bot_id, conversation, first, key, seconds)

        with await self._timed(self.sender.probe(self.bot_id, ask)) as received:
            read = partial(said, pattern=self._pattern, drift=self._drift, since=sequence)
            return await received.made(read)

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
        held_back = isinstance(error, NotSent) or error.outcome is Outcome.RATE_LIMITED
        # Of the reading of an answer, neither says anything about the question.
        for_nothing = (held_back or isinstance(error, NoConnection)) and not self.replied
        if for_nothing:
            self.asked = False
        result = self.ended(self._reason(error, held_back=held_back), str(error))
        return replace(result, retry=for_nothing)

    def _reason(self, error: RequestFailed, *, held_back: bool) -> Reason:
        if error.outcome is Outcome.UNAUTHORIZED:
            return Reason.KEY_REJECTED
        if held_back:
            return Reason.HELD_BACK
        if error.outcome is Outcome.TIMEOUT and self.asked and not self.replied:
            return Reason.NO_ANSWER
        return Reason.REFUSED if error.outcome is Outcome.CLIENT_ERROR else Reason.API_ERROR

    def ended(
        self, reason: Reason | None, detail: str = "", *, matches: bool | None = None
    ) -> Result:
        """The result."""
        self.sender.drifted(_DRIFT, self._drift)
        return Result(self.at, dict(self.phases), reason, matches, detail, self.asked)
