"""What users install and what makes it: pinned, the same each time, with no more rights than needed."""

import ast
import hashlib
import os
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support import lowest
from support.processes import Ended, finished

from exporter import __version__

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = sorted(ROOT.glob("requirements*.lock"))
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
PUBLISHING: Final = {
    ("pages.yml", "publish"): {"id-token": "write", "pages": "write"},
    ("release.yml", "publish"): {
        "contents": "write",
        "packages": "write",
        "id-token": "write",
        "attestations": "write",
    },
    ("release.yml", "index"): {"id-token": "write"},
}
"""The jobs that publish, and what each may write."""
OF_THE_RUNNER: Final = {"printenv", "skopeo", "helm", "gh"}
"""What such a job runs: programs of the runner, and nothing of the checkout."""


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
def test_a_job_may_read_the_checkout_or_publish_and_never_both(file: Path) -> None:
    parsed = workflow(file)

    assert parsed["permissions"] == {}
    assert "pull_request_target" not in file.read_text()
    assert "secrets." not in file.read_text()
    for name, job in parsed["jobs"].items():
        assert job["timeout-minutes"] <= 40
        writes = PUBLISHING.get((file.name, name))
        assert job["permissions"] == (writes or {"contents": "read"})
        if writes:
            assert job["environment"]  # where somebody may have to approve it
            assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")]
            runs = {step["run"].split()[0] for step in job["steps"] if "run" in step}
            assert runs <= OF_THE_RUNNER


def test_nothing_is_published_before_all_of_it_is_built_and_the_index_comes_last() -> None:
    release = workflow(ROOT / ".github/workflows/release.yml")
    assert release[True] == {"push": {"tags": ["v*.*.*"]}}  # `on` is a yes in YAML
    needs = {name: job.get("needs", []) for name, job in release["jobs"].items()}
    assert needs == {
        "packages": [],
        "image": [],
        "publish": ["packages", "image"],
        "index": "publish",
    }
    assert release["concurrency"]["cancel-in-progress"] is False


@pytest.mark.parametrize("file", WORKFLOWS, ids=[file.name for file in WORKFLOWS])
def test_an_action_is_pinned_by_its_commit_and_leaves_no_token_behind(file: Path) -> None:
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"(actions|pypa)/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
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


EPOCH: Final = 1_700_000_000
REVISION: Final = "0123456789abcdef" * 2 + "01234567"


def copied(folder: Path, umask: int) -> Path:
    """A copy of what is built from, with other times and rights."""
    shutil.copytree(
        ROOT / "exporter", folder / "exporter", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "config").mkdir()
    for name in (
        *("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md"),
        *("SECURITY.md", "requirements.lock", "config/seasalt.yml"),
    ):
        shutil.copyfile(ROOT / name, folder / name)
    for file in folder.rglob("*"):
        file.chmod((0o777 if file.is_dir() else 0o666) & ~umask)
        os.utime(file, (1e9 + umask, 1e9 + umask))
    return folder


def built(folder: Path, kind: str = "wheel", environment: dict[str, str] | None = None) -> Path:
    """A wheel or an sdist that is built in a folder."""
    build = f"import os; os.chdir({str(folder)!r}); import hatchling.build as b; print(b.build_{kind}('.'))"
    variables = {"SOURCE_DATE_EPOCH": str(EPOCH), **(environment or {})}
    done = finished([sys.executable, "-c", build], variables)
    assert done.status == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_two_builds_make_the_same_package(kind: str, tmp_path: Path) -> None:
    given = {"SEASALT_EXPORTER_REVISION": REVISION}
    one, two = (
        built(copied(tmp_path / name, umask), kind, given)
        for name, umask in (("one", 0o022), ("two", 0o077))
    )

    assert one.name == two.name
    assert one.name.startswith("seasalt_exporter-")
    digests = [hashlib.sha256(package.read_bytes()).hexdigest() for package in (one, two)]
    assert digests[0] == digests[1]


