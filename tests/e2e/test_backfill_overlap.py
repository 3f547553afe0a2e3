"""Live values and rebuilt ones in one Prometheus: on the day of the installation, and on equal days."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import served
from e2e.test_backfill import named
from e2e.test_dashboards import prometheus_on
from support.backfilled import NOW, ZONE, Past, command, configuration, written
from support.history import LABELS, blocks
from support.pagecheck import Series
from support.processes import get, wait_for

from exporter.backfill import openmetrics, push, remote_write
from exporter.backfill.rebuild import Runs
from exporter.model.windows import begins
from exporter.sandbox import Sandbox

RECEIVER: Final = "--web.enable-remote-write-receiver"
OLD: Final = {"storage": {"tsdb": {"out_of_order_time_window": "400d"}}}
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
OURS: Final = [f"--label={name}={value}" for name, value in LABELS.items()]
LIVE: Final = ("seasalt_report_success", frozenset({("workspace", "acme"), ("report", "csat")}))
"""A series that a running exporter has, and that is never rebuilt."""

Page = Mapping[Series, float]


def scraped(url: str, pages: Mapping[datetime, Page]) -> None:
    """Bring pages into a Prometheus, as if it had scraped them."""
    batch = remote_write.Batch()
    with push.Store(f"{url}/api/v1/write", url, {}) as store:
        for at, page in pages.items():
            times = remote_write.Times([int(at.timestamp())])
            for (name, labels), value in {**page, LIVE: 1.0}.items():
                runs = Runs()
                runs.add(0, 1, value)
                own = [("__name__", name), *labels, *LABELS.items()]
                assert not [*batch.add([one for one in own if one[1]], runs, times)]
        store.push(batch.taken())


def ask(url: str, moment: datetime, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers at an instant."""
    found = get(f"{url}/api/v1/query?query={quote(query)}&time={moment.timestamp()}")
    result: list[dict[str, Any]] = json.loads(found.body)["data"]["result"]
    return result


def at(url: str, moment: datetime) -> dict[Series, float]:
    """All series at an instant."""
    found = ask(url, moment, '{__name__=~"seasalt_.*"}')
    return {named(series["metric"]): float(series["value"][1]) for series in found}


def same(told: Mapping[Series, float], page: Page) -> bool:
    """Whether an answer has all of a page, as far as it is about one workspace over SeaChat."""
    own = {series: value for series, value in page.items() if ("workspace", "acme") in series[1]}
    return len(own) > 50 and all(told.get(series) == value for series, value in own.items())


def test_on_the_day_of_the_installation_the_past_and_the_head_lose_nothing(
    prometheus: str, promtool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    # Where it is afternoon: the past ended hours ago.
    hours = 15 - now.hour
    hours += 24 * ((hours < -12) - (hours > 12))
    zone = ZoneInfo(f"Etc/GMT{-hours:+}")
    today = now.astimezone(zone).date()
    with served(Sandbox.make(now=lambda: now, bots=1, days=40)) as api:
        settings = configuration(api, bots=1, timezone=zone.key)
        past = Past(api.sandbox, zone, 1)
        pages = {one: past.live(one) for one in (now - 5 * HOUR, now - 3 * HOUR, now)}
        file, data = written(tmp_path, settings), tmp_path / "data"
        first = f"--from={today - 7 * DAY}"
        with prometheus_on(prometheus, data, {}, RECEIVER) as url:
            scraped(url, pages)
            assert (
                command(
                    file,
                    first,
                    "--step=1h",
                    *OURS,
                    f"--output={tmp_path}",
                    patch=monkeypatch,
                    now=now,
                )
                == 0
            )
            blocks(promtool, tmp_path / openmetrics.NAME, tmp_path / "blocks", {})
            last = begins(today, zone) - timedelta(minutes=5)
            for block in (tmp_path / "blocks").iterdir():
                shutil.move(block, data)
        for flags in ((RECEIVER,), (RECEIVER,)):  # what a restart loses is lost by now
            with prometheus_on(prometheus, data, {}, *flags) as url:
                told = wait_for(lambda: at(url, last), "the past is not there")
                assert len(told) > 100
                for moment, page in pages.items():
                    assert same(at(url, moment), page), moment
                    # `today` began anew: nothing of yesterday's is there beside it.
                    assert at(url, moment).keys() == {*page, LIVE}


CLOCK: Final = ZoneInfo(ZONE)
LAST: Final = date(2026, 11, 19)
MORNING: Final = begins(LAST, CLOCK) + 10 * HOUR + timedelta(minutes=7)


def test_a_day_that_is_live_and_rebuilt_has_both_and_the_operator_is_warned(
    prometheus: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served(Sandbox.make(now=lambda: NOW, bots=1, days=50)) as api:
        past = Past(api.sandbox, CLOCK, 1)
        pages = {one: past.live(one) for one in (MORNING + HOUR * number for number in range(13))}
        file = written(tmp_path, configuration(api, bots=1))
        flags = (
            "--from=2026-11-01",
            "--step=1h",
            "--workspace=acme",
            f"--output={tmp_path}",
            *OURS,
        )
        with prometheus_on(prometheus, tmp_path / "data", OLD, RECEIVER) as url:
            scraped(url, pages)

            def run(*more: str) -> str:
                given = (*flags, f"--push={url}/api/v1/write", *more)
                assert command(file, *given, patch=monkeypatch) == 0
                told = capsys.readouterr()
                assert "were read back and are equal" in told.out
                return told.err

            warned = "workspace acme: the store has live values of 2026-11-19 already"
            assert warned not in run("--to=2026-11-18")
            end = begins(LAST, CLOCK) - timedelta(minutes=5)
            assert same(at(url, end), past.at_the_end_of(LAST - DAY))
            assert warned in run()
            # Nothing of either is lost, or takes the other's place.
            for moment, page in pages.items():
                assert same(at(url, moment), page), moment
            end = begins(LAST + DAY, CLOCK) - timedelta(minutes=5)
            assert same(at(url, end), past.at_the_end_of(LAST))
            # That is why: between the live values stand those of the day before.
            week = 'seasalt_activity_trend_messages{window="last_7_days"}'
            [jumps] = ask(url, max(pages), f"max(resets({week}[13h]))")
            assert int(jumps["value"][1]) > 5
