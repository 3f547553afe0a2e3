import asyncio
import gc
import gzip
import json
import re
import shutil
import ssl
import subprocess
import time
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import certifi
import httpx
import pytest
from hypothesis import given, strategies as st
from support.api import pieces
from support.loopback import Authority
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import NoConnection, Outcome, RequestFailed, StartError
from exporter.model import api_paths
from exporter.upstream.answer import (
    BYTES_A_CHUNK,
    DEEPEST,
    LARGEST_BODY,
    LARGEST_ON_WIRE,
    MOST_CHUNKS,
    Answer,
    read,
)
from exporter.upstream.client import Client, trust

GOOD = b'{"total_usage": {"total_chat_responses": 1}}'


def response(status: int = 200, *content: bytes, **headers: str) -> httpx.Response:
    return httpx.Response(status, content=pieces(*content), headers=headers)


def answer(
    handler: Callable[[httpx.Request], Any],
    api: str = "seachat",
    **others: Any,  # noqa: ANN401
) -> Answer:
    """What a client makes of an API that answers so."""
    one = workspace(["total_usage"], api=api, **others)

    async def go() -> Answer:
        client = Client(one, httpx.MockTransport(handler))
        try:
            return await client.report(one.url, {"metrics": ["total_usage"]}, KEY)
        finally:
            await client.close()

    return World().run(go)


def ask(handler: Callable[[httpx.Request], Any]) -> object:
    """The content of what it makes of it."""
    return answer(handler).content


def failure(handler: Callable[[httpx.Request], Any], **others: Any) -> RequestFailed:  # noqa: ANN401
    with pytest.raises(RequestFailed) as caught:
        answer(handler, **others)
    assert KEY not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_the_request_carries_the_key_in_its_header_and_json_in_its_body() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return response(200, GOOD)

    assert ask(handler) == json.loads(GOOD)

    (request,) = seen
    assert request.method == "POST"
    assert str(request.url) == "https://chat.seasalt.ai" + api_paths.SEACHAT_REPORT
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in request.headers
    assert "cookie" not in request.headers
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"metrics": ["total_usage"]}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.CLIENT_ERROR),
        (401, Outcome.UNAUTHORIZED),
        (403, Outcome.UNAUTHORIZED),
        (404, Outcome.CLIENT_ERROR),
        (409, Outcome.CLIENT_ERROR),
        (422, Outcome.CLIENT_ERROR),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.SERVER_ERROR),
        (503, Outcome.SERVER_ERROR),
        (204, Outcome.INVALID),
        (301, Outcome.INVALID),
        (307, Outcome.INVALID),
    ],
)
def test_a_status_has_its_outcome(status: int, outcome: Outcome) -> None:
    told = failure(lambda _: response(status, b'{"detail": "' + KEY.encode() + b'"}'))

    assert (told.outcome, told.status) == (outcome, status)


@pytest.mark.parametrize("code", [40007, "40007"], ids=["number", "text"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_apis_own_code_for_a_bad_key_counts_at_any_status(status: int, code: object) -> None:
    body = {
        "detail": f"The token: {KEY} decoding failed.",
        "code": code,
        "parameters": {"token": KEY},
    }

    told = failure(lambda _: response(status, json.dumps(body).encode()))

    assert told.outcome is Outcome.UNAUTHORIZED
    assert "SeaChat API Access" in str(told)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"detail": "no", "code": 40007}, {"retry-after": "60"}),
        ({"detail": "no", "code": 40007, "incident": "x"}, {}),
    ],
    ids=["with a wait", "in another form"],
)
def test_the_code_for_a_bad_key_judges_none_where_something_before_the_api_says_it(
    body: object, headers: Mapping[str, str]
) -> None:
    told = failure(lambda _: response(503, json.dumps(body).encode(), **headers))

    assert told.outcome is Outcome.SERVER_ERROR
    assert told.wish == (60 if headers else None)
    assert ask(lambda _: response(200, b'{"code": 40007, "incident": "x"}'))


