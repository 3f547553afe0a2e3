"""Attacks on a running exporter, over real sockets, with Prometheus scraping it meanwhile.

Two kinds of attacker: a client on the scrape port that never authenticates, and an API that answers
with whatever costs most. An attack runs in processes of its own. What it costs is read from the
outside: the exporter's memory, the time of a scrape, the answers that others get.
"""

import base64
import gzip
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import count, cycle
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import bcrypt
from faults.campaign import KEYS
from faults.processes import Life, Place
from faults.stub import Asked, Steps, Stub, as_json, response
from support.attackers import besieged, secured
from support.loopback import Authority
from support.processes import wait_for

LEAST_SCRAPES: Final = 20

_PAUSE: Final = 0.05
_BEGUN: Final = 1.0  # seconds until the attacker is under way
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


def _today() -> bytes:
    """The day of rows that are looked at."""
    return f"{datetime.now(UTC):%Y-%m-%d}".encode()


NODES: Final[Mapping[str, Callable[[], bytes]]] = {
    "empty rows": lambda: b'{"label_usage":{"data":[%s]}}' % _rows(b"{}"),
    "periods": lambda: (
        b'{"activity_trend":{"time_unit":"day","data":[%s]}}'
        % _rows(b'{"period":"%s","CUSTOMER":1}' % _today())
    ),
    "long names": lambda: (
        b'{"label_usage":[{"period":"%s","labels":[%s]}]}'
        % (_today(), _many(b'{"name":"' + b"x" * 60 + b'%06d","count":1}', 90_000))
    ),
    "labels": lambda: b'{"label_overview":[%s]}' % _many(b'{"name":"%d","total_count":1}', 250_000),
    "channels": lambda: (
        b'{"conversation_breakdown":{"channel_summary":{%s}}}'
        % _many(b'"%d":{"user_count":1}', 300_000)
    ),
}
"""Answers that are small on the wire, within eight MiB, and dear to take apart."""

_kinds: Final = cycle(NODES.values())  # not by the clock: a bot's turns are always at the same time


def nodes(asked: Asked, _: int) -> Steps | None:
    """One such answer after the other, to whatever is asked of the second bot."""
    if asked.bot != "b1":
        return None
    content = _gzipped(next(_kinds)())
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


