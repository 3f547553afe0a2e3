"""The commands as a user has them: real processes, their output and their exit status."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import ANYWHERE, LISTENING, LOOPBACK, SMALL, Command, ServedSandbox, missing
from support.pagecheck import problems, series
from support.processes import (
    PATIENCE,
    Running,
    answered,
    finished,
    get,
    started,
    wait_for,
)

from exporter.metrics.exposition import API_FAMILIES
from exporter.model.apis import APIS
from exporter.sandbox import Sandbox

CONFIGURATION: Final = SMALL + '    bots: [{id: "${BOT_ID}", name: Only}]\n'


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The flag that names a configuration for the small sandbox."""
    file = tmp_path / "seasalt.yml"
    file.write_text(CONFIGURATION)
    return f"--config.file={file}"


@contextmanager
def serving(
    exporter: Command, config: str, sandbox: ServedSandbox, *flags: str
) -> Iterator[tuple[Running, str]]:
    """The exporter on a port of its own choice, and the URL that it logs."""
    command = [*exporter, "serve", config, f"--web.listen-address={LOOPBACK}", *flags]
    with started(command, sandbox.environment) as process:
        address = process.said(LISTENING)
        yield process, f"http://{address}"


def test_the_console_script_is_installed(exporter: Command) -> None:
    if exporter[1:]:
        missing("seasalt-exporter is not installed beside Python: tests/run installs it")
    shown = finished([*exporter, "--version"])
    as_module = finished([sys.executable, "-m", "exporter", "--version"])
    assert shown.status == 0
    assert re.fullmatch(
        r"seasalt-exporter \d+\.\d+\.\d+ \((revision \w+(-dirty)?, )?Python 3\.\S+\)\n",
        shown.stdout,
    )
    assert shown == as_module


def without_anything_yet() -> dict[str, str]:
    """The families that the demo cannot show at this hour, each with the reason.

    The same seed makes the same events, so a sandbox of our own knows of the demo's.
    """
    now = datetime.now(UTC)
    sandbox = Sandbox.make(now=lambda: now, days=31)
    zone = ZoneInfo(sandbox.workspaces[0].timezone)
    today = datetime.combine(now.astimezone(zone), time(), zone)
    of_calls = "SELECT count(*) FROM call WHERE started_at >= ? AND started_at < ?"
    of_labels = (
        "SELECT count(*) FROM label_application JOIN label ON label.number = label"
        " WHERE name = 'Support' AND at >= ? AND at < ?"
    )
    reasons = {
        "seasalt_activity_trend_calls": ("no call was made today", of_calls, today),
        "seasalt_label_relation_ratio": (
            "nothing was labelled Support this month, and a share of nothing is none",
            of_labels,
            today.replace(day=1),
        ),
    }
    found = {
        family: reason
        for family, (reason, count, since) in reasons.items()
        if not sandbox.connection.execute(count, (since.timestamp(), now.timestamp())).fetchone()[0]
    }
    sandbox.close()
    return found


