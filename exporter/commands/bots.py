"""bots: lists the bots of each workspace as a section to paste into the configuration."""

import asyncio
from collections.abc import Iterable, Iterator

from exporter import logs
from exporter.commands.configuration import configuration, now
from exporter.commands.flags import DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Config, Workspace
from exporter.errors import ReplyError, RequestFailed
from exporter.metrics.telemetry import Telemetry
from exporter.model.bot_list import DEFAULT_MOST, Listing
from exporter.model.reply_values import Drift
from exporter.polling.discovery import whole_list
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender


def run(invocation: Invocation) -> int:
    """Print the section of every workspace with an API that has bots; status 1 if one fails."""
    config = configuration(invocation)
    return DONE if config is None else asyncio.run(_listed(config))


async def _listed(config: Config) -> int:
    workspaces = [workspace for workspace in config.workspaces if workspace.dialect.per_bot]
    if not workspaces:
        logs.say("no workspace of an API that has bots")
        return MENDABLE
    status = DONE
    for workspace in workspaces:
        wrong, lines = await _bots(workspace)
        if wrong:
            logs.say(f"workspace {workspace.name}: {wrong}")
            status = MENDABLE
        if lines:
            tell("".join(f"{line}\n" for line in lines))
    return status


async def _bots(workspace: Workspace) -> tuple[str, Iterable[str]]:
    """What is wrong with a workspace's list, and the lines of its section; either may be empty."""
    if workspace.workspace_id is None:
        return "needs a workspace_id", ()
    try:
        listing = await _listing(workspace)
    except (RequestFailed, ReplyError) as error:
        return str(error), ()
    more = f"the list has {listing.left_out} more than max_bots {listing.most}"
    return more if listing.left_out else "", _section(workspace, listing)


def _section(workspace: Workspace, listing: Listing) -> Iterator[str]:
    yield f"# workspace {workspace.name}: {len(listing.bots)} bots"
    yield "bots:" if listing.bots else "bots: []"
    for bot in listing.bots.values():
        note = "  # not enabled" if bot.is_enabled is False else ""
        yield f"  - {{id: {_quoted(str(bot.id))}, name: {_quoted(bot.shown_name)}}}{note}"


async def _listing(workspace: Workspace) -> Listing:
    client = Client(workspace, now=now)
    most = workspace.discover_bots.max_bots if workspace.discover_bots else DEFAULT_MOST
    try:
        listing, _ = await whole_list(Sender(workspace, client, Telemetry(), now), Drift(), most)
    finally:
        await client.close()
    return listing


def _quoted(value: str) -> str:
    """The text as a YAML string for the configuration, with quotes and `$` escaped."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{quoted}"'
