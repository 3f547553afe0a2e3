"""Which bots of a workspace are polled: the configured ones and the discovered ones. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import Final

from exporter.config import Bot, Discovery
from exporter.errors import ReplyError
from exporter.model.bot_list import ListedBot, Listing
from exporter.model.samples import Sample

Owns = Callable[[str], bool]
"""Returns whether this instance polls the bot with an id."""

LISTINGS_BEFORE_GONE: Final = 2
"""Complete lists in a row without a bot after which it counts as gone."""


class KnownBots:
    """The configured bots, and the discovered ones from the last-known-good lists.

    Other shards' bots are remembered, too, so that all shards judge a list alike, but not shown.

    Args:
        configured: The bots in the configuration; they stay whatever the list says.
        discovery: Selects the listed bots to poll.
        remembered: The listed bots from before, see the property `remembered`.
        left_out: The initial value of the attribute.
        owns: Which listed bots are this shard's; all by default.

    Attributes:
        left_out: The bots of the last list beyond `max_bots`.
    """

    def __init__(
        self,
        configured: Iterable[Bot],
        discovery: Discovery,
        remembered: Iterable[tuple[ListedBot, int]] = (),
        left_out: int = 0,
        owns: Owns = lambda _: True,
    ) -> None:
        self.left_out = left_out
        self._owns = owns
        self._configured = {bot.id: bot for bot in configured}
        self._discovery = discovery
        self._listed = {str(bot.id): (bot, missed) for bot, missed in remembered}
        self._shown = {
            identity: self._configured.get(identity) or Bot(id=identity, name=bot.shown_name)
            for identity, (bot, _) in self._listed.items()
            if owns(identity)
        }

    def after(self, listing: Listing) -> "KnownBots":
        """The known bots after a new list.

        Known bots keep their places. If there are more bots than `max_bots`, new ones are left out.

        Raises:
            ReplyError: If the list is suddenly empty: the last-known-good list must stay in force.
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
        return KnownBots(
            self._configured.values(), self._discovery, found.values(), left_out, self._owns
        )

    @property
    def known(self) -> Collection[str]:
        """The ids of the listed bots."""
        return self._listed.keys()

    @property
    def remembered(self) -> tuple[tuple[ListedBot, int], ...]:
        """Every listed bot, with the number of complete lists in a row that it was missing from."""
        return tuple(self._listed.values())

    @cached_property
    def bots(self) -> tuple[Bot, ...]:
        """The bots to poll now, the configured ones first."""
        found = (
            bot
            for identity, bot in self._shown.items()
            if identity not in self._configured
            and self._discovery.wants(self._listed[identity][0].name or "")
        )
        return (*self._configured.values(), *found)

    def facts(self) -> Iterator[tuple[Bot, tuple[Sample, ...]]]:
        """The samples about every listed bot of this shard, polled or not."""
        for identity, bot in self._shown.items():
            yield bot, tuple(self._listed[identity][0].samples())
