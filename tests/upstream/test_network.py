"""The way to the API over real connections: whom we believe, who we are, and through whom we go."""

import asyncio
import json
import socket
import ssl
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.loopback import Answers, Authority, Elsewhere, listening
from support.processes import Ended, finished, free_port, started, wait_for
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed, StartError
from exporter.model import api_paths
from exporter.upstream.client import Client, trust

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
            return (await client.report(one.url, {"metrics": ["total_usage"]}, KEY)).content
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

    assert [asked.line for asked in api.asked] == [f"POST {api_paths.SEACHAT_REPORT}"]


def test_a_certificate_that_nobody_vouches_for_is_not_believed_and_the_key_is_kept(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nor is one that the environment vouches for.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder))
    with listening(good(), authority.serves(HOST)) as api:
        assert failed(at(api.url("https"))) is Outcome.CONNECT

    assert api.asked == []


@pytest.mark.parametrize("content", ["", "\n", "\0", "nobody"])
def test_a_file_of_no_authorities_is_no_reason_to_believe_all(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    empty = tmp_path / "ca.pem"
    empty.write_text(content)
    with pytest.raises(StartError, match=r"http\.ca_file must be certificates as PEM$"):
        trust(at("https://127.0.0.1:9", ca_file=empty))


def test_with_a_certificate_of_ones_own_the_environment_vouches_for_nobody(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder))
    certificate, key = authority.signs("alone", "extendedKeyUsage=clientAuth")
    with listening(good(), authority.serves(HOST)) as api:
        one = at(api.url("https"), cert_file=certificate, key_file=key)
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
    assert [asked.line for asked in proxy.asked] == [f"POST {api.url()}{api_paths.SEACHAT_REPORT}"]


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


def test_a_proxy_over_tls_is_believed_as_the_api_is(authority: Authority) -> None:
    tls = authority.serves(HOST)
    with listening(good(), tls) as api, listening(good(), tls) as proxy:
        through = proxy.url("https")
        assert ask(at(api.url("https"), ca_file=authority.certificate, proxy_url=through)) == GOOD
        assert failed(at(api.url("https"), proxy_url=through)) is Outcome.CONNECT


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "variable",
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
)
def test_a_proxy_of_the_environment_gets_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    tls = authority.serves(HOST) if scheme == "https" else None
    with listening(good(), tls) as api, listening(good()) as proxy:
        monkeypatch.setenv(variable, proxy.url())
        assert ask(at(api.url(scheme), ca_file=authority.certificate)) == GOOD

    assert proxy.connections == 0
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same-host", "other-host", "loop", "file", "nowhere"])
def test_no_redirect_is_followed(status: int, where: str) -> None:
    with listening(good()) as other:
        places = {
            "same-host": other.url(),
            "other-host": other.url(host="localhost"),
            "loop": api_paths.SEACHAT_REPORT,
            "file": "file:///etc/passwd",
            "nowhere": "http://[",
        }
        with listening(lambda _: (status, Elsewhere(places[where]))) as api:
            assert failed(at(api.url())) is Outcome.INVALID

    assert len(api.asked) == 1
    assert other.connections == 0


def test_no_redirect_takes_an_https_request_to_plain_http(authority: Authority) -> None:
    with listening(good()) as other:
        downgrade = Elsewhere(other.url())
        with listening(lambda _: (307, downgrade), authority.serves(HOST)) as api:
            one = at(api.url("https"), ca_file=authority.certificate)
            assert failed(one) is Outcome.INVALID

    assert len(api.asked) == 1
    assert other.connections == 0


