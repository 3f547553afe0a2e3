"""The commands of docs/backfill.md are run as they stand there, against a sandbox and a Prometheus."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from e2e.programs import ROOT, ServedSandbox, served
from e2e.test_dashboards import prometheus_on
from support.page_commands import commands
from support.processes import Ended, finished, wait_for

from exporter.backfill import openmetrics
from exporter.sandbox import Sandbox

DAYS: Final = 45
"""The page asks for a year; that many days need no more than a minute."""
RECEIVER: Final = "--web.enable-remote-write-receiver"
OLD: Final = {"storage": {"tsdb": {"out_of_order_time_window": "400d"}}}

Run = Callable[[str, str], Ended]


@pytest.fixture(scope="module")
def api() -> Iterator[ServedSandbox]:
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=DAYS + 40)
    with served(made) as found:
        yield found


@pytest.fixture
def run(api: ServedSandbox, promtool: str, tmp_path: Path) -> Run:
    """Runs a command of the page in a folder, with the quick start's configuration."""
    company = api.sandbox.workspaces[0]
    document: Any = yaml.safe_load((ROOT / "config" / "seasalt.yml").read_text(encoding="utf-8"))
    [workspace] = document["workspaces"]
    workspace |= {"api_key": company.seachat_key, "base_url": api.url}
    workspace |= {"requests_per_minute": 60_000, "bots": [{"id": company.bots[0].id}]}
    (tmp_path / "seasalt.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "seasalt-exporter"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m exporter "$@"\n')
    program.chmod(0o755)
    (tmp_path / "data").mkdir()
    first = f"{datetime.now(UTC).date() - timedelta(days=DAYS)}"

    def here(command: str, url: str) -> Ended:
        command = re.sub(r"--from=[\d-]+", f"--from={first}", command)
        command = command.replace("localhost:9090", url.removeprefix("http://"))
        command = command.replace("/prometheus/", f"{tmp_path / 'data'}/")
        variables = {
            "SEASALT_EXPORTER_CONFIG_FILE": f"{tmp_path / 'seasalt.yml'}",
            "PATH": f"{program.parent}:{Path(promtool).parent}:{os.environ['PATH']}",
        }
        whole = f"cd {shlex.quote(f'{tmp_path}')} && {command}"
        return finished(["bash", "-c", whole], variables, within=120)

    return here


def there(found: Ended) -> bool:
    """Whether a query of the page has found the past."""
    result = json.loads(found.stdout)["data"]["result"]
    return bool(result) and float(result[0]["value"][1]) >= 1


def test_the_commands_of_the_page_take_a_past_from_the_api_into_prometheus(
    run: Run, prometheus: str, tmp_path: Path
) -> None:
    (check, doctor, dry, ask, blocks, flags, move, query), _ = commands("backfill")
    assert run(check, "").status == 0
    assert re.search(r"end_date|inclusive|cuts", run(doctor, "").stdout)
    assert "requests" in run(dry, "").stdout
    asked = run(ask, "")
    assert asked.status == 0, asked.stderr
    assert (tmp_path / "seasalt-backfill" / openmetrics.NAME).exists()
    made = run(blocks, "")
    assert made.status == 0, made.stderr
    assert run(move, "").status == 0
    with prometheus_on(prometheus, tmp_path / "data", {}) as url:
        assert '"storage.tsdb.retention.time":"50y"' in run(flags, url).stdout
        assert there(run(query, url))


def test_the_command_that_pushes_does_the_same(run: Run, prometheus: str, tmp_path: Path) -> None:
    [*_, query], [push] = commands("backfill")
    with prometheus_on(prometheus, tmp_path / "data", OLD, RECEIVER) as url:
        pushed = run(push, url)
        assert pushed.status == 0, pushed.stderr
        wait_for(lambda: there(run(query, url)), "the past is not there")
