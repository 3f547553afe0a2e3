"""Clients that have no right to anything and want to do harm; each for some seconds, against any server.

They are threads that only write, read and wait, so that a test can scrape beside them. As a program
they are not in the way of a server in the test's own process:
`python tests/support/attackers.py resets HOST PORT SECONDS [ADDRESSES, each with so many:] [1]`.
"""

import base64
import itertools
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

PATIENCE: Final = 5.0
_STRUCK: Final = b"struck\n"
_LINGER: Final = struct.pack("ii", 1, 0)  # so that close() sends RST

LARGE_HEAD: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 14_000 + b"\r\n\r\n"
SMALL_HEAD: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n"
HALF_HEAD: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 12_000


TLS_KINDS: Final = ("failed", "finished", "answered", "malformed")
_NO_HELLO: Final = b"GET / HTTP/1.1\r\n\r\n"

_UNREAD: Final = b"GET /-/healthy "
_GUESS: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n"
HELD: Final = {
    "chunked": b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unread": (_UNREAD + b"HTTP/1.1\r\nHost: x\r\n\r\n") * 3_000,
    "doubted": _GUESS,
    "doubted_twice": _GUESS * 2,
    "doubted_many": _GUESS * 600,
}


@dataclass
class Attack:
    """What an attacker has done so far.

    Attributes:
        done: How often it did each thing: statuses that it was answered, and `failed`.
        over: Set when it must end.
    """

    done: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def times(self) -> int:
        """How often it did anything."""
        return self.done.total()


Attacker = Callable[[str, int, str, Attack], None]
"""Attacks host and port from an address, until the attack is over."""


def connected(host: str, port: int, source: str) -> socket.socket:
    """A connection from an address; an empty one is any."""
    address = (source, 0) if source else None
    return socket.create_connection((host, port), PATIENCE, source_address=address)


