"""The commands of the pages for operators, run as they stand there on one machine, in their order.

The first hour starts what the other pages assume: an exporter, a Prometheus, an Alertmanager.
"""

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml
from e2e.programs import ROOT, missing, served
from e2e.test_dashboards import prometheus_on
from support.alerting import TEMPLATES, of_alertmanager
from support.longterm import store
from support.page_commands import blocks, commands
from support.processes import Ended, answered, finished, free_port, get, started, wait_for

from exporter.sandbox import Sandbox

pytestmark = pytest.mark.takes_minutes

LISTENS: Final = {
    "seasalt-exporter": 9877,
    "prometheus": 9090,
    "alertmanager": 9093,
    "victoria-metrics": 8428,
    "vmalert": 8880,
}
"""Where the pages have each program listen."""
SOON: Final = {
    "prometheus": "--rules.alert.resend-delay=2s",
    "victoria-metrics": "-search.latencyOffset=0s",
    "vmalert": "-evaluationInterval=2s -rule.evalDelay=0s -remoteWrite.flushInterval=100ms",
}
"""Flags for those who do not wait a minute."""
AGING: Final = re.compile("age_(seconds|intervals)|local_time")
"""Recorded series that are different whenever they are looked at."""


@dataclass
class Desk:
    """A folder with the repository's configuration, and the programs on the path.

    Attributes:
        folder: Where the commands run.
        ports: Where the programs really listen, by where the pages have them listen.
        programs: Those that run until the last test has ended.
    """

    folder: Path
    ports: dict[int, int]
    programs: ExitStack = field(default_factory=ExitStack)

    def here(self, command: str) -> str:
        """A command with the ports of this desk."""
        return re.sub(
            r"localhost:(\d+)", lambda found: f"127.0.0.1:{self.ports[int(found[1])]}", command
        )

    @property
    def variables(self) -> dict[str, str]:
        """The path with the programs in front."""
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def run(self, command: str) -> Ended:
        """Run a command of a page to its end."""
        whole = f"cd {shlex.quote(f'{self.folder}')} && {self.here(command)}"
        return finished(["bash", "-c", whole], self.variables, within=60)

    def says(self, command: str, pattern: str) -> str:
        """What a command prints, once it ends well and prints what matches."""

        def look() -> str | None:
            ended = self.run(command)
            if ended.status == 0 and re.search(pattern, ended.stdout + ended.stderr, re.MULTILINE):
                return ended.stdout
            time.sleep(0.5)  # a program is started for each look
            return None

        return wait_for(look, f"{command} does not print {pattern}", more=lambda: self.run(command))

    def start(self, command: str, programs: ExitStack | None = None) -> str:
        """Start what a page starts in the background; its URL."""
        given = command.removesuffix(" &")
        assert given != command, command
        name = given.partition(" ")[0]
        address = f"127.0.0.1:{self.ports[LISTENS[name]]}"
        listen = "-httpListenAddr" if name.startswith("v") else "--web.listen-address"
        flags = f"{listen}={address} {SOON.get(name, '')}"
        whole = f"cd {self.folder} && exec {self.here(given)} {flags}"
        (programs or self.programs).enter_context(started(["bash", "-c", whole], self.variables))
        answered(f"http://{address}/{'health' if name.startswith('v') else '-/healthy'}")
        return f"http://{address}"


