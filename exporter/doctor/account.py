"""The configuration against the account: bots, labels, requests and durations. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final

from exporter.config import Bot, Workspace
from exporter.doctor.findings import NOTHING_TO_DO, Finding, Verdict, fine, unknown
from exporter.doctor.questions import LONG, Evidence
from exporter.errors import Outcome, RequestFailed
from exporter.model.bot_list import Listing
from exporter.model.durations import show
from exporter.model.label_values import label_value
from exporter.polling.known_bots import KnownBots
from exporter.polling.plan import planned_calls
from exporter.polling.schedule import requests_per_hour, shortages
from exporter.polling.workload import listings
from exporter.reports import label_overview, label_usage

_WHOLE_LIST: Final = "seasalt-exporter bots prints the whole list"

MOST_NAMED: Final = 10
"""How many bots or labels are named one by one."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One request that was sent.

    Attributes:
        about: What it was for.
        metrics: The metrics that it asked for, as the API calls them.
        outcome: How it ended.
        seconds: How long it took.
    """

    about: str
    metrics: tuple[str, ...]
    outcome: Outcome
    seconds: float


@dataclass
class Bots(Listing):
    """The part of the list of bots that was read.

    Attributes:
        partial: Whether the list has more pages.
    """

    partial: bool = False

    @property
    def beginning(self) -> str:
        """What was read, in words."""
        return f"the first {len(self.bots)} bots of the list, which has more"


def key(listed: Bots | RequestFailed | None, workspace: Workspace) -> Iterator[Finding]:
    """The keys, once the reports have been answered."""
    yield fine("key", "accepted", "accepted")
    if not isinstance(listed, RequestFailed):
        if listed is not None:
            yield fine("bots_key", "accepted", "accepted")
    elif listed.outcome is Outcome.UNAUTHORIZED:
        verdict = Verdict.MEND if workspace.discover_bots else Verdict.CONSIDER
        setting = "bots_api_key: a key that may list the bots"
        yield Finding("bots_key", verdict, "rejected", _rejected(listed), setting)
    else:
        yield unknown("bots_key", f"no answer: {listed}")


def _rejected(failure: RequestFailed) -> str:
    return f"HTTP {failure.status}: the key is not accepted for the list of bots"


def bots(workspace: Workspace, listed: Bots | RequestFailed | None) -> Iterator[Finding]:
    """Configured bots that do not exist or are switched off, and what discovery finds."""
    if not workspace.dialect.per_bot:
        return
    if not isinstance(listed, Bots):
        if workspace.has_bots:
            setting = NOTHING_TO_DO if listed else "workspace_id: needed to read the list of bots"
            yield unknown("bots", "the list of bots was not read", setting)
        return
    if not listed.bots:
        setting = "workspace_id: the one in the address of the workspace's pages"
        yield Finding("bots", Verdict.MEND, "none", "the list of bots is empty", setting)
        return
    if workspace.bots:
        yield from _configured(workspace, listed)
    if workspace.discover_bots:
        yield _discovered(workspace, listed)


def _configured(workspace: Workspace, listed: Bots) -> Iterator[Finding]:
    missing = [bot.id for bot in workspace.bots if bot.id not in listed.bots]
    off = [
        bot.id
        for bot in workspace.bots
        if bot.id in listed.bots and listed.bots[bot.id].is_enabled is False
    ]
    if missing and listed.partial:
        text = f"{len(missing)} of {len(workspace.bots)} are not among {listed.beginning}"
        yield unknown("bots", text, _WHOLE_LIST)
    elif missing and not listed.proves:
        yield unknown("bots", f"{len(missing)} are not in the part of the list that could be read")
    elif missing:
        setting = "bots: remove or correct it; seasalt-exporter bots prints the list"
        for text in _each(missing, "does not exist", "do not exist"):
            yield Finding("bots", Verdict.MEND, "missing", text, setting)
    for text in _each(off, "is switched off", "are switched off"):
        setting = "bots: remove it, unless it is to be switched on again"
        yield Finding("bots", Verdict.CONSIDER, "disabled", text, setting)
    if not missing and not off:
        yield fine("bots", "exist", f"all {len(workspace.bots)} exist and are switched on")


def _discovered(workspace: Workspace, listed: Bots) -> Finding:
    found = len(_polled(workspace, listed)) - len(workspace.bots)
    if listed.left_out:
        text = f"the list has {listed.left_out} bots beyond max_bots"
        setting = f"discover_bots.max_bots: {len(listed.bots) + listed.left_out}"
        return Finding("discovery", Verdict.MEND, "too_many", text, setting)
    if listed.partial:
        return unknown("discovery", f"{found} of {listed.beginning}", _WHOLE_LIST)
    if not found:
        text = f"include and exclude leave none of the {len(listed.bots)} bots in the list"
        setting = "discover_bots.include: patterns on the names that seasalt-exporter bots prints"
        return Finding("discovery", Verdict.MEND, "none", text, setting)
    return fine("discovery", "found", f"{found} of {len(listed.bots)} bots in the list")


def _polled(workspace: Workspace, listed: Bots | RequestFailed | None) -> tuple[Bot, ...]:
    """The bots that are polled with this list."""
    if workspace.discover_bots is None or not isinstance(listed, Bots):
        return workspace.bots
    return KnownBots(workspace.bots, workspace.discover_bots).after(listed).bots


def configured_labels(workspace: Workspace) -> tuple[str, ...]:
    """The labels that the configured reports are limited to, each once."""
    names = (getattr(entry.options, "labels", None) or () for entry in workspace.entries)
    return tuple(dict.fromkeys(name for some in names for name in some))


def labels(workspace: Workspace, evidence: Evidence) -> Iterator[Finding]:
    """Configured labels that do not exist, are written otherwise, or were never used."""
    wanted = configured_labels(workspace)
    if not wanted:
        return
    uses = _uses(evidence)
    if uses is None:
        yield unknown("labels", "the labels of the account were not read")
        return
    listed = evidence.reply("first", "label_overview") is not None
    wrong = [name for name in wanted if not uses.get(label_value(name))]
    for name in wrong[:MOST_NAMED]:
        yield _unfit(name, uses, listed=listed)
    if len(wrong) > MOST_NAMED:
        text = f"and {len(wrong) - MOST_NAMED} more"
        yield _label(Verdict.CONSIDER, "more", text, "remove or correct them")
    if not wrong:
        yield fine("labels", "used", f"all {len(wanted)} exist and have been used")


def _unfit(name: str, uses: Mapping[str, float], *, listed: bool) -> Finding:
    """What is wrong with a label that was not used; `listed` if unused labels are known too."""
    shown = label_value(name)
    if shown in uses:
        return _label(Verdict.CONSIDER, "unused", f"{name} has never been used", "remove it")
    if shown.casefold() in map(str.casefold, uses):
        text = f"{name} is written with other capital letters in the account"
        return _label(Verdict.MEND, "spelling", text, "write it as the account does")
    if listed:
        return _label(Verdict.MEND, "missing", f"{name} does not exist", "remove or correct it")
    text = f"{name} was not used in {LONG}"
    return _label(Verdict.CONSIDER, "unused", text, "remove or correct it")


def _label(verdict: Verdict, answer: str, found: str, setting: str) -> Finding:
    return Finding("labels", verdict, answer, found, f"metrics[].labels: {setting}")


def _uses(evidence: Evidence) -> Mapping[str, float] | None:
    """How often each label was used, by its name and by its id; None if that was not read."""
    overview = evidence.reply("first", "label_overview")
    if overview:
        found: dict[str, float] = {}
        for (label_id, name, _), value in overview.of(label_overview.CONVERSATIONS).items():
            for one in filter(None, (label_id, name)):
                found[one] = found.get(one, 0) + value
        return found
    usage = evidence.reply("labels", "label_usage")
    if usage is None:
        return None
    return {labels[-1]: value for labels, value in usage.of(label_usage.USES).items()}


def requests(workspace: Workspace, listed: Bots | RequestFailed | None) -> Iterator[Finding]:
    """The requests that the configuration leads to, and the limits that do not allow them."""
    polled = _polled(workspace, listed)
    calls = planned_calls(workspace, polled)
    turns = [*calls, *listings(workspace, len(polled))]
    hourly = requests_per_hour(turns)
    text = f"{ceil(hourly * 24)} a day, {ceil(hourly)} an hour"
    unread = workspace.discover_bots and (not isinstance(listed, Bots) or listed.partial)
    if unread:
        text = f"at least {text}: the list of bots was not read to its end"
    short = list(shortages(turns, workspace.requests_per_minute, workspace.requests_per_day))
    for shortage in short:
        yield Finding(
            "requests",
            Verdict.MEND,
            "too_many",
            f"{text}; {shortage.setting} allows {shortage.allowed}: {shortage.consequence}",
            f"{shortage.setting}: {shortage.needed}, or longer intervals",
        )
    if not short:
        yield unknown("requests", text) if unread else fine("requests", "allowed", text)


def durations(
    workspace: Workspace, listed: Bots | RequestFailed | None, timed: Iterable[Timed]
) -> Finding:
    """Whether the time limit and the concurrency suit the time that answers take."""
    given = list(timed)
    answered = [one for one in given if one.outcome is Outcome.SUCCESS]
    limit = workspace.timeout.total_seconds()
    if any(one.outcome is Outcome.TIMEOUT for one in given):
        text = f"an answer did not come within timeout {show(workspace.timeout)}"
        return Finding("duration", Verdict.MEND, "timeout", text, f"timeout: {_longer(2 * limit)}")
    if not answered:
        return unknown("duration", "nothing was answered")
    slowest = max(answered, key=lambda one: one.seconds)
    text = (
        f"at most {slowest.seconds:.1f} s, for {' + '.join(slowest.metrics) or 'the list of bots'}"
    )
    if slowest.seconds > limit / 2:
        setting = f"timeout: {_longer(3 * slowest.seconds)}"
        return Finding("duration", Verdict.MEND, "slow", text, setting)
    calls = planned_calls(workspace, _polled(workspace, listed))
    mean = sum(one.seconds for one in answered) / len(answered)
    busy = sum(mean / call.interval.total_seconds() for call in calls)
    if busy > workspace.concurrency:
        text += f"; {workspace.concurrency} at a time are too few for the intervals"
        return Finding("duration", Verdict.MEND, "busy", text, f"concurrency: {ceil(2 * busy)}")
    return fine("duration", "fast", text)


def _longer(seconds: float) -> str:
    """A number of seconds as a duration, rounded up to ten."""
    return show(timedelta(seconds=10 * ceil(seconds / 10)))


def _each(names: list[str], one: str, many: str) -> Iterator[str]:
    """A sentence about each of the first names, then one about how many more there are."""
    yield from (f"{name} {one}" for name in names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        yield f"{len(names) - MOST_NAMED} more {many}"
