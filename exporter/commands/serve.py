"""serve: polls every workspace and serves the metrics page, as one unit.

This module is the composition root: it creates the parts and connects them. Everything that runs
belongs to one task group. If the fleet of pollers, a background task or the server fails, all of
them end and the process exits, so that a supervisor can restart it. A process of which only a part
still runs would look healthy and serve stale values.

Start-up restores the state file first, then starts polling, then serves. A restored state must
never prevent a start. If the start fails with a restored state, the state file is put aside, and
the start is repeated without it. A `StartError` is different: its cause is not the state, so it is
raised at once.

Graceful shutdown begins when the stop event is set. Polling and the background tasks end
immediately. Meanwhile the server drains the scrapes in flight, which may take seconds. Finally the
state is saved for the last time.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from urllib.parse import unquote

from exporter import __version__, build
from exporter.commands.configuration import configuration, now, read
from exporter.commands.flags import DONE, Invocation, prefix
from exporter.config import Config, Workspace
from exporter.errors import StartError
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import SHARD_INFO, Telemetry
from exporter.model.shards import Shard
from exporter.polling.fleet import Fleet
from exporter.polling.poller import nowhere
from exporter.polling.reload import Reloader, Source
from exporter.polling.status import Status
from exporter.polling.workspace import WorkspacePoller
from exporter.probing.prober import GivenUp, NotKnown, NotProbed, Prober, UnderWay
from exporter.probing.result import discovery, page
from exporter.shutdown import signalled
from exporter.state.encoding import State
from exporter.state.file import StateFile
from exporter.state.workspace_memory import Memory, Origin
from exporter.systemd import Notifier
from exporter.threads import Loop, Workers, considerate
from exporter.upstream.client import Trust
from exporter.upstream.shared_keys import SharedKeys
from exporter.web.access_control import AccessControl
from exporter.web.app import (
    NO_RESULT,
    NOT_KNOWN,
    NOT_PROBED,
    UNDER_WAY,
    Look,
    NoProbe,
    Web,
)
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.server import Server
from exporter.web.sockets import bound, listen

log = logging.getLogger(__name__)


def run(invocation: Invocation) -> int:
    """Serve until a signal arrives."""
    source = Source(lambda: read(invocation), invocation.values["config.file"])
    config = configuration(invocation)
    if config is not None:
        if invocation.environment.get("SSLKEYLOGFILE"):
            log.warning("SSLKEYLOGFILE is ignored: TLS secrets are never written")
        considerate()
        sockets = listen(invocation.values["web.listen-address"])
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_until_signalled(config, invocation, sockets, source))
    return DONE


async def _until_signalled(
    config: Config, invocation: Invocation, sockets: list[socket.socket], source: Source
) -> None:
    stop = signalled()
    asyncio.get_running_loop().set_default_executor(Workers())
    gc.disable()  # nothing that is restored is garbage, and the collector would look for it again and again
    await serve(config, invocation, sockets, stop, source=source, settled=_collected)


def _collected() -> None:
    """Let the garbage collector run, and never look at what exists already."""
    gc.freeze()
    gc.enable()


async def serve(
    config: Config,
    invocation: Invocation,
    sockets: list[socket.socket],
    stop: asyncio.Event,
    *,
    source: Source | None = None,
    settled: Callable[[], None] = lambda: None,
) -> None:
    """Poll and serve until the event is set; an error in either ends both.

    Without a source, the configuration cannot be reloaded. `settled` is called once, when the
    configuration and the workload exist but no poller does yet. `gc.freeze` belongs there: a reload
    leaves reference cycles of pollers, which the garbage collector must still find.

    Raises:
        StartError: If a workspace's certificates or addresses cannot be used.
        ConfigError: If the web configuration has mistakes.
    """
    polling = _Polling(invocation, settled)
    kept = LiveWebConfig(
        invocation.one("web.config.file"),
        invocation.environment,
        lambda right: polling.telemetry.web_reloaded(now(), right=right),
        partial(polling.telemetry.bug, "web_config"),
    )
    with polling.file or contextlib.nullcontext(), Notifier(invocation.environment) as notifier:
        remembered = polling.restore(config)
        async with _one_error_alone(), asyncio.TaskGroup() as tasks:
            await polling.begin(config, remembered, tasks)
            _tell_the_start(config, invocation, polling.fleet)
            reloader = (
                Reloader(source, polling.adopt, polling.telemetry, now, notifier)
                if source
                else None
            )
            jobs = _jobs(invocation, polling, reloader, notifier)
            background = [tasks.create_task(job) for job in jobs]
            ending = tasks.create_task(_end_polling(stop, background, polling, notifier))
            web = AccessControl(_web(invocation, polling, reloader), lambda: kept.current)
            for listening in sockets:
                log.info("listening", extra={"address": bound(listening)})
            await Server(web, kept).serve_until(stop, sockets, notifier.started)
            stop.set()  # in case the server ended on its own
            await ending
            if polling.file:
                await polling.file.keep_last(polling.state())
    log.info("stopped")


class _Polling:
    """The fleet, and what it fills: the store, the telemetry, the snapshot and the state file.

    Attributes:
        file: The state file; None without one.
        fleet: The pollers, from `begin` on.
        prober: Probes their bots.
    """

    fleet: Fleet

    def __init__(self, invocation: Invocation, settled: Callable[[], None]) -> None:
        path = invocation.one("state.file")
        self.telemetry = Telemetry(build.revision(invocation.environment))
        shard = Shard.parsed(invocation.one("shard"))
        self.telemetry.set(SHARD_INFO, 1, str(shard.index), str(shard.count))
        self.store = Store()
        self.snapshots = SnapshotRefresher(self.store, self.telemetry, now)
        self.file = StateFile(Path(path), self.telemetry, now) if path else None
        self.prober = Prober(lambda: self.fleet, now)
        self._settled = cache(settled)
        self._shared_keys = SharedKeys(secrets.token_bytes(32))

    def restore(self, config: Config) -> dict[str, Memory]:
        """Restore the configured workspaces: their values to the store, their memories by name."""
        state = self.file.read() if self.file else State()
        known = {(workspace.api, workspace.name) for workspace in config.workspaces}
        for key, record in state.records.items():
            if (key.target.api, key.target.workspace) in known:
                self.store.put(key, record)
        memories = (memory for memory in state.memories if memory.origin[:2] in known)
        return {memory.origin.workspace: memory for memory in memories}

    async def begin(
        self, config: Config, remembered: Mapping[str, Memory], tasks: asyncio.TaskGroup
    ) -> None:
        """Start polling; if that fails with a restored state, start again without it."""
        self.fleet = Fleet(self._poller, tasks, self.store, self.telemetry, remembered)
        try:
            await self.adopt(config)
        except Exception as error:
            if not (self.file and self.file.used) or isinstance(error, StartError):
                raise
            await self.fleet.close()
            self.telemetry.bug("state", error, log)
            self.file.put_aside("leads to an error")
            for workspace in config.workspaces:
                self.store.keep(frozenset(), workspace.name)
            self.fleet = Fleet(self._poller, tasks, self.store, self.telemetry)
            await self.adopt(config)
        self.telemetry.reloaded(now())

    async def adopt(self, config: Config) -> None:
        """Put a configuration in force."""
        await self.fleet.adopt(config)
        self.prober.adopt(config.modules)
        await self.snapshots.renewed()  # so that the next page shows the new configuration

    def _poller(
        self, workspace: Workspace, memory: Memory, trusted: Trust, origin: Origin
    ) -> WorkspacePoller:
        self._settled()
        return WorkspacePoller(
            *(workspace, self.store, self.telemetry, now, self._changed),
            noted=self.file.noted if self.file else nowhere,
            memory=memory,
            trusted=trusted,
            shared_keys=self._shared_keys,
            origin=origin,
        )

    def _changed(self) -> None:
        self.snapshots.changed()
        if self.file:
            self.file.changed()

    def state(self) -> State:
        """The state to keep over a restart."""
        return State(tuple(poller.memory for poller in self.fleet), self.store.generation())

    def glance(self) -> Look:
        """A function that derives the status from the current state of the polling."""
        records, at = self.store.generation(), now()
        parts = [poller.glance(records) for poller in self.fleet]
        return lambda rest: Status(__version__, at, tuple(part(rest) for part in parts))


class _Probes:
    """The prober as the web server needs it."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    def allows(self, workspace: str, bot_id: str, module: str) -> bool:
        """Whether the configuration has such a probe."""
        return self._prober.allows(workspace, bot_id, module)

    async def page(self, workspace: str, bot_id: str, module: str, *, wait: bool) -> bytes:
        """The result for a bot and a module in the text format.

        Raises:
            NoProbe: If there is none.
        """
        try:
            return page(await self._prober.probe(workspace, bot_id, module, wait=wait))
        except NotProbed:
            raise NoProbe(NOT_PROBED) from None
        except UnderWay:
            raise NoProbe(UNDER_WAY) from None
        except GivenUp:
            raise NoProbe(NO_RESULT) from None

    async def discovery(self, workspace: str) -> bytes:
        """What can be probed; made in a thread, because there may be many bots.

        Raises:
            NoProbe: If that is not known yet.
        """
        try:
            found = self._prober.targets(workspace)
        except NotProbed:
            raise NoProbe(NOT_PROBED) from None
        except NotKnown:
            raise NoProbe(NOT_KNOWN) from None
        return await asyncio.to_thread(discovery, found)