HTML = b"<html><title>Just a moment...</title></html>"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("headers", "body", "says", "wish"),
    [
        ({"content-type": "text/html"}, HTML, "not JSON but text/html", None),
        ({"content-type": "text/html"}, b"", "not JSON but text/html", None),
        ({}, HTML, "not JSON", None),
        ({}, b"", "not JSON", None),
        ({}, HTML + b" " * 100_000, "not JSON", None),
        ({"content-encoding": "br"}, HTML, "not JSON", None),
        (
            {"content-type": "application/json"},
            b'{"success": false}',
            "not in the API's form",
            None,
        ),
        ({"content-type": "application/json"}, b'["detail"]', "not in the API's form", None),
        ({"retry-after": "30"}, b'{"detail": "slow down"}', "which asks to wait", 30),
        ({"retry-after": "30", "content-type": "text/html"}, HTML, "which asks to wait", 30),
    ],
    ids=[
        "page",
        "empty-page",
        "no-type",
        "nothing",
        "long",
        "coded",
        "other",
        "list",
        "waits",
        "page-waits",
    ],
)
def test_a_refusal_from_before_the_api_is_no_judgement_of_the_key(
    status: int, headers: dict[str, str], body: bytes, says: str, wish: float | None
) -> None:
    told = failure(lambda _: response(status, body, **headers))

    assert (told.outcome, told.status, told.own) == (Outcome.RATE_LIMITED, status, False)
    assert told.wish == wish
    assert str(told) == f"HTTP {status} from something before the API, {says}"


@pytest.mark.parametrize("status", [401, 403, 404, 422, 500])
@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": "why"}',
        b'{"detail": [{"loc": []}]}',
        b'{"message": "why", "code": "x", "status_code": 4}',
    ],
    ids=["text", "list", "message"],
)
def test_a_refusal_in_the_apis_own_form_is_told_as_its_own(status: int, body: bytes) -> None:
    assert failure(lambda _: response(status, body)).own
    assert not failure(lambda _: response(status, HTML)).own


@pytest.mark.parametrize(
    "kind",
    [
        *("text/json", "text/plain; charset=utf-8", "application/octet-stream"),
        *("application/x-json", "text/javascript", "application/json, application/json"),
    ],
)
def test_json_of_another_media_type_is_read_and_odd(kind: str) -> None:
    def headed(kind: str) -> Answer:
        return answer(lambda _: response(200, GOOD, **{"content-type": kind}))

    odd = headed(kind)
    assert (odd.content, odd.odd) == (json.loads(GOOD), True)
    assert not headed("application/json").odd
    told = failure(lambda _: response(200, b"hello", **{"content-type": kind}))
    assert str(told) == f"HTTP 200, not JSON, said to be {kind.partition(';')[0]}"


def test_of_two_wishes_the_larger_counts() -> None:
    headers = [("Retry-After", wish) for wish in ("5", "120", "60")]
    told = failure(lambda _: httpx.Response(429, content=pieces(b"{}"), headers=headers))

    assert told.wish == 120


def test_an_answer_that_costs_too_much_is_a_fault_that_the_breaker_counts() -> None:
    content = b'{"label_usage":{"data":[' + b"{}," * 300_000 + b"{}]}}"

    told = failure(lambda _: response(200, content))

    assert told.fault
    assert (told.outcome, told.status) == (Outcome.INVALID, 200)
    assert not failure(lambda _: response(200, b"{")).fault


def test_large_answers_are_read_one_at_a_time_or_they_would_take_the_memory_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now: list[int] = []
    most: list[int] = []

    def slow(content: bytes) -> object:
        now.append(1)
        most.append(len(now))
        time.sleep(0.02)
        now.pop()
        return read(content)

    large = b'{"csat": "' + b"0" * 70_000 + b'"}'

    async def go() -> None:
        one = workspace()
        client = Client(one, httpx.MockTransport(lambda _: response(200, large)))
        asked = (client.report(one.url, {"metrics": ["csat"]}, KEY) for _ in range(3))
        assert [found.large for found in await asyncio.gather(*asked)] == [True] * 3
        await client.close()

    monkeypatch.setattr("exporter.upstream.client.read", slow)
    asyncio.run(go())
    assert set(most) == {1}


@pytest.mark.parametrize("own", [True, False], ids=["of-the-reports", "of-the-list"])
def test_an_answer_that_holds_a_key_that_was_sent_is_refused(own: bool) -> None:
    key = KEY if own else "sk-another-canary-9876543210"
    one = workspace(["total_usage"], workspace_id="w")

    def handler(request: httpx.Request) -> httpx.Response:
        return response(
            200, GOOD if request.method == "GET" else b'{"a":["x ' + key.encode() + b'"]}'
        )

    async def go() -> str:
        client = Client(one, httpx.MockTransport(handler))
        await client.bots(0, "sk-another-canary-9876543210")
        with pytest.raises(RequestFailed) as caught:
            await client.report(one.url, {}, KEY)
        await client.close()
        return str(caught.value)

    assert World().run(go) == "HTTP 200, with the key that was sent in it"


