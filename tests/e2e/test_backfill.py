"""A year is rebuilt from the sandbox, and a real Prometheus answers across the seam."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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
from support.processes import get

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
    days = [FIRST + DAY * number for number in range(62, 365, 5)]
    for day in days:
        told = known(year.answer(begins(day + DAY, CLOCK) - timedelta(minutes=5)))
        right = past.at_the_end_of(day)
        compared += len(right)
        wrong += [(day, *one) for one in differences(told, right)]
    assert wrong == []
    assert compared >= ANSWERS, compared
