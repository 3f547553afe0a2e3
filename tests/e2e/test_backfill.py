"""A year is rebuilt from the sandbox, and a real Prometheus answers across the seam."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import ServedSandbox, served
from e2e.test_dashboards import prometheus_on
from support.backfilled import NOW, ZONE, Past, command, configuration, written
from support.history import LABELS, blocks
from support.pagecheck import Series
from support.processes import finished, get, started, wait_for

from exporter.backfill import openmetrics
from exporter.model.windows import begins
from exporter.sandbox import Sandbox

BOTS: Final = 2
DAY: Final = timedelta(days=1)
CLOCK: Final = ZoneInfo(ZONE)
LAST: Final = date(2026, 11, 19)
FIRST: Final = LAST - 364 * DAY
INTRADAY: Final = 14
ANSWERS: Final = 10_000
IN_SECONDS: Final = 0.31
"""What the two decimals of minutes leave open of a day's seconds."""


@dataclass(frozen=True)
class Year:
    """A year in a Prometheus, and what is right.

    Attributes:
        url: Prometheus.
        served: The sandbox.
        folder: With the file.
    """

    url: str
    served: ServedSandbox
    folder: Path

    def answer(self, at: datetime, query: str = '{__name__=~"seasalt_.*"}') -> dict[Series, float]:
        """What Prometheus answers at an instant, without what scraping adds."""
        found = json.loads(
            get(f"{self.url}/api/v1/query?query={quote(query)}&time={at.timestamp()}").body
        )
        return {
            named(series["metric"]): float(series["value"][1]) for series in found["data"]["result"]
        }


def named(labels: dict[str, Any]) -> Series:
    own = {name: value for name, value in labels.items() if name not in LABELS}
    return own.pop("__name__"), frozenset(own.items())


@pytest.fixture(scope="module")
def year(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Year]:
    """A year of two bots over SeaChat, and of their company over Portal and SeaX."""
    folder = tmp_path_factory.mktemp("year")
    made = Sandbox.make(now=lambda: NOW, bots=BOTS, days=430, ahead_days=1)
    with served(made) as api, pytest.MonkeyPatch.context() as patch:
        file = written(folder, configuration(api, bots=BOTS))
        flags = (f"--from={FIRST}", "--step=1h", f"--intraday={INTRADAY}d", "--yes")
        assert command(file, *flags, f"--output={folder}", patch=patch) == 0
        blocks(promtool, folder / openmetrics.NAME, folder / "data")
        with prometheus_on(prometheus, folder / "data", {}) as url:
            yield Year(url, api, folder)


def differences(
    told: dict[Series, float], right: dict[Series, float]
) -> list[tuple[Series, float | None, float | None]]:
    return [
        (series, told.get(series), right.get(series))
        for series in sorted(told.keys() | right.keys(), key=str)
        if series not in told or series not in right or not near(series, told, right)
    ]


def near(series: Series, told: dict[Series, float], right: dict[Series, float]) -> bool:
    rounded = IN_SECONDS * 31 if "voice_seconds" in series[0] else 1e-9
    return abs(told[series] - right[series]) <= rounded


def known(found: dict[Series, float]) -> dict[Series, float]:
    """Without the years and the clock, which have tests of their own."""
    return {
        series: value
        for series, value in found.items()
        if "_yearly_" not in series[0] and "utc_offset" not in series[0]
    }


def test_ten_thousand_answers_are_what_the_sandboxs_tables_say(year: Year) -> None:
    past = Past(year.served.sandbox, CLOCK, BOTS)
    compared, wrong = 0, []
    # Each window needs its days: a month and two days after the first one, all of them are there.
    days = [FIRST + DAY * number for number in range(62, 365, 8)]
    for day in days:
        told = known(year.answer(begins(day + DAY, CLOCK) - timedelta(minutes=5)))
        right = past.at_the_end_of(day)
        compared += len(right)
        wrong += [(day, *one) for one in differences(told, right)]
    assert wrong == []
    assert compared >= ANSWERS, compared


def test_a_window_that_is_over_has_its_value_all_day_long(year: Year) -> None:
    past, day = Past(year.served.sandbox, CLOCK, BOTS), FIRST + 200 * DAY
    over = ("yesterday", "last_week", "last_month")
    right = {
        series: value
        for series, value in past.at_the_end_of(day).items()
        if dict(series[1]).get("window") in over
    }
    assert len(right) > 20
    for hour in (0, 7, 13, 23):
        at = begins(day, CLOCK) + timedelta(hours=hour)
        told = {
            series: value
            for series, value in year.answer(at).items()
            if dict(series[1]).get("window") in over
        }
        assert differences(told, right) == []


def test_the_hours_of_the_last_days_are_what_they_were(year: Year) -> None:
    past = Past(year.served.sandbox, CLOCK, BOTS)
    for day, hour in ((LAST, 9), (LAST, 13), (LAST - 13 * DAY, 18)):
        at = begins(day, CLOCK) + timedelta(hours=hour)
        right = {
            series: value
            for series, value in past.at_the_hour(at).items()
            if not re.search("agent_activity|conversation_overview|trend_calls", series[0])
        }
        told = {
            series: value
            for series, value in year.answer(at).items()
            if ("window", "today") in series[1]
        }
        assert differences(told, right) == []
        assert len(right) > 100
        shortly_before = year.answer(at + timedelta(minutes=55))
        assert {one: shortly_before[one] for one in told} == told


def test_of_the_year_the_months_that_were_over_are_known(year: Year) -> None:
    noon = datetime(2026, 8, 20, 16, tzinfo=UTC)
    told = {one: value for one, value in year.answer(noon).items() if "_yearly_" in one[0]}
    months = sorted({dict(labels)["month"] for _, labels in told})
    assert months == [f"{month:02}" for month in range(1, 8)]
    assert len(told) == 7 * BOTS


def test_the_clock_changes_of_the_year_are_known(year: Year) -> None:
    query = "seasalt_workspace_utc_offset_seconds"
    for at, offset in (
        (datetime(2026, 3, 8, 6, 0, tzinfo=UTC), -18_000.0),
        (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), -14_400.0),
        (datetime(2026, 11, 1, 6, 0, tzinfo=UTC), -18_000.0),
    ):
        assert set(year.answer(at, query).values()) == {offset}


def test_a_process_that_is_told_to_end_goes_on_later_and_asks_nothing_twice(
    exporter: tuple[str, ...], tmp_path: Path
) -> None:
    with served(Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=40)) as api:
        settings = configuration(api, bots=1)
        for one in settings["workspaces"]:
            one["requests_per_minute"] = 600
        file, first = written(tmp_path, settings), datetime.now(UTC).date() - 21 * DAY
        command = [
            *(*exporter, "backfill", f"--config.file={file}", f"--from={first}"),
            *(f"--output={tmp_path}", "--step=1d"),
        ]
        plan = finished([*command, "--dry-run"])
        planned = sum(map(int, re.findall(r"in all (\d+) requests", plan.stdout)))
        with started(command) as process:
            wait_for(lambda: len(api.requests) > 5, "no requests")
            ended = process.end()
        assert ended.status == 1
        assert "interrupted" in ended.stderr
        assert "run the same command again to go on" in ended.stderr
        assert 5 < len(api.requests) < planned
        assert finished(command, within=120).status == 0
        assert len(api.requests) == planned
