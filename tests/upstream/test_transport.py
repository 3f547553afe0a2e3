"""Connections to the API: kept for a minute, silent or closed, and never the reason of a failure."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from faults.network import transport
from faults.stub import Asked, End, Steps, Stub, response
from support.loopback import Authority, listening
from support.processes import free_port
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed
from exporter.metrics.telemetry import REQUESTS, RETRIES, UP, OwnFamily, Telemetry
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender
from exporter.upstream.transport import KEPT, Transport

PLACE = ("seachat", "acme")
GOOD = response(200, b'{"total_usage": {"total_chat_responses": 1}}')

both_schemes = pytest.mark.parametrize("scheme", ["http", "https"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "authority")


def answering(*steps: Steps) -> Callable[[Asked], Steps]:
    """Answers requests one after the other, and all further ones in order."""
    left = iter(steps)
    return lambda _: next(left, (GOOD,))


class Api:
    """A server, a workspace that polls it, and what came of it.

    Args:
        answers: What each request gets.
        authority: Who vouches for it; None for plain HTTP.
        settings: Of the workspace.
    """

    def __init__(
        self,
        answers: Callable[[Asked], Steps],
        authority: Authority | None = None,
        **settings: Any,  # noqa: ANN401 - keys of the file
    ) -> None:
        self.telemetry = Telemetry()
        self.stub = Stub(answers, authority.serves("IP:127.0.0.1") if authority else None)
        self._ca = str(authority.certificate) if authority else ""
        self._settings = settings

    def run(self, *steps: Callable[[Sender, Client], Awaitable[object]]) -> list[object]:
        """What each step brings, or how it failed."""
        found: list[object] = []

        async def go(one: Workspace) -> None:
            client = Client(one)
            self.telemetry.begin(one, lambda: datetime.now(UTC))
            sender = Sender(
                *(one, client, self.telemetry, lambda: datetime.now(UTC)),
                uniform=lambda _, longest: longest,
            )
            for step in steps:
                try:
                    found.append(await step(sender, client))
                except RequestFailed as failure:
                    found.append(failure)
            await client.close()

        with self.stub.beside():
            http = {"ca_file": self._ca} if self._ca else {}
            one = workspace(
                ["total_usage"], base_url=self.stub.url, http=http,
                requests_per_minute=6000, timeout="10s", **self._settings,
            )  # fmt: skip
            asyncio.run(go(one))
        return found

    def counted(self, family: OwnFamily, *labels: str) -> float:
        """The value of one of the exporter's own series."""
        return float(self.telemetry._metrics[family].labels(*PLACE, *labels)._value.get())  # noqa: SLF001


async def report(sender: Sender, _client: Client) -> None:
    with await sender.report(lambda _: {}):
        pass


async def pause(_sender: Sender, _client: Client) -> None:
    await asyncio.sleep(0.2)


@both_schemes
def test_connections_are_used_again(authority: Authority, scheme: str) -> None:
    api = Api(answering(), authority if scheme == "https" else None)

    assert api.run(report, report, pause, report) == [None] * 4
    assert api.stub.connections == 1
    assert len(api.stub.journal) == 3


def test_a_connection_is_used_for_a_minute_and_closed_then() -> None:
    world = World()

    async def go() -> tuple[list[int], int]:
        # The third answer is under way when its connection is a minute old.
        stub, found = Stub(answering((GOOD,), (GOOD,), (2.0, GOOD))), list[int]()
        stub.address = ("127.0.0.1", 8001)
        await stub.up()
        one = workspace(base_url=stub.url)
        client = Client(one, transport(4), world.now)
        for wait in (0, KEPT / 2, KEPT / 2 - 1, 0, KEPT / 2, KEPT / 2 + 1):
            await asyncio.sleep(wait)
            await client.report(one.url, {}, KEY)
            found.append(stub.connections)
        await asyncio.sleep(KEPT + 1)
        open_now = len(stub._open)  # noqa: SLF001
        await client.close()
        await stub.down()
        return found, open_now

    assert world.run(go) == ([1, 1, 1, 2, 2, 3], 0)


@both_schemes
def test_after_an_answer_too_many_the_connection_is_closed(
    authority: Authority, scheme: str
) -> None:
    wrong = response(200, b'{"total_usage": {"total_chat_responses": 666}}')
    api = Api(
        answering((GOOD + wrong,), (GOOD, 0.05, wrong), (GOOD + b"HTTP/1.1 200 OK\r\nX",), (GOOD,)),
        authority if scheme == "https" else None,
    )
    seen: list[object] = []

    async def told(_sender: Sender, client: Client) -> None:
        answer = await client.report(client._workspace.url, {}, KEY)  # noqa: SLF001
        seen.append(answer.content)

    api.run(told, told, pause, told, told)

    assert seen == [{"total_usage": {"total_chat_responses": 1}}] * 4
    assert api.stub.connections == 4


