"""A fleet that is given one configuration after the other, in a world where an hour takes no time."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import httpx

from exporter.config import Config, Workspace
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.fleet import Fleet
from exporter.polling.workspace import WorkspacePoller
from exporter.state.workspace_memory import Memory, Origin
from exporter.upstream.client import Trust
from exporter.upstream.shared_keys import SharedKeys
from support.api import FakeApi
from support.virtual import World

HOUR: Final = timedelta(hours=1)


class Run:
    """Some configurations, one after the other, for an hour each.

    Attributes:
        shown: What was shown after each adoption, and at the end of each hour.
        pollers: All that were made, as long as anybody else knows them.
    """

    def __init__(self) -> None:
        self.world = World()
        self.shared_keys = SharedKeys(b"a secret")
        self.api = FakeApi(self.world.now)
        self.store, self.telemetry = Store(), Telemetry()
        self.shown: list[str] = []
        self.remembered: dict[str, Memory] = {}
        self.pollers: list[weakref.ref[WorkspacePoller]] = []

    @property
    def transport(self) -> httpx.MockTransport:
        """What the pollers ask."""
        return self.api.transport

    @asynccontextmanager
    async def fleet(self) -> AsyncIterator[Fleet]:
        """A fleet that ends with the block."""
        async with asyncio.TaskGroup() as tasks:
            fleet = Fleet(self.start, tasks, self.store, self.telemetry, self.remembered)
            yield fleet
            await fleet.close()

    def through(self, *steps: Config | Callable[[], None]) -> "Run":
        """Adopt each configuration and let an hour pass; what was shown then is kept."""

        async def go() -> None:
            async with self.fleet() as fleet:
                for step in steps:
                    if isinstance(step, Config):
                        await fleet.adopt(step)
                        self.shown.append(self.page())
                    else:
                        step()
                    await asyncio.sleep(HOUR.total_seconds())
                    self.shown.append(self.page())

        self.world.run(go)
        return self

    def page(self) -> str:
        """All that is shown now."""
        pages = SnapshotRefresher(self.store, self.telemetry, self.world.now)
        return (
            b"".join(pages.snapshot.page.text()).decode()
            + self.telemetry.text(openmetrics=False).decode()
        )

    def values(self) -> list[str]:
        """What is shown, without what any moment changes."""
        own = ("seasalt_exporter_", "process_", "python_")
        return sorted(line for line in self.page().splitlines() if not line.startswith(own))

    def start(
        self, one: Workspace, memory: Memory, trusted: Trust, origin: Origin
    ) -> WorkspacePoller:
        """Make the poller of a workspace."""
        poller = WorkspacePoller(
            *(one, self.store, self.telemetry, self.world.now),
            transport=self.transport,
            memory=memory,
            trusted=trusted,
            shared_keys=self.shared_keys,
            origin=origin,
        )
        self.pollers.append(weakref.ref(poller))
        return poller