_NEIGHBOURS: Final = tuple(f"127.0.0.{number}" for number in range(2, 10))


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to do harm.

    Attributes:
        client: The attacker on the scrape port, of `support.attackers`; empty for one from the API.
        sources: Its addresses.
        each: How many attackers there are at each.
        api: What the API answers in place of what is right; None for a right answer.
        more: Keys of the configuration.
        bots: How many there are.
        users: Whether a password is asked for, so that every scrape is somebody's first.
        tls: Whether the page is served over TLS.
        share: Of the time that an attack may go on: the harm of most is done within a minute.
        within: Seconds in which 99 of 100 scrapes are answered. Of connections that are let go,
            dozens are back at once, and each asks for something.
    """

    client: str = ""
    sources: Sequence[str] = _NEIGHBOURS
    each: int = 1
    api: Callable[[Asked, int], Steps | None] = lambda *_: None
    more: Mapping[str, Any] = field(default_factory=dict)
    bots: int = 5
    users: bool = False
    tls: bool = False
    share: float = 0.1
    within: float = 0.1


_LISTED: Final = {"discover_bots": {"interval": "1s"}, "workspace_id": "ws-1"}
_ALONE: Final = _NEIGHBOURS[:1]

ATTACKS: Final[Mapping[str, Attack]] = {
    "resets": Attack("resets", _ALONE, 4, share=1.0),
    "resets without a password": Attack("resets", _ALONE, 4, users=True, share=0.2),
    "resets over TLS": Attack("tls_resets", _ALONE, 4, tls=True, share=0.2),
    "wrong passwords": Attack("guessers", _ALONE, 31, users=True),
    "all places, idle": Attack("idlers", each=32),
    "all places, each with half a request": Attack("holders_chunked", each=32),
    "all places, each with answers that nobody reads": Attack(
        "holders_unread", each=32, within=0.25
    ),
    "slow readers of the status": Attack("slow_readers", each=25, bots=2000),
    "eight readers of the status": Attack("hammers", bots=2000),
    "answers of many parts": Attack(api=nodes),
    "a list of bots without an end": Attack(api=endless_list, more=_LISTED),
    "a second answer unasked": Attack(api=unasked),
}


def attacked(name: str, seconds: float, most_bots: int = 2000) -> Harm:
    """What comes of an attack.

    Args:
        name: Of `ATTACKS`.
        seconds: How long it goes on.
        most_bots: Bots at most, as each is polled first.
    """
    attack, harm, numbers = ATTACKS[name], Harm(), count(1000)
    bots = min(attack.bots, most_bots)
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
        metrics: list[Any] = ["total_usage"]
        if attack.api is nodes:
            metrics += ["label_usage", "activity_trend", "conversation_breakdown"]
            metrics.append({"metric": "label_overview", "scope": "bots"})
        workspace = {
            "name": "harbor",
            "api": "seachat",
            "base_url": stub.url,
            "api_key": KEYS["harbor"],
            "bots": [{"id": f"b{number}"} for number in range(bots)],
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
        flags = _web(Path(folder), attack)
        with place.lives(*flags) as life:
            port = int(life.url.split(":")[2].partition("/")[0])
            tls = secured() if attack.tls else None
            logins = [_basic(f"user{number}", _PASSWORD) for number in range(_USERS)]
            login = logins[0] if attack.users else b""
            wait_for(
                lambda: b"_up{" in _scrape(port, login, tls)[1], "never up", _PATIENCE, life.said
            )
            wait_for(lambda: _polled(stub, bots), "not all polled", _PATIENCE, life.said)
            harm.before = _memory(life)
            with ExitStack() as stack:
                if attack.client:
                    siege = besieged(attack.client, port, attack.sources, attack.each)
                    done = stack.enter_context(siege)
                    time.sleep(_BEGUN)
                end = time.monotonic() + seconds
                for number in count(1):
                    begun = time.monotonic()
                    if begun > end and number > LEAST_SCRAPES:
                        break
                    login = logins[number % _USERS] if attack.users else b""
                    status, page = _scrape(port, login, tls)
                    harm.took.append(time.monotonic() - begun)
                    harm.refused += status != 200
                    harm.most = max(harm.most, _memory(life))
                    harm.wrong += _wrong(page, served)
                    time.sleep(_PAUSE)
            harm.strikes += done.times if attack.client else 0
            if life.process.poll() is not None:
                harm.wrong.append(f"ended with {life.process.returncode}: {life.said()[-500:]}")
    return harm


def _polled(stub: Stub, bots: int) -> bool:
    return len({asked.bot for asked in stub.journal if asked.bot}) == bots


def _web(folder: Path, attack: Attack) -> Sequence[str]:
    """A web configuration: TLS, or users, all of the same password and each with a hash of its own."""
    lines: list[str] = []
    if attack.tls:
        certificate, key = Authority.made(folder, "scraped").signs(
            "page", "subjectAltName=IP:127.0.0.1"
        )
        lines = [f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}"]
    if attack.users:
        hashes = (bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(8)) for _ in range(_USERS))
        users = (f"  user{number}: {one.decode()}" for number, one in enumerate(hashes))
        lines = ["basic_auth_users:", *users]
    file = folder / "web.yml"
    file.write_text("\n".join((*lines, "")), encoding="utf-8")
    return (f"--web.config.file={file}",) if lines else ()


def _scrape(port: int, login: bytes, tls: ssl.SSLContext | None) -> tuple[int, bytes]:
    """Status and page, over a connection of its own; 0 where there is no answer."""
    try:
        plain = socket.create_connection(("127.0.0.1", port), 30, (_SCRAPER, 0))
        with closing(tls.wrap_socket(plain) if tls else plain) as connection:
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
