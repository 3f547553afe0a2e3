"""What clients may do to the server: every wait has an end, and nothing malformed gets a 5xx."""

import asyncio
import base64
import errno
import gc
import logging
import os
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest
from support.attackers import HALF_HEAD, LARGE_HEAD, attacked, besieged, resets
from support.processes import free_port, started, wait_for
from support.serving import (
    LIMITS,
    LINE,
    LOOPBACK,
    PATIENCE,
    Serving,
    much,
    program,
    rest,
    serving,
    web,
)

from exporter.web.connection import Connection
from exporter.web.sockets import Crowd, Door, Limits, listen

pytestmark = pytest.mark.takes_minutes

HEAVY: Final = int(os.environ.get("SERVING_HEAVY", "1"))
"""Multiplies the counts of the floods."""

QUICK: Final = Limits(head_seconds=0.3, write_seconds=0.5)
GET: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
LAST: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving() as found:
        found.ask(LAST.replace(b"/metrics", b"/"))  # its worker runs before any test
        yield found


def seconds(server: Serving, times: int = 20) -> list[float]:
    """How long some scrapes take, one after the other."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        assert server.status() == 200
        found.append(time.perf_counter() - begun)
    return found


def percentile(values: list[float]) -> float:
    """The 99th."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    connection.setblocking(False)  # noqa: FBT003
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


# Deadlines


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET", id="a-word"),
        pytest.param(GET[:-2], id="all-but-the-end-of-a-head"),
        pytest.param(GET[:-2] + CHUNKED + b"\r\n", id="no-chunk"),
        pytest.param(GET[:-2] + CHUNKED + b"\r\n1\r\n", id="a-chunk-begun"),
        pytest.param(GET[:-2] + CHUNKED + b"\r\n0\r\nTrailer: x\r\n", id="no-end-of-chunks"),
    ],
)
def test_a_request_that_does_not_come_in_time_ends_the_connection(sent: bytes) -> None:
    with serving(limits=QUICK) as server:
        begun = time.monotonic()
        assert server.ask(sent) == b""
        assert 0.2 < time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("first", "drip"), [(b"", b"G"), (GET, b"\r\n")], ids=["head", "empty-lines-after-an-answer"]
)
def test_a_head_that_drips_gains_no_time(first: bytes, drip: bytes) -> None:
    with serving(limits=QUICK) as server, closing(server.connect()) as connection:
        connection.sendall(first)
        assert not first or connection.recv(65_536)
        begun = time.monotonic()
        while not closed(connection) and time.monotonic() - begun < 5:
            with suppress(OSError):
                connection.sendall(drip)
            time.sleep(0.05)
        assert time.monotonic() - begun < 2


def test_a_later_head_has_its_time_from_its_first_byte() -> None:
    with serving(limits=QUICK) as server, closing(server.connect()) as connection:
        connection.sendall(GET)
        answer = b""
        while not answer.endswith(LINE):
            answer += connection.recv(65_536)
        time.sleep(0.5)  # idle for longer than a head may take
        connection.sendall(GET[:10])
        begun = time.monotonic()
        assert rest(connection) == b""
        assert 0.2 < time.monotonic() - begun < LIMITS.head_seconds


def test_a_later_head_that_begins_during_an_answer_has_no_more_time_than_others() -> None:
    with serving(limits=QUICK) as server, closing(server.connect()) as connection:
        connection.sendall(GET + GET[:10])
        begun = time.monotonic()
        assert rest(connection).count(b"HTTP/1.1 ") == 1
        assert time.monotonic() - begun < 2


def test_who_takes_a_page_steadily_but_for_ever_is_let_go() -> None:
    page = LINE * 400_000
    with (
        serving(limits=Limits(answer_seconds=0.5), own=lambda: page) as server,
        closing(server.connect()) as connection,
    ):
        connection.sendall(LAST)
        found, begun = 0, time.monotonic()
        with suppress(ConnectionResetError):
            while part := connection.recv(4_096):
                found += len(part)
                time.sleep(0.002)
        assert found < len(page)
        assert time.monotonic() - begun < 30


