"""The benchmarks: their goals, their tables, and that they compare only what is equal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import results
from benchmarks.api import METRICS, SERIES, answer, configuration
from benchmarks.goals import OTHERS, SCRAPES, Goal, tables
from benchmarks.machine import Scraper, held, page, series
from benchmarks.scale import Size, figures
from benchmarks.scrape import Server, checked, ratio
from exporter.config import load
from exporter.model.samples import REPORT_LABELS
from exporter.model.windows import local_day
from exporter.polling.plan import planned_calls

ROOT = Path(__file__).parent.parent
GOALS = [goal for goals in SCRAPES.values() for goal in goals if goal] + list(OTHERS.values())
PAGE = (
    "# HELP seasalt_csat_responses Answers.\n"
    "# TYPE seasalt_csat_responses gauge\n"
    'seasalt_csat_responses{workspace="w",bot_id="b",bot="B \\"1\\""} 7\n'
    "# HELP seasalt_up Whether.\n"
    "# TYPE seasalt_up gauge\n"
    'seasalt_up{workspace="w"} 1.0\n'
)


# Goals and tables


@pytest.mark.parametrize("goal", GOALS, ids=[goal.figure for goal in GOALS])
def test_every_goal_is_shown_measured_or_not(goal: Goal) -> None:
    assert goal.cell({}) in "\n".join(tables({}))
    assert "not measured" in goal.cell({})
    assert goal.cell({goal.figure: goal.bound}) in "\n".join(tables({goal.figure: goal.bound}))
    assert goal.cell({goal.figure: goal.bound}).endswith(": met")


def test_both_tables_have_a_row_for_each_goal() -> None:
    rows = [line for line in tables({}) if line.startswith("| ")]

    assert len(SCRAPES) == 11
    assert len(OTHERS) == 22
    assert len(rows) == len(SCRAPES) + len(OTHERS) + 2
    assert len({goal.figure for goal in GOALS}) == len(GOALS)


@pytest.mark.parametrize(
    ("goal", "figure", "verdict"),
    [
        (Goal("x", 1, floor=1), 0.3, "**missed**"),
        (Goal("x", 1, floor=1), 1, "met"),
        (Goal("x", 8, stretch=3), 8.1, "**missed**"),
        (Goal("x", 8, stretch=3), 8, "met"),
        (Goal("x", 8, stretch=3), 3, "stretch met"),
        (Goal("x", 100, least=True, stretch=250), 99, "**missed**"),
        (Goal("x", 100, least=True, stretch=250), 249, "met"),
        (Goal("x", 100, least=True, stretch=250), 250, "stretch met"),
    ],
)
def test_a_figure_is_judged_by_its_bound(goal: Goal, figure: float, verdict: str) -> None:
    assert goal.cell({"x": figure}).endswith(f": {verdict}")


def test_the_document_says_where_its_figures_come_from_and_what_is_missing() -> None:
    run = results.Run(
        "benchmarks/run",
        "2026-11-22",
        "commit abc",
        "2 cores",
        {"start": 0.5},
        {},
        {"nginx": "1"},
        ["pushgateway"],
    )

    text = "\n".join(results.document([run]))

    assert "`benchmarks/run`, 2026-11-22, commit abc, 2 cores. Beside nginx 1." in text
    assert "pushgateway could not be had" in text
    assert "0.5 (at most" in text


def test_the_document_has_one_place_for_figures() -> None:
    text = results.DOCUMENT.read_text(encoding="utf-8")

    assert text.count(results.BEGIN) == text.count(results.END) == 1
    assert text.index(results.BEGIN) < text.index(results.END)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio([2, 20, 2], [1, 10, 4]) == 2


# Arguments


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("run", ["--rounds", "0"]),
        ("run", ["--bots", "11"]),
        ("scale", ["--bots", ""]),
        ("scale", ["--bots", "100000"]),
        ("scale", ["--seconds", "1"]),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    command: str, arguments: list[str]
) -> None:
    module = {"run": "benchmarks", "scale": "benchmarks.scale"}[command]
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert f"benchmarks/{command}: error: " in ended.stderr


# What is compared


def test_a_bot_of_the_stand_in_has_as_many_series_as_is_said(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(configuration("http://127.0.0.1:9", 2), encoding="utf-8")
    now = datetime.now(UTC)
    (workspace,) = load([str(file)], {}, now.date()).workspaces
    one, other = planned_calls(workspace, workspace.bots)
    content = answer(local_day(now, workspace.zone).isoformat(), 1)

    assert one.target != other.target
    assert [entry.metric for entry in one.entries] == list(METRICS)
    found = sum(
        len(entry.report.read(one.api.part(content, entry.metric), entry.reading(now)))
        for entry in one.entries
    )
    last_tries = 4 * len(one.entries)
    assert found + last_tries == SERIES
    assert {"report", "window"} == set(REPORT_LABELS)


def test_a_report_of_the_stand_in_is_as_long_as_is_said() -> None:
    assert 6800 < len(json.dumps(answer("2026-11-22", 1))) < 7200


def test_no_local_midnight_comes_while_a_benchmark_runs(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(configuration("http://127.0.0.1:9", 1), encoding="utf-8")
    (workspace,) = load([str(file)], {}, datetime.now(UTC).date()).workspaces

    assert datetime.now(workspace.zone).hour in {2, 3, 4}


def test_peers_are_given_what_is_about_bots_and_no_more() -> None:
    assert held(PAGE) == "".join(PAGE.splitlines(keepends=True)[:3])


def test_series_are_equal_whatever_the_order_of_their_labels() -> None:
    (name, labels), value = next(iter(series(PAGE).items()))

    assert (name, value) == ("seasalt_csat_responses", 7.0)
    assert labels == {("workspace", "w"), ("bot_id", "b"), ("bot", 'B \\"1\\"')}
    turned = 'seasalt_csat_responses{bot="B \\"1\\"",job="x",bot_id="b",workspace="w"} 7e0\n'
    assert series(turned, without=frozenset({"job"})) == series(PAGE)


@pytest.fixture(scope="module", params=["HTTP/1.0", "HTTP/1.1"])
def peer(request: pytest.FixtureRequest) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = request.param

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_peer_whose_answer_is_another_is_not_timed(peer: ThreadingHTTPServer) -> None:
    server = Server("peer", peer.server_port, 0)
    wanted = series(PAGE)

    checked(server, wanted, frozenset())
    with pytest.raises(RuntimeError, match="peer answers 1 series, 2 of them wrong"):
        checked(server, dict.fromkeys(wanted, 8.0), frozenset())


def test_the_client_reads_one_answer_after_the_other(peer: ThreadingHTTPServer) -> None:
    with closing(Scraper(peer.server_port)) as scraper:
        assert all(scraper.scrape() > 0 for _ in range(3))


def test_the_client_takes_no_other_answer_for_a_page(peer: ThreadingHTTPServer) -> None:
    assert page(peer.server_port, "/other") == ""
    with closing(Scraper(peer.server_port, "/other")) as scraper, pytest.raises(RuntimeError):
        scraper.scrape()


def test_growth_is_what_more_bots_add() -> None:
    def size(bots: int, megabytes: float, milliseconds: float) -> Size:
        return Size(
            bots=bots,
            filled=1,
            round=590,
            requests=bots,
            planned=bots,
            report_ms=milliseconds,
            scrape_ms=milliseconds,
            megabytes=megabytes,
            most_megabytes=megabytes,
            answered=100,
            held_ms=1,
            late_ms=1,
            noise_ms=1,
            noise_late_ms=1,
        )

    found = figures([size(100, 51, 2), size(1000, 60, 3), size(10_000, 150, 4)])

    assert found["scale/cpu"] == 2
    assert found["scale/linear"] == pytest.approx(1)
    assert found["scale/scrape"] == pytest.approx(4 / 3)
    assert found["scale/requests"] == 1