def test_demo_shows_every_family_of_the_catalogue_within_seconds(
    exporter: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    cannot = without_anything_yet()
    wanted = {family.name for family in API_FAMILIES} - cannot.keys()
    with started([*exporter, "demo", *ANYWHERE]) as process:
        page = process.said(r"^Metrics +(http://127\.0\.0\.1:\d+/metrics)$")
        process.said(r"^Sandbox API +(http://127\.0\.0\.1:\d+)")

        def absent() -> set[str]:
            return wanted - {name for name, _ in series(get(page).body)}

        wait_for(lambda: not absent(), "not every family", more=absent)
        took = process.seconds
        found = series(get(page).body)
        assert problems(get(page).body) == []
    apis = {dict(labels)["api"] for (name, labels) in found if name == "seasalt_report_success"}
    assert apis == set(APIS)
    with capsys.disabled():
        without = "".join(f"; no {family}: {why}" for family, why in cannot.items())
        print(f" [{len(wanted)} families {took:.2f} s after the start{without}]", end="")
    assert took < 15  # 5 on an idle machine


def test_once_with_a_wrong_key_says_so_and_never_shows_the_key(
    exporter: Command, config: str, small_sandbox: ServedSandbox
) -> None:
    wrong = "seachat-0123456789abcdef0123456789abcdef"
    for level in ("info", "debug"):
        ended = finished(
            [*exporter, "once", config, f"--log.level={level}"],
            small_sandbox.environment | {"SEACHAT_API_KEY": wrong},
        )
        assert ended.status == 1
        assert "HTTP 401: the key is not accepted" in ended.stderr
        assert wrong not in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        assert problems(ended.stdout.encode()) == []


@pytest.mark.parametrize("command", ["serve", "demo", "sandbox"])
def test_sigterm_ends_a_server_with_status_0_within_10_seconds(
    exporter: Command, config: str, small_sandbox: ServedSandbox, command: str
) -> None:
    with ExitStack() as stack:
        if command == "serve":
            process, url = stack.enter_context(serving(exporter, config, small_sandbox))
            answered(f"{url}/-/ready")
        else:
            flags = ANYWHERE if command == "demo" else ANYWHERE[1:]
            process = stack.enter_context(started([*exporter, command, *flags]))
            own = "Metrics" if command == "demo" else "Sandbox API at"
            get(process.said(rf"^{own} +(http://127\.0\.0\.1:\d+)"))  # answered once it is up
        ended = process.end(within=10)
    assert ended.status == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_sigterm_does_not_wait_for_an_api_that_never_answers(
    exporter: Command, config: str, small_sandbox: ServedSandbox
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(PATIENCE)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        small = small_sandbox.environment | {"SANDBOX_URL": url}
        command = [*exporter, "serve", config, f"--web.listen-address={LOOPBACK}"]
        with started(command, small) as process, closing(silent.accept()[0]):
            address = process.said(LISTENING)
            assert get(f"http://{address}/metrics").status == 200
            assert get(f"http://{address}/-/ready").status == 503
            assert process.end(within=10).status == 0


def test_every_mistake_of_a_configuration_has_its_line_and_no_request_is_sent(
    exporter: Command, tmp_path: Path, small_sandbox: ServedSandbox
) -> None:
    file = tmp_path / "bad.yml"
    file.write_text(
        CONFIGURATION.replace("requests_per_minute: 6000", "intervall: 10m")
        + "    timezone: Europe/Atlantis\n"
        + "    metrics: [{metric: csat, window: last_fortnight}, conversations]\n"
    )
    before = len(small_sandbox.requests)
    for command in ("serve", "once", "plan"):
        ended = finished([*exporter, command, f"--config.file={file}"], small_sandbox.environment)
        lines = ended.stderr.splitlines()
        assert (ended.status, ended.stdout, len(lines)) == (1, "", 4), ended.stderr
        assert all(re.match(re.escape(str(file)) + r":\d+: \S+: ", line) for line in lines)
        for place in ("intervall", "timezone", "metrics[0].window", "metrics[1]"):
            assert sum(f"{place}: " in line for line in lines) == 1
    assert len(small_sandbox.requests) == before


@pytest.mark.parametrize(
    ("hidden", "raises", "says"),
    [
        ("yaml", "ModuleNotFoundError", "the Python package pyyaml is not installed"),
        ("prometheus_client", "ModuleNotFoundError", "the Python package prometheus-client is not"),
        ("httpx", "ModuleNotFoundError", "the Python package httpx is not installed"),
        ("h11", "ModuleNotFoundError", "the Python package h11 is not installed"),
        ("pydantic", "ImportError", "the Python package pydantic is of an unfit version"),
        ("_ssl", "ModuleNotFoundError", "this Python was built without its module _ssl"),
    ],
)
def test_a_package_that_is_missing_is_named_in_one_line(
    config: str, tmp_path: Path, hidden: str, raises: str, says: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {hidden!r}:\n"
        f"            raise {raises}(f'No module named {{name}}', name=name)\n"
        f"sys.modules.pop({hidden!r}, None)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )

    command = [sys.executable, "-m", "exporter", "serve", config]
    ended = finished(command, {"PYTHONPATH": str(tmp_path)})

    assert (ended.status, ended.stdout) == (1, ""), ended.stderr
    assert ended.stderr.startswith(says)
    assert ended.stderr.count("\n") == 1


def test_without_time_zones_the_package_that_has_them_is_named(
    config: str, tmp_path: Path, small_sandbox: ServedSandbox
) -> None:
    (tmp_path / "tzdata").mkdir()
    (tmp_path / "tzdata" / "__init__.py").touch()
    nowhere = {"PYTHONTZPATH": "", "PYTHONPATH": str(tmp_path)}

    command = [sys.executable, "-m", "exporter", "plan", config]
    ended = finished(command, small_sandbox.environment | nowhere)

    assert (ended.status, ended.stdout) == (1, "")
    for line in ended.stderr.splitlines():
        assert line.endswith("no time zones are here, install the package tzdata")


def test_a_mounted_file_that_was_replaced_outside_is_told_at_the_start_and_at_each_reload(
    exporter: Command, config: str, small_sandbox: ServedSandbox
) -> None:
    file = Path(config.removeprefix("--config.file="))
    with file.open("rb") as mounted:
        file.unlink()  # as behind a mount, where an editor has put another file in its place
        old = f"--config.file=/proc/{os.getpid()}/fd/{mounted.fileno()}"
        with serving(exporter, old, small_sandbox) as (process, url):
            answered(f"{url}/-/ready")
            process.said(r"^(/proc/\S+: warning: the file that is mounted here has been replaced)")
            process.send(signal.SIGHUP)
            process.said(r'level=warn .*msg=configuration reason="(.*mount its folder)"')
            assert process.end().status == 0
