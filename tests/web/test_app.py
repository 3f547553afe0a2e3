import asyncio
import gzip
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import pytest

from exporter.metrics.gzip_pieces import PORTION, Piece
from exporter.metrics.snapshot import Snapshot, snapshot
from exporter.metrics.store import Store
from exporter.polling.status import Rest, Status
from exporter.web.app import (
    HELD,
    MOST_WAITING,
    MOST_WAITING_OF_ONE,
    NO_RESULT,
    NOT_KNOWN,
    NOT_PROBED,
    UNDER_WAY,
    Answer,
    Look,
    NoProbe,
    Web,
    reply,
    wants_gzip,
    wants_openmetrics,
)
from exporter.web.sockets import Limits

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


async def empty() -> Snapshot:
    return snapshot(Store().generation(), NOW)


def app(**others: Any) -> Web:  # noqa: ANN401 - of Web
    given: dict[str, Any] = {
        "snapshot": empty,
        "own": lambda openmetrics: [Piece.of(b"own 1\n# EOF\n" if openmetrics else b"own 1\n")],
        "ready": lambda: True,
        "status": lambda: lambda _: Status("0.1.0", NOW, ()),
    }
    return Web(**given | others)


def ask(
    path: str,
    method: str = "GET",
    web: Web | None = None,
    headers: Mapping[str, str] | None = None,
    host: str = "exporter",
) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(web or app())  # type: ignore[arg-type]  # Web is looser
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(go())


def test_the_page_is_text_unless_openmetrics_is_preferred() -> None:
    plain, other = ask("/metrics"), ask("/metrics", headers={"accept": PROMETHEUS_3})

    assert plain.headers["vary"] == other.headers["vary"] == "Accept, Accept-Encoding"
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.text == "own 1\n"
    assert other.headers["content-type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert other.text == "own 1\n# EOF\n"


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/", "/-/healthy", "/-/ready"],
    ids=["metrics", "landing", "health", "ready"],
)
def test_head_is_get_without_the_body(path: str) -> None:
    head, get = ask(path, "HEAD"), ask(path)

    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers == get.headers


def test_health_does_not_depend_on_the_api_and_readiness_does() -> None:
    waiting = app(ready=lambda: False)

    assert ask("/-/healthy", web=waiting).status_code == 200
    assert ask("/-/ready", web=waiting).status_code == 503
    assert ask("/-/ready").status_code == 200


def test_a_prefix_comes_before_every_route_and_leads_to_the_page_without_its_slash_too() -> None:
    web = app(route_prefix="/a b/seasalt")

    answer = ask("/a%20b/seasalt?q=x", web=web)
    assert (answer.status_code, answer.headers["location"]) == (302, "seasalt/?q=x")
    assert ask("/a%20b/seasalt/?q=x", web=web).status_code == 200
    assert ask("/a%20b/seasalt/-/healthy", web=web).status_code == 200
    assert ask("/a%20b/seasalt", "POST", web).status_code == 405
    assert ask("/metrics", web=web).status_code == 404
    assert ask("/a%20b", web=web).status_code == 404


@pytest.mark.parametrize("prefix", ["", "/seasalt", "/a b/č"])
@pytest.mark.parametrize("path", ["/metrics", "/own/metrics", "/m č"])
@pytest.mark.parametrize("stripped", [False, True])
def test_the_links_of_the_page_lead_to_what_they_say_behind_a_proxy_too(
    prefix: str, path: str, stripped: bool
) -> None:
    outside = "/outside" if stripped else ""
    web = app(route_prefix=prefix, telemetry_path=path)
    page = ask(f"{quote(prefix)}/", web=web)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = dict.fromkeys(re.findall('href="([^"]+)"', page.text))
    kinds = [*["text/html"] * 3, "text/plain", "application/json"]
    assert len(links) == len(kinds)
    for link, kind in zip(sorted(links, key=lambda one: one[0] != "?"), kinds, strict=True):
        found = urljoin(f"http://x{outside}{quote(prefix)}/", link)
        inside = found.removeprefix("http://x").removeprefix(outside)
        answer = ask(inside, web=web)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)


