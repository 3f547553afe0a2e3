"""The shipped alerts over a rebuilt past: awake on the first day, and the seam raises none.

The past is rebuilt up to a midnight. From then on the pages are those of a live exporter, and at
noon a bot falls silent. Nothing but the rules decides.
"""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml
from e2e.programs import ROOT, served
from e2e.test_alerts import configuration, silence
from e2e.test_dashboards import prometheus_on
from support.backfilled import command, written
from support.history import Turn, blocks, every, layers, record, write
from support.processes import get

from exporter.backfill import openmetrics
from exporter.model.durations import parse
from exporter.sandbox import Sandbox

RULES: Final = ROOT / "config" / "prometheus" / "rules"
SEAM: Final = datetime(2026, 11, 19, 5, 0, tzinfo=UTC)
"""Midnight where the sandbox is, before a Thursday."""
FIRST: Final = date(2026, 11, 5)
SILENT: Final = SEAM + timedelta(hours=12)
END: Final = SEAM + timedelta(hours=15)
STEP: Final = timedelta(minutes=10)
BUSY: Final = 300.0
DAYS: Final = 20
BOTS: Final = 2
VOLUME: Final = ("SeasaltVolumeDropped", "SeasaltVolumeSpiked", "SeasaltBotSilent")
LOOKBACK: Final = "--query.lookback-delta=11m"
"""A page of every ten minutes is seen until the next one comes."""


def alerts() -> dict[str, dict[str, Any]]:
    """The shipped alerts on volume, by name."""
    content = yaml.safe_load((RULES / "messages.yml").read_text(encoding="utf-8"))
    rules = [rule for group in content["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if rule.get("alert") in VOLUME}


@pytest.fixture(scope="module")
def first_day(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Prometheus with the past and the first day, and the name of the bot that falls silent."""
    folder = tmp_path_factory.mktemp("seam")
    data, at = folder / "data", SEAM + STEP
    made = Sandbox.make(
        now=lambda: at, bots=BOTS, days=DAYS, ahead_days=1, conversations_per_day=BUSY
    )
    company = made.workspaces[0]
    bot = company.bots[0]
    content = configuration(company, "10m")
    with served(made) as api, pytest.MonkeyPatch.context() as patch:
        content["workspaces"][0]["base_url"] = api.url
        flags = (f"--from={FIRST}", "--intraday=14d", "--yes", f"--output={folder}")
        assert command(written(folder, content), *flags, patch=patch, now=at) == 0
    blocks(promtool, folder / openmetrics.NAME, data)
    write(
        folder / "pages.txt",
        every(STEP, at, END),
        configuration=configuration(company, "10m"),
        turns=[Turn(SILENT, lambda sandbox: silence(sandbox.connection, bot, SILENT))],
        bots=BOTS,
        days=DAYS,
        conversations_per_day=BUSY,
    )
    blocks(promtool, folder / "pages.txt", data)
    text = " ".join(rule["expr"] for rule in alerts().values())
    wanted = sorted(set(re.findall(r"\b(?:\w+:seasalt_|seasalt:)[\w:]+", text)))
    for layer in layers(RULES, wanted):
        with prometheus_on(prometheus, data, {}, LOOKBACK) as url:
            record(
                promtool,
                layer,
                url=url,
                start=SEAM + STEP,
                end=END,
                step=STEP / 2,
                data=folder / "recorded",
            )
        for block in (folder / "recorded").iterdir():
            shutil.move(block, data / block.name)
    with prometheus_on(prometheus, data, {}, LOOKBACK) as url:
        yield url, bot.name


def true_at(url: str, expression: str) -> dict[str, list[float]]:
    """When an expression had a value on the first day, by the bot."""
    asked = f"query={quote(expression)}&start={SEAM.timestamp()}&end={END.timestamp()}&step=300"
    found = json.loads(get(f"{url}/api/v1/query_range?{asked}").body)["data"]["result"]
    return {
        series["metric"].get("bot", ""): [float(at) for at, _ in series["values"]]
        for series in found
    }


def firing(url: str, rule: dict[str, Any]) -> dict[str, float]:
    """The bots whose alert fired on the first day, and since when."""
    lasts, fired = parse(rule["for"]).total_seconds(), dict[str, float]()
    for bot, times in true_at(url, rule["expr"]).items():
        begun = times[0]
        for before, at in zip([times[0], *times], times, strict=False):
            begun = at if at - before > 300 else begun
            if at - begun >= lasts:
                fired.setdefault(bot, at)
    return fired


def test_both_weeks_before_are_known_at_every_moment_of_the_first_days_office_hours(
    first_day: tuple[str, str],
) -> None:
    url, _ = first_day
    today = 'seasalt_activity_trend_messages{window="today"}'
    weeks = (f"sum by (bot) ({today} offset {week}w)" for week in (1, 2))
    found = true_at(url, " and ".join(weeks))
    nine, three = (SEAM + timedelta(hours=hour) for hour in (9, 15))
    assert len(found) == BOTS
    for bot, times in found.items():
        office = [at for at in times if nine.timestamp() <= at < three.timestamp()]
        assert len(office) == 6 * 12, bot


def test_the_alert_on_a_silent_bot_fires_on_the_first_day_and_the_seam_raises_none(
    first_day: tuple[str, str],
) -> None:
    url, silent = first_day
    told = {name: firing(url, rule) for name, rule in alerts().items()}
    early = {
        (name, bot)
        for name, bots in told.items()
        for bot, at in bots.items()
        if at < SILENT.timestamp()
    }
    assert early == set()
    assert silent in told["SeasaltBotSilent"]
    assert {bot for bots in told.values() for bot in bots} == {silent}
    assert told["SeasaltBotSilent"][silent] <= (SILENT + timedelta(hours=2)).timestamp()
