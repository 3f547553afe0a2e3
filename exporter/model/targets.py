"""What the exporter polls, and the keys under which it stores values. Pure."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from exporter.model.entry import Entry


def fraction(text: str) -> float:
    """A number in [0, 1) derived from a text: evenly distributed, and the same after a restart."""
    return (int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 11) / 2**53


@dataclass(frozen=True)
class Target:
    """What a request is about: a workspace, or one of its bots.

    Attributes:
        api: The API's name.
        workspace: The workspace's configured name.
        bot_id: The API's id of the bot; empty for the workspace as a whole.
        bot: The bot's configured or discovered name.
        labels: The operator's static labels, as pairs in the order of the file.
    """

    api: str
    workspace: str
    bot_id: str = ""
    bot: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.api, self.workspace, self.bot_id, self.bot, self.labels))

    def __hash__(self) -> int:  # cached: a page of 10,000 bots hashes targets a million times
        return self._hash

    @cached_property
    def place(self) -> float:
        """Its position in [0, 1) among all targets, independent of the bot's name and of labels."""
        return fraction(f"{self.bot_id}|{self.workspace}")


class Key(NamedTuple):
    """The key of a record: one report of one target, or facts about the target itself.

    Attributes:
        target: The workspace or bot.
        report: The value of the label `report`; empty for facts about the target.
        window: The value of the label `window`.
    """

    target: Target
    report: str
    window: str

    @classmethod
    def of(cls, target: Target, entry: Entry) -> "Key":
        """The key of one entry for one target."""
        return cls(target, entry.name, entry.window)
