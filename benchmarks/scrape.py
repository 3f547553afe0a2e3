"""What a scrape costs, at three sizes, beside peers that hold the same series.

All servers of a size run at once, idle but for one. Each round visits each of them for a moment,
in an order that turns from round to round, and figures are compared within a round: so a slow
moment of the machine hits both sides. What is told is the median of the rounds.
"""

import json
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.api import SERIES, configuration
from benchmarks.goals import Figures
from benchmarks.machine import (
    OF_A_BOT,
    Scraper,
    Series,
    cpu_seconds,
    fetched,
    free_port,
    held,
    page,
    patiently,
    prometheus,
    resident_megabytes,
    series,
    started,
    told,
)
from benchmarks.peers import NGINX, QUERY_EXPORTER, STOCK, Peer, peers

OURS: Final = "seasalt-exporter"
SIZES: Final = (10, 100, 1000, 6667)
"""Bots: 1.5k, 15k and 150k series, and a million."""

_LARGEST_OF_PEERS: Final = 1000
"""Of more bots only nginx is beside the exporter: the others take minutes for a page."""

SOME: Final = 0.025
"""Of the bots, those that are polled within 15 s of a round of 10 minutes."""

_MOMENT: Final = 0.4
_MOST: Final = 400
_EVERY: Final = 2
_LOOKING: Final = 26.0
_SLOW_TO_FILL: Final = 100
"""Of no more bots query-exporter's scrapes are shown; no goal asks for them."""


@dataclass
class Server:
    """A server that is measured, and what it showed in each round.

    Attributes:
        name: As it is printed.
        port: Where it answers.
        pid: Its process.
        client: Makes a client of its port.
        seconds: The median latency of a scrape.
        cpu: CPU seconds of a scrape.
        all: Every latency of all rounds.
    """

    name: str
    port: int
    pid: int
    client: Callable[[int], Scraper] = Scraper
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)

    def visit(self) -> None:
        """Scrape it for a moment, twice at least."""
        scraper, taken = self.client(self.port), list[float]()
        scraper.scrape()  # what the others pushed out of the caches comes back
        before, end = cpu_seconds(self.pid), time.perf_counter() + _MOMENT
        while len(taken) < 2 or (time.perf_counter() < end and len(taken) < _MOST):
            taken.append(scraper.scrape())
        time.sleep(0.002)
        self.cpu.append((cpu_seconds(self.pid) - before) / len(taken))
        self.seconds.append(median(taken))
        self.all += taken
        scraper.close()


