"""What the two commands found, kept below .tools between them, and as a part of the document."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Self

from benchmarks.goals import Figures, tables
from benchmarks.machine import ROOT, TOOLS, described

DOCUMENT: Final = ROOT / "docs/performance.md"
PICTURE: Final = ROOT / "docs/pictures/performance.svg"
BEGIN: Final = "<!-- figures: begin -->"
END: Final = "<!-- figures: end -->"
_KEPT: Final = TOOLS / "benchmarks"

HEADS: Final[Mapping[str, str]] = {
    "start": "| start, until it has ended or answered | ms | MB idle |\n|---|---|---|",
    "scrape": "| series | scraped | CPU ms | p50 ms | p99 ms | MB |\n|---|---|---|---|---|---|",
    "scale": (
        "| bots | filled in s | CPU ms a report | CPU ms a scrape | MB | MB at most |"
        " /-/healthy p99 ms | at most | the API's own p99 ms | at most |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    ),
    "defaults": (
        "| bots, at the default `max_series` | filled in s | CPU ms a report | series | MB at most |"
        " /-/healthy p99 ms | at most | in a minute with nothing but defaults: requests |"
        " /-/healthy at most |\n|---|---|---|---|---|---|---|---|---|"
    ),
    "restart": (
        "| bots, with a state file | file MB | written kB/s | held ms | MB at most"
        " | restart: first page s | every value s | MB at most | held ms | without a file:"
        " first page s | held ms by a reload: unchanged | two bots | interval |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    ),
}
"""The heads of the tables that show more than the goals ask for."""


@dataclass(frozen=True)
class Run:
    """What a command found.

    Attributes:
        command: As it was given.
        day: When, in UTC.
        commit: Of which commit.
        machine: On what.
        figures: By the names that the goals have for them.
        tables: Rows in Markdown, by the names of their heads.
        versions: Of the peers.
        missing: Peers that could not be had.
    """

    command: str
    day: str
    commit: str
    machine: str
    figures: Figures
    tables: Mapping[str, list[str]]
    versions: Mapping[str, str]
    missing: list[str]

    @classmethod
    def now(
        cls,
        command: str,
        figures: Figures,
        tables: Mapping[str, list[str]],
        versions: Mapping[str, str] | None = None,
        missing: list[str] | None = None,
    ) -> Self:
        """What was found just now, on this machine."""
        day = f"{datetime.now(UTC):%Y-%m-%d}"
        return cls(
            command, day, commit(), described(), figures, tables, versions or {}, missing or []
        )

    def told(self) -> str:
        """Where the figures come from, and what is not among them."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        text = f"`{self.command}`, {self.day}, {self.commit}, {self.machine}."
        if versions:
            text += f" Beside {versions}."
        for name in self.missing:
            text += f" {name} could not be had, so its row has no figure."
        return text


def commit() -> str:
    """The commit that is measured, as git names it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return f"commit {told.stdout.strip()}" if told.returncode == 0 else "an unknown commit"


def save(name: str, run: Run) -> None:
    """Keep what a command found."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    (_KEPT / f"{name}.json").write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")


def kept() -> Iterator[Run]:
    """What the commands found last."""
    for name in ("run", "scale", "restart"):
        file = _KEPT / f"{name}.json"
        if file.is_file():
            # An earlier version did not say of which commit it was.
            found = {"commit": "an unknown commit"} | json.loads(file.read_text(encoding="utf-8"))
            yield Run(**found)


def document(runs: list[Run] | None = None) -> Iterator[str]:
    """Goals and figures in Markdown, line by line."""
    runs = list(kept()) if runs is None else runs
    figures = {name: value for run in runs for name, value in run.figures.items()}
    for run in runs:
        yield run.told()
        yield ""
    yield from tables(figures)
    yield ""
    if "pipeline/ours" in figures:
        yield (
            f"A report costs the exporter {figures['pipeline/ours']:.2f} ms of CPU, httpx alone"
            f" {figures['pipeline/httpx']:.2f} ms, httpx with pydantic and gauges"
            f" {figures['pipeline/gauges']:.2f} ms. At one report in two seconds it is"
            f" {figures['pipeline/slowly']:.2f} ms, and {figures['pipeline/httpx slowly']:.2f} ms"
            " with httpx alone."
        )
        yield ""
    for name, head in HEADS.items():
        rows = [row for run in runs for row in run.tables.get(name, ())]
        if rows:
            yield head
            yield from rows
            yield ""
        if rows and name == "scale" and PICTURE.is_file():
            yield "![Cost against size, drawn from the table above](pictures/performance.svg)"
            yield ""


def write() -> None:
    """Put goals and figures into the document, between the markers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    inner = "\n".join(document()).strip()
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{inner}\n\n{END}{after}", encoding="utf-8")