@pytest.mark.parametrize(
    "location",
    [
        "mailto:x",
        "https:login",
        "http:x",
        "data:,x",
        "http://xn--/",
        "http://[",
        "http://[::1",
        "//",
        "\x7f",
    ],
    ids=ascii,
)
def test_a_redirect_that_leads_nowhere_is_a_failed_request(location: str) -> None:
    told = failure(lambda _: response(302, location=location))

    assert (told.outcome, str(told), told.status) == (Outcome.INVALID, "HTTP 302", 302)


@pytest.mark.parametrize(
    "code", [b"1e999", b"-1", b"[]", b"null", b'"x"', b'"\xc2\xb2"', b"1" * 400, b"true"], ids=ascii
)
def test_an_odd_error_code_is_no_reason_to_stop(code: bytes) -> None:
    told = failure(lambda _: response(400, b'{"detail": "x", "code": ' + code + b"}"))

    assert told.outcome is Outcome.CLIENT_ERROR


def test_no_cookie_is_kept() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return response(200, GOOD, **{"set-cookie": "session=1; Path=/"})

    one = workspace(["total_usage"])

    async def go() -> None:
        client = Client(one, httpx.MockTransport(handler))
        for _ in range(2):
            await client.report(one.url, {}, KEY)
        await client.close()

    World().run(go)
    assert len(seen) == 2
    assert all("cookie" not in request.headers for request in seen)


def test_certificates_are_checked() -> None:
    for url in ("https://chat.seasalt.ai", "HTTPS://chat.seasalt.ai"):
        client = Client(workspace(base_url=url))
        context = client._http._transport._tls  # type: ignore[attr-defined]  # noqa: SLF001 - where it is kept
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<!DOCTYPE html><title>Sign in</title>", id="html"),
        pytest.param(b'{"a": NaN}', id="nan"),
        pytest.param(b'{"a": 1,}', id="trailing-comma"),
        pytest.param(b'{"a": 1', id="truncated"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'{"a": 1\xff}', id="bad-utf-8"),
        pytest.param(b'{"a": "\\ud8"}', id="half-an-escape"),
        pytest.param(b"null", id="null"),
    ],
)
def test_what_is_not_strict_json_is_a_failed_request(body: bytes) -> None:
    assert failure(lambda _: response(200, body)).outcome is Outcome.INVALID


def test_a_byte_order_mark_is_passed_over() -> None:
    assert ask(lambda _: response(200, b"\xef\xbb\xbf" + GOOD)) == json.loads(GOOD)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", gzip.compress(GOOD), id="gzip"),
        pytest.param("deflate", zlib.compress(GOOD), id="deflate"),
        pytest.param("identity", GOOD, id="identity"),
        pytest.param("GZIP", gzip.compress(GOOD), id="upper-case"),
        pytest.param("gzip, identity", gzip.compress(GOOD), id="and-identity"),
    ],
)
def test_an_encoded_answer_is_unfolded(encoding: str, body: bytes) -> None:
    halves = body[: len(body) // 2], body[len(body) // 2 :]

    found = ask(lambda _: response(200, *halves, **{"content-encoding": encoding}))

    assert found == json.loads(GOOD)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", GOOD, id="not-gzip"),
        pytest.param("gzip", gzip.compress(GOOD)[:-9], id="truncated"),
        pytest.param("br", GOOD, id="not-asked-for"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(GOOD)), id="twice"),
    ],
)
def test_what_cannot_be_unfolded_is_a_failed_request(encoding: str, body: bytes) -> None:
    told = failure(lambda _: response(200, body, **{"content-encoding": encoding}))

    assert told.outcome is Outcome.INVALID


def padded(size: int) -> bytes:
    """Good JSON of some length."""
    return GOOD + b" " * (size - len(GOOD))


