"""conversation_overview_yearly: a year's conversations and messages, month by month.

SeaChat Analytics API, "CONVERSATION_OVERVIEW_YEARLY"; Portal Analytics API, "Metric:
CONVERSATION_OVERVIEW_YEARLY"; SeaX Analytics API, 2. The documents call it resource-intensive, so
its requests carry no other report, and its default interval is six hours.
"""

from calendar import month_name
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Annotated, Final

from pydantic import Field, TypeAdapter
from pydantic.json_schema import WithJsonSchema

from exporter.model.history import History, Span
from exporter.model.reply_values import Count, Lenient, Reply
from exporter.model.report import Edge, Form, Options, Reading, Report, Windows, matching, single
from exporter.model.samples import Family, Sample
from exporter.model.windows import LAST_YEAR, THIS_YEAR, local_day

CONVERSATIONS: Final = Family(
    "seasalt_conversation_overview_yearly_conversations", "Conversations of the year.", ("year",)
)
MESSAGES: Final = Family(
    "seasalt_conversation_overview_yearly_messages", "Messages of the year.", ("year",)
)
PER_CONVERSATION: Final = Family(
    "seasalt_conversation_overview_yearly_messages_per_conversation",
    "Mean number of messages in a conversation of the year.",
    ("year",),
)
MONTHS: Final = Family(
    "seasalt_conversation_overview_yearly_month_messages",
    "Messages of the year by month; a month that the API leaves out has no series.",
    ("year", "month"),
)

_MONTHS: Final = {
    spelling: f"{month:02}"
    for month in range(1, 13)
    for spelling in (
        month_name[month].casefold(),
        month_name[month].casefold()[:3],
        str(month),
        f"{month:02}",
    )
}
_FOLLOWS: Final = {"current": THIS_YEAR, "previous": LAST_YEAR}


class YearlyOptions(Options):
    """How a conversation_overview_yearly is asked for."""

    year: Annotated[
        str,
        *matching(
            "current|previous|20[0-9]{2}|2100", "current, previous or a year from 2000 to 2100"
        ),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["current", "previous"]},
                    {"type": "integer", "minimum": 2000, "maximum": 2100},
                    {"type": "string", "pattern": "^(20[0-9]{2}|2100)$"},
                ]
            }
        ),
    ] = Field("current", description="`current`, `previous` or a year with four digits.")


class Year(Reply):
    """The totals of the year, and a map of months, which may be incomplete."""

    total_conversations: Count = None
    total_messages: Count = None
    average_messages_per_conversation: Count = None
    monthly_messages: Lenient[dict[str, Count]] = None


def samples(reply: Year, reading: Reading[YearlyOptions]) -> Iterator[Sample]:
    """The year's totals, and the messages of each month in the reply."""
    asked = _year(reading.options)
    year = asked.on(local_day(reading.at, reading.zone)) if isinstance(asked, Edge) else asked
    for family, value in (
        (CONVERSATIONS, reply.total_conversations),
        (MESSAGES, reply.total_messages),
        (PER_CONVERSATION, reply.average_messages_per_conversation),
    ):
        if value is not None:
            yield family.sample(value, year)
    yield from reading.by_key(MONTHS, reply, "monthly_messages", _MONTHS, year)


def _year(options: YearlyOptions) -> Edge | str:
    window = _FOLLOWS.get(options.year)
    return Edge(window, "year") if window else options.year


def _collides(one: YearlyOptions, two: YearlyOptions, today: date) -> bool:
    """Whether the years are equal, or one follows the calendar and is or may become the other."""
    if one.year == two.year:
        return True
    for follows, fixed in ((one, two), (two, one)):
        if follows.year in _FOLLOWS and fixed.year not in _FOLLOWS:
            return int(fixed.year) >= _FOLLOWS[follows.year].days(today).first.year
    return False


def _asked_on(options: YearlyOptions, day: date) -> str:
    """The year that the options ask for on a local day."""
    asked = _year(options)
    return asked.on(day) if isinstance(asked, Edge) else asked


def _settled(samples: Iterable[Sample], day: date) -> Iterator[Sample]:
    """What could no longer change on a local day: all of a past year, and the months before."""
    for sample in samples:
        year, *month = map(int, sample.labels)
        if year < day.year or (year == day.year and month and month[0] < day.month):
            yield sample


_FORM: Final = Form(
    windows=Windows.NONE,
    series=15,
    history=History(
        span=Span.YEAR,
        families=(CONVERSATIONS, MESSAGES, PER_CONVERSATION, MONTHS),
        left_out="the totals of a year or a month before it ended",
        year=_asked_on,
        settled=_settled,
    ),
)

REPORT: Final = Report(
    name="conversation_overview_yearly",
    apis={"seachat": _FORM, "portal": _FORM, "seax": _FORM},
    options=YearlyOptions,
    families=(CONVERSATIONS, MESSAGES, PER_CONVERSATION, MONTHS),
    shape=single,
    reply=TypeAdapter(Year),
    samples=samples,
    optional=lambda reply: (
        frozenset() if reply.total_conversations else {"average_messages_per_conversation"}
    ),
    alone=True,
    interval=timedelta(hours=6),
    fields=lambda options: {"year": _year(options)},
    window=lambda options: _FOLLOWS.get(options.year),
    collides=_collides,
)
