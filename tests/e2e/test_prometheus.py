"""A real Prometheus scrapes the exporter, and its answers are the sandbox's own books."""

import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import LOOPBACK, Command, Demo, served
from support.pagecheck import Series
from support.processes import Running, answered, get, started, wait_for

from exporter.sandbox import Sandbox, SandboxBot

WINDOWS: Final = ("today", "last_7_days", "last_30_days")
LABELS: Final = ("Support", "Resolved by Bot")
FROM_THE_API: Final = "seasalt_(conversation|communication|activity|label|csat|total)_.*"
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

WORKSPACE: Final[list[dict[str, Any]]] = [
    *({"metric": "conversation_overview", "window": window} for window in WINDOWS[1:]),
    *({"metric": "communication_volume", "window": window} for window in WINDOWS),
    *({"metric": "activity_trend", "window": window} for window in WINDOWS),
    *(
        {"metric": "activity_trend", "window": window, "message_type": "calls"}
        for window in WINDOWS
    ),
    *({"metric": "label_usage", "window": window} for window in WINDOWS),
    *({"metric": "conversation_breakdown", "window": window} for window in WINDOWS),
    *({"metric": "total_usage", "window": window} for window in (*WINDOWS, "all")),
    {"metric": "label_relation", "labels": list(LABELS), "window": "last_30_days"},
    {"metric": "conversation_overview_yearly"},
]
BOTS: Final[list[dict[str, Any]]] = [
    *WORKSPACE,
    {"metric": "csat", "window": "last_30_days"},
    {"metric": "csat", "window": "all"},
]
ENTRIES: Final = [
    *BOTS,
    *(
        entry
        | {"scope": "workspace"}
        | {"name": f"all_bots_{entry['metric']}_{entry.get('message_type', '')}"}
        for entry in WORKSPACE
    ),
    {"metric": "label_overview"},
]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus that has scraped every target a few times.

    Attributes:
        url: Where its API is.
        process: The program.
        books: What the exporter should say of the sandbox that stands still.
    """

    url: str
    process: Running
    books: dict[Series, float]

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
    now = datetime.now(UTC)
    zone = near_noon(now)
    sandbox = Sandbox.make(now=lambda: now, workspaces=2, days=120)
    books = dict(Books(sandbox, int(now.timestamp()), zone).everything())
    with served(sandbox) as api:
        config = folder / "seasalt.yml"
        config.write_text(json.dumps(configuration(api.sandbox, api.url, zone)))
        serve = [*exporter, "serve", f"--config.file={config}", f"--web.listen-address={LOOPBACK}"]
        with started(serve) as still:
            still_address = still.said(r"msg=listening address=(\S+)")
            with started(prometheus_on(prometheus, folder, demo.page, still_address)) as process:
                address = process.said(r'msg="Listening on".* address=(\S+)')
                found = Prometheus(f"http://{address}", process, books)
                answered(f"{found.url}/-/ready")
                reports = 5 * len(WORKSPACE) + 4 * 2 + 1
                seen = f'count by (job) (seasalt_report_success{{job!="demo"}}) == {reports}'
                wait_for(lambda: len(found.ask(seen)) == 2, "no whole round", more=lambda: still)
                often = "count_over_time(up[1m]) >= 3"
                wait_for(lambda: len(found.ask(often)) == len(JOBS), "no three scrapes")
                yield found


def near_noon(now: datetime) -> ZoneInfo:
    """The zone in which midnight is furthest, so that no window moves on during the tests."""

    def from_noon(zone: ZoneInfo) -> float:
        wall = now.astimezone(zone)
        return abs(wall.hour * 60 + wall.minute - 720)

    return min(map(ZoneInfo, ZONES), key=from_noon)


def configuration(sandbox: Sandbox, url: str, zone: ZoneInfo) -> dict[str, Any]:
    """Every report over several windows, once for each bot and once for the workspace."""
    workspace = sandbox.workspaces[0]
    return {
        "interval": "1h",
        "requests_per_minute": 6000,
        "timezone": zone.key,
        "workspaces": [
            {
                "name": "still",
                "api": "seachat",
                "base_url": url,
                "api_key": workspace.seachat_key,
                "bots": [{"id": bot.id, "name": bot.name} for bot in workspace.bots],
                "metrics": ENTRIES,
            }
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


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant up to another one, in Unix time."""

    since: int
    until: int

    @property
    def before(self) -> "Span":
        """The equally long one that ends where this one begins."""
        return Span(2 * self.since - self.until, self.since)


