"""A workspace that is polled, in a world where a week takes seconds."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Self

from exporter.config import Workspace
from exporter.metrics.exposition import rendered
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.workspace import WorkspacePoller
from support.api import FakeApi
from support.virtual import World


async def polling(
    poller: WorkspacePoller, duration: timedelta, *then: Callable[[], object]
) -> None:
    """Poll for so long with what has begun; between equal parts of it, do something else."""
    task = asyncio.ensure_future(poller.run())
    for step in (*then, None):
        await asyncio.sleep(duration.total_seconds() / (len(then) + 1))
        if task.done():
            task.result()
        if step:
            step()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def told(telemetry: Telemetry, series: str) -> float:
    """The value of one of the exporter's own series."""
    page = telemetry.text(openmetrics=False).decode()
    return float(page.split(f"\n{series} ")[1].split("\n")[0])


class Told:
    """What is told of a workspace.

    Attributes:
        one: The workspace.
        telemetry: Where it is told.
    """

    one: Workspace
    telemetry: Telemetry

    def told(self, series: str) -> float:
        """The value of one of the exporter's own series."""
        return told(self.telemetry, series)

    def counted(self, outcome: str) -> float:
        """How many requests ended so."""
        return self._total("api_requests", "outcome", outcome)

    def retried(self, outcome: str) -> float:
        """How many were sent beyond the schedule because one before had ended so."""
        return self._total("api_retries", "outcome", outcome)

    def dropped(self, reason: str) -> float:
        """How many series were left out for a reason."""
        return self._total("series_dropped", "reason", reason)

    def _total(self, family: str, label: str, value: str) -> float:
        labels = f'api="{self.one.api}",{label}="{value}",workspace="{self.one.name}"'
        return self.told(f"seasalt_{family}_total{{{labels}}}")


class Polled(Told):
    """One workspace before a stand-in API.

    Attributes:
        one: The workspace.
        world: Its clock.
        api: What it asks.
        poller: What polled it last.
        changed: Called when values have changed.
    """

    poller: WorkspacePoller

    def __init__(self, one: Workspace, world: World, api: FakeApi) -> None:
        self.one, self.world, self.api = one, world, api
        self.store, self.telemetry = Store(), Telemetry()
        self.changed: Callable[[], None] = lambda: None

    def start(self) -> WorkspacePoller:
        """A poller over the store; it begins where it is entered."""
        self.poller = WorkspacePoller(
            *(self.one, self.store, self.telemetry, self.world.now, self.changed),
            transport=self.api.transport,
        )
        return self.poller

    def lasts(self, duration: timedelta, *then: Callable[[], object]) -> Self:
        """Poll for so long; between equal parts of it, do something else."""

        async def go() -> None:
            async with self.start() as poller:
                await polling(poller, duration, *then)

        self.world.run(go)
        return self

    def page(self, at: datetime | None = None) -> str:
        """The values that are shown at an instant, or now."""
        return rendered(self.store, at or self.world.now())
