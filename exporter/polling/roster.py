"""Which bots of a workspace are polled: those of the configuration, and those of the last good lists. Pure."""

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Final

from exporter.config import Bot, Discovery
from exporter.errors import ReplyError
from exporter.model.bot_list import ListedBot, Listing
from exporter.model.samples import Sample

LISTINGS_BEFORE_GONE: Final = 2
"""Complete listings without a bot after which it is believed to be gone."""


class Roster:
    """The bots to poll: those of the configuration, and those of the last good lists.

    Args:
        configured: Named by the operator; they stay whatever the list says.
        discovery: Which of the listed ones are wanted.
        remembered: What was known before, see `remembered`.
        left_out: How many more bots the last list had than may be known.

    Attributes:
        left_out: As given.
    """

    def __init__(
        self,
        configured: Iterable[Bot],
        discovery: Discovery,
        remembered: Iterable[tuple[ListedBot, int]] = (),
        left_out: int = 0,
    ) -> None:
        self.left_out = left_out
        self._configured = {bot.id: bot for bot in configured}
        self._discovery = discovery
        self._listed = {str(bot.id): (bot, missed) for bot, missed in remembered}
        self._shown = {
            identity: self._configured.get(identity) or Bot(id=identity, name=bot.shown_name)
            for identity, (bot, _) in self._listed.items()
        }

    def after(self, listing: Listing) -> "Roster":
        """The roster once a complete list is taken in.

        A bot that is known keeps its place: where there are more than may be, newcomers wait.

        Raises:
            ReplyError: If it is empty though there were bots: that is no reason to drop them all.
        """
        if self._listed and not listing.bots:
            raise ReplyError("bots: the list is empty, and was not before")
        missing = 1 if listing.proves else 0
        found = {
            identity: (bot, missed + missing)
            for identity, (bot, missed) in self._listed.items()
            if missed + missing < LISTINGS_BEFORE_GONE or identity in listing.bots
        }
        left_out = listing.left_out
        for identity, bot in listing.bots.items():
            if identity in found or len(found) < listing.most:
                found[identity] = bot, 0
            else:
                left_out += 1
        return Roster(self._configured.values(), self._discovery, found.values(), left_out)

    @property
    def known(self) -> Collection[str]:
        """The ids of the listed bots."""
        return self._listed.keys()

    @property
    def remembered(self) -> tuple[tuple[ListedBot, int], ...]:
        """Every listed bot, and how many complete lists it was missing from since."""
        return tuple(self._listed.values())

    @cached_property
    def bots(self) -> tuple[Bot, ...]:
        """The bots to poll now, the configured ones first."""
        found = (
            self._shown[identity]
            for identity, (listed, _) in self._listed.items()
            if identity not in self._configured and self._discovery.wants(listed.name or "")
        )
        return (*self._configured.values(), *found)

    def facts(self) -> Iterator[tuple[Bot, tuple[Sample, ...]]]:
        """What is told of every listed bot, polled or not."""
        for identity, (listed, _) in self._listed.items():
            yield self._shown[identity], tuple(listed.samples())