@contextmanager
def exporter(python: str, api: str, bots: int, folder: Path) -> Iterator[Server]:
    """The exporter as users have it, once it has polled every bot; it will not again for a month."""
    file, port = folder / "seasalt.yml", free_port()
    file.write_text(configuration(api, bots), encoding="utf-8")
    command = [
        *(python, "-m", "exporter", "serve", "--log.level=error"),
        *(f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    with started(command) as process:
        patiently(process, lambda: page(port).count(OF_A_BOT) == bots * SERIES, pause=bots / 2000)
        yield Server(OURS, port, process.pid)


def checked(server: Server, wanted: Series, without: frozenset[str]) -> None:
    """See that a server answers with every series and its value.

    Raises:
        RuntimeError: If it does not.
    """
    answered = series(page(server.port), without=without)
    if answered != wanted:
        wrong = len(wanted.items() ^ answered.items())
        raise RuntimeError(f"{server.name} answers {len(answered)} series, {wrong} of them wrong")


def _filled(
    peer: Peer, process: subprocess.Popen[str], folder: Path, port: int, wanted: int
) -> None:
    """Give a peer that has been started what it needs, and wait until it has that many series."""
    patiently(process, lambda: page(port), pause=0.05)
    peer.fill(folder, port)
    patiently(process, lambda: page(port).count(OF_A_BOT) >= wanted, pause=0.5)


@contextmanager
def servers(python: str, bots: int, folder: Path, *, lean: bool) -> Iterator[list[Server]]:
    """The exporter and every peer, with the same series of so many bots."""
    with ExitStack() as stack:
        api = free_port()
        stack.enter_context(started([python, "-m", "benchmarks.api", f"--port={api}"]))
        running = [stack.enter_context(exporter(python, f"http://127.0.0.1:{api}", bots, folder))]
        text = held(fetched(running[0].port)[1].decode())
        (folder / "held.prom").write_text(text, encoding="utf-8")
        (folder / "page").write_bytes(fetched(running[0].port)[1])
        (folder / "page.gz").write_bytes(fetched(running[0].port, **{"Accept-Encoding": "gzip"})[1])
        wanted = series(text)
        checked(running[0], wanted, frozenset())
        found, _ = peers(python, sendfile=bots < 1000)
        for peer in found:
            if peer.name == QUERY_EXPORTER and (lean or bots > _SLOW_TO_FILL):
                continue
            if peer.name != NGINX and bots > _LARGEST_OF_PEERS:
                continue
            port = free_port()
            process = stack.enter_context(started(peer.command(folder, port)))
            server = Server(peer.name, port, process.pid)
            _filled(peer, process, folder, port, len(wanted))
            checked(server, wanted, peer.labels)
            running.append(server)
        yield running


def seen_by_prometheus(program: str, watched: Sequence[Server], folder: Path) -> list[float]:
    """The median `scrape_duration_seconds` of each server, as one Prometheus scrapes them all."""
    targets = "\n".join(
        f"- {{job_name: {server.name}, static_configs: [{{targets: ['127.0.0.1:{server.port}']}}]}}"
        for server in watched
    )
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(
        f"global: {{scrape_interval: {_EVERY}s, scrape_timeout: {_EVERY}s}}\n"
        f"scrape_configs:\n{targets}\n",
        encoding="utf-8",
    )
    command = [
        *(program, f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"),
    ]
    with started(command) as process:
        patiently(process, lambda: fetched(port, "/-/ready"), pause=0.2)
        time.sleep(_LOOKING)
        found = []
        for server in watched:
            query = f'scrape_duration_seconds{{job="{server.name}"}}[5m]'
            _, body = fetched(port, f"/api/v1/query?query={urllib.parse.quote(query)}")
            (result,) = json.loads(body)["data"]["result"]
            # The first scrape makes the series.
            found.append(median(float(value) for _, value in result["values"][1:]))
    return found


def measure(python: str, bots: int, number: int, *, lean: bool) -> tuple[Figures, list[str]]:
    """The figures of a size, and what all of its servers showed as rows of a table.

    Args:
        python: One that has what the exporter needs.
        bots: How many.
        number: Of rounds.
        lean: Whether query-exporter and Prometheus are left out.
    """
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(servers(python, bots, folder, lean=lean))
        refreshing = stack.enter_context(
            started([python, "-m", "benchmarks.refresh", f"{folder}/seasalt.yml"], talks=True)
        )
        told(refreshing, "1")
        by_name = {server.name: server for server in running}
        ours, stock = by_name[OURS], by_name.get(STOCK)
        some = max(1, round(bots * SOME))
        whole, part = list[float](), list[float]()
        for turn in range(number):
            first = turn % len(running)
            for server in (*running[first:], *running[:first]):
                server.visit()
            # With the round's own scrape, as what the others take holds their HTTP, too.
            whole.append(told(refreshing, str(bots)) + ours.cpu[-1])
            part.append(told(refreshing, str(some)) + ours.cpu[-1])
        if stock:
            figures[f"refresh/all/{bots}"] = ratio(stock.cpu, whole)
            figures[f"refresh/some/{bots}"] = ratio(stock.cpu, part)
        for name, server in by_name.items():
            if name == NGINX:
                figures[f"latency/{name}/{bots}"] = ratio(ours.seconds, server.seconds)
            elif server is not ours:
                figures[f"cpu/{name}/{bots}"] = ratio(server.cpu, ours.cpu)
        figures[f"memory/{bots}"] = resident_megabytes(ours.pid)
        rows = [row(server, bots) for server in running]
        rows.append(
            f"| {bots * SERIES:,} | {OURS}, all fresh before each scrape |"
            f" {median(whole) * 1000:.3g} | | | |"
        )
        rows.append(
            f"| {bots * SERIES:,} | {OURS}, {some} bots fresh before each scrape |"
            f" {median(part) * 1000:.3g} | | | |"
        )
        program = None if lean or bots > _LARGEST_OF_PEERS else prometheus()
        if program and NGINX in by_name:
            mine, ready = seen_by_prometheus(program, (ours, by_name[NGINX]), folder)
            figures[f"prometheus/nginx/{bots}"] = mine / ready
    return figures, rows


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(one, other, strict=True))


def row(server: Server, bots: int) -> str:
    """What a server showed, in Markdown."""
    late = sorted(server.all)[min(len(server.all) - 1, len(server.all) * 99 // 100)]
    return (
        f"| {bots * SERIES:,} | {server.name} | {median(server.cpu) * 1000:.3g}"
        f" | {median(server.seconds) * 1000:.3g} | {late * 1000:.3g}"
        f" | {resident_megabytes(server.pid):.0f} |"
    )
