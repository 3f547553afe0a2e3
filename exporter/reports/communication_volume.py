"""communication_volume: calls and inbound messages in a window.

SeaChat Analytics API, "COMMUNICATION_VOLUME"; SeaX Analytics API, 5.
Portal Analytics API, "Metric: TODAY_COMMUNICATION_VOLUME", which is always about today.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import TypeAdapter

from exporter.model.history import History, Span
from exporter.model.reply_values import Count, Reply
from exporter.model.report import Form, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample

CALLS: Final = Family(
    "seasalt_communication_volume_calls",
    "Voice calls in the window, by direction.",
    ("window", "direction"),
)
NON_VOICE: Final = Family(
    "seasalt_communication_volume_non_voice_messages",
    "Messages by SMS, chat and the like in the window; the API counts the inbound ones alone.",
    ("window", "direction"),
)


class Volume(Reply):
    """The three documented counts; the API does not count outbound messages."""

    inbound_voice_count: Count = None
    outbound_voice_count: Count = None
    inbound_non_voice_count: Count = None


def samples(reply: Volume, reading: Reading[Options]) -> Iterator[Sample]:
    """Calls by direction and inbound messages."""
    for family, direction, value in (
        (CALLS, "inbound", reply.inbound_voice_count),
        (CALLS, "outbound", reply.outbound_voice_count),
        (NON_VOICE, "inbound", reply.inbound_non_voice_count),
    ):
        if value is not None:
            yield family.sample(value, reading.window, direction)


_DATED: Final = Form(
    windows=Windows.DATES,
    series=3,
    window="today",
    history=History(
        span=Span.DAY, families=(CALLS, NON_VOICE), additive=frozenset({CALLS, NON_VOICE})
    ),
)

REPORT: Final = Report(
    name="communication_volume",
    apis={
        "seachat": _DATED,
        "portal": Form(
            metric="today_communication_volume", windows=Windows.TODAY, series=3, window="today"
        ),
        "seax": _DATED,
    },
    options=Options,
    families=(CALLS, NON_VOICE),
    shape=single,
    reply=TypeAdapter(Volume),
    samples=samples,
)
