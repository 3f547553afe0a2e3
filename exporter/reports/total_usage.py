"""total_usage: voice minutes and chat responses in a window; on SeaChat also of all time.

SeaChat Analytics API, "TOTAL_USAGE"; Portal Analytics API, "Metric: TOTAL_USAGE";
SeaX Analytics API, 8.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import TypeAdapter

from exporter.model.history import History, Span
from exporter.model.reply_values import Count, Reply
from exporter.model.report import Form, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample

VOICE: Final = Family(
    "seasalt_total_usage_voice_seconds",
    "Time spent in voice calls in the window, in seconds (the API gives minutes).",
    ("window",),
)
CHAT: Final = Family(
    "seasalt_total_usage_chat_responses",
    "Chat messages that count as usage in the window: on Portal those sent by bots and agents.",
    ("window",),
)


class Usage(Reply):
    """The two totals."""

    total_voice_minutes: Count = None
    total_chat_responses: Count = None


def samples(reply: Usage, reading: Reading[Options]) -> Iterator[Sample]:
    """Voice seconds and chat responses."""
    if reply.total_voice_minutes is not None:
        yield VOICE.sample(reply.total_voice_minutes * 60, reading.window)
    if reply.total_chat_responses is not None:
        yield CHAT.sample(reply.total_chat_responses, reading.window)


_HISTORY: Final = History(
    span=Span.DAY,
    families=(VOICE, CHAT),
    additive=frozenset({VOICE, CHAT}),
    whole_days=frozenset({VOICE}),
)
_DATED: Final = Form(windows=Windows.DATES, series=2, window="today", history=_HISTORY)

REPORT: Final = Report(
    name="total_usage",
    apis={
        "seachat": Form(windows=Windows.DATES_OR_ALL, series=2, window="today", history=_HISTORY),
        "portal": _DATED,
        "seax": _DATED,
    },
    options=Options,
    families=(VOICE, CHAT),
    shape=single,
    reply=TypeAdapter(Usage),
    samples=samples,
)
