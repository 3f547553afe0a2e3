"""The API as it may really be: a server that answers step by step, and writes down who asked.

It speaks just enough HTTP/1.1 to be wrong in every way. The same code listens on a real port (plain
or TLS) and on the virtual network of `support.virtual`. What an exporter may do is judged from the
journal, never from the exporter's own counters.
"""

import asyncio
import gc
import hashlib
import json
import random
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.client import responses
from itertools import chain
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from exporter.model import api_paths

LOOPBACK: Final = "127.0.0.1"
_APIS: Final = {
    api_paths.SEACHAT_REPORT: "seachat",
    api_paths.PORTAL_REPORT: "portal",
    api_paths.PORTAL_REPORT_OLD: "portal",
    api_paths.SEAX_REPORT: "seax",
    api_paths.BOTS: "bots",
}


class End(Enum):
    """What happens to a connection, instead of more bytes."""

    CLOSE = "closed in order"
    HALF_CLOSE = "closed for writing alone, then kept"
    RESET = "reset"
    HANG = "kept without another byte until the other side goes"


Step = bytes | float | End
"""Bytes to write, seconds to wait, or an end."""

Steps = Iterable[Step]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came.

    Attributes:
        at: When its last byte had come, in seconds on a clock that only goes forward.
        method: As sent.
        path: Without the query.
        host: The header, or empty.
        names: Of all headers, in lower case, in order.
        key: SHA-256 of the credentials, empty without any.
        api: Whose endpoint it is: seachat, portal, seax, bots; else empty.
        metrics: What it asks for.
        bot: Whom about; empty for the workspace.
        body: The JSON object, or the query's fields for a GET.
        secret: The credentials, for an answer that gives them away.
    """

    at: float
    method: str
    path: str
    host: str
    names: tuple[str, ...]
    key: str
    api: str
    metrics: tuple[str, ...]
    bot: str
    body: Mapping[str, Any] = field(repr=False)
    secret: str = field(repr=False)


def digest(credentials: str) -> str:
    """How credentials are called in a journal."""
    return hashlib.sha256(credentials.encode()).hexdigest() if credentials else ""


Answers = Callable[[Asked], Steps]
"""What a request gets."""


def response(
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = -1,
) -> bytes:
    """An answer as bytes.

    Args:
        status: 200 and the like.
        body: As it goes over the wire.
        headers: Beside the length; JSON unless they say otherwise.
        length: What `Content-Length` says; -1 for the truth, None for no such header.
    """
    lines = {"Content-Type": "application/json", **(headers or {})}
    if length is not None:
        lines["Content-Length"] = str(len(body) if length < 0 else length)
    phrase = responses.get(status, "Unknown")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{head}\r\n".encode() + body


def as_json(status: int, content: object, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer with a JSON body."""
    return response(status, json.dumps(content, ensure_ascii=False).encode(), headers)


# Toxiproxy's toxics, on the way back. `down` is `Stub.down`.


def latency(steps: Steps, seconds: float, jitter: float = 0.0) -> Iterator[Step]:
    """All of it later, by a time that varies."""
    yield max(0.0, seconds + random.uniform(-jitter, jitter))  # noqa: S311 - made-up delays
    yield from steps


