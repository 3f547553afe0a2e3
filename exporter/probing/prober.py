"""Who is probed when: one probe for all who ask, and its result again until it is too old.

A scrape asks for a bot and a module. Then one of these holds:

- A probe of the two is under way: the scrape waits for it.
- The module's interval since the last question is not over: the scrape gets the last result again.
- Else a probe begins. It is a task of the prober, not of the scrape, and goes on if the scrape goes
  away; the next one gets its result.

The interval begins when the question is sent, and without a question when the probe began. Only a
probe for which nothing was done is tried again after `RETRY`: one that was held back, or that found
no connection. Failures count at most once an interval, so such a probe does not count each minute.

Probes of one bot wait for each other, because a conversation has one answer at a time. A reload
keeps all results whose module is the same but for its interval, also those of a module, a bot or a
workspace that is gone for a while. It drops those of another customer. If it replaces the
workspace's poller, probes under way are given up with their connections, and nobody knows what came
of them; a question that was sent counts.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from exporter.config import Bot, Module, Workspace
from exporter.errors import ExporterError
from exporter.polling.plan import target
from exporter.polling.workspace import WorkspacePoller
from exporter.probing.exchange import probed
from exporter.probing.result import ProbeTarget, Reason, Result
from exporter.state.workspace_memory import Origin
from exporter.upstream.client import MOST_PROBES

RETRY: Final = 60.0
"""Seconds for which a result is served again if nothing was done for the probe."""

_NO_RESULT: Final = "the probe was given up: the configuration changed, or the exporter ends"

log = logging.getLogger(__name__)

_Place = tuple[str, str, str]
"""A workspace's name, a bot's id, and a module's name."""


class NotProbed(ExporterError):
    """The configuration does not allow this probe."""


class NotKnown(ExporterError):
    """The bots of a workspace are not known yet."""


class UnderWay(ExporterError):
    """The probe is under way, and the caller does not wait for it."""


class GivenUp(ExporterError):
    """The probe under way was given up: the configuration changed, or the exporter ends."""


@dataclass(slots=True)
class _Probe:
    """The probes of one bot with one module.

    Attributes:
        module: The module.
        origin: The origin of the bot's answers.
        task: The last probe.
        result: The last result.
        since: When the present interval began, on the event loop's clock.
        retry: Whether nothing was done in it, so that it ends after `RETRY`.
        failures: The intervals in a row in which a probe failed because of the bot.
        counted: When the last one of them began.
        handed_over: Whether a person had the conversation when it was last seen.
    """

    module: Module
    origin: Origin
    task: asyncio.Task[Result] | None = None
    result: Result | None = None
    since: float = -inf
    retry: bool = False
    failures: int = 0
    counted: float = -inf
    handed_over: bool = False

    @property
    def under_way(self) -> bool:
        """Whether a probe is under way."""
        return self.task is not None and not self.task.done()

    @property
    def until(self) -> float:
        """When the present interval ends."""
        interval = self.module.interval.total_seconds()
        return self.since + (min(RETRY, interval) if self.retry else interval)

    def ended(self, result: Result, begun: float) -> Result:
        """Note the result of a probe, and what it says about the conversation and the bot."""
        if result.reason is None:
            self.failures = 0
        elif result.known and begun >= self.counted + self.module.interval.total_seconds():
            self.failures, self.counted = self.failures + 1, begun
        if result.reason is Reason.HANDOVER:
            self.handed_over = True
        elif result.reason in {None, Reason.WRONG_ANSWER, Reason.NO_ANSWER}:
            self.handed_over = False
        self.result = replace(result, failures=self.failures)
        return self.result


