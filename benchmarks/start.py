"""How soon the exporter answers after its start, and how much memory it takes when idle.

Beside peers that are measured in the same run, one after the other in every round: a bare Python,
prometheus_client's own server, and query-exporter, which is the exporter most like this one. Each
of the exporters has a virtual environment of its own below .tools, with what it needs and no more.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.api import configuration, requests
from benchmarks.goals import Figures
from benchmarks.machine import (
    free_port,
    installed,
    page,
    patiently,
    resident_megabytes,
    started,
)
from benchmarks.peers import QUERY_EXPORTER

OURS: Final = "seasalt-exporter"
SETTLING: Final = 1.0
"""How long a server that has done its work is left alone before its memory is read."""

_PEER_CONFIGURATION: Final = """\
databases: {d: {dsn: "sqlite://"}}
metrics: {x: {type: gauge, description: One}}
queries: {q: {databases: [d], metrics: [x], interval: 600, sql: select 1 as x}}
"""
_IMPORTS: Final = "import h11, httpx, prometheus_client, pydantic, yaml"
"""Nothing of the exporter itself: what no change of it can save."""

_LIBRARY: Final = """\
import sys, threading
from prometheus_client import Gauge, start_http_server
Gauge("x", "One").set(1)
start_http_server(int(sys.argv[1]), "127.0.0.1")
threading.Event().wait()
"""


@dataclass
class Contestant:
    """A program that is measured.

    Attributes:
        name: As it is printed.
        command: How it is started on a port.
        settled: What its page shows once its first round of work is done; None for no server.
        seconds: From its start to its first answer, or to its end; one for each round.
        megabytes: Its resident memory when idle; one for each round.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    settled: str | None
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Start it, measure it, end it."""
        port = free_port()
        begun = time.perf_counter()
        with started(self.command(port)) as process:
            if self.settled is None:
                process.wait()
                self.seconds.append(time.perf_counter() - begun)
                return
            patiently(process, lambda: page(port))
            self.seconds.append(time.perf_counter() - begun)
            settled = re.compile(self.settled)
            patiently(process, lambda: settled.search(page(port)), pause=0.01)
            time.sleep(SETTLING)
            self.megabytes.append(resident_megabytes(process.pid))


def contestants(folder: Path, api: int, python: str) -> list[Contestant]:
    """Who is measured, in the order of every round."""
    ours, theirs = folder / "seasalt.yml", folder / "query.yml"
    ours.write_text(configuration(f"http://127.0.0.1:{api}", 1), encoding="utf-8")
    theirs.write_text(_PEER_CONFIGURATION, encoding="utf-8")
    found = [
        Contestant("python -c pass", lambda _: [python, "-c", "pass"], None),
        Contestant(f"python -c '{_IMPORTS}'", lambda _: [python, "-c", _IMPORTS], None),
        Contestant(
            "prometheus_client.start_http_server",
            lambda port: [python, "-c", _LIBRARY, str(port)],
            r"(?m)^x 1",
        ),
        Contestant(
            OURS,
            lambda port: [
                *(python, "-m", "exporter", "serve", "--log.level=error"),
                *(f"--config.file={ours}", f"--web.listen-address=127.0.0.1:{port}"),
            ],
            r'(?m)^seasalt_report_success\{.*bot_id="bot-00000".*\} 1$',
        ),
    ]
    if peer := installed(QUERY_EXPORTER, [QUERY_EXPORTER]):
        found.append(
            Contestant(
                QUERY_EXPORTER,
                lambda port: [
                    *(str(peer / QUERY_EXPORTER), "--host", "127.0.0.1", "--port", str(port)),
                    *("--config", str(theirs), "--log-level", "error"),
                ],
                r"(?m)^x\{.*\} 1",
            )
        )
    return found


def measure(python: str, number: int) -> tuple[Figures, list[str]]:
    """The figures of the start, medians of so many rounds, and all that started as rows."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api = free_port()
        command = [python, "-m", "benchmarks.api", f"--port={api}"]
        process = stack.enter_context(started(command))
        patiently(process, lambda: requests(api) is not None, pause=0.05)
        measured = contestants(folder, api, python)
        for contestant in measured:  # the first start compiles and fills the page cache
            contestant.run()
            contestant.seconds.clear()
            contestant.megabytes.clear()
        for _ in range(number):
            for contestant in measured:
                contestant.run()
    return dict(_figures(measured)), [_row(contestant) for contestant in measured]


def _figures(measured: Sequence[Contestant]) -> Iterator[tuple[str, float]]:
    by_name = {contestant.name: contestant for contestant in measured}
    ours, peer = by_name[OURS], by_name.get(QUERY_EXPORTER)
    yield "memory/idle", median(ours.megabytes)
    if peer:
        # Round by round, so that a slow moment of the machine hits both.
        yield "start", median(map(float.__truediv__, ours.seconds, peer.seconds))
        yield (
            "memory/query-exporter",
            median(map(float.__truediv__, ours.megabytes, peer.megabytes)),
        )


def _row(contestant: Contestant) -> str:
    idle = f"{median(contestant.megabytes):.1f}" if contestant.megabytes else ""
    return f"| {contestant.name} | {median(contestant.seconds) * 1000:.0f} | {idle} |"
