"""activity_trend: messages by sender, or calls by direction, over the periods of a window.

SeaChat Analytics API, "ACTIVITY_TREND"; Portal Analytics API, "Metric: ACTIVITY_TREND";
SeaX Analytics API, 6, whose rows have only a `count`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, model_validator

from exporter.model.history import History, Span
from exporter.model.reply_values import (
    UNREADABLE,
    Count,
    Drift,
    ManyRows,
    Number,
    Reply,
    Row,
    Unread,
)
from exporter.model.report import Form, Options, Reading, Report, TimeUnit, Windows, listing
from exporter.model.samples import Family, Sample

MESSAGES: Final = Family(
    "seasalt_activity_trend_messages",
    "Messages in the window, by sender; without a sender where the API gives just a total.",
    ("window", "sender"),
)
CALLS: Final = Family(
    "seasalt_activity_trend_calls",
    "Calls in the window, by direction; without one where the API gives just a total.",
    ("window", "direction"),
)
CHANGE: Final = Family(
    "seasalt_activity_trend_change_ratio",
    "Change against the period before, as the API gives it: 0.1 is ten per cent more.",
    ("window", "of"),
)

_SENDERS: Final = ("CUSTOMER", "AGENT", "BOT", "SYSTEM")
_DIRECTIONS: Final = ("inbound", "outbound")
_OPTIONAL: Final = frozenset((*_SENDERS, *_DIRECTIONS, "count", "change_percent"))
"""A sender without messages may be missing, and a change from 0 has no percentage."""

_SPELLINGS: Final = {name.casefold(): name for name in (*_SENDERS, *_DIRECTIONS, "count")}


class ActivityTrendOptions(Options):
    """How an activity_trend is asked for."""

    message_type: Literal["messages", "calls"] = Field(
        "messages", description="What to count. To have both, write two entries."
    )
    time_unit: TimeUnit = Field("day", description="Length of the periods that are summed.")


class Activity(Row):
    """One period. A sender's key may be in upper or lower case, even within one reply."""

    CUSTOMER: Count = None
    AGENT: Count = None
    BOT: Count = None
    SYSTEM: Count = None
    inbound: Count = None
    outbound: Count = None
    count: Count = None

    @model_validator(mode="before")
    @classmethod
    def _documented_spelling(cls, row: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - raw
        if not isinstance(row, Mapping):
            return row
        folded: dict[Any, Any] = {}
        for key, value in row.items():
            spelling = _SPELLINGS.get(key.casefold(), key)
            if spelling != key and spelling in row:  # the documented spelling wins
                if isinstance(info.context, Drift):
                    info.context.add(spelling)
                continue
            # Two undocumented spellings: there is no telling which is right.
            folded[spelling] = UNREADABLE if spelling in folded else value
        return folded


class Trend(Reply):
    """The periods, and the change against the previous period's total."""

    data: ManyRows[Activity]
    change_percent: Number = None
    metric: Unread
    time_unit: Unread


def samples(reply: Trend, reading: Reading[ActivityTrendOptions]) -> Iterator[Sample]:
    """The sums over the periods and the change."""
    calls = reading.options.message_type == "calls"
    family, names = (CALLS, _DIRECTIONS) if calls else (MESSAGES, _SENDERS)
    sums = reading.sums(reply.data, (*names, "count"))
    total = sums.pop("count", None)
    for name, value in sums.items():
        yield family.sample(value, reading.window, name.lower())
    if total is not None and not sums:
        yield family.sample(total, reading.window, "")
    if reply.change_percent is not None:
        yield CHANGE.sample(
            reply.change_percent / 100, reading.window, reading.options.message_type
        )


_FORM: Final = Form(
    windows=Windows.DATES,
    series=5,
    window="today",
    options=frozenset({"message_type", "time_unit"}),
    history=History(
        span=Span.DAYS,
        families=(MESSAGES, CALLS),
        additive=frozenset({MESSAGES, CALLS}),
        left_out="the change ratio",
        counts=lambda options: options.message_type,
        usual=lambda options: options.message_type == "messages",
    ),
)

REPORT: Final = Report(
    name="activity_trend",
    apis={"seachat": _FORM, "portal": _FORM, "seax": _FORM},
    options=ActivityTrendOptions,
    families=(MESSAGES, CALLS, CHANGE),
    shape=listing,
    reply=TypeAdapter(Trend),
    samples=samples,
    optional=lambda _: _OPTIONAL,
    default_name=lambda options: (
        "activity_trend_calls" if options.message_type == "calls" else "activity_trend"
    ),
    collides=lambda one, two, _: (one.window, one.message_type) == (two.window, two.message_type),
)
