"""What comes over a real connection, and what must not be made of it."""

import asyncio
import errno
import json
import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from faults.network import transport
from support.loopback import Authority
from support.processes import finished, free_port
from support.virtual import World
from support.wire import response, wire
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed
from exporter.metrics.telemetry import Telemetry
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender
from exporter.upstream.transport import LARGEST_HEAD

HOST = "IP:127.0.0.1"


def body(value: int) -> bytes:
    return json.dumps({"total_usage": {"total_chat_responses": value}}).encode()


def at(url: str, timeout: str = "10s", **http: object) -> Workspace:
    """A workspace whose API is elsewhere."""
    given = {name: str(value) for name, value in http.items()}
    return workspace(["total_usage"], base_url=url, http=given, timeout=timeout)


def asked(one: Workspace, times: int = 1, pause: float = 0.0) -> list[Any]:
    """What some requests bring, one after the other: contents, or failures."""

    async def go() -> list[Any]:
        client = Client(one)
        found: list[Any] = []
        for _ in range(times):
            try:
                answer = await client.report(one.url, {"metrics": ["total_usage"]}, KEY)
                found.append(answer.content["total_usage"]["total_chat_responses"])  # type: ignore[index]
            except RequestFailed as failure:
                found.append(failure)
            await asyncio.sleep(pause)
        await client.close()
        assert KEY not in repr(found)
        return found

    return asyncio.run(go())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "authority")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("late", [False, True], ids=["in-one-segment", "while-idle"])
def test_a_response_that_nobody_asked_for_is_no_answer(
    authority: Authority, scheme: str, late: bool
) -> None:
    def write(number: int, connection: socket.socket) -> None:
        unasked = response(200, body(666))
        if late:
            connection.sendall(response(200, body(number)))
            time.sleep(0.1)
            connection.sendall(unasked)
        else:
            connection.sendall(response(200, body(number)) + unasked)

    tls = authority.serves(HOST) if scheme == "https" else None
    with wire(write, tls) as api:
        http: dict[str, Any] = {"ca_file": authority.certificate} if tls else {}
        assert asked(at(api.url(scheme), "10s", **http), 3, 0.2 if late else 0.0) == [1, 2, 3]


def test_half_a_response_that_nobody_asked_for_is_no_part_of_an_answer() -> None:
    def write(number: int, connection: socket.socket) -> None:
        connection.sendall(response(200, body(number)) + b"HTTP/1.1 200 OK\r\nX-A: ")

    with wire(write) as api:
        assert asked(at(api.url()), 2) == [1, 2]


def test_silence_is_waited_for_as_long_as_the_timeout_says() -> None:
    world = World()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(35)
        whole = response(200, body(7))
        writer.write(whole[:20])
        await asyncio.sleep(35)
        writer.write(whole[20:-5])
        await asyncio.sleep(45)
        writer.write(whole[-5:])
        writer.close()

    async def go() -> object:
        server = await asyncio.start_server(handle, "127.0.0.1", 8080)
        one = at("http://127.0.0.1:8080", "2m")
        client = Client(one, transport(4), world.now)
        try:
            return (await client.report(one.url, {}, KEY)).content
        finally:
            await client.close()
            server.close()

    assert world.run(go) == {"total_usage": {"total_chat_responses": 7}}


