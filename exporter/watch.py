"""All that polls one workspace, put together: client, gate, poller and, if asked for, discovery."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Self

from exporter.client import Client, Transport
from exporter.config import Workspace
from exporter.discovery import Finder
from exporter.gate import Gate
from exporter.plan import plan
from exporter.poller import Failure, Poller
from exporter.status import WorkspaceStatus, targets
from exporter.store import Store
from exporter.telemetry import Telemetry


class Watch:
    """Polls one workspace while it is entered.

    Args:
        workspace: What to poll.
        store: Takes the values.
        telemetry: Takes the counts.
        now: The present as an aware instant.
        changed: Called when the store has other values than before.
        transport: Takes the place of the network in tests.

    Raises:
        StartError: If its certificates cannot be used.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: Store,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
        transport: Transport | None = None,
    ) -> None:
        self._workspace = workspace
        self._store = store
        self._now = now
        self._client = Client(workspace, transport, now)
        self._gate = Gate(workspace, self._client, telemetry, now)
        self.poller = Poller(workspace, self._gate, store, telemetry, now, changed)
        self.poller.assign(plan(workspace, workspace.bots))
        discovery = workspace.discover_bots
        self._finder = (
            Finder(self.poller, discovery, self._gate, store, telemetry, now) if discovery else None
        )

    async def __aenter__(self) -> Self:
        """Open nothing yet; connections come with the requests."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.close()

    def status(self) -> WorkspaceStatus:
        """How the polling of this workspace goes."""
        turns = self.poller.turns | (self._finder.turns if self._finder else {})
        mine = ((key, record) for key, record in self._store if key in turns)
        return WorkspaceStatus(
            name=self._workspace.name,
            api=self._workspace.api,
            timezone=self._workspace.timezone,
            answered=self.answered,
            requests_today=self._gate.requests_today,
            requests_per_day=self._workspace.requests_per_day,
            requests_per_minute=self._workspace.requests_per_minute,
            targets=targets(
                mine,
                {key: interval for key, (interval, _) in turns.items()},
                {key: due for key, (_, due) in turns.items()},
                self._now(),
            ),
        )

    @property
    def answered(self) -> bool:
        """Whether the API has answered anything yet."""
        return self._gate.answered

    async def run(self) -> None:
        """Poll for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.poller.run())
            if self._finder:
                tasks.create_task(self._finder.run())

    async def once(self) -> tuple[Failure, ...]:
        """Read the list of bots, if it is wanted, and poll every report one time; what failed."""
        unlisted = await self._finder.once() if self._finder else None
        return (*((unlisted,) if unlisted else ()), *await self.poller.once())
