"""The bots of a workspace: what the list says of them, and which of them are polled. Pure.

SeaChat API Wiki, "Get Agent List", and the published OpenAPI of `GET /api/v1/public/bots`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from exporter.config import BOT_ID, Bot, Discovery
from exporter.config.load import LIST_OF_BOTS
from exporter.errors import ReplyError
from exporter.samples import BOT_LABELS, Family, Sample
from exporter.values import Count, Drift, Lenient, Reply, Text, text

REPORT: Final = LIST_OF_BOTS
"""The value of the label `report` under which the list's own success is told."""

INFO: Final = Family(
    "seasalt_bot_info",
    "A bot of the workspace's list; always 1.",
    BOT_LABELS,
)
ENABLED: Final = Family("seasalt_bot_enabled", "Whether the bot is switched on in the list.")
FAMILIES: Final = (INFO, ENABLED)

PAGE_SIZE: Final = 100
MOST_PAGES: Final = 1000
UNREADABLE_PAGES: Final = 3
"""Pages in a row of which not one row can be read, after which there is no use in more."""

LISTINGS_BEFORE_GONE: Final = 2
"""Complete listings without a bot after which it is believed to be gone."""

_ID: Final = re.compile(BOT_ID, re.ASCII)


class ListedBot(Reply):
    """One bot as the list has it; its description and its model are not read."""

    id: str | int
    name: Lenient[Text] = None
    use_case: Lenient[Text] = None
    default_response_language: Lenient[Text] = None
    live_agent_transfer: Lenient[bool] = None
    is_enabled: Lenient[bool] = None

    @property
    def shown_name(self) -> str:
        """The value of the label `bot`."""
        name = self.name or ""
        return text(name) if name.strip() else str(self.id)

    def clean(self) -> "ListedBot":
        """The same with every text as it may be shown."""
        texts = {
            name: text(value)
            for name in ("name", "use_case", "default_response_language")
            if (value := getattr(self, name))
        }
        return self.model_copy(update=texts)

    def samples(self) -> Iterable[Sample]:
        """What is told of the bot itself."""
        transfer = "" if self.live_agent_transfer is None else str(self.live_agent_transfer).lower()
        yield INFO.sample(
            1,
            text(self.use_case) if self.use_case else "",
            text(self.default_response_language) if self.default_response_language else "",
            transfer,
        )
        if self.is_enabled is not None:
            yield ENABLED.sample(float(self.is_enabled))


class Page(Reply):
    """One page of the list.

    Attributes:
        data: Its bots, None in place of one that cannot be read.
        total: How many there are in all; not every answer says it.
    """

    data: Annotated[tuple[Lenient[ListedBot], ...], Field()]
    total: Count = None


_PAGE: Final = TypeAdapter(Page)


def page(answer: object, drift: Drift) -> Page:
    """A page of the list.

    Raises:
        ReplyError: If the answer has another shape than documented.
    """
    try:
        return _PAGE.validate_python(answer, context=drift)
    except ValidationError:
        raise ReplyError("bots: not of the documented shape") from None


@dataclass
class Listing:
    """Pages put together: bots by id, in the order of the list.

    Attributes:
        bots: Those seen so far.
        rows: Rows seen so far, which is where the next page begins.
        unreadable: Pages in a row of which not one row could be read.
    """

    bots: dict[str, ListedBot] = field(default_factory=dict)
    rows: int = 0
    unreadable: int = 0

    def add(self, one: Page, drift: Drift) -> bool:
        """Take a page in; whether there may be another.

        Raises:
            ReplyError: If page after page cannot be read.
        """
        before, readable = len(self.bots), False
        for bot in filter(None, one.data):  # None is drift already
            if _ID.fullmatch(str(bot.id)):
                readable = True
                self.bots.setdefault(str(bot.id), bot)
            else:
                drift.add("id")
        self.rows += len(one.data)
        complete = one.total is not None and self.rows >= one.total
        self.unreadable = self.unreadable + 1 if one.data and not readable else 0
        if self.unreadable >= UNREADABLE_PAGES:
            raise ReplyError("bots: page after page cannot be read")
        return not complete and (len(self.bots) > before or self.unreadable > 0)


class Roster:
    """The bots to poll: those of the configuration, and those of the last good lists.

    Args:
        configured: Named by the operator; they stay whatever the list says.
        discovery: Which of the listed ones are wanted.
        remembered: What was known before, see `remembered`.
    """

    def __init__(
        self,
        configured: Iterable[Bot],
        discovery: Discovery,
        remembered: Iterable[tuple[ListedBot, int]] = (),
    ) -> None:
        self._configured = {bot.id: bot for bot in configured}
        self._discovery = discovery
        self._listed = {str(bot.id): (bot, missed) for bot, missed in remembered}
        self._shown = {
            identity: self._configured.get(identity) or Bot(id=identity, name=bot.name or "")
            for identity, (bot, _) in self._listed.items()
        }

    def after(self, listing: Listing) -> "Roster":
        """The roster once a complete list is taken in.

        Raises:
            ReplyError: If it is empty though there were bots: that is no reason to drop them all.
        """
        if self._listed and not listing.bots:
            raise ReplyError("bots: the list is empty, and was not before")
        kept = {
            identity: (bot, missed + 1)
            for identity, (bot, missed) in self._listed.items()
            if missed + 1 < LISTINGS_BEFORE_GONE or identity in listing.bots
        }
        found = kept | {identity: (bot, 0) for identity, bot in listing.bots.items()}
        return Roster(self._configured.values(), self._discovery, found.values())

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
