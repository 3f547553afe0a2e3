"""The server as it is shipped, on a real socket: in a thread, or as a program of its own.

`python tests/support/serving.py` serves a page as large as it is told, and can be told to hang.
"""

import asyncio
import ctypes
import logging
import os
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.snapshot import Snapshot, snapshot
from exporter.metrics.store import Record, Store
from exporter.model.targets import Key, Target
from exporter.polling.status import Rest, Status, WorkspaceStatus, targets
from exporter.shutdown import signalled
from exporter.web.access_control import AccessControl
from exporter.web.app import Look, Web
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.server import Server
from exporter.web.sockets import Limits, bound, listen

LOOPBACK: Final = "127.0.0.1"
PATIENCE: Final = 40.0
LIMITS: Final = Limits()
LINE: Final = b"own_total 1\n"


def nothing(_: Rest) -> Status:
    """How the polling goes where nothing is polled."""
    return Status("0.0.0", datetime.now(UTC), ())


def much(bots: int) -> Look:
    """What brings how the polling of many bots goes, with the work that this takes in the field."""
    reports = ("csat", "total_usage", "conversation_overview")
    keys = [
        Key(Target("seachat", "acme", f"bot-{number:06}", f"Bot {number}"), report, "last_30_days")
        for number in range(bots)
        for report in reports
    ]
    began = datetime.now(UTC)
    known = {key: Record(600.0, last_success=began, error=f"HTTP 500 at {key}") for key in keys}
    turns = dict.fromkeys(keys, (600.0, began))

    def status(rest: Rest) -> Status:
        now = datetime.now(UTC)
        found = targets(turns, known, now, rest)
        one = WorkspaceStatus(
            "acme",
            "seachat",
            "UTC",
            answered=True,
            requests_today=1,
            requests_per_day=None,
            requests_per_minute=60,
            targets=found,
        )
        return Status("0", now, (one,))

    return status


def web(own: Callable[[], bytes] = lambda: LINE, status: Look = nothing) -> Web:
    """The routes, over an empty store and some metrics of the exporter's own."""
    empty: Snapshot = snapshot(Store().generation(), datetime.now(UTC))

    async def current() -> Snapshot:
        return empty

    return Web(
        snapshot=current,
        own=lambda _: [Piece.of(own())],
        ready=lambda: True,
        status=lambda: status,
    )


@dataclass
class Serving:
    """A server that listens.

    Attributes:
        port: Where.
        kept: Its web configuration.
        reloads: Whether each reading of it was right.
    """

    port: int
    kept: LiveWebConfig
    reloads: list[bool] = field(default_factory=list)

    def connect(self, source: str = LOOPBACK) -> socket.socket:
        """A connection, from an address of loopback."""
        return socket.create_connection(
            (LOOPBACK, self.port), timeout=PATIENCE, source_address=(source, 0)
        )

    @contextmanager
    def secured(self, tls: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        """A connection over TLS for as long as the block lasts."""
        with (
            closing(self.connect()) as plain,
            closing(tls.wrap_socket(plain, server_hostname=LOOPBACK)) as found,
        ):
            yield found

    def ask(
        self, request: bytes, tls: ssl.SSLContext | None = None, source: str = LOOPBACK
    ) -> bytes:
        """All that comes back for some bytes, until the server closes."""
        with self.secured(tls) if tls else closing(self.connect(source)) as connection:
            connection.sendall(request)
            return rest(connection)

    def ask_roughly(self, request: bytes) -> bytes:
        """The same for bytes of which the server may not want to read all."""
        with closing(self.connect()) as connection:
            sender = threading.Thread(target=_send, args=(connection, request))
            sender.start()
            found = rest(connection)
            sender.join()
            return found

    def get(
        self, *headers: str, path: str = "/metrics", tls: ssl.SSLContext | None = None
    ) -> bytes:
        """The answer to one GET, head and body."""
        lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
        return self.ask("\r\n".join(lines).encode("latin-1"), tls)

    def status(
        self, *headers: str, path: str = "/metrics", tls: ssl.SSLContext | None = None
    ) -> int:
        """The status of the answer to one GET."""
        return int(self.get(*headers, path=path, tls=tls).split(b" ")[1])


def _send(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):
        connection.sendall(content)


def rest(connection: socket.socket) -> bytes:
    """What still comes until the other side closes, however it does."""
    found = b""
    try:
        while part := connection.recv(262_144):
            found += part
    except ConnectionResetError:
        pass
    return found


@contextmanager
def serving(
    config: Path | None = None,
    limits: Limits = LIMITS,
    own: Callable[[], bytes] = lambda: LINE,
    app: Callable[..., Any] | None = None,
) -> Iterator[Serving]:
    """Serve from a thread for as long as the block lasts.

    Args:
        config: The web configuration's file.
        limits: What clients may take.
        own: What `/metrics` says.
        app: What answers whoever is let in; the routes where left out.
    """
    reloads: list[bool] = []
    kept = LiveWebConfig(str(config) if config else "", {}, reloads.append)
    server = Server(AccessControl(app or web(own), lambda: kept.current), kept, limits)
    with in_a_thread(server) as port:
        yield Serving(port, kept, reloads)


@contextmanager
def in_a_thread(server: Server) -> Iterator[int]:
    """Let a server serve on loopback for as long as the block lasts; its port."""
    [listening] = listen([f"{LOOPBACK}:0"])
    port = int(listening.getsockname()[1])
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(server.serve_until(stop, [listening]),)
    )
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def program(size: int = 0, config: str = "", hang: str = "no") -> list[str]:
    """The command of a server that says where it listens.

    Args:
        size: Bytes of its page.
        config: The web configuration's file.
        hang: `names` for name look-ups that never end, `loop` for an event loop that does not
            come back, `lock` for one that waits in C from the signal on, `descriptors` for none
            that are left.
    """
    return [sys.executable, __file__, str(size), config, hang]


def _fill() -> None:
    """Take every file descriptor that there is."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with suppress(OSError):
        while True:
            os.open(os.devnull, os.O_RDONLY)
    print("full", flush=True)


async def _lock(stop: asyncio.Event) -> None:
    """Wait for ever where no signal is heard, once the end has begun."""
    await stop.wait()
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    for _ in range(2):
        library.pthread_mutex_lock(mutex)


async def _program(size: int, config: str, hang: str) -> None:
    page = LINE * (size // len(LINE))
    stop = signalled()
    [listening] = listen([f"{LOOPBACK}:0"])
    kept = LiveWebConfig(config, {}, lambda _: None)
    print(bound(listening), flush=True)
    loop = asyncio.get_running_loop()
    if hang == "names":
        # What a name server that never answers looks like to the event loop.
        for _ in range(8):
            loop.run_in_executor(None, time.sleep, 3600)
    if hang == "loop":
        loop.call_later(0.1, time.sleep, 3600)
    if hang == "lock":
        waiting = asyncio.ensure_future(_lock(stop))
        waiting.add_done_callback(print)
    if hang == "descriptors":
        loop.call_later(0.5, _fill)
    await Server(AccessControl(web(lambda: page), lambda: kept.current), kept).serve_until(
        stop, [listening]
    )
    print("stopped", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_program(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
