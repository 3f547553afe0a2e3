"""Grafana's own dashboard-linter on every dashboard, where it can be had."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import ROOT
from support.processes import finished

from grafana.builder.catalogue import BOARDS

FOLDER: Final = ROOT / "grafana" / "dashboards"
OURS: Final = ROOT / ".tools" / "dashboard-linter"


@pytest.fixture(scope="module")
def linter() -> str:
    """The path of dashboard-linter: what tests/run has built, or the machine's."""
    for path in (str(OURS), shutil.which("dashboard-linter")):
        if path and os.access(path, os.X_OK):
            return path
    # Not `missing`: a CI may have no Go, or no way to the module.
    pytest.skip("no dashboard-linter: tests/run builds it where Go is at hand")


def lint(linter: str, file: Path, config: Path) -> tuple[int, str]:
    """Its exit status and all that it says."""
    done = finished([linter, "lint", "--strict", f"--config={config}", str(file)])
    return done.status, done.stdout + done.stderr


@pytest.mark.parametrize("uid", [board.uid for board in BOARDS])
def test_grafanas_linter_has_nothing_to_say(linter: str, uid: str) -> None:
    status, said = lint(linter, FOLDER / f"{uid}.json", FOLDER / ".lint")
    assert status == 0, said


def test_grafanas_linter_notices_a_panel_without_a_unit(linter: str, tmp_path: Path) -> None:
    right = (FOLDER / "seasalt-usage.json").read_text(encoding="utf-8")
    file = tmp_path / "seasalt-usage.json"
    file.write_text(right.replace('"unit": "locale"', '"unit": "lokale"'), encoding="utf-8")
    status, said = lint(linter, file, FOLDER / ".lint")
    assert status != 0
    assert "invalid units" in said
