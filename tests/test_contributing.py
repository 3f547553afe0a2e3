"""What a contributor is told to run, install and fill in: it is there, and does no more than it says."""

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support.processes import Ended, finished

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
FORMS: Final = ("bug", "feature")
PACKAGES: Final = {
    "hatchling": "hatchling",
    "lint-imports": "import-linter",
    "mypy": "mypy",
    "ruff": "ruff",
}
"""Whose command each tool is."""


def asked_for() -> set[str]:
    """The packages that the environment is made of."""
    groups = PROJECT["dependency-groups"]
    return {
        re.split(r"[\[<>=]", one)[0]
        for group in groups.values()
        for one in group
        if type(one) is str
    }


def is_there(tool: str) -> bool:
    """Whether the environment has a tool."""
    if tool == "python" or tool in PROJECT["project"]["scripts"]:
        return True
    return PACKAGES.get(tool) in asked_for()


# The Makefile.


def targets() -> dict[str, tuple[str, list[str]]]:
    """The help and the commands of each target, with variables replaced."""
    variables = dict(re.findall(r"^(\w+) := ?(.*)$", MAKEFILE, re.MULTILINE))
    text = MAKEFILE
    for _ in variables:
        for name, value in variables.items():
            text = text.replace(f"$({name})", value)
    found = re.findall(r"^([a-z-]+):[^#=\n]*(?:## (.*))?\n((?:\t.*\n)+)", text, re.MULTILINE)
    return {name: (told, recipe.splitlines()) for name, told, recipe in found}


TARGETS: Final = targets()


def test_the_makefile_has_a_target_for_each_of_the_projects_commands() -> None:
    wanted = "test fast lint types imports docs bench endure switch-off rewrite demo demo-big"
    assert set(wanted.split()) <= TARGETS.keys()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_says_what_it_does_and_runs_what_there_is(target: str) -> None:
    told, commands = TARGETS[target]
    assert re.fullmatch(r"[a-z].{8,70}[^.\s]", told)
    for command in commands if target != "help" else ():
        program, *arguments = command.strip().removeprefix("@").split()
        if program.startswith(".venv/bin/"):
            assert is_there(program.removeprefix(".venv/bin/")), program
        else:
            assert os.access(ROOT / program, os.X_OK), program
        for path in arguments:
            if path.startswith(("tests/", "benchmarks/")):
                assert (ROOT / path).exists(), path


def test_make_alone_lists_the_targets() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make, which nobody needs: each target is one command")
    listed = finished([make, "--no-print-directory", "-C", str(ROOT)])
    assert listed.status == 0, listed.stderr
    assert dict(line.split(maxsplit=1) for line in listed.stdout.splitlines()) == {
        target: told for target, (told, _) in TARGETS.items()
    }


