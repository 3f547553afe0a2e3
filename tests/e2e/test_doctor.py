"""The command doctor as a user runs it: a real process, a sandbox that listens, and trouble."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import SMALL, Command, ServedSandbox, served
from support.processes import finished

from exporter.sandbox import Sandbox, Temperament

BOT: Final = "    timezone: America/New_York\n    bots: [{id: '${BOT_ID}'}]\n"
WITH_BOT: Final = SMALL + "    workspace_id: ${WORKSPACE_ID}\n" + BOT
"""A workspace of a sandbox, its only bot, and the time zone in which it is."""


@pytest.fixture(scope="module")
def odd() -> Iterator[ServedSandbox]:
    """A sandbox that reads the documents in another way."""
    temper = (Temperament.PARTIAL_BATCHES, Temperament.SATISFACTION_RATIO)
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=95, temper=temper)
    with served(made) as found:
        yield found


def test_findings_are_printed_and_what_is_to_be_mended_is_status_1(
    exporter: Command, odd: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(WITH_BOT, encoding="utf-8")
    odd.requests.clear()

    ended = finished([*exporter, "doctor", f"--config.file={file}"], odd.environment)

    assert (ended.status, ended.stderr) == (1, "")
    assert 0 < len(odd.requests) <= 12
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("workspace small (SeaChat, America/New_York): ")
    assert any("ok " in line and "the bad one is missing" in line for line in lines)
    assert any("mend " in line and "100 times too low" in line for line in lines)


def test_as_json_it_is_the_same_for_machines(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(WITH_BOT, encoding="utf-8")

    command = [*exporter, "doctor", "--json", f"--config.file={file}"]
    ended = finished(command, small_sandbox.environment)

    assert (ended.status, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    (workspace,) = told["workspaces"]
    assert (told["version"], workspace["workspace"]) == (1, "small")
    assert {finding["question"]: finding["answer"] for finding in workspace["findings"]}[
        "bots"
    ] == "exist"
    assert small_sandbox.environment["SEACHAT_API_KEY"] not in ended.stdout


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("    timeout: 2s\n", "the API cannot be reached: connection refused"),
        ("    http: {proxy_url: 'http://127.0.0.1:9'}\n", "the proxy cannot be reached"),
    ],
)
def test_an_api_that_cannot_be_reached_is_one_finding_and_no_traceback(
    exporter: Command, tmp_path: Path, keys: str, says: str
) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(SMALL + keys, encoding="utf-8")
    environment = {"SANDBOX_URL": "http://127.0.0.1:9", "SEACHAT_API_KEY": "sk-canary-0123456789"}

    ended = finished([*exporter, "doctor", f"--config.file={file}"], environment)

    assert (ended.status, ended.stderr) == (1, "")
    assert "sk-canary" not in ended.stdout
    (line,) = [line for line in ended.stdout.splitlines() if "mend " in line]
    assert says in line


def test_every_mistake_of_the_configuration_is_a_line_and_nothing_is_sent(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(SMALL + "    timeout: soon\n    bots: [b1]\n", encoding="utf-8")
    small_sandbox.requests.clear()

    command = [*exporter, "doctor", f"--config.file={file}"]
    ended = finished(command, small_sandbox.environment)

    assert (ended.status, ended.stdout, small_sandbox.requests) == (1, "", [])
    assert len(ended.stderr.splitlines()) == 2
