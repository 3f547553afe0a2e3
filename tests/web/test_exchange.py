"""What an application may do with a request, and what its client gets."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Final

import pytest
from support.serving import LOOPBACK, PATIENCE, in_a_thread, rest

from exporter.web.server import Server

GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\n"
LAST: Final = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


@contextmanager
def connected(app: Callable[..., Any]) -> Iterator[socket.socket]:
    """A connection to a server of this application."""
    with (
        in_a_thread(Server(app)) as port,
        closing(socket.create_connection((LOOPBACK, port), PATIENCE)) as connection,
    ):
        yield connection


def answered(app: Callable[..., Any], request: bytes) -> bytes:
    """What the client gets until the server closes."""
    with connected(app) as connection:
        connection.sendall(request)
        return rest(connection)


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def say(send: Send, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def body(receive: Receive) -> bytes:
    """All of the body."""
    found = bytearray()
    while True:
        message = await receive()
        found += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(found)


async def echo(_: object, receive: Receive, send: Send) -> None:
    got = await body(receive)
    await start(send, 200, (b"content-length", str(len(got)).encode()))
    await say(send, got)


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_body_of_any_size_arrives_whole(size: int, chunked: bool) -> None:
    content = bytes(number % 251 for number in range(size))
    head = POST + b"Connection: close\r\n"
    if chunked:
        parts = [content[at : at + 10_000] for at in range(0, size, 10_000)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        request = head + b"Transfer-Encoding: chunked\r\n\r\n" + sent
    else:
        request = head + b"Content-Length: %d\r\n\r\n" % size + content

    with connected(echo) as connection:
        sending = threading.Thread(target=connection.sendall, args=(request,))
        sending.start()
        got = rest(connection)
        sending.join()

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n" + content)


def test_a_body_that_nobody_takes_is_not_read_to_its_end() -> None:
    begun = threading.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.sleep(3600)

    with connected(never) as connection:
        connection.sendall(POST + b"Content-Length: 100000000\r\n\r\n")
        assert begun.wait(PATIENCE)
        connection.settimeout(2)
        sent = 0
        with suppress(TimeoutError):
            while sent < 100_000_000:
                sent += connection.send(b"x" * 65_536)
        assert sent < 50_000_000  # what the kernel's buffers take


def test_who_waits_with_a_body_is_told_to_send_it() -> None:
    with connected(echo) as connection:
        connection.sendall(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(1000).endswith(b"\r\n\r\nhello")


def test_a_request_whose_body_was_not_needed_is_followed_by_the_next() -> None:
    async def hasty(scope: Mapping[str, Any], _: Receive, send: Send) -> None:
        await start(send, 200, (b"content-length", b"4"))
        await say(send, scope["method"].encode().ljust(4))

    with connected(hasty) as connection:
        connection.sendall(POST + b"Content-Length: 5\r\n\r\n")
        assert connection.recv(1000).endswith(b"\r\n\r\nPOST")
        connection.sendall(b"hello" + LAST)
        assert rest(connection).endswith(b"\r\n\r\nGET ")


def test_an_answer_without_a_length_comes_in_chunks() -> None:
    async def streaming(_: object, __: object, send: Send) -> None:
        await start(send)
        await say(send, b"one", more=True)
        await say(send, b"", more=True)
        await say(send, b"two")

    got = answered(streaming, LAST)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in got
    assert got.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_an_old_client_is_answered_and_its_connection_closed() -> None:
    got = answered(echo, b"GET / HTTP/1.0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in got


async def raises(*_: object) -> None:
    raise ZeroDivisionError("canary")


async def answers_nothing(*_: object) -> None: ...


async def says_before_it_starts(_: object, __: object, send: Send) -> None:
    await say(send, b"too early")


async def has_an_impossible_header(_: object, __: object, send: Send) -> None:
    await start(send, 200, (b"a b", b"c\r\nd: canary"))


@pytest.mark.parametrize(
    "app", [raises, answers_nothing, says_before_it_starts, has_an_impossible_header]
)
def test_an_application_that_fails_leads_to_a_500_and_a_closed_connection(
    app: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    got = answered(app, GET)
    assert got.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert got.endswith(b"\r\n\r\nInternal Server Error\n")
    assert b"canary" not in got
    assert [one.levelname for one in caplog.records] == ["CRITICAL"] * (app is not answers_nothing)


@pytest.mark.parametrize("fails", [True, False])
def test_an_answer_that_ends_half_way_is_broken_off(fails: bool) -> None:
    async def half(_: object, __: object, send: Send) -> None:
        await start(send, 200, (b"content-length", b"10"))
        await say(send, b"half", more=True)
        if fails:
            raise ZeroDivisionError

    assert answered(half, GET).endswith(b"\r\n\r\nhalf")


def test_what_is_sent_after_the_end_of_an_answer_is_a_mistake_and_reaches_nobody() -> None:
    async def twice(_: object, __: object, send: Send) -> None:
        await start(send, 200, (b"content-length", b"3"))
        await say(send, b"one")
        with pytest.raises(RuntimeError, match="is not what is to be sent now"):
            await say(send, b"two")

    assert answered(twice, LAST).endswith(b"\r\n\r\none")


def test_whoever_is_answered_while_the_server_ends_is_told_that_the_connection_does_too() -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def slow(_: object, __: object, send: Send) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait)
        await start(send, 200, (b"content-length", b"2"))
        await say(send, b"ok")

    with ExitStack() as server:
        port = server.enter_context(in_a_thread(Server(slow)))
        with closing(socket.create_connection((LOOPBACK, port), PATIENCE)) as connection:
            connection.sendall(GET)
            assert begun.wait(PATIENCE)
            threading.Timer(0.5, go_on.set).start()
            server.close()
            got = rest(connection)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in got.lower()
    assert got.endswith(b"\r\n\r\nok")
