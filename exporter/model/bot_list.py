"""The list of a workspace's bots: the shape of its pages, put together and checked. Pure.

SeaChat API Wiki, "Get Agent List", and the published OpenAPI of `GET /api/v1/public/bots`.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import isnan
from typing import Annotated, Final

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from exporter.errors import ReplyError
from exporter.model.names import Text, label_value
from exporter.model.samples import BOT_LABELS, Family, Sample
from exporter.model.values import Count, Drift, Lenient, Reply

REPORT: Final = "bots"
"""The value of the label `report` under which the list's own success is told."""

BOT_ID: Final = r"[A-Za-z0-9._:@-]{1,128}"
"""What the API's identifiers look like: opaque, and safe in an address."""

INFO: Final = Family(
    "seasalt_bot_info",
    "A bot of the workspace's list; always 1.",
    BOT_LABELS,
)
ENABLED: Final = Family("seasalt_bot_enabled", "Whether the bot is switched on in the list.")
FAMILIES: Final = (INFO, ENABLED)

PAGE_SIZE: Final = 100
MOST_PAGES: Final = 1000
LONGEST_LIST: Final = MOST_PAGES * PAGE_SIZE
UNREADABLE_PAGES: Final = 3
"""Pages in a row of which not one row can be read, after which there is no use in more."""

DEFAULT_MOST: Final = 10_000
"""Bots of a list that are known at a time, where the operator says nothing."""

_ID: Final = re.compile(BOT_ID, re.ASCII)


def _short(value: str) -> str:
    return label_value(value) if value.strip() else ""


Shown = Annotated[Text, AfterValidator(_short)]
"""A text as it may be shown, from when it is read: nothing longer is kept of a page.

So patterns are matched with the same names before a restart and after it.
"""


class ListedBot(Reply):
    """One bot as the list has it; its description and its model are not read."""

    id: str | int
    name: Lenient[Shown] = None
    use_case: Lenient[Shown] = None
    default_response_language: Lenient[Shown] = None
    live_agent_transfer: Lenient[bool] = None
    is_enabled: Lenient[bool] = None

    @property
    def shown_name(self) -> str:
        """The value of the label `bot`."""
        return self.name or str(self.id)

    def samples(self) -> Iterable[Sample]:
        """What is told of the bot itself."""
        transfer = "" if self.live_agent_transfer is None else str(self.live_agent_transfer).lower()
        yield INFO.sample(
            1,
            self.use_case or "",
            self.default_response_language or "",
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
        ReplyError: If the answer has another shape than documented, or more rows than asked for.
    """
    rows = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(rows, list) and len(rows) > PAGE_SIZE:
        raise ReplyError(f"bots: a page of more than the {PAGE_SIZE} rows that were asked for")
    try:
        return _PAGE.validate_python(answer, context=drift)
    except ValidationError:
        raise ReplyError("bots: not of the documented shape") from None


@dataclass
class Listing:
    """Pages put together: bots by id, in the order of the list.

    Attributes:
        most: How many bots are taken, beside those that are known.
        known: The ids of bots that are known: the list is read on until it has them all, however
            many others come before.
        bots: Those taken so far.
        rows: Rows seen so far, which is where the next page begins.
        unreadable: Pages in a row of which not one row could be read.
        proves: Whether a bot that is not in it is gone: not where rows could not be read, or
            where the list changed or contradicted itself while it was read.
        left_out: How many bots more there are at least than are taken.
    """

    most: int = DEFAULT_MOST
    known: Collection[str] = frozenset()
    bots: dict[str, ListedBot] = field(default_factory=dict)
    rows: int = 0
    unreadable: int = 0
    proves: bool = True
    left_out: int = 0
    _seen: set[str] = field(default_factory=set)
    _counted: int = 0
    _total: float | None = None
    _contradicted: bool = False

    def add(self, one: Page, drift: Drift) -> bool:
        """Take a page in; whether there may be another.

        Raises:
            ReplyError: If page after page cannot be read, or the list ends before its total.
        """
        before = len(self._seen)
        readable = self._take(one.data, drift)
        self.rows += len(one.data)
        self._hear(one.total, drift)
        self.unreadable = self.unreadable + 1 if one.data and not readable else 0
        if self.unreadable >= UNREADABLE_PAGES:
            raise ReplyError("bots: page after page cannot be read")
        self.left_out = len(self._seen) - len(self.bots)
        if self.left_out:
            said = min(self._total or 0, LONGEST_LIST) - len(self.bots)
            self.left_out = int(max(self.left_out, said))
            if all(identity in self._seen for identity in self.known):
                return False
        if self._total is not None and self._counted >= self._total:
            return False
        if len(self._seen) > before or self.unreadable:
            return True
        if self._total is not None:
            reason = f"bots: the list ends after {len(self._seen)} of {self._total:.0f}"
            raise ReplyError(reason)
        if one.data:
            self.proves = False  # a list that does not say its length, and begins anew
        return False

    def _take(self, rows: Iterable[ListedBot | None], drift: Drift) -> bool:
        """Take in the rows of a page; whether any can be read."""
        here: set[str] = set()
        for bot in rows:
            identity = str(bot.id) if bot else ""
            if bot is None or not _ID.fullmatch(identity):
                self.proves = False
                self._counted += 1
                if bot:  # None is drift already
                    drift.add("id")
                continue
            # A row of an earlier page again brings the list no nearer to its total.
            self._counted += identity in here or identity not in self._seen
            here.add(identity)
            self._seen.add(identity)
            if identity in self.known or len(self.bots) < self.most:
                self.bots.setdefault(identity, bot)
        return bool(here)

    def _hear(self, total: float | None, drift: Drift) -> None:
        """Take in how long the list says to be."""
        if total is not None and isnan(total):
            self.proves = False
        if total is None or isnan(total) or self._contradicted:
            return
        if total < self._counted:
            # It has more than it says: it ends where no more comes, like one that says nothing.
            drift.add("total")
            self._contradicted, self._total, self.proves = True, None, False
            return
        if self._total not in {None, total}:
            self.proves = False
        self._total = total
