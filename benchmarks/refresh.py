"""What it costs to bring the page up to date after some bots changed, and to answer a scrape.

A program that is told how many bots get new values, a line for each time, and answers the CPU
seconds from there to the whole of an answer. It polls nothing: what the store is given is made
before the clock starts, by the code that makes it in the exporter. The bots are those that are
polled one after the other in a round of ten minutes.

usage: python -m benchmarks.refresh CONFIGURATION
"""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any

from benchmarks.api import OWN, SERIES, VERSIONS, answer
from benchmarks.machine import OF_A_BOT
from exporter.config import load
from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.packed_samples import Samples
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Record, Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.targets import Key
from exporter.model.windows import local_day
from exporter.polling.plan import Call, planned_calls


def now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


def records(call: Call, content: dict[str, Any]) -> Iterator[tuple[Key, Record]]:
    """What a bot's answer leads to."""
    at = now()
    for entry in call.entries:
        samples = entry.report.read(call.api.part(content, entry.metric), entry.reading(at))
        record = Record(600.0, success=True, last_success=at, samples=Samples.of(samples))
        yield Key.of(call.target, entry), record.paced(timedelta(minutes=10), 3)


def owned(call: Call, ready: str) -> dict[str, Any]:
    """A ready answer, with the label names of a bot."""
    content: dict[str, Any] = json.loads(ready.replace(OWN, call.target.bot_id[-5:]))
    return content


async def done(work: Callable[[], object]) -> None:
    """Do it, and wait for it if it takes its time elsewhere."""
    outcome = work()
    if inspect.isawaitable(outcome):
        await outcome


async def main(file: str) -> None:
    """Fill the store, then answer until there are no more questions."""
    (workspace,) = load([file], {}, now().date()).workspaces
    calls = planned_calls(workspace, workspace.bots)
    day = local_day(now(), workspace.zone).isoformat()
    answers = [json.dumps(answer(day, version)) for version in range(VERSIONS)]
    store, telemetry = Store(), Telemetry()
    telemetry.begin(workspace, now)
    for number, call in enumerate(calls):
        for key, record in records(call, owned(call, answers[number % VERSIONS])):
            store.put(key, record)
    pages = SnapshotRefresher(store, telemetry, now)
    await done(pages.refresh)
    written = b"".join(pages.snapshot.page.text()).count(OF_A_BOT.encode())
    if written != len(workspace.bots) * SERIES:
        raise RuntimeError(f"{written} series are on the page")
    turns = cycle(sorted(calls, key=lambda call: call.place))  # as `schedule.rhythms` has it
    version = 0
    for line in sys.stdin:
        fresh: list[tuple[Key, Record]] = []
        for call in islice(turns, int(line)):
            version += 1
            fresh.extend(records(call, owned(call, answers[version * 7 % VERSIONS])))
        begun = time.process_time()
        for key, record in fresh:
            store.put(key, record)
        pages.changed()
        await done(pages.refresh)
        size = len(
            b"".join(
                Piece.joined((pages.snapshot.page, *telemetry.pieces(openmetrics=True))).member()
            )
        )
        took = time.process_time() - begun
        kept = sum(len(record.samples) for _, record in store)
        if not size or sum(pages.snapshot.series.values()) != kept:
            raise RuntimeError("not every value is on the page")
        print(took, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
