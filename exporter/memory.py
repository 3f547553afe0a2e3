"""What one workspace must remember over a restart or a reload, beside its values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from exporter.bots import ListedBot
from exporter.config import Workspace
from exporter.plan import Key
from exporter.standing import Standing


class Origin(NamedTuple):
    """Where values come from; those of another are never shown as this one's.

    Attributes:
        api: The API's name.
        workspace: As configured.
        base_url: Where the API lives.
        workspace_id: The API's id of the workspace; empty where it was not given.
    """

    api: str = ""
    workspace: str = ""
    base_url: str = ""
    workspace_id: str = ""

    @classmethod
    def of(cls, workspace: Workspace) -> "Origin":
        """The origin of what a workspace is told."""
        base_url = workspace.base_url or workspace.dialect.base_url
        return cls(workspace.api, workspace.name, base_url, workspace.workspace_id or "")


@dataclass(frozen=True, slots=True)
class Turns:
    """What a poller remembers of its calls.

    Attributes:
        due: When each is due next, by its signature.
        refused: Until when a report is left out of its call, as it spoiled it.
        split_in_vain: Until when a call, by its signature, is not taken apart again.
    """

    due: Mapping[str, datetime] = field(default_factory=dict)
    refused: tuple[tuple[Key, datetime], ...] = ()
    split_in_vain: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """What is remembered of the list of bots.

    Attributes:
        bots: Each with the number of complete lists that it was missing from since.
        due: When the list is read next, None for now.
    """

    bots: tuple[tuple[ListedBot, int], ...] = ()
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """All of it.

    Attributes:
        origin: Whose memory it is.
        standing: How the workspace stands with the API.
        turns: What its poller remembers.
        listed: What is remembered of its list of bots.
    """

    origin: Origin = field(default_factory=Origin)
    standing: Standing = field(default_factory=Standing)
    turns: Turns = field(default_factory=Turns)
    listed: Listed = field(default_factory=Listed)

    def shown(self) -> "Memory":
        """With every name as it may be shown, for a file: what the page hides is hidden there."""
        bots = tuple((bot.clean(), missed) for bot, missed in self.listed.bots)
        return replace(self, listed=replace(self.listed, bots=bots))

    def forgiving(self) -> "Memory":
        """Without what the API refused, for a reload: the operator may have mended it."""
        return replace(self, turns=Turns(self.turns.due))

    def standing_alone(self) -> "Memory":
        """Of a workspace that is no longer polled: just how it stands with the API."""
        return Memory(self.origin, self.standing)