def content(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel but its list of them, whose order is that of the files."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if "/RECORD" not in name}


def test_a_wheel_from_the_sdist_is_that_of_the_checkout_and_has_the_commits_time(
    tmp_path: Path,
) -> None:
    folder = copied(tmp_path / "one", 0o022)
    given = {"SEASALT_EXPORTER_REVISION": REVISION}
    wheel = built(folder, "wheel", given)
    with tarfile.open(built(folder, "sdist", given)) as sdist:
        assert {member.mtime for member in sdist.getmembers()} == {EPOCH}
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("seasalt_exporter-*")

    assert content(built(unpacked)) == content(wheel)
    assert content(wheel)["exporter/revision"].decode() == f"{REVISION}\n"


def test_the_wheel_has_the_package_and_nothing_else(tmp_path: Path) -> None:
    wheel = built(copied(tmp_path / "one", 0o022))
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()

    assert "exporter/revision" not in names  # the copy is no checkout
    assert all(re.match(r"exporter/|seasalt_exporter-[0-9.]+\.dist-info/", name) for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_a_wheel_of_a_checkout_knows_its_commit_and_whether_files_differ(tmp_path: Path) -> None:
    folder = copied(tmp_path / "one", 0o022)
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        done = finished(["git", "-C", str(folder), *command])
        assert done.status == 0, done.stderr
    commit = finished(["git", "-C", str(folder), "rev-parse", "HEAD"]).stdout.strip()

    assert content(built(folder))["exporter/revision"].decode() == f"{commit}\n"
    (folder / "README.md").write_text("changed")
    assert content(built(folder))["exporter/revision"].decode() == f"{commit}-dirty\n"


def test_version_tells_the_revision_of_the_environment_or_of_the_package(tmp_path: Path) -> None:
    wheel = built(copied(tmp_path / "one", 0o022), "wheel", {"SEASALT_EXPORTER_REVISION": REVISION})
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    where = {"PYTHONPATH": str(tmp_path / "installed")}
    ask = [sys.executable, "-P", "-m", "exporter", "--version"]

    for more, revision in (({}, REVISION), ({"SEASALT_EXPORTER_REVISION": "abc"}, "abc")):
        told = finished(ask, where | more).stdout
        assert re.fullmatch(rf"seasalt-exporter \S+ \(revision {revision}, Python \S+\)\n", told)


def test_every_supported_python_is_in_the_matrix_and_in_the_packages() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    matrix = workflow(ROOT / ".github/workflows/checks.yml")["jobs"]["checks"]["strategy"]["matrix"]
    assert classifiers == matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert "Python :: (3" in (ROOT / "deploy/packages/build").read_text()


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


def noted(folder: Path, changelog: str, tag: str) -> Ended:
    """What `deploy/release-notes` says of a tag, over a changelog."""
    for name in ("deploy/release-notes", "deploy/helm/seasalt-exporter/Chart.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "exporter").mkdir(exist_ok=True)
    shutil.copy(ROOT / "exporter/__init__.py", folder / "exporter")
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    return finished([str(folder / "deploy/release-notes"), tag])


def test_a_release_quotes_the_changelog_and_is_refused_if_its_tag_is_another_version(
    tmp_path: Path,
) -> None:
    right = f"## {__version__} - 2026-12-01\n\n- New.\n\n## 0.0.1 - 2020-01-01\n\n- Old.\n"
    assert noted(tmp_path, right, f"v{__version__}").stdout.strip() == "- New."
    for changelog, tag, said in (
        (right, "v99.0.0", f"says that it is {__version__}, and not 99.0.0"),
        (right.replace("2026-12-01", "unreleased"), f"v{__version__}", "- unreleased"),
        (right.replace(__version__, "99.0.0"), f"v{__version__}", "## 99.0.0"),
        (right, __version__, "usage"),
    ):
        refused = noted(tmp_path, changelog, tag)
        assert (refused.status, refused.stdout) == (1, "")
        assert said in refused.stderr
    chart = tmp_path / "deploy/helm/seasalt-exporter/Chart.yaml"
    chart.write_text(chart.read_text().replace(f"\nversion: {__version__}", "\nversion: 99.0.0"))
    refused = finished([str(tmp_path / "deploy/release-notes"), f"v{__version__}"])
    assert "the chart has other versions" in refused.stderr


def test_no_image_is_released_on_a_base_without_a_digest(tmp_path: Path) -> None:
    for name in ("deploy/image/build", "Dockerfile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    image = tmp_path / "Dockerfile"
    image.write_text(re.sub("@sha256:[0-9a-f]{64}", "", image.read_text()))
    refused = finished([str(tmp_path / "deploy/image/build"), str(tmp_path / "image.tar")])
    assert refused.status == 1
    assert "has no digest: run tests/pin-images" in refused.stderr


def test_the_update_bot_keeps_dependencies_actions_and_images_current() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {
        *("pip", "github-actions", "docker", "docker-compose")
    }
    # A frontend would be one more image to pin.
    assert "# syntax" not in (ROOT / "Dockerfile").read_text()
