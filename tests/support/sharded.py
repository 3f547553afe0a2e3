"""Instances that share one workspace of the sandbox, come and go, in a world where a day takes seconds."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import httpx

from exporter.config import Config, Workspace
from exporter.metrics.exposition import rendered
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.shards import Shard
from exporter.polling.plan import planned_calls
from exporter.polling.workspace import WorkspacePoller
from exporter.sandbox import Sandbox
from exporter.state.encoding import State, decoded, encoded
from exporter.state.workspace_memory import Memory
from support.virtual import START, World
from support.workspaces import workspace

LATENCY: Final = 0.2
"""Seconds that an answer takes."""


def of_shard(one: Workspace, shard: str) -> Workspace:
    """A workspace as a shard polls it."""
    return Config((one,)).of_shard(Shard.parsed(shard)).workspaces[0]


class Journal(httpx.AsyncBaseTransport):
    """The way to a sandbox, which takes down when each request comes.

    Attributes:
        entries: The instant of each request, its path, and its body.
    """

    def __init__(self, sandbox: Sandbox, now: Callable[[], datetime]) -> None:
        self.entries: list[tuple[datetime, str, dict[str, Any]]] = []
        self._way = httpx.ASGITransport(sandbox)
        self._now = now

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Take a request down and let the sandbox answer it."""
        body = json.loads(await request.aread() or b"{}")
        self.entries.append((self._now(), request.url.path, body))
        await asyncio.sleep(LATENCY)
        return await self._way.handle_async_request(request)


class Instance:
    """A process that polls its share.

    Attributes:
        poller: What polls.
        store: Its values.
        telemetry: What it counts.
    """

    def __init__(self, one: Workspace, world: World, api: Journal, state: bytes | None) -> None:
        self.store, self.telemetry = Store(), Telemetry()
        before = decoded(state) if state else State()
        for key, record in before.records.items():
            self.store.put(key, record)
        self.poller = WorkspacePoller(
            *(one, self.store, self.telemetry, world.now),
            transport=api,
            memory=next(iter(before.memories), Memory()),
        )
        self.poller.begin()
        self._task = asyncio.ensure_future(self.poller.run())

    async def end(self) -> bytes:
        """End it; its state file."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        state = encoded(State((self.poller.memory,), self.store.generation()))
        await self.poller.close()
        return state


class Shards:
    """The instances of one workspace of a sandbox.

    Args:
        bots: How many bots it has.
        found: Whether they are discovered, instead of being in the configuration.
        start: When it begins.
        settings: Any other key of the workspace.

    Attributes:
        one: The workspace, undivided.
        world: Their clock.
        sandbox: What they ask.
        journal: What it is asked.
        running: Those that run, by index.
        states: The state files, by index.
    """

    def __init__(
        self,
        bots: int,
        *,
        found: bool = False,
        start: datetime = START,
        **settings: Any,  # noqa: ANN401 - keys of the file
    ) -> None:
        self.world = World(start)
        self.sandbox = Sandbox.make(
            now=self.world.now, bots=bots, days=2, conversations_per_day=2, ahead_days=3
        )
        there = self.sandbox.workspaces[0]
        listed = [{"id": bot.id, "name": bot.name} for bot in there.bots]
        given: dict[str, Any] = {"discover_bots": {}} if found else {"bots": listed}
        key = {"api_key": there.seachat_key, "workspace_id": there.id}
        self.one = workspace(**{"metrics": ["total_usage"], **given, **key, **settings})
        self.journal = Journal(self.sandbox, self.world.now)
        self.running: dict[int, Instance] = {}
        self.states: dict[int, bytes] = {}

    def start(self, *shards: str) -> None:
        """Start instances with their state files."""
        for shard in shards:
            index = Shard.parsed(shard).index
            assert index not in self.running, "two processes of one index"
            one = of_shard(self.one, shard)
            self.running[index] = Instance(one, self.world, self.journal, self.states.get(index))

    async def stop(self, *indices: int) -> None:
        """End instances; their state files stay."""
        for index in indices:
            self.states[index] = await self.running.pop(index).end()

    async def lasts(self, **units: float) -> None:
        """Let time pass."""
        await asyncio.sleep(timedelta(**units).total_seconds())

    def through(self, story: Callable[["Shards"], Awaitable[None]]) -> "Shards":
        """Live through a story, and end."""

        async def go() -> None:
            await story(self)
            await self.stop(*list(self.running))

        with closing(self.sandbox):
            self.world.run(go)
        return self

    def pages(self) -> list[str]:
        """What each instance shows of the API now, and tells of its reports."""
        now = self.world.now()
        return [rendered(one.store, now) for _, one in sorted(self.running.items())]

    @property
    def asked(self) -> dict[tuple[str, ...], list[datetime]]:
        """When each bot was asked about each set of metrics; an empty id for the workspace."""
        found = defaultdict[tuple[str, ...], list[datetime]](list)
        for at, _, body in self.journal.entries:
            if body:
                found[str(body.get("gptbot_id", "")), *body["metrics"]].append(at)
        return found

    @property
    def times(self) -> list[datetime]:
        """When each request came."""
        return [at for at, *_ in self.journal.entries]

    def turns(self) -> Iterator[list[int]]:
        """The turns in which each bot was asked, counted from the first one that is seen."""
        calls = {call.target.bot_id: call for call in planned_calls(self.one, self.one.bots)}
        for (bot, *_), times in self.asked.items():
            interval = calls[bot].interval
            since = self.world.start - timedelta(days=1) + interval * calls[bot].place
            yield [(at - since) // interval for at in times]

    def gaps(self) -> Iterator[timedelta]:
        """The times between two requests for the same."""
        for times in self.asked.values():
            yield from (later - earlier for earlier, later in pairwise(times))

    def beyond(self, per_minute: float) -> float:
        """By how many requests any period has more than a rate allows: all that a bucket has to hold."""
        most = lowest = 0.0
        for index, at in enumerate(self.times):
            saved = index - per_minute * (at - self.times[0]).total_seconds() / 60
            lowest = min(lowest, saved)
            most = max(most, saved + 1 - lowest)
        return most
