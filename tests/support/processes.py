"""Real programs for tests: started, waited for with a deadline, and ended whatever happens."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import IO, Final, TypeVar

PATIENCE: Final = 40.0
"""How long anything may take to get ready, in seconds, on a busy machine."""

_PAUSE: Final = 0.02
_OWN: Final = "SEASALT_EXPORTER_"

_LOOPBACK: Final = "127.0.0.1"
_LOWEST: Final = 10_000
_HIGHEST: Final = 32_767  # from 32,768 on the kernel picks
_FIRST: Final = _LOWEST + os.getpid() * 101 % (_HIGHEST - _LOWEST)
_PORTS: Final[Iterator[int]] = cycle((*range(_FIRST, _HIGHEST), *range(_LOWEST, _FIRST)))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has run to its end.

    Attributes:
        status: Its exit status, negative for the signal that ended it.
        stdout: All that it printed.
        stderr: All that it printed as an error.
    """

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole and as it came.

    Attributes:
        status: 200 and the like.
        headers: By their names in lower case.
        body: Not decoded in any way.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Running:
    """A program that was started by `started`."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes]
    ) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self.begun = time.monotonic()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return _content(self._stdout)

    @property
    def stderr(self) -> str:
        """What it has printed as errors and log so far."""
        return _content(self._stderr)

    @property
    def seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.begun

    def said(self, pattern: str, within: float = PATIENCE) -> str:
        """The first group of what matches first in its output or log.

        Raises:
            AssertionError: If it does not say so in time, or ends.
        """
        expression = re.compile(pattern, re.MULTILINE)

        def look() -> str | None:
            ended = self._process.poll() is not None
            found = expression.search(self.stdout) or expression.search(self.stderr)
            if not found and ended:
                raise AssertionError(f"ended with {self._process.returncode}\n{self.stderr}")
            return found[1] if found else None

        return wait_for(look, f"no line {pattern!r}", within, lambda: self.stdout + self.stderr)

    def end(self, within: float = PATIENCE) -> Ended:
        """Ask it to end with SIGTERM and wait until it has.

        Raises:
            subprocess.TimeoutExpired: If it does not.
        """
        self.send(signal.SIGTERM)
        return self.wait(within)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, within: float = PATIENCE) -> Ended:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: If it does not.
        """
        return Ended(self._process.wait(within), self.stdout, self.stderr)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a program for as long as the block lasts; afterwards it is gone.

    Args:
        command: The program and its arguments.
        environment: On top of ours, which is handed on without the exporter's own variables.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command,
            env=inherited() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            yield Running(process, stdout, stderr)
        finally:
            _end(process)


def finished(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    within: float = 2 * PATIENCE,
) -> Ended:
    """Run a program to its end."""
    done = subprocess.run(
        command,
        env=inherited() | dict(environment or {}),
        input=stdin,
        capture_output=True,
        timeout=within,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def inherited() -> dict[str, str]:
    """Our environment without the exporter's own variables and without proxies."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OWN) and not name.lower().endswith("_proxy")
    }


def free_port() -> int:
    """A port on loopback that nobody listens on, nor is given without asking for it by number.

    One that the kernel picks may be picked again for another test's server or client before it is
    used. Each process walks through the ports below those, from a place of its own.
    """
    port: int
    for port in islice(_PORTS, _HIGHEST - _LOWEST):
        with suppress(OSError), socket.create_server((_LOOPBACK, port)):
            return port
    raise AssertionError("no port is free")


def wait_for(
    look: Callable[[], T | None],
    otherwise: str,
    within: float = PATIENCE,
    more: Callable[[], object] = str,
) -> T:
    """What `look` finds, as soon as it finds something.

    Args:
        look: Returns None, or something false, while there is nothing.
        otherwise: What to say where nothing is found in time.
        within: How long to look, in seconds.
        more: What else to say then.

    Raises:
        AssertionError: If nothing is found in time.
    """
    deadline = time.monotonic() + within
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{otherwise} within {within} s\n{more()}")
        time.sleep(_PAUSE)


def get(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    """The answer to one request without a body, whatever its status; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=dict(headers or {}), method=method)  # noqa: S310 - loopback
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            lower = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, lower, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            lower = {name.lower(): value for name, value in error.headers.items()}
            return Answer(error.code, lower, error.read())


def answered(url: str, within: float = PATIENCE) -> Answer:
    """The first 200 that a URL gives.

    Raises:
        AssertionError: If it gives none in time.
    """

    def look() -> Answer | None:
        try:
            answer = get(url)
        except OSError:
            return None
        return answer if answer.status == 200 else None

    return wait_for(look, f"no answer of {url}", within)


def _content(file: IO[bytes]) -> str:
    """All of a file that another process appends to."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, politely if it lets us."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
