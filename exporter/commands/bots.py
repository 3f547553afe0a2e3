"""bots: lists the bots of each workspace as a section to paste into the configuration."""

import asyncio
from collections.abc import Iterator

from exporter import logs
from exporter.commands.configuration import configuration, now
from exporter.commands.flags import DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Config, Workspace
from exporter.errors import ReplyError, RequestFailed
from exporter.metrics.telemetry import Telemetry
from exporter.model.bot_list import DEFAULT_MOST, ListedBot, Listing
from exporter.model.reply_values import Drift
from exporter.polling.discovery import whole_list
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender


def run(invocation: Invocation) -> int:
    """Print the section of every workspace with an API that has bots; status 1 if one fails."""
    config = configuration(invocation)
    return DONE if config is None else asyncio.run(_listed(config))


async def _listed(config: Config) -> int:
    status = DONE
    if not any(workspace.dialect.per_bot for workspace in config.workspaces):
        logs.say("no workspace of an API that has bots")
        status = MENDABLE
    for workspace in config.workspaces:
        if not workspace.dialect.per_bot:
            continue
        if workspace.workspace_id is None:
            logs.say(f"workspace {workspace.name}: needs a workspace_id")
            status = MENDABLE
            continue
        try:
            listing = await _listing(workspace)
        except (RequestFailed, ReplyError) as error:
            logs.say(f"workspace {workspace.name}: {error}")
            status = MENDABLE
        else:
            if listing.left_out:
                logs.say(
                    f"workspace {workspace.name}: the list has {listing.left_out} more"
                    f" than max_bots {listing.most}"
                )
                status = MENDABLE
            tell("".join(f"{line}\n" for line in _section(workspace, listing)))
    return status


def _section(workspace: Workspace, listing: Listing) -> Iterator[str]:
    yield f"# workspace {workspace.name}: {len(listing.bots)} bots"
    yield "bots:" if listing.bots else "bots: []"
    for bot in listing.bots.values():
        yield f"  - {{id: {_quoted(str(bot.id))}, name: {_quoted(bot.shown_name)}}}{_note(bot)}"


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


def _note(bot: ListedBot) -> str:
    return "  # not enabled" if bot.is_enabled is False else ""
