"""plan: prints every request that the configuration leads to, with totals. Sends none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor
from types import MappingProxyType
from typing import Final

from exporter.commands.configuration import configuration
from exporter.commands.flags import DONE, Invocation
from exporter.commands.output import tell
from exporter.config import Bot, Module, Workspace
from exporter.metrics.exposition import REPORT_FAMILIES
from exporter.model import knowledge_base
from exporter.model.durations import show
from exporter.polling.plan import Call, planned_calls
from exporter.polling.schedule import requests_per_hour, shortages
from exporter.polling.workload import listings
from exporter.probing.conversation import most_requests

_EACH: Final = Bot.model_construct(id="each discovered bot", name="", labels={}, probes=None)


def run(invocation: Invocation) -> int:
    """Print the plan of every workspace."""
    config = configuration(invocation)
    modules = config.modules if config else {}
    for workspace in config.workspaces if config else ():
        tell("".join(f"{line}\n" for line in lines(workspace, modules)))
    return DONE


def lines(
    workspace: Workspace, modules: Mapping[str, Module] = MappingProxyType({})
) -> Iterator[str]:
    """A workspace's plan: a line per request, then the totals, then what probes add at most."""
    calls = planned_calls(workspace, workspace.bots)
    each: Sequence[Call] = ()
    shard = workspace.shard
    limits = (workspace.requests_per_minute, workspace.requests_per_day)
    rate = shard.pace(*limits)
    title = f"{workspace.dialect.title}, {workspace.timezone}"
    part = "" if shard.alone else f", shard {shard}"
    yield f"workspace {workspace.name} ({title}){part}: {len(calls)} requests a round"
    if workspace.discover_bots:
        each = planned_calls(workspace, (_EACH,))[len(planned_calls(workspace, ())) :]
        yield f"  every {show(workspace.discover_bots.interval):<6} workspace: the list of bots, a page or more"
        yield f"  at most {workspace.discover_bots.max_bots} bots of the list: max_bots"
        if not shard.alone:
            yield (
                f"  each of the {shard.count} shards reads the whole list, and polls about 1 of"
                f" {shard.count} bots in it"
            )
    if workspace.knowledge_base:
        every = show(knowledge_base.INTERVAL)
        yield f"  every {every:<6} each bot: the files of its knowledge base, a page or more"
    for call in (*calls, *each):
        asked = " + ".join(
            f"{entry.name}({entry.window})" if entry.window else entry.name
            for entry in call.entries
        )
        yield f"  every {show(call.interval):<6} {call.target.bot_id or 'workspace'}: {asked}"
    turns = [*calls, *listings(workspace, len(workspace.bots))]
    hourly = requests_per_hour(turns)
    seconds = 60 * len(calls) / rate
    yield f"  {_number(hourly)} requests an hour, {_number(hourly * 24)} a day"
    yield f"  a round takes {_number(seconds)} s at {_number(rate, down=True)} requests a minute"
    for shortage in shortages(turns, *limits, shard):
        yield f"  {shortage}"
    yield f"  about {sum(map(_series, calls))} series, more with more labels and channels"
    if each:
        hourly = requests_per_hour(each)
        yield (
            f"  and for each bot that is discovered {len(each)} requests a round,"
            f" {_number(hourly)} an hour, about {sum(map(_series, each))} series"
        )
    yield from _probes(workspace, workspace.bots, modules, "probes, where Prometheus asks for them")
    if workspace.discover_bots:
        yield from _probes(workspace, (_EACH,), modules, "and for each bot that is discovered")


def _probes(
    workspace: Workspace, bots: Iterable[Bot], modules: Mapping[str, Module], what: str
) -> Iterator[str]:
    """What the probes of some bots cost at most; nothing if there are none."""
    used = [modules[name] for bot in bots for name in workspace.modules(bot)]
    asked = requests_per_hour(used)
    requests = sum((most_requests(one) * requests_per_hour((one,)) for one in used), Fraction())
    if asked:
        yield (
            f"  {what}: at most {_number(asked)} messages an hour, in at most"
            f" {_number(requests)} requests"
        )


def _number(value: Fraction, *, down: bool = False) -> str:
    """The number with all integer digits and at least four significant ones, rounded up or down."""
    scale = 1
    while value * scale < 1000 and (value * scale).denominator > 1:
        scale *= 10
    return f"{(floor if down else ceil)(value * scale) / scale:.12g}"


def _series(call: Call) -> int:
    """The usual number of series from a call, including the `seasalt_report_*` of its reports."""
    return sum(entry.form.series + len(REPORT_FAMILIES) for entry in call.entries)
