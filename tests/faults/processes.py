"""The exporter as a process beside the stub, started and killed over and over."""

import base64
import os
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import bcrypt
import yaml
from faults import judges, kinds
from faults.campaign import KEYS, bot_name
from faults.kinds import KINDS, PAUSES, Case
from faults.leaks import Scanner
from faults.stub import Asked, Steps, Stub, as_json, digest
from faults.truth import METRICS, PRIVATE, Truth
from support.loopback import Authority
from support.pagecheck import problems
from support.processes import free_port, get, inherited, wait_for
from support.states import unpacked

STATES: Final = ("ok", "corrupt", "unwritable", "absent")
"""How the state file is when the process starts: as it was left, damaged, or not to be had."""

WAYS: Final = ("another authority", "another host", "expired", "no proxy", "no name")
"""What may be wrong between the exporter and an API that is well."""

PASSWORD: Final = "CNRY77aa88bb99cc00dd"  # noqa: S105 - of the test's own user

_PATIENCE: Final = 60.0
_AT_ONCE: Final = 1.5  # seconds, on a busy machine

BOTS: Final = ("b0", "b1", "b2", "b3", "b4")

PER_MINUTE: Final = 60
"""Less than it wants to ask, so that nothing but the budget holds it back."""


class Api:
    """The stub as the API of one workspace, in a thread.

    Args:
        seed: Of its faults.
        share: Of the requests that meet one.
        fixed: What every request gets instead.
        tls: The server's side of it, None for plain HTTP.
        pauses: Whether it may ask for one, after which nothing comes any more.
    """

    def __init__(
        self,
        seed: int = 1,
        share: float = 0.0,
        fixed: Steps | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        pauses: bool = True,
    ) -> None:
        self.share = share
        self.fixed = fixed
        self.stub = Stub(self.answer, tls)
        self.dealt = 0
        self._rng = random.Random(seed)  # noqa: S311 - chance, no secrets
        self._truth = Truth({digest(KEYS["harbor"]): "harbor"}, bot_name)
        # What takes minutes of real time to go wrong has its place in the virtual world.
        slow = ("U03", "U04", "U05", "U33 interim answers without", "U39", "U41", "U23 bomb")
        left_out = slow if pauses else (*slow, *PAUSES)
        self._rows = [name for name in KINDS if not name.startswith(left_out)]

    def answer(self, asked: Asked) -> Steps:
        """What a request gets."""
        if self.fixed is not None:
            self.dealt += 1
            return self.fixed
        if asked.api != "seachat":
            return (as_json(404, {"detail": "Not Found"}),)
        case = Case(asked, self._truth, self._rng, datetime.now(UTC))
        if self._rng.random() < self.share:
            self.dealt += 1
            return KINDS[self._rng.choice(self._rows)](case).steps
        return kinds.good(case).steps


@dataclass(slots=True)
class Life:
    """One life of the exporter.

    Attributes:
        process: As started.
        url: Of its page.
        output: What it writes, errors as well.
    """

    process: subprocess.Popen[bytes]
    url: str
    output: IO[bytes]

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Somebody who asks for more pages than fit into any buffer, and takes none."""
        host, _, port = self.url.split("/")[2].partition(":")
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            connection.settimeout(3)
            with suppress(TimeoutError):  # it stops reading where it cannot write
                while True:
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            yield

    def said(self) -> str:
        """All that it wrote."""
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode()

    def up(self) -> bool:
        """Whether its page says that the API answers."""
        return bool(re.search(rb"^seasalt_up\{.*} 1\.0$", get(self.url).body, re.MULTILINE))

    def ready(self, within: float = 30.0) -> bool:
        """Whether it answers in time."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                if get(self.url.replace("/metrics", "/-/healthy")).status == 200:
                    return True
            time.sleep(0.05)
        return False


