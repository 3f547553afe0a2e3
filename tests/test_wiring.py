"""Prometheus, Alertmanager and compose.yaml as they are shipped: checked, routed, and really run."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import pytest
import yaml
from e2e.programs import ANYWHERE, LOOPBACK, program
from support.alerting import (
    ALERTMANAGER,
    PLACEHOLDER,
    Alerting,
    alertmanager_in,
    of_alertmanager,
    with_templates,
)
from support.page_commands import blocks
from support.processes import answered, finished, get, started, wait_for
from support.webhook import filled_in

from exporter.commands.flags import FLAGS, parse

ROOT: Final = Path(__file__).parent.parent
PROMETHEUS: Final = ROOT / "config" / "prometheus"
COMPOSE: Final = ROOT / "compose.yaml"

Labels = dict[str, str]


def read(path: Path) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def alerts() -> Iterator[tuple[str, Labels]]:
    """Every alert with the labels that its rule gives it."""
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in read(path)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield rule["alert"], rule["labels"]


ALERTS: Final = dict(alerts())
OF_CATEGORY: Final = {"watchdog": "dead-mans-switch", "inhibitor": "nobody"}
"""Receivers of alerts that are not for people."""
SERVICES: Final = read(COMPOSE)["services"]


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool")


@pytest.fixture(scope="session")
def amtool() -> str:
    return of_alertmanager("amtool")


# The configurations, as the programs' own checkers see them.


def test_promtool_has_nothing_to_say_of_prometheus_configuration(promtool: str) -> None:
    checked = finished(
        [promtool, "check", "config", "--lint=all", "--lint-fatal", f"{PROMETHEUS}/prometheus.yml"]
    )
    assert checked.status == 0, checked.stdout + checked.stderr
    assert "9 rule files found" in checked.stdout


def test_every_commented_example_of_prometheus_configuration_is_right(
    promtool: str, tmp_path: Path
) -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    told = re.sub(r"^    # (?=[a-z_ ]+: ?|  )", "    ", text, flags=re.MULTILINE)
    told = told.replace("rules/*.yml", f"{PROMETHEUS}/rules/*.yml")
    told = told.replace("/etc/prometheus/secrets/", f"{tmp_path}/")
    for name in ("exporter-ca.pem", "prometheus.pem", "prometheus.key", "exporter-password"):
        (tmp_path / name).touch()
    job = yaml.safe_load(told)["scrape_configs"][0]
    assert {"scheme", "tls_config", "basic_auth", "sample_limit"} <= job.keys()
    config = tmp_path / "prometheus.yml"
    config.write_text(told, encoding="utf-8")
    checked = finished([promtool, "check", "config", "--syntax-only", str(config)])
    assert checked.status == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("page", ["labels", "otlp", "probing", "proxy", "quick-start", "shards"])
def test_every_scrape_configuration_of_a_page_is_right(
    page: str, promtool: str, tmp_path: Path
) -> None:
    """What a page has below `scrape_configs`, or of its list, be it in a collector's file."""
    found = [document for document in map(yaml.safe_load, blocks(page, "yaml")) if document]
    jobs = [
        one
        for document in found
        for one in (document if isinstance(document, list) else scraped(document))
        if "job_name" in one
    ]
    assert jobs
    for number, job in enumerate(jobs):
        config = tmp_path / f"{number}.yml"
        config.write_text(json.dumps({"scrape_configs": [job]}), encoding="utf-8")
        checked = finished([promtool, "check", "config", "--syntax-only", str(config)])
        assert checked.status == 0, checked.stdout + checked.stderr