def test_the_status_is_there_as_json_too() -> None:
    answer = ask("/api/v1/status")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "version": "0.1.0",
        "at": "2026-11-21T00:00:00+00:00",
        "workspaces": [],
    }


class Asked:
    """What probes bots, and is asked of it."""

    def __init__(self, none: Answer | None = None) -> None:
        self.none = none
        self.asked: list[tuple[str, str, str]] = []
        self.discovered: list[str] = []

    def allows(self, workspace: str, bot_id: str, module: str) -> bool:
        """Whether there is anything."""
        del workspace, bot_id, module
        return not self.none

    async def page(self, workspace: str, bot_id: str, module: str, *, wait: bool) -> bytes:
        """A page for each."""
        assert wait
        self.asked.append((workspace, bot_id, module))
        if self.none:
            raise NoProbe(self.none)
        return b"probe_success 1\n"

    async def discovery(self, workspace: str) -> bytes:
        """No targets."""
        self.discovered.append(workspace)
        if self.none:
            raise NoProbe(self.none)
        return b"[]"


PROBE = "/probe?workspace=acme+inc&bot_id=b%3A1&module=hours"


def test_a_probe_and_what_can_be_probed_are_there_where_something_probes() -> None:
    probes = Asked()
    web = app(probes=probes, route_prefix="/x")
    answer = ask("/x" + PROBE, web=web)
    assert answer.text == "probe_success 1\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert probes.asked == [("acme inc", "b:1", "hours")]
    found = ask("/x/api/v1/sd/probes", web=web)
    assert (found.json(), found.headers["content-type"]) == ([], "application/json")
    for path in (PROBE, "/api/v1/sd/probes"):
        assert ask(path).status_code == 404
        assert ask("/x" + path, "POST", web).status_code == 405


@pytest.mark.parametrize(
    "query",
    [
        *("", "?", "?workspace=a&bot_id=b", "?workspace=a&bot_id=b&module=c&target=d"),
        *("?workspace=a&bot_id=b&module=c&module=d", "?workspace=a&bot_id=b&Module=c", "?%ff=%00"),
        "?workspace=a&bot_id=b&module=c" + "&x=" * 5000,
    ],
)
def test_a_probe_must_say_once_what_is_probed(query: str) -> None:
    probes = Asked()
    assert ask(f"/probe{query}", web=app(probes=probes)).status_code == 400
    assert probes.asked == []


def test_a_look_at_a_probe_sends_no_message() -> None:
    probes = Asked()
    assert ask(PROBE, "HEAD", app(probes=probes)).status_code == 200
    assert probes.asked == []
    assert ask(PROBE, "HEAD", app(probes=Asked(NOT_PROBED))).status_code == NOT_PROBED.status


def test_what_can_be_probed_is_told_for_all_workspaces_or_one() -> None:
    probes = Asked()
    web = app(probes=probes)
    for query, status in (
        ("", 200),
        ("?workspace=acme+inc", 200),
        ("?workspace=a&workspace=b", 400),
        ("?bot_id=b", 400),
    ):
        assert ask(f"/api/v1/sd/probes{query}", web=web).status_code == status
    assert probes.discovered == ["", "acme inc"]


def test_what_can_be_probed_is_made_once_for_all_who_ask_within_a_second() -> None:
    probes = Asked()
    web = app(probes=probes)

    async def many() -> list[int]:
        transport = httpx.ASGITransport(web)  # type: ignore[arg-type]  # Web is looser
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            paths = ["/api/v1/sd/probes", "/api/v1/sd/probes?workspace=acme"] * 20
            answers = await asyncio.gather(*map(client.get, paths))
            answers.append(await client.get(paths[0]))
            return [answer.status_code for answer in answers]

    assert asyncio.run(many()) == [200] * 41
    assert sorted(probes.discovered) == ["", "acme"]


