"""CONTRIBUTING.md's three steps to a new metric, taken as it says, and each left out once."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "first_reply_time"
GUARDS = (
    f"{NAME} or every_file_of_the_reports or has_a_sample or use_every_family"
    " or table_of_reports or configuration_reference or reference_is or schema_in_the_repository"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project to add a metric to."""
    for name in ("exporter", "tests", "config", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def add_the_report(copy: Path) -> None:
    guide = (copy / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0]
    text = re.sub(r"^   ", "", code, flags=re.MULTILINE)
    (copy / "exporter" / "reports" / f"{NAME}.py").write_text(text, encoding="utf-8")


def add_it_to_the_catalogue(copy: Path) -> None:
    path = copy / "exporter" / "reports" / "catalogue.py"
    text = path.read_text(encoding="utf-8")
    text = text.replace("    label_overview,\n", f"    {NAME},\n    label_overview,\n")
    text = text.replace("    csat.REPORT,\n", f"    csat.REPORT,\n    {NAME}.REPORT,\n")
    path.write_text(text, encoding="utf-8")


def add_the_sample(copy: Path) -> None:
    path = copy / "tests" / "data" / "replies" / "seachat" / f"{NAME}.json"
    path.write_text(f'{{"{NAME}": {{"median_seconds": 42}}}}\n', encoding="utf-8")


def rewrite(copy: Path) -> None:
    run(copy, "bash", "tests/rewrite")


STEPS: tuple[Callable[[Path], None], ...] = (
    add_the_report,
    add_it_to_the_catalogue,
    add_the_sample,
    rewrite,
)


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What a command in the copy says; this environment's Python and tools, the copy's code."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def checked(copy: Path) -> subprocess.CompletedProcess[str]:
    files = (
        "tests/reports/test_catalogue.py",
        "tests/test_docs.py",
        "tests/config/test_validation.py",
    )
    return run(copy, sys.executable, "-m", "pytest", "-q", "-x", *files, "-k", GUARDS)


def test_three_steps_add_a_metric(copy: Path) -> None:
    for step in STEPS:
        step(copy)

    done = checked(copy)

    assert done.returncode == 0, done.stdout
    page = copy / "tests" / "data" / "exposition" / "seachat" / f"{NAME}.txt"
    assert "seasalt_first_reply_time_median_seconds{" in page.read_text(encoding="utf-8")
    assert f"| SeaChat | [`{NAME}`](metrics.md#{NAME}) |" in (
        copy / "docs" / "reports.md"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("forgotten", STEPS, ids=[step.__name__ for step in STEPS])
def test_a_forgotten_step_is_caught(copy: Path, forgotten: Callable[[Path], None]) -> None:
    for step in STEPS:
        if step is not forgotten:
            step(copy)

    assert checked(copy).returncode != 0
