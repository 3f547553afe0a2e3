"""What every benchmark needs of the machine: programs, ports, a client, clocks, memory, peers."""

import base64
import gzip
import json
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[1]
TOOLS: Final = ROOT / ".tools"
PATIENCE: Final = 300.0
"""Seconds that anything may take to get ready; 10,000 bots on a slow machine need this long."""

PROMETHEUS_ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
"""What Prometheus 3 asks for when it is not told to want anything else."""

OF_A_BOT: Final = 'bot_id="'
"""What is in every line of a value that the peers hold too, and in no other."""

_CPU_OF_PROCESS: Final = 2
_SERIES: Final = re.compile(r'^(seasalt_\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+)', re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

T = TypeVar("T")
Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and label pairs."""


def ends_its_programs() -> None:
    """Let a SIGTERM end what was started too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def started(
    command: Sequence[str], *, talks: bool = False, quiet: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """Run a program for as long as the block lasts.

    Args:
        command: The program and its arguments.
        talks: Whether it is asked on its standard input, and answers on its output.
        quiet: Whether its standard error is thrown away.

    Whatever this process may do, the program keeps what Python compiles, as an installation does.
    """
    pipe = subprocess.PIPE if talks else subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        env={
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        },
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()


def patiently(process: subprocess.Popen[str], look: Callable[[], T], pause: float = 0.001) -> T:
    """Look until there is something; what there is then.

    Raises:
        RuntimeError: If the program ends instead, or there is nothing for too long.
    """
    deadline = time.perf_counter() + PATIENCE
    while True:
        with suppress(OSError):
            if found := look():
                return found
        if process.poll() is not None or time.perf_counter() > deadline:
            raise RuntimeError(f"{process.args!r} did not get ready")
        time.sleep(pause)


def fetched(port: int, path: str = "/metrics", **headers: str) -> tuple[Mapping[str, str], bytes]:
    """The headers of an answer, by their names in lower case, and its body as it came.

    Raises:
        OSError: If there is none with status 200.
    """
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - loopback
            return {name.lower(): text for name, text in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        error.close()  # it is an answer, too, with a file behind it
        raise


def page(port: int, path: str = "/metrics") -> str:
    """The page as a scraper that wants gzip reads it; empty while nobody answers with 200."""
    try:
        headers, body = fetched(port, path, **{"Accept-Encoding": "gzip"})
    except OSError:
        return ""
    packed = headers.get("content-encoding") == "gzip"
    return (gzip.decompress(body) if packed else body).decode()


def held(text: str) -> str:
    """Of a page in the text format, all that is about bots: what the peers are given."""
    lines = text.splitlines(keepends=True)
    families = {line.split("{")[0] for line in lines if OF_A_BOT in line}
    return "".join(
        line
        for line in lines
        if OF_A_BOT in line or (line.startswith("# ") and line.split(" ", 3)[2] in families)
    )


def series(text: str, *, without: frozenset[str] = frozenset()) -> Series:
    """Every value of a bot on a page, whatever order its labels are in.

    Args:
        text: In either of the formats.
        without: Labels that a peer puts on everything.
    """
    return {
        (name, frozenset(pair for pair in _LABEL.findall(labels) if pair[0] not in without)): float(
            value
        )
        for name, labels, value in _SERIES.findall(text)
        if OF_A_BOT in labels
    }


class ClosedEarlyError(ConnectionError):
    """A connection that was closed before there was an answer."""


class Scraper:
    """A client as simple as can be: one socket that is kept, blocking, nothing decoded.

    Args:
        port: Where the server is, on 127.0.0.1.
        path: What it is asked for.
        accept: The header of that name.
        source: The loopback address that the server sees.
        trust: The certificates to trust; None for no TLS.
        credentials: A user and a password with a colon between them; empty for none.
    """

    def __init__(
        self,
        port: int,
        path: str = "/metrics",
        accept: str = PROMETHEUS_ACCEPT,
        *,
        source: str = "127.0.0.1",
        trust: ssl.SSLContext | None = None,
        credentials: str = "",
    ) -> None:
        self._port = port
        self._source = source
        self._trust = trust
        self._socket: socket.socket | None = None
        self._room = memoryview(bytearray(1 << 20))
        known = base64.b64encode(credentials.encode()).decode()
        authorization = f"Authorization: Basic {known}\r\n" if credentials else ""
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\n{authorization}"
            "Accept-Encoding: gzip\r\nUser-Agent: Prometheus/3.5.0\r\n\r\n"
        ).encode()

    def close(self) -> None:
        """Give the connection up."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def scrape(self) -> float:
        """Seconds from the request to the last byte of its answer, a new connection included.

        Raises:
            RuntimeError: If the answer is not one with status 200, or not whole.
        """
        begun = time.perf_counter()
        fresh = self._socket is None
        try:
            self.ask()
            self.take()
        except ClosedEarlyError:
            self.close()
            if fresh:
                raise
            return self.scrape()  # the server does not keep connections, or no longer this one
        return time.perf_counter() - begun

    def ask(self) -> None:
        """Send a request, over a new connection if there is none.

        Raises:
            ClosedEarlyError: If the connection is closed.
        """
        try:
            if self._socket is None:
                where, source = ("127.0.0.1", self._port), (self._source, 0)
                self._socket = socket.create_connection(where, PATIENCE, source_address=source)
                if self._trust:
                    self._socket = self._trust.wrap_socket(
                        self._socket, server_hostname="localhost"
                    )
            self._socket.sendall(self._request)
        except ConnectionError as error:
            raise ClosedEarlyError(str(error)) from error

    def take(self) -> None:
        """Receive the answer to the request that was sent, to its last byte.

        Raises:
            ClosedEarlyError: If the connection is closed before an answer.
            RuntimeError: If the answer is not one with status 200, or not whole.
        """
        assert self._socket
        connection = self._socket
        try:
            head, size = self._head(connection)
        except ConnectionError as error:
            raise ClosedEarlyError(str(error)) from error
        if not re.match(rb"http/1\.[01] 200 ", head):
            raise RuntimeError(f"answered with {head[:60]!r}")
        self._body(connection, head, size)
        if head.startswith(b"http/1.0") or b"connection: close" in head:
            self.close()

    def _head(self, connection: socket.socket) -> tuple[bytes, int]:
        """The head in lower case, and how many bytes of the body came with it."""
        size = 0
        while True:
            more = connection.recv_into(self._room[size:])
            if not more:
                raise ConnectionError("closed before an answer")
            size += more
            head, end, rest = bytes(self._room[: min(size, 65_536)]).partition(b"\r\n\r\n")
            if end:
                return head.lower(), len(rest) + max(0, size - 65_536)

    def _body(self, connection: socket.socket, head: bytes, size: int) -> None:
        """Take the rest of the body, and keep nothing of it."""
        room = self._room
        if found := re.search(rb"content-length: *(\d+)", head):
            left = int(found[1]) - size
            while left > 0:
                more = connection.recv_into(room)
                if not more:
                    raise RuntimeError("the body is not whole")
                left -= more
        elif b"transfer-encoding: chunked" in head:
            end = bytes(room[max(0, len(head) + 4 + size - 5) : len(head) + 4 + size])
            while end != b"0\r\n\r\n":
                more = connection.recv_into(room)
                if not more:
                    raise RuntimeError("the body is not whole")
                end = (end + bytes(room[max(0, more - 5) : more]))[-5:]
        else:
            while connection.recv_into(room):
                pass
            self.close()


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, all of its threads and those that have ended, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | _CPU_OF_PROCESS)


def resident_megabytes(pid: int, *, peak: bool = False) -> float:
    """The resident memory of a process, now or at its largest, as Linux counts it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB$", status, re.MULTILINE)
    if not found:
        raise RuntimeError("this system does not tell a process's resident memory")
    return int(found[1]) / 1024


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


def runtime() -> str:
    """A Python with what the exporter needs and no more, or this one if that cannot be had."""
    own = installed("runtime", ["--require-hashes", "--no-deps", "-r", "requirements.lock"])
    if own is None:
        print("measuring in this Python's environment instead", file=sys.stderr)
    return str(own / "python") if own else sys.executable


def debian(package: str, program: str) -> str | None:
    """A program of a Debian package; None if it cannot be had.

    Unpacked below .tools and not installed: so it takes no root, and starts no service.
    """
    folder = TOOLS / "debian"
    names = (program, f"sbin/{program}", f"bin/{program}")
    if found := next(
        (str(path) for name in names if (path := folder / "usr" / name).is_file()), None
    ):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _downloaded(package, folder)
        for archive in folder.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True)
            archive.unlink()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot get {package}: {error}", file=sys.stderr)
        return shutil.which(program)
    return debian(package, program)


def _downloaded(package: str, folder: Path) -> None:
    download = ["apt-get", "download", "--quiet", package]
    if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
        # Without a list of packages, which only root can get; for others this says what is wrong.
        subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=False)
        subprocess.run(download, cwd=folder, capture_output=True, check=True)


def prometheus() -> str | None:
    """Prometheus itself, as the tests use it."""
    subprocess.run([ROOT / "tests/get-prometheus", TOOLS / "prometheus"], check=False)
    program = TOOLS / "prometheus/usr/bin/prometheus"
    return str(program) if program.is_file() else shutil.which("prometheus")


def version(*command: str) -> str:
    """The version that a program tells of itself, or nothing."""
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", told.stdout + told.stderr)
    return found[0] if found else ""


def described() -> str:
    """This machine in a line."""
    with suppress(OSError):
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return (
            f"{os.cpu_count()} cores of {model[1] if model else platform.machine()},"
            f" {memory:.0f} GiB, Linux {platform.release().split('-')[0]},"
            f" Python {platform.python_version()}"
        )
    return platform.platform()


def told(process: subprocess.Popen[str], line: str) -> float:
    """The number that a program that talks answers to a line."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{process.args!r} ended")
    return float(json.loads(answer))
