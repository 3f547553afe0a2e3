"""What users install and what makes it: pinned, the same each time, with no more rights than needed."""

import ast
import hashlib
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support import lowest
from support.processes import Ended, finished

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = sorted(ROOT.glob("requirements*.lock"))
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
PUBLISHING: Final = {"id-token": "write", "pages": "write"}


def workflow(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text())
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.name for lock in LOCKS])
def test_every_dependency_is_locked_by_version_and_hash(lock: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text().strip())
    assert len(entries) > 5
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(?:\[[a-z,]+\])?==\S+", entry)
        assert "--hash=sha256:" in entry
        assert "://" not in entry.split("# via")[0]


@pytest.mark.parametrize("file", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_a_workflow_may_read_the_checkout_and_publish_pages_and_nothing_else(file: Path) -> None:
    parsed = workflow(file)

    assert parsed["permissions"] == {}
    assert "pull_request_target" not in file.read_text()
    assert "secrets." not in file.read_text()
    for name, job in parsed["jobs"].items():
        publishes = (file.name, name) == (
            "pages.yml",
            "publish",
        )  # which runs nothing of the checkout
        assert job["permissions"] == (PUBLISHING if publishes else {"contents": "read"})
        assert not publishes or [step.get("run") for step in job["steps"]] == [None]
        assert job["timeout-minutes"] <= 40


@pytest.mark.parametrize("file", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_an_action_is_pinned_by_its_commit_and_leaves_no_token_behind(file: Path) -> None:
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    for job in workflow(file)["jobs"].values():
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("file", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_a_workflow_runs_what_there_is(file: Path) -> None:
    for job in workflow(file)["jobs"].values():
        for step in job["steps"]:
            command = step.get("run", "").split(" ")[0]
            if "/" in command:
                assert os.access(ROOT / command, os.X_OK)
            for value in step.get("run", "").splitlines():
                assert "${{" not in value  # what a stranger wrote is never part of a command


def built(folder: Path, umask: int) -> Path:
    """A wheel that is built from a copy of the checkout."""
    shutil.copytree(
        ROOT / "exporter", folder / "exporter", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    for file in folder.rglob("*"):
        file.chmod((0o777 if file.is_dir() else 0o666) & ~umask)
        os.utime(file, (1e9 + umask, 1e9 + umask))
    build = f"import os; os.chdir({str(folder)!r}); import hatchling.build as b; print(b.build_wheel('.'))"
    done = finished([sys.executable, "-c", build])
    assert done.status == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_two_builds_make_the_same_wheel(tmp_path: Path) -> None:
    one, two = built(tmp_path / "one", 0o022), built(tmp_path / "two", 0o077)

    assert one.name == two.name
    assert one.name.startswith("seasalt_exporter-")
    digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (one, two)]
    assert digests[0] == digests[1]


def test_the_wheel_has_the_package_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(built(tmp_path / "one", 0o022)) as wheel:
        names = wheel.namelist()

    assert all(re.match(r"exporter/|seasalt_exporter-[0-9.]+\.dist-info/", name) for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_every_promise_of_the_threat_model_names_a_test_that_there_is() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"\[`(test_\w+)`\]\((tests/[\w/]+\.py)\)", text)
    assert len(named) > 20
    for test, file in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (test, file)


# The oldest and the newest.


def test_each_dependency_has_a_lower_bound_that_the_tests_can_be_run_with() -> None:
    lines = list(lowest.requirements())
    for name, version in lowest.bounds().items():
        assert f"{name}=={version}" in lines
        assert sum(line.startswith(f"{name}==") for line in lines) == 1
    locked = lowest.locked("requirements.lock")
    assert {name.lower() for name in lowest.bounds()} <= locked.keys()


def test_whatever_the_package_imports_it_asks_for() -> None:
    names = {"yaml": "pyyaml", "prometheus_client": "prometheus-client"}
    ours = {"pydantic_core": "pydantic"}  # which asks for just one version of it
    found = set()
    for file in (ROOT / "exporter").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    others = found - sys.stdlib_module_names - {"exporter"}
    assert {names.get(name) or ours.get(name) or name for name in others} <= lowest.bounds().keys()


def test_the_oldest_prometheus_client_that_is_allowed_has_what_we_call() -> None:
    """0.23.0 does not import, and 0.23.1 cannot remove series by some of their labels."""
    major, minor, *_ = map(int, lowest.bounds()["prometheus-client"].split("."))
    assert (major, minor) >= (0, 24)


def test_a_job_runs_the_tests_with_the_oldest_dependencies() -> None:
    runs = [
        step.get("run", "")
        for file in WORKFLOWS
        for job in workflow(file)["jobs"].values()
        for step in job["steps"]
    ]
    assert any(run.startswith("tests/lowest ") for run in runs)
    assert os.access(ROOT / "tests" / "lowest", os.X_OK)


# Images.


def pinned(folder: Path, digest: str, *flags: str) -> Ended:
    """What `tests/pin-images` does in a folder, with a registry that knows one digest."""
    (folder / "bin").mkdir(exist_ok=True)
    docker = folder / "bin" / "docker"
    docker.write_text(f"#!/bin/sh\necho {digest}\n")
    docker.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return finished(
        [str(ROOT / "tests" / "pin-images"), *flags], {"PIN_ROOT": str(folder), "PATH": path}
    )


def test_every_image_gets_the_digest_of_its_tag_and_keeps_its_tag(tmp_path: Path) -> None:
    for name in ("Dockerfile", "compose.yaml"):
        text = re.sub("@sha256:[0-9a-f]{64}", "", (ROOT / name).read_text())
        (tmp_path / name).write_text(text)
    digest = f"sha256:{'0123456789abcdef' * 4}"
    assert pinned(tmp_path, digest, "--check").status == 1
    assert pinned(tmp_path, "no such manifest").status == 1

    assert pinned(tmp_path, digest).status == 0

    assert pinned(tmp_path, "sha256:other", "--check").status == 0
    image = (tmp_path / "Dockerfile").read_text()
    bases = re.findall("^FROM (.*)$", image, re.MULTILINE)
    assert bases == [f"python:3.11-slim@{digest} AS build", f"python:3.11-slim@{digest}"]
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    images = {service["image"] for service in services.values() if "build" not in service}
    assert len(images) == 3
    assert all(re.fullmatch(rf"[a-z]+/[a-z]+:v?[0-9.]+@{digest}", image) for image in images)


def test_the_update_bot_keeps_dependencies_actions_and_images_current() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {
        *("pip", "github-actions", "docker", "docker-compose")
    }
    # A frontend would be one more image to pin.
    assert "# syntax" not in (ROOT / "Dockerfile").read_text()
