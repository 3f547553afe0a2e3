"""All that polls one workspace, put together: client, sender, poller and, if asked for, discovery."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Self

from exporter.config import Workspace
from exporter.metrics.results import Results
from exporter.metrics.store import Record, Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.targets import Key
from exporter.polling.agenda import Agenda
from exporter.polling.discovery import BotDiscovery, roster
from exporter.polling.poller import Failure, ReportPoller, nowhere
from exporter.polling.status import Rest, WorkspaceStatus, targets
from exporter.state.memory import Memory, Origin, RememberedBots
from exporter.upstream.client import Client, Transport, Trust
from exporter.upstream.limiter import SenderState
from exporter.upstream.sender import Sender
from exporter.upstream.shared_keys import SharedKeys


def ahead(workspace: Workspace, memory: Memory) -> Agenda:
    """What a poller begins with; may take long, anywhere."""
    finds = workspace.discover_bots
    bots = roster(workspace, memory.listed).bots if finds else workspace.bots
    return Agenda.of(workspace, bots)


def rehearse(workspace: Workspace) -> Client:
    """Make all that a poller is made of; what is dear in the client is shared while it is kept.

    Raises:
        StartError: If its certificates or its addresses cannot be used.
    """
    ahead(workspace, Memory())
    return Client(workspace)


def _spent(memory: Memory, origin: Origin) -> SenderState:
    """What still holds where a name is another customer's: what was asked of the API under it."""
    if memory.origin[:3] != origin[:3]:
        return SenderState()
    return replace(memory.standing, not_before=None, paused_key="", resting=(), url="")


class WorkspacePoller:
    """Polls one workspace while it is entered; before that it touches nothing.

    Args:
        workspace: What to poll.
        store: Takes the values.
        telemetry: Takes the counts.
        now: The present as an aware instant.
        changed: Called when the store has other values than before.
        noted: See `ReportPoller`.
        transport: Takes the place of the network in tests.
        memory: What an earlier life remembered, whose values the store has; another origin's is
            no use, and its values are forgotten.
        trusted: Whom it believes, see `exporter.upstream.client.trust`; worked out here where left out.
        shared_keys: What is known of the keys, for all pollers of a process.
        origin: Where its values come from, see `Origin.of`; worked out here where left out.

    Raises:
        StartError: If its certificates or its addresses cannot be used.
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
        self._workspace = workspace
        self._store = store
        self._now = now
        self._origin = origin or Origin.of(workspace)
        self._foreign = not memory.origin.same(self._origin)
        self._memory = (
            Memory(self._origin, _spent(memory, self._origin)) if self._foreign else memory
        )
        self._restored = False
        self._client = Client(workspace, transport, now, trusted)
        self._sender = Sender(
            workspace, self._client, telemetry, now, self._memory.standing, shared_keys=shared_keys
        )
        self._results = Results(workspace, store, telemetry, changed)
        self.reports = ReportPoller(workspace, self._sender, self._results, now, noted)
        discovery = workspace.discover_bots
        self._finder = (
            BotDiscovery(workspace, discovery, self.reports, self._sender, self._results, now)
            if discovery
            else None
        )

    def begin(self, agenda: Agenda | None = None) -> None:
        """Let store and telemetry hold what is polled from now on, and no more.

        Args:
            agenda: What `ahead` has brought, if it was asked.
        """
        now, name = self._now(), self._workspace.name
        if self._foreign:
            self._store.keep(frozenset(), name)
        self._sender.begin()
        self.reports.recall(self._memory.turns)
        if self._finder:
            self._finder.begin(self._memory.listed, agenda)
        else:
            self.reports.assign(agenda or ahead(self._workspace, self._memory))
        self._restored = any(record.valid(now) for record in self._store.of(name))

    async def settle(self) -> None:
        """Keep limits that are lower than they were, so that no page is over them."""
        await self._results.settle()

    def tell_again(self) -> None:
        """Tell what is told from the beginning, where another poller of the name has told its own."""
        self._sender.begin()
        self.reports.tell_the_load()
        self._results.changed()  # a page tells how many values there are

    def retire(self, store: Store, telemetry: Telemetry) -> None:
        """Keep and tell what still comes elsewhere: another polls in its place, or none does.

        What an answer says of a key is still heard by all that use it.
        """
        self._sender.retire(telemetry)
        self._results.go_elsewhere(store, telemetry)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        """Begin; connections come with the requests."""
        self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    @property
    def requests_per_minute(self) -> float:
        """How many requests the intervals lead to."""
        return self.reports.requests_per_minute

    def glance(self, records: Mapping[Key, Record]) -> Callable[[Rest], WorkspaceStatus]:
        """What brings how the polling of this workspace goes now; it may take long, anywhere.

        Args:
            records: All that there are.
        """
        polled, found = self.reports.due, self._finder.turns if self._finder else {}
        now, answered, requests_today = self._now(), self.answered, self._sender.requests_today

        def status(rest: Rest) -> WorkspaceStatus:
            turns = polled() | found
            return WorkspaceStatus(
                name=self._workspace.name,
                api=self._workspace.api,
                timezone=self._workspace.timezone,
                answered=answered,
                requests_today=requests_today,
                requests_per_day=self._workspace.requests_per_day,
                requests_per_minute=self._workspace.requests_per_minute,
                targets=targets(
                    ((key, record) for key in turns if (record := records.get(key))),
                    {key: interval for key, (interval, _) in turns.items()},
                    {key: due for key, (_, due) in turns.items()},
                    now,
                    rest,
                ),
            )

        return status

    def status(self) -> WorkspaceStatus:
        """How the polling of this workspace goes."""
        return self.glance(self._store.generation())(lambda: None)

    @property
    def answered(self) -> bool:
        """Whether the API has answered anything yet, in this life or, if it still holds, before."""
        return self._sender.answered or self._restored

    @property
    def waits(self) -> object:
        """Another value whenever the API is left alone for another while."""
        return self._sender.waits

    @property
    def memory(self) -> Memory:
        """What a later life must remember."""
        listed = self._finder.listed if self._finder else RememberedBots()
        return Memory(self._origin, self._sender.standing, self.reports.remembered, listed)

    async def run(self) -> None:
        """Poll for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reports.run())
            if self._finder:
                tasks.create_task(self._finder.run())

    async def once(self) -> tuple[Failure, ...]:
        """Read the list of bots, if it is wanted, and poll every report one time; what failed."""
        unlisted = await self._finder.once() if self._finder else None
        return (*((unlisted,) if unlisted else ()), *await self.reports.once())