GUIDES: Final = ("CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md", "SECURITY.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_each_command_that_a_guide_names_is_there(guide: str) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= TARGETS.keys()
    for path in re.findall(r"`((?:exporter|tests|benchmarks|\.ci)/[\w./-]+)", text):
        assert "first_reply_time" in path or (ROOT / path).exists(), path
    for tool in re.findall(r"`\.venv/bin/([\w-]+)", text):
        assert is_there(tool), tool


# Hooks.


def test_the_hooks_fetch_nothing_and_run_the_checks_of_the_environment() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (local,) = yaml.safe_load(text)["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        assert hook["language"] == "system"
        assert is_there(hook["entry"].split()[0].removeprefix(".venv/bin/"))
    called = {hook["name"] for hook in local["hooks"]}
    assert called == {"format", "lint", "imports", "types"}
    run = (ROOT / "tests" / "run").read_text(encoding="utf-8")
    assert called <= set(re.findall(r"^heading \"(\w+)\"", run, re.MULTILINE))


# Issues.


def form(name: str) -> dict[str, Any]:
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml"
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", FORMS)
def test_an_issue_form_is_one_that_github_takes(name: str) -> None:
    found = form(name)
    assert found.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in found["body"] if part["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    for part in found["body"]:
        assert part["type"] in {"markdown", "input", "textarea", "dropdown", "checkboxes"}
        assert part["attributes"]["value" if part["type"] == "markdown" else "label"]
        options = part["attributes"].get("options", [])
        assert bool(options) == (part["type"] in {"dropdown", "checkboxes"})


def test_who_reports_a_bug_is_warned_before_anything_else_not_to_paste_a_key() -> None:
    first, *_, last = form("bug")["body"]
    assert first["type"] == "markdown"
    assert "Do not paste API keys" in first["attributes"]["value"]
    assert [option["required"] for option in last["attributes"]["options"]] == [True]


# What changes the machine.


def test_nothing_is_installed_on_the_machine_unless_it_is_asked_for() -> None:
    scripts = [path for path in (ROOT / "tests").iterdir() if os.access(path, os.X_OK)]
    scripts = [path for path in scripts if path.is_file()]
    installing = {
        path.name
        for path in scripts
        if re.search(r"apt-get install(?! chromium\")|install -D", path.read_text(encoding="utf-8"))
    }
    assert installing == {"prepare-machine"}
    run = (ROOT / "tests" / "run").read_text(encoding="utf-8")
    calls = [line for line in run.splitlines() if "tests/prepare-machine ||" in line]
    assert [line.partition(";")[0] for line in calls] == ['if [ -n "$prepare" ]']
    assert "tests/run --prepare-machine" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def prepared(folder: Path, user: int) -> Ended:
    """What `tests/prepare-machine` does in a copy, on a machine with apt-get and without a browser."""
    programs = folder / "bin"
    programs.mkdir()
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "prepare-machine", folder / "tests")
    for name in ("bash", "dirname", "mktemp", "rm", "tail"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    for name, does in {"id": f"echo {user}", "apt-get": f'echo "$@" >>{folder / "asked"}'}.items():
        (programs / name).write_text(f"#!{programs / 'bash'}\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    return finished(
        [str(programs / "bash"), str(folder / "tests/prepare-machine")], {"PATH": str(programs)}
    )


def test_root_gets_a_browser_from_the_system_when_asked_to(tmp_path: Path) -> None:
    done = prepared(tmp_path, user=0)

    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == ["update -q", "install -q -y --no-install-recommends chromium"]
    assert "chromium" not in done.stderr


def test_whoever_is_not_root_is_told_what_is_missing(tmp_path: Path) -> None:
    done = prepared(tmp_path, user=1000)

    assert done.status == 3
    assert "no chromium: as root, apt-get install chromium" in done.stderr
    assert not (tmp_path / "asked").exists()


# The inner loop.

PACKAGES_OF_OURS: Final = sorted(
    path.parent.name for path in (ROOT / "exporter").glob("*/__init__.py")
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the names of our files, of which nothing has changed since its only commit."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.glob("tests/**/test_*.py"):
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (folder / path.relative_to(ROOT)).touch()
    shutil.copy(ROOT / "tests" / "fast", folder / "tests")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "all")):
        done = finished(["git", "-C", str(folder), *command])
        assert done.status == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        *((f"exporter/{package}/new.py", f"tests/{package}") for package in PACKAGES_OF_OURS),
        ("exporter/logs.py", "tests/test_logs.py"),
        ("exporter/nothing_of_this_name.py", ""),
        ("tests/web/test_new.py", "tests/web/test_new.py"),
        ("tests/data/replies/seachat/new.json", "tests/reports"),
        ("config/prometheus/rules/csat.yml", "tests/test_rules.py"),
        ("docs/runbooks/SeasaltCsatLow.md", "tests/test_rules.py"),
        ("compose.yaml", "tests/test_wiring.py"),
        ("deploy/helm/seasalt-exporter/values.yaml", "tests/test_helm_chart.py"),
        ("grafana/builder/bot.py", "tests/test_dashboards.py"),
        ("benchmarks/start.py", "tests/test_benchmarks.py"),
        (".github/workflows/checks.yml", "tests/test_supply.py"),
        ("Makefile", "tests/test_contributing.py"),
        ("README.md", "tests/test_docs.py"),
    ],
)
def test_the_inner_loop_runs_the_tests_of_what_has_changed(
    checkout: Path, changed: str, tests: str
) -> None:
    path = checkout / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        listed = finished([str(checkout / "tests" / "fast"), "--list"])
    finally:
        path.unlink()

    assert listed.status == 0, listed.stderr
    assert listed.stdout.split() == tests.split()
    assert not tests or (ROOT / tests).exists() or "new" in tests
