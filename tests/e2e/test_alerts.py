"""From a bot that falls silent to a message and back: exporter, Prometheus, rules, Alertmanager.

Weeks of the exporter's pages are loaded into Prometheus: normal days, then in the last hours a bot
without a message and a bot with bad ratings. The exporter goes on polling the same sandbox, whose
clock is now the real one. What the rules read of their own past is backfilled too. No expression is
changed; what has to last an hour lasts eleven seconds.
"""

import json
import re
import shutil
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
import yaml
from e2e.programs import LOOPBACK, ROOT, Command, program, served
from support.alerting import with_templates
from support.history import LABELS, Turn, blocks, every, layers, record, write
from support.processes import Running, answered, free_port, get, started, wait_for
from support.webhook import Webhook, filled_in, listening

from exporter.sandbox import Sandbox, SandboxBot, SandboxWorkspace
from exporter.sandbox.companies import make_workspaces

pytestmark = pytest.mark.takes_minutes

Json = dict[str, Any]

CONFIG: Final = ROOT / "config"
WORKSPACES: Final = 6
"""So many that it is about noon in one of them, whatever the time is."""
BOTS: Final = 3
BUSY: Final = 200.0
"""Conversations of an average bot in a day, so that 120 messages are usual in any three hours."""
RECORDED: Final = ("target:seasalt_messages_3h:usual", "target:seasalt_messages_3h:sum")
"""What looks back on recorded series, which have no history unless they are given one."""
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
SILENT_FOR: Final = 3.5 * HOUR
BAD_FOR: Final = 2 * HOUR
AGO: Final = (0, 1, 3, 24)
"""Hours that the rules look back for what they have recorded of this week and of those before."""
LOOKBACK: Final = timedelta(minutes=11)
"""A page of every ten minutes is seen until the next one comes."""
POLLS: Final = 5
"""Seconds between two polls of a report."""
FASTER: Final = 450
MORE: Final = 3.0
"""Seconds on top of what is shortened: a slow scrape is no outage, and the order stays."""
OPEN: Final = {"seasalt:office_hours:first_weekday": "0", "seasalt:office_hours:last_weekday": "6"}
"""Open all week, as the tests are run on Sundays too: constants that are there to be changed."""
WHOLE: Final = 90.0
"""Seconds that anything may take to arrive: polls, scrapes, rules and waiting times."""

Told = tuple[str, str, str, str]
"""Receiver, status, name of the alert and of the bot."""


@dataclass(frozen=True)
class Desk:
    """Everything at work.

    Attributes:
        files: The configuration that Prometheus and Alertmanager run with.
        prometheus: The URL of Prometheus.
        process: The program.
        receiver: Who is told.
        sandbox: What the exporter polls.
        workspace: The one that is polled.
    """

    files: Path
    prometheus: str
    process: Running
    receiver: Webhook
    sandbox: Sandbox
    workspace: SandboxWorkspace

    def ask(self, query: str) -> list[Json]:
        """The series that a query gives now."""
        answer = json.loads(get(f"{self.prometheus}/api/v1/query?query={quote(query)}").body)
        assert answer["status"] == "success", answer
        result: list[Json] = answer["data"]["result"]
        return result

    def alerts(self) -> list[tuple[str, Json]]:
        """The receiver's name and the alert, for each alert that was told but the watchdog."""
        return [
            (receiver, alert)
            for receiver, alert in self.receiver.alerts()
            if alert["labels"]["alertname"] != "SeasaltWatchdog"
        ]

    def told(self) -> list[Told]:
        """What has been told, in the order in which it was."""
        return [
            (receiver, alert["status"], labels["alertname"], labels.get("bot", ""))
            for receiver, alert in self.alerts()
            for labels in (alert["labels"],)
        ]

    def state(self) -> str:
        """What to look at when something has not come."""
        alerts = [row["metric"] for row in self.ask('ALERTS{alertname!="SeasaltWatchdog"}')]
        shown = [*self.told(), *alerts]
        return "\n".join(map(str, shown))


def near_noon(now: datetime) -> SandboxWorkspace:
    """The workspace in whose office hours it is: at most three and a half hours from one."""

    def from_one(workspace: SandboxWorkspace) -> float:
        wall = now.astimezone(ZoneInfo(workspace.timezone))
        return abs(wall.hour * 60 + wall.minute - 13 * 60)

    return min(make_workspaces(1, WORKSPACES, BOTS), key=from_one)


