import asyncio
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from support.virtual import START, World

from exporter.exposition import API_FAMILIES
from exporter.pages import Pages
from exporter.plan import Target
from exporter.store import Key, Record, Store
from exporter.telemetry import Telemetry

CALLS = next(f for f in API_FAMILIES if f.name == "seasalt_communication_volume_calls")
KEY = Key(Target("seachat", "acme"), "communication_volume", "today")


def record(value: float, lasts: timedelta) -> Record:
    sample = CALLS.sample(value, "today", "inbound")
    return Record(600.0, True, 0.1, START, (sample,), START + lasts)  # noqa: FBT003


class Kept:
    """Pages that are kept current over a store."""

    def __init__(self) -> None:
        self.world, self.store, self.telemetry = World(), Store(), Telemetry()
        self.pages = Pages(self.store, self.telemetry, self.world.now)

    def text(self) -> str:
        """The page as it is served now."""
        return b"".join(self.pages.snapshot.text()).decode()


def test_a_change_is_on_the_page_within_a_second() -> None:
    async def go() -> None:
        kept = Kept()
        task = asyncio.ensure_future(kept.pages.run())
        for value in range(1, 4):
            kept.store.succeed(KEY, record(value, timedelta(hours=1)))
            kept.pages.changed()
            await asyncio.sleep(1)
            assert f'direction="inbound"}} {value}\n' in kept.text()
        task.cancel()

    World().run(go)


def test_a_value_leaves_the_page_when_it_expires_though_nothing_changes() -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.succeed(KEY, record(7, timedelta(minutes=5)))
        task = asyncio.ensure_future(kept.pages.run())
        kept.pages.changed()
        await asyncio.sleep(299)
        assert "communication_volume_calls{" in kept.text()
        await asyncio.sleep(2)
        assert "communication_volume_calls{" not in kept.text()
        assert "seasalt_report_success{" in kept.text()
        task.cancel()

    World().run(go)


def test_many_changes_at_once_are_one_page() -> None:
    async def go() -> None:
        kept = Kept()
        task = asyncio.ensure_future(kept.pages.run())
        seen = set()
        for value in range(200):
            kept.store.succeed(KEY, record(value, timedelta(hours=1)))
            kept.pages.changed()
            await asyncio.sleep(0.005)
            seen.add(kept.text())
        assert len(seen) <= 12
        task.cancel()

    World().run(go)


def test_the_number_of_series_falls_to_zero_and_stays_on_the_page() -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.succeed(KEY, record(7, timedelta(minutes=5)))
        kept.pages.refresh()
        line = 'seasalt_series{api="seachat",workspace="acme"} '
        assert f"{line}1.0\n" in kept.telemetry.text(openmetrics=False).decode()
        kept.store.expire(START + timedelta(hours=1))
        kept.pages.refresh()
        assert f"{line}0.0\n" in kept.telemetry.text(openmetrics=False).decode()

    World().run(go)


def test_a_page_that_takes_long_to_make_is_made_in_a_tenth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = count(0, 3)  # three seconds between two looks at it
    monkeypatch.setattr("exporter.pages.time", SimpleNamespace(perf_counter=lambda: next(clock)))

    async def go() -> None:
        kept = Kept()
        task = asyncio.ensure_future(kept.pages.run())
        seen = set()
        for value in range(300):
            kept.store.succeed(KEY, record(value, timedelta(hours=1)))
            kept.pages.changed()
            await asyncio.sleep(1)
            seen.add(kept.text())
        assert 9 <= len(seen) <= 11
        task.cancel()

    World().run(go)


def test_a_value_that_expires_while_the_page_rests_is_not_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = count(0, 3)
    monkeypatch.setattr("exporter.pages.time", SimpleNamespace(perf_counter=lambda: next(clock)))

    async def go() -> None:
        kept = Kept()
        kept.store.succeed(KEY, record(7, timedelta(seconds=10)))
        task = asyncio.ensure_future(kept.pages.run())
        kept.pages.changed()
        await asyncio.sleep(9)
        assert "communication_volume_calls{" in kept.text()
        await asyncio.sleep(1)
        assert "communication_volume_calls{" not in kept.text()
        task.cancel()

    World().run(go)


@pytest.mark.parametrize("hours", [11, -11])
def test_a_clock_that_was_set_or_a_machine_that_slept_serves_nothing_old(hours: int) -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.succeed(KEY, record(7, timedelta(hours=10)))
        task = asyncio.ensure_future(kept.pages.run())
        kept.pages.changed()
        await asyncio.sleep(1)
        kept.world.start += timedelta(hours=hours)
        assert "communication_volume_calls{" not in kept.text()
        task.cancel()

    World().run(go)


def test_a_page_forgets_the_values_that_expired() -> None:
    async def go() -> None:
        kept = Kept()
        kept.store.succeed(KEY, record(7, timedelta(minutes=5)))
        task = asyncio.ensure_future(kept.pages.run())
        kept.pages.changed()
        other = Key(KEY.target, "other", "")
        await asyncio.sleep(299)
        assert kept.store.series("acme", but=other) == 1
        await asyncio.sleep(2)
        assert kept.store.series("acme", but=other) == 0
        task.cancel()

    World().run(go)


def test_the_size_of_the_page_is_told_as_it_is_and_compressed() -> None:
    async def go() -> None:
        kept = Kept()
        samples = tuple(CALLS.sample(n, "today", f"direction {n}") for n in range(500))
        kept.store.succeed(KEY, Record(600.0, samples=samples, expires=START + timedelta(hours=1)))
        kept.pages.refresh()
        snapshot, told = kept.pages.snapshot, kept.telemetry.text(openmetrics=False).decode()
        line = "seasalt_exporter_page_bytes"
        assert f'{line}{{encoding="identity"}} {float(snapshot.size)}\n' in told
        assert f'{line}{{encoding="gzip"}} {float(len(snapshot.deflated))}\n' in told
        assert len(snapshot.deflated) < snapshot.size / 3

    World().run(go)
