"""sandbox: runs the stand-in Seasalt API alone, on loopback by default."""

import asyncio
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Final

from exporter.commands.configuration import now
from exporter.commands.flags import DONE, FEW_BOTS, Invocation
from exporter.commands.output import tell
from exporter.errors import StartError
from exporter.sandbox import Sandbox, Temperament, Trouble
from exporter.shutdown import signalled
from exporter.web.server import Server
from exporter.web.sockets import TRUSTED, bound, listen

_DAYS: Final = 400
_DAYS_OF_MANY: Final = 91
"""Days of data of a sandbox with few bots, and of one with many."""

_BEFORE_HISTORY: Final = 35
"""Days of data before the history, so that windows of a month are whole from its first day on."""


def run(invocation: Invocation) -> int:
    """Serve the sandbox until a signal arrives."""
    sockets = listen([invocation.one("sandbox.listen-address")])
    with closing(make(invocation)) as sandbox:
        asyncio.run(_until_signalled(sandbox, sockets))
    return DONE


def make(invocation: Invocation) -> Sandbox:
    """The sandbox that the flags ask for."""
    seed, bots = int(invocation.one("sandbox.seed")), int(invocation.one("bots"))
    trouble = bool(invocation.one("trouble"))
    temper = frozenset(_temper(invocation.values["temperament"]))
    needed = days_of(invocation) + _BEFORE_HISTORY
    if bots == FEW_BOTS:
        few = max(_DAYS, needed)
        return Sandbox.make(seed=seed, now=now, trouble=trouble, temper=temper, days=few)
    days = max(_DAYS_OF_MANY, needed)
    tell(f"Making up {days} days' data of {bots} bots, which takes some seconds...\n")
    return Sandbox.make_big(
        seed=seed, now=now, bots=bots, trouble=trouble, temper=temper, days=days
    )


def _temper(names: Iterable[str]) -> Iterator[Temperament]:
    """The temperaments of these names.

    Raises:
        StartError: If one is none.
    """
    for name in names:
        if name not in list(Temperament):
            raise StartError(f"--temperament must be one of {', '.join(Temperament)}")
        yield Temperament(name)


def days_of(invocation: Invocation) -> int:
    """The days of history that the demo begins with; 0 if none are asked for."""
    return int(invocation.one("history").rstrip("d") or 0)


def troubles(trouble: Trouble) -> Iterator[str]:
    """What will go wrong and when, in one line each; times are in the system's time zone."""
    for spell, what in (
        (trouble.rejections, f"the SeaChat key of {trouble.rejected.name} is rejected"),
        (trouble.limits, f"{trouble.limited.name} gets HTTP 429"),
        (trouble.slowness, f"answers take {trouble.SLOW:.0f} s"),
    ):
        first = (trouble.start + timedelta(seconds=spell.first)).astimezone()
        yield (
            f"{what} from {first:%H:%M:%S %Z} for {_shown(spell.lasts)},"
            f" again every {_shown(spell.every)}"
        )
    yield f"{trouble.failing.name} ({trouble.failing.id}) always gets HTTP 500"


def _shown(seconds: float) -> str:
    """A duration in minutes, or in seconds if it is less than one."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


async def _until_signalled(sandbox: Sandbox, sockets: list[socket.socket]) -> None:
    stop = signalled()
    tell(f"Sandbox API at http://{bound(sockets[0])}, made-up data, same seed same numbers.\n")
    for workspace in sandbox.workspaces:
        tell(f"  workspace_id {workspace.id} ({workspace.name}, {workspace.timezone})\n")
        for api in ("seachat", "portal", "seax"):
            tell(f"    {api} key {getattr(workspace, f'{api}_key')}\n")
        for bot in workspace.bots:
            tell(f"    bot {bot.id} ({bot.name})\n")
    for line in troubles(sandbox.trouble) if sandbox.trouble else ():
        tell(f"Trouble      {line}\n")
    for temperament in sorted(sandbox.temper):
        tell(f"Temperament  {temperament}\n")
    tell("Ctrl-C ends it.\n")
    await Server(sandbox, limits=TRUSTED, dates=False).serve_until(stop, sockets)


@contextmanager
def beside(sandbox: Sandbox, listening: socket.socket) -> Iterator[None]:
    """Serve the sandbox in a thread with its own event loop, so that it does not delay scrapes."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete,
        args=(Server(sandbox, limits=TRUSTED, dates=False).serve_until(stop, [listening]),),
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