def test_what_has_arrived_unseen_by_the_loop_closes_the_connection_as_well() -> None:
    wrong = response(200, b'{"total_usage": {"total_chat_responses": 666}}')
    api = Api(answering((GOOD, 0.05, wrong)))

    async def busy(_sender: Sender, client: Client) -> object:
        await client.report(client._workspace.url, {}, KEY)  # noqa: SLF001
        time.sleep(0.3)  # noqa: ASYNC251 - the loop is held
        return (await client.report(client._workspace.url, {}, KEY)).content  # noqa: SLF001

    assert api.run(busy) == [{"total_usage": {"total_chat_responses": 1}}]
    assert api.stub.connections == 2


@both_schemes
@pytest.mark.parametrize("end", [End.CLOSE, End.RESET], ids=["closed", "reset"])
def test_a_kept_connection_that_ends_before_an_answer_costs_one_counted_request(
    authority: Authority, scheme: str, end: End
) -> None:
    api = Api(
        answering((GOOD,), (end,), (GOOD,)),
        authority if scheme == "https" else None,
        requests_per_day=10,
    )

    async def again(sender: Sender, client: Client) -> None:
        begun = time.monotonic()
        await report(sender, client)
        assert time.monotonic() - begun < 1.5  # any other failure waits for two seconds here

    assert api.run(report, again) == [None, None]
    assert len(api.stub.journal) == 3
    assert api.counted(REQUESTS, "success") == 2
    assert api.counted(REQUESTS, "connect") == 1
    assert api.counted(RETRIES, "connect") == 1


def test_a_server_that_ends_each_connection_at_its_second_request_costs_no_report() -> None:
    of_connection: dict[int, int] = {}

    def answers(_: Asked) -> Steps:
        number = api.stub.connections
        of_connection[number] = of_connection.get(number, 0) + 1
        return (GOOD,) if of_connection[number] == 1 else (End.CLOSE,)

    api = Api(answers)

    assert api.run(*[report] * 40) == [None] * 40
    assert len(api.stub.journal) == 41
    assert api.counted(RETRIES, "connect") == 1


@both_schemes
def test_when_several_kept_connections_have_ended_the_retry_gets_a_new_one(
    authority: Authority, scheme: str
) -> None:
    ending = False

    def answers(_: Asked) -> Steps:
        return (End.CLOSE,) if ending and api.stub.connections <= 3 else (0.1, GOOD)

    api = Api(answers, authority if scheme == "https" else None, concurrency=3)

    async def three(sender: Sender, client: Client) -> None:
        await asyncio.gather(*[report(sender, client) for _ in range(3)])

    async def then(sender: Sender, client: Client) -> None:
        nonlocal ending
        ending = True
        begun = time.monotonic()
        await report(sender, client)
        assert time.monotonic() - begun < 1.5

    assert api.run(three, then) == [None, None]
    assert api.stub.connections == 4


def test_a_name_with_a_part_that_is_too_long_is_unknown() -> None:
    async def go() -> None:
        one = workspace(base_url=f"https://{'a' * 64}.com")
        client = Client(one)
        with pytest.raises(RequestFailed, match="name unknown"):
            await client.report(one.url, {}, KEY)
        await client.close()

    asyncio.run(go())


def test_a_kept_connection_that_ends_is_no_excuse_for_a_request_beyond_the_budget() -> None:
    api = Api(answering((GOOD,), (End.CLOSE,), (GOOD,)), requests_per_day=2)

    (_, failure) = api.run(report, report)

    assert isinstance(failure, RequestFailed)
    assert failure.outcome is Outcome.CONNECT
    assert len(api.stub.journal) == 2
    assert api.counted(UP) == 1  # it says nothing about the API


def test_what_ends_a_new_connection_is_the_apis_failure() -> None:
    api = Api(lambda _: (End.CLOSE,))

    async def once(_sender: Sender, client: Client) -> None:
        await client.report(client._workspace.url, {}, KEY)  # noqa: SLF001

    (failure,) = api.run(once)
    assert isinstance(failure, RequestFailed)
    assert not failure.of_a_kept_connection


