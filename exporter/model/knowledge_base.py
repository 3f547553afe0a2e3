"""The files in a bot's knowledge base: how many there are, not what is in them. Pure.

SeaChat API Wiki, "Get Knowledge Base Files". The published OpenAPI lacks the endpoint, and no
document shows an answer. It is read as the bot list is, which has the same parameters.
"""

from datetime import timedelta
from typing import ClassVar, Final

from exporter.model.bot_list import LONGEST_LIST, Listed, PagedList, page_of
from exporter.model.reply_values import Count, Drift, Lenient, Reply
from exporter.model.samples import Family

REPORT: Final = "knowledge_base"
"""The value of the label `report` for the status of the count."""

FILES: Final = Family("seasalt_knowledge_base_files", "Files in the bot's knowledge base.")
FAMILIES: Final = (FILES,)

INTERVAL: Final = timedelta(hours=1)
"""How often the files of each bot are counted."""

_LONGEST_ID: Final = 512


class ListedFile(Listed):
    """One file. Nothing but its id is read: names and contents are the customer's."""


class FilePage(Reply):
    """One page of the list; see `bot_list.Page`."""

    data: tuple[Lenient[ListedFile], ...]
    total: Count = None


class FileList(PagedList[ListedFile]):
    """The files of one bot."""

    what: ClassVar[str] = REPORT

    def __init__(self) -> None:
        super().__init__(most=LONGEST_LIST)

    def fits(self, identity: str) -> bool:
        """Whether a row may have this id; ids of files are opaque and go nowhere."""
        return 0 < len(identity) <= _LONGEST_ID


def page(answer: object, drift: Drift) -> FilePage:
    """The page in a response.

    Raises:
        ReplyError: If the response does not have the shape of a list, or has too many rows.
    """
    return page_of(FilePage, REPORT, answer, drift)