def test_an_idle_connection_is_closed_after_a_while() -> None:
    limits = Limits(keep_alive_seconds=1)
    with serving(limits=limits) as server, closing(server.connect()) as connection:
        connection.sendall(GET)
        begun = time.monotonic()
        assert rest(connection).count(b"HTTP/1.1 200") == 1
        assert 0.8 < time.monotonic() - begun < PATIENCE


def test_who_takes_nothing_of_a_page_is_let_go() -> None:
    page = LINE * 1_000_000
    with (
        serving(limits=QUICK, own=lambda: page) as server,
        closing(server.connect()) as connection,
    ):
        connection.sendall(GET)
        time.sleep(2)
        assert len(rest(connection)) < len(page)


def test_who_takes_a_page_slowly_gets_all_of_it() -> None:
    page = LINE * 400_000
    with (
        serving(limits=Limits(write_seconds=1), own=lambda: page) as server,
        closing(server.connect()) as connection,
    ):
        connection.sendall(LAST)
        found, begun = 0, time.monotonic()
        while part := connection.recv(65_536):
            found += len(part)
            time.sleep(0.02)
        assert found > len(page)
        assert time.monotonic() - begun > 1


def test_slow_heads_do_not_make_a_scrape_wait(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(limits=Limits(head_seconds=5)) as server, ExitStack() as stack:
        alone, slow = seconds(server), []
        for number in range(250):  # as many as there is room for, almost
            connection = stack.enter_context(closing(server.connect(f"127.0.1.{number % 250}")))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            slow.append(connection)
        took = seconds(server, 50 * HEAVY)
        wait_for(lambda: all(map(closed, slow)), "some are still open", 10)
    with capsys.disabled():
        print(f" [{len(slow)} slow heads: scrape p99 {percentile(took) * 1000:.0f} ms]", end="")
    assert percentile(took) < 0.25 + 5 * max(alone)  # which grows with what else the machine does


# Room


def test_one_address_cannot_take_all_the_room() -> None:
    with serving(limits=Limits(connections=20, per_address=5)) as server, ExitStack() as stack:
        greedy = [stack.enter_context(closing(server.connect("127.0.0.2"))) for _ in range(30)]
        wait_for(lambda: sum(map(closed, greedy)) == 25, "not five are let in")
        assert server.status() == 200


def reading(server: Serving, stack: ExitStack, number: int) -> socket.socket:
    """A client that is being answered for as long as it likes."""
    connection = stack.enter_context(closing(server.connect(f"127.0.4.{number}")))
    connection.sendall(LAST)
    assert connection.recv(10)
    return connection


def test_whoever_is_being_answered_makes_no_room_and_whoever_comes_then_is_turned_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = LINE * 1_000_000
    limits = Limits(connections=8, per_address=8)
    with serving(limits=limits, own=lambda: page) as server, ExitStack() as stack:
        there = [reading(server, stack, number) for number in range(1, 9)]
        for _ in range(20):
            with suppress(ConnectionResetError):
                assert server.ask(GET, source="127.0.0.9") == b""
        assert [record.message for record in caplog.records] == ["connections refused"]
        assert all(rest(connection).endswith(page) for connection in there)
        wait_for(lambda: server.status(path="/-/healthy") == 200, "no room again")


def idle(server: Serving, stack: ExitStack, source: str) -> socket.socket:
    """A connection that was answered and asks no more."""
    connection = stack.enter_context(closing(server.connect(source)))
    connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.recv(4096)
    return connection


def test_whoever_has_been_idle_the_longest_makes_room_and_then_the_oldest_unfinished_head() -> None:
    limits = Limits(connections=6, per_address=6)
    with serving(limits=limits) as server, ExitStack() as stack:
        heads = []
        for host in (2, 3):
            heads.append(stack.enter_context(closing(server.connect(f"127.0.0.{host}"))))
            heads[-1].sendall(GET[:10])
        first, second, third = (idle(server, stack, f"127.0.0.{host}") for host in (4, 5, 6))
        first.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")  # now the second is
        assert first.recv(4096)
        newcomers = [f"127.0.0.{host}" for host in range(10, 15)]
        there = [second, third, first, *heads]
        idle(server, stack, "127.0.0.7").sendall(GET[:10])  # takes the last place
        for source in newcomers:
            assert not any(map(closed, there))
            newcomer = stack.enter_context(closing(server.connect(source)))
            newcomer.sendall(GET[:10])
            wait_for(partial(closed, there.pop(0)), "another one went")


def test_a_request_that_has_come_makes_no_room_even_if_it_is_not_read_yet() -> None:
    crowd = Crowd(Limits(connections=4, per_address=2))
    with (
        closing(Door(listen(["127.0.0.1:0"])[0], crowd)) as door,
        closing(socket.create_connection(door.getsockname())) as first,
        closing(door.accept()[0]),
        closing(socket.create_connection(door.getsockname())),
        closing(door.accept()[0]) as other,
        closing(socket.create_connection(door.getsockname())),
    ):
        first.sendall(GET)
        with closing(door.accept()[0]):
            other.settimeout(2)
            assert other.recv(1) == b""


def wrong(number: int) -> bytes:
    """A request with a password that is not right, each time another one."""
    told = base64.b64encode(b"bob:wrong%d" % number)
    return b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + told + b"\r\n\r\n"


def guarded(folder: Path, cost: int) -> Path:
    """A web configuration that asks for bob's password."""
    file = folder / "web.yml"
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(cost)).decode()
    file.write_text(f"basic_auth_users: {{bob: {hashed}}}\n", encoding="utf-8")
    return file


