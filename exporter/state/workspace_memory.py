"""The state of one workspace that survives a restart or a reload, apart from its values. Pure."""

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
    """The origin of values, so that one customer's values are never shown as another's.

    Attributes:
        api: The API's name.
        workspace: The name of the workspace in the configuration.
        base_url: The base URL of the API.
        workspace_id: The API's id of the workspace; empty if it is not configured.
        key: The path of the key file, or a digest of the key in the configuration.
        bots: The ids of the bots in the configuration.
    """

    api: str = ""
    workspace: str = ""
    base_url: str = ""
    workspace_id: str = ""
    key: str = ""
    bots: tuple[str, ...] = ()

    @classmethod
    def of(cls, workspace: Workspace) -> "Origin":
        """The origin of a workspace's values; the digest of a key takes about a millisecond."""
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
        """Whether two origins belong to one customer.

        A new key may be the same customer's, after a rotation, or another customer's. No answer
        says which, so these decide, in this order:

        1. API, workspace name and base URL must be equal.
        2. If both have a workspace id, it decides.
        3. A bot that both name proves one customer, as no two customers share a bot.
        4. Otherwise, the key or its file decides. A key file may hold a rotated key, so its path is
           compared and not its content.
        """
        if self[:3] != other[:3]:
            return False
        if self.workspace_id and other.workspace_id:
            return self.workspace_id == other.workspace_id
        if not set(self.bots).isdisjoint(other.bots):
            return True
        if self.workspace_id != other.workspace_id:
            return bool(self.key) and self.key == other.key
        return self.key == other.key or not (self.key and other.key)  # empty in an earlier version


def _digest(secret: str, salt: str) -> str:
    """A digest that differs from key to key.

    It has only four bytes and is salted with the name of the workspace. That is enough to tell two
    keys apart. An attacker who has the digest can only guess keys, at some hundreds per second. A
    slower digest would delay the start of an exporter with a thousand workspaces.
    """
    return scrypt(secret.encode(), salt=salt.encode(), n=2**6, r=8, p=1, dklen=4).hex()


@dataclass(frozen=True, slots=True)
class RememberedTurns:
    """What a poller remembers about its calls.

    Attributes:
        due: When each call is due next, by its signature.
        refused: The reports that made the API refuse a shared request, and until when each is left
            out of it.
        split_in_vain: Until when a refused call is not split again, by its signature.
    """

    due: Mapping[str, datetime] = field(default_factory=dict)
    refused: tuple[tuple[Key, datetime], ...] = ()
    split_in_vain: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RememberedBots:
    """What bot discovery remembers.

    Attributes:
        bots: Each listed bot, with the number of complete lists in a row that it was missing from.
        due: When the list is read next; None for now.
    """

    bots: tuple[tuple[ListedBot, int], ...] = ()
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The whole memory of one workspace.

    Attributes:
        origin: The origin of its values.
        standing: The state of its sender.
        turns: What its poller remembers.
        listed: What its bot discovery remembers.
    """

    origin: Origin = field(default_factory=Origin)
    standing: SenderState = field(default_factory=SenderState)
    turns: RememberedTurns = field(default_factory=RememberedTurns)
    listed: RememberedBots = field(default_factory=RememberedBots)

    def forgiving(self) -> "Memory":
        """The memory without the API's refusals, for a reload: the operator may have fixed them."""
        return replace(self, turns=RememberedTurns(self.turns.due))

    def standing_alone(self) -> "Memory":
        """The memory of a workspace that is no longer polled: its origin and its sender's state."""
        return Memory(self.origin, self.standing)
