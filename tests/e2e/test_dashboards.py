"""Every query of every dashboard, asked of a real Prometheus: with weeks of history, and on the demo."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import LOOPBACK, ROOT, Demo
from support.history import blocks, every, layers, record, write
from support.processes import answered, finished, get, started, wait_for

from grafana.builder.board import FIRING
from grafana.builder.catalogue import BOARDS

Json = dict[str, Any]

RULES: Final = ROOT / "config" / "prometheus" / "rules"
END: Final = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)
"""A Friday afternoon where the sandbox is, so that everything has begun and somebody is there."""
WEEK: Final = timedelta(weeks=1)
STEP: Final = timedelta(minutes=30)
WATCHDOG: Final = 'ALERTS{alertname="SeasaltWatchdog",alertstate="firing"} 1'
EARLY: Final = 13
"""The local hour up to which the demo's day may be without a call or a conversation that waits."""
SUNDAY: Final = 6
"""The day on which its agents are at home."""

each_board = pytest.mark.parametrize("uid", [board.uid for board in BOARDS])


@dataclass(frozen=True)
class Ask:
    """One query of a dashboard.

    Attributes:
        panel: The panel's title.
        expr: As it stands in the file.
        legend: The names of the labels in the legend.
        over_time: Whether it is asked over the time range, or for now alone.
    """

    panel: str
    expr: str
    legend: frozenset[str]
    over_time: bool


@dataclass(frozen=True)
class Served:
    """A Prometheus with something in it.

    Attributes:
        url: Where its API is.
        now: The end of the time range, None for the present.
        span: The length of the time range.
        step: Between two points of it.
        rate: What `$__rate_interval` stands for.
    """

    url: str
    now: datetime | None
    span: timedelta
    step: timedelta
    rate: str

    def get(self, path: str, **parameters: object) -> Json:
        """An answer of the API, which must have nothing to remark."""
        given = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        answer: Json = json.loads(get(f"{self.url}/api/v1/{path}?{given}").body)
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer["warnings"]
        assert not answer.get("infos"), answer["infos"]
        return answer

    def series(self, ask: Ask) -> list[Json]:
        """What a query brings, as its panel asks it."""
        now = self.now or datetime.now(UTC)
        query = self.resolved(ask.expr)
        if not ask.over_time:
            found = self.get("query", query=query, time=now.timestamp())
        else:
            found = self.get(
                "query_range",
                query=query,
                start=(now - self.span).timestamp(),
                end=now.timestamp(),
                step=self.step.total_seconds(),
            )
        result: list[Json] = found["data"]["result"]
        return result

    def resolved(self, expression: str) -> str:
        """A query as Grafana sends it when nothing is chosen."""
        return resolved(expression, self.rate)


def resolved(expression: str, rate: str) -> str:
    every_one = {"$job": ".+", "$workspace": ".*", "$bot": ".*", "$__rate_interval": rate}
    for name, value in every_one.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def asks(uid: str) -> list[Ask]:
    (board,) = (one.json() for one in BOARDS if one.uid == uid)
    return [
        Ask(
            panel["title"],
            target["expr"],
            frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])),
            target["range"],
        )
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


@contextmanager
def prometheus_on(program: str, folder: Path, settings: Json, *flags: str) -> Iterator[str]:
    """A Prometheus over a folder of data; its URL."""
    config = folder.with_suffix(".yml")
    config.write_text(json.dumps(settings))
    command = [
        *(program, f"--config.file={config}", f"--storage.tsdb.path={folder}"),
        *("--storage.tsdb.retention.time=50y", f"--web.listen-address={LOOPBACK}", *flags),
    ]
    with started(command) as process:
        url = "http://" + process.said(r'msg="Listening on".* address=(\S+)')
        answered(f"{url}/-/ready")
        yield url


def instants() -> list[datetime]:
    """The last hours closely, the last week loosely, and the same hour of the weeks before."""
    before = {END - WEEK * week - STEP * place for week in range(1, 5) for place in (0, 1)}
    week = every(timedelta(hours=12), END - WEEK, END)
    return sorted({*before, *week, *every(STEP, END - timedelta(hours=3), END)})