def test_a_server_that_vouches_for_itself_is_believed_only_where_it_is_configured(
    tmp_path: Path,
) -> None:
    alone = Authority.made(tmp_path, "alone", f"subjectAltName={HOST}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(alone.certificate, tmp_path / "alone.key")

    with listening(good(), context) as api:
        assert failed(at(api.url("https"))) is Outcome.CONNECT
        assert api.asked == []
        assert ask(at(api.url("https"), ca_file=alone.certificate)) == GOOD


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.parametrize("configured", [False, True], ids=["usual", "own-authority"])
def test_nothing_older_than_tls_1_2_is_spoken(
    authority: Authority, version: str, configured: bool
) -> None:
    old = authority.serves(HOST)
    lax = ssl.create_default_context(cafile=authority.certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for context in (old, lax):
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion[version]
        old.maximum_version = ssl.TLSVersion[version]

    with listening(good(), old) as api:
        # Whoever wants it could speak it.
        with socket.create_connection(("127.0.0.1", api.port)) as raw:
            lax.wrap_socket(raw, server_hostname="127.0.0.1").close()
        http = {"ca_file": authority.certificate} if configured else {}
        assert failed(at(api.url("https"), **http)) is Outcome.CONNECT

    assert api.asked == []


PASSWORD = "canary-of-the-proxy-0123456789"  # noqa: S105 - of the test's own proxy


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real proxy listens that wants a password."""
    file = tmp_path_factory.mktemp("proxy") / "port"
    command = [
        *(sys.executable, "-W", "ignore", "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
        *("--port-file", str(file), "--num-workers", "1", "--num-acceptors", "1"),
        *("--basic-auth", f"me:{PASSWORD}"),
    ]
    with started(command):
        port = wait_for(lambda: file.exists() and file.read_text().strip(), "no proxy")
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_real_proxy_takes_us_to_the_api_and_vouches_for_nobody(
    authority: Authority, proxy: str, scheme: str
) -> None:
    through = f"http://me:{PASSWORD}@{proxy}"
    tls = authority.serves(HOST) if scheme == "https" else None
    with listening(good(), tls) as api:
        one = at(api.url(scheme), ca_file=authority.certificate, proxy_url=through)
        assert ask(one) == GOOD
        if tls:
            assert failed(at(api.url("https"), proxy_url=through)) is Outcome.CONNECT

    (asked,) = api.asked
    assert asked.headers["x-api-key"] == KEY
    assert "proxy-authorization" not in asked.headers


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("user", ["", "me:wrong-canary-9876543210@"], ids=["none", "wrong"])
def test_a_real_proxy_that_refuses_us_is_a_failure_and_the_password_is_told_to_nobody(
    authority: Authority, proxy: str, tmp_path: Path, scheme: str, user: str
) -> None:
    tls = authority.serves(HOST) if scheme == "https" else None
    with listening(good(), tls) as api:
        done = polled_once(tmp_path, api.url(scheme), authority, f"http://{user}{proxy}")

    assert done.status == 1
    assert "report failed" in done.stderr
    assert 'outcome="success",workspace="a"} 0.0' in done.stdout
    for secret in ("wrong-canary", "bWU6", KEY):
        assert secret not in done.stdout + done.stderr
    assert api.connections == 0


def test_a_proxy_that_is_not_there_is_not_gone_around(tmp_path: Path, authority: Authority) -> None:
    with listening(good()) as api:
        through = f"http://me:{PASSWORD}@127.0.0.1:{free_port()}"
        done = polled_once(tmp_path, api.url(), authority, through)

    assert done.status == 1
    assert 'outcome="connect",workspace="a"} 3.0' in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    assert api.connections == 0


def polled_once(folder: Path, url: str, authority: Authority, proxy: str) -> Ended:
    """What a whole exporter makes of one API behind a proxy, with all that it can log."""
    one = {"name": "a", "api": "seachat", "base_url": url, "api_key": KEY}
    http = {"proxy_url": proxy, "ca_file": str(authority.certificate)}
    file = folder / "seasalt.yml"
    file.write_text(
        json.dumps(
            {"workspaces": [one | {"metrics": ["total_usage"], "http": http}],
             "requests_per_minute": 6000}
        )
    )  # fmt: skip
    command = [sys.executable, "-X", "dev", "-m", "exporter", "once"]
    flags = [f"--config.file={file}", "--log.level=debug"]
    return finished([*command, *flags], {"PYTHONASYNCIODEBUG": "1"})


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


def test_connecting_has_a_time_out_of_its_own_and_nothing_else_has() -> None:
    times = seen_by(workspace(timeout="5m")).extensions["timeout"]

    # The whole has its own, and waiting for a connection of our own pool is no fault of the API's.
    assert times == {"connect": 10, "read": None, "write": None, "pool": None}
