"""The pollers of all workspaces; a new configuration replaces only those that it changes.

A reload is a transaction: either the whole new configuration is in force afterwards, or nothing has
changed. `Fleet.adopt` has three phases.

1. Prepare. Everything slow is done first, in threads: TLS contexts, workloads, key digests. Nothing
   in force is touched, so a failure needs no cleanup.
2. Begin. New pollers are made, and write to the store and the telemetry. This phase never awaits,
   so no other task sees a half-finished state. If one poller fails, the store is restored and the
   old pollers set their metrics again.
3. Commit. From here on nothing is rolled back. Old pollers are cancelled and awaited before new
   ones start, so no workspace is ever polled twice at a time. An answer that an old poller still
   receives goes to a store that nobody reads.

A workspace whose settings and certificates are unchanged keeps its poller. A changed workspace
starts with the memory of its old poller, so it keeps its turns, its pause and its daily count. Of a
removed workspace, only the sender's state stays: the workspace may return before the pause that the
API requested is over.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from exporter.config import Config, Workspace
from exporter.errors import Ending
from exporter.metrics.store import Store, undone_if_it_fails
from exporter.metrics.telemetry import Telemetry
from exporter.polling.workload import Workload
from exporter.polling.workspace import WorkspacePoller, ahead
from exporter.state.workspace_memory import Memory, Origin
from exporter.upstream.client import Trust, trust

Start = Callable[[Workspace, Memory, Trust, Origin], WorkspacePoller]
"""Makes a workspace's poller from its memory, its TLS trust, and the origin of its values."""


@dataclass(slots=True)
class _Running:
    """A poller and its task.

    Attributes:
        workspace: The workspace's configuration.
        likeness: Compares equal as long as neither settings nor certificates change.
        poller: The poller.
        task: Runs the poller; None before the commit.
    """

    workspace: Workspace
    likeness: object
    poller: WorkspacePoller
    task: asyncio.Task[None] | None = None

    @property
    def place(self) -> tuple[str, str]:
        """The API and the name: the labels of the workspace's own metrics."""
        return self.workspace.api, self.workspace.name


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A workspace of the new configuration, prepared.

    Attributes:
        workspace: The workspace's configuration.
        trusted: Its TLS trust.
        workload: The workload that it starts with; None if the workspace is unchanged.
        origin: The origin of its values; empty if the workspace is unchanged.
    """

    workspace: Workspace
    trusted: Trust
    workload: Workload | None = None
    origin: Origin = field(default_factory=Origin)

    @property
    def likeness(self) -> object:
        """Its settings, and its TLS trust, which changes with its files' content (see `trust`)."""
        return vars(self.workspace), self.trusted


class Fleet:
    """The pollers of the configuration in force.

    Args:
        start: Makes a poller.
        tasks: Runs the pollers; an error in one ends them all.
        store: The store of all workspaces.
        telemetry: The exporter's own metrics.
        remembered: The memories from before a restart, by the name of the workspace.
    """

    def __init__(
        self,
        start: Start,
        tasks: asyncio.TaskGroup,
        store: Store,
        telemetry: Telemetry,
        remembered: Mapping[str, Memory] = MappingProxyType({}),
    ) -> None:
        self._start = start
        self._tasks = tasks
        self._store = store
        self._telemetry = telemetry
        self._remembered = dict(remembered)
        self._running: dict[str, _Running] = {}
        self._closed = asyncio.Event()

    def __iter__(self) -> Iterator[WorkspacePoller]:
        """The pollers, in the order of the configuration."""
        return (running.poller for running in self._running.values())

    async def adopt(self, config: Config) -> None:
        """Put a configuration in force, or change nothing if that fails.

        Raises:
            StartError: If a workspace's certificates or URLs cannot be used.
            Ending: If the fleet is closed, before or during the call.
        """
        self._open()
        wanted = [await self._wanted(workspace) for workspace in config.workspaces]
        self._open()
        before, after = self._running, self._begun(wanted)
        # The commit: from here on, nothing but a shutdown stops the transaction.
        replaced = [old for name, old in before.items() if after.get(name) is not old]
        # They may receive answers until they have ended; nobody wants those any more.
        elsewhere = Store(), Telemetry()
        for old in replaced:
            old.poller.retire(*elsewhere)
        await _end(replaced)
        self._open()
        for one in after.values():
            one.task = one.task or self._tasks.create_task(_poll(one.poller))
        self._running = after
        for one in after.values():
            await one.poller.settle()
        places = {one.place for one in after.values()}
        for old in replaced:
            if old.place not in places:
                self._telemetry.forget(*old.place)

    def _open(self) -> None:
        if self._closed.is_set():
            raise Ending("the exporter is ending")

    async def _wanted(self, workspace: Workspace) -> _Wanted:
        """Prepare a workspace; if it has changed, with its workload and origin.

        Raises:
            StartError: If the workspace's certificates cannot be used.
        """
        new = _Wanted(workspace, await asyncio.to_thread(trust, workspace))
        old = self._running.get(workspace.name)
        if old and old.likeness == new.likeness:
            return new
        workload = await asyncio.to_thread(ahead, workspace, self._memory(workspace))
        origin = await asyncio.to_thread(Origin.of, workspace)
        return replace(new, workload=workload, origin=origin)

    def _begun(self, wanted: list[_Wanted]) -> dict[str, _Running]:
        """Make and begin the new pollers; the fleet's next set of pollers.

        This never awaits. If a poller cannot begin, the changes to the store and the telemetry are
        undone.
        """
        before, after = self._running, dict[str, _Running]()
        names = before.keys() | {one.workspace.name for one in wanted}
        gone = before.keys() - {one.workspace.name for one in wanted}
        try:
            with undone_if_it_fails(self._store, names):
                for one in wanted:
                    name = one.workspace.name
                    if one.workload is None:
                        after[name] = before[name]
                        continue
                    # Only now, because the old poller's memory changes with every request.
                    memory = self._memory(one.workspace)
                    poller = self._start(one.workspace, memory, one.trusted, one.origin)
                    after[name] = _Running(one.workspace, one.likeness, poller)
                for one in wanted:
                    if one.workload is not None:
                        after[one.workspace.name].poller.begin(one.workload)
                for name in gone:
                    self._store.keep(frozenset(), name)
                alone = {name: before[name].poller.memory.standing_alone() for name in gone}
        except Exception:
            self._tell_again(after)
            raise
        kept = self._remembered | alone
        self._remembered = {name: kept[name] for name in kept.keys() - after.keys()}
        return after

    def _tell_again(self, instead: Mapping[str, _Running]) -> None:
        """Restore the metrics of the running pollers, in place of those of a new set of pollers.

        The new set is complete as far as it was made when the error occurred.
        """
        told = {old.place for old in self._running.values()}
        for new in instead.values():
            if new.place not in told:
                self._telemetry.forget(*new.place)
        for name, old in self._running.items():
            if instead.get(name, old) is not old:
                old.poller.restore_metrics()

    def _memory(self, workspace: Workspace) -> Memory:
        """The memory that a workspace's new poller starts with."""
        old = self._running.get(workspace.name)
        if old:
            return old.poller.memory.forgiving()
        return self._remembered.get(workspace.name, Memory())

    async def close(self) -> None:
        """End all pollers, and refuse every further configuration."""
        self._closed.set()
        await _end(self._running.values())


async def _poll(poller: WorkspacePoller) -> None:
    try:
        await poller.run()
    finally:
        await poller.close()


async def _end(some: Iterable[_Running]) -> None:
    tasks = [running.task for running in some if running.task]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
