"""A real Prometheus scrapes the exporter, and its answers are the sandbox's own books."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
import yaml
from e2e.books import Books, Entry, Portal, SeaChat, SeaX, Truth, Truths
from e2e.programs import LOOPBACK, Command, Demo, served
from support.pagecheck import Series
from support.processes import Running, answered, get, started, wait_for

from exporter.sandbox import Sandbox

ROOT: Final = Path(__file__).parents[2]
WINDOWS: Final = ("today", "last_7_days", "last_30_days")
LABELS: Final = ["Support", "Resolved by Bot"]
OTHER_LABELS: Final = ["Billing", "Unanswered"]
FROM_THE_API: Final = '__name__=~"seasalt_.*",__name__!~"seasalt_(up|series|report|api|schema|workspace|exporter)(_.*)?"'
JOBS: Final = {
    "demo": [],
    "text": ["PrometheusText0.0.4"],
    "openmetrics": ["OpenMetricsText1.0.0"],
}
ZONES: Final = (
    *("Pacific/Auckland", "Australia/Sydney", "Asia/Tokyo", "Asia/Kolkata", "Asia/Dubai"),
    *("Europe/Berlin", "Atlantic/Azores", "America/Sao_Paulo", "America/New_York"),
    *("America/Denver", "America/Anchorage", "Pacific/Honolulu", "Pacific/Pago_Pago"),
)
"""Enough of them for one to be near noon whenever the tests are run."""

BY_HAND: Final = "Order Desk"
"""A bot that the configuration names itself, and names differently."""
DISCOVERED: Final = ("Customer Care", "Store Guide", "Help Center", "Returns Desk")
"""The bots of the list that are polled; the last one is switched off, and nobody writes to it."""
EXCLUDED: Final = ("Appointments", "Staff *", "Visit *")


def over(metric: str, *windows: str, **options: object) -> list[Entry]:
    """An item of `metrics:` for each window."""
    return [{"metric": metric, "window": window, **options} for window in windows]


SHARED: Final = [
    *over("activity_trend", *WINDOWS),
    *over("activity_trend", *WINDOWS, message_type="calls"),
    *over("activity_trend", "this_year", time_unit="month"),
    *over("label_usage", *WINDOWS),
    *over("label_usage", "yesterday", labels=LABELS),
    *over("total_usage", *WINDOWS, "last_month"),
    *over("conversation_breakdown", *WINDOWS),
    {"metric": "conversation_overview_yearly"},
    {"metric": "conversation_overview_yearly", "year": "previous", "name": "last_year"},
]
"""What the three APIs can all be asked in the same words."""
SEACHAT: Final = [
    *SHARED,
    *over("conversation_overview", "last_7_days", "last_30_days"),
    *over("conversation_overview", "last_30_days", "last_90_days", exclude_empty_response=True),
    *over("communication_volume", *WINDOWS),
    *over("label_relation", "last_30_days", labels=LABELS),
    *over("total_usage", "all"),
]
OF_A_BOT: Final = [*SEACHAT, *over("csat", "last_30_days", "all")]
OF_ALL_BOTS: Final = [
    *(
        {**entry, "scope": "workspace", "name": f"all_bots_{place}"}
        for place, entry in enumerate(SEACHAT)
    ),
    {"metric": "label_overview"},
]
PORTAL: Final = [
    *SHARED,
    *over("conversation_overview", *WINDOWS),
    *over("conversation_overview", "last_week", "last_30_days", exclude_empty_response=True),
    *(
        entry
        for status in ("RESOLVED", "PENDING", "FOLLOW_UP")
        for entry in (
            *over("conversation_overview", *WINDOWS, handling_status=status, name=status.lower()),
            *over(
                "conversation_overview",
                "this_month",
                handling_status=status,
                exclude_empty_response=True,
                time_unit="year",
                name=f"replied_{status.lower()}",
            ),
        )
    ),
    {"metric": "today_communication_volume"},
    *over("label_usage", "yesterday", labels=OTHER_LABELS, time_unit="year", name="other_labels"),
]
SEAX: Final = [
    *SHARED,
    *over("conversation_overview", "last_day", "last_30_days"),
    *over("conversation_overview", "last_7_days", "last_30_days", exclude_empty_response=True),
    *over("communication_volume", *WINDOWS),
    *over("label_usage", "yesterday", labels=OTHER_LABELS, name="other_labels"),
    {"metric": "label_overview"},
    *over("agent_activity", "today", "last_month"),
    *over("agent_activity", "last_7_days", agent_labels=True),
    *over(
        "agent_activity",
        *("yesterday", "last_30_days"),
        agents=["maria.lopez@example.com", "agent_user_2"],
        agent_labels=True,
    ),
]
POLLED: Final = (1 + len(DISCOVERED)) * len(OF_A_BOT) + len(OF_ALL_BOTS) + len(PORTAL) + len(SEAX)
REPORTS: Final = POLLED + 1  # and the list of bots


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus that has scraped every target a few times.

    Attributes:
        url: Where its API is.
        process: The program.
        books: What the exporter should say of the sandbox that stands still.
        now: When that is, in Unix time.
    """

    url: str
    process: Running
    books: dict[Series, Truth]
    now: float

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that a query gives now."""
        answer = get(f"{self.url}/api/v1/query?query={quote(query)}")
        found = json.loads(answer.body)
        assert found["status"] == "success", found
        assert "warnings" not in found
        assert "infos" not in found
        return [(row["metric"], float(row["value"][1])) for row in found["data"]["result"]]

    def values(self, query: str) -> list[float]:
        """The values alone."""
        return [value for _, value in self.ask(query)]

    def series(self, selector: str) -> dict[Series, float]:
        """The series of a selector without what scraping adds to them."""
        return {
            (
                labels.pop("__name__"),
                frozenset(pair for pair in labels.items() if pair[0] not in {"job", "instance"}),
            ): value
            for labels, value in self.ask(selector)
        }


@pytest.fixture(scope="module")
def scraping(
    prometheus: str, exporter: Command, demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    now = datetime.now(UTC).replace(microsecond=0)
    zone = near_noon(now)
    sandbox = Sandbox.make(now=lambda: now, workspaces=2, bots=8, conversations_per_day=4)
    counted = list(everything(Books(sandbox, int(now.timestamp()), zone)))
    books = dict(counted)
    assert len(books) == len(counted)
    with served(sandbox) as api:
        config = folder / "seasalt.yml"
        config.write_text(json.dumps(configuration(api.sandbox, api.url, zone)))
        serve = [*exporter, "serve", f"--config.file={config}", f"--web.listen-address={LOOPBACK}"]
        with started(serve) as still:
            still_address = still.said(r"msg=listening address=(\S+)")
            with started(prometheus_on(prometheus, folder, demo.page, still_address)) as process:
                address = process.said(r'msg="Listening on".* address=(\S+)')
                found = Prometheus(f"http://{address}", process, books, now.timestamp())
                answered(f"{found.url}/-/ready")
                seen = f'count by (job) (seasalt_report_success{{job!="demo"}}) == {REPORTS}'
                wait_for(
                    lambda: len(found.ask(seen)) == 2,
                    "no whole round",
                    within=30,
                    more=lambda: still.stderr,
                )
                often = "count_over_time(up[1m]) >= 3"
                wait_for(lambda: len(found.ask(often)) == len(JOBS), "no three scrapes")
                yield found


def everything(books: Books) -> Truths:
    """Each series that the configuration leads to, with what it should be."""
    yield from SeaChat(books, books.bots, workspace="still").everything(OF_ALL_BOTS)
    for bot in books.bots:
        shown = {"bot": "By hand", "team": "orders"} if bot.name == BY_HAND else {"bot": bot.name}
        account = SeaChat(books, [bot], workspace="still", bot_id=bot.id, **shown)
        yield from account.in_the_list()
        if bot.name in {*DISCOVERED, BY_HAND}:
            yield from account.everything(OF_A_BOT)
    portal = Portal(books, books.bots, workspace="still-portal", team="all")
    yield from portal.everything(PORTAL)
    yield from SeaX(books, books.bots, workspace="still-seax").everything(SEAX)


def near_noon(now: datetime) -> ZoneInfo:
    """The zone in which midnight is furthest, so that no window moves on during the tests."""

    def from_noon(zone: ZoneInfo) -> float:
        wall = now.astimezone(zone)
        return abs(wall.hour * 60 + wall.minute - 720)

    return min(map(ZoneInfo, ZONES), key=from_noon)


def configuration(sandbox: Sandbox, url: str, zone: ZoneInfo) -> dict[str, Any]:
    """A workspace of each API, all three over the same bots of the sandbox."""
    asked = sandbox.workspaces[0]
    by_hand = next(bot for bot in asked.bots if bot.name == BY_HAND)
    return {
        "interval": "1h",
        "requests_per_minute": 6000,
        "timezone": zone.key,
        "workspaces": [
            {
                "name": "still",
                "api": "seachat",
                "base_url": url,
                "api_key": asked.seachat_key,
                "workspace_id": asked.id,
                "bots": [{"id": by_hand.id, "name": "By hand", "labels": {"team": "orders"}}],
                "discover_bots": {"exclude": EXCLUDED},
                "metrics": [*OF_A_BOT, *OF_ALL_BOTS],
            },
            {
                "name": "still-portal",
                "api": "portal",
                "base_url": url,
                "api_key": asked.portal_key,
                "labels": {"team": "all"},
                "metrics": PORTAL,
            },
            {
                "name": "still-seax",
                "api": "seax",
                "base_url": url,
                "api_key": asked.seax_key,
                "metrics": SEAX,
            },
        ],
    }


def prometheus_on(program: str, folder: Path, demo: str, still: str) -> list[str]:
    """The command of a Prometheus that scrapes the demo, and the other exporter in both formats."""
    jobs = []
    for job, protocols in JOBS.items():
        target = demo.removeprefix("http://").removesuffix("/metrics") if job == "demo" else still
        jobs.append(
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            | ({"scrape_protocols": protocols} if protocols else {})
        )
    settings = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": settings, "scrape_configs": jobs}))
    return [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}",
        "--log.level=debug",
    ]


def test_every_scrape_is_taken_whole_and_without_a_warning(scraping: Prometheus) -> None:
    answer = json.loads(get(f"{scraping.url}/api/v1/targets?state=active").body)
    targets = answer["data"]["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == set(JOBS)
    assert [target["lastError"] for target in targets] == [""] * len(JOBS)
    assert scraping.values("min_over_time(up[5m])") == [1] * len(JOBS)
    scraped = scraping.ask("scrape_samples_scraped - scrape_samples_post_metric_relabeling")
    assert [value for _, value in scraped] == [0] * len(JOBS)

    own = get(f"{scraping.url}/metrics").body.decode()
    for name in (
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_order_total",
        "prometheus_target_scrapes_sample_out_of_bounds_total",
    ):
        assert f"\n{name} 0\n" in own
    complaints = [
        line for line in scraping.process.stderr.splitlines() if re.search("level=(WARN|ERR)", line)
    ]
    assert complaints == []


@pytest.mark.parametrize("api", ["seachat", "portal", "seax"])
def test_each_value_is_what_the_books_say(
    scraping: Prometheus, api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    books = {
        series: truth.value
        for series, truth in scraping.books.items()
        if ("api", api) in series[1] and not truth.growing
    }
    grow = {series for series, truth in scraping.books.items() if truth.growing}
    found = scraping.series(f'{{job="text",api="{api}",{FROM_THE_API}}}')
    still = {series: value for series, value in found.items() if series not in grow}
    assert still.keys() - books.keys() == set()
    assert books.keys() - still.keys() == set()
    wrong = {
        series: (value, books[series])
        for series, value in still.items()
        if not math.isclose(value, books[series], rel_tol=1e-9, abs_tol=0)
    }
    assert wrong == {}
    assert len(set(still.values())) > len(still) / 5  # not all alike
    assert len(scraping.books) >= 1_000
    with capsys.disabled():
        print(f" [{len(found)} values of {api}]", end="")


@pytest.mark.parametrize("scope", ['bot_id!=""', 'bot_id=""'], ids=["bots", "workspaces"])
def test_the_documented_share_of_unanswered_conversations_is_the_books(
    scraping: Prometheus, scope: str
) -> None:
    page = (ROOT / "docs" / "reading-the-numbers.md").read_text(encoding="utf-8")
    _, _, told = page.partition("\n## The share of unanswered conversations\n")
    section, _, _ = told.partition("\n## ")
    (written,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (query,) = re.findall(r"```promql\n(.*?)```", section, re.DOTALL)
    polled = yaml.safe_load(written)["metrics"]
    assert all(entry in entries for entry in polled for entries in (OF_A_BOT, PORTAL, SEAX))

    found = {
        (labels["workspace"], labels.get("bot_id", "")): share
        for labels, share in scraping.ask(query.replace('bot_id!=""', scope))
        if labels["job"] == "text"
    }

    books = {
        (labels["workspace"], labels.get("bot_id", ""), "exclude_empty_response" in labels): truth
        for (name, pairs), (truth, _) in scraping.books.items()
        if name == "seasalt_conversation_overview_conversations"
        and (labels := dict(pairs))["window"] == "last_30_days"
        and "handling_status" not in labels
    }
    assert found == pytest.approx(
        {
            (workspace, bot): 1 - books[workspace, bot, True] / everyone
            for (workspace, bot, without), everyone in books.items()
            if everyone and not without and bool(bot) == (scope == 'bot_id!=""')
        }
    )
    assert len(found) > 2
    assert 0 < min(found.values()) <= max(found.values()) < 1


def test_agents_statuses_that_go_on_last_until_the_poll(scraping: Prometheus) -> None:
    found = scraping.series(f'{{job="text",{FROM_THE_API}}}')
    polled = {
        labels["window"]: at
        for labels, at in scraping.ask(
            'seasalt_report_last_success_timestamp_seconds{job="text",report="agent_activity"}'
        )
    }
    late: dict[str, list[float]] = {}
    for series, truth in scraping.books.items():
        if truth.growing:
            window = dict(series[1])["window"]
            seconds = (found[series] - truth.value) / truth.growing
            late.setdefault(window, []).append(scraping.now + seconds)
    assert late.keys() >= {"last_7_days", "last_30_days"}
    for window, instants in late.items():
        assert max(instants) - min(instants) < 0.001
        assert 0 <= polled[window] - max(instants) < 10  # asked for just before it came


def test_text_and_openmetrics_bring_the_same_series(scraping: Prometheus) -> None:
    text, openmetrics = (
        scraping.series(f'{{job="{job}",__name__!~"up|scrape_.*"}}')
        for job in ("text", "openmetrics")
    )
    assert text.keys() == openmetrics.keys()
    assert {name for name, _ in text} > {"seasalt_up", "process_resident_memory_bytes"}
    stays = scraping.series(f'{{job="text",{FROM_THE_API}}}').keys()
    assert stays == scraping.books.keys()
    assert {series: text[series] for series in stays} == {
        series: openmetrics[series] for series in stays
    }


def test_every_report_of_every_target_succeeds_and_is_fresh(scraping: Prometheus) -> None:
    up = scraping.ask("seasalt_up")
    assert {labels["job"] for labels, _ in up} == set(JOBS)
    assert {value for _, value in up} == {1}
    assert scraping.values("seasalt_report_success == 0") == []
    assert len(scraping.values("seasalt_report_success")) > 100
    ages = scraping.values("time() - seasalt_report_last_success_timestamp_seconds")
    assert len(ages) > 100
    assert min(ages) > -5
    allowed = (
        "clamp_min(seasalt_report_interval_seconds, 120)"  # the demo is shared, and not always new
    )
    late = f"time() - seasalt_report_last_success_timestamp_seconds > {allowed}"
    assert scraping.values(late) == []
    interval = 'seasalt_report_interval_seconds{job="text"}'
    assert set(scraping.values(interval)) == {3600, 6 * 3600}
    assert scraping.values('sum(seasalt_api_requests_total{outcome!="success"})') == [0]
    for nothing in ("seasalt_schema_drift_total", "seasalt_series_dropped_total"):
        assert scraping.values(f"{nothing} > 0") == []
