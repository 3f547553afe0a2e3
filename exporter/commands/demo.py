"""demo: runs the sandbox and the exporter in one process; no account, no key, no network."""

import asyncio
import socket
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from exporter import logs
from exporter.backfill.grid import STEPS
from exporter.commands.backfill import Interrupted, job_of, rebuild
from exporter.commands.configuration import now
from exporter.commands.flags import DONE, Invocation, prefix
from exporter.commands.output import tell
from exporter.commands.sandbox import beside, days_of, make, troubles
from exporter.commands.serve import serve
from exporter.config import Config, load
from exporter.errors import StartError
from exporter.model.windows import local_day
from exporter.sandbox import Sandbox, SandboxWorkspace
from exporter.shutdown import signalled
from exporter.web.sockets import bound, listen

CONFIGURATION: Final = Path(__file__).with_name("demo.yml")
_INTRADAY: Final = 14
"""Days whose counts are rebuilt hour by hour: two of each weekday, as the alerts need."""

_LISTEN: Final = "127.0.0.1:9877"
_INTERVAL: Final = "15s"
_MANY_INTERVAL: Final = "1m"
"""How often reports are polled, of one company and of several.

A round of fifty bots is seven hundred requests. Counting their messages keeps one core busy for about
ten seconds.
"""


def run(invocation: Invocation) -> int:
    """Start both, print their addresses, and serve until a signal arrives."""
    given = "web.listen-address" in invocation.given
    sockets = listen(invocation.values["web.listen-address"] if given else [_LISTEN])
    api = listen([invocation.one("sandbox.listen-address")])
    url = f"http://{bound(api[0])}"
    with closing(make(invocation)) as sandbox:
        config = configuration(sandbox, url)
        with beside(sandbox, api[0]):
            begin_with_history(config, invocation)
            asyncio.run(_until_signalled(config, invocation, sockets, url, sandbox))
    return DONE


def begin_with_history(config: Config, invocation: Invocation) -> None:
    """Rebuild the past that the flag asks for, up to yesterday; a demo goes on without it."""
    days = days_of(invocation)
    if days:
        tell(f"History      {days} days, which takes some minutes...\n")
        # Where today has begun last, so that each workspace has that many days.
        today = min(local_day(now(), workspace.zone) for workspace in config.workspaces)
        job = job_of(invocation, today - timedelta(days=days))
        job = replace(job, step=STEPS["1h"], intraday=_INTRADAY)
        # The next demo's data may be others, so it must not find these answers.
        with TemporaryDirectory(prefix="seasalt-demo-") as journal:
            try:
                rebuild(config.workspaces, replace(job, journal=Path(journal)), sure=True)
            except Interrupted:
                raise
            except StartError as error:  # with --trouble, for instance, a rejected key
                logs.say(error)


def configuration(
    sandbox: Sandbox, url: str, file: Path = CONFIGURATION, at: datetime | None = None
) -> Config:
    """The demo's own configuration, for a sandbox at this URL.

    Args:
        sandbox: Whose companies are polled: the first one over all APIs, the others over SeaChat.
        url: Where it is.
        file: The configuration of one company.
        at: The present; that of the system if None.
    """
    first, *others = sandbox.workspaces
    interval = _MANY_INTERVAL if others else _INTERVAL
    today = (at or now()).date()
    config = load([str(file)], _environment(first, url, interval), today)
    found, warnings, modules = list(config.workspaces), list(config.warnings), config.modules
    for company in others:
        config = load([str(file)], _environment(company, url, interval), today)
        found += [one for one in config.workspaces if one.api == "seachat"]
        warnings += config.warnings
    return Config(tuple(found), tuple(warnings), modules)


def _environment(company: SandboxWorkspace, url: str, interval: str) -> dict[str, str]:
    """The variables for the configuration of one company."""
    return {
        "SANDBOX_URL": url,
        "INTERVAL": interval,
        "SEACHAT_API_KEY": company.seachat_key,
        "PORTAL_API_KEY": company.portal_key,
        "SEAX_API_KEY": company.seax_key,
        "WORKSPACE_NAME": company.name.partition(" ")[0].lower(),
        "WORKSPACE_ID": company.id,
        "WORKSPACE_TIMEZONE": company.timezone,
    }


async def _until_signalled(
    config: Config,
    invocation: Invocation,
    sockets: list[socket.socket],
    url: str,
    sandbox: Sandbox,
) -> None:
    stop = signalled()
    page = quote(prefix(invocation)) + invocation.one("web.telemetry-path")
    polled = ", ".join(
        f"{workspace.name} ({workspace.dialect.title})" for workspace in config.workspaces
    )
    tell(f"Sandbox API  {url} (a stand-in for Seasalt's, made-up data)\n")
    tell(f"Metrics      http://{bound(sockets[0])}{page}\n")
    tell(f"Polls        {polled}, as {CONFIGURATION.name} says\n")
    if len(sandbox.workspaces) > 1:
        tell(
            "First round  a value is missing until its report has been polled for the first time\n"
        )
    for line in troubles(sandbox.trouble) if sandbox.trouble else ():
        tell(f"Trouble      {line}\n")
    tell("Ctrl-C ends both.\n")
    await serve(config, invocation, sockets, stop)