def scraped(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a configuration of Prometheus or of a collector."""
    receivers = document.get("receivers", {})
    inner = receivers.get("prometheus", {}).get("config", {}) if isinstance(receivers, dict) else {}
    jobs: list[dict[str, Any]] = (document | inner).get("scrape_configs", [])
    return jobs


def holidays_filled_in(config: str) -> str:
    """Alertmanager's configuration with the holidays that are a comment in it."""
    assert config.count("    time_intervals: []\n") == 1
    return filled_in(config.replace("    time_intervals: []\n", ""), "time_intervals")


def all_filled_in(config: str) -> str:
    """Alertmanager's configuration with all examples that are comments in it."""
    blocks = ("slack_configs", "email_configs", "webhook_configs", "- name")
    return filled_in(holidays_filled_in(config), *blocks)


@pytest.mark.parametrize(
    ("fill_in", "examples"),
    [(str, 0), (filled_in, 4), (all_filled_in, 9)],
    ids=["as shipped", "webhooks", "all examples"],
)
def test_amtool_has_nothing_to_say_of_alertmanagers_configuration(
    amtool: str, tmp_path: Path, fill_in: Callable[[str], str], examples: int
) -> None:
    text = fill_in(with_templates(ALERTMANAGER.read_text(encoding="utf-8")))
    shown = [
        each
        for receiver in yaml.safe_load(text)["receivers"]
        for kind, configs in receiver.items()
        if kind != "name"
        for each in configs
    ]
    assert len(shown) == examples
    config = tmp_path / "alertmanager.yml"
    config.write_text(text, encoding="utf-8")
    checked = finished([amtool, "check-config", str(config)])
    assert checked.status == 0, checked.stdout + checked.stderr


def test_alertmanager_looks_for_its_templates_beside_its_configuration_also_in_compose(
    amtool: str, tmp_path: Path
) -> None:
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["alertmanager"]["volumes"])
    assert mounts["./config/alertmanager"] == "/etc/alertmanager"
    mounted = shutil.copytree(ALERTMANAGER.parent, tmp_path / "etc")
    command = [amtool, "check-config", str(mounted / "alertmanager.yml")]
    assert finished(command).status == 0
    # It says how many patterns there are, not how many files: a broken one shows that it looks here.
    (mounted / "templates" / "broken.tmpl").write_text("{{", encoding="utf-8")
    assert finished(command).status != 0


def test_as_shipped_nothing_is_sent_that_could_fail_and_every_receiver_has_an_example() -> None:
    text = ALERTMANAGER.read_text(encoding="utf-8")
    shipped, filled = (yaml.safe_load(each)["receivers"] for each in (text, filled_in(text)))
    assert [receiver.keys() for receiver in shipped] == [{"name"}] * len(shipped)
    assert filled.pop() == {"name": "nobody"}
    for receiver in filled:
        (webhook,) = receiver["webhook_configs"]
        assert webhook["url"] == f"{PLACEHOLDER}/{receiver['name']}"


@pytest.mark.parametrize(
    ("name", "receiver"),
    [
        *(
            (name, OF_CATEGORY.get(labels["category"], labels["severity"]))
            for name, labels in ALERTS.items()
        ),
        ("SomebodyElses", "warning"),
    ],
)
def test_every_alert_reaches_the_receiver_of_its_severity(
    amtool: str, name: str, receiver: str
) -> None:
    labels = {"alertname": name, "job": "seasalt", "workspace": "acme", **ALERTS.get(name, {})}
    routed = finished(
        [
            *(amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}"),
            f"--verify.receivers={receiver}",
            *(f"{label}={value}" for label, value in labels.items()),
        ]
    )
    assert routed.status == 0, routed.stdout + routed.stderr


# Alertmanager, with real alerts.


@pytest.fixture(scope="module")
def alerting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    with alertmanager_in(tmp_path_factory.mktemp("alertmanager")) as found:
        yield found


def firing(name: str, job: str, **labels: str) -> Labels:
    """An alert as its rule would send it."""
    return {"alertname": name, "job": job, **ALERTS[name], **labels}


BOT: Final = {"workspace": "acme", "bot_id": "bot_1"}
THIRD_BOT: Final = {"workspace": "acme", "bot_id": "bot_3"}
OTHER_BOT: Final = {"workspace": "acme", "bot_id": "bot_2"}
WORKSPACE: Final = {"workspace": "acme"}
CSAT: Final = {"report": "csat", "window": "last_30_days"}
ELSEWHERE: Final = {"workspace": "other", "bot_id": "bot_1"}


