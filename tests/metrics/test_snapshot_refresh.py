import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from support.polled import told
from support.virtual import START, World
from support.workspaces import workspace

from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Generation, Record, Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.targets import Key, Target

CALLS = next(f for f in API_FAMILIES if f.name == "seasalt_communication_volume_calls")
KEY = Key(Target("seachat", "acme"), "communication_volume", "today")


def record(value: float, lasts: timedelta) -> Record:
    sample = CALLS.sample(value, "today", "inbound")
    return Record(600.0, True, 0.1, START, (sample,), START + lasts)  # noqa: FBT003


class Kept:
    """Pages that are kept current over a store.

    Args:
        takes: Seconds that it takes to make one.
    """

    def __init__(self, takes: float = 0) -> None:
        self.world, self.store, self.telemetry = World(), Store(), Telemetry()
        self.takes, self.most_at_once = takes, 0
        self.telemetry.begin(workspace(), self.world.now)
        self._at_once = 0
        self.makes: Callable[..., object] = lambda make, *of: make(*of)
        self.pages = SnapshotRefresher(self.store, self.telemetry, self.world.now, self._elsewhere)

    async def _elsewhere(self, make: Callable[..., Any], *of: object) -> object:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.takes)
        self._at_once -= 1
        return self.makes(make, *of)

    def put(self, value: float, lasts: timedelta = timedelta(hours=1)) -> None:
        """Let a report bring a value."""
        self.store.put(KEY, record(value, lasts))
        self.pages.changed()

    async def scrape(self) -> str:
        """The page as a scrape gets it now."""
        return b"".join((await self.pages.current()).page.text()).decode()

    def text(self) -> str:
        """The page as it is served now."""
        return b"".join(self.pages.snapshot.page.text()).decode()


def keep_current(what: Callable[[Kept], Awaitable[None]], takes: float = 0) -> None:
    """Let something happen while the pages are kept current."""

    async def go() -> None:
        kept = Kept(takes)
        task = asyncio.ensure_future(kept.pages.run())
        await what(kept)
        assert not task.done()
        task.cancel()

    World().run(go)