def silence(connection: sqlite3.Connection, bot: SandboxBot, since: datetime) -> None:
    """Put a bot's messages aside, from an instant on, also those that are still to come."""
    after = {"bot": bot.number, "since": since.timestamp()}
    those = "FROM message WHERE bot = :bot AND at >= :since"
    with connection:
        connection.execute(f"CREATE TABLE unheard AS SELECT * {those}", after)
        connection.execute(f"DELETE {those}", after)


def hear(connection: sqlite3.Connection) -> None:
    """Put all messages back."""
    with connection:
        connection.execute("INSERT INTO message SELECT * FROM unheard")


def rate(
    connection: sqlite3.Connection, bot: SandboxBot, at: datetime, rating: int, share: float
) -> None:
    """Let customers rate a bot who have not: so many times as often as ever before."""
    asked = {"bot": bot.number, "at": int(at.timestamp()), "rating": rating, "share": share}
    with connection:
        connection.execute(
            "INSERT INTO survey_answer SELECT bot, :at, number, :rating, '' FROM conversation"
            " WHERE bot = :bot AND started_at < :at - 3600 AND first_reply_at IS NOT NULL"
            " AND number NOT IN (SELECT conversation FROM survey_answer WHERE bot = :bot)"
            " ORDER BY number DESC LIMIT (SELECT CAST(count(*) * :share AS INTEGER) FROM survey_answer"
            " WHERE bot = :bot AND created_at < :at)",
            asked,
        )


def configuration(workspace: SandboxWorkspace, interval: str) -> Json:
    """What the exporter polls of one workspace: its bots, what they are told and how well they do."""
    return {
        "interval": interval,
        "allow_fast_polling": True,
        "requests_per_minute": 6000,
        "timezone": workspace.timezone,
        "workspaces": [
            {
                "name": "harbor",
                "api": "seachat",
                "base_url": "${SANDBOX_URL}",
                "api_key": workspace.seachat_key,
                "workspace_id": workspace.id,
                "discover_bots": {"interval": "1h"},
                "metrics": [
                    "activity_trend",
                    "conversation_breakdown",
                    {"metric": "conversation_overview", "window": "last_day"},
                    {"metric": "conversation_overview", "window": "last_30_days"},
                    {"metric": "csat", "window": "last_30_days"},
                ],
            }
        ],
    }


def clocks_changed(zone: ZoneInfo, since: datetime, until: datetime) -> timedelta:
    """By how much the clocks of a zone were put forward between two instants."""
    before, after = (at.astimezone(zone).utcoffset() for at in (since, until))
    assert before is not None
    assert after is not None
    return after - before


def instants(end: datetime, zone: ZoneInfo) -> list[datetime]:
    """The last hours closely, four weeks loosely, and their same hours closely enough.

    Where the clocks were changed since, the rules read what was an hour beside.
    """
    same = {
        before + change + timedelta(minutes=beside)
        for week in range(1, 5)
        for ago in AGO
        for at in (end - HOUR * ago,)
        for before in (at - WEEK * week,)
        for change in (timedelta(), clocks_changed(zone, before, at))
        for beside in (-5, 5)
    }
    loosely = {
        at
        for at in every(24 * HOUR, end - 4 * WEEK - 6 * HOUR, end - 6 * HOUR)
        if all(abs(at - one) > LOOKBACK for one in same)
    }
    return sorted({*same, *loosely, *every(timedelta(minutes=10), end - 4 * HOUR, end)})


def shorter(duration: str) -> str:
    """The waiting time of a rule or a route, as long as a test may take."""
    number, unit = int(duration[:-1]), duration[-1]
    seconds = number * {"s": 1, "m": 60, "h": 3600}[unit] / FASTER
    return f"{int(1000 * (MORE + seconds))}ms"


def rules_of(folder: Path) -> dict[str, list[Json]]:
    """The rules of each group of each file."""
    return {
        f"{file.name}/{group['name']}": group["rules"]
        for file in sorted(folder.glob("*.yml"))
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    }


