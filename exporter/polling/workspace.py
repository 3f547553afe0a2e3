"""The polling of one workspace: client, sender, reports and, if configured, other lists."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

from exporter.config import Bot, Workspace
from exporter.metrics.poll_results import Results
from exporter.metrics.store import Record, Store
from exporter.metrics.telemetry import KNOWLEDGE_BASE, Telemetry
from exporter.model.targets import Key
from exporter.polling.discovery import BotDiscovery, known_bots
from exporter.polling.knowledge_bases import KnowledgeBases
from exporter.polling.poller import Failure, ReportPoller, nowhere
from exporter.polling.status import Rest, WorkspaceStatus, targets
from exporter.polling.workload import Workload
from exporter.state.workspace_memory import Memory, Origin, RememberedBots
from exporter.upstream.client import Client, Transport, Trust
from exporter.upstream.limiter import SenderState
from exporter.upstream.sender import Sender
from exporter.upstream.shared_keys import SharedKeys


def ahead(workspace: Workspace, memory: Memory) -> Workload:
    """The workload that a poller starts with; slow for many bots, and safe in any thread."""
    finds = workspace.discover_bots
    bots = known_bots(workspace, memory.listed).bots if finds else workspace.bots
    return Workload.of(workspace, bots)


def rehearse(workspace: Workspace) -> Client:
    """Make the parts of a poller, as a check of the configuration.

    While the caller keeps the client, other workspaces share its TLS context.

    Raises:
        StartError: If the workspace's certificates or URLs cannot be used.
    """
    ahead(workspace, Memory())
    return Client(workspace)


def _spent(memory: Memory, origin: Origin) -> SenderState:
    """The sender's state that stays valid if the workspace now belongs to another customer.

    The daily count, the breaker and the retry budget still apply, because they limit the requests
    to the same API. The pause and the rejections belong to the old key.
    """
    if memory.origin[:3] != origin[:3]:
        return SenderState()
    return replace(memory.standing, not_before=None, paused_key="", resting=(), url="")


class WorkspacePoller:
    """Polls one workspace; until it begins, it changes neither the store nor the telemetry.

    Args:
        workspace: The workspace.
        store: Takes the values.
        telemetry: The exporter's own metrics.
        now: The present as an aware instant.
        changed: Called when the values in the store have changed.
        noted: See `ReportPoller`.
        transport: Replaces the network in tests.
        memory: The memory from before a restart or a reload; the store still has its values. If it
            is of another origin, its values are removed.
        trusted: The TLS trust, see `exporter.upstream.client.trust`; by default, it is made here.
        shared_keys: The pauses and judgements of keys, shared by all pollers of the process.
        origin: The origin of the values, see `Origin.of`; by default, it is computed here.

    Raises:
        StartError: If the workspace's certificates or URLs cannot be used.

    Attributes:
        workspace: The workspace.
        sender: Sends its requests.
        reports: Polls its reports.
        closed: Whether its connections are closed, or about to be.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the last have defaults that nearly all take
        self,
        workspace: Workspace,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
        noted: Callable[[], Awaitable[None]] = nowhere,
        transport: Transport | None = None,
        memory: Memory = Memory(),  # noqa: B008 - immutable
        trusted: Trust | None = None,
        shared_keys: SharedKeys | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.workspace = workspace
        self._store = store
        self._now = now
        self._origin = origin or Origin.of(workspace)
        self._foreign = not memory.origin.same(self._origin)
        self._memory = (
            Memory(self._origin, _spent(memory, self._origin)) if self._foreign else memory
        )
        self._restored = False
        self._client = Client(workspace, transport, now, trusted)
        self.sender = Sender(
            workspace, self._client, telemetry, now, self._memory.standing, shared_keys=shared_keys
        )
        self._results = Results(workspace, store, telemetry, changed)
        self.reports = ReportPoller(workspace, self.sender, self._results, now, noted)
        discovery = workspace.discover_bots
        self._discovery = (
            BotDiscovery(workspace, discovery, self.reports, self.sender, self._results, now)
            if discovery
            else None
        )
        self._knowledge_bases = (
            KnowledgeBases(workspace, lambda: self.bots, self.sender, self._results, now)
            if workspace.knowledge_base
            else None
        )
        self._bots: tuple[tuple[Bot, ...], dict[str, Bot]] = ((), {})
        self._carried = set[asyncio.Task[Any]]()
        self.closed = False

    def begin(self, workload: Workload | None = None) -> None:
        """Create the workspace's metrics, and keep only the records that are still polled.

        `workload` is the result of `ahead`, if that was called already.
        """
        now, name = self._now(), self.workspace.name
        if self._foreign:
            self._store.keep(frozenset(), name)
        self.sender.begin()
        telemetry, place = self._results.telemetry, (self.workspace.api, name)
        telemetry.withdraw(KNOWLEDGE_BASE, *place)  # the first answer decides again
        self.reports.recall(self._memory.turns)
        if self._discovery:
            self._discovery.begin(self._memory.listed, workload)
        else:
            self.reports.assign(workload or ahead(self.workspace, self._memory))
        self._restored = any(record.valid(now) for record in self._store.of(name))

    async def settle(self) -> None:
        """Cut the values to `max_series`, which a reload may have lowered."""
        await self._results.settle()

    def restore_metrics(self) -> None:
        """Set this workspace's metrics again after another poller of the same name has set them."""
        self.sender.begin()
        self.reports.report_load()
        self._results.changed()  # the exposition has the number of series

    def retire(self, store: Store, telemetry: Telemetry) -> None:
        """Send all further values and counts to another store and telemetry.

        This poller is being replaced or removed. What an answer reveals about a key is still shared
        with all workspaces that use it.
        """
        self._results.store = store
        self._results.telemetry = self.sender.telemetry = telemetry

    def carry(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a task that uses the sender before its connections are closed.

        Raises:
            RuntimeError: If the poller is closed, and so can carry nothing.
        """
        if self.closed:
            raise RuntimeError("a closed poller has no connections")
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def close(self) -> None:
        """Cancel what still uses the connections, and close them."""
        self.closed = True
        for task in self._carried:
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)
        await self._client.close()

    async def __aenter__(self) -> Self:
        """Begin; the requests open the connections."""
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    @property
    def bots(self) -> Mapping[str, Bot]:
        """The bots that are polled, by id."""
        if self.reports.bots is not self._bots[0]:
            self._bots = self.reports.bots, {bot.id: bot for bot in self.reports.bots}
        return self._bots[1]

    @property
    def origin(self) -> Origin:
        """The origin of what the API answers."""
        return self._origin

    @property
    def knows_its_bots(self) -> bool:
        """Whether the list of bots, if it is read, has been read once."""
        return self._discovery is None or self._discovery.listed_once

    @property
    def switched_off(self) -> frozenset[str]:
        """The ids of bots that the list says are not enabled."""
        return self._discovery.switched_off if self._discovery else frozenset()

    @property
    def requests_per_minute(self) -> float:
        """The requests per minute that the intervals lead to."""
        return self.reports.requests_per_minute

    def glance(self, records: Mapping[Key, Record]) -> Callable[[Rest], WorkspaceStatus]:
        """A function that computes the present status from the store's records.

        The function is slow, and safe in any thread.
        """
        polled, found = self.reports.due, self._discovery.turns if self._discovery else {}
        counted = self._knowledge_bases.turns if self._knowledge_bases else dict
        now, answered, requests_today = self._now(), self.answered, self.sender.requests_today
        load, key_valid = self.reports.load, self.sender.key_valid
        paused_until, probe_at = self.sender.held_back
        rate = float(self.workspace.own_per_minute)

        def status(rest: Rest) -> WorkspaceStatus:
            return WorkspaceStatus(
                name=self.workspace.name,
                api=self.workspace.api,
                timezone=self.workspace.timezone,
                answered=answered,
                requests_today=requests_today,
                requests_per_day=self.workspace.own_per_day,
                requests_per_minute=int(rate) if rate.is_integer() else rate,
                targets=targets(polled() | found | counted(), records, now, rest),
                load=load,
                paused_until=paused_until,
                probe_at=probe_at,
                key_valid=key_valid,
                key_settings=self.workspace.key_settings,
            )

        return status

    def status(self) -> WorkspaceStatus:
        """The present status of this workspace."""
        return self.glance(self._store.generation())(lambda: None)

    @property
    def answered(self) -> bool:
        """Whether the API has answered any request, or values from before a restart are valid."""
        return self.sender.answered or self._restored

    @property
    def ready(self) -> bool:
        """Whether nothing that the page should have by now is missing for want of an answer.

        A shard may own nothing of a workspace, or wait for the first turn of what it owns.
        """
        early = not self.workspace.shard.alone and self.knows_its_bots and self.reports.quiet
        return self.answered or early

    @property
    def waits(self) -> object:
        """A value that changes with a pause, the breaker, a key's rest or the retry budget."""
        return self.sender.waits

    @property
    def memory(self) -> Memory:
        """The memory to keep over a restart or a reload."""
        listed = self._discovery.listed if self._discovery else RememberedBots()
        return Memory(self._origin, self.sender.standing, self.reports.remembered, listed)

    async def run(self) -> None:
        """Poll the reports, and read the lists, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reports.run())
            if self._discovery:
                tasks.create_task(self._discovery.run())
            if self._knowledge_bases:
                tasks.create_task(self._knowledge_bases.run())

    async def once(self) -> tuple[Failure, ...]:
        """Read each list that is on, and poll every report once; the failures."""
        unlisted = await self._discovery.once() if self._discovery else None
        failed = await self.reports.once()
        uncounted = await self._knowledge_bases.once() if self._knowledge_bases else ()
        return (*((unlisted,) if unlisted else ()), *failed, *uncounted)