RIGHT: Final = b"Authorization: Basic " + base64.b64encode(b"bob:right") + b"\r\n"


@pytest.mark.parametrize(
    ("kind", "users"),
    [
        *(("idlers", False), ("holders_chunked", False), ("holders_unread", False)),
        *(("holders_doubted_many", True), ("holders_doubted_twice", True)),
        ("holders_doubted", True),
    ],
)
def test_nobody_keeps_others_out_whatever_they_do_with_their_connections(
    tmp_path: Path, kind: str, users: bool
) -> None:
    """From 8 addresses, each with all the places that it may have; the scraper is a round trip away."""
    sources = [f"127.0.5.{number}" for number in range(1, 9)]
    served, times = 0, 20
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + RIGHT * users + b"\r\n"
    with serving(guarded(tmp_path, 8) if users else None) as server:
        assert server.ask(request).startswith(b"HTTP/1.1 200 ")  # remembered, as a scraper's is
        with besieged(kind, server.port, sources, 32):
            time.sleep(1.5)
            for _ in range(times):
                with suppress(OSError), closing(server.connect("127.0.0.2")) as connection:
                    connection.settimeout(5)
                    time.sleep(0.04)
                    connection.sendall(request)
                    served += connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert served >= 0.9 * times


def test_a_flood_of_connections_leaves_room_for_the_health_check() -> None:
    limits = Limits(connections=8, per_address=4)
    page = LINE * 1_000_000
    with serving(limits=limits, own=lambda: page) as server, ExitStack() as stack:
        for number in range(1, 9):
            reading(server, stack, number)
        assert server.status(path="/-/healthy") == 200


def test_a_descriptor_that_cannot_be_kept_again_is_nobodys_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "none left")

    (listening,) = listen([f"{LOOPBACK}:0"])
    listening.setblocking(False)  # noqa: FBT003
    with closing(Door(listening, Crowd(Limits()))) as door:
        number = door._spare  # noqa: SLF001 - and there is no way to run out of them just then
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", none_left)
            door._turn_away()  # noqa: SLF001
        os.dup2(door.fileno(), number)
        door._turn_away()  # noqa: SLF001
        os.close(number)  # it is there still


