"""An API that writes what it is told, byte by byte, on a real socket of loopback."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

LOOPBACK: Final = "127.0.0.1"
PATIENCE: Final = 10.0


@dataclass
class Wire:
    """What a server on loopback saw.

    Attributes:
        port: Where it listens.
        requests: Every request so far, head and body.
    """

    port: int
    requests: list[bytes] = field(default_factory=list)

    def url(self, scheme: str = "http") -> str:
        """Where it is asked."""
        return f"{scheme}://{LOOPBACK}:{self.port}"


def response(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A whole response, or one that says that it is longer than it is."""
    size = len(body) if length is None else length
    lines = (f"HTTP/1.1 {status} X", f"Content-Length: {size}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


@contextmanager
def wire(
    write: Callable[[int, socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[Wire]:
    """Let every request be answered for as long as the block lasts.

    Args:
        write: Answers: is given the number of the request, from 1, and its connection.
        tls: The server's side of it, None for plain HTTP.
    """
    with socket.create_server((LOOPBACK, 0)) as listener:
        seen = Wire(listener.getsockname()[1])

        def attend(raw: socket.socket) -> None:
            with suppress(OSError), raw, raw.dup() as spare, _drained(spare):
                raw.settimeout(PATIENCE)
                with tls.wrap_socket(raw, server_side=True) if tls else raw as connection:
                    while request := _request(connection):
                        seen.requests.append(request)
                        write(len(seen.requests), connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(
                        target=attend, args=(listener.accept()[0],), daemon=True
                    ).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def _drained(spare: socket.socket) -> Iterator[None]:
    """Where a handshake fails, read what still comes: a reset would overtake what was said."""
    try:
        yield
    except ssl.SSLError:
        spare.settimeout(PATIENCE)
        with suppress(OSError):
            while spare.recv(65_536):
                pass


def _request(connection: socket.socket) -> bytes:
    """The next request, empty where there is none."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = connection.recv(65_536)
        if not part:
            return b""
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while left > 0:
        part = connection.recv(left)
        found, left = found + part, left - len(part)
    return found