def copy_rules(target: Path) -> None:
    """The rules with waiting times that a test can wait for, open all week."""
    target.mkdir()
    for file in sorted((CONFIG / "prometheus/rules").glob("*.yml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for rule in (rule for group in content["groups"] for rule in group["rules"]):
            for waiting in {"for", "keep_firing_for"} & rule.keys():
                rule[waiting] = shorter(rule[waiting])
            if rule.get("record") in OPEN:
                rule["expr"] = f"vector({OPEN[rule['record']]})"
        (target / file.name).write_text(yaml.safe_dump(content))


def copy_prometheus(target: Path, addresses: dict[str, str]) -> None:
    """The configuration of Prometheus with other addresses, and faster."""
    content = yaml.safe_load((CONFIG / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    content["global"] |= {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    jobs = {job["job_name"]: job for job in content["scrape_configs"]}
    content["scrape_configs"] = [jobs[name] for name in addresses]
    for name, address in addresses.items():
        jobs[name]["static_configs"] = [{"targets": [address]}]
    # The history has the name that the exporter has where it is at home.
    jobs["seasalt"]["static_configs"][0]["labels"] = {"instance": LABELS["instance"]}
    alertmanagers = [{"targets": [addresses["alertmanager"]]}]
    content["alerting"]["alertmanagers"] = [{"static_configs": alertmanagers}]
    target.write_text(yaml.safe_dump(content))


def copy_alertmanager(target: Path, receiver: Webhook) -> None:
    """The configuration of Alertmanager with other addresses, and faster."""
    source = CONFIG / "alertmanager/alertmanager.yml"
    content = yaml.safe_load(filled_in(with_templates(source.read_text(encoding="utf-8"))))
    for route in (content["route"], *content["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
    for hook in (hook for one in content["receivers"] for hook in one.get("webhook_configs", ())):
        hook["url"] = re.sub(r"^http://[^/]+", receiver.url, hook["url"])
    target.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def alertmanager() -> str:
    """The path of Alertmanager."""
    return program("prometheus-alertmanager", least=(0, 33))


def record_history(
    prometheus: str, promtool: str, folder: Path, rules: Path, end: datetime
) -> None:
    """Make of the history what the rules would have recorded in its last hours."""
    (folder / "bare.yml").write_text("{}")
    command = [
        *(prometheus, f"--config.file={folder / 'bare.yml'}", f"--web.listen-address={LOOPBACK}"),
        *(f"--storage.tsdb.path={folder / 'data'}", "--storage.tsdb.retention.time=400d"),
        f"--query.lookback-delta={LOOKBACK.seconds}s",
    ]
    for layer in layers(rules, RECORDED):
        with started(command) as process:
            url = "http://" + process.said(r'msg="Listening on".* address=(\S+)')
            answered(f"{url}/-/ready")
            record(
                promtool,
                layer,
                url=url,
                start=end - SILENT_FOR,
                end=end,
                # Each layer is evaluated at instants of its own, up to a step after those of the layer before.
                step=timedelta(minutes=1),
                data=folder / "recorded",
            )
        for block in (folder / "recorded").iterdir():
            shutil.move(block, folder / "data" / block.name)


@pytest.fixture(scope="module")
def desk(
    prometheus: str,
    promtool: str,
    alertmanager: str,
    exporter: Command,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """All programs, after weeks of history whose last hours go wrong."""
    folder, files = tmp_path_factory.mktemp("alerts"), tmp_path_factory.mktemp("files")
    end = datetime.now(UTC).replace(microsecond=0)
    workspace = near_noon(end)
    silent, rated_low, _ = workspace.bots
    since, at = end - SILENT_FOR, end - BAD_FOR
    books = sqlite3.connect(":memory:", check_same_thread=False)
    write(
        folder / "pages.txt",
        instants(end, ZoneInfo(workspace.timezone)),
        configuration=configuration(workspace, "10m"),
        turns=[
            Turn(since, lambda sandbox: silence(sandbox.connection, silent, since)),
            Turn(at, lambda sandbox: rate(sandbox.connection, rated_low, at, 1, 0.5)),
            Turn(end, lambda sandbox: sandbox.connection.backup(books)),
        ],
        days=3,
        conversations_per_day=BUSY,
        workspaces=WORKSPACES,
        bots=BOTS,
    )
    blocks(promtool, folder / "pages.txt", folder / "data")
    copy_rules(files / "rules")
    record_history(prometheus, promtool, folder, files / "rules", end)
    sandbox = Sandbox(books, (workspace,), lambda: datetime.now(UTC), 0)
    with ExitStack() as stack:
        api = stack.enter_context(served(sandbox))
        receiver = stack.enter_context(listening())
        address = f"127.0.0.1:{free_port()}"
        copy_alertmanager(files / "alertmanager.yml", receiver)
        command = [
            *(alertmanager, f"--config.file={files / 'alertmanager.yml'}"),
            *(f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address={address}"),
            "--cluster.listen-address=",
        ]
        stack.enter_context(started(command))
        (files / "seasalt.yml").write_text(json.dumps(configuration(workspace, f"{POLLS}s")))
        serve = [*exporter, "serve", f"--config.file={files / 'seasalt.yml'}"]
        polling = stack.enter_context(
            started([*serve, f"--web.listen-address={LOOPBACK}"], {"SANDBOX_URL": api.url})
        )
        page = polling.said(r"msg=listening address=(\S+)")
        answered(f"http://{address}/-/ready")
        own = f"127.0.0.1:{free_port()}"
        addresses = {"seasalt": page, "alertmanager": address, "prometheus": own}
        copy_prometheus(files / "prometheus.yml", addresses)
        command = [
            *(prometheus, f"--config.file={files / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={folder / 'data'}", "--storage.tsdb.retention.time=400d"),
            # What fires before Prometheus has found its Alertmanager is told a minute later else.
            "--rules.alert.resend-delay=1s",
            *(f"--web.listen-address={own}", f"--query.lookback-delta={LOOKBACK.seconds}s"),
        ]
        process = stack.enter_context(started(command))
        answered(f"http://{own}/-/ready")
        yield Desk(files, f"http://{own}", process, receiver, sandbox, workspace)


@pytest.mark.usefixtures("_our_zones")
def test_the_pages_that_the_rules_read_are_there_on_every_day_of_the_year() -> None:
    for end in every(
        timedelta(hours=19), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)
    ):
        zone = ZoneInfo(near_noon(end).timezone)
        pages = instants(end, zone)
        assert min(after - before for before, after in pairwise(pages)) >= timedelta(minutes=10)
        for week, ago in product(range(1, 5), AGO):
            # Of an aware instant a week before is the same local time.
            local = (end - HOUR * ago).astimezone(zone) - WEEK * week
            read = local.astimezone(UTC)
            seen = pages[bisect_right(pages, read) - 1]
            assert read - seen <= LOOKBACK, (end, zone, week, ago)


def wrong(desk: Desk) -> set[tuple[str, str, str]]:
    """Receiver, alert and bot of all that is to be told of the two bots, one ticket for each cause."""
    silent, rated_low, _ = (bot.name for bot in desk.workspace.bots)
    return {
        ("critical", "SeasaltBotSilent", silent),
        ("warning", "SeasaltCsatDropped", rated_low),
    }


@pytest.fixture(scope="module")
def fired(desk: Desk) -> list[tuple[str, Json]]:
    """The alerts that have been told when all is told that should be, before anything is mended."""

    def all_of_it() -> bool:
        told = {(who, name, bot) for who, _, name, bot in desk.told()}
        return wrong(desk) <= told

    wait_for(all_of_it, "not everything is told", WHOLE, desk.state)
    return desk.alerts()


@pytest.fixture(scope="module")
def mended(desk: Desk, fired: list[tuple[str, Json]]) -> list[Told]:
    """What has been told after the bot has its messages again, and good ratings have come."""
    assert fired
    _, rated_low, _ = desk.workspace.bots
    hear(desk.sandbox.connection)
    rate(desk.sandbox.connection, rated_low, datetime.now(UTC), 5, 2)

    def all_over() -> bool:
        last = {(who, name, bot): status for who, status, name, bot in desk.told()}
        return {last[one] for one in wrong(desk)} == {"resolved"}

    wait_for(all_over, "not everything is over", WHOLE, desk.state)
    return desk.told()


def test_the_copied_rules_differ_in_waiting_times_and_opening_days_alone(desk: Desk) -> None:
    ours, theirs = rules_of(desk.files / "rules"), rules_of(CONFIG / "prometheus/rules")
    assert ours.keys() == theirs.keys()
    alerts = 0
    for group, rules in theirs.items():
        for copied, rule in zip(ours[group], rules, strict=True):
            apart = {
                name for name in copied.keys() | rule.keys() if copied.get(name) != rule.get(name)
            }
            if rule.get("record") in OPEN:
                assert apart <= {"expr"}
            else:
                assert apart <= {"for", "keep_firing_for"}, rule
                assert copied.keys() == rule.keys()
            alerts += "alert" in rule
    assert alerts > 20


def test_a_silent_bot_and_bad_ratings_are_told_to_whom_they_concern_and_nothing_else(
    desk: Desk, fired: list[tuple[str, Json]]
) -> None:
    found = {
        (who, labels["alertname"], labels.get("bot", ""))
        for who, alert in fired
        for labels in (alert["labels"],)
    }
    assert found == wrong(desk)
    assert {alert["status"] for _, alert in fired} == {"firing"}


def test_the_texts_name_the_bot_and_say_how_bad_it_is(
    desk: Desk, fired: list[tuple[str, Json]]
) -> None:
    silent, rated_low, _ = (bot.name for bot in desk.workspace.bots)
    texts = {
        alert["labels"]["alertname"]: alert["annotations"]["description"] for _, alert in fired
    }
    said = re.fullmatch(
        f"Bot {silent} of workspace harbor has had no messages for 3 hours or longer."
        r" Usual in three hours at this time: (\d+)\.(?: Usual in a day: \d+\.)?",
        texts["SeasaltBotSilent"],
    )
    assert said, texts
    assert int(said[1]) >= 120
    said = re.fullmatch(
        f"Bot {rated_low} of workspace harbor: (\\S+)% of (\\d+) ratings in the last 30 days are 4 or 5"
        r"(?:; \w+ weeks? ago it was (\S+)%)+\.",
        texts["SeasaltCsatDropped"],
    )
    assert said, texts
    assert float(said[1]) < float(said[3])


def test_the_links_lead_to_the_runbook_and_the_bots_dashboard(
    fired: list[tuple[str, Json]],
) -> None:
    assert fired
    for _, alert in fired:
        name, bot = alert["labels"]["alertname"], alert["labels"]["bot_id"]
        assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
        assert (ROOT / "docs/runbooks" / f"{name}.md").exists()
        link = alert["annotations"]["dashboard_url"]
        assert f"var-workspace=harbor&var-bot={quote(bot)}" in link.replace("+", "%20")


def test_all_is_resolved_where_it_was_told_when_things_are_well_again(
    desk: Desk, mended: list[Told]
) -> None:
    for receiver, name, bot in wrong(desk):
        statuses = [told[1] for told in mended if (told[0], *told[2:]) == (receiver, name, bot)]
        assert (statuses[0], statuses[-1]) == ("firing", "resolved"), name


def test_nothing_is_ever_told_of_a_bot_that_does_well(desk: Desk, mended: list[Told]) -> None:
    silent, rated_low, _ = (bot.name for bot in desk.workspace.bots)
    concerned = {bot for _, _, _, bot in mended}
    assert concerned == {silent, rated_low}


def test_the_watchdog_reaches_the_dead_mans_switch_and_nobody_else(
    desk: Desk, mended: list[Told]
) -> None:
    assert mended
    told = {
        receiver
        for receiver, alert in desk.receiver.alerts()
        if alert["labels"]["alertname"] == "SeasaltWatchdog"
    }
    assert told == {"dead-mans-switch"}


def test_no_rule_failed_and_every_alert_was_sent(desk: Desk, mended: list[Told]) -> None:
    assert mended
    for counter in (
        "prometheus_rule_evaluation_failures_total",
        "prometheus_notifications_errors_total",
        "prometheus_notifications_dropped_total",
        "alertmanager_notifications_failed_total",
    ):
        # A scrape that is late takes the series away until the next one.
        wait_for(partial(desk.ask, f"{counter} >= 0"), f"no {counter}", more=desk.state)
        assert desk.ask(f"{counter} > 0") == [], counter
    complaints = [
        line
        for line in desk.process.stderr.splitlines()
        if re.search("level=(WARN|ERR)", line)
        # The recorded history lies beside the pages it is made of.
        and "Overlapping blocks found" not in line
    ]
    assert complaints == []
