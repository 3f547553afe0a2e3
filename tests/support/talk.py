"""A stand-in for the API whose bots talk, in a world where minutes take milliseconds."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import httpx

from exporter.config import Module
from exporter.model import api_paths
from exporter.polling.workspace import WorkspacePoller
from exporter.probing.prober import Prober
from exporter.probing.result import Result
from support.api import FakeApi, in_pieces
from support.polled import Polled
from support.virtual import World
from support.workspaces import workspace

HOURS: Final = Module(question="When are you open?", answer="(?i)nine")
RIGHT: Final = "We open at nine. canary-in-an-answer"
CONVERSATION: Final = "conversation-1"

Json = dict[str, Any]


def message(sequence: int, event: str, text: str = "", speaker: str = "BOT") -> Json:
    """One message as the documents show it."""
    return {
        "id": sequence,
        "text": text,
        "data": {"recipient_id": "r", "text": text},
        "event": event,
        "sequence": sequence,
        "speaker": {"id": speaker, "name": speaker, "first_name": speaker},
        "created_at": "2020-06-09T10:25:47",
    }


def reply(*messages: Json, sequence: int = 1) -> Json:
    """The reply to a message."""
    return {
        "conversation_id": CONVERSATION,
        "messages": list(messages),
        "inbound_sequence": sequence,
    }


@dataclass
class Bot:
    """How a bot reacts; each request takes `FakeApi.seconds` and these more.

    Attributes:
        replies: What follows a question.
        later: What the list of messages has.
        seconds: How long the reply takes.
        status: The status of the reply, or of the conversation.
        opens: The status of the request for a conversation.
        opening: How long that takes.
        reads: The status of the list of messages.
        reading: How long that takes.
        headers: Of every answer.
        broken: What happens to a question instead of all that.
        conversation: The id of the conversation.
    """

    replies: Json = field(default_factory=lambda: reply(message(2, "OUTBOUND_MESSAGE", RIGHT)))
    later: list[Json] = field(default_factory=list)
    seconds: float = 0.0
    status: int = 200
    opens: int = 200
    opening: float = 0.0
    reads: int = 200
    reading: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    broken: Exception | None = None
    conversation: str = CONVERSATION


class Talk(FakeApi):
    """The API with bots that talk.

    Attributes:
        bots: How each bot reacts.
        asked: The requests below bots: method, what is below the bot, and the body or the query.
        times: When each of them came.
    """

    bots: dict[str, Bot]
    asked: list[tuple[str, str, Mapping[str, Any]]]
    times: list[datetime]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Let a bot react, or leave the request to the analytics."""
        path = request.url.path
        if not path.startswith(f"{api_paths.BOTS}/"):
            return await super().__call__(request)
        name, _, below = path.removeprefix(f"{api_paths.BOTS}/").partition("/")
        query = dict(request.url.params)
        content = json.loads(request.content) if request.content else query
        self.asked.append((request.method, below, content))
        self.times.append(self.now())
        bot = self.bots[name]
        await asyncio.sleep(self.seconds)
        status, body = 200, bot.replies
        if below == api_paths.CONVERSATION:
            status = bot.opens
            await asyncio.sleep(bot.opening)
            body = {"user": content["user"], "conversation_id": bot.conversation}
        elif request.method == "POST":
            status = bot.status
            await asyncio.sleep(bot.seconds)
            if bot.broken:
                raise bot.broken
        else:
            status = bot.reads
            await asyncio.sleep(bot.reading)
            body = {"conversation_id": CONVERSATION, "messages": bot.later}
        shown: object = body if status == 200 else {"detail": RIGHT}
        headers = {} if status == 200 else bot.headers
        return httpx.Response(status, content=in_pieces(shown), headers=headers)

    @property
    def questions(self) -> int:
        """How many messages were sent."""
        return sum(
            method == "POST" and below.endswith(api_paths.MESSAGES)
            for method, below, _ in self.asked
        )


class Probed(Polled):
    """A workspace whose bots are probed.

    Attributes:
        modules: The modules in force.
        prober: Probes them.
    """

    api: Talk

    def __init__(
        self,
        *bots: Bot,
        modules: Mapping[str, Module] | None = None,
        **others: Any,  # noqa: ANN401 - keys of the file
    ) -> None:
        self.modules = {"hours": HOURS} if modules is None else dict(modules)
        world = World()
        given = {
            "bots": len(bots),
            "probes": list(self.modules),
            "metrics": ["label_overview"],
            "requests_per_minute": 6000,
            **others,
        }
        known = {name: module.model_dump(mode="json") for name, module in self.modules.items()}
        super().__init__(workspace(modules=known, **given), world, Talk(world.now))
        self.api.bots = {f"b{number}": bot for number, bot in enumerate(bots)}
        self.api.asked, self.api.times = [], []

    def during(self, what: Callable[[Prober], Any]) -> Any:  # noqa: ANN401 - whatever it brings
        """What a coroutine function brings that is given the prober."""

        async def go() -> Any:  # noqa: ANN401
            async with self.start() as poller:
                self.prober = Prober(lambda: [self.poller], self.world.now)
                self.prober.adopt(self.modules)
                assert poller is self.poller
                return await what(self.prober)

        return self.world.run(go)

    def once(self, bot: str = "b0", module: str = "hours") -> Result:
        """The result of one probe."""

        async def probe(prober: Prober) -> Result:
            return await prober.probe("acme", bot, module)

        found: Result = self.during(probe)
        return found

    def replaced(self, **others: Any) -> WorkspacePoller:  # noqa: ANN401 - keys of the file
        """A new poller in place of the old one, as after a reload."""
        self.one = self.one.model_copy(update=others)
        poller = self.start()
        poller.begin()
        return poller
