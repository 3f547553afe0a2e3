"""The Dockerfile, as far as it can be tried without a container engine."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.programs import ANYWHERE, ROOT, ServedSandbox
from support.processes import answered, finished, started

from exporter.commands.flags import CONFIGURATIONS


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, " ".join(rest.split())


def last(word: str) -> str:
    """The arguments of the last instruction of that name, which is the one in force."""
    return [rest for found, rest in instructions() if found == word][-1]


def environment_of_the_image() -> dict[str, str]:
    """What the last ENV sets."""
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def by_hand(command: str) -> list[str]:
    """A command in the JSON form, to be run by this Python."""
    program, *arguments = json.loads(command)
    assert program == "python"
    return [sys.executable, *arguments]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with what the image's /app has: the package alone."""
    shutil.copytree(ROOT / "exporter", tmp_path / "app/exporter")
    return tmp_path / "app"


def test_whatever_is_copied_exists_and_is_not_ignored() -> None:
    copied = [
        source
        for word, rest in instructions()
        if word == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source.rstrip('/')}" in kept


def test_every_dependency_is_pinned_by_its_hash() -> None:
    [install] = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert "--require-hashes" in install
    assert "--no-deps" in install
    assert install.endswith("requirements.lock")


def test_what_runs_has_neither_pip_nor_setuptools() -> None:
    runs = [rest for word, rest in instructions() if word == "RUN"]
    assert "python -m venv --without-pip /venv" in runs
    [install] = [rest for rest in runs if "PIP_PYTHON=/venv/bin/python pip install" in rest]
    last_stage = [rest for rest in runs[runs.index(install) :] if "pip uninstall" in rest]
    assert "--yes --root-user-action=ignore setuptools wheel pip" in last_stage[0]
    assert "ensurepip" in last_stage[0]


def test_an_environment_without_pip_is_filled_from_outside(tmp_path: Path) -> None:
    made = finished([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
    assert made.status == 0, made.stderr
    python = str(tmp_path / "venv/bin/python")
    pip = [sys.executable, "-m", "pip", "list", "--format=json"]
    asked = finished(pip, {"PIP_PYTHON": python})
    assert (asked.status, json.loads(asked.stdout)) == (0, [])
    assert finished([python, "-m", "pip", "--version"]).status == 1


def test_it_does_not_run_as_root() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_demo_runs_by_the_image_s_command_and_is_healthy(app: Path) -> None:
    command = [*by_hand(last("ENTRYPOINT")), "demo", *ANYWHERE]
    environment = {"PYTHONPATH": str(app), "PYTHONSAFEPATH": "1"}
    with started(command, environment) as process:
        page = process.said(r"^Metrics +(\S+)$")
        answered(page)
        port = page.removeprefix("http://127.0.0.1:").removesuffix("/metrics")
        check = by_hand(last("HEALTHCHECK").partition(" CMD ")[2])
        environment["SEASALT_EXPORTER_WEB_LISTEN_ADDRESS"] = f":{port}"
        healthy = finished(check, environment)
        assert healthy.status == 0, healthy.stderr
    assert finished(check, environment).status == 1


def test_without_arguments_it_serves_the_mounted_configuration(
    app: Path, tmp_path: Path, small_sandbox: ServedSandbox
) -> None:
    assert environment_of_the_image()["SEASALT_EXPORTER_CONFIG_FILE"] == CONFIGURATIONS[1]
    mounted = tmp_path / "seasalt.yml"
    mounted.write_text(
        "requests_per_minute: 6000\n"
        "workspaces: [{name: a, api: seachat, base_url: '${SANDBOX_URL}',"
        " api_key: '${SEACHAT_API_KEY}'}]\n"
    )
    command = by_hand(last("ENTRYPOINT"))
    environment = small_sandbox.environment | {
        "PYTHONPATH": str(app),
        "PYTHONSAFEPATH": "1",
        "SEASALT_EXPORTER_CONFIG_FILE": str(mounted),
        "SEASALT_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0",
    }
    with started(command, environment) as process:
        address = process.said(r"msg=listening address=(\S+)")
        answered(f"http://{address}/-/ready")
        assert process.end().status == 0


def test_without_arguments_or_a_configuration_it_prints_the_help_and_how_to_begin(
    app: Path,
) -> None:
    assert not [rest for word, rest in instructions() if word == "CMD"]
    file = environment_of_the_image()["SEASALT_EXPORTER_CONFIG_FILE"]
    assert not Path(file).exists()
    environment = {"PYTHONPATH": str(app), "PYTHONSAFEPATH": "1"}
    told = finished(
        by_hand(last("ENTRYPOINT")), environment | {"SEASALT_EXPORTER_CONFIG_FILE": file}
    )
    assert (told.status, told.stderr) == (0, "")
    assert told.stdout.startswith("usage: seasalt-exporter")
    assert f"There is no configuration at {file}. To begin:" in told.stdout
    assert "IMAGE demo --web.listen-address=:9877" in told.stdout