def bandwidth(steps: Steps, per_second: int) -> Iterator[Step]:
    """So many bytes a second."""
    return slicer(steps, max(1, per_second // 10), 0.1)


def slicer(steps: Steps, size: int, seconds: float = 0.0) -> Iterator[Step]:
    """The bytes in slices, with a wait after each."""
    for step in steps:
        if isinstance(step, bytes):
            for at in range(0, len(step), size):
                yield step[at : at + size]
                yield seconds
        else:
            yield step


def limit_data(steps: Steps, most: int, end: End = End.CLOSE) -> Iterator[Step]:
    """No more than so many bytes, then an end."""
    for step in steps:
        if isinstance(step, bytes):
            yield step[:most]
            most -= len(step)
            if most <= 0:
                break
        else:
            yield step
    yield end


def slow_close(steps: Steps, seconds: float) -> Iterator[Step]:
    """All of it, and a close that lets wait."""
    yield from chain(steps, (seconds, End.CLOSE))


def timeout(seconds: float) -> Iterator[Step]:
    """Nothing, and a close after a while; 0 for never."""
    yield from (seconds, End.CLOSE) if seconds else (End.HANG,)


def reset_peer(seconds: float = 0.0) -> Iterator[Step]:
    """A reset after a while."""
    yield from (seconds, End.RESET)


_SOON: Final[Any] = {"ssl_handshake_timeout": 5.0, "ssl_shutdown_timeout": 0.1}
"""Seconds: whoever is no longer there is not waited for."""


class Stub:
    """A server with a journal.

    Args:
        answers: What each request gets.
        tls: The server's side of it, None for plain HTTP.
        most: How many requests the journal keeps; 0 for all.
        connected: What a new connection gets before it may ask anything, by its number.

    Attributes:
        journal: Every request, in the order in which they came.
        connections: How many there have been.
        answers: As given; may be exchanged.
        address: Host and port; the port is known once it listens.
        tls: As given; another one counts when it listens again.
    """

    def __init__(
        self,
        answers: Answers,
        tls: ssl.SSLContext | None = None,
        most: int = 0,
        connected: Callable[[int], Steps] = lambda _: (),
    ) -> None:
        self.answers = answers
        self.journal: list[Asked] = []
        self.connections = 0
        self.address = (LOOPBACK, 0)
        self.tls = tls
        self._most = most
        self._connected = connected
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http{'s' if self.tls else ''}://{self.address[0]}:{self.address[1]}"

    async def up(self) -> None:
        """Listen, at the same address as before if there was one."""
        if self._server is None:
            host, port = self.address
            self._server = await asyncio.start_server(
                self._serve, host, port, ssl=self.tls, limit=1 << 20, **(_SOON if self.tls else {})
            )
            self.address = (host, self._server.sockets[0].getsockname()[1])

    async def down(self) -> None:
        """Listen no more, and reset whoever is connected."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for writer in tuple(self._open):
                _reset(writer)

    @contextmanager
    def beside(self) -> Iterator["Stub"]:
        """Listen from a thread and a loop of its own, for a program that really connects."""
        loop = asyncio.new_event_loop()
        ready, stop = threading.Event(), asyncio.Event()

        async def run() -> None:
            await self.up()
            ready.set()
            await stop.wait()
            await self.down()
            await asyncio.sleep(0.05)  # whoever was let in just now is served by then
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            # A handshake that is under way has no task yet, and nobody else who would end it.
            for transport in list(loop._transports.values()):  # type: ignore[attr-defined]  # noqa: SLF001
                transport.abort()
            await asyncio.sleep(2 * _SOON["ssl_shutdown_timeout"] if self.tls else 0)

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                gc.collect()  # what was cut off was not closed: that is no leftover of a test

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            going = await _deliver(self._connected(self.connections), reader, writer)
            while going:
                going = await _deliver(self.answers(await self._read(reader)), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the other side went away, or speaks no HTTP
        except asyncio.CancelledError:
            pass  # the loop ends; asyncio would report it as an error
        finally:
            self._open.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        pairs = [line.partition(":")[::2] for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ")
        asked = _asked(method, target, headers, body)
        self.journal.append(asked)
        if self._most and len(self.journal) > 2 * self._most:
            del self.journal[: -self._most]
        return asked


def _asked(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
    given: Any = {name: value[0] for name, value in parse_qs(urlsplit(target).query).items()}
    if body:
        with suppress(ValueError):
            given = json.loads(body)
    if not isinstance(given, dict):
        given = {}
    path = urlsplit(target).path
    secret = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    metrics = given.get("metrics") or [given[name] for name in ("metric",) if name in given]
    return Asked(
        at=asyncio.get_running_loop().time(),
        method=method,
        path=path,
        host=headers.get("host", ""),
        names=tuple(headers),
        key=digest(secret),
        api=_APIS.get(path, ""),
        metrics=tuple(metrics),
        bot=str(given.get("gptbot_id", "")),
        body=given,
        secret=secret,
    )


async def _deliver(
    steps: Steps, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Take the steps; whether the connection goes on."""
    for step in steps:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, float):
            if step:
                await asyncio.sleep(step)
        elif step is End.HALF_CLOSE:
            writer.write_eof()
        elif step is End.HANG:
            await reader.read()
            return False
        else:
            if step is End.RESET:
                _reset(writer)
            return False
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the other side see a reset, where the network knows such a thing."""
    real = writer.get_extra_info("socket")
    if isinstance(real.fileno(), int):
        with suppress(OSError):
            real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
