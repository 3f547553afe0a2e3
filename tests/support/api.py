"""A stand-in for the API at the one edge that is not ours: httpx's transport."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

Answer = tuple[int, object]
OVERVIEW = {"conversations": 1}
ANSWERS: dict[str, object] = {
    "conversation_overview": {"conversations": 150},
    "communication_volume": {"inbound_voice_count": 25},
    "activity_trend": {"data": []},
    "label_usage": [],
    "label_overview": [{"id": "l1", "name": "Support", "total_count": 3}],
    "csat": {"total_responses": 2, "average_rating": 3.5},
    "total_usage": {"total_chat_responses": 7},
    "conversation_breakdown": {"messages_by_hour": {"9": 5}},
    "conversation_overview_yearly": {"total_messages": 12},
    "agent_activity": {"agents": []},
}


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    """A body that comes as from a network: unread, in pieces."""
    for piece in content:
        yield piece


def in_pieces(answer: object) -> AsyncIterator[bytes]:
    """An answer as JSON, in two pieces."""
    content = json.dumps(answer).encode()
    return pieces(content[: len(content) // 2], content[len(content) // 2 :])


@dataclass
class FakeApi:
    """Answers each metric with a small object and keeps a journal.

    Attributes:
        now: The clock of the journal.
        answer: Decides what a request gets, by its body; None leaves it to `ANSWERS`.
        seconds: How long an answer takes.
    """

    now: Callable[[], datetime]
    answer: Callable[[dict[str, Any]], Answer | None] = lambda _: None
    seconds: float = 0.2
    journal: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    flying: int = 0
    most_flying: int = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take a request down, wait, and answer it."""
        body = json.loads(request.content)
        self.journal.append((self.now(), body))
        self.flying += 1
        self.most_flying = max(self.flying, self.most_flying)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.flying -= 1
        status, content = self.answer(body) or (200, self._usual(body))
        return httpx.Response(status, content=in_pieces(content))

    def _usual(self, body: dict[str, Any]) -> object:
        if "metric" in body:
            return {"metric": body["metric"], "data": [], **ANSWERS.get(body["metric"], {})}  # type: ignore[dict-item]  # those asked so are objects
        return {metric: ANSWERS[metric] for metric in body["metrics"]}

    @property
    def transport(self) -> httpx.MockTransport:
        """The transport to give to a client."""
        return httpx.MockTransport(self)

    def sent(self, metric: str) -> list[datetime]:
        """When a metric was asked for."""
        return [
            at for at, body in self.journal if metric in (body.get("metrics") or [body["metric"]])
        ]