def test_an_attacker_that_does_nothing_is_noticed() -> None:
    with (
        pytest.raises(AssertionError, match="idlers does nothing"),
        besieged("idlers", free_port(), [LOOPBACK]),
    ):
        pass


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_requests_that_are_sent_ahead_are_answered_one_after_the_other_and_not_at_once(
    server: Serving, end: bytes
) -> None:
    paths = (b"/-/healthy", b"/metrics", b"/nope", b"/-/healthy")
    heads = [b"GET " + path + b" HTTP/1.1" + end + b"Host: x" + end for path in paths]
    begun = time.perf_counter()

    got = server.ask(end.join(heads) + b"Connection: close" + end * 2)

    assert [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404, 200]
    assert time.perf_counter() - begun >= 3 * 0.2


def test_whoever_is_let_go_while_nothing_is_read_from_them_is_gone_at_once(tmp_path: Path) -> None:
    limits = Limits(connections=8, per_address=2)
    with serving(guarded(tmp_path, 10), limits) as server, ExitStack() as stack:
        alone = alive()
        for number in range(40):
            connection = stack.enter_context(closing(server.connect("127.0.0.3")))
            connection.setblocking(False)  # noqa: FBT003
            with suppress(OSError):
                connection.send(wrong(number) * 600)  # far more than is read at a time
            time.sleep(0.02)
        assert alive() - alone <= 4


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_addresses_of_a_subscriber_are_one_client() -> None:
    crowd = Crowd(Limits(connections=4, per_address=2))
    with ExitStack() as stack:
        door = stack.enter_context(closing(Door(listen(["[::]:0"])[0], crowd)))
        port = door.getsockname()[1]
        for host in ("::1", "127.0.0.1"):
            stack.enter_context(closing(socket.create_connection((host, port))))
        admitted: list[Any] = [stack.enter_context(closing(door.accept()[0])) for _ in range(2)]
        told = {one.client for one in admitted}
    assert told == {"::", "127.0.0.1"}


def test_that_many_made_room_is_told_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(limits=Limits(connections=4, per_address=2)) as server, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(closing(server.connect()))
        wait_for(lambda: caplog.records, "nothing is told")
    assert [record.message for record in caplog.records] == ["connections closed to make room"]


# What is left of a connection


def alive() -> int:
    """How many connections of a server there still are, in use or not, and timers for them."""
    return sum(isinstance(one, Connection) or _waits(one) for one in gc.get_objects())


def _waits(one: object) -> bool:
    """Whether something is a timer that will close or abort a connection."""
    timer = isinstance(one, asyncio.TimerHandle) and not one.cancelled()
    return timer and isinstance(getattr(one._callback, "__self__", None), asyncio.Transport)  # type: ignore[attr-defined]  # noqa: SLF001


@pytest.mark.parametrize("user", [False, True], ids=["open", "guarded"])
def test_nothing_of_a_connection_outlives_its_reset(tmp_path: Path, user: bool) -> None:
    gc.collect()
    before = alive()
    with serving(guarded(tmp_path, 4) if user else None) as server:
        gc.disable()  # nothing waits for the garbage collector either
        try:
            with attacked(resets, LOOPBACK, server.port) as attack:
                wait_for(lambda: attack.times >= 500, "not 500 resets")
            wait_for(lambda: alive() == before, "some connections are still there", 3, alive)
        finally:
            gc.enable()
        assert attack.done.keys() == {"401" if user else "200"}


