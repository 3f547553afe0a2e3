"""What one workspace must remember over a restart or a reload, beside its values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import scrypt
from typing import NamedTuple

from exporter.config import Workspace
from exporter.model.bot_list import ListedBot
from exporter.model.targets import Key
from exporter.upstream.limiter import SenderState


class Origin(NamedTuple):
    """Where values come from; those of another are never shown as this one's.

    Attributes:
        api: The API's name.
        workspace: As configured.
        base_url: Where the API lives.
        workspace_id: The API's id of the workspace; empty where it was not given.
        key: Where its key is, or a digest of the one that is written in the configuration.
        bots: The ids of the bots that are named in the configuration.
    """

    api: str = ""
    workspace: str = ""
    base_url: str = ""
    workspace_id: str = ""
    key: str = ""
    bots: tuple[str, ...] = ()

    @classmethod
    def of(cls, workspace: Workspace) -> "Origin":
        """The origin of what a workspace is told; takes a thousandth of a second."""
        base_url = workspace.base_url or workspace.dialect.base_url
        place = (workspace.api, workspace.name, base_url)
        if workspace.api_key_file:
            key = f"file {workspace.api_key_file}"
        else:
            secret = workspace.api_key.get_secret_value() if workspace.api_key else ""
            key = _digest(secret.strip(), "|".join(place))
        bots = tuple(bot.id for bot in workspace.bots)
        return cls(*place, workspace.workspace_id or "", key, bots)

    def same(self, other: "Origin") -> bool:
        """Whether two are of one customer, so that the values of one are those of the other.

        A key may be rotated, or be another customer's, and no answer says which. The id of the
        workspace tells, and so does a bot that is named in both, as no two customers have it. A key
        file is the place where keys are rotated. With none of these, another key is somebody else's.
        """
        if self[:3] != other[:3]:
            return False
        if self.workspace_id and other.workspace_id:
            return self.workspace_id == other.workspace_id
        if not set(self.bots).isdisjoint(other.bots):
            return True
        if self.workspace_id != other.workspace_id:
            return bool(self.key) and self.key == other.key
        return self.key == other.key or not (self.key and other.key)  # of an earlier version


def _digest(secret: str, salt: str) -> str:
    """A text that is another for another key.

    Salted with the name of the workspace, and four bytes: enough to tell two keys apart, and for
    whoever finds it no way to a key but to try each that he can think of, some hundreds a second.
    No slower, as a thousand workspaces wait for theirs at every start.
    """
    return scrypt(secret.encode(), salt=salt.encode(), n=2**6, r=8, p=1, dklen=4).hex()


@dataclass(frozen=True, slots=True)
class RememberedTurns:
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
class RememberedBots:
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
    standing: SenderState = field(default_factory=SenderState)
    turns: RememberedTurns = field(default_factory=RememberedTurns)
    listed: RememberedBots = field(default_factory=RememberedBots)

    def forgiving(self) -> "Memory":
        """Without what the API refused, for a reload: the operator may have mended it."""
        return replace(self, turns=RememberedTurns(self.turns.due))

    def standing_alone(self) -> "Memory":
        """Of a workspace that is no longer polled: just how it stands with the API."""
        return Memory(self.origin, self.standing)
