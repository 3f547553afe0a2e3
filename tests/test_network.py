"""The way to the API over real connections: whom we believe, who we are, and through whom we go."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.loopback import Answers, Authority, listening
from support.workspaces import KEY, workspace

from exporter import paths
from exporter.client import Client
from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed

GOOD = {"total_usage": {"total_chat_responses": 1}}
HOST = "IP:127.0.0.1"


def good() -> Answers:
    return lambda _: (200, GOOD)


def at(url: str, **http: object) -> Workspace:
    """A workspace whose API is elsewhere."""
    given = {name: str(value) for name, value in http.items()}
    return workspace(["total_usage"], base_url=url, http=given)


def ask(one: Workspace) -> object:
    """What one request brings."""

    async def go() -> object:
        client = Client(one)
        try:
            return await client.report(one.url, {"metrics": ["total_usage"]}, KEY)
        finally:
            await client.close()

    return asyncio.run(go())


def failed(one: Workspace) -> Outcome:
    with pytest.raises(RequestFailed) as caught:
        ask(one)
    assert KEY not in str(caught.value)
    return caught.value.outcome


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "authority")


def test_a_certificate_of_the_configured_authority_is_believed(authority: Authority) -> None:
    with listening(good(), authority.serves(HOST)) as api:
        assert ask(at(api.url("https"), ca_file=authority.certificate)) == GOOD

    assert [asked.line for asked in api.asked] == [f"POST {paths.SEACHAT_REPORT}"]


def test_a_certificate_that_nobody_vouches_for_is_not_believed_and_the_key_is_kept(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nor is one that the environment vouches for.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder))
    with listening(good(), authority.serves(HOST)) as api:
        assert failed(at(api.url("https"))) is Outcome.CONNECT

    assert api.asked == []


def test_a_certificate_of_another_authority_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    another = Authority.made(tmp_path, "another")
    with listening(good(), authority.serves(HOST)) as api:
        one = at(api.url("https"), ca_file=another.certificate)
        assert failed(one) is Outcome.CONNECT

    assert api.asked == []


def test_a_certificate_for_another_name_is_not_believed(authority: Authority) -> None:
    with listening(good(), authority.serves("DNS:chat.seasalt.ai", "IP:127.0.0.2")) as api:
        one = at(api.url("https"), ca_file=authority.certificate)
        assert failed(one) is Outcome.CONNECT

    assert api.asked == []


@pytest.mark.parametrize("together", [False, True], ids=["two-files", "one-file"])
def test_the_configured_certificate_is_shown_to_the_api(
    authority: Authority, tmp_path: Path, together: bool
) -> None:
    certificate, key = authority.signs("customer", "extendedKeyUsage=clientAuth")
    http: dict[str, Any] = {"cert_file": certificate, "key_file": key}
    if together:
        http = {"cert_file": tmp_path / "both.pem"}
        http["cert_file"].write_text(certificate.read_text() + key.read_text())
    server = authority.serves(HOST)
    server.load_verify_locations(authority.certificate)
    server.verify_mode = ssl.CERT_REQUIRED

    with listening(good(), server) as api:
        assert ask(at(api.url("https"), ca_file=authority.certificate, **http)) == GOOD
        assert failed(at(api.url("https"), ca_file=authority.certificate)) is Outcome.CONNECT

    (asked,) = api.asked
    assert asked.certificate["subject"] == ((("commonName", "customer"),),)


def test_a_configured_proxy_takes_every_request_to_an_http_api() -> None:
    with listening(good()) as api, listening(lambda _: (200, {"proxied": True})) as proxy:
        assert ask(at(api.url(), proxy_url=proxy.url())) == {"proxied": True}

    assert api.asked == []
    assert [asked.line for asked in proxy.asked] == [f"POST {api.url()}{paths.SEACHAT_REPORT}"]


def test_a_configured_proxy_sees_nothing_of_an_https_request_but_its_host(
    authority: Authority,
) -> None:
    with listening(good(), authority.serves(HOST)) as api, listening(good()) as proxy:
        through = proxy.url().replace("//", "//me:secret@")
        one = at(api.url("https"), ca_file=authority.certificate, proxy_url=through)
        assert ask(one) == GOOD

    (tunnel,), (asked,) = proxy.asked, api.asked
    assert tunnel.line == f"CONNECT 127.0.0.1:{api.port}"
    assert tunnel.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    assert "x-api-key" not in tunnel.headers
    assert asked.headers["x-api-key"] == KEY
    assert "proxy-authorization" not in asked.headers


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    with listening(good()) as api, listening(good()) as proxy:
        monkeypatch.setenv(variable, proxy.url())
        assert ask(at(api.url())) == GOOD

    assert proxy.asked == []
    assert len(api.asked) == 1


def seen_by(one: Workspace) -> httpx.Request:
    """One request as it leaves us."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise httpx.ConnectError("nobody there")

    async def go() -> None:
        client = Client(one, httpx.MockTransport(handler))
        with pytest.raises(RequestFailed):
            await client.report(one.url, {}, KEY)
        await client.close()

    asyncio.run(go())
    return seen[0]


def test_only_what_can_be_read_is_asked_for() -> None:
    headers = seen_by(workspace()).headers

    assert headers["accept-encoding"] == "gzip"
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("seasalt-exporter/")


def test_a_connection_and_each_silence_have_time_outs_of_their_own() -> None:
    times = seen_by(workspace(timeout="5m")).extensions["timeout"]

    # Waiting for a connection of our own pool is no fault of the API's.
    assert times == {"connect": 10, "read": 30, "write": 30, "pool": None}


def test_there_are_connections_for_what_may_be_in_flight_and_one_for_the_list_of_bots() -> None:
    pool = Client(workspace(concurrency=7))._http._transport._pool  # type: ignore[attr-defined]  # noqa: SLF001 - where httpx keeps it

    assert pool._max_connections == 7 + 1  # noqa: SLF001
    assert pool._max_keepalive_connections == 7  # noqa: SLF001
