"""plan: every request that the configuration leads to, and what they add up to. Sends none."""

from collections.abc import Iterator
from typing import Final

from exporter.commands.configured import configuration
from exporter.config import Bot, Workspace
from exporter.durations import show
from exporter.flags import DONE, Invocation
from exporter.plan import Call, plan
from exporter.schedule import requests_per_hour

_EACH: Final = Bot.model_construct(id="each discovered bot", name="", labels={})

_VALUES: Final = {
    "sender": 4,
    "direction": 2,
    "weekday": 7,
    "hour": 24,
    "month": 12,
    "rating": 5,
    "of": 5,
    "period": 2,
    "channel": 5,
    "label": 10,
    "status": 8,
}
"""How many values a label has, the last four as a guess at a usual customer's."""


def run(invocation: Invocation) -> int:
    """Print the plan of every workspace."""
    config = configuration(invocation)
    for workspace in config.workspaces if config else ():
        print("\n".join(lines(workspace)))
    return DONE


def lines(workspace: Workspace) -> Iterator[str]:
    """A workspace's plan: a line per request, then the sums."""
    calls = plan(workspace, workspace.bots)
    each = plan(workspace, (_EACH,))[len(plan(workspace, ())) :] if workspace.discover_bots else ()
    title = f"{workspace.dialect.title}, {workspace.timezone}"
    yield f"workspace {workspace.name} ({title}): {len(calls)} requests a round"
    if workspace.discover_bots:
        yield f"  and {len(each)} for each bot that is discovered; the sums are without those"
        yield f"  every {show(workspace.discover_bots.interval):<6} workspace: the list of bots"
    for call in (*calls, *each):
        asked = " + ".join(
            f"{entry.name}({entry.window})" if entry.window else entry.name
            for entry in call.entries
        )
        yield f"  every {show(call.interval):<6} {call.target.bot_id or 'workspace'}: {asked}"
    hourly = requests_per_hour(calls)
    minutes = len(calls) / workspace.requests_per_minute
    yield f"  {hourly:.4g} requests an hour, {hourly * 24:.5g} a day"
    yield (
        f"  a round takes {minutes * 60:.3g} s at {workspace.requests_per_minute} requests a minute"
    )
    yield f"  about {sum(map(_series, calls))} series, more or less with channels and labels"


def _series(call: Call) -> int:
    """A guess at how many series the answers to a call make."""
    total = 0
    for entry in call.entries:
        for family in entry.report.families:
            count = 1
            for label in family.labels:
                count *= _VALUES.get(label, 1)
            total += count
        total += 4  # seasalt_report_*
    return total
