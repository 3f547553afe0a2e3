"""A stand-in for the API that costs next to nothing: replies in its real shapes, made beforehand.

The sandbox computes each reply from a database; a thousand bots would measure that. Here a bot's
reply is one of some hundred ready ones, the next at each request, so that values do change; the
names of its labels are its own, as those of real bots are.
Metrics that the bots of the benchmarks are not asked for get their documented sample.
GET /count tells how many requests have come, by path.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from benchmarks.machine import ROOT, fetched
from exporter.model import api_paths

METRICS: Final = (
    "communication_volume",
    "activity_trend",
    "label_usage",
    "csat",
    "total_usage",
    "conversation_breakdown",
)
"""What the bots of the benchmarks are asked for: one request a round for each."""

SERIES: Final = 150
"""How many series that makes of a bot, with those on the last try of each report."""

OWN: Final = "#own#"
"""In the name of a label: stands for the number of the bot, which is as long."""

KEY: Final = "benchmark"
VERSIONS: Final = 128
_CHANNELS: Final = ("WebChat", "SMS", "WhatsApp", "Facebook", "Line", "Instagram")
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOPICS: Final = (
    *("Support", "Sales", "Billing", "Returns", "Shipping"),
    *("Orders", "Refunds", "Complaints", "Press", "Careers"),
)
_LABELS: Final = tuple(
    f"{topic} {part}"
    for topic in _TOPICS
    for part in ("new", "open", "late", "lost", "won", "closed", "spam", "again")
)
_USED: Final = 59  # of them a bot uses so many, another bot others
_FOLDERS: Final = {
    api_paths.SEACHAT_REPORT: "seachat",
    api_paths.PORTAL_REPORT: "portal",
    api_paths.SEAX_REPORT: "seax",
}


def answer(day: str, version: int) -> dict[str, object]:
    """All that a bot is asked for, on a local day; the numbers are another version's."""
    dice = random.Random(version)  # noqa: S311 - numbers for a benchmark

    def often(usual: int = 900) -> int:
        return int(dice.expovariate(1 / usual))

    ratings = {str(rating): often(40) for rating in range(1, 6)}
    return {
        "communication_volume": {
            "inbound_voice_count": often(),
            "outbound_voice_count": often(),
            "inbound_non_voice_count": often(),
        },
        "activity_trend": {
            "time_unit": "day",
            "data": [
                {"period": day}
                | {sender: often() for sender in ("CUSTOMER", "AGENT", "BOT", "SYSTEM")}
            ],
            "change_percent": round(dice.uniform(-80, 80), 2),
        },
        "label_usage": [
            {
                "period": day,
                "labels": [
                    {"name": f"{name} {OWN}", "count": often()}
                    for name in dice.sample(_LABELS, _USED)
                ],
            }
        ],
        "csat": {
            "total_responses": sum(ratings.values()),
            "average_rating": round(dice.uniform(1, 5), 2),
            "satisfaction_rate": round(dice.uniform(0, 100), 2),
            "rating_counts": ratings,
            "responses": [_response(day, number, often(2000)) for number in range(7)],
        },
        "total_usage": {
            "total_voice_minutes": round(dice.uniform(0, 900), 1),
            "total_chat_responses": often(),
        },
        "conversation_breakdown": {
            "channel_summary": {
                channel: {
                    "user_count": often(),
                    "inbound_message_count": often(),
                    "outbound_message_count": often(),
                    "total_message_count": often(),
                }
                for channel in _CHANNELS
            },
            "messages_by_day": {name: often() for name in _WEEKDAYS},
            "messages_by_hour": {str(hour): often() for hour in range(24)},
        },
    }


def _response(day: str, number: int, rating: int) -> dict[str, object]:
    return {
        "id": number,
        "conversation_id": f"conv-{number}",
        "form_id": "8c7458f6a27a4554bf1a3e37b7790045",
        "rating": 1 + rating % 5,
        "created_at": f"{day}T01:35:11.769173",
        "data": {
            "rating": 1.0 + rating % 5,
            "comment": "Fast response, and accurate information; could be warmer.",
        },
        "conversation_title": "+1206123456789",
        "conversation_link": f"https://chat.example/workspace/ws-1/bot/bot-1/conversations/{number}",
    }


