"""The exporter with a state file, killed and started again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from e2e.programs import LOOPBACK, Command, ServedSandbox
from support.pagecheck import problems, series
from support.processes import Running, answered, finished, get, started, wait_for

LISTENING: Final = r"msg=listening address=(127\.0\.0\.1:[1-9]\d*)$"
CONFIGURATION: Final = """\
requests_per_minute: 6000
workspaces:
  - name: small
    api: seachat
    base_url: ${SANDBOX_URL}
    api_key: ${SEACHAT_API_KEY}
    workspace_id: ${WORKSPACE_ID}
    discover_bots: {}
    metrics: [label_overview, total_usage]
"""


@contextmanager
def serving(
    exporter: Command, sandbox: ServedSandbox, folder: Path
) -> Iterator[tuple[Running, str]]:
    (folder / "seasalt.yml").write_text(CONFIGURATION, encoding="utf-8")
    command = [
        *(*exporter, "serve", f"--config.file={folder / 'seasalt.yml'}"),
        *(f"--state.file={folder / 'seasalt.state'}", f"--web.listen-address={LOOPBACK}"),
    ]
    with started(command, sandbox.environment) as process:
        yield process, f"http://{process.said(LISTENING)}"


def values(url: str) -> dict[object, float]:
    """What the page says of the API: values and when they came."""
    page = get(f"{url}/metrics").body
    assert problems(page) == []
    shown = ("seasalt_label", "seasalt_total", "seasalt_bot", "seasalt_report_last_success")
    return {key: value for key, value in series(page).items() if key[0].startswith(shown)}


def everything(url: str, sandbox: ServedSandbox) -> dict[object, float]:
    """What the page says once every report has brought values: one a bot, the labels, the list."""
    reports = len(sandbox.sandbox.workspaces[0].bots) + 2
    name = "seasalt_report_last_success_timestamp_seconds"

    def all_of_it() -> dict[object, float] | None:
        found = values(url)
        return found if sum(key[0] == name for key in found) == reports else None  # type: ignore[index]  # keys are pairs

    return wait_for(all_of_it, "not every value")


def test_a_killed_exporter_goes_on_where_it_was_and_asks_for_nothing_again(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.state"
    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        before = everything(url, small_sandbox)
        wait_for(file.exists, "no state")
        process.send(signal.SIGKILL)
    asked = len(small_sandbox.requests)

    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        assert get(f"{url}/-/ready").status == 200
        after = values(url)
        ended = process.end(within=10)
    assert ended.status == 0, ended.stderr
    # What came in the second before the kill may not have been written yet.
    assert after.items() <= before.items()
    assert len(after) >= 0.5 * len(before)
    if after == before:
        assert len(small_sandbox.requests) == asked


def test_an_exporter_that_ended_well_has_kept_everything(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        before = everything(url, small_sandbox)
        assert process.end(within=10).status == 0
    asked = len(small_sandbox.requests)

    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        assert get(f"{url}/-/ready").status == 200
        assert values(url) == before
        assert len(small_sandbox.requests) == asked
        assert process.end(within=10).status == 0


def test_a_second_exporter_does_not_start_on_the_same_file(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with serving(exporter, small_sandbox, tmp_path) as (_, url):
        answered(f"{url}/-/healthy")
        command = [
            *(*exporter, "serve", f"--config.file={tmp_path / 'seasalt.yml'}"),
            *(f"--state.file={tmp_path / 'seasalt.state'}", f"--web.listen-address={LOOPBACK}"),
        ]
        ended = finished(command, small_sandbox.environment)
    assert ended.status == 1
    assert "another process uses it" in ended.stderr
    assert str(tmp_path / "seasalt.state") in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_damaged_file_costs_the_state_and_nothing_else(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    (tmp_path / "seasalt.state").write_bytes(b"seasalt-exporter-state 1 0 0 0\n{")
    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        wait_for(lambda: values(url), "no values")
        page = series(get(f"{url}/metrics").body)
        assert page["seasalt_exporter_state_quarantined_total", frozenset()] == 1
        assert "is damaged" in process.stderr
    assert (tmp_path / "seasalt.state.corrupt").exists()


def test_a_folder_that_cannot_be_written_costs_the_state_and_nothing_else(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "a file"
    folder.write_text("in the place of the folder", encoding="utf-8")
    (tmp_path / "seasalt.yml").write_text(CONFIGURATION, encoding="utf-8")
    command = [
        *(*exporter, "serve", f"--config.file={tmp_path / 'seasalt.yml'}"),
        *(f"--state.file={folder / 'seasalt.state'}", f"--web.listen-address={LOOPBACK}"),
    ]
    with started(command, small_sandbox.environment) as process:
        url = f"http://{process.said(LISTENING)}"
        wait_for(lambda: values(url), "no values")
        wait_for(
            lambda: series(get(f"{url}/metrics").body)[
                "seasalt_exporter_state_write_failures_total", frozenset()
            ],
            "no failure counted",
        )
        ended = process.end(within=10)
    assert ended.status == 0
    assert 1 <= ended.stderr.count("msg=state ") <= 3
    assert "Traceback" not in ended.stderr
