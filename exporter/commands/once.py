"""once: one round of every call, the page on standard output, what failed on standard error."""

import asyncio
import sys

from exporter.client import Client
from exporter.commands.configured import configuration, now
from exporter.config import Config, Workspace
from exporter.discovery import Finder
from exporter.exposition import text
from exporter.flags import DONE, MENDABLE, Invocation
from exporter.plan import plan
from exporter.poller import Failure, Poller
from exporter.store import Store
from exporter.telemetry import Telemetry


def run(invocation: Invocation) -> int:
    """Poll each report once; status 1 where one failed."""
    config = configuration(invocation)
    return DONE if config is None else asyncio.run(_round(config))


async def _round(config: Config) -> int:
    store, telemetry = Store(), Telemetry()
    telemetry.reloaded(now())

    async def poll(workspace: Workspace) -> tuple[Failure, ...]:
        async with Client(workspace) as client:
            poller = Poller(workspace, client, store, telemetry, now)
            poller.assign(plan(workspace, workspace.bots))
            discovery = workspace.discover_bots
            unlisted = (
                await Finder(poller, discovery, client, store, telemetry, now).once()
                if discovery
                else None
            )
            return (*((unlisted,) if unlisted else ()), *await poller.once())

    failures = [
        failure
        for failed in await asyncio.gather(*map(poll, config.workspaces))
        for failure in failed
    ]
    sys.stdout.write(text(store, now()) + telemetry.text(openmetrics=False).decode())
    for failure in failures:
        print(failure, file=sys.stderr)
    return MENDABLE if failures else DONE