class Slow(Asked):
    """What probes bots that never answer."""

    async def page(self, workspace: str, bot_id: str, module: str, *, wait: bool) -> bytes:
        """Waits, or says that somebody else does."""
        self.asked.append((workspace, bot_id, module))
        if wait:
            await asyncio.Event().wait()
        raise NoProbe(UNDER_WAY)


def test_only_so_many_wait_for_probes_of_one_client_and_in_all() -> None:
    web = app(probes=Slow())
    path, _, query = PROBE.partition("?")

    async def waiting(clients: list[str]) -> int:
        scope = {"method": "GET", "path": path, "query_string": query.encode(), "headers": []}

        async def sent(_: object) -> None:
            pass

        def asks(client: str) -> Any:  # noqa: ANN401 - a coroutine
            return web({**scope, "type": "http", "client": (client, 1)}, None, sent)  # type: ignore[arg-type]

        tasks = [asyncio.ensure_future(asks(client)) for client in clients]
        _, wait = await asyncio.wait(tasks, timeout=0.05)
        for task in wait:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(wait)

    many = [f"192.0.2.{number}" for number in range(100)]
    for _ in range(2):  # whoever goes away makes room
        assert asyncio.run(waiting(["192.0.2.1"] * 40)) == MOST_WAITING_OF_ONE
        assert asyncio.run(waiting(many)) == MOST_WAITING
        assert asyncio.run(waiting([f"2001:db8::{number}" for number in range(40)])) == (
            MOST_WAITING_OF_ONE
        )
    assert Limits().per_address >= 2 * MOST_WAITING_OF_ONE
    assert Limits().connections >= 2 * MOST_WAITING


@pytest.mark.parametrize("none", [NOT_PROBED, NOT_KNOWN, NO_RESULT])
def test_where_there_is_no_result_it_is_said_and_nothing_of_the_request(none: Answer) -> None:
    web = app(probes=Asked(none))
    for path in ("/probe?workspace=canary&bot_id=canary&module=canary", "/api/v1/sd/probes"):
        answer = ask(path, web=web)
        assert answer.status_code == none.status
        assert "canary" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/?q=x", "/?q=%ff%00", "/?q=" + "x" * 5000, "/?state=failing&cause=timeout&page=9"),
        *("/?workspace=acme&bot=b1", "/?refresh=30", "/api/v1/status"),
    ],
)
def test_nothing_on_the_status_page_is_run_or_fetched(path: str) -> None:
    answer = ask(path)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        pytest.param("", False, id="none"),
        pytest.param("*/*", False, id="anything"),
        pytest.param("text/plain", False, id="text"),
        pytest.param(PROMETHEUS_3, True, id="prometheus-3"),
        pytest.param("application/openmetrics-text", True, id="no-version"),
        pytest.param("application/openmetrics-text;version=2.0.0", False, id="another-version"),
        pytest.param("application/openmetrics-text;version=abc", False, id="no-such-version"),
        pytest.param("application/openmetrics-text;q=0", False, id="refused"),
        pytest.param("application/openmetrics-text;q=0.1,text/plain;q=0.9", False, id="text-first"),
        pytest.param("application/openmetrics-text;q=x", False, id="no-number"),
        pytest.param('Application/OpenMetrics-Text; Version="1.0.0"', True, id="other-spelling"),
        pytest.param("application/vnd.google.protobuf", False, id="protobuf"),
    ],
)
def test_openmetrics_is_chosen_by_the_accept_header(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("gzip;q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=nan", False),
    ],
)
def test_gzip_is_chosen_by_the_accept_encoding_header(header: str, wanted: bool) -> None:
    assert wants_gzip(header) is wanted


async def _in_force() -> str:
    return ""


async def _refused() -> str:
    return "seasalt.yml:3: timezone: must be a name"


