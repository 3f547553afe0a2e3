"""The watches of all workspaces in force; a new configuration replaces only what it changes."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from exporter.config import Config, Workspace
from exporter.errors import StartError
from exporter.memory import Memory
from exporter.store import Store
from exporter.telemetry import Telemetry
from exporter.watch import Watch, ahead

Start = Callable[[Workspace, Memory], Watch]
"""Makes the watch of a workspace, from what is remembered of it."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A watch at work.

    Attributes:
        likeness: Equal as long as nothing that the workspace is made of has changed.
    """

    workspace: Workspace
    likeness: object
    watch: Watch
    task: asyncio.Task[None]

    @property
    def place(self) -> tuple[str, str]:
        """The API and the name: the labels of what is told of the workspace."""
        return self.workspace.api, self.workspace.name


class Fleet:
    """Polls the workspaces of the configuration in force.

    Args:
        start: Makes a watch.
        tasks: Runs the watches; an error in one ends them all.
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

    def __iter__(self) -> Iterator[Watch]:
        """The watches, in the order of the configuration."""
        return (running.watch for running in self._running.values())

    async def adopt(self, config: Config) -> None:
        """Poll what this configuration says; where one of its workspaces cannot be, change nothing.

        A workspace that is as it was goes on undisturbed. A changed one is watched anew, from what
        the watch before it knows; one that is gone leaves nothing but how it stands with the API,
        as it may be back before the pause that the API asked for is over.

        Raises:
            StartError: If a workspace's certificates cannot be used.
        """
        if self._closed.is_set():
            return  # a reload that was under way
        before = self._running
        likenesses = {workspace.name: _likeness(workspace) for workspace in config.workspaces}
        agendas = {
            workspace.name: await asyncio.to_thread(ahead, workspace, self._memory(workspace))
            for workspace in config.workspaces
            if not (old := before.get(workspace.name)) or old.likeness != likenesses[workspace.name]
        }
        if self._closed.is_set():
            return
        # Only now: what the watches before them remember changes with every request.
        after: dict[str, _Running | Watch] = {
            workspace.name: self._start(workspace, self._memory(workspace))
            if workspace.name in agendas
            else before[workspace.name]
            for workspace in config.workspaces
        }
        # From here on nothing can go wrong.
        replaced = [old for name, old in before.items() if after.get(name) is not old]
        await _end(replaced)
        if self._closed.is_set():
            return
        gone = (old for old in replaced if old.workspace.name not in after)
        self._remembered |= {old.workspace.name: old.watch.memory.standing_alone() for old in gone}
        for name in after:
            self._remembered.pop(name, None)
        places = {(workspace.api, workspace.name) for workspace in config.workspaces}
        for old in replaced:
            if old.place not in places:
                self._store.keep(frozenset(), old.workspace.name)
                self._telemetry.forget(*old.place)
        running: dict[str, _Running] = {}
        for workspace in config.workspaces:
            name, one = workspace.name, after[workspace.name]
            if isinstance(one, Watch):
                one.begin(agendas[name])
                task = self._tasks.create_task(_poll(one))
                one = _Running(workspace, likenesses[name], one, task)
            running[name] = one
        self._running = running

    def _memory(self, workspace: Workspace) -> Memory:
        """What is remembered of a workspace that is watched anew."""
        old = self._running.get(workspace.name)
        if old:
            return old.watch.memory.forgiving()
        return self._remembered.get(workspace.name, Memory())

    async def close(self) -> None:
        """Poll nothing any more, whatever is adopted."""
        self._closed.set()
        await _end(self._running.values())


async def _poll(watch: Watch) -> None:
    try:
        await watch.run()
    finally:
        await watch.close()


async def _end(some: Iterable[_Running]) -> None:
    tasks = [running.task for running in some]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _likeness(workspace: Workspace) -> object:
    """What a workspace is made of: its settings, and what is in the files of its certificates.

    Raises:
        StartError: If one of the files cannot be read.
    """
    http = workspace.http
    files = [file for file in (http.ca_file, http.cert_file, http.key_file) if file]
    try:
        return vars(workspace), [sha256(file.read_bytes()).digest() for file in files]
    except OSError as error:
        text = f"workspace {workspace.name}: its certificates cannot be used"
        raise StartError(f"{text} ({type(error).__name__})") from None