@dataclass(slots=True)
class Place:
    """A folder with a configuration and perhaps a state file.

    Attributes:
        folder: Where.
        url: Of the API.
        state: Whether to give a state file to the process.
        more: More keys of the configuration.
    """

    folder: Path
    url: str
    state: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration, written anew."""
        file = self.folder / "seasalt.yml"
        content = {
            "interval": "2s",
            "timeout": "3s",
            "allow_fast_polling": True,
            "requests_per_minute": PER_MINUTE,
            "workspaces": [
                {
                    "name": "harbor",
                    "api": "seachat",
                    "base_url": self.url,
                    "api_key": KEYS["harbor"],
                    "bots": [{"id": bot, "name": bot_name(bot)} for bot in BOTS],
                    "metrics": [*METRICS["seachat"]],
                }
            ],
            **self.more,
        }
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    @property
    def state_file(self) -> Path:
        """Where the process may keep its state."""
        return self.folder / "state" / "seasalt.state"

    def damage(self, how: str, rng: random.Random) -> None:
        """Bring the state file into a condition."""
        self.state_file.parent.mkdir(exist_ok=True)
        if how == "corrupt" and self.state_file.exists():
            content = bytearray(self.state_file.read_bytes())
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            self.state_file.write_bytes(bytes(content[: rng.randrange(len(content) + 1)]))
        elif how in {"absent", "unwritable"}:
            with suppress(OSError):
                self.state_file.unlink()
        lock = self.state_file.with_name(f"{self.state_file.name}.lock")
        if how == "unwritable" and not lock.is_dir():  # for root too, in the place of the lock
            lock.unlink(missing_ok=True)
            lock.mkdir()

    @contextmanager
    def lives(self, *flags: str) -> Iterator[Life]:
        """Start the exporter; afterwards it is gone."""
        port = free_port()
        command = [
            *(sys.executable, "-m", "exporter", f"--config.file={self.config}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=debug", *flags),
            *([f"--state.file={self.state_file}"] if self.state else []),
        ]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                env=inherited(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield Life(process, f"http://127.0.0.1:{port}/metrics", output)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


@dataclass(slots=True)
class Deaths:
    """What came of a row of lives.

    Attributes:
        lives: How many there were.
        unready: Lives that did not answer although they were given the time.
        beyond: How many requests there were beyond what the rate allows; 0 is the goal.
        wrong: What was wrong with pages, exits and outputs.
        slowest: Seconds that the slowest clean end took.
        faults: How many were dealt.
        took: Seconds that each scrape took.
        requests: How many the API got.
    """

    lives: int = 0
    unready: int = 0
    beyond: float = 0.0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    faults: int = 0
    took: list[float] = field(default_factory=list)
    requests: int = 0

    def __add__(self, other: "Deaths") -> "Deaths":
        """Both together."""
        return Deaths(
            self.lives + other.lives,
            self.unready + other.unready,
            max(self.beyond, other.beyond),
            self.wrong + other.wrong,
            max(self.slowest, other.slowest),
            self.faults + other.faults,
            self.took + other.took,
            self.requests + other.requests,
        )


def _scanner() -> Scanner:
    secrets = (*KEYS.values(), *PRIVATE, PASSWORD)
    return Scanner(secrets, (*METRICS["seachat"], "canary"))


def kills(times: int, how: str, *, state: bool, seed: int = 1, longest: float = 5.0) -> Deaths:
    """Kill the exporter at random moments, again and again, and see what it asked for.

    Args:
        times: How often.
        how: The condition of the state file at each start, one of `STATES`.
        state: Whether it is given a state file.
        seed: Of the moments.
        longest: Seconds that a life lasts at most.
    """
    rng, found, scanner = random.Random(seed), Deaths(), _scanner()  # noqa: S311 - chance
    api = Api(seed, share=0.2, pauses=False)
    with tempfile.TemporaryDirectory() as folder, api.stub.beside() as stub:
        place = Place(Path(folder), stub.url, state)
        begun = time.monotonic()
        for _ in range(times):
            place.damage(how, rng)
            with place.lives() as life:
                found.lives += 1
                if rng.random() < 0.5:  # else it may die before it has begun
                    life.ready()
                time.sleep(rng.uniform(0.1, longest))
                if (status := life.process.poll()) is not None:
                    found.wrong.append(f"ended by itself with {status}: {life.said()[-500:]}")
                else:
                    with suppress(OSError):
                        answer = get(life.url)
                        found.wrong += [str(problem) for problem in problems(answer.body)[:3]]
                life.process.kill()
                life.process.wait()
                found.wrong += scanner.hits(life.said())
        passed = time.monotonic() - begun
        for file in Path(folder, "state").glob("*"):
            if file.is_file():
                found.wrong += scanner.hits(_said(file.read_bytes()))
        allowed = PER_MINUTE / 60 * passed + 1
        found.requests = len(stub.journal)
        found.beyond = max(0.0, found.requests - allowed)
        host = {digest(KEYS["harbor"]): {f"{stub.address[0]}:{stub.address[1]}"}}
        found.wrong += [str(asked) for asked in judges.strangers(stub.journal, host)]
        found.faults = api.dealt
    return found


def terms(times: int, *, seed: int = 1, hang: bool = True) -> Deaths:
    """End the exporter with SIGTERM at random moments.

    Args:
        times: How often.
        seed: Of the moments.
        hang: Whether the API never answers, so that calls are in flight; else somebody asks for
            many pages and takes none, so that the server waits.
    """
    rng, found, scanner = random.Random(seed), Deaths(), _scanner()  # noqa: S311 - chance
    api = Api(seed, fixed=(60.0,) if hang else None)
    with tempfile.TemporaryDirectory() as folder, api.stub.beside() as stub:
        more = {"timeout": "60s", "interval": "1s", "requests_per_minute": 600}
        place = Place(Path(folder), stub.url, more=more)
        for _ in range(times):
            with place.lives() as life:
                found.lives += 1
                if not life.ready():
                    found.unready += 1
                    continue
                time.sleep(rng.uniform(0.0, 1.0))
                with nullcontext() if hang else life.reader():
                    before, begun = len(stub.journal), time.monotonic()
                    life.process.send_signal(signal.SIGTERM)
                    try:
                        status = life.process.wait(10)
                    except subprocess.TimeoutExpired:
                        status = -1
                found.slowest = max(found.slowest, time.monotonic() - begun)
                if status:
                    found.wrong.append(f"exit status {status}: {life.said()[-500:]}")
                late = [asked for asked in stub.journal[before:] if asked.at > begun + _AT_ONCE]
                found.wrong += [f"asked after the signal: {asked}" for asked in late]
                found.wrong += scanner.hits(life.said())
    return found


def scraped(seconds: float, share: float = 0.5, *, seed: int = 1, pause: float = 0.1) -> Deaths:
    """Let it meet faults over real connections and of its host, and take its page all the time.

    The disk is full for a while, and what the operator writes is wrong for a while: the web
    configuration, and the configuration itself, of which it is told with a signal.

    Args:
        seconds: How long.
        share: Of the requests that meet a fault.
        seed: Of the faults.
        pause: Between two scrapes.
    """
    found, scanner = Deaths(lives=1), _scanner()
    rng, api = random.Random(seed), Api(seed, share)  # noqa: S311 - chance, no secrets
    more = {"requests_per_minute": 3000, "interval": "1s"}
    with tempfile.TemporaryDirectory() as folder, api.stub.beside() as stub:
        place = Place(Path(folder), stub.url, state=True, more=more)
        place.state_file.parent.mkdir()
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        web, good = Path(folder, "web.yml"), f"basic_auth_users: {{prometheus: {hashed}}}\n"
        web.write_text(good, encoding="utf-8")
        with place.lives(f"--web.config.file={web}") as life:
            right, wrong = _basic(PASSWORD), _basic("x")
            wait_for(lambda: _status(life.url, right) == 200, "no page", _PATIENCE, life.said)
            end, next_one = time.monotonic() + seconds, 0.0
            while (now := time.monotonic()) < end:
                if now >= next_one:
                    next_one = now + 1
                    found.faults += _roughly(rng, place, life, web, good)
                begun = time.monotonic()
                answer = get(life.url, right)
                found.took.append(time.monotonic() - begun)
                if answer.status != 200:
                    found.wrong.append(f"HTTP {answer.status}")
                found.wrong += [str(problem) for problem in problems(answer.body)[:3]]
                found.wrong += scanner.hits(answer.body.decode())
                if (status := _status(life.url, wrong)) != 401:
                    found.wrong.append(f"HTTP {status} to a wrong password")
                time.sleep(pause)
            _fill(life, full=False)
            life.process.send_signal(signal.SIGTERM)
            if life.process.wait(10):
                found.wrong.append(f"ended with {life.process.returncode}")
            found.wrong += scanner.hits(life.said())
            found.wrong += scanner.hits(_said(place.state_file.read_bytes()))
            if "Traceback" in life.said():
                found.wrong.append(life.said()[-1000:])
    found.slowest = max(found.took)
    found.faults += api.dealt
    return found


def _roughly(rng: random.Random, place: Place, life: Life, web: Path, good: str) -> int:
    """Do something to the host, or undo it; how many faults that is."""
    bad = rng.choice(("", "basic_auth_users: [", good[:-9], "tls_server_config: {cert_file: x}"))
    match rng.randrange(6):
        case 0:
            _fill(life, full=True)
        case 1:
            _fill(life, full=False)
            return 0
        case 2 if bad:
            web.write_text(bad, encoding="utf-8")
        case 2:
            web.unlink(missing_ok=True)
        case 3:
            web.write_text(good, encoding="utf-8")
            return 0
        case 4:
            place.config.write_text("workspaces: [{name: }", encoding="utf-8")
            life.process.send_signal(signal.SIGHUP)
        case _:
            assert place.config.exists()  # written by that
            life.process.send_signal(signal.SIGHUP)
            return 0
    return 1


def _fill(life: Life, *, full: bool) -> None:
    """Let nothing be written any more, as on a disk that is full; or all again."""
    most = 0 if full else resource.RLIM_INFINITY
    resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def _basic(password: str) -> dict[str, str]:
    given = base64.b64encode(f"prometheus:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


def _said(content: bytes) -> str:
    """What a file says; of a state file, what it was before compression."""
    with suppress(OSError, EOFError, zlib.error):
        content += unpacked(content)
    return content.decode("latin-1")


def _status(url: str, headers: Mapping[str, str]) -> int:
    with suppress(OSError):
        return get(url, headers).status
    return 0


def cut_off(way: str, *, seconds: float = 6.0) -> Deaths:
    """Let something come between it and the API, and go again.

    Args:
        way: One of `WAYS`; a name that nobody knows is never known.
        seconds: How long.
    """
    found, scanner = Deaths(lives=1, faults=1), _scanner()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        right, wrong = _certificates(folder, way)
        api = Api(tls=right)
        with api.stub.beside():
            url = api.stub.url  # from now on its own
        http = {"ca_file": str(folder / "authority.pem")} if right else {}
        if way == "no proxy":  # the stub is one: it looks at nothing of an address but the path
            url, http = "http://127.0.0.1:9", {"proxy_url": url}
        # Longer than a connection is kept, so that each request makes its own.
        more = {"interval": "3s", "http": http, "requests_per_minute": 600}
        place = Place(folder, "https://unknown.test" if way == "no name" else url, more=more)
        with place.lives() as life:
            found.unready += not life.ready()
            if way != "no name":
                with api.stub.beside():
                    wait_for(life.up, f"{way}: never up", _PATIENCE, life.said)
            asked, api.stub.tls = len(api.stub.journal), wrong
            with api.stub.beside() if wrong else nullcontext():
                wait_for(lambda: not life.up(), f"{way}: always up", _PATIENCE, life.said)
                time.sleep(seconds)
                found.wrong += [str(problem) for problem in problems(get(life.url).body)[:3]]
            if life.up() or len(api.stub.journal) > asked:
                found.wrong.append(f"{way}: asked nevertheless")
            api.stub.tls = right
            if way != "no name":
                with api.stub.beside():
                    wait_for(life.up, f"{way}: never up again", _PATIENCE, life.said)
            life.process.send_signal(signal.SIGTERM)
            if life.process.wait(10):
                found.wrong.append(f"{way}: ended with {life.process.returncode}")
            found.wrong += scanner.hits(life.said())
            if "Traceback" in life.said():
                found.wrong.append(life.said()[-1000:])
    return found


def _certificates(
    folder: Path, way: str
) -> tuple[ssl.SSLContext, ssl.SSLContext] | tuple[None, None]:
    """The API's side of TLS as it should be, and as it is wrong in some way; none without TLS."""
    host, authority = "IP:127.0.0.1", Authority.made(folder, "authority")
    match way:
        case "another authority":
            wrong = Authority.made(folder, "another").serves(host)
        case "another host":
            wrong = authority.serves("DNS:elsewhere.invalid")
        case "expired":
            wrong = authority.serves(host, expired=True)
        case _:
            return None, None
    return authority.serves(host), wrong
