"""Whatever a scraper sends, the answer is one of a few, whole, and none of them is a 5xx."""

import asyncio
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st
from support.fuzz import examples

from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.snapshot import Snapshot, snapshot
from exporter.metrics.store import Store
from exporter.polling.status import Status
from exporter.web.app import Web

NOW: Final = datetime(2026, 11, 21, tzinfo=UTC)
TYPES: Final = {
    b"text/plain; version=0.0.4; charset=utf-8",
    b"application/openmetrics-text; version=1.0.0; charset=utf-8",
}


async def _snapshot() -> Snapshot:
    return snapshot(Store().generation(), NOW)


WEB: Final = Web(
    snapshot=_snapshot,
    own=lambda openmetrics: [Piece.of(b"own 1\n# EOF\n" if openmetrics else b"own 1\n")],
    ready=lambda: True,
    status=lambda: lambda _: Status("0", NOW, ()),
)

media = st.sampled_from(
    [
        *("text/plain", "text/*", "*/*", "application/openmetrics-text", "application/json"),
        *("application/vnd.google.protobuf", "", " ", "/", "TEXT/PLAIN"),
    ]
)
parameters = st.sampled_from(
    [
        *("q=0", "q=1", "q=0.5", "q=nan", "q=inf", "q=-1", "q=1e999", "q=", "q", "Q=1", "q=1;q=0"),
        *("version=0.0.4", "version=1.0.0", "version=0.0.1", "version=abc", "version=", "=", ";"),
        *("escaping=allow-utf-8", 'version="1.0.0"', "charset=utf-8", "proto=io.prometheus", '"'),
    ]
)
choices = st.builds(lambda name, more: ";".join([name, *more]), media, st.lists(parameters))
codings = st.sampled_from(
    ["gzip", "GZIP", "*", "br", "identity", "zstd", "x-gzip", "", "gzip gzip"]
)
coded = st.builds(lambda name, more: ";".join([name, *more]), codings, st.lists(parameters))
junk = st.binary(max_size=300) | st.just(b"\xff" * 10_000) | st.just(b"," * 10_000)
accepts = st.lists(choices).map(lambda each: ",".join(each).encode()) | junk
encodings = st.lists(coded).map(lambda each: ",".join(each).encode()) | junk
names = st.sampled_from([b"accept", b"accept-encoding", b"host", b"cookie", b"x-junk", b"range"])
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "TRACE", "OPTIONS", "CONNECT", "get", "X"])
routes = st.sampled_from(["/metrics", "/", "/-/healthy", "/-/ready", "/api/v1/status"])
paths = routes | st.text(max_size=30).map("/".__add__) | st.sampled_from(["*", "//metrics"])
queries = junk | st.text(max_size=100).map(lambda text: ("q=" + text).encode("utf-8", "replace"))


def asked(scope: Mapping[str, Any]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of an answer, sent in the one order that ASGI knows."""
    sent: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request"}

    asyncio.run(WEB({"type": "http", **scope}, receive, send))
    start, *pieces = sent
    assert start["type"] == "http.response.start"
    assert all(piece["type"] == "http.response.body" for piece in pieces)
    assert [piece.get("more_body", False) for piece in pieces[-1:]] == [False]
    return start["status"], dict(start["headers"]), b"".join(piece["body"] for piece in pieces)


@examples(100, 20_000)
@given(
    headers=st.lists(st.tuples(names, accepts | encodings | junk), max_size=6),
    accept=accepts,
    encoding=encodings,
    query=queries,
)
def test_the_page_comes_whatever_the_headers_say(
    headers: list[tuple[bytes, bytes]], accept: bytes, encoding: bytes, query: bytes
) -> None:
    given_ = [*headers, (b"accept", accept), (b"accept-encoding", encoding)]
    scope = {"method": "GET", "path": "/metrics", "query_string": query, "headers": given_}
    status, answered, body = asked(scope)

    assert status == 200
    assert answered[b"content-type"] in TYPES
    assert answered[b"vary"] == b"Accept, Accept-Encoding"
    assert int(answered[b"content-length"]) == len(body)
    text = gzip.decompress(body) if b"content-encoding" in answered else body
    assert text.startswith(b"own 1\n")
    assert text.endswith(b"# EOF\n") == (b"openmetrics" in answered[b"content-type"])
    refused = b"gzip" not in encoding.lower() and b"*" not in encoding
    if not any(name == b"accept-encoding" for name, _ in headers) and refused:
        assert b"content-encoding" not in answered


@examples(300, 50_000)
@given(method=methods, path=paths, query=queries, header=st.tuples(names, junk))
def test_every_request_gets_one_of_a_few_answers(
    method: str, path: str, query: bytes, header: tuple[bytes, bytes]
) -> None:
    scope = {"method": method, "path": path, "query_string": query, "headers": [header]}
    status, answered, body = asked(scope)

    known = path in {"/metrics", "/", "/-/healthy", "/-/ready", "/api/v1/status"}
    assert status == (404 if not known else 200 if method in {"GET", "HEAD"} else 405)
    if method != "HEAD":
        assert int(answered[b"content-length"]) == len(body)
    if status != 200:
        assert body in {b"Not Found\n", b"Method Not Allowed\n", b""}


@pytest.mark.parametrize("host", [b"", b"\xff", b"evil.invalid", b"a" * 10_000], ids=ascii)
def test_no_host_is_repeated(host: bytes) -> None:
    scope = {"method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", host)]}
    status, answered, body = asked(scope)

    assert status == 200
    assert not host or host not in body + b"".join(answered.values())