@pytest.fixture
def _three_seconds_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that times it, a page takes three seconds to make."""
    clock = SimpleNamespace(perf_counter=partial(next, count(0, 3)))
    monkeypatch.setattr("exporter.metrics.snapshot_refresh.time", clock)


def test_a_change_is_on_the_page_within_a_second() -> None:
    async def go(kept: Kept) -> None:
        for value in range(1, 4):
            kept.put(value)
            await asyncio.sleep(1)
            assert f'direction="inbound"}} {value}\n' in kept.text()

    keep_current(go)


def test_a_value_leaves_the_page_when_it_expires_though_nothing_changes() -> None:
    async def go(kept: Kept) -> None:
        kept.put(7, timedelta(minutes=5))
        await asyncio.sleep(299)
        assert "communication_volume_calls{" in kept.text()
        assert kept.store.shares("acme").kept == 1
        await asyncio.sleep(2)
        assert "communication_volume_calls{" not in kept.text()
        assert "seasalt_report_success{" in kept.text()
        assert kept.store.shares("acme").kept == 0

    keep_current(go)


def test_a_page_is_made_at_most_once_a_second_however_much_changes() -> None:
    async def go(kept: Kept) -> None:
        seen = set()
        for value in range(2_000):
            kept.put(value)
            await asyncio.sleep(0.005)
            seen.add(kept.text())
        assert 9 <= len(seen) <= 12

    keep_current(go)


def test_the_number_of_series_falls_to_zero_and_stays_on_the_page() -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.put(KEY, record(7, timedelta(minutes=5)))
        await kept.pages.refresh()
        series = 'seasalt_series{api="seachat",workspace="acme"}'
        assert told(kept.telemetry, series) == 1
        kept.store.expire([KEY], START + timedelta(hours=1))
        await kept.pages.refresh()
        assert told(kept.telemetry, series) == 0

    World().run(go)


@pytest.mark.usefixtures("_three_seconds_a_page")
def test_a_page_that_takes_long_to_make_is_made_in_a_tenth_of_the_time() -> None:
    async def go(kept: Kept) -> None:
        seen = set()
        for value in range(300):
            kept.put(value)
            await asyncio.sleep(1)
            seen.add(kept.text())
        assert 9 <= len(seen) <= 11

    keep_current(go)


@pytest.mark.usefixtures("_three_seconds_a_page")
def test_a_value_that_expires_while_the_page_rests_is_not_served() -> None:
    async def go(kept: Kept) -> None:
        kept.put(7, timedelta(seconds=10))
        await asyncio.sleep(9)
        assert "communication_volume_calls{" in await kept.scrape()
        await asyncio.sleep(1)
        assert "communication_volume_calls{" not in await kept.scrape()

    keep_current(go)


@pytest.mark.parametrize("hours", [11, -11])
def test_a_clock_that_was_set_or_a_machine_that_slept_serves_nothing_old(hours: int) -> None:
    async def go(kept: Kept) -> None:
        kept.put(7, timedelta(hours=10))
        await asyncio.sleep(1)
        kept.world.start += timedelta(hours=hours)
        assert "communication_volume_calls{" not in await kept.scrape()

    keep_current(go)


def test_the_size_of_the_page_is_told_as_it_is_and_compressed() -> None:
    async def go() -> None:
        kept = Kept()
        samples = tuple(CALLS.sample(n, "today", f"direction {n}") for n in range(500))
        kept.store.put(KEY, Record(600.0, samples=samples, expires=START + timedelta(hours=1)))
        await kept.pages.refresh()
        size, compressed = (
            told(kept.telemetry, f'seasalt_exporter_page_bytes{{encoding="{encoding}"}}')
            for encoding in ("identity", "gzip")
        )
        assert size == len(kept.text())
        assert compressed == kept.pages.snapshot.page.compressed < size / 3

    World().run(go)


@pytest.mark.parametrize("takes", [0, 0.5, 8], ids=["at once", "half a second", "long"])
def test_no_scrape_sees_a_value_after_its_expiry_however_long_a_page_takes(takes: float) -> None:
    async def go(kept: Kept) -> None:
        ends = {}
        for number in range(40):  # one expires every three seconds, for as long as a page may take
            key = Key(KEY.target, f"report {number}", "today")
            ends[number] = START + timedelta(seconds=100 + 3 * number)
            sample = CALLS.sample(number, f"window {number}", "inbound")
            kept.store.put(
                key, Record(600.0, samples=(sample,), last_success=START, expires=ends[number])
            )
        kept.pages.changed()
        for _ in range(230):
            await asyncio.sleep(1)
            page, now = await kept.scrape(), kept.world.now()
            shown = {n for n in ends if f'window="window {n}",direction' in page}
            assert not any(ends[n] <= now for n in shown)
            # And none leaves much sooner than it must.
            early = timedelta(seconds=1 + 31 * takes)
            assert {n for n in ends if now + early < ends[n]} <= shown
        assert kept.most_at_once == 1

    keep_current(go, takes)


def test_what_changes_while_a_page_is_made_is_on_the_next_one() -> None:
    async def go(kept: Kept) -> None:
        for value in (1, 2):
            kept.put(value)
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert 'direction="inbound"} 2\n' in kept.text()

    keep_current(go, 2)


def test_a_refresh_that_is_waited_for_has_what_was_there_when_it_was_asked_for() -> None:
    async def go() -> None:
        kept = Kept(takes=2)
        kept.store.put(KEY, record(1, timedelta(hours=1)))
        first = asyncio.ensure_future(kept.pages.refresh())
        await asyncio.sleep(1)
        kept.store.put(KEY, record(2, timedelta(hours=1)))
        await kept.pages.refresh()
        assert 'direction="inbound"} 2\n' in kept.text()
        await first

    World().run(go)


def test_a_clock_that_was_set_back_leaves_no_value_from_the_future_on_the_page() -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.put(KEY, record(1, timedelta(hours=1)))
        assert "communication_volume_calls{" not in await kept.scrape()
        await kept.pages.refresh()
        assert "communication_volume_calls{" in await kept.scrape()
        kept.world.start -= timedelta(minutes=10)
        assert "communication_volume_calls{" not in await kept.scrape()

    World().run(go)


def test_a_page_is_made_where_the_event_loop_does_not_wait_for_it() -> None:
    threads = set()

    class Watched(dict[Key, Record]):
        def items(self) -> Any:  # noqa: ANN401 - like a view
            for item in tuple(super().items()):
                threads.add(threading.get_ident())
                yield item

    class Spied(Store):
        def generation(self) -> Generation:
            return Generation([Watched(part) for part in super().generation().parts])

    async def go() -> None:
        store = Spied()
        pages = SnapshotRefresher(store, Telemetry(), lambda: START)
        store.put(KEY, record(1, timedelta(hours=1)))
        await pages.refresh()
        assert threads
        assert threading.get_ident() not in threads

    asyncio.run(go())


def test_a_workspace_that_is_gone_while_a_page_is_made_is_told_of_no_more() -> None:
    async def go() -> None:
        kept = Kept(takes=1)
        kept.store.put(KEY, record(7, timedelta(hours=1)))
        making = asyncio.ensure_future(kept.pages.refresh())
        await asyncio.sleep(0.5)
        kept.store.keep(frozenset(), "acme")
        kept.telemetry.forget("seachat", "acme")
        await making
        assert "seasalt_series{" not in kept.telemetry.text(openmetrics=False).decode()

    World().run(go)


def test_a_page_that_cannot_be_made_is_told_and_ends_nobodys_work() -> None:
    async def go(kept: Kept) -> None:
        kept.put(1, timedelta(minutes=1))
        await asyncio.sleep(1)
        made, kept.makes = kept.makes, lambda *_: int("no")
        kept.put(2, timedelta(minutes=1))
        await asyncio.sleep(10)
        assert 'direction="inbound"} 1\n' in await kept.scrape()  # which is still true
        await asyncio.sleep(60)
        with pytest.raises(ValueError, match="invalid"):  # an old value is not shown instead
            await kept.scrape()
        kept.makes = made
        kept.put(3)
        await asyncio.sleep(6)
        assert 'direction="inbound"} 3\n' in await kept.scrape()
        assert b'bugs_total{where="page"} 0' not in kept.telemetry.text(openmetrics=False)

    keep_current(go)
