"""What is done for a scrape and for a report, counted: the same on any machine, however busy.

Calls of Python functions are counted, not seconds. A bound is a quarter above what was counted
when it was written; whoever makes something dearer raises it, and says why.
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import prometheus_client
from support.api import in_pieces
from support.sizes import polled, targets
from support.virtual import START, World
from support.workspaces import workspace

import exporter
from benchmarks.api import METRICS, answer
from exporter.metrics.snapshot import snapshot
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.workspace import WorkspacePoller
from exporter.web.access_control import AccessControl
from exporter.web.app import Web
from exporter.web.web_config import WebConfig

ACCEPT = (
    b"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    b"application/openmetrics-text;version=0.0.1;q=0.4,"
    b"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
COUNTED = tuple(str(Path(str(of.__file__)).parent) for of in (exporter, prometheus_client))
SCOPE: Mapping[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "path": "/metrics",
    "raw_path": b"/metrics",
    "query_string": b"",
    "headers": [(b"accept", ACCEPT), (b"accept-encoding", b"gzip")],
}


@contextmanager
def counted(calls: MutableSequence[str]) -> Iterator[None]:
    """Every call of a Python function of the exporter and of prometheus_client, by its name."""

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(COUNTED):
            calls.append(code.co_qualname)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def filled(bots: int) -> Store:
    """A store with the values of so many bots."""
    store = Store()
    for bot in targets(bots):
        for key, record in polled(bot, START):
            store.put(key, record)
    return store


def scraped(bots: int) -> int:
    """The calls of a scrape, the third of a page of so many bots."""
    calls: list[str] = []

    async def go() -> None:
        store, telemetry = filled(bots), Telemetry()
        telemetry.begin(workspace(), lambda: START)
        pages = SnapshotRefresher(store, telemetry, lambda: START)
        web = Web(
            snapshot=pages.current,
            own=lambda openmetrics: telemetry.pieces(openmetrics=openmetrics),
            ready=lambda: True,
            status=lambda: None,  # type: ignore[arg-type, return-value]  # nobody asks
        )
        guard = AccessControl(web, WebConfig)

        async def sent(_: Mapping[str, Any]) -> None:
            """Take it."""

        async def scrape() -> None:
            await guard(SCOPE, None, sent)  # type: ignore[arg-type]  # nothing is received

        await scrape()
        await scrape()
        with counted(calls):
            await scrape()

    asyncio.run(go())
    return len(calls)


def test_a_scrape_is_a_few_hundred_calls_whatever_is_on_the_page() -> None:
    small, large = scraped(1), scraped(300)

    assert small <= 140
    assert large <= small + 36  # a page of many pieces is put together


def rendered(bots: int) -> int:
    """The calls of writing the values of so many bots for the first time."""
    store, calls = filled(bots), list[str]()
    with counted(calls):
        snapshot(store.generation(), START)
    return len(calls)


def test_a_bot_more_is_written_in_a_few_calls_for_each_family_not_for_each_series() -> None:
    few, many = (rendered(bots) for bots in (20, 120))

    assert (many - few) / 100 <= 325


def renewed(bots: int) -> int:
    """The calls of making a page of so many bots anew, where one was polled."""
    store, calls, (one, *_) = filled(bots), list[str](), targets(1)
    before = snapshot(store.generation(), START)
    for key, record in polled(one, START, seed=7):
        store.put(key, record)
    with counted(calls):
        snapshot(store.generation(), START, before)
    return len(calls)


def test_what_was_not_polled_is_not_looked_through_when_a_page_is_made_anew() -> None:
    few, many = (renewed(bots) for bots in (300, 1200))

    # Of 9,000 records more: the checksums of a thousand pieces. From Python 3.12 on no comprehension
    # is a call, which the few have more of.
    assert many - few <= 4900


def test_a_report_is_read_and_kept_in_calls_that_its_values_need() -> None:
    calls: list[str] = []
    one = workspace([{"metric": metric, "window": "today"} for metric in METRICS], bots=1)
    world = World(datetime(2026, 11, 24, 12, 0, tzinfo=UTC))
    content = answer("2026-11-24", 1)

    async def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=in_pieces(content))

    async def go() -> None:
        store = Store()
        async with WorkspacePoller(
            one, store, Telemetry(), world.now, transport=httpx.MockTransport(respond)
        ) as poller:
            await poller.once()
            with counted(calls):
                await poller.once()
        assert all(record.success for _, record in store)

    world.run(go)

    assert len(calls) <= 2200  # one for each object of the answer: which fields it has


def test_a_request_looks_for_no_module() -> None:
    looked_for: list[str] = []

    class Ear:
        """Hears of whatever was not imported before."""

        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            """Note it, and leave the search to others."""
            looked_for.append(name)
            return None

    one = workspace(["csat"], bots=1, requests_per_minute=6000)
    ear = Ear()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def go() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        away = one.model_copy(update={"base_url": f"http://127.0.0.1:{port}"})
        async with (
            server,
            WorkspacePoller(away, Store(), Telemetry(), lambda: datetime.now(UTC)) as poller,
        ):
            await poller.once()
            sys.meta_path.insert(0, ear)
            await poller.once()

    try:
        asyncio.run(go())
    finally:
        sys.meta_path.remove(ear)
    assert looked_for == []
