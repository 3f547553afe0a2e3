"""conversation_overview: conversations, messages and users in a window, and their change.

SeaChat Analytics API, "CONVERSATION_OVERVIEW"; SeaX Analytics API, 1.
Portal Analytics API, "Metric: CONVERSATION_OVERVIEW": only a conversation count per period.
"""

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field, TypeAdapter

from exporter.model.history import History, Span
from exporter.model.reply_values import Count, Number, Reply, Row, Rows, instant
from exporter.model.report import Form, Options, Reading, Report, TimeUnit, Windows, listing
from exporter.model.samples import Family, Sample

_LABELS: Final = ("window", "handling_status", "exclude_empty_response")

COUNTS: Final = {
    "conversations": Family(
        "seasalt_conversation_overview_conversations",
        "Conversations in the window, without those that handling_status or exclude_empty_response"
        " leaves out.",
        _LABELS,
    ),
    "messages": Family(
        "seasalt_conversation_overview_messages", "Messages in the window, all senders.", _LABELS
    ),
    "bot_messages": Family(
        "seasalt_conversation_overview_bot_messages", "Messages that bots sent.", _LABELS
    ),
    "agent_messages": Family(
        "seasalt_conversation_overview_agent_messages", "Messages that live agents sent.", _LABELS
    ),
    "live_agent_requests": Family(
        "seasalt_conversation_overview_live_agent_requests",
        "Requests for a live agent in the window.",
        _LABELS,
    ),
    "distinct_user_count": Family(
        "seasalt_conversation_overview_users",
        "Distinct users in the window; not additive over bots or windows.",
        _LABELS,
    ),
}
_OPTIONAL: Final = frozenset(
    (
        *(f"{name}_change_percentage" for name in COUNTS),
        "previous_period_start",
        "previous_period_end",
    )
)
"""Absent if there is no previous period to compare with."""

CHANGE: Final = Family(
    "seasalt_conversation_overview_change_ratio",
    "Change against the equally long window before, as the API gives it: 0.1 is ten per cent more.",
    ("window", "of", "exclude_empty_response"),
)
START: Final = Family(
    "seasalt_conversation_overview_period_start_timestamp_seconds",
    "Where the API lets the current or the previous period begin, in Unix time.",
    ("window", "period", "exclude_empty_response"),
)
END: Final = Family(
    "seasalt_conversation_overview_period_end_timestamp_seconds",
    "Where the API lets the current or the previous period end, in Unix time.",
    ("window", "period", "exclude_empty_response"),
)


class ConversationOverviewOptions(Options):
    """How a conversation_overview is asked for."""

    exclude_empty_response: bool = Field(
        default=False,
        description="Leaves out conversations that no bot or agent replied to;"
        " on SeaX, those without an inbound message.",
    )
    handling_status: Literal["RESOLVED", "PENDING", "FOLLOW_UP"] | None = Field(
        None, description="Portal: counts only conversations with this handling status."
    )
    time_unit: TimeUnit = Field("day", description="Portal: length of the periods that are summed.")


class Counted(Row):
    """One period of a reply from Portal."""

    count: Count = None


class Overview(Reply):
    """The totals of the window (SeaChat, SeaX), or one count per period in `data` (Portal)."""

    conversations: Count = None
    messages: Count = None
    bot_messages: Count = None
    agent_messages: Count = None
    live_agent_requests: Count = None
    distinct_user_count: Count = None
    conversations_change_percentage: Number = None
    messages_change_percentage: Number = None
    bot_messages_change_percentage: Number = None
    agent_messages_change_percentage: Number = None
    live_agent_requests_change_percentage: Number = None
    distinct_user_count_change_percentage: Number = None  # not documented, but read if present
    current_period_start: object = None
    current_period_end: object = None
    previous_period_start: object = None
    previous_period_end: object = None
    data: Rows[Counted] | None = None


def samples(reply: Overview, reading: Reading[ConversationOverviewOptions]) -> Iterator[Sample]:
    """The totals, their changes, and the periods that the API compared."""
    status = reading.options.handling_status or ""
    excluded = "true" if reading.options.exclude_empty_response else ""
    if reply.data is not None:
        sums = reading.sums(reply.data, ("count",))
        if "count" in sums:
            yield COUNTS["conversations"].sample(sums["count"], reading.window, status, excluded)
        return
    for field, family in COUNTS.items():
        value = getattr(reply, field)
        if value is not None:
            yield family.sample(value, reading.window, status, excluded)
        change = getattr(reply, f"{field}_change_percentage")
        if change is not None and not status:  # its family has no label handling_status
            of = "users" if field == "distinct_user_count" else field
            yield CHANGE.sample(change / 100, reading.window, of, excluded)
    for period in ("current", "previous") if not status else ():
        for family, edge in ((START, "start"), (END, "end")):
            field = f"{period}_period_{edge}"
            given = getattr(reply, field)
            at = instant(given, reading.zone)
            if at is not None:
                yield family.sample(at.timestamp(), reading.window, period, excluded)
            elif given is not None:
                reading.drift.unreadable(field)


_RANGED: Final = Form(
    windows=Windows.RANGES,
    series=15,
    window="last_30_days",
    options=frozenset({"exclude_empty_response"}),
)

REPORT: Final = Report(
    name="conversation_overview",
    apis={
        "seachat": _RANGED,
        "portal": Form(
            windows=Windows.DATES,
            series=1,
            window="today",
            options=frozenset({"exclude_empty_response", "handling_status", "time_unit"}),
            history=History(
                span=Span.DAYS,
                families=(COUNTS["conversations"],),
                additive=frozenset({COUNTS["conversations"]}),
            ),
        ),
        "seax": _RANGED,
    },
    options=ConversationOverviewOptions,
    families=(*COUNTS.values(), CHANGE, START, END),
    shape=listing,
    reply=TypeAdapter(Overview),
    samples=samples,
    optional=lambda _: _OPTIONAL,
    default_name=lambda options: (
        "conversation_overview_exclude_empty_response"
        if options.exclude_empty_response
        else "conversation_overview"
    ),
    collides=lambda one, two, _: (
        (one.window, one.handling_status, one.exclude_empty_response)
        == (two.window, two.handling_status, two.exclude_empty_response)
    ),
)
