"""demo: runs the sandbox and the exporter in one process; no account, no key, no network."""

import asyncio
import socket
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from exporter.commands.configuration import now
from exporter.commands.flags import DONE, Invocation, prefix
from exporter.commands.output import tell
from exporter.commands.sandbox import beside, make
from exporter.commands.serve import serve
from exporter.config import Config, load
from exporter.sandbox import Sandbox
from exporter.shutdown import signalled
from exporter.web.sockets import bound, listen

CONFIGURATION: Final = Path(__file__).with_name("demo.yml")
_LISTEN: Final = "127.0.0.1:9877"


def run(invocation: Invocation) -> int:
    """Start both, print their addresses, and serve until a signal arrives."""
    given = "web.listen-address" in invocation.given
    sockets = listen(invocation.values["web.listen-address"] if given else [_LISTEN])
    api = listen([invocation.one("sandbox.listen-address")])
    url = f"http://{bound(api[0])}"
    with closing(make(invocation)) as sandbox:
        config = configuration(sandbox, url)
        with beside(sandbox, api[0]):
            asyncio.run(_until_signalled(config, invocation, sockets, url))
    return DONE


def configuration(sandbox: Sandbox, url: str) -> Config:
    """The demo's own configuration, for a sandbox at this URL."""
    workspace = sandbox.workspaces[0]
    environment = {
        "SANDBOX_URL": url,
        "SEACHAT_API_KEY": workspace.seachat_key,
        "PORTAL_API_KEY": workspace.portal_key,
        "SEAX_API_KEY": workspace.seax_key,
        "WORKSPACE_ID": workspace.id,
        "WORKSPACE_TIMEZONE": workspace.timezone,
    }
    return load([str(CONFIGURATION)], environment, now().date())


async def _until_signalled(
    config: Config, invocation: Invocation, sockets: list[socket.socket], url: str
) -> None:
    stop = signalled()
    page = quote(prefix(invocation)) + invocation.one("web.telemetry-path")
    polled = ", ".join(
        f"{workspace.name} ({workspace.dialect.title})" for workspace in config.workspaces
    )
    tell(f"Sandbox API  {url} (a stand-in for Seasalt's, made-up data)\n")
    tell(f"Metrics      http://{bound(sockets[0])}{page}\n")
    tell(f"Polls        {polled}, as {CONFIGURATION.name} says\n")
    tell("Ctrl-C ends both.\n")
    await serve(config, invocation, sockets, stop)
