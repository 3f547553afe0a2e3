"""Polling the usual way: httpx, pydantic models, gauges of prometheus_client; or httpx alone.

Prints the CPU seconds that one report takes.

usage: python -m benchmarks.usual httpx|gauges URL CA_FILE REPORTS CONCURRENCY [PAUSE]

With a pause, each worker waits for so many seconds before a report.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import httpx
from prometheus_client import Gauge
from pydantic import BaseModel

from benchmarks.api import KEY, METRICS
from exporter.model.api_paths import SEACHAT_REPORT

# httpx's core asks sniffio which event loop runs, up to ten times a request. The exporter does not
# need it, and where it is missing, each time the whole path is searched: no cost of httpx itself.
_SNIFFIO: Any = SimpleNamespace(current_async_library=lambda: "asyncio")
sys.modules.setdefault("sniffio", _SNIFFIO)


class Volume(BaseModel):
    """communication_volume."""

    inbound_voice_count: int
    outbound_voice_count: int
    inbound_non_voice_count: int


class Activity(BaseModel):
    """A period of activity_trend."""

    CUSTOMER: int
    AGENT: int
    BOT: int
    SYSTEM: int


class Trend(BaseModel):
    """activity_trend."""

    data: list[Activity]
    change_percent: float


class Label(BaseModel):
    """A label of a period."""

    name: str
    count: int


class Labels(BaseModel):
    """A period of label_usage."""

    labels: list[Label]


class Csat(BaseModel):
    """csat."""

    total_responses: int
    average_rating: float
    satisfaction_rate: float
    rating_counts: dict[str, int]


class Usage(BaseModel):
    """total_usage."""

    total_voice_minutes: float
    total_chat_responses: int


class Channel(BaseModel):
    """A channel of conversation_breakdown."""

    user_count: int
    inbound_message_count: int
    outbound_message_count: int


class Breakdown(BaseModel):
    """conversation_breakdown."""

    channel_summary: dict[str, Channel]
    messages_by_day: dict[str, int]
    messages_by_hour: dict[str, int]


class Answer(BaseModel):
    """All that a bot is asked for."""

    communication_volume: Volume
    activity_trend: Trend
    label_usage: list[Labels]
    csat: Csat
    total_usage: Usage
    conversation_breakdown: Breakdown


_BOT: Final = ("workspace", "bot_id", "bot")


def _gauge(name: str, *labels: str) -> Gauge:
    return Gauge(name, name, (*_BOT, *labels))


CALLS, NON_VOICE = _gauge("calls", "direction"), _gauge("non_voice", "direction")
MESSAGES, CHANGE = _gauge("messages", "sender"), _gauge("change")
USES = _gauge("label_uses", "label")
RESPONSES, AVERAGE, SATISFACTION = _gauge("responses"), _gauge("average"), _gauge("satisfaction")
RATINGS = _gauge("ratings", "rating")
MINUTES, CHAT = _gauge("minutes"), _gauge("chat")
USERS, BY_CHANNEL = _gauge("users", "channel"), _gauge("channel_messages", "channel", "direction")
BY_DAY, BY_HOUR = _gauge("day_messages", "day"), _gauge("hour_messages", "hour")


def set_gauges(content: bytes, bot: str) -> None:
    """An answer into the gauges."""
    found, own = Answer.model_validate_json(content), ("benchmark", bot, bot)
    volume, trend, csat = found.communication_volume, found.activity_trend, found.csat
    CALLS.labels(*own, "inbound").set(volume.inbound_voice_count)
    CALLS.labels(*own, "outbound").set(volume.outbound_voice_count)
    NON_VOICE.labels(*own, "inbound").set(volume.inbound_non_voice_count)
    for sender in Activity.model_fields:
        total = sum(getattr(activity, sender) for activity in trend.data)
        MESSAGES.labels(*own, sender.lower()).set(total)
    CHANGE.labels(*own).set(trend.change_percent)
    for period in found.label_usage:
        for label in period.labels:
            USES.labels(*own, label.name).set(label.count)
    RESPONSES.labels(*own).set(csat.total_responses)
    AVERAGE.labels(*own).set(csat.average_rating)
    SATISFACTION.labels(*own).set(csat.satisfaction_rate / 100)
    for rating, often in csat.rating_counts.items():
        RATINGS.labels(*own, rating).set(often)
    MINUTES.labels(*own).set(found.total_usage.total_voice_minutes * 60)
    CHAT.labels(*own).set(found.total_usage.total_chat_responses)
    breakdown = found.conversation_breakdown
    for name, channel in breakdown.channel_summary.items():
        USERS.labels(*own, name).set(channel.user_count)
        BY_CHANNEL.labels(*own, name, "inbound").set(channel.inbound_message_count)
        BY_CHANNEL.labels(*own, name, "outbound").set(channel.outbound_message_count)
    for day, often in breakdown.messages_by_day.items():
        BY_DAY.labels(*own, day).set(often)
    for hour, often in breakdown.messages_by_hour.items():
        BY_HOUR.labels(*own, hour).set(often)


async def poll(
    use: Callable[[bytes, str], object],
    url: str,
    ca_file: str,
    reports: int,
    concurrency: int,
    pause: int = 0,
) -> float:
    """CPU seconds of a report, where so many are asked for at once."""
    trust = ssl.create_default_context(cafile=ca_file)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    asked = {"metrics": list(METRICS), "timezone": "UTC", "start_date": day, "end_date": day}

    async with httpx.AsyncClient(verify=trust, limits=limits, trust_env=False) as client:

        async def work(numbers: range) -> None:
            for number in numbers:
                if pause:
                    await asyncio.sleep(pause)
                bot = f"bot-{number:05}"
                answer = await client.post(
                    url + SEACHAT_REPORT,
                    json=asked | {"gptbot_id": bot},
                    headers={"X-API-KEY": KEY},
                )
                use(answer.raise_for_status().content, bot)

        async def all_of(reports: int) -> None:
            async with asyncio.TaskGroup() as tasks:
                for worker in range(concurrency):
                    tasks.create_task(work(range(worker, reports, concurrency)))

        await all_of(1 if pause else 4 * concurrency)  # connections are made, code is warm
        begun = time.process_time()
        await all_of(reports)
        return (time.process_time() - begun) / reports


if __name__ == "__main__":
    way, *where = sys.argv[1:4]
    uses = set_gauges if way == "gauges" else lambda *_: None
    print(asyncio.run(poll(uses, *where, *map(int, sys.argv[4:]))))  # type: ignore[arg-type]  # two texts, two numbers
