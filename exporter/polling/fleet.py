"""The pollers of all workspaces in force; a new configuration replaces only what it changes."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from exporter.config import Config, Workspace
from exporter.errors import Ending
from exporter.metrics.store import Store, undone_if_it_fails
from exporter.metrics.telemetry import Telemetry
from exporter.polling.agenda import Agenda
from exporter.polling.workspace import WorkspacePoller, ahead
from exporter.state.memory import Memory, Origin
from exporter.upstream.client import Trust, trust

Start = Callable[[Workspace, Memory, Trust, Origin], WorkspacePoller]
"""Makes the poller of a workspace, from what is remembered of it, whom it believes, and where from."""


@dataclass(slots=True)
class _Running:
    """A poller at work.

    Attributes:
        likeness: Equal as long as nothing that the workspace is made of has changed.
        task: Polls; None for one that is about to.
    """

    workspace: Workspace
    likeness: object
    poller: WorkspacePoller
    task: asyncio.Task[None] | None = None

    @property
    def place(self) -> tuple[str, str]:
        """The API and the name: the labels of what is told of the workspace."""
        return self.workspace.api, self.workspace.name


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A workspace, and what takes its time to work out; the last two where it is not as it was."""

    workspace: Workspace
    trusted: Trust
    agenda: Agenda | None = None
    origin: Origin = field(default_factory=Origin)

    @property
    def likeness(self) -> object:
        """Of its settings, and of what is in the files of its certificates: see `trust`."""
        return vars(self.workspace), self.trusted


class Fleet:
    """Polls the workspaces of the configuration in force.

    Args:
        start: Makes a poller.
        tasks: Runs the pollers; an error in one ends them all.
        store: Forgets what is no longer polled.
        telemetry: Likewise.
        remembered: What an earlier life remembered, by the name of the workspace.
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
        """Poll what this configuration says; where that fails in whatever way, change nothing.

        A workspace that is as it was goes on undisturbed. A changed one is watched anew, from what
        the poller before it knows; one that is gone leaves nothing but how it stands with the API,
        as it may be back before the pause that the API asked for is over.

        Raises:
            StartError: If a workspace's certificates or addresses cannot be used.
            Ending: If it is closed, or was meanwhile.
        """
        self._open()
        wanted = [await self._wanted(workspace) for workspace in config.workspaces]
        self._open()
        before, after = self._running, self._begun(wanted)
        # Whatever could fail has not: what follows is the end of what polls no more, and names.
        replaced = [old for name, old in before.items() if after.get(name) is not old]
        # Until they have ended an answer may come to them, and it is nobody's any more.
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
        """What is to be polled, with an agenda where it is not as it was.

        Raises:
            StartError: If the workspace's certificates cannot be used.
        """
        new = _Wanted(workspace, await asyncio.to_thread(trust, workspace))
        old = self._running.get(workspace.name)
        if old and old.likeness == new.likeness:
            return new
        agenda = await asyncio.to_thread(ahead, workspace, self._memory(workspace))
        origin = await asyncio.to_thread(Origin.of, workspace)
        return replace(new, agenda=agenda, origin=origin)

    def _begun(self, wanted: list[_Wanted]) -> dict[str, _Running]:
        """Those that poll from now on, each new one begun; what waits in here waits for nothing.

        Where one cannot begin, all that the others have told and kept is taken back.
        """
        before, after = self._running, dict[str, _Running]()
        names = before.keys() | {one.workspace.name for one in wanted}
        gone = before.keys() - {one.workspace.name for one in wanted}
        try:
            with undone_if_it_fails(self._store, names):
                for one in wanted:
                    name = one.workspace.name
                    if one.agenda is None:
                        after[name] = before[name]
                        continue
                    # Only now: what the poller before it remembers changes with every request.
                    memory = self._memory(one.workspace)
                    poller = self._start(one.workspace, memory, one.trusted, one.origin)
                    after[name] = _Running(one.workspace, one.likeness, poller)
                for one in wanted:
                    if one.agenda is not None:
                        after[one.workspace.name].poller.begin(one.agenda)
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
        """Tell what was told before others have begun in place of those that poll."""
        told = {old.place for old in self._running.values()}
        for new in instead.values():
            if new.place not in told:
                self._telemetry.forget(*new.place)
        for name, old in self._running.items():
            if instead.get(name, old) is not old:
                old.poller.tell_again()

    def _memory(self, workspace: Workspace) -> Memory:
        """What is remembered of a workspace that is watched anew."""
        old = self._running.get(workspace.name)
        if old:
            return old.poller.memory.forgiving()
        return self._remembered.get(workspace.name, Memory())

    async def close(self) -> None:
        """Poll nothing any more, whatever is adopted."""
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
