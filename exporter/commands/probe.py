"""probe: asks one bot a module's question once, whatever the interval, and prints the phases."""

import asyncio
from collections.abc import Iterable, Iterator

from exporter.commands.configuration import configuration, now
from exporter.commands.flags import DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Bot, Config, Workspace
from exporter.did_you_mean import did_you_mean
from exporter.errors import ReplyError, RequestFailed, StartError
from exporter.metrics.telemetry import Telemetry
from exporter.model.reply_values import Drift
from exporter.polling.discovery import known_bots, whole_list
from exporter.probing.exchange import probed
from exporter.probing.result import MEANINGS, Result
from exporter.state.workspace_memory import RememberedBots
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender


def run(invocation: Invocation) -> int:
    """Probe once; status 1 if the probe does not succeed.

    Raises:
        StartError: If it is not clear what to probe, or the configuration does not allow it.
    """
    config = configuration(invocation)
    if config is None:
        return DONE
    workspace = _workspace(config, invocation.one("workspace"))
    bot_id = invocation.one("bot")
    if not bot_id:
        raise StartError("--bot must be the id of a bot, as `seasalt-exporter bots` lists them")
    result = asyncio.run(_probed(config, workspace, bot_id, invocation.one("module")))
    tell("".join(f"{line}\n" for line in lines(result)))
    return DONE if result.reason is None else MENDABLE


def lines(result: Result) -> Iterator[str]:
    """A result for people."""
    for phase, seconds in result.phases.items():
        yield f"{phase:<14}{seconds:7.3f} s"
    yield f"{'in all':<14}{result.seconds:7.3f} s"
    if result.reason is None:
        yield "success: the answer matches"
    else:
        detail = f" ({result.detail})" if result.detail else ""
        yield f"failure: {result.reason}: {MEANINGS[result.reason]}{detail}"


def _workspace(config: Config, name: str) -> Workspace:
    able = {one.name: one for one in config.workspaces if one.has_probes}
    return able[_chosen(name, able, "--workspace", "a workspace with probes")]


def _chosen(name: str, known: Iterable[str], flag: str, what: str) -> str:
    """The given name, or the only one there is.

    Raises:
        StartError: If the name is unknown, or none was given and there are several.
    """
    names = list(known)
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    if not names:
        raise StartError(f"the configuration has not {what}: see `modules` and `probes`")
    hint = did_you_mean(name, names) if name else ""
    raise StartError(f"{flag} must be {what}: {', '.join(names)}{hint}")


async def _probed(config: Config, workspace: Workspace, bot_id: str, module: str) -> Result:
    client = Client(workspace, now=now)
    try:
        sender = Sender(workspace, client, Telemetry(), now)
        bots = await _bots(workspace, sender)
        bot = bots.get(bot_id)
        if bot is None:
            raise StartError(
                f"--bot must be the id of a bot of workspace {workspace.name}"
                f"{did_you_mean(bot_id, bots)}"
            )
        name = _chosen(module, workspace.modules(bot), "--module", "a module of the bot")
        return await probed(sender, bot.id, config.modules[name], now)
    finally:
        await client.close()


async def _bots(workspace: Workspace, sender: Sender) -> dict[str, Bot]:
    """The bots that are polled, by id; the list is read if discovery is on.

    Raises:
        StartError: If the list cannot be read.
    """
    bots: Iterable[Bot] = workspace.bots
    if workspace.discover_bots:
        try:
            listing, _ = await whole_list(sender, Drift(), workspace.discover_bots.max_bots)
        except (RequestFailed, ReplyError) as error:
            raise StartError(f"workspace {workspace.name}: {error}") from None
        bots = known_bots(workspace, RememberedBots()).after(listing).bots
    return {bot.id: bot for bot in bots}