@dataclass(frozen=True, slots=True)
class Case:
    """Something that hides other alerts.

    Attributes:
        source: What hides.
        hidden: What it hides.
        shown: What it does not hide.
        chained: The names of what is hidden by another hidden alert as well.
    """

    source: tuple[str, Labels]
    hidden: list[tuple[str, Labels]]
    shown: list[tuple[str, Labels]]
    chained: tuple[str, ...] = ()


CASES: Final = {
    "an exporter that is down hides everything of its job": Case(
        ("SeasaltExporterDown", {}),
        [
            ("SeasaltDataStale", OTHER_BOT),
            ("SeasaltKeyRejected", {"workspace": "third"}),
            ("SeasaltCsatLow", BOT),
            ("SeasaltBotSilent", ELSEWHERE),
            ("SeasaltNoAgentAvailable", WORKSPACE),
            ("SeasaltConfigReloadFailed", {}),
            ("SeasaltInstanceDown", {"instance": "exporter:9877"}),
        ],
        [],
    ),
    "old data hides the alerts that read it": Case(
        ("SeasaltReportStale", {**BOT, **CSAT}),
        [("SeasaltCsatLow", BOT), ("SeasaltRatingsStopped", BOT)],
        [
            ("SeasaltDataStale", BOT),
            ("SeasaltCsatCritical", OTHER_BOT),
            ("SeasaltSatisfactionLow", ELSEWHERE),
            ("SeasaltVolumeDropped", BOT),
            ("SeasaltBotMissing", THIRD_BOT),
            ("SeasaltApiFailing", WORKSPACE),
        ],
    ),
    "old data of one window hides nothing that reads another": Case(
        ("SeasaltReportStale", {**BOT, "report": "csat", "window": "all"}),
        [],
        [("SeasaltCsatCritical", BOT), ("SeasaltRatingsStopped", BOT)],
    ),
    "old data of a whole workspace hides the workspace's alerts": Case(
        ("SeasaltReportStale", {**WORKSPACE, "report": "agent_activity", "window": "today"}),
        [("SeasaltNoAgentAvailable", WORKSPACE)],
        [
            ("SeasaltUsageOverContract", WORKSPACE),
            ("SeasaltCsatLow", BOT),
            ("SeasaltBotMissing", THIRD_BOT),
        ],
    ),
    "a rejected key hides what follows from it": Case(
        ("SeasaltKeyRejected", WORKSPACE),
        [
            ("SeasaltApiFailing", WORKSPACE),
            ("SeasaltDataStale", BOT),
            ("SeasaltBotMissing", BOT),
        ],
        [
            ("SeasaltBudgetNearlySpent", WORKSPACE),
            ("SeasaltBotSilent", ELSEWHERE),
            ("SeasaltConfigReloadFailed", {}),
        ],
    ),
    "a rejected key is why there are no news": Case(
        ("SeasaltKeyRejected", WORKSPACE),
        [("SeasaltWorkspaceBlind", WORKSPACE)],
        [("SeasaltBudgetNearlySpent", WORKSPACE)],
    ),
    "a workspace without any news hides what follows from it": Case(
        ("SeasaltWorkspaceBlind", WORKSPACE),
        [
            ("SeasaltApiFailing", WORKSPACE),
            ("SeasaltDataStale", BOT),
            ("SeasaltBotMissing", BOT),
            ("SeasaltCsatCritical", OTHER_BOT),
            ("SeasaltNoAgentAvailable", WORKSPACE),
        ],
        [
            ("SeasaltInstanceDown", {"instance": "exporter:9877"}),
            ("SeasaltApiRateLimited", WORKSPACE),
            ("SeasaltBudgetNearlySpent", WORKSPACE),
            ("SeasaltBotSilent", ELSEWHERE),
        ],
    ),
    "very low ratings say that they are low": Case(
        ("SeasaltCsatCritical", BOT),
        [("SeasaltCsatLow", BOT), ("SeasaltCsatDropped", BOT), ("SeasaltSatisfactionLow", BOT)],
        [("SeasaltVolumeDropped", BOT), ("SeasaltRatingsStopped", BOT)],
        chained=("SeasaltCsatLow", "SeasaltSatisfactionLow"),
    ),
    "ratings that fell are low for that reason": Case(
        ("SeasaltCsatDropped", BOT),
        [("SeasaltCsatLow", BOT), ("SeasaltSatisfactionLow", BOT)],
        [("SeasaltCsatCritical", OTHER_BOT), ("SeasaltRatingsStopped", BOT)],
        chained=("SeasaltSatisfactionLow",),
    ),
    "low ratings and little satisfaction are one ticket": Case(
        ("SeasaltCsatLow", BOT),
        [("SeasaltSatisfactionLow", BOT)],
        [("SeasaltCsatDropped", OTHER_BOT), ("SeasaltVolumeDropped", BOT)],
    ),
    "a silent bot has silent channels and gets no ratings": Case(
        ("SeasaltBotSilent", BOT),
        [
            ("SeasaltChannelSilent", {**BOT, "channel": "SMS"}),
            ("SeasaltVolumeDropped", BOT),
            ("SeasaltRatingsStopped", BOT),
        ],
        [("SeasaltVolumeSpiked", OTHER_BOT), ("SeasaltCsatLow", BOT)],
        chained=("SeasaltChannelSilent",),
    ),
    "a silent channel is a part of what a bot lost": Case(
        ("SeasaltVolumeDropped", BOT),
        [("SeasaltChannelSilent", {**BOT, "channel": "SMS"})],
        [("SeasaltBotSilent", OTHER_BOT), ("SeasaltRatingsStopped", BOT)],
    ),
    "a workspace that lost messages has bots that did": Case(
        ("SeasaltVolumeDropped", WORKSPACE),
        [("SeasaltChannelSilent", {**BOT, "channel": "SMS"})],
        [("SeasaltBotSilent", OTHER_BOT), ("SeasaltVolumeSpiked", BOT)],
    ),
    "a failing API is why most of a workspace is stale": Case(
        ("SeasaltApiFailing", WORKSPACE),
        [("SeasaltDataStale", WORKSPACE)],
        [("SeasaltVolumeDropped", BOT), ("SeasaltWorkspaceBlind", {"workspace": "other"})],
    ),
    "an API that has enough is why most of a workspace is stale": Case(
        ("SeasaltApiRateLimited", WORKSPACE),
        [("SeasaltDataStale", WORKSPACE)],
        [("SeasaltVolumeDropped", BOT)],
    ),
    "a spent budget is why most of a workspace is stale": Case(
        ("SeasaltBudgetNearlySpent", WORKSPACE),
        [("SeasaltDataStale", WORKSPACE)],
        [("SeasaltVolumeDropped", BOT)],
    ),
    "a failing API does not hide a bot that is stale by itself": Case(
        ("SeasaltApiFailing", WORKSPACE),
        [],
        [("SeasaltDataStale", BOT)],
    ),
    "a bot that is no longer polled has no data": Case(
        ("SeasaltBotMissing", BOT),
        [("SeasaltBotSilent", BOT), ("SeasaltCsatLow", BOT)],
        [("SeasaltVolumeDropped", OTHER_BOT), ("SeasaltNoAgentAvailable", WORKSPACE)],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_hidden_alerts_are_not_told_until_what_hides_them_is_over(
    alerting: Alerting, case: Case, request: pytest.FixtureRequest
) -> None:
    job = re.sub(r"\W+", "-", request.node.callspec.id)
    name, labels = case.source
    source = firing(name, job, **labels)
    hidden = [firing(name, job, **labels) for name, labels in case.hidden]
    shown = [firing(name, job, **labels) for name, labels in case.shown]
    # First what hides: with waiting times this short, a busy machine would tell of the others sooner.
    alerting.post(source)
    first = (source["alertname"], job)
    if source["category"] != "inhibitor":
        wait_for(lambda: first in alerting.told("firing"), "not told", more=alerting.say)
    alerting.post(*hidden, *shown)

    seen = {
        (alert["alertname"], job) for alert in (source, *shown) if alert["category"] != "inhibitor"
    }
    unseen = {(alert["alertname"], job) for alert in hidden}
    webhook = alerting.webhook
    wait_for(lambda: seen <= alerting.told("firing"), "not told", more=alerting.say)
    found = {alert["alertname"] for alert in hidden}
    wait_for(lambda: alerting.suppressed(job) == found, "not hidden", more=alerting.say)
    groups = len(webhook.messages)
    alerting.post(firing("SeasaltSchemaDrift", f"{job}-later"))
    wait_for(lambda: len(webhook.messages) > groups, "nothing comes any more")
    assert not unseen & alerting.told("firing")
    assert ("SeasaltReportStale", job) not in alerting.told("firing")

    alerting.post(source, ended=True)
    unseen -= {(name, job) for name in case.chained}
    wait_for(lambda: unseen <= alerting.told("firing"), "still hidden", more=alerting.say)


SEVERITIES: Final = ("none", "info", "warning", "critical")
NO_DATA: Final = {"SeasaltReportStale", "SeasaltBotMissing"}
"""What says that there is no data, and so may hide a more severe alert that reads it."""


def matching(matchers: list[str]) -> set[str]:
    """The alerts that all matchers let through, as far as the labels of their rules decide it."""
    found = set(ALERTS)
    for matcher in matchers:
        label, how, wanted = re.findall(r'^(\w+)(=~|!=|=)"(.*)"$', matcher)[0]
        for name in list(found):
            value = {"alertname": name, **ALERTS[name]}.get(label)
            if value is None:
                continue  # the series has it, such as the id of a bot
            equal = re.fullmatch(wanted, value) if how == "=~" else value == wanted
            if bool(equal) == (how == "!="):
                found.remove(name)
    return found


def test_only_what_says_that_there_is_no_data_hides_an_alert_that_is_more_severe() -> None:
    worse = set()
    for rule in read(ALERTMANAGER)["inhibit_rules"]:
        sources, targets = (matching(rule[f"{one}_matchers"]) for one in ("source", "target"))
        assert sources
        assert targets
        worse |= {
            (source, target)
            for source in sources
            for target in targets
            if SEVERITIES.index(ALERTS[source]["severity"])
            < SEVERITIES.index(ALERTS[target]["severity"])
        }
    assert {source for source, _ in worse} == NO_DATA
    assert {ALERTS[target]["category"] for _, target in worse} == {"data"}
    text = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    (sentence,) = re.findall("^An alert inhibits a more severe one only if .*$", text, re.MULTILINE)
    assert all(f"`{name}`" in sentence for name in NO_DATA)
    critical = {target for _, target in worse if ALERTS[target]["severity"] == "critical"}
    assert {name for name in ALERTS if f"`{name}`" in sentence} >= critical


def test_a_workspace_that_lost_messages_hides_that_its_bots_did(alerting: Alerting) -> None:
    job = "lost"
    alerting.post(firing("SeasaltVolumeDropped", job, **WORKSPACE))
    told = ("SeasaltVolumeDropped", job)
    wait_for(lambda: told in alerting.told("firing"), "not told", more=alerting.say)
    alerting.post(firing("SeasaltVolumeDropped", job, **BOT))
    wait_for(lambda: alerting.suppressed(job) == {"SeasaltVolumeDropped"}, "not hidden")
    alerting.post(firing("SeasaltVolumeDropped", job, **WORKSPACE), ended=True)

    def told_of_the_bot() -> bool:
        labels = [alert["labels"] for _, alert in alerting.webhook.alerts()]
        return any(each.get("job") == job and "bot_id" in each for each in labels)

    wait_for(told_of_the_bot, "still hidden", more=alerting.say)


def test_an_alert_that_ends_while_it_is_hidden_is_not_told_to_be_over(alerting: Alerting) -> None:
    job = "over"
    down = firing("SeasaltExporterDown", job)
    low = firing("SeasaltCsatLow", job, **BOT)
    alerting.post(low)
    wait_for(lambda: (low["alertname"], job) in alerting.told("firing"), "not told")
    alerting.post(down)
    wait_for(lambda: alerting.suppressed(job) == {"SeasaltCsatLow"}, "not hidden")
    alerting.post(low, ended=True)
    for later in range(2):  # two more rounds of everything that there is to tell
        alerting.post(firing("SeasaltSchemaDrift", f"{job}-{later}"))
        told = ("SeasaltSchemaDrift", f"{job}-{later}")
        wait_for(partial(lambda told: told in alerting.told("firing"), told), "nothing comes")
    assert (low["alertname"], job) not in alerting.told("resolved")


def test_the_watchdog_is_told_to_nobody_but_the_switch_and_nothing_hides_it(
    alerting: Alerting,
) -> None:
    watchdog = {"alertname": "SeasaltWatchdog", **ALERTS["SeasaltWatchdog"]}
    alerting.post(watchdog, firing("SeasaltExporterDown", ""), firing("SeasaltExporterDown", "w"))
    told = ("SeasaltWatchdog", "")
    wait_for(lambda: told in alerting.told("firing"), "not told", more=alerting.say)
    assert told in alerting.told("firing", path="dead-mans-switch")
    for path in ("critical", "warning", "info"):
        assert told not in alerting.told("firing", path=path)


def test_an_outage_is_one_message_for_each_workspace(alerting: Alerting) -> None:
    bots = [{"workspace": "fifty", "bot_id": f"bot_{number}"} for number in range(50)]
    alerting.post(*(firing("SeasaltDataStale", "fifty", **bot) for bot in bots))

    def messages() -> list[int]:
        return [
            len(body["alerts"])
            for _, body in alerting.webhook.messages
            if body["groupLabels"] == {"alertname": "SeasaltDataStale", "workspace": "fifty"}
        ]

    wait_for(messages, "not told", more=alerting.say)
    assert messages() == [50]


# Prometheus, over the demo.


def test_every_rule_runs_over_the_demo_and_the_watchdog_arrives_with_its_links(
    tmp_path: Path,
) -> None:
    prometheus = program("prometheus")
    exporter = [sys.executable, "-m", "exporter", "demo", *ANYWHERE]
    with alertmanager_in(tmp_path) as alerting, started(exporter) as demo:
        page = demo.said(r"^Metrics +http://(\S+)/metrics$")
        text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
        for before, after in {
            "exporter:9877": page,
            "alertmanager:9093": alerting.url.removeprefix("http://"),
            "scrape_interval: 60s": "scrape_interval: 1s\n  scrape_timeout: 1s",
            "scrape_timeout: 50s": "scrape_timeout: 1s",
            "evaluation_interval: 60s": "evaluation_interval: 1s",
            "rules/*.yml": f"{PROMETHEUS}/rules/*.yml",
        }.items():
            assert before in text
            text = text.replace(before, after)
        config = tmp_path / "prometheus.yml"
        config.write_text(text, encoding="utf-8")
        command = [
            *(prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"),
            f"--web.listen-address={LOOPBACK}",
            "--rules.alert.resend-delay=1s",  # the first one may go before Alertmanager is found
        ]
        with started(command) as process:
            url = "http://" + process.said(r'msg="Listening on".* address=(\S+)')
            answered(f"{url}/-/ready")

            def asked(query: str) -> list[Any]:
                found = json.loads(get(f"{url}/api/v1/query?query={quote(query)}").body)
                assert "warnings" not in found, found
                return cast("list[Any]", found["data"]["result"])

            for recorded in (
                # In the first hours of the demo's day nobody may have written or been there yet.
                *(
                    f"{today} or absent({of}{{window='today'}})"
                    for today, of in {
                        "bot:seasalt_messages_today:sum": "seasalt_activity_trend_messages",
                        "workspace:seasalt_messages_today:sum": "seasalt_activity_trend_messages",
                        "channel:seasalt_inbound_messages_today:sum": (
                            "seasalt_conversation_breakdown_channel_messages"
                        ),
                        "workspace:seasalt_agents_available:sum": "seasalt_agent_activity_agents",
                    }.items()
                ),
                "workspace:seasalt_csat_average_rating:last_30_days",
                "bot:seasalt_live_agent_requests_per_conversation:last_day",
                "workspace:seasalt_voice_seconds_this_month:sum",
                "workspace:seasalt_office_hours:bool",
                "report:seasalt_age_intervals",
                "target:seasalt_today_age_intervals:max",
            ):
                wait_for(partial(asked, recorded), f"no {recorded}", more=lambda: process.stderr)
            groups = json.loads(get(f"{url}/api/v1/rules").body)["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert len(rules) > 100
            assert [rule for rule in rules if rule.get("lastError")] == []
            assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
            firing_now = {
                row["metric"]["alertname"] for row in asked('ALERTS{alertstate="firing"}')
            }
            assert firing_now == {"SeasaltWatchdog"}

            def links() -> list[Labels]:
                return [
                    alert["annotations"]
                    for path, alert in alerting.webhook.alerts()
                    if path == "dead-mans-switch" and alert["annotations"]
                ]

            (annotations, *_) = wait_for(links, "no watchdog", more=lambda: process.stderr)
            runbook, dashboard = annotations["runbook_url"], annotations["dashboard_url"]
            assert re.fullmatch(r"https?://\S+/SeasaltWatchdog\.md", runbook)
            assert re.fullmatch(r"https?://\S+/d/seasalt-exporter", dashboard)


# compose.yaml.


@pytest.mark.parametrize("service", SERVICES)
def test_compose_pins_its_images_and_opens_nothing_to_the_network(service: str) -> None:
    told = SERVICES[service]
    pinned = r"[\w./-]+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?"
    assert "build" in told or re.fullmatch(pinned, told["image"])
    for port in told["ports"]:
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("service", SERVICES)
def test_compose_mounts_folders_that_are_there(service: str) -> None:
    named = read(COMPOSE)["volumes"]
    for mount in SERVICES[service]["volumes"]:
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source in named:
            assert mode == []
        else:
            path = source.removeprefix("./")
            assert mode == ["ro"]
            # A folder, so that a file that an editor replaces is seen.
            assert (ROOT / path).is_dir(), mount


def test_grafana_finds_its_dashboards_and_prometheus_where_compose_puts_them() -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    for kind in ("dashboards", "datasources"):
        assert mounts[f"./grafana/provisioning/{kind}"] == f"/etc/grafana/provisioning/{kind}"
    # Over the whole folder the image's own plugins and alerting would be gone.
    assert "/etc/grafana/provisioning" not in mounts.values()
    (provider,) = read(provisioning / "dashboards" / "seasalt.yml")["providers"]
    assert provider["options"]["path"] == mounts["./grafana/dashboards"]
    (source,) = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]


def test_compose_starts_each_program_with_flags_that_it_has() -> None:
    programs = {
        "prometheus": program("prometheus"),
        "alertmanager": of_alertmanager("alertmanager"),
    }
    for service, path in programs.items():
        known = finished([path, "--help"])
        for argument in SERVICES[service]["command"]:
            flag = re.escape(argument.partition("=")[0].removeprefix("--"))
            told = known.stdout + known.stderr
            assert re.search(rf"^ +--(\[no-\])?{flag}\b", told, re.MULTILINE)


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_compose_starts_the_exporter_where_others_reach_it(command: str) -> None:
    told = SERVICES["exporter"]
    assert told["command"] == ["${SEASALT_COMMAND:-demo}"]
    unset = re.compile(r"\$\{\w+(?::-([^}]*)|:\+[^}]*)\}")  # as without a file .env
    own = {
        name: unset.sub(lambda found: found[1] or "", value)
        for name, value in told["environment"].items()
        if name.startswith("SEASALT")
    }
    assert own.keys() <= {flag.variable for flag in FLAGS}
    invocation = parse([command], own)
    assert invocation.one("web.listen-address") == ":9877"
    assert "web.listen-address" in invocation.given
    assert (invocation.one("bots"), invocation.one("trouble")) == ("4", "")


def test_compose_can_start_the_demo_with_many_bots_and_trouble() -> None:
    told = SERVICES["exporter"]["environment"]
    for name in ("SEASALT_EXPORTER_BOTS", "SEASALT_EXPORTER_TROUBLE"):
        assert told[name] == f"${{{name}:-}}"


def test_compose_mounts_the_folder_of_the_configuration() -> None:
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["exporter"]["volumes"])
    assert mounts["./config"] == "/etc/seasalt-exporter"
    assert (ROOT / "config" / "seasalt.yml").is_file()


def test_what_starts_compose_stands_in_a_file_that_every_later_command_reads_as_well() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert given.pop("SEASALT_COMMAND") == "serve"
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    assert given.keys() == asked - {"SEASALT_COMMAND"}
    assert set(given.values()) == {""}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ignored
    told = (ROOT / "docs" / "install.md").read_text(encoding="utf-8") + COMPOSE.read_text("utf-8")
    assert "SEASALT_COMMAND=serve docker compose" not in told


@pytest.mark.parametrize("file", ["README.md", "docs/install.md", "Dockerfile"])
def test_whoever_starts_the_image_by_hand_gives_it_key_state_and_folder(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n#", "").replace("\\\n", "")
    (command,) = re.findall(r"docker run [^`\n]*seasalt-exporter serve[^`\n]*", text)
    words = command.split()
    assert "SEACHAT_API_KEY" in words
    volumes = [words[at + 1].strip('"') for at, word in enumerate(words) if word == "-v"]
    folder, state = (volume.split(":") for volume in volumes)
    assert folder[1:] == ["/etc/seasalt-exporter", "ro"]
    assert "." not in folder[0]
    assert state[1] == "/var/lib/seasalt-exporter"
    assert f"--state.file={state[1]}/state" in words


def test_compose_keeps_the_state_file_on_a_volume_that_the_image_gives_to_its_user() -> None:
    told = SERVICES["exporter"]
    of_serve = re.fullmatch(
        r"\$\{SEASALT_COMMAND:\+(\S+)\}", told["environment"]["SEASALT_EXPORTER_STATE_FILE"]
    )
    assert of_serve
    assert parse(["demo"], {"SEASALT_EXPORTER_STATE_FILE": ""}).one("state.file") == ""
    folder = str(Path(of_serve[1]).parent)
    mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in told["volumes"]}
    assert mounts[folder] in read(COMPOSE)["volumes"]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"RUN install -d -m 700 -o 65534 -g 65534 {folder}\n" in image
    assert "USER 65534:65534\n" in image.partition(folder + "\n")[2]


def test_compose_gives_the_exporter_what_its_configuration_refers_to() -> None:
    config = (ROOT / "config" / "seasalt.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)", config)) <= SERVICES["exporter"]["environment"].keys()


def test_compose_has_the_hosts_that_prometheus_is_told_of() -> None:
    config = read(PROMETHEUS / "prometheus.yml")
    places = [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]
    targets = {
        target
        for place in places
        for static in place.get("static_configs", ())
        for target in static["targets"]
    }
    for target in targets:
        host, _, port = target.partition(":")
        service = SERVICES["prometheus" if host == "localhost" else host]
        assert f"127.0.0.1:{port}:{port}" in service["ports"]


def test_history_is_kept_for_longer_than_the_baselines_reach_back() -> None:
    (kept,) = re.findall(r"retention\.time=(\d+)d", str(SERVICES["prometheus"]["command"]))
    assert int(kept) > 5 * 7
