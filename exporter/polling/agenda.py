"""All calls of a workspace, and what follows from having them all. Pure; for many bots it takes long."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from exporter.config import Bot, Workspace
from exporter.model.bot_list import PAGE_SIZE
from exporter.model.entry import Entry
from exporter.model.targets import Key
from exporter.polling.plan import Call, planned_calls
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
class Agenda:
    """What a workspace is to be asked, and when.

    Attributes:
        bots: Those it was made for.
        calls: By identity.
        rhythms: When each is sent.
        wanted: The reports that they bring, and the signature of the call that brings each.
        requests_per_minute: How many requests they lead to.
        load: What they ask for as a share of what is allowed.
        shortages: The settings that they are too many for.
    """

    bots: tuple[Bot, ...]
    calls: Mapping[str, Call]
    rhythms: Mapping[Call, Rhythm]
    wanted: Mapping[Key, tuple[str, Entry]]
    requests_per_minute: float
    load: float
    shortages: tuple[Shortage, ...]

    @classmethod
    def of(cls, workspace: Workspace, bots: Iterable[Bot]) -> Self:
        """The agenda of a workspace with these bots."""
        polled = tuple(bots)
        calls = {call.identity: call for call in planned_calls(workspace, polled)}
        given = calls.values()
        turns: list[Turn] = [*given, *listings(workspace, len(polled))]
        allowed = (workspace.requests_per_minute, workspace.requests_per_day)
        return cls(
            bots=polled,
            calls=calls,
            rhythms=rhythms(given, allowed[0], workspace.concurrency, workspace.zone),
            wanted={
                key: (call.signature, entry)
                for call in given
                for key, entry in zip(call.keys, call.entries, strict=True)
            },
            requests_per_minute=float(requests_per_hour(turns) / 60),
            load=load(turns, *allowed),
            shortages=tuple(shortages(turns, *allowed)),
        )


def listings(workspace: Workspace, bots: int) -> list[Turn]:
    """The turns of the pages of the list of bots, which are asked for as well; none without one."""
    found = workspace.discover_bots
    return [found] * (ceil(bots / PAGE_SIZE) or 1) if found else []


EMPTY = Agenda(
    bots=(), calls={}, rhythms={}, wanted={}, requests_per_minute=0.0, load=0.0, shortages=()
)
