"""The bot list of a workspace: the shape of its pages, and how they are combined. Pure.

SeaChat API Wiki, "Get Agent List", and the published OpenAPI of `GET /api/v1/public/bots`. The list
of a knowledge base's files is paged in the same way.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import isnan
from typing import Annotated, ClassVar, Final, Generic, Protocol, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from exporter.errors import ReplyError
from exporter.model.label_values import Text, label_value
from exporter.model.reply_values import Count, Drift, Lenient, Reply
from exporter.model.samples import BOT_LABELS, Family, Sample

REPORT: Final = "bots"
"""The value of the label `report` for the status of the list itself."""

BOT_ID: Final = r"[A-Za-z0-9._:@-]{1,128}"
"""The pattern of the API's bot ids: opaque, and safe in a URL."""

INFO: Final = Family("seasalt_bot_info", "A bot of the workspace's list; always 1.", BOT_LABELS)
ENABLED: Final = Family("seasalt_bot_enabled", "Whether the bot is switched on in the list.")
FAMILIES: Final = (INFO, ENABLED)

PAGE_SIZE: Final = 100
MOST_PAGES: Final = 1000
LONGEST_LIST: Final = MOST_PAGES * PAGE_SIZE
UNREADABLE_PAGES: Final = 3
"""Consecutive pages without a readable row after which the list fails."""

OPTIONAL: Final = frozenset(
    {"total", "use_case", "default_response_language", "live_agent_transfer", "is_enabled"}
)
"""The fields that the OpenAPI document does not require."""

DEFAULT_MOST: Final = 10_000
"""The default limit on the bots taken from a list."""

_ID: Final = re.compile(BOT_ID, re.ASCII)


def _short(value: str) -> str:
    return label_value(value) if value.strip() else ""


Shown = Annotated[Text, AfterValidator(_short)]
"""A text cleaned for display as it is read, so that nothing longer of a page is kept.

Patterns therefore match the same names before and after a restart.
"""


class Listed(Reply):
    """One row of a paged list."""

    id: str | int


class ListedBot(Listed):
    """One bot in the list. Its description and its model are not read."""

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
        """The samples about the bot itself."""
        transfer = "" if self.live_agent_transfer is None else str(self.live_agent_transfer).lower()
        yield INFO.sample(1, self.use_case or "", self.default_response_language or "", transfer)
        if self.is_enabled is not None:
            yield ENABLED.sample(float(self.is_enabled))


class Page(Reply):
    """One page of the list.

    Attributes:
        data: The bots on the page; None in place of an unreadable one.
        total: The number of bots in the whole list; some responses omit it.
    """

    data: Annotated[tuple[Lenient[ListedBot], ...], Field()]
    total: Count = None


PageT = TypeVar("PageT", bound=Reply)


def page(answer: object, drift: Drift) -> Page:
    """The page in a response.

    Raises:
        ReplyError: If the response does not have the documented shape, or has more than
            `PAGE_SIZE` rows.
    """
    return page_of(Page, REPORT, answer, drift)


def page_of(model: type[PageT], what: str, answer: object, drift: Drift) -> PageT:
    """The page of a paged list in a response; `what` is what the list is called in errors.

    Raises:
        ReplyError: See `page`.
    """
    rows = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(rows, list) and len(rows) > PAGE_SIZE:
        raise ReplyError(f"{what}: a page of more than the {PAGE_SIZE} rows that were asked for")
    try:
        return model.model_validate(answer, context=drift)
    except ValidationError:
        raise ReplyError(f"{what}: not of the documented shape") from None


ListedT = TypeVar("ListedT", bound=Listed)
RowT_co = TypeVar("RowT_co", bound=Listed, covariant=True)


class PageLike(Protocol[RowT_co]):
    """A page of any paged list; see `Page`."""

    @property
    def data(self) -> tuple[RowT_co | None, ...]: ...  # noqa: D102 - see `Page`

    @property
    def total(self) -> float | None: ...  # noqa: D102 - see `Page`