@pytest.fixture(scope="module")
def history(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Weeks of the demo's pages, and what the recording rules make of them."""
    folder = tmp_path_factory.mktemp("history")
    data = folder / "data"
    write(folder / "pages.txt", instants(), beside=("up 1", WATCHDOG), days=45)
    blocks(promtool, folder / "pages.txt", data)
    # A page of every half hour is seen until the next one comes.
    flags = ("--query.lookback-delta=61m",)
    wanted = {
        name
        for board in BOARDS
        for ask in asks(board.uid)
        for name in re.findall(r"\b\w+:seasalt_[\w:]+", ask.expr)
    }
    for layer in layers(RULES, sorted(wanted)):
        with prometheus_on(prometheus, data, {}, *flags) as url:
            record(
                promtool,
                layer,
                url=url,
                start=END - timedelta(hours=1),
                end=END,
                step=timedelta(minutes=10),
                data=folder / "recorded",
            )
        for block in (folder / "recorded").iterdir():
            shutil.move(block, data / block.name)
    with prometheus_on(prometheus, data, {}, *flags) as url:
        yield Served(url, now=END, span=WEEK, step=STEP, rate="2h")


@pytest.fixture(scope="module")
def live(prometheus: str, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demo, scraped for some seconds, and the rules."""
    target = demo.page.removeprefix("http://").removesuffix("/metrics")
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.yml"],
        "scrape_configs": [{"job_name": "seasalt", "static_configs": [{"targets": [target]}]}],
    }
    folder = tmp_path_factory.mktemp("live") / "data"
    with prometheus_on(prometheus, folder, settings) as url:
        found = Served(
            url, now=None, span=timedelta(minutes=1), step=timedelta(seconds=1), rate="1m"
        )
        seen = Ask(
            "",
            "count_over_time(seasalt_up[1m]) >= 4 and on () ALERTS",
            frozenset(),
            over_time=False,
        )
        wait_for(lambda: len(found.series(seen)) == 3, "no four scrapes", within=30)
        yield found


def nothing(served: Served, uid: str, excused: Callable[[Ask], bool]) -> list[str]:
    """The panels of a dashboard that have nothing to show, and no excuse."""
    return [
        f"{ask.panel}: {ask.expr}"
        for ask in asks(uid)
        if not served.series(ask) and not excused(ask)
    ]


@each_board
def test_every_query_finds_something_in_weeks_of_history(history: Served, uid: str) -> None:
    assert nothing(history, uid, lambda _: False) == []


@each_board
def test_no_panel_is_empty_on_the_demo(live: Served, uid: str) -> None:
    local = datetime.now(ZoneInfo("America/New_York"))

    def excused(ask: Ask) -> bool:
        # Against before needs a before, and its noValue says so; the demo has no budget.
        of_before = re.search(r"offset 1w|avg4w", ask.expr)
        return bool(
            of_before
            or "seasalt_api_requests_budget_remaining" in ask.expr
            or (local.hour < EARLY and 'window="today"' in ask.expr)
            or (local.weekday() == SUNDAY and "seasalt_agent_activity" in ask.expr)
            or (local.day == 1 and "seasalt_label_relation_ratio" in ask.expr)
        )

    assert nothing(live, uid, excused) == []


@each_board
def test_what_is_empty_on_a_new_installation_says_what_it_waits_for(uid: str) -> None:
    (board,) = (one.json() for one in BOARDS if one.uid == uid)
    for panel in board["panels"]:
        exprs = [target["expr"] for target in panel.get("targets", ())]
        if exprs and all(re.search(r"offset 1w|avg4w", expr) for expr in exprs):
            assert "history" in panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


@each_board
def test_every_label_of_a_legend_is_in_the_result(history: Served, uid: str) -> None:
    for ask in asks(uid):
        for series in history.series(ask):
            assert ask.legend <= series["metric"].keys(), ask


@each_board
def test_every_number_can_be_shown(history: Served, uid: str) -> None:
    for ask in asks(uid):
        for series in history.series(ask):
            values = [value for _, value in series.get("values", [series.get("value")])]
            assert not {"NaN", "+Inf", "-Inf"} & set(values), ask


def test_the_variables_bring_what_there_is(history: Served) -> None:
    (board, *_) = (one.json() for one in BOARDS)
    found: dict[str, list[str]] = {}
    for one in board["templating"]["list"][1:]:
        inside = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
        assert inside
        span = {"start": (END - STEP).timestamp(), "end": END.timestamp()}
        selector = {"match[]": history.resolved(inside[1])}
        found[one["name"]] = history.get(f"label/{inside[2]}/values", **selector, **span)["data"]
    assert found["job"] == ["seasalt"]
    assert found["workspace"] == ["harbor", "harbor-portal", "harbor-seax"]
    assert len(found["bot"]) == 4


def test_firing_alerts_are_found_for_marking(history: Served) -> None:
    now = {"query": history.resolved(FIRING), "time": END.timestamp()}
    assert history.get("query", **now)["data"]["result"] == []
    with_watchdog = re.sub(r'alertname!="\w+",', "", FIRING)
    now["query"] = history.resolved(with_watchdog)
    assert len(history.get("query", **now)["data"]["result"]) == 1


def test_promtool_parses_every_query(promtool: str, tmp_path: Path) -> None:
    expressions = {resolved(ask.expr, "5m") for one in BOARDS for ask in asks(one.uid)}
    rules = [
        {"record": f"checked:query:{place}", "expr": expression}
        for place, expression in enumerate(sorted({*expressions, resolved(FIRING, "5m")}))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = finished([promtool, "check", "rules", str(file)])
    assert (checked.status, checked.stderr) == (0, "")
    assert f"{len(rules)} rules found" in checked.stdout
    assert len(rules) > 100