class Books:
    """What every series should be, counted in the sandbox's tables and nowhere else."""

    def __init__(self, sandbox: Sandbox, now: int, zone: ZoneInfo) -> None:
        self.now = now
        self.zone = zone
        self.workspace = sandbox.workspaces[0]
        self.connection: sqlite3.Connection = sandbox.connection
        self.connection.create_function("wall", 2, self.wall, deterministic=True)

    def wall(self, at: int, form: str) -> str:
        """An instant by the clocks of the zone."""
        return datetime.fromtimestamp(at, self.zone).strftime(form)

    def span(self, window: str) -> Span:
        """From the first midnight of a window to the one after today."""
        today = datetime.fromtimestamp(self.now, self.zone).date()
        if window == "all":
            return Span(0, self.now)
        days = {"today": 1, "last_7_days": 7, "last_30_days": 30}[window]
        return Span(
            self.midnight(today - timedelta(days=days - 1)),
            self.midnight(today + timedelta(days=1)),
        )

    def midnight(self, day: date) -> int:
        """Where a day begins."""
        return int(datetime.combine(day, time(), self.zone).timestamp())

    def everything(self) -> Iterator[tuple[Series, float]]:
        """Each series that the configuration leads to, with its value."""
        bots = self.workspace.bots
        yield from self.label_overview()
        for bot, numbers in (
            (None, [bot.number for bot in bots]),
            *((b, [b.number]) for b in bots),
        ):
            yield from Target(self, bot, numbers).everything()

    def label_overview(self) -> Iterator[tuple[Series, float]]:
        """Every label that the workspace can use, over all time."""
        rows = self.connection.execute(
            "SELECT id, name, is_system, (SELECT count(*) FROM label_application a JOIN bot b"
            "  ON b.number = a.bot WHERE a.label = label.number AND b.workspace = 0 AND a.at < ?)"
            " FROM label WHERE workspace = 0 OR workspace IS NULL",
            (self.now,),
        )
        for label_id, name, is_system, uses in rows:
            labels = {"label_id": label_id, "label": name, "system": ("false", "true")[is_system]}
            yield Target(self, None, []).one("label_overview_conversations", uses, **labels)


