"""A new configuration for a process that serves: by signal, by request, and by itself."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import LISTENING, LOOPBACK, SMALL, Command, ServedSandbox
from support.pagecheck import series
from support.processes import PATIENCE, Running, answered, get, started, wait_for

from exporter.polling.reload import LOOK_EVERY

BAD: Final = sorted((Path(__file__).parents[1] / "data/configs").glob("*.bad.yml"))
LABELS: Final = "    metrics: [label_overview]\n"
YEARLY: Final = (
    "    metrics: [label_overview, conversation_overview_yearly]\n"  # never in one request
)


class Served:
    """A serving exporter and the file that it was started with."""

    def __init__(self, process: Running, url: str, file: Path) -> None:
        self.process = process
        self.url = url
        self.file = file

    def write(self, text: str) -> None:
        """Put another configuration in the place of the file."""
        self.file.write_text(text, encoding="utf-8")

    def value(self, family: str) -> float:
        """The value of a family of the exporter's own that has one series."""
        return series(get(f"{self.url}/metrics").body)[family, frozenset()]

    def reports(self) -> dict[str, float]:
        """The values of the reports' last success, by the report's name."""
        found = series(get(f"{self.url}/metrics").body)
        return {
            dict(labels)["report"]: value
            for (name, labels), value in found.items()
            if name == "seasalt_report_last_success_timestamp_seconds"
        }


@contextmanager
def serving(exporter: Command, sandbox: ServedSandbox, file: Path, *flags: str) -> Iterator[Served]:
    file.write_text(SMALL + LABELS, encoding="utf-8")
    command = [
        *exporter, "serve", f"--config.file={file}", f"--web.listen-address={LOOPBACK}", *flags
    ]  # fmt: skip
    with started(command, sandbox.environment) as process:
        served = Served(process, f"http://{process.said(LISTENING)}", file)
        answered(f"{served.url}/-/ready")
        wait_for(served.reports, "no report")
        yield served
        ended = process.end()
    assert (ended.status, "Traceback" in ended.stderr) == (0, False), ended.stderr


def test_a_signal_puts_the_new_file_in_force_and_keeps_what_it_does_not_change(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with serving(exporter, small_sandbox, tmp_path / "seasalt.yml") as served:
        before, asked = served.reports(), len(small_sandbox.requests)
        served.write(SMALL + YEARLY)
        served.process.send(signal.SIGHUP)
        wait_for(lambda: "conversation_overview_yearly" in served.reports(), "no new report")
        assert served.reports()["label_overview"] == before["label_overview"]
        assert len(small_sandbox.requests) == asked + 1
        served.write(SMALL + LABELS)
        served.process.send(signal.SIGHUP)
        wait_for(lambda: served.reports() == before, "not as before")
        assert len(small_sandbox.requests) == asked + 1


def test_a_signal_to_reload_does_not_kill_what_is_about_to_end(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with serving(
        exporter, small_sandbox, tmp_path / "seasalt.yml"
    ) as served:  # looks at the status
        served.process.send(signal.SIGTERM)
        ended = False
        while not ended:
            served.process.send(signal.SIGHUP)
            with suppress(subprocess.TimeoutExpired):
                ended = bool(served.process.wait(0.002))


def test_of_every_bad_file_nothing_is_taken_up_and_the_first_mistake_is_told(
    exporter: Command,
    small_sandbox: ServedSandbox,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "seasalt.yml"
    with serving(exporter, small_sandbox, file, "--web.enable-lifecycle") as served:
        before, asked = served.reports(), len(small_sandbox.requests)
        assert len(BAD) >= 40
        for bad in BAD:
            text = bad.read_text(encoding="utf-8")
            served.write(text)
            answer = get(f"{served.url}/-/reload", method="POST")
            assert answer.status == 500
            says = text.splitlines()[0].removeprefix("# says: ")
            assert f"{file}:{says}" in answer.body.decode().splitlines()
            assert "canary" not in answer.body.decode()
            assert served.value("seasalt_exporter_config_last_reload_successful") == 0
            assert served.reports() == before
        assert "canary" not in served.process.stderr
        served.write(SMALL + YEARLY)
        assert get(f"{served.url}/-/reload", method="POST").status == 200
        assert served.value("seasalt_exporter_config_last_reload_successful") == 1
        wait_for(lambda: "conversation_overview_yearly" in served.reports(), "no new report")
        assert len(small_sandbox.requests) == asked + 1
    with capsys.disabled():
        print(f" [{len(BAD)} bad files, none taken up]", end="")


def test_a_workspace_that_was_removed_is_not_on_the_next_page(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    with serving(exporter, small_sandbox, file, "--web.enable-lifecycle") as served:
        served.write((SMALL + LABELS).replace("name: small", "name: other"))
        assert get(f"{served.url}/-/reload", method="POST").status == 200
        page = get(f"{served.url}/metrics").body.decode()
        assert 'workspace="small"' not in page
        assert re.search(r'^seasalt_api_requests_total\{.*workspace="other"', page, re.MULTILINE)


def test_a_changed_file_is_noticed_where_that_is_asked_for(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    with serving(exporter, small_sandbox, file, "--config.enable-auto-reload") as served:
        served.write(SMALL + YEARLY)
        wait_for(
            lambda: "conversation_overview_yearly" in served.reports(),
            "no new report",
            within=4 * LOOK_EVERY + PATIENCE,
        )
