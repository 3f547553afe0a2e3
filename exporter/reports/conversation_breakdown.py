"""conversation_breakdown: users and messages in a window by channel, weekday and hour.

SeaChat Analytics API, "CONVERSATION_BREAKDOWN"; Portal Analytics API, "Metric:
CONVERSATION_BREAKDOWN"; SeaX Analytics API, 3, with one `message_count` per channel.
"""

import re
from calendar import day_name
from collections.abc import Iterator
from typing import Final

from pydantic import TypeAdapter

from exporter.model.history import History, Span
from exporter.model.label_values import label_value
from exporter.model.reply_values import Count, Lenient, Reply
from exporter.model.report import Form, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample

CHANNEL_USERS: Final = Family(
    "seasalt_conversation_breakdown_channel_users",
    "Distinct users who wrote in the channel in the window; not additive over channels.",
    ("window", "channel"),
)
CHANNEL_MESSAGES: Final = Family(
    "seasalt_conversation_breakdown_channel_messages",
    "Messages in the channel in the window, by direction; without one where the API gives just a total.",
    ("window", "channel", "direction"),
)
WEEKDAYS: Final = Family(
    "seasalt_conversation_breakdown_weekday_messages",
    "Messages in the window by local day of the week.",
    ("window", "weekday"),
)
HOURS: Final = Family(
    "seasalt_conversation_breakdown_hour_messages",
    "Messages in the window by local hour of the day.",
    ("window", "hour"),
)

_CHANNEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]{0,31}", re.ASCII)
_HOURS: Final = {key: f"{hour:02}" for hour in range(24) for key in (f"{hour}", f"{hour:02}")}
_WEEKDAYS: Final = {name.casefold()[:cut]: name for name in day_name for cut in (3, None)}


class Channel(Reply):
    """One channel; SeaChat sends the first four, Portal the first two, SeaX the first and last."""

    user_count: Count = None
    inbound_message_count: Count = None
    outbound_message_count: Count = None
    total_message_count: Count = None
    message_count: Count = None


class Breakdown(Reply):
    """The maps by channel, by weekday and by hour."""

    channel_summary: Lenient[dict[str, Lenient[Channel]]] = None
    messages_by_day: Lenient[dict[str, Count]] = None
    messages_by_hour: Lenient[dict[str, Count]] = None


def channel_name(name: str, reading: Reading[Options]) -> str:
    """The channel as the API spells it, `redacted` for personal data, `other` if implausible."""
    clean = label_value(name)
    if "\ufffd" in name:  # cleaning removes the undecodable part
        reading.drift.add("channel_summary")
    if clean == "redacted" or _CHANNEL.fullmatch(clean):
        return clean
    reading.drift.add("channel_summary")
    return "other"


def samples(reply: Breakdown, reading: Reading[Options]) -> Iterator[Sample]:
    """Samples by channel, by weekday and by hour."""
    for key, channel in (reply.channel_summary or {}).items():
        if channel is None:
            continue
        name = channel_name(key, reading)
        if channel.user_count is not None:
            yield CHANNEL_USERS.sample(channel.user_count, reading.window, name)
        yield from _messages(channel, reading.window, name)
    yield from reading.by_key(WEEKDAYS, reply, "messages_by_day", _WEEKDAYS, reading.window)
    yield from reading.by_key(HOURS, reply, "messages_by_hour", _HOURS, reading.window)


def _messages(channel: Channel, window: str, name: str) -> Iterator[Sample]:
    """Inbound and outbound messages; the total only if both are missing, as it includes them."""
    directions = {
        "inbound": channel.inbound_message_count,
        "outbound": channel.outbound_message_count,
    }
    if all(value is None for value in directions.values()):
        total = channel.total_message_count
        directions = {"": channel.message_count if total is None else total}
    for direction, value in directions.items():
        if value is not None:
            yield CHANNEL_MESSAGES.sample(value, window, name, direction)


_FORM: Final = Form(
    windows=Windows.DATES,
    series=43,
    window="today",
    history=History(
        span=Span.DAY,
        families=(CHANNEL_USERS, CHANNEL_MESSAGES, WEEKDAYS, HOURS),
        additive=frozenset({CHANNEL_MESSAGES, WEEKDAYS, HOURS}),
        left_out="distinct users over several days",
        usual=lambda _: True,
    ),
)

REPORT: Final = Report(
    name="conversation_breakdown",
    apis={"seachat": _FORM, "portal": _FORM, "seax": _FORM},
    options=Options,
    families=(CHANNEL_USERS, CHANNEL_MESSAGES, WEEKDAYS, HOURS),
    shape=single,
    reply=TypeAdapter(Breakdown),
    samples=samples,
)
