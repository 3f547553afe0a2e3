"""The recipes of docs/promql.md, asked of a real Prometheus and of a real VictoriaMetrics."""

import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest
from e2e.programs import ROOT
from e2e.test_dashboards import prometheus_on
from support.history import blocks as made_blocks, write
from support.longterm import victoria_metrics
from support.page_commands import blocks
from support.processes import get
from support.promql import selectors

END: Final = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)
"""A Friday afternoon where the sandbox is."""
AGO: Final = [timedelta(days=7), timedelta(days=1), timedelta(hours=1), timedelta(minutes=30)]
JOB: Final = {"job": "seasalt"}
QUIET: Final = "nothing while all is well"
"""What the comment of a recipe says that finds something only in trouble."""

Found = dict[tuple[tuple[str, str], ...], float]


def recipes(page: str) -> dict[str, str]:
    """The queries of a page by their comments."""
    found = (
        re.fullmatch(r"(?:# ([^\n]*)\n)?(.*)", block, re.DOTALL) for block in blocks(page, "promql")
    )
    return {one[1] or one[2].strip(): one[2] for one in found if one}


RECIPES: Final = recipes("promql")
COUNTERS: Final = {name for name, query in RECIPES.items() if "increase(" in query}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pages of five instants up to the end."""
    path = tmp_path_factory.mktemp("pages") / "pages.txt"
    write(path, [*(END - ago for ago in AGO), END], days=40)
    return path


@pytest.fixture(scope="module")
def one(
    pages: Path, prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus that scraped one exporter."""
    data = tmp_path_factory.mktemp("one")
    made_blocks(promtool, pages, data, JOB | {"instance": "a"})
    with prometheus_on(prometheus, data, {}) as url:
        yield url


@pytest.fixture(scope="module")
def two(
    pages: Path, prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus that scraped two exporters of the same bots, one of them with another label."""
    data = tmp_path_factory.mktemp("two")
    made_blocks(promtool, pages, data, JOB | {"instance": "a"})
    made_blocks(promtool, pages, data, JOB | {"instance": "b", "region": "west"})
    with prometheus_on(prometheus, data, {}) as url:
        yield url


def asked(url: str, query: str, at: datetime = END) -> Found:
    """What a query finds: the values by their labels."""
    given = urlencode({"query": query, "time": f"{at.timestamp():.0f}"})
    answer = json.loads(get(f"{url}/api/v1/query?{given}").body)
    assert answer["status"] == "success", answer
    assert not answer.get("warnings"), answer
    assert not answer.get("infos"), answer
    return {
        tuple(sorted(row["metric"].items())): float(row["value"][1])
        for row in answer["data"]["result"]
    }


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_finds_something(one: str, name: str) -> None:
    found = asked(one, RECIPES[name])
    if QUIET in name:
        assert not found
        found = asked(one, RECIPES[name], END + timedelta(hours=1))
    assert found


@pytest.mark.parametrize("name", RECIPES)
def test_a_second_exporter_of_the_same_bots_changes_no_recipe_but_a_counters(
    one: str, two: str, name: str
) -> None:
    factor = 2 if name in COUNTERS else 1
    alone = asked(one, RECIPES[name])
    assert asked(two, RECIPES[name]) == pytest.approx(
        {labels: factor * value for labels, value in alone.items()}
    )


def test_the_safe_sum_is_the_sum_of_what_was_counted(one: str) -> None:
    [name] = [name for name in RECIPES if name == "messages of today, per workspace"]
    plain = 'sum by (workspace) (seasalt_activity_trend_messages{window="today", bot_id!=""})'
    assert asked(one, RECIPES[name]) == asked(one, plain)


def test_the_two_ways_to_the_share_of_satisfied_agree(one: str) -> None:
    weighted = RECIPES["mean rating per workspace, weighted by answers"].replace(
        "seasalt_csat_average_rating", "seasalt_csat_satisfaction_ratio"
    )
    [share] = asked(one, RECIPES["share of ratings of 4 or 5, per workspace"]).values()
    assert asked(one, weighted)[("workspace", "harbor"),] == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("page", ["reading-the-numbers", "probing", "labels"])
def test_each_query_of_the_other_pages_finds_something(one: str, page: str) -> None:
    queries = [query.replace("acme", "harbor") for query in recipes(page).values()]
    assert queries
    assert [query for query in queries if not asked(one, query)] == []


def test_each_recipe_finds_the_same_in_victoriametrics(
    one: str, pages: Path, tmp_path: Path
) -> None:
    lines = pages.read_text(encoding="utf-8").splitlines()
    # It takes milliseconds where promtool takes seconds.
    text = "".join(f"{line}000\n" for line in lines if line != "# EOF")
    with victoria_metrics(tmp_path / "data", "-retentionPeriod=100y") as url:
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{url}/api/v1/import/prometheus?extra_label=job=seasalt&extra_label=instance=a",
            text.encode(),
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.status == 204
        get(f"{url}/internal/force_flush")
        for name, query in RECIPES.items():
            there = asked(url, query)
            if name in COUNTERS:  # it does not extrapolate
                assert there
            else:
                assert there == pytest.approx(asked(one, query)), name


def test_what_the_page_says_is_recorded_is_recorded() -> None:
    rules = "".join(path.read_text("utf-8") for path in ROOT.glob("config/prometheus/rules/*.yml"))
    text = (ROOT / "docs" / "promql.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+:seasalt_[\w:]+)`", text)
    assert len(named) > 10
    assert [name for name in named if f"record: {name}\n" not in rules] == []
    assert all(selectors(query) for query in RECIPES.values())