@pytest.mark.parametrize(
    ("encoding", "fits", "too_large"),
    [
        pytest.param(
            "gzip",
            gzip.compress(padded(LARGEST_BODY)),
            gzip.compress(padded(LARGEST_BODY + 1)),
            id="unfolded",
        ),
        pytest.param("identity", padded(LARGEST_BODY), padded(LARGEST_BODY + 1), id="not-folded"),
        pytest.param(
            "gzip",
            gzip.compress(padded(LARGEST_ON_WIRE - 4096), compresslevel=0),
            gzip.compress(padded(LARGEST_ON_WIRE), compresslevel=0),
            id="wire",
        ),
    ],
)
def test_an_answer_is_read_up_to_its_bound_and_no_further(
    encoding: str, fits: bytes, too_large: bytes
) -> None:
    headers = {"content-encoding": encoding}

    assert ask(lambda _: response(200, fits, **headers)) == json.loads(GOOD)
    told = failure(lambda _: response(200, too_large, **headers))
    assert str(told) == "HTTP 200, too large"


def test_a_bomb_is_not_unfolded_beyond_the_bound() -> None:
    bomb = gzip.compress(b" " * (20 * LARGEST_BODY))
    tracemalloc.start()
    try:
        failure(lambda _: response(200, bomb, **{"content-encoding": "gzip"}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * LARGEST_BODY


def test_a_slow_answer_ends_at_the_deadline_whatever_comes_meanwhile() -> None:
    drops: list[bytes] = []

    async def drip() -> AsyncIterator[bytes]:
        while True:
            drops.append(b" ")
            yield drops[-1]
            await asyncio.sleep(0.5)

    told = failure(lambda _: httpx.Response(200, content=drip()), timeout="10s")

    assert told.outcome is Outcome.TIMEOUT
    assert 19 <= len(drops) <= 21  # ten seconds of them, not all that would fit in an answer


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_an_answer_comes_in_so_many_chunks_and_no_more(coding: str) -> None:
    def sent(size: int, step: int) -> httpx.Response:
        whole = GOOD + b" " * size
        whole = gzip.compress(whole, 0) if coding == "gzip" else whole
        cut = [whole[at : at + step] for at in range(0, len(whole), step)]
        return response(200, *cut, **{"content-encoding": coding})

    assert ask(lambda _: sent(30_000, 1)) == json.loads(GOOD)
    assert ask(lambda _: sent(4 * MOST_CHUNKS * BYTES_A_CHUNK // 16, 2 * BYTES_A_CHUNK))
    told = failure(lambda _: sent(40_000, 1))
    assert str(told) == "HTTP 200, too many chunks"
    assert told.fault


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


BROKE = "the connection broke before the answer was whole"


@pytest.mark.parametrize(
    ("error", "outcome", "says"),
    [
        (httpx.ConnectError(KEY), Outcome.CONNECT, "the API cannot be reached (ConnectError)"),
        (httpx.ReadError(KEY), Outcome.CONNECT, f"{BROKE} (ReadError)"),
        (httpx.RemoteProtocolError(KEY), Outcome.CONNECT, f"{BROKE} (RemoteProtocolError)"),
        (
            httpx.ProxyError(KEY),
            Outcome.CONNECT,
            "the proxy does not let us through (ProxyError)",
        ),
        (httpx.ConnectTimeout(KEY), Outcome.TIMEOUT, "no connection in time"),
        (httpx.ReadTimeout(KEY), Outcome.TIMEOUT, "no answer in time"),
        (OSError(5, KEY), Outcome.CONNECT, "no connection (OSError)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_network_error_is_told_in_our_words_and_by_its_kind_alone(
    error: Exception, outcome: Outcome, says: str
) -> None:
    told = failure(raising(error))

    assert (told.outcome, str(told)) == (outcome, says)
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
    assert isinstance(told, NoConnection) is unsent


def context(one: Workspace) -> ssl.SSLContext:
    found = trust(one)
    assert isinstance(found, ssl.SSLContext)
    return found


def test_workspaces_whose_files_hold_the_same_share_one_context(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "ca")
    for name in ("one", "two"):
        authority.signs(name, "subjectAltName=IP:127.0.0.1")
    shutil.copy(tmp_path / "ca.pem", tmp_path / "same.pem")

    def given(ca: str, own: str = "") -> ssl.SSLContext:
        http = {"ca_file": str(tmp_path / ca)}
        if own:
            http |= {f"{kind}_file": str(tmp_path / f"{own}.{end}") for kind, end in PEM.items()}
        return context(workspace(name=f"{ca} {own}", http=http))

    usual = context(workspace(name="a"))
    assert context(workspace(name="b", api="portal")) is usual
    authorities = given("ca.pem")
    assert authorities is not usual
    assert given("same.pem") is authorities
    first = given("ca.pem", "one")
    assert first is not authorities
    assert given("same.pem", "one") is first
    assert given("ca.pem", "two") is not first
    (tmp_path / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes() + b"# changed\n")
    assert given("ca.pem") is not authorities


PEM = {"cert": "pem", "key": "key"}


def test_a_context_that_nobody_uses_is_gone(tmp_path: Path) -> None:
    shutil.copy(certifi.where(), tmp_path / "ca.pem")
    seen = weakref.ref(context(workspace(http={"ca_file": str(tmp_path / "ca.pem")})))
    gc.collect()
    assert seen() is None


def test_a_hundred_workspaces_take_the_memory_and_the_time_of_one() -> None:
    some = [workspace(["total_usage"], name=f"w{number}") for number in range(100)]
    first = trust(some[0])
    begun = time.process_time()
    clients = [Client(one) for one in some]
    assert time.process_time() - begun < 1
    assert {id(trust(one)) for one in some} == {id(first)}
    assert len(clients) == 100


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    Authority.made(tmp_path, "ca").signs("one", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", str(tmp_path / "one.key")]
    subprocess.run([*command, "-out", str(tmp_path / "locked.key")], check=True)
    one = workspace(
        http={"cert_file": str(tmp_path / "one.pem"), "key_file": str(tmp_path / "locked.key")}
    )
    with pytest.raises(StartError, match=r"certificates cannot be used: .* without a password$"):
        trust(one)


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_a_certificate_of_2_gib_is_refused_without_being_read(tmp_path: Path, name: str) -> None:
    Authority.made(tmp_path, "ca").signs("one", "subjectAltName=IP:127.0.0.1")
    files = {"ca_file": "ca.pem", "cert_file": "one.pem", "key_file": "one.key"}
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2_255_000_000)
    http = {key: str(tmp_path / file) for key, file in (files | {name: "huge"}).items()}
    tracemalloc.start()
    with pytest.raises(StartError, match=f"cannot be used: http.{name} must not be larger than"):
        trust(workspace(http=http))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_the_keys_of_a_session_are_written_down_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    shutil.copy(certifi.where(), tmp_path / "ca.pem")
    one = workspace(http={"ca_file": str(tmp_path / "ca.pem")})
    assert context(one).keylog_filename is None


@pytest.mark.parametrize("url", ["https://[::1]", "https://[0:0::1]:8443", "https://A_b.net.:80"])
def test_an_address_that_is_odd_and_right_is_asked(url: str) -> None:
    Client(workspace(base_url=url))


@pytest.mark.parametrize(
    "url", ["https://[::1]evil.com", "https://300.300.300.300", "https://" + "a." * 40_000 + "b"]
)
def test_an_address_that_cannot_be_asked_keeps_the_exporter_from_starting(url: str) -> None:
    one = workspace().model_copy(update={"base_url": url})
    with pytest.raises(StartError, match="workspace acme: base_url is no address"):
        Client(one)


ELSEWHERE = [
    "https://evil.invalid" + api_paths.SEACHAT_REPORT,
    "http://chat.seasalt.ai" + api_paths.SEACHAT_REPORT,
    "https://chat.seasalt.ai:8443" + api_paths.SEACHAT_REPORT,
    "https://me@chat.seasalt.ai" + api_paths.SEACHAT_REPORT,
    "https://chat.seasalt.ai" + api_paths.SEACHAT_REPORT + "/",
    "https://chat.seasalt.ai" + api_paths.SEACHAT_REPORT + "/../x",
    "https://chat.seasalt.ai" + api_paths.SEACHAT_REPORT + "%2e",
    "https://chat.seasalt.ai" + api_paths.BOTS,  # there is GET alone
    "https://chat.seasalt.ai" + api_paths.PORTAL_REPORT,
    "/relative",
    "",
]


def leaving(url: str) -> list[str]:
    """What leaves when reports are asked at an address."""
    left: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        left.append(f"{request.method} {request.url}")
        return response(200, GOOD)

    async def go() -> None:
        client = Client(workspace(["total_usage"]), httpx.MockTransport(handler))
        with suppress(RequestFailed):
            await client.report(url, {}, KEY)
        await client.close()

    World().run(go)
    return left


@pytest.mark.parametrize("url", ELSEWHERE)
def test_nothing_is_sent_to_an_address_that_is_not_the_workspaces(url: str) -> None:
    assert leaving(url) == []


@given(
    st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["https", "http", "HTTPS", "file", ""]),
        st.sampled_from(["chat.seasalt.ai", "CHAT.seasalt.ai", "seasalt.ai", "127.0.0.1", ""]),
        st.sampled_from(["", ":443", ":80", ":1"]),
        st.sampled_from([api_paths.SEACHAT_REPORT, api_paths.BOTS, "/"]) | st.text(),
    )
    | st.text()
)
def test_no_request_leaves_but_those_that_are_meant(url: str) -> None:
    for left in leaving(url):
        assert (
            left.partition("?")[0].replace(":443/", "/")
            == "POST https://chat.seasalt.ai" + api_paths.SEACHAT_REPORT
        )


def test_portals_two_paths_and_the_list_of_bots_may_be_asked() -> None:
    left: list[tuple[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        left.append((request.method, request.url.path))
        return response(200, GOOD)

    async def go() -> None:
        portal = workspace(["total_usage"], api="portal", workspace_id="w")
        client = Client(portal, httpx.MockTransport(handler))
        await client.report(portal.url, {}, KEY)
        await client.report(portal.other_url, {}, KEY)
        await client.bots(0, KEY)
        await client.close()

    World().run(go)
    assert left == [
        ("POST", api_paths.PORTAL_REPORT),
        ("POST", api_paths.PORTAL_REPORT_OLD),
        ("GET", api_paths.BOTS),
    ]


BELOW: Final = "https://chat.seasalt.ai" + api_paths.BOTS
MODULES: Final = {"hours": {"question": "Open?", "answer": "nine"}}


def below(bot: str, conversation: str, **settings: Any) -> list[str]:  # noqa: ANN401 - keys of the file
    """What leaves when everything below a bot is asked."""
    left: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert "x-api-key" not in request.headers
        left.append(f"{request.method} {str(request.url).partition('?')[0]}")
        return response(200, GOOD)

    async def go() -> None:
        one = workspace(["label_overview"], bots=1, modules=MODULES, **settings)
        client = Client(one, httpx.MockTransport(handler))
        for ask in (
            client.files(bot, 0, KEY),
            client.conversation(bot, {}, KEY, 1.0),
            client.message(bot, conversation, {}, KEY, 1.0),
            client.messages(bot, conversation, 1, KEY, 1.0),
        ):
            with suppress(RequestFailed):
                await ask
        await client.close()

    World().run(go)
    return left


def test_a_probe_gives_up_a_connection_before_its_time_is_over() -> None:
    seen: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"]["connect"])
        return response(200, GOOD)

    async def go() -> None:
        one = workspace(bots=1, modules=MODULES, probes=["hours"])
        client = Client(one, httpx.MockTransport(handler))
        for seconds in (2.0, 30.0):
            await client.message("b0", "c1", {}, KEY, seconds)
        await client.close()

    World().run(go)
    assert seen == [1.0, 10.0]


FILES: Final = f"GET {BELOW}/b0/kb/files"
TALK: Final = [
    f"POST {BELOW}/b0/conversations/ops/get_or_create",
    f"POST {BELOW}/b0/conversations/c1/messages",
    f"GET {BELOW}/b0/conversations/c1/messages",
]


@pytest.mark.parametrize(
    ("settings", "leaves"),
    [
        ({}, []),
        ({"knowledge_base": True}, [FILES]),
        ({"probes": ["hours"]}, TALK),
        ({"probes": ["hours"], "knowledge_base": True}, [FILES, *TALK]),
    ],
    ids=["nothing", "knowledge base", "probes", "both"],
)
def test_below_a_bot_only_what_the_configuration_has_a_use_for_is_asked(  # T16
    settings: dict[str, object], leaves: list[str]
) -> None:
    assert below("b0", "c1", **settings) == leaves


@given(
    st.sampled_from(["..", ".", "", "b/c", "b?c", "b#c", "%2e%2e", "b\n", "b%2fc"]) | st.text(),
    st.sampled_from(["..", "../..", ".", "", "c1?x=", "c1/../../x", "%2e%2e"]) | st.text(),
)
def test_no_id_of_an_answer_leads_a_request_elsewhere(bot: str, conversation: str) -> None:
    ours = re.compile(
        rf"\w+ {re.escape(BELOW)}/[\w.:@-]+"
        r"/(kb/files|conversations/(ops/get_or_create|[\w.:@-]+/messages))",
        re.ASCII,
    )
    for left in below(bot, conversation, probes=["hours"], knowledge_base=True):
        assert ours.fullmatch(left)
        assert "/../" not in left


def test_a_probe_has_a_time_of_its_own() -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        return response(200, GOOD)

    async def go() -> float:
        one = workspace(bots=1, modules=MODULES, probes=["hours"])
        client = Client(one, httpx.MockTransport(handler))
        begun = asyncio.get_running_loop().time()
        with pytest.raises(RequestFailed) as failed:
            await client.message("b0", "c1", {}, KEY, 7.0)
        await client.close()
        assert failed.value.outcome is Outcome.TIMEOUT
        return asyncio.get_running_loop().time() - begun

    assert World().run(go) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/html", "HTTP 200, not JSON but text/html"),
        ("Text/HTML; charset=utf-8", "HTTP 200, not JSON but text/html"),
        ("text/csv", "HTTP 200, not JSON"),
        (f"text/{KEY}", "HTTP 200, not JSON"),
        ("application/jsonx", "HTTP 200, not JSON"),
        (";", None),
        ("application/json", None),
        ("application/JSON; charset=utf-8", None),
        ("application/problem+json", None),
    ],
)
def test_an_answer_that_says_it_is_no_json_is_not_taken_for_any(
    kind: str, text: str | None
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return response(200, GOOD, **{"content-type": kind})

    if text is None:
        assert ask(handler) == json.loads(GOOD)
    else:
        told = failure(handler)
        assert (told.outcome, str(told)) == (Outcome.INVALID, text)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=ascii)
def test_an_answer_has_so_many_levels_and_no_more(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        return opening * levels + b"1" + closing * levels

    ask(lambda _: response(200, nested(DEEPEST)))
    assert failure(lambda _: response(200, nested(DEEPEST + 1))).outcome is Outcome.INVALID


THEN = datetime.now(UTC) - timedelta(hours=1)
WITH_A_WISH = (404, 408, 413, 425, 500, 502, 504)


@pytest.mark.parametrize(
    ("status", "headers", "body", "wish"),
    [
        (429, {"retry-after": "120"}, b"{}", 120),
        (503, {"retry-after": "120"}, b"{}", 120),
        (429, {}, b'{"retry_after": 60}', 60),
        (429, {}, b"{}", None),
        *((status, {"retry-after": "120"}, b"{}", 120) for status in WITH_A_WISH),
        (301, {"retry-after": "120"}, b"{}", None),
        (
            429,
            {
                "retry-after": format_datetime(THEN + timedelta(seconds=20), usegmt=True),
                "date": format_datetime(THEN, usegmt=True),
            },
            b"{}",
            20,
        ),
    ],
    ids=["429", "503", "body", "none", *map(str, WITH_A_WISH), "301", "date"],
)
def test_what_the_api_wishes_comes_with_its_refusal(
    status: int, headers: dict[str, str], body: bytes, wish: float | None
) -> None:
    assert failure(lambda _: response(status, body, **headers)).wish == wish


def test_an_answer_to_a_key_that_was_rotated_meanwhile_is_refused_if_it_holds_it() -> None:
    old, new = "sk-canary-of-yesterday", "sk-canary-of-today"
    asked = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        key = request.headers["x-api-key"]
        if key == new:
            asked.set()
            return response(200, GOOD)
        await asked.wait()
        return response(200, b'{"total_usage": {}, "debug": "%s"}' % key.encode())

    async def go() -> str:
        client = Client(workspace(), httpx.MockTransport(handler))
        first = asyncio.ensure_future(client.report(workspace().url, {}, old))
        await asyncio.sleep(1)
        await client.report(workspace().url, {}, new)
        with pytest.raises(RequestFailed) as caught:
            await first
        await client.close()
        return str(caught.value)

    assert World().run(go) == "HTTP 200, with the key that was sent in it"


def test_the_status_counts_even_if_reading_the_body_fails_in_a_way_that_nobody_thought_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: object) -> object:
        raise RecursionError

    monkeypatch.setattr("exporter.upstream.client.read", broken)

    told = failure(lambda _: response(429, b"{}", **{"retry-after": "600"}))

    assert (told.outcome, told.wish) == (Outcome.RATE_LIMITED, 600)
