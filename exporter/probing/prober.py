"""Who is probed when: one probe for all who ask, and its result again until it is too old.

A scrape asks for a bot and a module. Then one of these holds:

- A probe of the two is under way: the scrape waits for it.
- The last result is younger than the module's interval: the scrape gets it again.
- Else a probe begins. It is a task of the prober, not of the scrape, and goes on if the scrape goes
  away; the next one gets its result.

If the question was not sent, the probe cost no message, and is tried again after `RETRY`.

Probes of one bot wait for each other, because a conversation has one answer at a time. A reload
keeps all results whose module is the same. If it replaces the workspace's poller, probes under way
are given up with their connections, and nobody knows what came of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from exporter.config import Bot, Module
from exporter.errors import ExporterError
from exporter.polling.plan import target
from exporter.polling.workspace import WorkspacePoller
from exporter.probing.exchange import probed
from exporter.probing.result import ProbeTarget, Reason, Result
from exporter.upstream.client import MOST_PROBES

RETRY: Final = 60.0
"""Seconds for which a result is served again if the question was not sent."""

log = logging.getLogger(__name__)

_Place = tuple[str, str, str]
"""A workspace's name, a bot's id, and a module's name."""


class NotProbed(ExporterError):
    """The configuration does not allow this probe, or its bots are not known yet."""


class GivenUp(ExporterError):
    """The probe under way was given up: the configuration changed, or the exporter ends."""


@dataclass(slots=True)
class _Probe:
    """The probes of one bot with one module.

    Attributes:
        module: The module as it was when the last probe began.
        task: The probe that is under way.
        result: The last result.
        until: Until when it is served again, on the event loop's clock.
        failures: The probes in a row that failed because of the bot.
    """

    module: Module
    task: asyncio.Task[Result] | None = None
    result: Result | None = None
    until: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """What the probes of one workspace wait for.

    Attributes:
        poller: The poller whose sender they use.
        places: Limits the probes of the workspace at a time.
        bots: Lets each bot be probed by one at a time.
    """

    poller: WorkspacePoller
    places: asyncio.Semaphore
    bots: dict[str, asyncio.Lock]


class Prober:
    """Probes the bots of the configuration in force.

    Args:
        pollers: Returns the pollers of the configuration in force.
        now: The present as an aware instant; durations come from the event loop's clock.
    """

    def __init__(
        self, pollers: Callable[[], Iterable[WorkspacePoller]], now: Callable[[], datetime]
    ) -> None:
        self._pollers = pollers
        self._now = now
        self._modules: Mapping[str, Module] = {}
        self._probes: dict[_Place, _Probe] = {}
        self._turns: dict[str, _Turn] = {}
        self._ending = False

    def adopt(self, modules: Mapping[str, Module]) -> None:
        """Put modules in force, after the pollers of their configuration."""
        self._modules = modules
        for place, probe in list(self._probes.items()):
            if modules.get(place[2]) != probe.module:
                del self._probes[place]  # whoever waits for it still gets its result
        self._forget()

    def end(self) -> None:
        """Begin no more probes; those under way end with the pollers."""
        self._ending = True

    def targets(self) -> list[ProbeTarget]:
        """Every bot with each module that it may be probed with; none of bots that are switched off.

        Raises:
            NotProbed: If the bots of a workspace are not known yet.
        """
        for poller in self._pollers():
            if poller.workspace.has_probes and not poller.knows_its_bots:
                raise NotProbed("waiting for the list of bots")
        self._forget()
        return [
            ProbeTarget(target(poller.workspace, bot), place[2])
            for place, poller, bot in self._allowed()
            if bot.id not in poller.switched_off
        ]

    async def probe(self, workspace: str, bot_id: str, module: str) -> Result:
        """The present result for a bot and a module; a probe begins if there is none.

        If the caller is cancelled, the probe goes on.

        Raises:
            NotProbed: If the configuration has no such probe.
            GivenUp: If the probe was given up.
        """
        poller = self._poller(workspace, bot_id, module)
        if poller is None:
            raise NotProbed("no such probe in the configuration")
        place = (workspace, bot_id, module)
        probe = self._probes.setdefault(place, _Probe(self._modules[module]))
        if probe.task is None:
            if probe.result and asyncio.get_running_loop().time() < probe.until:
                return probe.result
            if self._ending:
                raise GivenUp("the exporter is ending")
            probe.task = asyncio.ensure_future(self._run(poller, bot_id, probe))
            poller.carry(probe.task)
        task = probe.task
        await asyncio.wait({task})  # unlike awaiting it, this does not cancel it
        if task.cancelled():
            raise GivenUp("the probe was given up: the configuration changed, or the exporter ends")
        return task.result()

    def _poller(self, workspace: str, bot_id: str, module: str) -> WorkspacePoller | None:
        """The poller of a probe that the configuration allows."""
        for poller in self._pollers():
            if poller.workspace.name == workspace and module in self._modules:
                bot = poller.bots.get(bot_id)
                return poller if bot and module in poller.workspace.modules(bot) else None
        return None

    async def _run(self, poller: WorkspacePoller, bot_id: str, probe: _Probe) -> Result:
        time, name = asyncio.get_running_loop().time, poller.workspace.name
        turn = self._turns.get(name)
        if turn is None or turn.poller is not poller:
            turn = self._turns[name] = _Turn(poller, asyncio.Semaphore(MOST_PROBES), {})
        try:
            async with turn.bots.setdefault(bot_id, asyncio.Lock()), turn.places:
                begun = time()
                result = await self._probed(poller, bot_id, probe.module)
            if result.known:
                probe.failures = 0 if result.reason is None else probe.failures + 1
            interval = probe.module.interval.total_seconds()
            probe.until = begun + interval if result.asked else time() + min(RETRY, interval)
            probe.result = replace(result, failures=probe.failures)
            return probe.result
        finally:
            probe.task = None

    async def _probed(self, poller: WorkspacePoller, bot_id: str, module: Module) -> Result:
        """The result of one probe; an unexpected exception is one, too, as it may have cost."""
        at = self._now()
        try:
            return await probed(poller.sender, bot_id, module, self._now)
        except Exception as error:  # noqa: BLE001 - no probe ends the process
            poller.sender.telemetry.bug("probe", error, log, poller.workspace.name)
            return Result(at, reason=Reason.HELD_BACK, detail="a bug in the exporter")

    def _allowed(self) -> Iterator[tuple[_Place, WorkspacePoller, Bot]]:
        """Every probe that the configuration allows, with its poller and its bot."""
        for poller in self._pollers():
            workspace = poller.workspace
            for bot in poller.bots.values() if workspace.has_probes else ():
                for module in workspace.modules(bot):
                    yield (workspace.name, bot.id, module), poller, bot

    def _forget(self) -> None:
        """Drop what nobody may ask for any more, once its interval is over.

        Until then a bot that comes back must not be asked again.
        """
        at = asyncio.get_running_loop().time()
        allowed = {place for place, *_ in self._allowed()}
        for place, probe in list(self._probes.items()):
            if place not in allowed and probe.task is None and probe.until <= at:
                del self._probes[place]