@dataclass(frozen=True, slots=True)
class _Turn:
    """What the probes of one poller wait for.

    Attributes:
        places: Limits the probes of the workspace at a time.
        bots: Lets each bot be probed by one at a time; only for as long as somebody probes it.
    """

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_PROBES))
    bots: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)


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
        self._turns = WeakKeyDictionary[WorkspacePoller, _Turn]()
        self._ending = False

    def adopt(self, modules: Mapping[str, Module]) -> None:
        """Put modules in force, after the pollers of their configuration."""
        self._modules = modules
        self._forget()

    def end(self) -> None:
        """Begin no more probes; those under way end with the pollers."""
        self._ending = True

    def targets(self, workspace: str = "") -> Iterator[ProbeTarget]:
        """Every bot with each module that it may be probed with; none of bots that are switched off.

        They are made when they are iterated, which is safe in any thread.

        Args:
            workspace: The name of the workspace whose bots are wanted; empty for all.

        Raises:
            NotProbed: If there is no such workspace.
            NotKnown: If the bots of a workspace are not known yet.
        """
        wanted = [one for one in self._pollers() if workspace in {"", one.workspace.name}]
        if workspace and not wanted:
            raise NotProbed("no such workspace in the configuration")
        for poller in wanted:
            if poller.workspace.has_probes and not poller.knows_its_bots:
                raise NotKnown("waiting for the list of bots")
        self._forget()
        able = [one for one in wanted if one.workspace.has_probes]
        return _targets([(one.workspace, one.bots, one.switched_off) for one in able])

    def allows(self, workspace: str, bot_id: str, module: str) -> bool:
        """Whether the configuration has such a probe."""
        return self._poller(workspace, bot_id, module) is not None

    async def probe(self, workspace: str, bot_id: str, module: str, *, wait: bool = True) -> Result:
        """The present result for a bot and a module; a probe begins if there is none.

        If the caller is cancelled, the probe goes on.

        Args:
            workspace: The name of the bot's workspace.
            bot_id: The id of the bot.
            module: The name of the module.
            wait: Whether to wait for a probe that is under way or begins.

        Raises:
            NotProbed: If the configuration has no such probe.
            UnderWay: If there is no result yet, and `wait` is False.
            GivenUp: If the probe was given up.
        """
        poller = self._poller(workspace, bot_id, module)
        if poller is None:
            raise NotProbed("no such probe in the configuration")
        probe = self._known((workspace, bot_id, module), poller)
        task = probe.task if probe.under_way else None
        if task is None:
            if probe.result and asyncio.get_running_loop().time() < probe.until:
                return probe.result
            if self._ending or poller.closed:
                raise GivenUp(_NO_RESULT)
            task = probe.task = asyncio.ensure_future(self._run(poller, bot_id, probe))
            poller.carry(task)
        if not wait:
            raise UnderWay("the probe is under way")
        await asyncio.wait({task})  # unlike awaiting it, this does not cancel it
        if task.cancelled():
            raise GivenUp(_NO_RESULT)
        return task.result()

    def _known(self, place: _Place, poller: WorkspacePoller) -> _Probe:
        """What is known of a probe; nothing if the module or the customer is another one now."""
        module, origin = self._modules[place[2]], poller.origin
        probe = self._probes.get(place)
        if (
            probe is None
            or not probe.origin.same(origin)
            or probe.module.model_copy(update={"interval": module.interval}) != module
        ):
            # Whoever waits for the old one still gets its result.
            probe = self._probes[place] = _Probe(module, origin)
        probe.module, probe.origin = module, origin
        return probe

    def _poller(self, workspace: str, bot_id: str, module: str) -> WorkspacePoller | None:
        """The poller of a probe that the configuration allows."""
        for poller in self._pollers():
            if poller.workspace.name == workspace and module in self._modules:
                bot = poller.bots.get(bot_id)
                return poller if bot and module in poller.workspace.modules(bot) else None
        return None

    async def _run(self, poller: WorkspacePoller, bot_id: str, probe: _Probe) -> Result:
        time, sent = asyncio.get_running_loop().time, list[float]()
        turn = self._turns.setdefault(poller, _Turn())
        async with turn.bots.setdefault(bot_id, asyncio.Lock()), turn.places:
            at, begun = self._now(), time()
            try:
                result = await self._probed(poller, bot_id, probe, lambda: sent.append(time()))
            except asyncio.CancelledError:
                if sent:  # it may have cost a message, so it is not asked again at once
                    given_up = Result(at, reason=Reason.HELD_BACK, detail=_NO_RESULT)
                    probe.since, probe.retry = sent[-1], False
                    probe.ended(given_up, begun)
                raise
        probe.since = time() if result.retry else [begun, *sent][-1]
        probe.retry = result.retry
        return probe.ended(result, begun)

    async def _probed(
        self, poller: WorkspacePoller, bot_id: str, probe: _Probe, asking: Callable[[], None]
    ) -> Result:
        """The result of one probe; an unexpected exception is one, too, as it may have cost."""
        at = self._now()
        try:
            return await probed(
                *(poller.sender, bot_id, probe.module, self._now),
                asking=asking,
                handed_over=probe.handed_over,
            )
        except Exception as error:  # noqa: BLE001 - no probe ends the process
            poller.sender.telemetry.bug("probe", error, log, poller.workspace.name)
            return Result(at, reason=Reason.HELD_BACK, detail="a bug in the exporter")

    def _forget(self) -> None:
        """Drop what nobody may ask for any more, once its interval is over.

        Until then a bot that comes back must not be asked again.
        """
        at = asyncio.get_running_loop().time()
        allowed = {
            (one.workspace.name, bot.id, module)
            for one in self._pollers()
            if one.workspace.has_probes
            for bot in one.bots.values()
            for module in one.workspace.modules(bot)
        }
        for place, probe in list(self._probes.items()):
            if place not in allowed and not probe.under_way and probe.until <= at:
                del self._probes[place]


def _targets(
    places: Iterable[tuple[Workspace, Mapping[str, Bot], AbstractSet[str]]],
) -> Iterator[ProbeTarget]:
    """The targets of workspaces, each with its bots, and the ids of those that are switched off."""
    for workspace, bots, switched_off in places:
        for bot in bots.values():
            if bot.id not in switched_off:
                about = target(workspace, bot)
                yield from (ProbeTarget(about, module) for module in workspace.modules(bot))
