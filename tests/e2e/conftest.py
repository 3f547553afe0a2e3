"""What the end-to-end tests share: the command, a running demo, a small sandbox."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import ANYWHERE, Command, Demo, ServedSandbox, program, served
from support.processes import get, started, wait_for

from exporter.sandbox import Sandbox

QUIET: Final = 2.0
"""Seconds without a new report after which the demo's first round counts as over."""


@pytest.fixture(scope="session")
def prometheus() -> str:
    """The path of prometheus."""
    return program("prometheus")


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool."""
    return program("promtool")


@pytest.fixture(scope="session")
def exporter() -> Command:
    """The command as a user has it; without an installation, the package that is here."""
    script = Path(sys.executable).with_name("seasalt-exporter")
    return (str(script),) if script.exists() else (sys.executable, "-m", "exporter")


@pytest.fixture(scope="session")
def demo(exporter: Command) -> Iterator[Demo]:
    """A demo whose first round of polls is over: for a while no report was new."""
    with started([*exporter, "demo", *ANYWHERE]) as process:
        page = process.said(r"^Metrics +(\S+)$")
        known, since = 0, process.seconds

        def quiet() -> bool:
            nonlocal known, since
            reports = get(page).body.count(b"\nseasalt_report_success{")
            if reports != known:
                known, since = reports, process.seconds
            return known > 0 and process.seconds - since > QUIET

        wait_for(quiet, "the first round of polls does not end", more=lambda: process.stderr)
        yield Demo(page, process)


@pytest.fixture(scope="session")
def small_sandbox() -> Iterator[ServedSandbox]:
    """A sandbox with one bot and two months, for tests that need no numbers."""
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=60, conversations_per_day=2)
    with served(made) as found:
        yield found