def test_the_same_address_can_reset_as_often_as_it_likes_and_memory_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving() as server, attacked(resets, LOOPBACK, server.port, each=4) as attack:
        wait_for(lambda: attack.times >= 500, "no 500 resets")
        before, begun = resident(), attack.times
        wait_for(lambda: attack.times >= begun + 2_000 * HEAVY, "no 2,000 resets more")
        grown = (resident() - before) / 1e6
    with capsys.disabled():
        print(f" [{attack.times} resets: {grown:.1f} MB more]", end="")
    assert grown < 15  # 2,000 times 26 kB would be 52


def test_what_is_asked_for_ends_with_whoever_asked() -> None:
    cancelled = 0

    async def app(scope: object, receive: object, send: object) -> None:
        nonlocal cancelled
        del scope, receive, send
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    with serving(app=app) as server:
        for _ in range(50):
            with closing(server.connect()) as connection:
                connection.sendall(GET)
                time.sleep(0.01)
        wait_for(lambda: cancelled == 50, "some still wait", 5, lambda: cancelled)


def test_no_client_makes_the_server_hold_much_that_it_has_not_asked_for_yet() -> None:
    page = LINE * 1_000_000
    with serving(own=lambda: page) as server, ExitStack() as stack:
        before = resident()
        for number in range(100):
            connection = stack.enter_context(closing(server.connect(f"127.0.6.{number + 1}")))
            connection.setblocking(False)  # noqa: FBT003
            with suppress(BlockingIOError):
                while True:
                    connection.sendall(LARGE_HEAD + HALF_HEAD)
        time.sleep(1)
        unread = [one for one in gc.get_objects() if isinstance(one, Connection)]
        most = max(len(one.conn.trailing_data[0]) for one in unread)
        grown = (resident() - before) / 1e6
    assert most < 40_000
    assert grown < 100 * 0.6


def test_descriptors_that_run_out_are_told_once_and_no_client_hangs() -> None:
    with started(program(hang="descriptors")) as process:
        port = int(process.said(r"^127\.0\.0\.1:(\d+)$"))
        process.said("^(full)$")
        for _ in range(3):
            clients = [socket.create_connection((LOOPBACK, port), 5) for _ in range(40)]
            for client in clients:
                with closing(client):
                    assert answer_of(client) == b""
        assert (
            process.end(10).stderr.count("\n") == process.stderr.count("connections refused") == 1
        )


def test_a_thousand_scrapes_at_once_are_answered_or_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = LINE * 1_000
    times = 200 * HEAVY
    with serving(own=lambda: page) as server, ExitStack() as stack:
        many = [
            stack.enter_context(closing(server.connect(f"127.0.2.{number % 250}")))
            for number in range(times)
        ]
        for connection in many:
            try:
                connection.sendall(LAST)
            except OSError:
                continue
        got = [answer_of(connection) for connection in many]
    answered = sum(answer.startswith(b"HTTP/1.1 200") and answer.endswith(page) for answer in got)
    assert answered + got.count(b"") == times
    assert answered >= min(times, 200)
    with capsys.disabled():
        print(f" [{times} at once: {answered} answered, {times - answered} refused]", end="")


def answer_of(connection: socket.socket) -> bytes:
    try:
        return rest(connection)
    except OSError:
        return b""