def test_a_kept_connection_that_ends_within_an_answer_is_the_apis_failure() -> None:
    api = Api(answering((GOOD,), (b"H", 0.1, End.CLOSE)))

    async def once(_sender: Sender, client: Client) -> None:
        await client.report(client._workspace.url, {}, KEY)  # noqa: SLF001

    (_, failure) = api.run(once, once)
    assert isinstance(failure, RequestFailed)
    assert not failure.of_a_kept_connection


def test_what_must_not_be_sent_twice_has_a_connection_of_its_own() -> None:
    modules = {"hello": {"question": "Hello?", "answer": "hello"}}
    api = Api(answering(), bots=[{"id": "b1"}], probes=["hello"], modules=modules)

    async def conversation(_sender: Sender, client: Client) -> None:
        await client.conversation("b1", {}, KEY, 5)

    assert api.run(report, conversation, report) == [None] * 3
    assert api.stub.connections == 2
    ends = [asked.path.rpartition("/")[2] for asked in api.stub.journal]
    assert ends == ["generate_metric_report", "get_or_create", "generate_metric_report"]


def test_no_more_connections_are_open_than_requests_may_be_sent_at_a_time() -> None:
    api = Api(lambda _: (0.05, GOOD), concurrency=2)
    most = 0

    async def many(_sender: Sender, client: Client) -> None:
        nonlocal most

        async def one() -> None:
            nonlocal most
            await client.report(client._workspace.url, {}, KEY)  # noqa: SLF001
            most = max(most, len(api.stub._open))  # noqa: SLF001

        await asyncio.gather(*(one() for _ in range(12)))

    assert api.run(many) == [None]
    assert api.stub.connections == most == 3  # and one for the list of bots


def test_connections_of_two_hosts_share_the_limit_and_the_oldest_idle_one_makes_room() -> None:
    first, second = Stub(answering()), Stub(answering())
    most = 0

    async def go() -> None:
        nonlocal most
        made = Transport(tls=None, proxy=None, most=2)
        async with httpx.AsyncClient(transport=made) as client:
            for _ in range(3):
                for one in (first, second):
                    await asyncio.gather(*(client.get(one.url) for _ in range(2)))
                    await asyncio.sleep(0.1)
                    most = max(most, len(first._open) + len(second._open))  # noqa: SLF001

    with first.beside(), second.beside():
        asyncio.run(go())
    assert most == 2


def test_of_an_answer_that_nobody_reads_little_is_held() -> None:
    size, sent = 50_000_000, 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        yield response(200, b"", length=size)
        while sent < size:
            sent += 100_000
            yield b" " * 100_000

    stub = Stub(lambda _: flood())

    async def go() -> int:
        made = Transport(tls=None, proxy=None, most=1)
        async with (
            httpx.AsyncClient(transport=made) as client,
            client.stream("GET", stub.url) as answer,
        ):
            await asyncio.sleep(1)
            held = sent
            async for _ in answer.aiter_raw():
                pass
            return held

    with stub.beside():
        held = asyncio.run(go())
    assert held < size / 4  # the rest is in the kernel's buffers
    assert sent == size


@pytest.mark.parametrize("schemes", [("http", "http"), ("http", "https"), ("https", "https")])
def test_connections_through_a_proxy_are_used_again(
    authority: Authority, schemes: tuple[str, str]
) -> None:
    tls = authority.serves("IP:127.0.0.1")
    by = {"http": None, "https": tls}
    with (
        listening(lambda _: (200, {"a": 1}), by[schemes[1]]) as api,
        listening(lambda _: (200, {"a": 1}), by[schemes[0]]) as proxy,
    ):
        http = {"ca_file": str(authority.certificate), "proxy_url": proxy.url(schemes[0])}
        one = workspace(["total_usage"], base_url=api.url(schemes[1]), http=http)

        async def go() -> None:
            client = Client(one)
            for _ in range(3):
                await client.report(one.url, {}, KEY)
            await client.close()

        asyncio.run(go())
    assert proxy.connections == 1
    assert len(proxy.asked) == (3 if schemes[1] == "http" else 1)


def test_where_no_address_of_a_host_answers_it_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    port, one_of_two = free_port(), ("127.0.0.1", "127.0.0.2")

    async def both(*_: object, **__: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, port)) for address in one_of_two]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", both)

    async def go() -> str:
        one = workspace(["total_usage"], base_url=f"https://api.internal:{port}")
        client = Client(one)
        with pytest.raises(RequestFailed) as caught:
            await client.report(one.url, {}, KEY)
        await client.close()
        return str(caught.value)

    assert asyncio.run(go()) == "the API cannot be reached: connection refused"
