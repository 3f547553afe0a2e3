"""What is polled, and what the values of each of its reports are kept under. Pure."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from exporter.model.entry import Entry


def fraction(text: str) -> float:
    """A number from 0 to, but not, 1 that is the same in every life of the process, and spread evenly."""
    return (int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 11) / 2**53


@dataclass(frozen=True)
class Target:
    """What is polled: a workspace, or one of its bots.

    Attributes:
        api: The API's name.
        workspace: As configured.
        bot_id: The API's id of the bot; empty for the workspace as a whole.
        bot: Its configured or discovered name.
        labels: The operator's own, as pairs in the order of the file.
    """

    api: str
    workspace: str
    bot_id: str = ""
    bot: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.api, self.workspace, self.bot_id, self.bot, self.labels))

    def __hash__(self) -> int:  # once: a page of 10,000 bots asks for it a million times
        return self._hash

    @cached_property
    def place(self) -> float:
        """Its place among all others, from 0 to, but not, 1, whatever it is called and labelled."""
        return fraction(f"{self.bot_id}|{self.workspace}")


class Key(NamedTuple):
    """What values are kept under: one report of one target, or facts about the target itself.

    Attributes:
        target: The workspace or bot.
        report: The value of the label `report`; empty where it is no report's.
        window: The value of the label `window`.
    """

    target: Target
    report: str
    window: str

    @classmethod
    def of(cls, target: Target, entry: Entry) -> "Key":
        """The key of an entry of a target."""
        return cls(target, entry.name, entry.window)
