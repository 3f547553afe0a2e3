"""health: asks the exporter on this machine whether it is alive, for container health checks."""

import signal
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import quote

from exporter.commands.flags import DONE, Invocation, parse, prefix
from exporter.errors import StartError
from exporter.network_addresses import everywhere, joined, literal, split

FIRST: Final = Path("/proc/1/cmdline")
_SECONDS: Final = 4.0
_WHERE: Final = ("web.listen-address", "web.external-url", "web.route-prefix")
_HANDSHAKE: Final = b"\x16"


def run(invocation: Invocation) -> int:
    """Return success if the exporter answers.

    Raises:
        StartError: If it does not answer.
    """
    served = as_served(invocation)
    host, port = split(served.values["web.listen-address"][0])
    path = quote(f"{prefix(served)}/-/healthy")
    told: list[str] = []
    end = time.monotonic() + _SECONDS
    for one in _hosts(host):
        try:
            with _within(end):
                status = _status(one, port, path)
        except UnicodeError:
            told.append(f"{joined(one, port)}: no such name")
        except (OSError, HTTPException) as error:
            told.append(f"{joined(one, port)}: {getattr(error, 'strerror', None) or 'no answer'}")
        else:
            # An exporter that refuses the request is alive. A 404 comes from another program.
            if status < 500 and status != 404:
                return DONE
            told.append(f"{joined(one, port)}{path}: HTTP {status}")
    raise StartError(f"not healthy: {'; '.join(told)}")


@contextmanager
def _within(end: float) -> Iterator[None]:
    """Enforce a deadline, even for a DNS look-up or an answer that arrives byte by byte.

    Raises:
        TimeoutError: If the deadline passes.
    """

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, end - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def as_served(invocation: Invocation, first: Path = FIRST) -> Invocation:
    """The invocation with the address of the exporter to ask.

    If no address is configured, it is taken from the command line of PID 1, if that is an exporter.
    """
    unasked = parse(["health"], invocation.environment)
    if any(invocation.values[flag] != unasked.values[flag] for flag in _WHERE):
        return invocation
    try:
        command = first.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        command = []
    arguments = _arguments(command)
    if arguments is None:
        return invocation
    served = parse(arguments, invocation.environment).values
    return replace(
        invocation, values={**invocation.values, **{flag: served[flag] for flag in _WHERE}}
    )


def _arguments(command: Sequence[str]) -> Sequence[str] | None:
    """The arguments of an exporter's command line; None for another program."""
    for place, word in enumerate(command):
        script = word.endswith("/seasalt-exporter")
        if script or command[place - 1 : place + 1] == ["-m", "exporter"]:
            return command[place + 1 : -1]  # the last argument is also followed by a zero byte
    return None


def _hosts(host: str) -> Iterator[str]:
    """The hosts under which a server that listens on `host` can be reached."""
    found = literal(host)
    if found is not None and found.version == 4 and found.is_unspecified:
        yield "127.0.0.1"
    elif everywhere(host):
        yield from ("127.0.0.1", "::1")
    else:
        yield host


def _status(host: str, port: int, path: str) -> int:
    """The status of the answer, over TLS if the server does not speak plain HTTP.

    The certificate is not verified: the request contains no secret, and the answer is only one bit.
    """
    try:
        return _asked(HTTPConnection(host, port, timeout=_SECONDS), path)
    except (ConnectionRefusedError, TimeoutError):
        raise
    except (OSError, HTTPException):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return _asked(HTTPSConnection(host, port, timeout=_SECONDS, context=context), path)
    except (OSError, HTTPException):
        if _greets(host, port, context):
            return 401  # the server requires a client certificate
        raise


def _greets(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether a server begins a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    with socket.create_connection((host, port), _SECONDS) as connection:
        connection.sendall(outgoing.read())
        return connection.recv(1) == _HANDSHAKE


def _asked(connection: HTTPConnection, path: str) -> int:
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()
