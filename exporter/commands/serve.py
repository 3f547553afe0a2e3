"""serve: polls every workspace and serves the page; both live and die together."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from urllib.parse import urlsplit

from exporter import __version__
from exporter.commands.configured import configuration, now
from exporter.config import Config
from exporter.flags import DONE, Invocation
from exporter.guard import Guard
from exporter.pages import Pages
from exporter.server import Server, bound, end_soon, listen
from exporter.status import Status
from exporter.store import Store
from exporter.telemetry import Telemetry
from exporter.watch import Watch
from exporter.web import Web
from exporter.web_config import Kept

log = logging.getLogger(__name__)


def run(invocation: Invocation) -> int:
    """Serve until a signal says to stop."""
    config = configuration(invocation)
    if config is not None:
        sockets = listen(invocation.values["web.listen-address"])
        asyncio.run(_until_signalled(config, invocation, sockets))
    return DONE


async def _until_signalled(
    config: Config, invocation: Invocation, sockets: list[socket.socket]
) -> None:
    await serve(config, invocation, sockets, signalled())


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
    clock: Callable[[], datetime] = now,
) -> None:
    """Poll and serve until the event is set; an error in either ends both.

    Args:
        config: What to poll.
        invocation: The flags under `web`.
        sockets: Where to serve.
        stop: Ends it cleanly.
        clock: The present, aware.

    Raises:
        StartError: If a workspace's certificates cannot be used.
        ConfigError: If the web configuration has mistakes.
    """
    revision = invocation.environment.get("SEASALT_EXPORTER_REVISION", "")
    telemetry, store = Telemetry(revision), Store()
    telemetry.reloaded(clock())
    kept = Kept(
        invocation.one("web.config.file"),
        invocation.environment,
        lambda right: telemetry.web_reloaded(clock(), right=right),
    )
    pages = Pages(store, telemetry, clock)
    async with AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(
                Watch(workspace, store, telemetry, clock, pages.changed)
            )
            for workspace in config.workspaces
        ]
        web = Web(
            snapshot=lambda: pages.snapshot,
            own=lambda openmetrics: telemetry.text(openmetrics=openmetrics),
            ready=lambda: all(watch.answered for watch in watches),
            status=lambda: Status(__version__, clock(), tuple(watch.status() for watch in watches)),
            telemetry_path=invocation.one("web.telemetry-path"),
            route_prefix=prefix(invocation),
        )
        for listening in sockets:
            log.info("listening", extra={"address": bound(listening)})
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(part) for part in (*(w.run() for w in watches), pages.run())
            ]
            await Server(Guard(web, lambda: kept.current), kept).serve_until(stop, sockets)
            for task in others:
                task.cancel()
    log.info("stopped")


def prefix(invocation: Invocation) -> str:
    """What comes before every route: as given, or the path of the external URL."""
    path = invocation.one("web.route-prefix") or urlsplit(invocation.one("web.external-url")).path
    return path.rstrip("/")