def resident() -> int:
    """Memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_slow_readers_of_a_large_page_cost_little_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = LINE * (30_000_000 // len(LINE))
    with serving(own=lambda: page) as server, ExitStack() as stack:
        before = resident()
        for number in range(50):
            connection = stack.enter_context(closing(server.connect(f"127.0.0.{number + 2}")))
            connection.sendall(GET)
        time.sleep(1)
        grown = (resident() - before) / 1e6
        assert server.status(path="/-/healthy") == 200
    with capsys.disabled():
        print(f" [50 slow readers of 30 MB: {grown:.0f} MB more]", end="")
    assert grown < 50 * 0.6


def test_slow_readers_of_the_status_have_one_of_it_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = [f"127.0.9.{number}" for number in range(1, 61)]
    with serving(app=web(status=much(2000))) as server:
        size = len(server.get(path="/api/v1/status"))
        before = resident()
        with besieged("slow_readers", server.port, sources):
            time.sleep(4)
            grown = (resident() - before) / 1e6
    with capsys.disabled():
        print(f" [60 slow readers of {size / 1e6:.1f} MB: {grown:.0f} MB more]", end="")
    assert grown < 0.4 * 60 * size / 1e6


@pytest.mark.parametrize("path", ["/api/v1/status", "/", "/?q=csat"])
def test_who_asks_for_the_status_all_the_time_does_not_make_a_scrape_wait(
    capsys: pytest.CaptureFixture[str], path: str
) -> None:
    sources = [f"127.0.9.{number}" for number in range(1, 9)]
    with serving(app=web(status=much(2000))) as server:
        server.get(path=path)
        with besieged("hammers", server.port, sources, path=path):
            time.sleep(0.5)
            took = []
            for _ in range(25):
                took += seconds(server, 4)
                time.sleep(0.05)
    with capsys.disabled():
        print(f" [8 clients: scrape p99 {percentile(took) * 1000:.0f} ms]", end="")
    assert percentile(took) < 0.25


# What is no HTTP, or hardly


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"GET /metrics\r\n\r\n", {400}, id="http-0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}, id="http-2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}, id="tls"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n\r\n", {400}, id="no-host"),
        pytest.param(b"GET /m\xff HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="eight-bit"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", {400}, id="space"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", {400}, id="nul"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            {400},
            id="two-lengths",
        ),
        pytest.param(
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n" + CHUNKED + b"\r\n",
            {400, 413},
            id="length-and-chunks",
        ),
        pytest.param(
            b"POST /metrics HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\nzz\r\n",
            {400, 413},
            id="a-chunk-that-is-none",
        ),
        pytest.param(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            {413},
            id="a-get-with-a-body",
        ),
        pytest.param(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n",
            {413},
            id="a-get-with-a-body-in-chunks",
        ),
        pytest.param(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            {413},
            id="expect",
        ),
        pytest.param(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
            {200},
            id="websocket",
        ),
        pytest.param(
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n" + GET,
            {413},
            id="a-request-in-a-body",
        ),
        pytest.param(LAST[:-2] + b"A: b\r\n c\r\n\r\n", {200, 400}, id="a-folded-line"),
        pytest.param(LAST[:-2] + b"A: b\n\r\n", {200, 400}, id="a-bare-lf"),
        pytest.param(b"X" * 1_000_000, {400}, id="a-megabyte-of-line"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 64_000 + b"\r\n\r\n", {400, 431}, id="64k"
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n",
            {400, 431},
            id="a-megabyte",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
            {400, 431},
            id="ten-thousand-lines",
        ),
        pytest.param(
            b"GET /?" + b"q" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {400, 431}, id="query"
        ),
    ],
)
def test_what_is_malformed_gets_one_answer_and_no_other(
    server: Serving, caplog: pytest.LogCaptureFixture, sent: bytes, expected: set[int]
) -> None:
    caplog.set_level(logging.DEBUG)

    got = server.ask_roughly(sent)

    # The end of a connection with something unread may overtake the answer.
    statuses = {int(line.split(b" ")[0]) for line in got.split(b"HTTP/1.1 ")[1:]}
    assert statuses <= expected
    assert statuses or len(sent) > 60_000
    assert got.count(b"HTTP/1.1 ") <= 1
    assert b"Traceback" not in got
    assert b"\r\nserver:" not in got.lower()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "broken",
    [
        b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\nzz\r\n",
        b"HEAD /metrics HTTP/1.1\r\n\r\n",
        b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        b"\r\nHEAD /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\n\r\n",
    ],
    ids=["chunk", "no-host", "space", "after-an-empty-line", "second"],
)
def test_a_head_that_is_broken_gets_no_body(
    server: Serving, caplog: pytest.LogCaptureFixture, broken: bytes
) -> None:
    caplog.set_level(logging.DEBUG)

    *_, got = server.ask(broken).split(b"HTTP/1.1 ")

    assert got.startswith(b"400 Bad Request\r\n")
    assert got.endswith(b"\r\n\r\n")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\r\n" + LAST, id="an-empty-line"),
        pytest.param(b"\r\n\r\n\n" + LAST, id="some"),
        pytest.param(LAST.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"), id="no-body"),
        pytest.param(
            LAST.replace(b"\r\n\r\n", b"\r\n" + CHUNKED + b"\r\n0\r\n\r\n"), id="no-chunk"
        ),
        pytest.param(LAST.replace(b"/metrics", b"http://y:1/metrics?a"), id="absolute"),
        pytest.param(LAST.replace(b"/metrics", b"HTTPS://[::1]/metrics"), id="absolute-ipv6"),
        pytest.param(LAST.replace(b"/metrics", b"http://y"), id="absolute-without-path"),
    ],
)
def test_an_unusual_way_to_ask_is_answered(server: Serving, sent: bytes) -> None:
    assert server.ask(sent).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("lines", "status"), [(200, b"200"), (300, b"400"), (3000, b"400")])
def test_the_lines_of_a_head_are_bounded_as_each_takes_its_time(
    server: Serving, lines: int, status: bytes
) -> None:
    assert server.ask(LAST[:-2] + b"A:\r\n" * lines + b"\r\n")[9:12] == status


def test_an_empty_line_may_come_bit_by_bit_and_between_two_requests(server: Serving) -> None:
    with closing(server.connect()) as connection:
        for part in (b"\r", b"\n", GET + b"\r\n" + GET[:5], GET[5:], b"\n", LAST):
            connection.sendall(part)
            time.sleep(0.05)
        assert rest(connection).count(b"HTTP/1.1 200 ") == 3


TEXTS: Final = {404: b"\nNot Found\n", 405: b"\nMethod Not Allowed\n"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("get /metrics", 405),
        ("TRACE /metrics", 405),
        ("OPTIONS *", 404),
        ("CONNECT x:80", 404),
        ("POST /metrics", 405),
        ("PUT /metrics", 405),
        ("MADE-UP /metrics", 405),
        ("GET http://x/metrics", 200),
        ("GET ftp://x/metrics", 404),
        ("GET http://x/nope", 404),
        ("GET /metrics%00", 404),
        ("GET /metrics;x", 404),
        ("GET /METRICS", 404),
        ("GET /%ff", 404),
        ("GET //metrics", 404),
        ("GET /%2e%2e/etc/passwd", 404),
        ("GET /metrics/", 404),
        ("GET /metrics?name[]=x", 200),
        ("GET /%6detrics", 200),
    ],
)
def test_only_the_exact_routes_and_methods_answer(server: Serving, line: str, status: int) -> None:
    got = server.ask(
        f"{line} HTTP/1.1\r\nHost: x\r\nX-Canary: canary\r\nConnection: close\r\n\r\n".encode()
    )

    assert int(got.split(b" ")[1]) == status
    assert got.endswith(TEXTS.get(status, LINE))
    assert b"canary" not in got
    assert (b"\r\nallow: GET, HEAD\r\n" in got) == (status == 405)


def test_the_head_and_the_body_of_an_answer_are_sent_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bytes] = []

    def send(self: socket.socket, data: bytes) -> int:
        sent.append(bytes(data))
        return socket.socket.send(self, data)

    monkeypatch.setattr("exporter.web.sockets.Admitted.send", send, raising=False)
    with serving() as server:
        got = server.get()

    assert sent == [got]
    assert got.endswith(b"\r\n\r\n" + LINE)


def test_a_client_that_vanishes_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    page = LINE * 1_000_000
    with serving(own=lambda: page) as server:
        for _ in range(20):
            connection = server.connect()
            connection.sendall(GET)
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        assert server.status(path="/-/healthy") == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
