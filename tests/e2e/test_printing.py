"""What the commands print, by real processes: in every locale, to readers that go, to full disks."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import ServedSandbox
from support.pagecheck import series
from support.processes import PATIENCE, finished, inherited

EXPORTER: Final = (sys.executable, "-m", "exporter")
FULL: Final = Path("/dev/full")
NAME: Final = "Grüße, 顧客 😀"
LOCALES: Final[dict[str, dict[str, str]]] = {
    "C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
}
PRINTING: Final = (
    ["--help"],
    ["--version"],
    ["docs"],
    ["plan"],
    ["once"],
    ["plan", "--config.check"],
)

each = pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)


@pytest.fixture
def environment(tmp_path: Path, small_sandbox: ServedSandbox) -> dict[str, str]:
    """What the exporter is started in: one workspace with a name that is no ASCII."""
    file = tmp_path / "seasalt.yml"
    file.write_text(
        f"requests_per_minute: 6000\nworkspaces:\n  - name: {NAME}\n    api: seachat\n"
        "    base_url: ${SANDBOX_URL}\n    api_key: ${SEACHAT_API_KEY}\n"
        '    metrics: [total_usage]\n    workspace_id: ${WORKSPACE_ID}\n    bots: [{id: "${BOT_ID}"}]\n',
        encoding="utf-8",
    )
    return {**small_sandbox.environment, "SEASALT_EXPORTER_CONFIG_FILE": str(file)}


def printed(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: int
) -> tuple[int, str]:
    """Status and errors of a command whose output goes to a descriptor."""
    done = subprocess.run(
        [*EXPORTER, *arguments],
        env=inherited() | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    "arguments", [["plan"], ["once"], ["bots"], ["plan", "--config.check"]], ids=" ".join
)
def test_what_is_printed_is_utf_8_whatever_the_locale(
    environment: dict[str, str], arguments: list[str], locale: str
) -> None:
    ended = finished([*EXPORTER, *arguments], environment | LOCALES[locale])

    assert (ended.status, ended.stderr) == (0, "")
    assert NAME in ended.stdout


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mistake_is_told_in_utf_8_whatever_the_locale(tmp_path: Path, locale: str) -> None:
    file = tmp_path / "Grüße.yml"

    ended = finished([*EXPORTER, f"--config.file={file}"], LOCALES[locale])

    assert ended.status == 1
    assert ended.stderr == f"{file}: cannot be read: No such file or directory\n"


buffered = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@buffered
@each
def test_a_reader_that_is_gone_ends_nothing_and_is_told_nothing(
    environment: dict[str, str], arguments: list[str], unbuffered: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment["PYTHONUNBUFFERED"] = unbuffered
    try:
        assert printed(arguments, environment, writing) == (0, "")
    finally:
        os.close(writing)


@buffered
@each
def test_a_full_disk_is_one_line_and_status_1(
    environment: dict[str, str], arguments: list[str], unbuffered: str
) -> None:
    environment["PYTHONUNBUFFERED"] = unbuffered
    with FULL.open("wb") as full:
        status, said = printed(arguments, environment, full.fileno())

    assert said == "cannot write to standard output: No space left on device\n"
    assert status == 1


@each
def test_without_an_output_there_is_no_traceback(
    environment: dict[str, str], arguments: list[str]
) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *EXPORTER, *arguments]

    ended = finished(command, environment)

    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


@buffered
def test_a_slow_reader_that_shares_its_pipe_without_waiting_gets_all(
    environment: dict[str, str], unbuffered: str
) -> None:
    environment["PYTHONUNBUFFERED"] = unbuffered
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # less than there is to say
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        [*EXPORTER, "docs"], env=inherited() | environment, stdout=writing, stderr=subprocess.PIPE
    )
    time.sleep(1)  # until the pipe is full
    os.close(writing)
    with open(reading, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
        found = b"".join(iter(lambda: stream.read(512), b""))
    _, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, said) == (0, b"")
    assert found.decode() == finished([*EXPORTER, "docs"]).stdout


def test_once_prints_nothing_of_the_process_that_is_over_in_a_moment(
    environment: dict[str, str],
) -> None:
    ended = finished([*EXPORTER, "once"], environment)

    names = {name for name, _ in series(ended.stdout.encode())}
    assert {"seasalt_up", "seasalt_exporter_build_info", "seasalt_report_success"} <= names
    assert {name for name in names if not name.startswith("seasalt_")} == set()
    assert "process_" not in ended.stdout
    assert "python_" not in ended.stdout
