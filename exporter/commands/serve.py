"""serve: polls every workspace and serves the page; both live and die together."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from exporter import __version__
from exporter.commands.configured import configuration, now, read
from exporter.config import Config, Workspace
from exporter.errors import StartError
from exporter.flags import DONE, Invocation
from exporter.fleet import Fleet
from exporter.guard import Guard
from exporter.memory import Memory
from exporter.pages import Pages
from exporter.poller import nowhere
from exporter.reload import Reloader
from exporter.server import Server, bound, end_soon, listen
from exporter.state import State
from exporter.state_file import StateFile
from exporter.status import Status
from exporter.store import Store
from exporter.telemetry import Telemetry
from exporter.watch import Watch
from exporter.web import Web
from exporter.web_config import Kept

log = logging.getLogger(__name__)


def run(invocation: Invocation) -> int:
    """Serve until a signal says to stop."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for is about to be done
    config = configuration(invocation)
    if config is not None:
        sockets = listen(invocation.values["web.listen-address"])
        asyncio.run(_until_signalled(config, invocation, sockets))
    return DONE


async def _until_signalled(
    config: Config, invocation: Invocation, sockets: list[socket.socket]
) -> None:
    await serve(config, invocation, sockets, signalled(), again=lambda: read(invocation))


def signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second one of them ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first() -> None:
        stop.set()
        end_soon()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first)
    return stop


async def serve(
    config: Config,
    invocation: Invocation,
    sockets: list[socket.socket],
    stop: asyncio.Event,
    *,
    again: Callable[[], Config] | None = None,
    clock: Callable[[], datetime] = now,
) -> None:
    """Poll and serve until the event is set; an error in either ends both.

    Args:
        config: What to poll.
        invocation: The flags under `web`.
        sockets: Where to serve.
        stop: Ends it cleanly.
        again: Reads the configuration anew; None where there is none to be read.
        clock: The present, aware.

    Raises:
        StartError: If a workspace's certificates cannot be used.
        ConfigError: If the web configuration has mistakes.
    """
    revision = invocation.environment.get("SEASALT_EXPORTER_REVISION", "")
    telemetry, store = Telemetry(revision), Store()
    kept = Kept(
        invocation.one("web.config.file"),
        invocation.environment,
        lambda right: telemetry.web_reloaded(clock(), right=right),
    )
    pages = Pages(store, telemetry, clock)
    path = invocation.one("state.file")
    file = StateFile(Path(path), telemetry, clock) if path else None

    def changed() -> None:
        pages.changed()
        if file:
            file.changed()

    def start(workspace: Workspace, before: Watch | None) -> Watch:
        earlier = remembered.pop(workspace.name, Memory())
        memory = before.memory.forgiving() if before else earlier
        watch = Watch(workspace, store, telemetry, clock, changed, memory=memory)
        watch.poller.noted = file.noted if file else nowhere
        return watch

    async def adopt(config: Config) -> None:
        await fleet.adopt(config)
        pages.refresh()  # the next page is of the new configuration

    def state() -> State:
        return State(tuple(watch.memory for watch in fleet), tuple(store))

    with file or contextlib.nullcontext():
        remembered = _restored(file.read(), config, store) if file else {}
        async with _one_error_alone(), asyncio.TaskGroup() as tasks:
            fleet = Fleet(start, tasks, store, telemetry)
            await adopt(config)
            telemetry.reloaded(clock())
            reloader = Reloader(again, adopt, telemetry, clock) if again else None
            others = [pages.run(), *_reloading(reloader, invocation)]
            if file:
                others.append(file.run(state, lambda: _pressing(fleet)))
            background = [tasks.create_task(other) for other in others]
            allowed = invocation.one("web.enable-lifecycle")
            web = Web(
                snapshot=lambda: pages.snapshot,
                own=lambda openmetrics: telemetry.text(openmetrics=openmetrics),
                ready=lambda: all(watch.answered for watch in fleet),
                status=lambda: Status(__version__, clock(), tuple(one.status() for one in fleet)),
                reload=reloader.reload if reloader and allowed else None,
                telemetry_path=invocation.one("web.telemetry-path"),
                route_prefix=prefix(invocation),
            )
            for listening in sockets:
                log.info("listening", extra={"address": bound(listening)})
            ending = tasks.create_task(_end_polling(stop, background, fleet))
            await Server(Guard(web, lambda: kept.current), kept).serve_until(stop, sockets)
            stop.set()  # where the server ended by itself
            await ending
            if file:
                await file.keep_last(state())
    log.info("stopped")


async def _end_polling(
    stop: asyncio.Event, background: Iterable[asyncio.Task[None]], fleet: Fleet
) -> None:
    """Ask nothing more from the signal on: whoever is taking a page may need seconds more."""
    await stop.wait()
    for task in background:
        task.cancel()
    await fleet.close()


def _restored(state: State, config: Config, store: Store) -> dict[str, Memory]:
    """What was kept of the configured workspaces: their values into the store, the rest by name."""
    known = {(workspace.api, workspace.name) for workspace in config.workspaces}
    for key, record in state.records:
        if (key.target.api, key.target.workspace) in known:
            store.restore(key, record)
    memories = (memory for memory in state.memories if memory.origin[:2] in known)
    return {memory.origin.workspace: memory for memory in memories}


def _reloading(
    reloader: Reloader | None, invocation: Invocation
) -> Iterator[Coroutine[None, None, None]]:
    """What has the configuration read again, beside a request."""
    if reloader is None:
        return
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask)
    yield reloader.run()
    if invocation.one("config.enable-auto-reload"):
        yield reloader.follow(invocation.values["config.file"])


def _pressing(fleet: Fleet) -> object:
    """What no restart may forget, however soon it comes: that the API wants to be left alone."""
    return [(watch.standing.not_before, watch.standing.open_until) for watch in fleet]


@contextlib.asynccontextmanager
async def _one_error_alone() -> AsyncGenerator[None]:
    """Let an error that the operator can mend leave a group of tasks by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        if mendable := group.subgroup(StartError):
            raise mendable.exceptions[0] from None
        raise


def prefix(invocation: Invocation) -> str:
    """What comes before every route: as given, or the path of the external URL."""
    path = invocation.one("web.route-prefix") or urlsplit(invocation.one("web.external-url")).path
    return path.rstrip("/")