def _jobs(
    invocation: Invocation, polling: _Polling, reloader: Reloader | None, notifier: Notifier
) -> Iterator[Coroutine[None, None, None]]:
    """What runs in the background, apart from polling and HTTP requests."""
    yield polling.snapshots.run()
    yield notifier.keep_alive()
    if reloader:
        yield reloader.run()
        if invocation.one("config.enable-auto-reload"):
            yield reloader.follow()
    if polling.file:
        # The pauses that the API asked for must survive even an immediate restart.
        yield polling.file.run(polling.state, lambda: [poller.waits for poller in polling.fleet])


def _web(invocation: Invocation, polling: _Polling, reloader: Reloader | None) -> Web:
    """The application, with the routes that the flags ask for."""
    allowed = invocation.one("web.enable-lifecycle")
    return Web(
        snapshot=polling.snapshots.current,
        own=lambda openmetrics: polling.telemetry.pieces(openmetrics=openmetrics),
        ready=lambda: all(poller.ready for poller in polling.fleet),
        status=polling.glance,
        reload=reloader.reload if reloader and allowed else None,
        telemetry_path=unquote(invocation.one("web.telemetry-path")),
        route_prefix=prefix(invocation),
        external_url=invocation.one("web.external-url"),
        runbooks_url=invocation.one("web.runbooks-url").rstrip("/"),
        grafana_url=invocation.one("web.grafana-url").rstrip("/"),
        probes=_Probes(polling.prober),
    )


async def _end_polling(
    stop: asyncio.Event,
    background: Iterable[asyncio.Task[None]],
    polling: _Polling,
    notifier: Notifier,
) -> None:
    """End polling as soon as the event is set; the server may need seconds longer."""
    await stop.wait()
    for task in background:
        task.cancel()
    polling.prober.end()
    await polling.fleet.close()
    await notifier.stopping()


def _tell_the_start(config: Config, invocation: Invocation, fleet: Fleet) -> None:
    """Log the start, with the request rate of the configuration."""
    extra = {
        "version": __version__,
        "shard": invocation.one("shard"),
        "config": ",".join(invocation.values["config.file"]),
        "workspaces": len(config.workspaces),
        "requests_per_minute": round(sum(poller.requests_per_minute for poller in fleet), 2),
    }
    log.info("started", extra=extra)


@contextlib.asynccontextmanager
async def _one_error_alone() -> AsyncGenerator[None]:
    """Unwrap a `StartError` from the exception group of a task group."""
    try:
        yield
    except BaseExceptionGroup as group:
        if mendable := group.subgroup(StartError):
            raise mendable.exceptions[0] from None
        raise