def test_a_reload_is_answered_when_it_is_in_force() -> None:
    answer = ask("/-/reload", "POST", app(reload=_in_force))

    assert (answer.status_code, answer.text) == (200, "Reloaded\n")


def test_a_reload_of_a_bad_file_is_answered_with_its_mistakes() -> None:
    answer = ask("/-/reload", "POST", app(reload=_refused))

    assert answer.status_code == 500
    assert answer.text.splitlines() == [
        "The old configuration stays in force:",
        "seasalt.yml:3: timezone: must be a name",
    ]


def test_nobody_reloads_unless_the_operator_allowed_it() -> None:
    answer = ask("/-/reload", "POST")

    assert answer.status_code == 403
    assert "--web.enable-lifecycle" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_a_post_reloads(method: str) -> None:
    answer = ask("/-/reload", method, app(reload=_refused))

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


BEHIND = "https://metrics.corp/seasalt"


@pytest.mark.parametrize(
    ("host", "headers", "allowed"),
    [
        pytest.param("exporter.monitoring.svc:9877", {}, True, id="curl"),
        pytest.param("10.1.2.3:9877", {}, True, id="kubernetes"),
        pytest.param("internal.corp", {"origin": "https://metrics.corp"}, True, id="proxy"),
        pytest.param(
            "metrics.corp", {"origin": "https://metrics.corp"}, True, id="proxy-with-host"
        ),
        pytest.param("metrics.corp", {"sec-fetch-site": "same-origin"}, True, id="proxy-fetch"),
        pytest.param("127.0.0.1:9877", {"origin": "http://127.0.0.1:9877"}, True, id="ipv4"),
        pytest.param("[::1]:9877", {"origin": "http://[::1]:9877"}, True, id="ipv6"),
        pytest.param("localhost:9877", {"origin": "http://LOCALHOST:9877"}, True, id="localhost"),
        pytest.param("exporter", {"origin": "http://exporter:80"}, True, id="short-name"),
        pytest.param("localhost:9877", {"sec-fetch-site": "none"}, True, id="a-person"),
        pytest.param("localhost:9877", {"sec-fetch-site": "cross-site"}, False, id="cross-site"),
        pytest.param("localhost:9877", {"sec-fetch-site": "same-site"}, False, id="same-site"),
        pytest.param("localhost:9877", {"sec-fetch-site": "x"}, False, id="another-word"),
        pytest.param("localhost:9877", {"origin": "http://localhost:3000"}, False, id="port"),
        pytest.param("localhost:9877", {"origin": "https://evil.example"}, False, id="foreign"),
        pytest.param("localhost:9877", {"origin": "null"}, False, id="null"),
        pytest.param("null", {"origin": "null"}, False, id="null-here"),
        pytest.param("x", {"origin": "http://" + "a" * 1000}, False, id="long-origin"),
        pytest.param("x", {"sec-fetch-site": "a" * 1001}, False, id="long-site"),
        pytest.param("x", {"origin": ""}, False, id="empty-origin"),
        pytest.param("a" * 1001, {}, False, id="long-host"),
        pytest.param("evil.example:9877", {}, False, id="foreign-host"),
        pytest.param("metrics.corp", {}, True, id="external-host"),
        pytest.param("seasalt.monitoring.svc.cluster.local:9877", {}, True, id="cluster"),
        pytest.param("localhost:9877", {"origin": "http://["}, False, id="no-url"),
        pytest.param(
            "evil.example:9877", {"origin": "http://evil.example:9877"}, False, id="rebound"
        ),
        pytest.param("evil.example", {"sec-fetch-site": "same-origin"}, False, id="rebound-fetch"),
    ],
)
def test_no_page_of_another_site_reloads(
    host: str, headers: Mapping[str, str], allowed: bool
) -> None:
    reloads = 0

    async def reload() -> str:
        nonlocal reloads
        reloads += 1
        return ""

    web = app(reload=reload, external_url=BEHIND)
    answer = ask("/-/reload", "POST", web, headers, host)
    assert (answer.status_code, reloads) == ((200, 1) if allowed else (403, 0))