class Target:
    """The series of one bot, or of all bots together."""

    def __init__(self, books: Books, bot: SandboxBot | None, numbers: Sequence[int]) -> None:
        self.books = books
        self.bot = bot
        self.among = f"IN ({', '.join(map(str, numbers))})"

    def one(self, name: str, value: float, **labels: str) -> tuple[Series, float]:
        """A series with the labels that all have."""
        common = {"api": "seachat", "workspace": "still"}
        if self.bot:
            common |= {"bot_id": self.bot.id, "bot": self.bot.name}
        return (f"seasalt_{name}", frozenset((common | labels).items())), value

    def rows(self, what: str, table: str, at: str, span: Span, end: str = "") -> list[Any]:
        """What a query finds among what happened to the bots in a span, up to now."""
        return self.books.connection.execute(
            f"SELECT {what} FROM {table} WHERE {table.split(maxsplit=1)[0]}.bot {self.among}"  # noqa: S608
            f" AND {at} >= ? AND {at} < ? {end}",
            (span.since, min(span.until, self.books.now)),
        ).fetchall()

    def count(self, table: str, at: str, span: Span, end: str = "", what: str = "count(*)") -> int:
        """One number of a span."""
        return int(self.rows(what, table, at, span, end)[0][0] or 0)

    def messages(self, span: Span, *senders: str) -> int:
        """Messages of some senders, or of all."""
        wanted = ", ".join(f"'{sender}'" for sender in senders)
        return self.count("message", "at", span, f"AND sender IN ({wanted})" if senders else "")

    def calls(self, span: Span, direction: str = "") -> int:
        """Calls of one direction, or of both."""
        wanted = f"AND direction = '{direction}'" if direction else ""
        return self.count("call", "started_at", span, wanted)

    def everything(self) -> Iterator[tuple[Series, float]]:
        """Each series of the target."""
        for window in WINDOWS:
            span = self.books.span(window)
            yield from self.volume(window, span)
            yield from self.activity(window, span)
            yield from self.label_usage(window, span)
            yield from self.breakdown(window, span)
        for window, days in (("last_7_days", 7), ("last_30_days", 30)):
            now = self.books.now
            yield from self.overview(window, Span(now - days * 86_400, now))
        for window in (*WINDOWS, "all"):
            yield from self.usage(window, self.books.span(window))
        yield from self.label_relation("last_30_days")
        yield from self.yearly()
        if self.bot:
            for window in ("last_30_days", "all"):
                yield from self.csat(window, self.books.span(window))

    def volume(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """communication_volume."""
        name = "communication_volume"
        for direction in ("inbound", "outbound"):
            calls = self.calls(span, direction)
            yield self.one(f"{name}_calls", calls, window=window, direction=direction)
        inbound = self.messages(span, "CUSTOMER")
        yield self.one(f"{name}_non_voice_messages", inbound, window=window, direction="inbound")

    def activity(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """activity_trend, messages and calls."""
        if self.messages(span):
            for sender in ("CUSTOMER", "AGENT", "BOT", "SYSTEM"):
                value = self.messages(span, sender)
                labels = {"window": window, "sender": sender.lower()}
                yield self.one("activity_trend_messages", value, **labels)
        if self.calls(span):
            for direction in ("inbound", "outbound"):
                value = self.calls(span, direction)
                labels = {"window": window, "direction": direction}
                yield self.one("activity_trend_calls", value, **labels)
        for of, number in (("messages", self.messages), ("calls", self.calls)):
            ratio = change(number(span), number(span.before))
            yield self.one("activity_trend_change_ratio", ratio, window=window, of=of)

    def label_usage(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """label_usage."""
        table = "label_application JOIN label ON label.number = label_application.label"
        for label, uses in self.rows("name, count(*)", table, "at", span, "GROUP BY name"):
            yield self.one("label_usage_uses", uses, window=window, label=label)

    def breakdown(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """conversation_breakdown."""
        name = "conversation_breakdown"
        table = "message JOIN conversation ON conversation.number = message.conversation"
        what = (
            "channel, count(DISTINCT CASE sender WHEN 'CUSTOMER' THEN user END),"
            " sum(sender = 'CUSTOMER'), sum(sender IN ('AGENT', 'BOT'))"
        )
        end = "AND sender <> 'SYSTEM' GROUP BY channel"
        for channel, users, inbound, outbound in self.rows(what, table, "at", span, end):
            labels = {"window": window, "channel": channel}
            yield self.one(f"{name}_channel_users", users, **labels)
            for direction, value in (("inbound", inbound), ("outbound", outbound)):
                yield self.one(f"{name}_channel_messages", value, **labels, direction=direction)
        for label, form, names in (
            ("weekday", "%A", [f"{date(2024, 1, day):%A}" for day in range(1, 8)]),
            ("hour", "%H", [f"{hour:02}" for hour in range(24)]),
        ):
            end = "AND sender = 'CUSTOMER' GROUP BY 1"
            found = dict(self.rows(f"wall(at, '{form}'), count(*)", "message", "at", span, end))
            for value in names:
                labels = {"window": window, label: value}
                yield self.one(f"{name}_{label}_messages", found.get(value, 0), **labels)

    def overview(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """conversation_overview."""
        name = "conversation_overview"
        live = f"AND live_agent_at < {self.books.now}"

        def numbers(of: Span) -> dict[str, int]:
            return {
                "conversations": self.count("conversation", "started_at", of),
                "messages": self.messages(of),
                "bot_messages": self.messages(of, "BOT"),
                "agent_messages": self.messages(of, "AGENT"),
                "live_agent_requests": self.count("conversation", "started_at", of, live),
            }

        before = numbers(span.before)
        for of, value in numbers(span).items():
            yield self.one(f"{name}_{of}", value, window=window)
            yield self.one(f"{name}_change_ratio", change(value, before[of]), window=window, of=of)
        users = self.count("conversation", "started_at", span, what="count(DISTINCT user)")
        yield self.one(f"{name}_users", users, window=window)
        for period, edges in (("current", span), ("previous", span.before)):
            for edge, at in (("start", edges.since), ("end", edges.until)):
                family = f"{name}_period_{edge}_timestamp_seconds"
                yield self.one(family, at, window=window, period=period)

    def usage(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """total_usage: the API gives minutes with two decimals."""
        so_far = f"sum(min(seconds, {self.books.now} - started_at))"
        minutes = round(self.count("call", "started_at", span, what=so_far) / 60, 2)
        yield self.one("total_usage_voice_seconds", minutes * 60, window=window)
        responses = self.messages(span, "AGENT", "BOT")
        yield self.one("total_usage_chat_responses", responses, window=window)

    def label_relation(self, window: str) -> Iterator[tuple[Series, float]]:
        """label_relation: conversations that got the labels in the window."""
        with_label = [
            {
                conversation
                for (conversation,) in self.rows(
                    "conversation",
                    "label_application JOIN label ON label.number = label_application.label",
                    "at",
                    self.books.span(window),
                    f"AND name = '{label}'",
                )
            }
            for label in LABELS
        ]
        base, both = len(with_label[0]), len(with_label[0] & with_label[1])
        labels = dict(zip(("base_label", "comparison_label"), LABELS, strict=True))
        for name, value in (("base_conversations", base), ("both_conversations", both)):
            yield self.one(f"label_relation_{name}", value, window=window, **labels)
        if base:
            yield self.one("label_relation_ratio", round(both / base, 4), window=window, **labels)

    def csat(self, window: str, span: Span) -> Iterator[tuple[Series, float]]:
        """csat: the API gives averages and percents with two decimals."""
        rows = self.rows("rating, count(*)", "survey_answer", "created_at", span, "GROUP BY rating")
        by_rating = dict.fromkeys(range(1, 6), 0) | dict(rows)
        total = sum(by_rating.values())
        yield self.one("csat_responses", total, window=window)
        for rating, value in by_rating.items():
            yield self.one("csat_rating_responses", value, window=window, rating=str(rating))
        if total:
            average = sum(rating * value for rating, value in by_rating.items()) / total
            yield self.one("csat_average_rating", round(average, 2), window=window)
            satisfied = round(100 * (by_rating[4] + by_rating[5]) / total, 2) / 100
            yield self.one("csat_satisfaction_ratio", satisfied, window=window)

    def yearly(self) -> Iterator[tuple[Series, float]]:
        """conversation_overview_yearly of the current year."""
        name = "conversation_overview_yearly"
        this = datetime.fromtimestamp(self.books.now, self.books.zone).year
        span = Span(*(self.books.midnight(date(year, 1, 1)) for year in (this, this + 1)))
        conversations = self.count("conversation", "started_at", span)
        rows = self.rows("wall(at, '%m'), count(*)", "message", "at", span, "GROUP BY 1")
        months = {f"{month:02}": 0 for month in range(1, 13)} | dict(rows)
        messages = sum(months.values())
        mean = round(messages / max(conversations, 1), 2)
        year = str(this)
        yield self.one(f"{name}_conversations", conversations, year=year)
        yield self.one(f"{name}_messages", messages, year=year)
        yield self.one(f"{name}_messages_per_conversation", mean, year=year)
        for month, value in months.items():
            yield self.one(f"{name}_month_messages", value, year=year, month=month)


def change(current: int, previous: int) -> float:
    """The ratio that follows from the API's percents, which have two decimals."""
    if not previous:
        return 1.0 if current else 0.0
    return round(100 * (current - previous) / previous, 2) / 100


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


def test_each_value_is_what_the_books_say(scraping: Prometheus) -> None:
    found = scraping.series(f'{{job="text",__name__=~"{FROM_THE_API}"}}')
    assert len(scraping.books) >= 1_000
    assert found.keys() - scraping.books.keys() == set()
    assert scraping.books.keys() - found.keys() == set()
    wrong = {
        series: (value, scraping.books[series])
        for series, value in found.items()
        if not math.isclose(value, scraping.books[series], rel_tol=1e-9, abs_tol=0)
    }
    assert wrong == {}
    assert len({value for value in found.values() if value}) > 200  # not all alike


def test_text_and_openmetrics_bring_the_same_series(scraping: Prometheus) -> None:
    text, openmetrics = (
        scraping.series(f'{{job="{job}",__name__!~"up|scrape_.*"}}')
        for job in ("text", "openmetrics")
    )
    assert text.keys() == openmetrics.keys()
    assert {name for name, _ in text} > {"seasalt_up", "process_resident_memory_bytes"}
    stays = [series for series in text if re.fullmatch(FROM_THE_API, series[0])]
    assert [text[series] for series in stays] == [openmetrics[series] for series in stays]


def test_every_report_of_every_target_succeeds_and_is_fresh(scraping: Prometheus) -> None:
    up = scraping.ask("seasalt_up")
    assert {labels["job"] for labels, _ in up} == set(JOBS)
    assert {value for _, value in up} == {1}
    assert scraping.values("seasalt_report_success == 0") == []
    assert len(scraping.values("seasalt_report_success")) > 100
    ages = scraping.values("time() - seasalt_report_last_success_timestamp_seconds")
    assert len(ages) > 100
    assert -5 < min(ages) <= max(ages) < 120
    interval = 'seasalt_report_interval_seconds{job="text"}'
    assert set(scraping.values(interval)) == {3600, 6 * 3600}
    assert scraping.values('sum(seasalt_api_requests_total{outcome!="success"})') == [0]


def test_the_hours_of_a_window_add_up_to_its_weekdays(scraping: Prometheus) -> None:
    by = "sum by (job, workspace, bot_id, window)"
    family = "seasalt_conversation_breakdown"
    apart = scraping.values(f"{by} ({family}_hour_messages) - {by} ({family}_weekday_messages)")
    assert len(apart) > 2 * 5 * len(WINDOWS)  # two jobs, four bots and all together, and the demo
    assert set(apart) == {0}
    assert min(scraping.values(f'{by} ({family}_hour_messages{{window="last_30_days"}})')) > 0


def test_ratios_of_satisfaction_are_from_0_to_1(scraping: Prometheus) -> None:
    ratios = scraping.values("seasalt_csat_satisfaction_ratio")
    assert len(ratios) >= 8
    assert 0 <= min(ratios) <= max(ratios) <= 1
    averages = scraping.values("seasalt_csat_average_rating")
    assert 1 <= min(averages) <= max(averages) <= 5
