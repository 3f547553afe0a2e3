"""An API, or a proxy, that really listens on loopback: for what only a connection shows."""

import json
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"

Answers = Callable[[str], tuple[int, object]]
"""What a path gets: a status and a content."""


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire.

    Attributes:
        line: Method and target, as sent.
        headers: As sent.
        certificate: What the client showed, empty where it showed none.
    """

    line: str
    headers: Message
    certificate: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The content of an answer that sends the client to another place."""

    location: str


@dataclass
class Listening:
    """A server on loopback.

    Attributes:
        port: Where.
        connections: How many were made so far.
        asked: Every request so far.
    """

    port: int
    connections: int = 0
    asked: list[Asked] = field(default_factory=list)

    def url(self, scheme: str = "http", host: str = LOOPBACK) -> str:
        """Where it is asked."""
        return f"{scheme}://{host}:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answers: Answers
    listening: Listening

    def verify_request(self, *_: object) -> bool:
        """Count a connection."""
        self.listening.connections += 1
        return True

    def handle_error(self, *_: object) -> None:
        """Keep quiet where a client went away: that is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer by path."""
        self._note()
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, content = self.server.answers(self.path.split("?")[0])
        self.send_response(status)
        if isinstance(content, Elsewhere):
            self.send_header("Location", content.location)
            content = None
        if status == HTTPStatus.NO_CONTENT:  # a body would be read as the next answer
            self.end_headers()
            return
        body = json.dumps(content).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        """Be a proxy: a tunnel to where the client wants."""
        self._note()
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            _relay(self.connection, there)
        self.close_connection = True

    def _note(self) -> None:
        shown: Any = getattr(self.connection, "getpeercert", dict)()
        asked = Asked(f"{self.command} {self.path}", self.headers, shown or {})
        self.server.listening.asked.append(asked)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _relay(one: socket.socket, two: socket.socket) -> None:
    """Hand on what comes from either until one of them is done."""
    other = {one: two, two: one}
    while True:
        for ready in select.select([one, two], [], [])[0]:
            content = ready.recv(65_536)
            if not content:
                return
            other[ready].sendall(content)


@contextmanager
def listening(answers: Answers, tls: ssl.SSLContext | None = None) -> Iterator[Listening]:
    """Answer on a free port of loopback for as long as the block lasts.

    Args:
        answers: What each path gets.
        tls: The server's side of it, None for plain HTTP.
    """
    with _Server((LOOPBACK, 0), _Handler) as server:
        server.answers = answers
        server.listening = Listening(server.server_port)
        if tls:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.listening
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Authority:
    """Somebody who signs certificates, made for a test.

    Attributes:
        folder: Where everything is.
        name: What it calls itself.
    """

    folder: Path
    name: str

    @classmethod
    def made(cls, folder: Path, name: str, *extensions: str) -> "Authority":
        """A new one, with a certificate of its own.

        Args:
            folder: Where to put everything.
            name: What it calls itself.
            extensions: What else its certificate is for, as openssl writes it.
        """
        (folder / "openssl.cnf").write_text(
            "[req]\ndistinguished_name = dn\n[dn]\n", encoding="utf-8"
        )
        found = cls(folder, name)
        found._openssl(
            name,
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
            *("-addext", "subjectKeyIdentifier=hash"),
            *(part for extension in extensions for part in ("-addext", extension)),
        )
        return found

    @property
    def certificate(self) -> Path:
        """Its certificate, for whoever trusts it."""
        return self.folder / f"{self.name}.pem"

    def signs(self, name: str, *extensions: str) -> tuple[Path, Path]:
        """A certificate and its key for somebody.

        Args:
            name: The subject.
            extensions: What it is for, as openssl writes it.
        """
        given = (part for extension in extensions for part in ("-addext", extension))
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.folder / f"{self.name}.key"))
        self._openssl(name, *signer, *given)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def serves(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """The server's side of TLS, for a server that goes by these names: `IP:127.0.0.1`.

        Args:
            names: What stands in its certificate.
            expired: Whether that was valid until yesterday.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        given = f"subjectAltName={','.join(names)}"
        certificate, key = self.signs("server", given)
        if expired:
            self._openssl("own", "-addext", given)  # one that it signed itself, as openssl wants it
            signer = ("-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key", "-CAcreateserial")
            again = ("-in", "own.pem", *signer, "-days", "-1", "-out", "old.pem")
            subprocess.run(
                ["openssl", "x509", *again], cwd=self.folder, check=True, capture_output=True
            )
            certificate, key = self.folder / "old.pem", self.folder / "own.key"
        context.load_cert_chain(certificate, key)
        return context

    def trusts(self) -> ssl.SSLContext:
        """The client's side of TLS, for a client that believes this authority alone."""
        return ssl.create_default_context(cafile=self.certificate)

    def _openssl(self, name: str, *others: str) -> None:
        command = [
            *("openssl", "req", "-x509", "-config", "openssl.cnf", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", *others),
        ]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
