"""A state such as a process really leaves."""

import asyncio
from functools import cache

from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.workspace import WorkspacePoller
from exporter.state.encoding import State
from support.api import FakeApi
from support.virtual import World
from support.workspaces import workspace


@cache
def real() -> State:
    """The state of a workspace that was polled for an hour."""
    world, store = World(), Store()
    api = FakeApi(world.now)

    async def go() -> State:
        poller = WorkspacePoller(
            workspace(bots=2, labels={"team": "süd"}),
            *(store, Telemetry(), world.now),
            transport=api.transport,
        )
        async with poller:
            task = asyncio.ensure_future(poller.run())
            await asyncio.sleep(3600)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return State((poller.memory,), tuple(store))

    return world.run(go)