def test_without_an_external_url_a_name_that_could_be_anybodys_is_refused() -> None:
    web = app(reload=_in_force)
    origin = {"origin": "http://exporter.corp:9877"}

    assert ask("/-/reload", "POST", web, origin, "exporter.corp:9877").status_code == 403
    assert ask("/-/reload", "POST", web, {}, "exporter.corp:9877").status_code == 403


def together(go: Callable[[Web], Any], web: Web) -> Any:  # noqa: ANN401
    return asyncio.run(go(web))


async def call(
    web: Web,
    path: str,
    method: str = "GET",
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request"}

    asked = {"method": method, "path": path, "headers": headers, "query_string": query}
    await web({"type": "http", **asked}, receive, send)
    return sent


def test_reloads_that_are_asked_for_meanwhile_are_one_and_go_on_without_who_asked() -> None:
    done = 0

    async def reload() -> str:
        nonlocal done
        await asyncio.sleep(0.05)
        done += 1
        return ""

    async def go(web: Web) -> None:
        asked = [asyncio.ensure_future(call(web, "/-/reload", "POST")) for _ in range(50)]
        await asyncio.sleep(0.01)
        for task in asked[:25]:
            task.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(one[0]["status"] == 200 for one in found[25:] if isinstance(one, list))
        late = await asyncio.gather(*(call(web, "/-/reload", "POST") for _ in range(50)))
        assert {one[0]["status"] for one in late} == {200}

    together(go, app(reload=reload))
    assert done <= 4


def looked() -> tuple[Web, list[float]]:
    """The routes, and when they looked at how the polling goes."""
    looks: list[float] = []

    def status() -> Look:
        looks.append(time.monotonic())
        return lambda _: Status("0.1.0", NOW, ())

    return app(status=status), looks


def test_a_search_is_a_hundred_characters_at_most_without_space_around_it() -> None:
    long = quote(f" {'a' * 99} {'b' * 99}")

    page = ask(f"/?q={long}").text

    assert f'value="{"a" * 99}"' in page


def test_an_address_may_name_the_longest_workspace_in_any_script() -> None:
    name = "😀" * 120

    assert name in ask(f"/?workspace={quote(name)}&q=x").text


def test_how_the_polling_goes_is_looked_at_once_a_second_for_all_who_ask() -> None:
    web, looks = looked()

    async def go(web: Web) -> None:
        for _ in range(20):
            await asyncio.gather(*(call(web, "/api/v1/status") for _ in range(50)))
            await asyncio.gather(*(call(web, "/", query=b"q=a") for _ in range(50)))
        assert len(looks) == 2
        await asyncio.sleep(HELD + 0.1)
        await call(web, "/api/v1/status")
        assert len(looks) == 3

    together(go, web)


def test_whoever_asks_for_many_pages_and_goes_has_none_made() -> None:
    web, looks = looked()

    async def go(web: Web) -> None:
        asked = [
            asyncio.ensure_future(call(web, "/", query=b"q=%d" % number)) for number in range(500)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(1)
        assert len(looks) <= 1
        assert (await call(web, "/"))[0]["status"] == 200

    together(go, web)


@pytest.mark.parametrize("reports", [1, 30], ids=["short-pages", "long-pages"])
def test_what_makes_the_pages_takes_no_more_than_a_quarter_of_the_time(reports: int) -> None:
    busy = 0.0

    def slow(rest: Rest) -> Status:
        nonlocal busy
        for _ in range(reports):
            begun = time.monotonic()
            time.sleep(0.0015)
            busy += time.monotonic() - begun
            rest()
        return Status("0.1.0", NOW, ())

    async def go(web: Web) -> None:
        begun = time.monotonic()
        await asyncio.gather(*(call(web, "/", query=b"q=%d" % number) for number in range(10)))
        assert busy < 0.3 * (time.monotonic() - begun)

    together(go, app(status=lambda: slow))


def test_who_reads_how_the_polling_goes_all_the_time_gets_16_mib_a_second() -> None:
    long = Status("0" * 2**20, NOW, ())

    async def go(web: Web) -> None:
        begun = time.monotonic()
        await asyncio.gather(*(call(web, "/api/v1/status") for _ in range(16)))
        assert time.monotonic() - begun > 0.9

        gone = [asyncio.ensure_future(call(web, "/api/v1/status")) for _ in range(100)]
        await asyncio.sleep(0.05)
        for task in gone:
            task.cancel()
        begun = time.monotonic()
        packed = [(b"accept-encoding", b"gzip")]
        await asyncio.gather(
            *(call(web, "/api/v1/status") for _ in range(4)),
            *(call(web, "/api/v1/status", headers=packed) for _ in range(16)),
        )
        assert time.monotonic() - begun < 0.9

    together(go, app(status=lambda: lambda _: long))


def test_a_page_that_could_not_be_made_is_made_anew_for_the_next() -> None:
    tries = 0

    def status() -> Look:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError
        return lambda _: Status("0.1.0", NOW, ())

    async def go(web: Web) -> None:
        with pytest.raises(RuntimeError):
            await call(web, "/")
        assert (await call(web, "/"))[0]["status"] == 200

    together(go, app(status=status))


def test_a_scrape_that_goes_does_not_stop_the_snapshot_that_others_need() -> None:
    made = 0

    async def slow() -> Snapshot:
        nonlocal made
        await asyncio.sleep(0.05)
        made += 1
        return await empty()

    async def go(web: Web) -> None:
        asked = asyncio.ensure_future(call(web, "/metrics"))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.sleep(0.1)

    together(go, app(snapshot=slow))
    assert made == 1


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics"])
def test_every_large_page_is_compressed_if_that_is_allowed(path: str) -> None:
    packed = ask(path, headers={"accept-encoding": "gzip"})
    plain = ask(path, headers={"accept-encoding": "gzip;q=0"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_large_page_is_sent_in_bounded_portions(encoding: str) -> None:
    # Of each, the kernel may leave all to us, for as long as a slow client likes.
    bodies: list[bytes] = []

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])

    async def go() -> None:
        scope = {"method": "GET", "headers": [(b"accept-encoding", encoding.encode())]}
        parts = [os.urandom(size) for size in (10, 70_000, 70_000, 300_000, 5)]
        page = Piece.joined(map(Piece.of, parts)).grouped()
        for body in (page, Piece.joined(map(Piece.of, parts)), b"".join(parts)[:PORTION]):
            bodies.clear()
            await reply(scope, send, Answer(200, body))
            assert max(map(len, bodies)) <= PORTION
            sent = b"".join(bodies)
            if encoding == "gzip" and isinstance(body, Piece):
                sent = gzip.decompress(sent)
            assert b"".join(parts).startswith(sent)
            assert len(sent) in {PORTION, sum(map(len, parts))}

    asyncio.run(go())


def test_a_header_that_is_no_scrapers_takes_no_time() -> None:
    begun = time.perf_counter()
    for number in range(200):
        header = f"{number}{',;' * 8000}gzip"
        answer = ask("/metrics", headers={"accept": header, "accept-encoding": header})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
    assert time.perf_counter() - begun < 4


def test_a_header_longer_than_a_scrapers_is_not_read() -> None:
    assert ask("/metrics", headers={"accept-encoding": "br;q=0.1, " * 90 + "gzip"}).headers[
        "content-encoding"
    ]
    longer = ask("/metrics", headers={"accept-encoding": "br;q=0.1, " * 110 + "gzip"})
    assert "content-encoding" not in longer.headers
