import asyncio
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from exporter.exposition import Snapshot, snapshot
from exporter.status import Status
from exporter.stitch import Piece
from exporter.store import Store
from exporter.web import Web, wants_gzip, wants_openmetrics

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


async def empty() -> Snapshot:
    return snapshot(Store().generation(), NOW)


def app(*, ready: bool = True, **others: Any) -> Web:  # noqa: ANN401
    return Web(
        snapshot=empty,
        own=lambda openmetrics: [Piece.of(b"own 1\n# EOF\n" if openmetrics else b"own 1\n")],
        ready=lambda: ready,
        status=lambda: lambda: Status("0.1.0", NOW, ()),
        **others,
    )


def ask(
    path: str, method: str = "GET", web: Web | None = None, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(web or app())  # type: ignore[arg-type]  # Web is looser
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(go())


def test_the_page_is_text_unless_openmetrics_is_preferred() -> None:
    plain, other = ask("/metrics"), ask("/metrics", headers={"accept": PROMETHEUS_3})

    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.text == "own 1\n"
    assert other.headers["content-type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert other.text == "own 1\n# EOF\n"


def test_the_page_is_compressed_if_that_is_allowed() -> None:
    packed = ask("/metrics", headers={"accept-encoding": "gzip"})
    plain = ask("/metrics", headers={"accept-encoding": "gzip;q=0"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept, Accept-Encoding"


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


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MADE-UP"]
)
def test_other_methods_are_not_allowed(method: str) -> None:
    answer = ask("/metrics", method)

    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "/METRICS",
        "/metrics%00",
        "/nope",
        "/../../etc/passwd",
        "/metrics;x",
        "/%ff",
    ],
)
def test_only_the_exact_routes_answer(path: str) -> None:
    answer = ask(path)

    assert (answer.status_code, answer.text) == (404, "Not Found\n")


def test_a_query_is_ignored() -> None:
    assert ask("/metrics?name[]=x").status_code == 200


def test_health_does_not_depend_on_the_api_and_readiness_does() -> None:
    waiting = app(ready=False)

    assert ask("/-/healthy", web=waiting).status_code == 200
    assert ask("/-/ready", web=waiting).status_code == 503
    assert ask("/-/ready").status_code == 200


def test_a_prefix_comes_before_every_route() -> None:
    web = app(route_prefix="/seasalt", telemetry_path="/m")

    assert ask("/seasalt/m", web=web).status_code == 200
    assert 'href="/seasalt/m"' in ask("/seasalt/", web=web).text
    assert ask("/seasalt/-/healthy", web=web).status_code == 200
    assert ask("/m", web=web).status_code == 404


def test_the_status_is_there_as_json_too() -> None:
    answer = ask("/api/v1/status")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "version": "0.1.0",
        "at": "2026-11-21T00:00:00+00:00",
        "workspaces": [],
    }


@pytest.mark.parametrize(
    "path", ["/", "/?q=x", "/?q=%ff%00", "/?q=" + "x" * 5000, "/api/v1/status"]
)
def test_nothing_on_the_status_page_is_run_or_fetched(path: str) -> None:
    answer = ask(path)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_status_page_leads_to_the_metrics() -> None:
    answer = ask("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert '<a href="/metrics">' in answer.text


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


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_header_makes_the_page_fail(accept: bytes, encoding: bytes) -> None:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "headers": [(b"accept", accept), (b"accept-encoding", encoding)],
    }
    asyncio.run(app()(scope, receive, send))

    assert sent[0]["status"] == 200
    body = b"".join(message.get("body", b"") for message in sent)
    headers = dict(sent[0]["headers"])
    assert int(headers[b"content-length"]) == len(body)
    text = gzip.decompress(body) if b"content-encoding" in headers else body
    assert text.startswith(b"own 1\n")


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
