"""Whether a backfill of fifty bots and a year sends what `--dry-run` says, to the last request.

usage: python -m benchmarks.backfill_requests [--bots 50] [--days 365] [--intraday 14] [--conversations 4]

The command itself runs against the sandbox, without a network between them. The sandbox counts what
it is asked, and tells the parts apart by the bodies alone. A day of which part A shows that nothing
happened costs no request of part B; with four conversations a day and bot there are few.
"""

import argparse
import contextlib
import io
import json
import re
import tempfile
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from exporter.commands import backfill
from exporter.commands.flags import parse
from exporter.sandbox import Sandbox
from exporter.upstream.client import Client

ZONE: Final = "America/New_York"
METRICS: Final[list[Any]] = [
    "activity_trend",
    {"metric": "activity_trend", "message_type": "calls"},
    "label_usage",
    {"metric": "csat", "window": "last_30_days"},
    "communication_volume",
    "total_usage",
    "conversation_breakdown",
    "conversation_overview_yearly",
]


def part_of(body: dict[str, Any]) -> str:
    """Which part a request belongs to, by what it asks for."""
    if "start_date" not in body:
        return "C"
    _, last = (datetime.fromisoformat(body[f"{edge}_date"]) for edge in ("start", "end"))
    if last.hour != 23:
        return "D"
    return "A" if "activity_trend" in body["metrics"] else "B"


class Counting(httpx.AsyncBaseTransport):
    """The sandbox, and what it is asked."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox)
        self.asked = Counter[str]()
        self.bodies = Counter[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Count a request, and have it answered."""
        self.bodies[request.content.decode()] += 1
        self.asked[part_of(json.loads(request.content))] += 1
        return await self._inner.handle_async_request(request)


def main() -> int:
    """Count, print, and return 1 if the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bots", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--intraday", type=int, default=14)
    parser.add_argument("--conversations", type=float, default=4.0)
    given = parser.parse_args()
    now = datetime(2026, 1, 1, 15, 0, tzinfo=UTC)
    begun = time.perf_counter()
    sandbox = Sandbox.make(
        now=lambda: now,
        bots=given.bots,
        days=given.days + 40,
        conversations_per_day=given.conversations,
    )
    print(f"the sandbox has its data after {time.perf_counter() - begun:.0f} s", flush=True)
    company = sandbox.workspaces[0]
    document = {
        "workspaces": [
            {
                "name": "acme",
                "api": "seachat",
                "api_key": company.seachat_key,
                "base_url": "http://127.0.0.1:1",
                "timezone": ZONE,
                "requests_per_minute": 600_000,
                "bots": [{"id": bot.id, "name": bot.name} for bot in company.bots],
                "metrics": METRICS,
            }
        ]
    }
    counting = Counting(sandbox)
    command: Any = backfill  # its network and its clock are replaced
    command.Client = partial(Client, transport=counting)
    command.now = lambda: now
    with tempfile.TemporaryDirectory() as name, contextlib.closing(sandbox):
        file = Path(name, "seasalt.yml")
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        first = date(2025, 12, 31) - timedelta(days=given.days - 1)
        flags = [
            *("backfill", f"--config.file={file}", f"--from={first}", "--step=1d", "--yes"),
            *(f"--intraday={given.intraday}d", f"--output={name}/out"),
        ]
        written = io.BytesIO()
        said = io.TextIOWrapper(written, encoding="utf-8")
        with contextlib.redirect_stdout(said):
            backfill.run(parse([*flags, "--dry-run"], {}))
        text = written.getvalue().decode()
        planned = {
            part: int(number.replace(",", ""))
            for part, number in re.findall(r"^  ([ABCD]) +([\d,]+) requests", text, re.MULTILINE)
        }
        begun = time.perf_counter()
        with contextlib.redirect_stdout(said):
            status = backfill.run(parse(flags, {}))
        seconds = time.perf_counter() - begun
        asked = dict(counting.asked)
        with contextlib.redirect_stdout(said):
            backfill.run(parse(flags, {}))
        again = counting.asked.total() - sum(asked.values())
    print("| part | `--dry-run` | counted by the sandbox |\n|---|---|---|")
    for part in "ABCD":
        print(f"| {part} | {planned.get(part, 0):,} | {asked.get(part, 0):,} |")
    print(f"| all | {sum(planned.values()):,} | {sum(asked.values()):,} |")
    twice = sum(times > 1 for times in counting.bodies.values())
    print(f"\n{seconds:.0f} s; {twice} requests were sent twice; a second run sent {again}")
    fewer = planned["B"] - asked["B"]
    print(f"part A showed {fewer:,} days without anything, which part B did not ask for")
    right = planned == {**asked, "B": asked["B"] + fewer} and fewer >= 0
    return 0 if status == 0 and right and not twice and not again else 1


if __name__ == "__main__":
    raise SystemExit(main())
