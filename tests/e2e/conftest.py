"""What the end-to-end tests share: the command, a running demo, a small sandbox."""

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import ANYWHERE, Command, Demo, ServedSandbox, program, served
from support.pagecheck import series
from support.processes import PATIENCE, get, started, wait_for

from exporter.sandbox import Sandbox

MANY: Final = 50
"""Bots of the big demo."""
REPORTS: Final = 25
"""Reports of each of its bots; one counts the files of its knowledge base."""
POLLED: Final = "seasalt_report_success"


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
    """A demo with four bots, each report of which has been polled once."""
    with started([*exporter, "demo", *ANYWHERE]) as process:
        page = process.said(r"^Metrics +(\S+)$")
        status = page.removesuffix("metrics")
        wait_for(
            lambda: b"Everything is up to date" in get(status).body,
            "not every report is polled",
            more=lambda: process.stderr,
        )
        yield Demo(page, process)


@pytest.fixture(scope="module")  # it takes a third of a core for as long as it runs
def big_demo(exporter: Command) -> Iterator[Demo]:
    """A demo with fifty bots and with trouble, each report of which has been polled once."""
    with started([*exporter, "demo", f"--bots={MANY}", "--trouble", *ANYWHERE]) as process:
        page = process.said(r"^Metrics +(\S+)$", 3 * PATIENCE)

        def reports() -> Counter[str]:
            """How many reports of each bot have been polled."""
            found = (dict(labels) for name, labels in series(get(page).body) if name == POLLED)
            return Counter(labels["bot_id"] for labels in found if labels.get("bot_id"))

        def polled() -> bool:
            found = reports()
            return len(found) == MANY and set(found.values()) == {REPORTS}

        wait_for(polled, "not every report is polled", 3 * PATIENCE, more=reports)
        yield Demo(page, process)


@pytest.fixture(scope="module", params=["demo", "big_demo"], ids=["four", "fifty"])
def each_demo(request: pytest.FixtureRequest) -> Demo:
    """The demo with four bots, and the one with fifty and with trouble."""
    found: Demo = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def small_sandbox() -> Iterator[ServedSandbox]:
    """A sandbox with one bot and two months, for tests that need no numbers."""
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=60, conversations_per_day=2)
    with served(made) as found:
        yield found
