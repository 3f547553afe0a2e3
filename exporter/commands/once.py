"""once: polls each report once; prints the page on stdout and failures on stderr."""

import asyncio
import re
import secrets
from typing import Final

from exporter import logs
from exporter.commands.configuration import configuration, now
from exporter.commands.flags import DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Config, Workspace
from exporter.errors import StartError
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.plan import planned_calls
from exporter.polling.poller import Failure
from exporter.polling.workspace import WorkspacePoller
from exporter.upstream.shared_keys import SharedKeys

_OURS: Final = re.compile(rb"(?:# \w+ )?seasalt_")


def run(invocation: Invocation) -> int:
    """Poll each report once; status 1 if one failed."""
    config = configuration(invocation)
    return DONE if config is None else asyncio.run(_round(config))


async def _round(config: Config) -> int:
    store, telemetry = Store(), Telemetry()
    shared_keys = SharedKeys(secrets.token_bytes(32))
    telemetry.reloaded(now())

    for workspace in config.workspaces:
        allowed, needed = workspace.own_per_day, len(planned_calls(workspace, workspace.bots))
        if allowed is not None and allowed < needed:
            text = f"a round takes {needed} requests, requests_per_day allows {allowed}"
            raise StartError(f"workspace {workspace.name}: {text}")

    async def poll(workspace: Workspace) -> tuple[Failure, ...]:
        async with WorkspacePoller(
            workspace, store, telemetry, now, shared_keys=shared_keys
        ) as poller:
            return await poller.once()

    rounds = await asyncio.gather(*map(poll, config.workspaces))
    failures = [failure for failed in rounds for failure in failed]
    page = b"".join(SnapshotRefresher(store, telemetry, now).snapshot.page.text())
    # Without `process_*` and `python_*`, which are useless for such a short-lived process.
    own = telemetry.text(openmetrics=False).splitlines(keepends=True)
    tell(page + b"".join(line for line in own if _OURS.match(line)))
    for failure in failures:
        logs.say(failure)
    return MENDABLE if failures else DONE