@cache
def _documented(path: str, metric: str) -> Mapping[str, object]:
    file = ROOT / "tests/data/replies" / _FOLDERS[path] / f"{metric}.json"
    found: Mapping[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def reply(path: str, metrics: tuple[str, ...], day: str, version: int) -> bytes:
    """An answer to a request, as HTTP."""
    known = answer(day, version) if path == api_paths.SEACHAT_REPORT else {}
    content: dict[str, object] = {}
    for metric in metrics:
        content |= {metric: known[metric]} if metric in known else _documented(path, metric)
    return _http(content)


def _http(content: object) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def requests(port: int) -> Counter[str]:
    """How many requests have come to a running stand-in, by path."""
    return Counter(json.loads(fetched(port, "/count")[1]))


def configuration(
    url: str,
    bots: int,
    *,
    interval: str = "30d",
    concurrency: int = 16,
    per_minute: int = 600_000,
    ca_file: str = "",
    max_series: int | None = 10_000_000,
) -> str:
    """A configuration of one workspace with so many bots, each asked for `METRICS`.

    Args:
        url: Where the API is.
        bots: How many.
        interval: How often each is asked.
        concurrency: Requests in flight.
        per_minute: Requests a minute.
        ca_file: Certificates to trust.
        max_series: Of the workspace; None for the default.
    """
    ahead = _ahead()
    http = f"\n    http: {{ca_file: {ca_file}}}" if ca_file else ""
    return f"""\
interval: {interval}
allow_fast_polling: true
timezone: Etc/GMT{-ahead:+}
concurrency: {concurrency}
requests_per_minute: {per_minute}
{f"max_series: {max_series}" if max_series else ""}
stale_after: 100
workspaces:
  - name: benchmark
    api: seachat
    base_url: {url}
    api_key: {KEY}{http}
{_asked(bots)}"""


def defaults(url: str, bots: int) -> str:
    """The same with nothing but defaults; the time zone is no limit."""
    return f"""\
timezone: Etc/GMT{-_ahead():+}
workspaces:
  - name: benchmark
    api: seachat
    base_url: {url}
    api_key: {KEY}
{_asked(bots)}"""


def _ahead() -> int:
    """A zone where no midnight comes near: reports on `today` are polled once more before it."""
    return (3 - datetime.now(UTC).hour + 9) % 24 - 9


def _asked(bots: int) -> str:
    today = "\n".join(f"      - {{metric: {metric}, window: today}}" for metric in METRICS)
    names = "\n".join(
        f"      - {{id: bot-{number:05}, name: {_TOPICS[number % 10]} {number // 10}}}"
        for number in range(bots)
    )
    return f"    metrics:\n{today}\n    bots:\n{names}\n"


class Api(asyncio.Protocol):
    """One connection: requests one after the other, as HTTP clients send them.

    Args:
        seconds: How long each answer is made to wait.
        counted: How many requests came, by path.
        asked: How often each bot was asked.
    """

    def __init__(self, seconds: float, counted: Counter[str], asked: Counter[str]) -> None:
        self._seconds = seconds
        self._counted = counted
        self._asked = asked
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            size = int(found[1]) if found else 0
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            path = head.split(b" ", 2)[1].decode()
            if path == "/count":
                self._transport.write(_http(self._counted))
                continue
            answer = self._answered(path, json.loads(rest[:size]))
            if self._seconds:
                self._loop.call_later(self._seconds, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answered(self, path: str, body: Mapping[str, Any]) -> bytes:
        self._counted[path] += 1
        bot = body.get("gptbot_id", "")
        self._asked[bot] += 1
        metrics: Sequence[str] = body.get("metrics") or (body["metric"],)
        version = (int(bot[-5:] or 0) * 7 + self._asked[bot]) % VERSIONS
        day = (body.get("start_date") or body.get("from_date") or "2024-01-01")[:10]
        ready = reply(path, tuple(metrics), day, version)
        return ready.replace(OWN.encode(), (bot[-5:] or "00000").encode())


async def _serve(port: int, plain: int, seconds: float, cert: str, key: str) -> None:
    loop = asyncio.get_running_loop()
    counted, asked = Counter[str](), Counter[str]()
    context = None
    if cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
    server = await loop.create_server(
        lambda: Api(seconds, counted, asked), "127.0.0.1", port, ssl=context, backlog=512
    )
    if plain:
        await loop.create_server(lambda: Api(0, counted, asked), "127.0.0.1", plain)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with server:
        await stop.wait()


def main() -> None:
    """Serve until a SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0, help="how long an answer takes")
    parser.add_argument("--cert", default="", help="serve TLS")
    parser.add_argument("--key", default="")
    parser.add_argument("--plain-port", type=int, default=0, help="where no TLS is needed to count")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.plain_port, given.seconds, given.cert, given.key))


if __name__ == "__main__":
    main()
