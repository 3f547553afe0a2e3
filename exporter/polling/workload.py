"""All calls of a workspace and what depends on all of them. Pure, but slow for many bots."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Final, Self

from exporter.config import Bot, Workspace
from exporter.model import knowledge_base
from exporter.model.bot_list import PAGE_SIZE
from exporter.model.entry import Entry
from exporter.model.targets import Key
from exporter.polling.plan import Call, planned_calls, target
from exporter.polling.schedule import (
    Rhythm,
    Shortage,
    Turn,
    load,
    requests_per_hour,
    rhythms,
    shortages,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The calls of a workspace, and when each is sent.

    Attributes:
        bots: The bots that the workload was made for.
        calls: The calls, by identity.
        rhythms: When each call is sent.
        wanted: The polled reports, each with the signature of its call and its entry.
        counted: The keys of the knowledge bases.
        requests_per_minute: The requests per minute that the intervals lead to.
        load: The requests that the intervals lead to, as a share of the allowed ones.
        shortages: The settings that allow too few requests.
    """

    bots: tuple[Bot, ...]
    calls: Mapping[str, Call]
    rhythms: Mapping[Call, Rhythm]
    wanted: Mapping[Key, tuple[str, Entry]]
    counted: frozenset[Key] = frozenset()
    requests_per_minute: float
    load: float
    shortages: tuple[Shortage, ...]

    @classmethod
    def of(cls, workspace: Workspace, bots: Iterable[Bot]) -> Self:
        """The workload of a workspace with these bots."""
        polled = tuple(bots)
        calls = {call.identity: call for call in planned_calls(workspace, polled)}
        given = calls.values()
        turns: list[Turn] = [*given, *listings(workspace, len(polled))]
        limits = (workspace.requests_per_minute, workspace.requests_per_day, workspace.shard)
        return cls(
            bots=polled,
            calls=calls,
            rhythms=rhythms(
                given,
                workspace.shard.pace(workspace.requests_per_minute, workspace.requests_per_day),
                workspace.own_concurrency,
                workspace.zone,
            ),
            wanted={
                key: (call.signature, entry)
                for call in given
                for key, entry in zip(call.keys, call.entries, strict=True)
            },
            counted=frozenset(
                files_key(workspace, bot) for bot in polled if workspace.knowledge_base
            ),
            requests_per_minute=float(requests_per_hour(turns) / 60),
            load=load(turns, workspace.own_per_minute, workspace.own_per_day),
            shortages=tuple(shortages(turns, *limits)),
        )


def listings(workspace: Workspace, bots: int) -> list[Turn]:
    """The turns of the lists: the pages of the bot list, at least one, and each bot's files.

    `bots` are those of one shard, which reads the list of about as many times more as there are shards.
    """
    found = workspace.discover_bots
    listed = bots * workspace.shard.count
    pages: list[Turn] = [found] * (ceil(listed / PAGE_SIZE) or 1) if found else []
    return [*pages, *[_FILES] * (bots if workspace.knowledge_base else 0)]


@dataclass(frozen=True, slots=True)
class _Files:
    """The turn of a bot's files, of which usually one page is enough."""

    interval: timedelta


_FILES: Final = _Files(knowledge_base.INTERVAL)


def files_key(workspace: Workspace, bot: Bot) -> Key:
    """The key of the count of a bot's files."""
    return Key(target(workspace, bot), knowledge_base.REPORT, "")


EMPTY = Workload(
    bots=(), calls={}, rhythms={}, wanted={}, requests_per_minute=0.0, load=0.0, shortages=()
)
