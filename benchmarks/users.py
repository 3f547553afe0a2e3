"""Scrapes as some users make them: fifty scrapers at once, and TLS with a password.

The peer is nginx: it serves the exporter's own answer as a file, in the same run and under the same
conditions.
"""

import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Final

import bcrypt

from benchmarks.api import requests
from benchmarks.goals import Figures
from benchmarks.machine import Scraper, cpu_seconds, debian, fetched, free_port, patiently, started
from benchmarks.peers import NGINX, nginx
from benchmarks.pipeline import certificate
from benchmarks.scrape import OURS, Server, exporter, ratio, row

BOTS: Final = 10
CROWD: Final = 50
_USER: Final = "prometheus"
_PASSWORD: Final = "correct horse"  # noqa: S105 - of a server that lives for a minute
_TIMES: Final = 10
"""So often fifty scrapers come at once, in a round."""


class Crowd:
    """Fifty scrapers of a server, each from a loopback address of its own, as limits are by address."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self._scrapers = [
            Scraper(server.port, source=f"127.0.1.{number}") for number in range(1, CROWD + 1)
        ]

    def visit(self) -> None:
        """Let all of them ask at once, some times, and note how long that took in the median."""
        self._all()
        before = cpu_seconds(self.server.pid)
        self.seconds.append(median(self._all() for _ in repeat(None, _TIMES)))
        self.cpu.append((cpu_seconds(self.server.pid) - before) / (_TIMES * CROWD))

    def close(self) -> None:
        """Give all connections up."""
        for scraper in self._scrapers:
            scraper.close()

    def _all(self) -> float:
        begun = time.perf_counter()
        for scraper in self._scrapers:
            scraper.ask()
        for scraper in self._scrapers:
            scraper.take()
        return time.perf_counter() - begun

    def row(self) -> str:
        """What was seen, in Markdown."""
        return (
            f"| 1,500 | {self.server.name}, {CROWD} scrapers at once, until the last has its page"
            f" | {median(self.cpu) * 1000:.3g} | {median(self.seconds) * 1000:.3g} | | |"
        )


@contextmanager
def _secured(
    python: str, api: int, folder: Path, cert: str, key: str, client: Callable[[int], Scraper]
) -> Iterator[Server]:
    """The exporter with TLS and a password, once it has polled every bot."""
    hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt()).decode()
    web, port = folder / "web.yml", free_port()
    web.write_text(
        f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}\n"
        f"basic_auth_users: {{{_USER}: {hashed}}}\n",
        encoding="utf-8",
    )
    command = [
        *(python, "-m", "exporter", "serve", "--log.level=error", f"--web.config.file={web}"),
        *(f"--config.file={folder}/seasalt.yml", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    before = requests(api).total()
    with started(command) as process:
        patiently(process, lambda: requests(api).total() >= before + BOTS, pause=0.1)
        time.sleep(2)  # it is on the page within a second
        yield Server(f"{OURS}, TLS and a password", port, process.pid, client)


@contextmanager
def _servers(python: str, folder: Path, program: str) -> Iterator[tuple[Server, ...]]:
    """The exporter and nginx; and both once more, with TLS and a password."""
    with ExitStack() as stack:
        cert, key = certificate(folder)
        client = partial(
            Scraper,
            trust=ssl.create_default_context(cafile=cert),
            credentials=f"{_USER}:{_PASSWORD}",
        )
        api = free_port()
        stack.enter_context(started([python, "-m", "benchmarks.api", f"--port={api}"]))
        ours = stack.enter_context(exporter(python, f"http://127.0.0.1:{api}", BOTS, folder))
        secured = stack.enter_context(_secured(python, api, folder, cert, key, client))
        (folder / "page").write_bytes(fetched(ours.port)[1])
        packed = fetched(ours.port, **{"Accept-Encoding": "gzip"})[1]
        (folder / "page.gz").write_bytes(packed)
        (folder / "passwords").write_text(f"{_USER}:{{PLAIN}}{_PASSWORD}\n", encoding="utf-8")
        peers = []
        for tls in (None, (cert, key)):
            place, port = folder / ("tls" if tls else "plain"), free_port()
            place.mkdir()
            for name in ("page", "page.gz", "passwords"):
                (place / name).symlink_to(folder / name)
            command = nginx(place, port, program, sendfile=True, tls=tls)
            pid = stack.enter_context(started(command)).pid
            name = f"{NGINX}, TLS and a password" if tls else NGINX
            peers.append(Server(name, port, pid, client if tls else Scraper))
        time.sleep(1)
        yield ours, peers[0], secured, peers[1]


def measure(python: str, number: int) -> tuple[Figures, list[str]]:
    """The figures of so many rounds, and what each server showed as rows of the scrapes' table.

    Without nginx there is nothing to compare with, and no figure.
    """
    program = debian("nginx", "nginx")
    if not program:
        return {}, []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours, peer, secured, peer_secured = stack.enter_context(_servers(python, folder, program))
        crowds = [Crowd(server) for server in (ours, peer)]
        visited: list[Crowd | Server] = [*crowds, secured, peer_secured]
        for turn in range(number):
            first = turn % len(visited)
            for one in (*visited[first:], *visited[:first]):
                one.visit()
        for crowd in crowds:
            crowd.close()
        return (
            {
                "latency/secured": ratio(secured.seconds, peer_secured.seconds),
                "latency/crowd": ratio(crowds[0].seconds, crowds[1].seconds),
            },
            [*(one.row() for one in crowds), row(secured, BOTS), row(peer_secured, BOTS)],
        )
