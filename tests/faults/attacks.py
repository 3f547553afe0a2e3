"""Attacks on a running exporter, over real sockets, with Prometheus scraping it meanwhile.

Two kinds of attacker: a client on the scrape port that never authenticates, and an API that answers
with whatever costs most. An attack runs in processes of its own. What it costs is read from the
outside: the exporter's memory, the time of a scrape, the answers that others get.
"""

import base64
import gzip
import multiprocessing
import os
import re
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import bcrypt
from faults.campaign import KEYS
from faults.processes import Life, Place
from faults.stub import Asked, Steps, Stub, as_json, response
from support.processes import wait_for

LEAST_SCRAPES: Final = 20

_PAUSE: Final = 0.05
_PATIENCE: Final = 60.0
_SCRAPER: Final = "127.0.0.200"
_USERS: Final = 60
_PASSWORD: Final = "CNRY77aa88bb99cc00dd"  # noqa: S105 - of the test's own users
_GET: Final = b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"


@dataclass(slots=True)
class Harm:
    """What an attack did.

    Attributes:
        took: Seconds that each scrape took.
        refused: Scrapes that got no 200 though they were entitled to one.
        wrong: Values that were never served as such, a few of them.
        before: Bytes of memory before the attack.
        most: The most during it.
        strikes: How often the attacker got through with what it does.
    """

    took: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    before: int = 0
    most: int = 0
    strikes: int = 0

    def __add__(self, other: "Harm") -> "Harm":
        """Both together."""
        return Harm(
            self.took + other.took,
            self.refused + other.refused,
            self.wrong + other.wrong,
            max(self.before, other.before),
            max(self.most, other.most),
            self.strikes + other.strikes,
        )

    @property
    def p99(self) -> float:
        """The scrape that only one of a hundred exceeds, in seconds."""
        return quantiles(self.took, n=100, method="inclusive")[98] if len(self.took) > 1 else 0.0

    def __str__(self) -> str:
        """The figures in a line."""
        memory = f"{self.before / 1e6:.0f} to {self.most / 1e6:.0f} MB"
        slow = f"p99 {self.p99 * 1000:.0f} ms"
        return (
            f"{self.strikes:,} strikes: {memory}; {len(self.took)} scrapes, {slow}, "
            f"{self.refused} refused, {len(self.wrong)} wrong values"
        )


# Clients. Each runs in a process of its own until it is ended, and counts its strikes.

Counter = Any
"""A shared number of `multiprocessing`, for which there is no type."""

Client = Callable[[int, Counter], None]


def _connected(port: int, source: str, timeout: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout, (source, 0))


def resets(port: int, strikes: Counter) -> None:
    """A request with as many headers as may be, most of a second one, the answer read, a reset."""
    junk = b"".join(b"X-%04d: %s\r\n" % (number, b"x" * 90) for number in range(130))
    while True:
        with suppress(OSError), closing(_connected(port, "127.0.0.2")) as connection:
            connection.sendall(_GET % (b"/-/healthy", junk[:14_000]) + b"GET / HTTP/1.1\r\n" + junk)
            connection.recv(65_536)
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            strikes.value += 1


def passwords(port: int, strikes: Counter) -> None:
    """Wrong passwords over 31 connections of one address, without a pause."""
    numbers = count()

    def guess() -> None:
        while True:
            with suppress(OSError), closing(_connected(port, "127.0.0.2", 30)) as connection:
                while True:
                    login = _basic(f"user{next(numbers) % _USERS}", f"guess {next(numbers)}")
                    connection.sendall(_GET % (b"/metrics", login))
                    if not connection.recv(65_536):
                        break
                    strikes.value += 1

    _together([guess] * 31)


def places(port: int, strikes: Counter) -> None:
    """Every place that eight addresses can get, each kept with a request every 20 s."""

    def keep(source: str) -> None:
        while True:
            with suppress(OSError), closing(_connected(port, source, 30)) as connection:
                while True:
                    connection.sendall(_GET % (b"/-/healthy", b""))
                    if not connection.recv(65_536):
                        break
                    strikes.value += 1
                    time.sleep(20)
            time.sleep(0.2)

    _together([keep] * 256, [f"127.0.0.{2 + number // 32}" for number in range(256)])


def readers(port: int, strikes: Counter) -> None:
    """200 readers of the status that take next to nothing of it."""

    def read(source: str) -> None:
        while True:
            with suppress(OSError), closing(socket.socket()) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.bind((source, 0))
                connection.connect(("127.0.0.1", port))
                connection.sendall(_GET % (b"/api/v1/status", b""))
                strikes.value += 1
                while connection.recv(100):
                    time.sleep(1)
            time.sleep(0.5)

    _together([read] * 200, [f"127.0.0.{2 + number // 29}" for number in range(200)])