def resets(host: str, port: int, source: str, attack: Attack) -> None:
    """A large request and half of another one, the answer read, and the connection reset.

    Some come in one piece, however little is read at a time: then nothing comes after the answer.
    """
    for sent in itertools.cycle((LARGE_HEAD + HALF_HEAD, SMALL_HEAD + HALF_HEAD[:4_000])):
        if attack.over.is_set():
            return
        with suppress(OSError):
            connection = connected(host, port, source)
            with connection:
                connection.sendall(sent)
                attack.done[status(connection.recv(4096))] += 1
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def secured() -> ssl.SSLContext:
    """A client's side that believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def tls_resets(host: str, port: int, source: str, attack: Attack, kind: str = "") -> None:
    """TLS that is reset: in the handshake, after it, after an answer, after what is no HTTP."""
    context = secured()
    for one in itertools.cycle([kind] if kind else TLS_KINDS):
        if attack.over.is_set():
            return
        with suppress(OSError):
            connection = connected(host, port, source)
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                if one == "failed":
                    connection.sendall(_NO_HELLO)
                    connection.recv(10)
                else:
                    connection = context.wrap_socket(connection)
                    if one != "finished":
                        connection.sendall(
                            LARGE_HEAD + HALF_HEAD if one == "answered" else b"NO\r\n\r\n"
                        )
                        connection.recv(100)
            connection.close()
        attack.done[one] += 1


def holders(host: str, port: int, source: str, attack: Attack, sent: bytes = b"") -> None:
    """A connection that is held after something was sent, and another one when it is closed.

    `%s` in what is sent is another password each time.
    """
    for number in itertools.count():
        if attack.over.is_set():
            return
        with suppress(OSError), socket.socket() as connection:
            if sent.startswith(_UNREAD):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            connection.bind((source, 0))
            connection.settimeout(PATIENCE)
            connection.connect((host, port))
            connection.setblocking(False)  # noqa: FBT003
            told = base64.b64encode(b"bob:wrong%d-%d" % (threading.get_ident(), number))
            connection.send(sent.replace(b"%s", told))
            attack.done["held"] += 1
            ended = select.poll()
            ended.register(connection, select.POLLRDHUP)
            while not (attack.over.is_set() or ended.poll(500)):
                pass


def deserters(host: str, port: int, source: str, attack: Attack) -> None:
    """Requests that take long to answer, each reset before it is; the password is always the same."""
    wrong = base64.b64encode(b"nobody:wrong")
    for number in itertools.count():
        if attack.over.is_set():
            return
        with suppress(OSError), connected(host, port, source) as connection:
            connection.sendall(
                b"GET /?q=%d HTTP/1.1\r\nHost: x\r\nX: %s\r\nAuthorization: Basic %s\r\n\r\n"
                % (number, b"a" * 12_000, wrong)
            )
            time.sleep(0.002)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            attack.done["reset"] += 1


def idlers(host: str, port: int, source: str, attack: Attack, every: float = 20.0) -> None:
    """A connection that asks for something now and then, and opens anew when it is closed."""
    while not attack.over.is_set():
        with suppress(OSError), connected(host, port, source) as connection:
            while not attack.over.is_set():
                connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = connection.recv(4096)
                if not answer:
                    break
                attack.done[status(answer)] += 1
                attack.over.wait(every)


def guessers(host: str, port: int, source: str, attack: Attack) -> None:
    """Wrong passwords, one after the other, over one connection."""
    numbers = itertools.count()
    while not attack.over.is_set():
        with suppress(OSError), connected(host, port, source) as connection:
            answer = b"none yet"
            while answer and not attack.over.is_set():
                guess = b"alice:wrong%d-%d" % (threading.get_ident(), next(numbers))
                connection.sendall(
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n"
                    % base64.b64encode(guess)
                )
                answer = connection.recv(4096)
                attack.done[status(answer)] += 1


def slow_readers(
    host: str, port: int, source: str, attack: Attack, path: str = "/api/v1/status"
) -> None:
    """A reader of a large answer that takes a little of it now and then."""
    while not attack.over.is_set():
        with suppress(OSError), connected(host, port, source) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not attack.over.wait(1.0) and connection.recv(512):
                attack.done["read"] += 1


def hammers(
    host: str, port: int, source: str, attack: Attack, path: str = "/api/v1/status"
) -> None:
    """The same answer again and again, as fast as it comes."""
    while not attack.over.is_set():
        with suppress(OSError), connected(host, port, source) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            head = connection.recv(65_536)
            while connection.recv(262_144):
                pass
            attack.done[status(head)] += 1


def status(answer: bytes) -> str:
    """The status of an answer."""
    return answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else "none"


@contextmanager
def attacked(
    attacker: Attacker, host: str, port: int, sources: Sequence[str] = ("",), each: int = 1
) -> Iterator[Attack]:
    """Have a server attacked for as long as the block lasts.

    Args:
        attacker: How.
        host: Where it listens.
        port: Where it listens.
        sources: The addresses that it is attacked from.
        each: How many attackers there are at each.
    """
    attack = Attack()
    threads = [
        threading.Thread(target=attacker, args=(host, port, source, attack))
        for source in sources
        for _ in range(each)
    ]
    for thread in threads:
        thread.start()
    try:
        yield attack
    finally:
        attack.over.set()
        for thread in threads:
            thread.join()


ATTACKERS: Final[Mapping[str, Attacker]] = {
    one.__name__: one
    for one in (resets, tls_resets, deserters, idlers, guessers, slow_readers, hammers)
} | {f"holders_{kind}": partial(holders, sent=sent) for kind, sent in HELD.items()}


@contextmanager
def besieged(
    name: str, port: int, sources: Sequence[str], each: int = 1, path: str = ""
) -> Iterator[Attack]:
    """Have a server attacked from another process, from loopback, for as long as the block lasts.

    It begins once the attacker has struck; what else that has done is known after the block.
    """
    attack, command = (
        Attack(),
        [
            *(sys.executable, __file__, name, "127.0.0.1", str(port), "3600"),
            *(",".join(sources), str(each), path),
        ],
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == _STRUCK, f"{name} does nothing"
            yield attack
        finally:
            process.terminate()
            try:
                attack.done.update(json.loads(process.communicate(timeout=15)[0] or b"{}"))
            except subprocess.TimeoutExpired:
                process.kill()


def main(name: str, host: str, port: str, seconds: str, *others: str) -> None:
    """Attack for some seconds, or until who started it is gone or says so; then say what came of it."""
    told, parent = threading.Event(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    end = time.monotonic() + float(seconds)
    sources, each, path = (*others, *("", "1", "")[len(others) :])
    attacker = ATTACKERS[name]
    if path:
        attacker = partial(attacker, path=path)  # type: ignore[call-arg]
    with attacked(attacker, host, int(port), sources.split(","), int(each)) as attack:
        struck, latest = False, time.monotonic() + 2 * PATIENCE
        while not told.wait(0.1) and time.monotonic() < end and os.getppid() == parent:
            if not (attack.times or time.monotonic() < latest):
                break
            if attack.times and not struck:
                struck = True
                sys.stdout.buffer.write(_STRUCK)
                sys.stdout.buffer.flush()
    print(json.dumps(attack.done))


if __name__ == "__main__":
    main(*sys.argv[1:])
