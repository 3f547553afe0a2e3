"""The exporter as a process beside the stub, started and killed over and over."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import yaml
from faults import judges, kinds
from faults.campaign import KEYS, bot_name
from faults.kinds import KINDS, Case
from faults.leaks import Scanner
from faults.stub import Asked, Steps, Stub, as_json, digest
from faults.truth import METRICS, PRIVATE, Truth
from support.pagecheck import problems
from support.processes import free_port, get, inherited

STATES: Final = ("ok", "corrupt", "unwritable", "absent")
"""How the state file is when the process starts: as it was left, damaged, or not to be had."""

PER_MINUTE: Final = 30
"""Less than it wants to ask, so that nothing but the budget holds it back."""


class Api:
    """The stub as the API of one workspace, in a thread.

    Args:
        seed: Of its faults.
        share: Of the requests that meet one.
        fixed: What every request gets instead.
    """

    def __init__(self, seed: int = 1, share: float = 0.0, fixed: Steps | None = None) -> None:
        self.share = share
        self.fixed = fixed
        self.stub = Stub(self.answer)
        self.dealt = 0
        self._rng = random.Random(seed)  # noqa: S311 - chance, no secrets
        self._truth = Truth({digest(KEYS["harbor"]): "harbor"}, bot_name)
        # What takes minutes of real time to go wrong has its place in the virtual world.
        slow = ("U03", "U04", "U05", "U33 interim answers without", "U39", "U41", "U23 bomb")
        self._rows = [name for name in KINDS if not name.startswith(slow)]

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

    def said(self) -> str:
        """All that it wrote."""
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode()

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
                    "bots": [{"id": "b0", "name": bot_name("b0")}],
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
    """

    lives: int = 0
    unready: int = 0
    beyond: float = 0.0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    faults: int = 0

    def __add__(self, other: "Deaths") -> "Deaths":
        """Both together."""
        return Deaths(
            self.lives + other.lives,
            self.unready + other.unready,
            max(self.beyond, other.beyond),
            self.wrong + other.wrong,
            max(self.slowest, other.slowest),
            self.faults + other.faults,
        )


def _scanner() -> Scanner:
    return Scanner((*KEYS.values(), *PRIVATE), (*METRICS["seachat"], "canary"))


def kills(times: int, how: str, *, state: bool, seed: int = 1, longest: float = 2.5) -> Deaths:
    """Kill the exporter at random moments, again and again, and see what it asked for.

    Args:
        times: How often.
        how: The condition of the state file at each start, one of `STATES`.
        state: Whether it is given a state file.
        seed: Of the moments.
        longest: Seconds that a life lasts at most.
    """
    rng, found, scanner = random.Random(seed), Deaths(), _scanner()  # noqa: S311 - chance
    api = Api(seed, share=0.2)
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
                found.wrong += scanner.hits(file.read_bytes().decode("latin-1"))
        allowed = PER_MINUTE / 60 * passed + 1
        found.beyond = max(0.0, len(stub.journal) - allowed)
        host = {digest(KEYS["harbor"]): {f"{stub.address[0]}:{stub.address[1]}"}}
        found.wrong += [str(asked) for asked in judges.strangers(stub.journal, host)]
        found.faults = api.dealt
    return found


def terms(times: int, *, seed: int = 1, hang: bool = True) -> Deaths:
    """End the exporter with SIGTERM at random moments.

    Args:
        times: How often.
        seed: Of the moments.
        hang: Whether the API never answers, so that calls are in flight.
    """
    rng, found, scanner = random.Random(seed), Deaths(), _scanner()  # noqa: S311 - chance
    api = Api(seed, fixed=(60.0,) if hang else None)
    with tempfile.TemporaryDirectory() as folder, api.stub.beside() as stub:
        place = Place(Path(folder), stub.url, more={"timeout": "60s"})
        for _ in range(times):
            with place.lives() as life:
                found.lives += 1
                if not life.ready():
                    found.unready += 1
                    continue
                time.sleep(rng.uniform(0.0, 1.0))
                before, begun = len(stub.journal), time.monotonic()
                life.process.send_signal(signal.SIGTERM)
                try:
                    status = life.process.wait(10)
                except subprocess.TimeoutExpired:
                    status = -1
                found.slowest = max(found.slowest, time.monotonic() - begun)
                if status:
                    found.wrong.append(f"exit status {status}: {life.said()[-500:]}")
                late = [asked for asked in stub.journal[before:] if asked.at > begun + 0.5]
                found.wrong += [f"asked after the signal: {asked}" for asked in late]
                found.wrong += scanner.hits(life.said())
    return found


def scraped(seconds: float, share: float = 0.5, *, seed: int = 1, pause: float = 0.1) -> Deaths:
    """Let it meet faults over real connections, and take its page all the time.

    Args:
        seconds: How long.
        share: Of the requests that meet a fault.
        seed: Of the faults.
        pause: Between two scrapes.
    """
    found, scanner = Deaths(lives=1), _scanner()
    api = Api(seed, share)
    with tempfile.TemporaryDirectory() as folder, api.stub.beside() as stub:
        place = Place(Path(folder), stub.url, more={"requests_per_minute": 3000, "interval": "1s"})
        with place.lives() as life:
            if not life.ready():
                found.unready += 1
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begun = time.monotonic()
                answer = get(life.url)
                found.slowest = max(found.slowest, time.monotonic() - begun)
                if answer.status != 200:
                    found.wrong.append(f"HTTP {answer.status}")
                found.wrong += [str(problem) for problem in problems(answer.body)[:3]]
                found.wrong += scanner.hits(answer.body.decode())
                time.sleep(pause)
            found.wrong += scanner.hits(life.said())
            if "Traceback" in life.said():
                found.wrong.append(life.said()[-1000:])
    found.faults = api.dealt
    return found