def watchers(port: int, strikes: Counter) -> None:
    """Eight clients that ask for the status as fast as they get it."""

    def ask(source: str) -> None:
        while True:
            with suppress(OSError), closing(_connected(port, source, 30)) as connection:
                connection.sendall(_GET % (b"/api/v1/status", b"Connection: close\r\n"))
                while connection.recv(1 << 20):
                    pass
                strikes.value += 1

    _together([ask] * 8, [f"127.0.0.{number}" for number in range(2, 10)])


def _together(calls: Sequence[Callable[..., None]], arguments: Sequence[str] = ()) -> None:
    threads = [
        threading.Thread(target=call, args=arguments[place : place + 1], daemon=True)
        for place, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _basic(name: str, password: str) -> bytes:
    given = base64.b64encode(f"{name}:{password}".encode())
    return b"Authorization: Basic %s\r\n" % given


# APIs.


@cache
def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 9)


def _rows(one: bytes, most: int = 8_000_000) -> bytes:
    """As many of something as an answer may be long."""
    return b",".join([one] * (most // (len(one) + 1)))


def _many(shape: bytes, number: int) -> bytes:
    return b",".join(shape % place for place in range(number))


NODES: Final[Mapping[str, Callable[[], bytes]]] = {
    "empty rows": lambda: b'{"label_usage":{"data":[%s]}}' % _rows(b"{}"),
    "periods": lambda: (
        b'{"activity_trend":{"time_unit":"day","data":[%s]}}'
        % _rows(b'{"period":"2026-01-01","CUSTOMER":1}')
    ),
    "long names": lambda: (
        b'{"label_usage":[{"period":"2026-01-01","labels":[%s]}]}'
        % _many(b'{"name":"' + b"x" * 60 + b'%06d","count":1}', 90_000)
    ),
    "labels": lambda: b'{"label_overview":[%s]}' % _many(b'{"name":"%d","total_count":1}', 250_000),
    "channels": lambda: (
        b'{"conversation_breakdown":{"channel_summary":{%s}}}'
        % _many(b'"%d":{"user_count":1}', 300_000)
    ),
}
"""Answers that are small on the wire, within eight MiB, and dear to take apart."""


def nodes(asked: Asked, _: int) -> Steps | None:
    """One such answer after the other, to whatever is asked of the second bot."""
    if asked.bot != "b1":
        return None
    kinds = list(NODES.values())
    content = _gzipped(kinds[int(asked.at * 10) % len(kinds)]())
    return (response(200, content, {"Content-Encoding": "gzip"}),)


@cache
def _page(offset: int) -> bytes:
    # Of each page another id: there is no end to them.
    return _many(b'{"id":"d' + str(offset).encode() + b'-%d","name":"x"}', 200_000)


def endless_list(asked: Asked, _: int) -> Steps | None:
    """A list of bots of hundreds of thousands of rows a page, without an end."""
    if asked.api != "bots":
        return None
    content = b'{"data":[%s]}' % _page(int(asked.body.get("offset", 0)) % 1_000_000)
    return (response(200, _gzipped(content), {"Content-Encoding": "gzip"}),)


def unasked(asked: Asked, number: int) -> Steps | None:
    """Each answer with another one behind it, in one segment."""
    if asked.api != "seachat":
        return None
    return (_usage(number) + _usage(number + 1_000_000_000),)


def _usage(number: int) -> bytes:
    content = {"total_usage": {"total_voice_minutes": 0, "total_chat_responses": number}}
    return as_json(200, content)


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to do harm.

    Attributes:
        client: What runs on the scrape port; None for an attack from the API.
        api: What the API answers in place of what is right; None for a right answer.
        more: Keys of the configuration.
        bots: How many there are.
        users: Whether a password is asked for, so that every scrape is somebody's first.
        share: Of the time that an attack may go on: the harm of most is done within a minute.
    """

    client: Client | None = None
    api: Callable[[Asked, int], Steps | None] = lambda *_: None
    more: Mapping[str, Any] = field(default_factory=dict)
    bots: int = 5
    users: bool = False
    share: float = 0.1


_LISTED: Final = {"discover_bots": {"interval": "1s"}, "workspace_id": "ws-1"}

ATTACKS: Final[Mapping[str, Attack]] = {
    "resets": Attack(resets, share=1.0),
    "resets without a password": Attack(resets, users=True, share=1.0),
    "wrong passwords": Attack(passwords, users=True),
    "all places": Attack(places),
    "slow readers of the status": Attack(readers, bots=2000),
    "eight readers of the status": Attack(watchers, bots=2000),
    "answers of many parts": Attack(api=nodes),
    "a list of bots without an end": Attack(api=endless_list, more=_LISTED),
    "a second answer unasked": Attack(api=unasked),
}


def attacked(name: str, seconds: float) -> Harm:
    """What comes of an attack.

    Args:
        name: Of `ATTACKS`.
        seconds: How long it goes on.
    """
    attack, harm, numbers = ATTACKS[name], Harm(), count(1000)
    served: dict[str, set[float]] = {}

    def answer(asked: Asked) -> Steps:
        number = next(numbers)
        served.setdefault(asked.bot, set()).add(float(number))
        hostile = attack.api(asked, number)
        if hostile is not None:
            harm.strikes += 1
            return hostile
        return (_usage(number) if asked.api == "seachat" else as_json(404, {"detail": "?"}),)

    with tempfile.TemporaryDirectory() as folder, Stub(answer).beside() as stub:
        metrics = ["total_usage"]
        if attack.api is nodes:
            metrics += ["label_usage", "label_overview", "activity_trend", "conversation_breakdown"]
        workspace = {
            "name": "harbor",
            "api": "seachat",
            "base_url": stub.url,
            "api_key": KEYS["harbor"],
            "bots": [{"id": f"b{number}"} for number in range(attack.bots)],
            "metrics": metrics,
        }
        more = {
            "workspaces": [{**workspace, **attack.more}],
            "requests_per_minute": 6000,
            "timeout": "10s",
            # Towards the API every turn is one more strike; towards clients, one poll is enough.
            "interval": "10m" if attack.client else "1s",
        }
        place = Place(Path(folder), stub.url, more=more)
        flags = _users(Path(folder)) if attack.users else ()
        with place.lives(*flags) as life:
            port = int(life.url.split(":")[2].partition("/")[0])
            logins = [_basic(f"user{number}", _PASSWORD) for number in range(_USERS)]
            login = logins[0] if attack.users else b""
            wait_for(lambda: b"_up{" in _scrape(port, login)[1], "never up", _PATIENCE, life.said)
            wait_for(lambda: _polled(stub, attack.bots), "not all polled", _PATIENCE, life.said)
            harm.before = _memory(life)
            with _attacking(attack.client, port) as strikes:
                end = time.monotonic() + seconds
                for number in count(1):
                    begun = time.monotonic()
                    if begun > end and number > LEAST_SCRAPES:
                        break
                    login = logins[number % _USERS] if attack.users else b""
                    status, page = _scrape(port, login)
                    harm.took.append(time.monotonic() - begun)
                    harm.refused += status != 200
                    harm.most = max(harm.most, _memory(life))
                    harm.wrong += _wrong(page, served)
                    time.sleep(_PAUSE)
                harm.strikes += strikes.value if attack.client else 0
            if life.process.poll() is not None:
                harm.wrong.append(f"ended with {life.process.returncode}: {life.said()[-500:]}")
    return harm


def _polled(stub: Stub, bots: int) -> bool:
    return len({asked.bot for asked in stub.journal if asked.bot}) == bots


@contextmanager
def _attacking(client: Client | None, port: int) -> Iterator[Counter]:
    """Let a client do its worst, in a process that ends with the block."""
    context = multiprocessing.get_context("spawn")
    strikes = context.Value("q", 0)
    with ExitStack() as stack:
        if client:
            process = context.Process(target=client, args=(port, strikes), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            wait_for(lambda: strikes.value, "the attack never begins", _PATIENCE)
        yield strikes


def _users(folder: Path) -> Sequence[str]:
    """A web configuration with users, all of the same password and each with a hash of its own."""
    lines = [
        f"  user{number}: {bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(8)).decode()}"
        for number in range(_USERS)
    ]
    file = folder / "web.yml"
    file.write_text("\n".join(("basic_auth_users:", *lines, "")), encoding="utf-8")
    return (f"--web.config.file={file}",)


def _scrape(port: int, login: bytes) -> tuple[int, bytes]:
    """Status and page, over a connection of its own; 0 where there is no answer."""
    try:
        with closing(_connected(port, _SCRAPER, 30)) as connection:
            connection.sendall(_GET % (b"/metrics", b"Connection: close\r\n" + login))
            answer = b""
            while part := connection.recv(1 << 20):
                answer += part
    except OSError:
        return 0, b""
    head, _, page = answer.partition(b"\r\n\r\n")
    return int(head[9:12] or b"0"), page


def _wrong(page: bytes, served: Mapping[str, set[float]]) -> Iterator[str]:
    """The values of a page that no answer about their own bot has had."""
    for line in page.decode().splitlines():
        if line.startswith("seasalt_total_usage_chat_responses{"):
            bot = re.search(r'bot_id="([^"]*)"', line)
            if float(line.rpartition(" ")[2]) not in served.get(bot[1] if bot else "", set()):
                yield line


def _memory(life: Life) -> int:
    """Bytes that a process has in memory; 0 where it is gone."""
    with suppress(OSError):
        pages = Path(f"/proc/{life.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
