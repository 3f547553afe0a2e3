"""Measures how soon the exporter answers after its start, and how much memory it takes when idle.

Beside peers that are measured in the same run, one after the other in every round: a bare Python,
prometheus_client's own server, and query-exporter, which is the exporter most like this one. Each
of the exporters has a virtual environment of its own below .tools, with what it needs and no more.
Every server runs on loopback; the API behind the exporter is the sandbox. Targets: at most 0.6 of
query-exporter's time to the first answer, and at most 50 MB idle.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).parents[1]
TOOLS: Final = ROOT / ".tools"
PEER: Final = "query-exporter"
OURS: Final = "seasalt-exporter"
SHARE: Final = 0.6
IDLE_MB: Final = 50
PATIENCE: Final = 30.0
SETTLING: Final = 1.0
"""How long a server that has done its work is left alone before its memory is read."""

OUR_CONFIGURATION: Final = """\
requests_per_minute: 6000
workspaces:
  - name: benchmark
    api: seachat
    base_url: {url}
    api_key: {key}
    bots: [{{id: {bot}, name: Only}}]
"""
PEER_CONFIGURATION: Final = """\
databases: {d: {dsn: "sqlite://"}}
metrics: {x: {type: gauge, description: One}}
queries: {q: {databases: [d], metrics: [x], interval: 600, sql: select 1 as x}}
"""
LIBRARY: Final = """\
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
                process.wait(PATIENCE)
                self.seconds.append(time.perf_counter() - begun)
                return
            patiently(process, lambda: page(port))
            self.seconds.append(time.perf_counter() - begun)
            settled = re.compile(self.settled)
            patiently(process, lambda: settled.search(page(port)))
            time.sleep(SETTLING)
            self.megabytes.append(resident_megabytes(process.pid))


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program for as long as the block lasts."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()


def patiently(process: subprocess.Popen[str], look: Callable[[], object]) -> None:
    """Look until there is something.

    Raises:
        RuntimeError: If the program ends instead, or there is nothing for too long.
    """
    deadline = time.perf_counter() + PATIENCE
    while not look():
        if process.poll() is not None or time.perf_counter() > deadline:
            raise RuntimeError(f"{process.args!r} did not answer")
        time.sleep(0.001)


def page(port: int) -> str:
    """What GET /metrics gives; empty while nobody answers with 200."""
    answer = b""
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), PATIENCE) as connection,
    ):
        connection.sendall(request)
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer.decode() if re.match(rb"HTTP/1\.[01] 200 ", answer) else ""


def resident_megabytes(pid: int) -> float:
    """The resident memory of a process, as Linux counts it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if not found:
        raise RuntimeError("this system does not tell a process's resident memory")
    return int(found[1]) / 1024


@contextmanager
def sandbox() -> Iterator[tuple[str, str, str]]:
    """A running sandbox: its URL, its key, the id of its first bot."""
    command = [sys.executable, "-m", "exporter", "sandbox", "--sandbox.listen-address=127.0.0.1:0"]
    with started(command) as process:
        text = ""
        while "Ctrl-C" not in text:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError("the sandbox did not start")
            text += line
        url, key, bot = (
            re.findall(pattern, text)[0]
            for pattern in (r"(http://[\d.:]+)", r"(?i)seachat key (\S+)", r"bot (\S+) ")
        )
        yield url, key, bot


def installed(name: str, requirements: Sequence[str]) -> Path | None:
    """The programs of a venv that holds some requirements; None if they cannot be had."""
    folder = TOOLS / name
    note, wanted = folder / "requirements", "\n".join(requirements)
    lock = ROOT / requirements[-1]
    if lock.is_file():
        wanted += lock.read_text(encoding="utf-8")
    if note.exists() and note.read_text(encoding="utf-8") == wanted:
        return folder / "bin"
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            pip, check=True, cwd=ROOT, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        )
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot install {name}: {error}", file=sys.stderr)
        return None
    note.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def contestants(
    folder: Path, api: tuple[str, str, str], python: str, query_exporter: str | None
) -> list[Contestant]:
    """Who is measured, in the order of every round."""
    ours, theirs = folder / "seasalt.yml", folder / "query.yml"
    url, key, bot = api
    ours.write_text(OUR_CONFIGURATION.format(url=url, key=key, bot=bot), encoding="utf-8")
    theirs.write_text(PEER_CONFIGURATION, encoding="utf-8")
    found = [
        Contestant("python -c pass", lambda _: [python, "-c", "pass"], None),
        Contestant(
            "prometheus_client.start_http_server",
            lambda port: [python, "-c", LIBRARY, str(port)],
            r"(?m)^x 1",
        ),
        Contestant(
            OURS,
            lambda port: [
                *(python, "-m", "exporter", "serve", "--log.level=error"),
                *(f"--config.file={ours}", f"--web.listen-address=127.0.0.1:{port}"),
            ],
            r'(?m)^seasalt_report_success\{.*report="conversation_overview_yearly".*\} 1$',
        ),
    ]
    if query_exporter:
        found.append(
            Contestant(
                PEER,
                lambda port: [
                    *(query_exporter, "--host", "127.0.0.1", "--port", str(port)),
                    *("--config", str(theirs), "--log-level", "error"),
                ],
                r"(?m)^x\{.*\} 1",
            )
        )
    return found


def report(measured: Sequence[Contestant]) -> Iterator[str]:
    """The medians as a table, then how they stand to the targets."""
    by_name = {contestant.name: contestant for contestant in measured}
    yield f"{'':<36}{'first answer':>14}{'idle':>10}"
    for contestant in measured:
        idle = f"{median(contestant.megabytes):.1f} MB" if contestant.megabytes else "-"
        yield f"{contestant.name:<36}{median(contestant.seconds) * 1000:>11.0f} ms{idle:>10}"
    ours = by_name[OURS]
    yield f"{OURS} idle: {median(ours.megabytes):.1f} MB (target: at most {IDLE_MB})"
    for contestant in measured:
        if contestant is ours:
            continue
        # Round by round, so that a slow moment of the machine hits both.
        time_share = median(map(float.__truediv__, ours.seconds, contestant.seconds))
        target = f" (target: at most {SHARE})" if contestant.name == PEER else ""
        line = f"{OURS} / {contestant.name}: first answer {time_share:.2f}{target}"
        if contestant.megabytes:
            share = median(map(float.__truediv__, ours.megabytes, contestant.megabytes))
            line += f", idle {share:.2f}"
        yield line


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=7, metavar="N", help="how many rounds (default 7)"
    )
    parser.add_argument(
        "--no-peer", action="store_true", help="leave out query-exporter, and do not install it"
    )
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("--runs must be at least 1")
    peer = None if arguments.no_peer else installed(PEER, [PEER])
    own = installed("runtime", ["--require-hashes", "--no-deps", "-r", "requirements.lock"])
    if own is None:
        print("measuring in this Python's environment instead", file=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured = contestants(
            folder,
            stack.enter_context(sandbox()),
            str(own / "python") if own else sys.executable,
            str(peer / PEER) if peer else None,
        )
        for contestant in measured:  # the first start compiles and fills the page cache
            contestant.run()
            contestant.seconds.clear()
            contestant.megabytes.clear()
        for _ in range(arguments.runs):
            for contestant in measured:
                contestant.run()
    print("\n".join(report(measured)))


if __name__ == "__main__":
    main()
