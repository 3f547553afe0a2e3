"""A sandbox that is examined: one database for all tests, and another temper for each."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from support.virtual import World
from support.workspaces import workspace

from exporter.config import Workspace
from exporter.doctor.examination import Examination, examined
from exporter.doctor.findings import Finding
from exporter.sandbox import Sandbox, SandboxWorkspace, Temperament

START: Final = datetime(2026, 11, 19, 15, 30, tzinfo=UTC)
DAYS: Final = 95
Message = MutableMapping[str, Any]


@dataclass
class Account:
    """A sandbox and its clock; every request and every answer is noted.

    Attributes:
        sandbox: Answers, unless `fails` says otherwise.
        world: Its clock.
        arrivals: When each request came, in seconds.
        answers: The status and the body of each answer.
        fails: The status with which a request fails, by its number from 0; None to be answered.
        changes: Changes the body of each answer.
    """

    sandbox: Sandbox
    world: World
    arrivals: list[float] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    fails: Callable[[int], int | None] = lambda _: None
    changes: Callable[[object], object] = lambda answer: answer

    @property
    def owner(self) -> SandboxWorkspace:
        """The company whose account it is."""
        return self.sandbox.workspaces[0]

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Note a request, and answer it."""
        number = len(self.arrivals)
        self.arrivals.append(asyncio.get_running_loop().time())
        status = self.fails(number)
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b'{"detail":"planted"}'})
            return
        body = b""
        head: Message = {}

        async def noted(message: Message) -> None:
            nonlocal body, head
            if message["type"] == "http.response.start":
                self.answers.append((message["status"], None))
                head = message
            body += message.get("body", b"")

        await self.sandbox(scope, receive, noted)
        answer = self.changes(json.loads(body))
        self.answers[-1] = (self.answers[-1][0], answer)
        kept = [line for line in head["headers"] if line[0] in {b"date", b"retry-after"}]
        await send({**head, "headers": kept})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def workspace(self, api: str = "seachat", **others: Any) -> Workspace:  # noqa: ANN401 - any key of the file
        """The configuration of the account."""
        given: dict[str, Any] = {
            "api": api,
            "api_key": getattr(self.owner, f"{api}_key"),
            "timezone": self.owner.timezone,
            "base_url": "http://127.0.0.1:1",
        }
        if api == "seachat":
            given["workspace_id"] = self.owner.id
            given["bots"] = [{"id": bot.id} for bot in self.owner.bots[:3]]
        given |= others
        return workspace(**{key: value for key, value in given.items() if value is not None})

    def examined(self, api: str = "seachat", **others: Any) -> Examination:  # noqa: ANN401 - any key of the file
        """The examination of the account with this configuration."""
        one = self.workspace(api, **others)
        transport = httpx.ASGITransport(self)
        return self.world.run(lambda: examined(one, self.world.now, transport=transport))


def found(examination: Examination, question: str) -> Finding:
    """The first finding about a question."""
    return next(one for one in examination.findings if one.question == question)


@pytest.fixture(scope="session")
def company() -> Iterator[Sandbox]:
    """A company with eight bots, the last of which is switched off."""
    made = Sandbox.make(now=lambda: START, bots=8, days=DAYS, conversations_per_day=12)
    with closing(made):
        yield made


@pytest.fixture(scope="session")
def account(company: Sandbox) -> Callable[..., Account]:
    """Makes accounts of the company, each with a temper and a clock of its own."""
    since = int((START - timedelta(days=DAYS + 2)).timestamp())
    connection: sqlite3.Connection = company.connection

    def make(*temper: Temperament, start: datetime = START) -> Account:
        world = World(start)
        given: Collection[Temperament] = temper
        sandbox = Sandbox(connection, company.workspaces, world.now, since, temper=given)
        return Account(sandbox, world)

    return make
