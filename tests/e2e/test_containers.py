"""The image built and run, and compose.yaml started, by real container engines, where somebody has asked for them."""

from typing import Final

import pytest
from e2e.programs import ROOT
from support.machine import unavailable
from support.processes import finished

MADE: Final = ROOT / ".tools/containers/debian-trixie-containers/complete"
LONGEST: Final = 1900.0


def test_the_image_and_the_whole_of_compose_run_as_they_are_documented() -> None:
    if not MADE.exists():
        pytest.skip("not asked for: tests/containers makes a Debian with container engines first")
    if why := unavailable():
        pytest.skip(f"tests/containers {why}")
    done = finished([str(ROOT / "tests/containers")], within=LONGEST)
    assert done.status == 0, done.stdout + done.stderr
    assert "NOT TESTED" not in done.stderr
    assert done.stdout.count("\nok ") > 10