@dataclass
class PagedList(Generic[ListedT]):
    """The rows of all pages so far, by id, in the order of the list.

    Attributes:
        most: The limit on rows taken; known ones are taken beyond it.
        known: The ids of known rows. If the list exceeds the limit, it is read on until all of
            them have been seen.
        found: The rows taken so far.
        rows: The number of rows so far, which is the offset of the next page.
        unreadable: The number of consecutive pages without a readable row.
        proves: Whether what is missing from the list is gone. False if rows were unreadable, or if
            the list changed or contradicted itself while it was read.
        left_out: A lower bound on the rows that the list has and `found` does not.
        starts_over: Whether a list without a total ended in rows that were there before, so that
            nobody knows whether there are others.
    """

    what: ClassVar[str] = REPORT
    """What the list is called in errors."""

    most: int = DEFAULT_MOST
    known: Collection[str] = frozenset()
    found: dict[str, ListedT] = field(default_factory=dict)
    rows: int = 0
    unreadable: int = 0
    proves: bool = True
    left_out: int = 0
    starts_over: bool = False
    _seen: set[str] = field(default_factory=set)
    _counted: int = 0
    _total: float | None = None
    _contradicted: bool = False

    def add(self, one: "PageLike[ListedT]", drift: Drift) -> bool:
        """Add a page, and return whether to request another one.

        Raises:
            ReplyError: If too many consecutive pages are unreadable, or if the list ends before
                its total.
        """
        before = len(self._seen)
        readable = self._take(one.data, drift)
        self.rows += len(one.data)
        self._hear(one.total, drift)
        self.unreadable = self.unreadable + 1 if one.data and not readable else 0
        if self.unreadable >= UNREADABLE_PAGES:
            raise ReplyError(f"{self.what}: page after page cannot be read")
        self.left_out = len(self._seen) - len(self.found)
        if self.left_out:
            said = min(self._total or 0, LONGEST_LIST) - len(self.found)
            self.left_out = int(max(self.left_out, said))
            if all(identity in self._seen for identity in self.known):
                return False
        if self._total is not None and self._counted >= self._total:
            return False
        if len(self._seen) > before or self.unreadable:
            return True
        if self._total is not None:
            reason = f"{self.what}: the list ends after {len(self._seen)} of {self._total:.0f}"
            raise ReplyError(reason)
        if one.data:
            self.proves, self.starts_over = False, True
        return False

    def _take(self, rows: Iterable[ListedT | None], drift: Drift) -> bool:
        """Add the rows of a page, and return whether any of them was readable."""
        here: set[str] = set()
        for row in rows:
            identity = str(row.id) if row else ""
            if row is None or not self.fits(identity):
                self.proves = False
                self._counted += 1
                if row:  # None is already counted as drift
                    drift.add("id")
                continue
            # A row repeated from an earlier page does not count towards the total.
            self._counted += identity in here or identity not in self._seen
            here.add(identity)
            self._seen.add(identity)
            if identity in self.known or len(self.found) < self.most:
                self.found.setdefault(identity, row)
        return bool(here)

    def fits(self, identity: str) -> bool:
        """Whether a row may have this id."""
        return _ID.fullmatch(identity) is not None

    def _hear(self, total: float | None, drift: Drift) -> None:
        """Note the total that a page states."""
        if total is not None and isnan(total):
            self.proves = False
        if total is None or isnan(total) or self._contradicted:
            return
        if total < self._counted:
            # The total is too low: ignore it, and read on until a page brings nothing new.
            drift.add("total")
            self._contradicted, self._total, self.proves = True, None, False
            return
        if self._total not in {None, total}:
            self.proves = False
        self._total = total


class Listing(PagedList[ListedBot]):
    """A workspace's bots."""

    @property
    def bots(self) -> dict[str, ListedBot]:
        """The bots taken so far."""
        return self.found