BODIES: dict[str, bytes] = {
    "cut-short": response(0, b'{"detail"', length=400),
    "brotli": response(0, b"\x8b\x02\x80{}\x03", "Content-Encoding: br"),
    "not-gzip": response(0, b"{}", "Content-Encoding: gzip"),
    "too-large": response(0, b" " * 300_000),
    "never-ending": response(0, b"", length=10**9),
    "broken-chunk": b"HTTP/1.1 0 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "not-utf-8": response(0, b"\xff\xfe\x00"),
}
WANTED = {
    429: Outcome.RATE_LIMITED,
    401: Outcome.UNAUTHORIZED,
    403: Outcome.UNAUTHORIZED,
    503: Outcome.SERVER_ERROR,
    404: Outcome.CLIENT_ERROR,
    422: Outcome.CLIENT_ERROR,
    500: Outcome.SERVER_ERROR,
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("status", WANTED)
def test_the_status_counts_whatever_becomes_of_the_body(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: str
) -> None:
    monkeypatch.setattr("exporter.upstream.client._REFUSAL", 0.3)
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    head += "Retry-After: 120\r\n" if status in {429, 503} else ""
    whole = BODIES[kind].replace(b"HTTP/1.1 0 X\r\n", head.encode())

    def write(_: int, connection: socket.socket) -> None:
        connection.sendall(whole)
        while kind == "never-ending":
            connection.sendall(b" ")
            time.sleep(0.02)
        connection.close()

    with wire(write) as api:
        (told,) = asked(at(api.url()))

    assert isinstance(told, RequestFailed)
    rejected = status in {401, 403}
    # A body that came whole and is not the API's says who speaks: not the API.
    outcome = Outcome.RATE_LIMITED if rejected and kind == "not-utf-8" else WANTED[status]
    assert (told.outcome, told.status) == (outcome, status)
    assert told.wish == (120 if status in {429, 503} else None)


def test_a_refusal_is_not_held_up_by_its_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.upstream.client._REFUSAL", 0.2)

    def write(_: int, connection: socket.socket) -> None:
        connection.sendall(response(429, b"", "Retry-After: 120", length=100))
        connection.recv(1)

    with wire(write) as api:
        begun = time.monotonic()
        (told,) = asked(at(api.url(), "8s"))
    assert isinstance(told, RequestFailed)
    assert told.wish == 120
    assert time.monotonic() - begun < 5


def test_a_limited_request_with_a_body_that_is_cut_is_sent_once_and_paused() -> None:
    cut = response(429, b'{"detail', "Retry-After: 120", length=500)

    def write(_: int, connection: socket.socket) -> None:
        connection.sendall(cut)
        connection.close()

    async def go(one: Workspace) -> float:
        client = Client(one)
        sender = Sender(one, client, Telemetry(), lambda: datetime.now(UTC))
        with pytest.raises(RequestFailed):
            await sender.report(lambda _: {})
        with pytest.raises(RequestFailed, match="paused until"):
            await sender.report(lambda _: {})
        await client.close()
        until = sender.standing.not_before
        assert until is not None
        return (until - datetime.now(UTC)).total_seconds()

    with wire(write) as api:
        one = workspace(["total_usage"], base_url=api.url(), requests_per_minute=6000)
        assert 110 <= asyncio.run(go(one)) <= 133
    assert len(api.requests) == 1


def told_of(one: Workspace) -> str:
    """Why a request failed, in our words."""
    (failure,) = asked(one)
    assert isinstance(failure, RequestFailed)
    assert failure.outcome is Outcome.CONNECT
    return str(failure)


def quiet(number: int, connection: socket.socket) -> None:
    connection.sendall(response(200, body(number)))


def test_a_connection_that_is_refused_is_told_so() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert told_of(at(url)) == "the API cannot be reached: connection refused"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (socket.gaierror(socket.EAI_NONAME, KEY), "name unknown"),
        (socket.gaierror(socket.EAI_AGAIN, KEY), "name lookup failed for now"),
        (socket.gaierror(socket.EAI_FAIL, KEY), "name lookup failed"),
        (OSError(errno.ENETUNREACH, KEY), "network unreachable"),
        (OSError(errno.EHOSTUNREACH, KEY), "host unreachable"),
        (OSError(errno.EMFILE, KEY), "too many open files in this process"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_system_says_of_a_connection_is_told_by_its_number(
    monkeypatch: pytest.MonkeyPatch, error: OSError, says: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", fail)
    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.create_connection", fail)
    url = "https://nobody.seasalt.ai"
    assert told_of(at(url)) == f"the API cannot be reached: {says}"


def test_a_connection_that_is_reset_is_told_so() -> None:
    def write(_: int, connection: socket.socket) -> None:
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()

    with wire(write) as api:
        said = told_of(at(api.url()))
    assert said == "the connection broke before the answer was whole: connection reset"


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_interim_answers_without_an_end_end_the_request_and_hold_up_nobody(
    authority: Authority, scheme: str
) -> None:
    def write(_: int, connection: socket.socket) -> None:
        while True:  # until the client has had enough
            connection.sendall(INTERIM * 2000)

    async def go(one: Workspace) -> tuple[RequestFailed, float]:
        client, longest = Client(one), 0.0

        async def beat() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - before)

        await asyncio.sleep(0.1)  # what a context of TLS costs is not meant
        beats = asyncio.create_task(beat())
        with pytest.raises(RequestFailed) as caught:
            await client.report(one.url, {}, KEY)
        beats.cancel()
        await client.close()
        return caught.value, longest

    tls = authority.serves(HOST) if scheme == "https" else None
    with wire(write, tls) as api:
        http: dict[str, Any] = {"ca_file": authority.certificate} if tls else {}
        failed, longest = asyncio.run(go(at(api.url(scheme), "5s", **http)))
    assert str(failed) == "no answer, but more before one than any may have"
    assert (failed.outcome, failed.fault) == (Outcome.INVALID, True)
    assert longest < 0.5


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_some_interim_answers_and_a_long_head_are_no_flood(
    authority: Authority, scheme: str
) -> None:
    def write(number: int, connection: socket.socket) -> None:
        long = f"X-Policy: {'x' * (LARGEST_HEAD // 2)}"
        connection.sendall(INTERIM * 20 + response(200, body(number) + b" " * 200_000, long))

    tls = authority.serves(HOST) if scheme == "https" else None
    with wire(write, tls) as api:
        http: dict[str, Any] = {"ca_file": authority.certificate} if tls else {}
        assert asked(at(api.url(scheme), **http)) == [1]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        TWO_LENGTHS,
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        CHUNKED + b"zz\r\n",
    ],
    ids=["http-2", "ssh", "two-lengths", "a-bad-header", "a-bad-chunk"],
)
def test_what_is_no_http_is_not_told_as_a_broken_connection(sent: bytes) -> None:
    with wire(lambda _, connection: connection.sendall(sent)) as api:
        assert told_of(at(api.url())) == "not HTTP/1.1, or broken HTTP"


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nX-A", response(200, b"{", length=9), CHUNKED + b"9\r\n{"],
    ids=["nothing", "within-the-head", "within-the-body", "within-a-chunk"],
)
def test_an_early_end_is_told_as_a_broken_connection(sent: bytes) -> None:
    def write(_: int, connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_RDWR)

    with wire(write) as api:
        broke = "the connection broke before the answer was whole"
        assert told_of(at(api.url())).startswith(broke)


@pytest.mark.parametrize("begun", [b"", response(200, b"{", length=9)], ids=["head", "body"])
def test_a_reset_under_tls_is_told_as_one(authority: Authority, begun: bytes) -> None:
    def write(_: int, connection: socket.socket) -> None:
        connection.sendall(begun)
        time.sleep(0.1)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with socket.socket(fileno=connection.detach()):
            pass  # without a word of TLS

    with wire(write, authority.serves(HOST)) as api:
        said = told_of(at(api.url("https"), ca_file=authority.certificate))
    assert said.startswith("the connection broke before the answer was whole")
    assert "TLS" not in said


def certificates(authority: Authority, folder: Path) -> dict[str, tuple[ssl.SSLContext, str]]:
    """What servers show, and what is said of it."""
    alone = Authority.made(folder, "alone", f"subjectAltName={HOST}")
    itself = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    itself.load_cert_chain(alone.certificate, folder / "alone.key")
    stranger = Authority.made(folder, "stranger").serves(HOST)
    strict = authority.serves(HOST)
    strict.load_verify_locations(authority.certificate)
    strict.verify_mode = ssl.CERT_REQUIRED
    return {
        "expired": (authority.serves(HOST, expired=True), "certificate expired"),
        "another-name": (
            authority.serves("DNS:chat.seasalt.ai"),
            "certificate for another address",
        ),
        "another-authority": (stranger, "certificate of an unknown authority"),
        "itself": (itself, "self-signed certificate"),
        "wants-ours": (strict, "TLS protocol: a client certificate is required"),
    }


@pytest.mark.parametrize("kind", ["expired", "another-name", "another-authority", "itself"])
def test_a_certificate_that_is_not_believed_is_told_why(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    tls, says = certificates(authority, tmp_path)[kind]
    with wire(quiet, tls) as api:
        said = told_of(at(api.url("https"), ca_file=authority.certificate))
    assert said == f"the API cannot be reached: {says}"
    assert api.requests == []


def test_an_api_that_wants_a_certificate_of_ours_is_told_so(
    authority: Authority, tmp_path: Path
) -> None:
    tls, says = certificates(authority, tmp_path)["wants-ours"]
    with wire(quiet, tls) as api:
        said = told_of(at(api.url("https"), ca_file=authority.certificate))
    assert says in said


def test_a_server_that_speaks_no_tls_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def attend() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=attend)
        thread.start()
        said = told_of(at(f"https://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert said.startswith("the API cannot be reached: TLS protocol")


@pytest.mark.parametrize(
    ("status", "says"),
    [(407, "it wants a password"), (403, "it refuses"), (502, "it cannot reach the API")],
)
def test_a_proxy_that_lets_nobody_through_is_told_why(status: int, says: str) -> None:
    with wire(lambda _, connection: connection.sendall(response(status, b""))) as proxy:
        said = told_of(at("https://nobody.seasalt.ai", proxy_url=proxy.url()))
    assert said == f"the proxy does not let us through: {says}"


def test_a_proxy_that_is_not_there_is_told_as_the_proxy() -> None:
    through = f"http://127.0.0.1:{free_port()}"
    said = told_of(at("https://nobody.seasalt.ai", proxy_url=through))
    assert said == "the proxy cannot be reached: connection refused"


def test_an_http_api_behind_a_proxy_that_wants_a_password_is_told_so() -> None:
    with wire(lambda _, connection: connection.sendall(response(407, b""))) as proxy:
        (failure,) = asked(at("http://127.0.0.1:9", proxy_url=proxy.url()))
    assert str(failure) == "HTTP 407: the proxy wants a password"


def polled(folder: Path, content: bytes, metrics: list[str]) -> str:
    """The page of a whole exporter that polled once what an API answers so."""
    whole = response(200, content, "Content-Type: application/json")
    with wire(lambda _, connection: connection.sendall(whole)) as api:
        one = {"name": "a", "api": "seachat", "base_url": api.url(), "api_key": KEY}
        one |= {"metrics": metrics, "bots": [{"id": "b1", "name": "B"}]}  # type: ignore[dict-item]
        file = folder / "seasalt.yml"
        file.write_text(json.dumps({"workspaces": [one], "requests_per_minute": 6000}))
        command = [sys.executable, "-m", "exporter", "once", f"--config.file={file}"]
        done = finished(command, {})
    assert KEY not in done.stdout + done.stderr
    return done.stdout + done.stderr


UNREAD = {
    "lone-surrogate": b"Nice \\ud83d",
    "raw-tab": b"Nice\tone",
    "no-utf-8": b"Caf\xe9",
}


@pytest.mark.parametrize("kind", UNREAD)
def test_a_text_that_nobody_reads_spoils_no_value_of_the_page(tmp_path: Path, kind: str) -> None:
    content = (
        b'{"csat":{"total_responses":1,"responses":[{"data":{"comment":"'
        + UNREAD[kind]
        + b'"}}]},"communication_volume":{"inbound_voice_count":1}}'
    )
    window = {"window": "last_30_days"}
    metrics: Any = [{"metric": "csat", **window}, {"metric": "communication_volume", **window}]

    page = polled(tmp_path, content, metrics)

    assert _value(page, "seasalt_csat_responses{") == 1
    assert _value(page, "seasalt_communication_volume_calls{") == 1
    assert "seasalt_schema_drift_total{" not in page


def _value(page: str, begin: str) -> float:
    (line,) = (line for line in page.splitlines() if line.startswith(begin))
    return float(line.rpartition(" ")[2])


def test_an_answer_that_holds_the_key_is_on_no_page(tmp_path: Path) -> None:
    name = "".join(f"\\u{ord(one):04x}" for one in KEY)

    def shown(name: str) -> str:
        period = f"{datetime.now(UTC):%Y-%m-%d}"
        labels = [{"name": f"x {name}", "count": 1}]
        content = {"label_usage": [{"period": period, "labels": labels}]}
        escaped = json.dumps(content).replace("\\\\u", "\\u")
        return polled(tmp_path, escaped.encode(), ["label_usage"])

    assert "seasalt_label_usage_uses{" in shown("harmless")
    page = shown(name)
    assert "HTTP 200, with the key that was sent in it" in page
    assert "seasalt_label_usage_uses{" not in page