@pytest.fixture(scope="module")
def desk(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A desk with an account that has one bot."""
    if not TEMPLATES.exists():
        missing(f"no {TEMPLATES}: tests/prepare-machine copies them there")
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "bin").mkdir()
    alertmanager = of_alertmanager("alertmanager")
    for name, path in {
        "prometheus": prometheus,
        "promtool": promtool,
        "alertmanager": alertmanager,
        "amtool": of_alertmanager("amtool"),
    }.items():
        (folder / "bin" / name).symlink_to(path)
    program = folder / "bin" / "seasalt-exporter"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m exporter "$@"\n')
    program.chmod(0o755)
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=60)
    with served(made) as api:
        company = made.workspaces[0]
        document: Any = yaml.safe_load((ROOT / "config/seasalt.yml").read_text(encoding="utf-8"))
        [workspace] = document["workspaces"]
        workspace |= {"api_key": company.seachat_key, "base_url": api.url}
        workspace |= {"workspace_id": company.id, "bots": [{"id": company.bots[0].id}]}
        workspace |= {"requests_per_minute": 60_000}
        calls: Any = {"name": "calls", "api": "seax", "api_key": company.seax_key}
        calls |= {"base_url": api.url, "requests_per_minute": 60_000}
        document["workspaces"].append(calls)
        (folder / "seasalt.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
        found = Desk(folder, {port: free_port() for port in LISTENS.values()})
        with found.programs:
            yield found


@pytest.fixture(scope="module")
def hour(desk: Desk) -> Desk:
    """The same after the first hour."""
    asked, told, watched, alerted = commands("first-hour")
    bots, check, plan = asked
    assert "bots:" in desk.says(bots, "id: ")
    desk.says(check, "workspaces:")
    desk.says(plan, "requests an hour")
    doctor, once, compare = told
    assert re.search(r"^  ok ", desk.run(doctor).stdout, re.MULTILINE)
    assert desk.run(once).status == 0
    assert "bot_id=" in desk.says(compare, "seasalt_conversation_overview_conversations")

    serve, copy, adapt, checked, watch, ready, count = watched
    exporter = desk.start(serve)
    desk.run(copy)
    desk.run(adapt)
    hurry(desk.folder / "prometheus" / "prometheus.yml")
    desk.says(checked, "9 rule files found")
    desk.start(watch)
    desk.says(ready, "^Ready")
    wait_for(lambda: b"Everything is up to date" in get(f"{exporter}/").body, "not all is polled")
    desk.says(count, r"workspace=\"acme\"\} => [1-9]")

    sound, notify, query, add = alerted
    desk.says(sound, "SUCCESS")
    desk.start(notify)
    desk.says(query, "SeasaltWatchdog")
    assert desk.run(add).status == 0
    return desk


def hurry(file: Path) -> None:
    """Let a Prometheus scrape and evaluate as often as a test has patience for."""
    text = file.read_text(encoding="utf-8")
    assert text.count("_interval: 60s") == 2
    text = text.replace("_interval: 60s", "_interval: 2s")
    file.write_text(text.replace("scrape_timeout: 50s", "scrape_timeout: 2s"), encoding="utf-8")


def test_the_first_hour_ends_with_an_alert_that_is_sent(hour: Desk) -> None:
    assert (hour.folder / "seasalt.state").exists()
    found = hour.run("amtool alert query --alertmanager.url=http://localhost:9093 -o json")
    names = {alert["labels"]["alertname"] for alert in json.loads(found.stdout)}
    assert {"SeasaltWatchdog", "SeasaltTest"} <= names


def test_what_is_checked_before_each_change_is_right(hour: Desk) -> None:
    [[check, plan, rules, routing, route]] = commands("production")
    [[_, *asked], *_] = commands("first-hour")
    assert [check, plan] == asked  # which the first hour has run
    hour.says(rules, "SUCCESS")
    hour.says(routing, "SUCCESS")
    hour.says(route, "^critical$")
    [*_, [bot]] = [block for block in commands("alerts") if "amtool config" in block[0]]
    hour.says(bot, "^critical$")


def test_what_troubleshooting_begins_with_says_how_it_is(hour: Desk) -> None:
    (status, reports), (firing, alerts, route) = commands("troubleshooting")
    assert '"workspaces"' in hour.says(status, '"')
    assert "seasalt_report_success{" in hour.says(reports, "1 ")
    hour.says(firing, "SeasaltWatchdog")
    hour.says(alerts, "SeasaltWatchdog")
    hour.says(route, "^warning$")


def test_a_label_of_the_target_that_the_page_has_too_is_found_and_honor_labels_keeps_the_pages(
    hour: Desk, prometheus: str, tmp_path: Path
) -> None:
    [[series, names]] = commands("labels")
    [written] = blocks("labels", "yaml")
    [kept] = yaml.safe_load(hour.here(written))["scrape_configs"]
    assert kept.pop("honor_labels") is True
    renamed = kept | {"job_name": "renamed"}
    [target] = renamed["static_configs"]
    renamed["static_configs"] = [target | {"labels": {"team": "platform", "workspace": "mine"}}]
    jobs = [renamed, kept | {"job_name": "kept", "honor_labels": True}]
    settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    with prometheus_on(prometheus, tmp_path / "data", settings) as url:

        def asked(command: str, pattern: str) -> str:
            there = url.removeprefix("http://")
            return hour.says(command.replace("localhost:9090", there), pattern)

        instant = (
            "promtool query instant http://localhost:9090 'sum by (job) (seasalt_csat_responses)'"
        )
        asked(instant, r"kept[\s\S]*renamed|renamed[\s\S]*kept")
        found = asked(series, 'exported_workspace=\\\\?"acme')
        assert 'job="renamed"' in found
        assert 'job="kept"' not in found
        assert asked(names, "_").split() == ['"exported_team"', '"exported_workspace"']
        own = "promtool query instant http://localhost:9090 'count by (team) (seasalt_csat_responses{job=\"kept\"})'"
        assert re.search('team="support"', asked(own, "team"))


def recorded(url: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Everything that rules have recorded in a store."""
    query = quote('{__name__=~".+:seasalt.+"}')
    rows = json.loads(get(f"{url}/api/v1/query?query={query}").body)["data"]["result"]
    return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in rows}


def test_vmalert_takes_every_rule_and_records_what_prometheus_records(hour: Desk) -> None:
    for name in ("victoria-metrics", "vmalert"):
        link = hour.folder / "bin" / name
        link.symlink_to(store(name))
    [[scrape, check, evaluate]] = commands("stores")
    shutil.copy(hour.folder / "prometheus/prometheus.yml", hour.folder / "config/prometheus")
    assert hour.run(check).status == 0
    with ExitStack() as own:
        stored, alerts = hour.start(scrape, own), hour.start(evaluate, own)
        prometheus = f"http://127.0.0.1:{hour.ports[9090]}"

        def same() -> bool:
            ours, theirs = recorded(prometheus), recorded(stored)
            if len(ours) > 100 and ours.keys() == theirs.keys():
                return True
            time.sleep(
                2
            )  # a store shows a new series ten seconds late, and rules need those of others
            return False

        wait_for(same, "not the same series", 120)
        ours, theirs = recorded(prometheus), recorded(stored)
        still = [series for series in ours if not AGING.search(dict(series)["__name__"])]
        assert {name: theirs[name] for name in still} == pytest.approx(
            {name: ours[name] for name in still}
        )
        groups = json.loads(get(f"{alerts}/api/v1/rules").body)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        files = "".join(
            path.read_text("utf-8") for path in (ROOT / "config/prometheus/rules").iterdir()
        )
        assert len(rules) == len(re.findall(r"^ +- (?:record|alert): ", files, re.MULTILINE))
        assert [rule for rule in rules if rule["health"] != "ok"] == []
        page = get(f"{alerts}/metrics").body.decode()
        for name in re.findall(r"`(vmalert_\w+)`", (ROOT / "docs/stores.md").read_text("utf-8")):
            assert f"\n{name}" in page, name
