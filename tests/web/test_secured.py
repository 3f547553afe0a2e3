"""The server behind a web configuration: real TLS, client certificates, passwords, limits."""

import asyncio
import base64
import gc
import os
import shutil
import socket
import ssl
import statistics
import sys
import time
from asyncio import sslproto
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest
from support.attackers import TLS_KINDS, attacked, deserters, guessers, tls_resets
from support.loopback import Authority, listening
from support.processes import started, wait_for
from support.serving import LINE, LOOPBACK, PATIENCE, Serving, rest, serving

from exporter.web.connection import Connection, Secured
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.passwords import WAITING, Busy, Passwords
from exporter.web.sockets import Door, Limits

pytestmark = pytest.mark.takes_minutes

HEAVY: Final = int(os.environ.get("SERVING_HEAVY", "1"))
"""Multiplies the counts of the floods."""

PAIR: Final = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
MUTUAL: Final = (
    f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: clients.pem\n"
)
NO_CERTIFICATE: Final = (ssl.SSLError, ConnectionError)


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(name: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.fixture(scope="module")
def server_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority.made(tmp_path_factory.mktemp("authority"), "authority")
    made.signs("server", "subjectAltName=IP:127.0.0.1")
    made.signs("other", "subjectAltName=IP:127.0.0.1")
    return made


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority.made(tmp_path_factory.mktemp("clients"), "clients")
    made.signs(
        "prometheus",
        "subjectAltName=DNS:prometheus,IP:2001:db8::1,email:p@x,URI:spiffe://x/p",
        "extendedKeyUsage=clientAuth",
    )
    return made


@pytest.fixture
def folder(server_authority: Authority, clients: Authority, tmp_path: Path) -> Path:
    for name in ("server.pem", "server.key", "other.pem", "other.key"):
        shutil.copy(server_authority.folder / name, tmp_path)
    shutil.copy(clients.certificate, tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def tls(server_authority: Authority) -> ssl.SSLContext:
    return server_authority.trusts()


def shown(authority: Authority, signer: Authority, name: str) -> ssl.SSLContext:
    """A client's side that shows a certificate."""
    context = authority.trusts()
    context.load_cert_chain(signer.folder / f"{name}.pem", signer.folder / f"{name}.key")
    return context


def refused(server: Serving, tls: ssl.SSLContext) -> bool:
    """Whether a client gets no answer at all."""
    try:
        return server.get(tls=tls) == b""
    except NO_CERTIFICATE:
        return True


# TLS, after the exporter-toolkit's own cases.


def test_without_a_file_http_is_spoken_and_no_tls(tls: ssl.SSLContext) -> None:
    with serving() as server:
        assert server.status() == 200
        with pytest.raises(ssl.SSLError):
            server.get(tls=tls)


def test_with_a_certificate_tls_is_spoken_and_no_http(folder: Path, tls: ssl.SSLContext) -> None:
    with serving(written(folder, PAIR)) as server:
        assert server.status(tls=tls) == 200
        assert not server.get().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("text", "client", "taken"),
    [
        pytest.param("", "ALL:@SECLEVEL=0 TLSv1.1", False, id="tls-1.1"),
        pytest.param("  max_version: TLS12\n", "TLSv1.2", True, id="tls-1.2"),
        pytest.param("  min_version: TLS13\n", "TLSv1.2", False, id="only-1.3"),
        pytest.param(
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
            "ECDHE-ECDSA-AES128-GCM-SHA256 TLSv1.2",
            True,
            id="suite",
        ),
        pytest.param(
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
            "ECDHE-ECDSA-AES256-GCM-SHA384 TLSv1.2",
            False,
            id="no-common-suite",
        ),
        pytest.param("  curve_preferences: [CurveP521]\n", "curve secp521r1", True, id="curve"),
        pytest.param(
            "  curve_preferences: [CurveP521]\n", "curve secp384r1", False, id="no-common-curve"
        ),
        pytest.param("  client_auth_type: VerifyClientCertIfGiven\n", "", True, id="if-given"),
    ],
)
def test_versions_suites_and_curves_are_honoured(
    folder: Path, tls: ssl.SSLContext, text: str, client: str, taken: bool
) -> None:
    suites, _, last = client.rpartition(" ")
    if suites == "curve":
        tls.set_ecdh_curve(last)
    elif last == "TLSv1.1":
        tls.set_ciphers(suites)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    elif last:
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        if suites:
            tls.set_ciphers(suites)
    with serving(written(folder, PAIR + text)) as server:
        assert refused(server, tls) is not taken


@pytest.mark.parametrize("server_first", [True, False])
def test_the_order_of_the_suites_is_the_servers_or_the_clients(
    folder: Path, tls: ssl.SSLContext, server_first: bool
) -> None:
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    text = (
        f"{PAIR}  cipher_suites:\n    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n"
        "    - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n"
        f"  prefer_server_cipher_suites: {str(server_first).lower()}\n"
    )
    with serving(written(folder, text)) as server, server.secured(tls) as secured:
        suite = secured.cipher()
    assert suite
    assert ("AES128" in suite[0]) is server_first


def test_a_handshake_that_does_not_end_is_ended(folder: Path) -> None:
    with serving(written(folder, PAIR)) as server, closing(server.connect()) as connection:
        begun = time.monotonic()
        connection.sendall(b"\x16\x03\x01")
        assert rest(connection) == b""
        assert 4 < time.monotonic() - begun < PATIENCE


def test_who_takes_nothing_of_a_page_is_let_go_over_tls_too(
    folder: Path, tls: ssl.SSLContext
) -> None:
    page = LINE * 1_000_000
    limits = Limits(write_seconds=0.5)
    with (
        serving(written(folder, PAIR), limits, lambda: page) as server,
        server.secured(tls) as secured,
    ):
        secured.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2)
        found = b""
        with suppress(ssl.SSLError):  # an end in the middle of a record
            found = rest(secured)
        assert len(found) < len(page)


# Client certificates.


@pytest.mark.parametrize(
    ("policy", "required"),
    [("RequireAndVerifyClientCert", True), ("VerifyClientCertIfGiven", False)],
)
def test_a_certificate_must_be_of_the_clients_authority_and_be_there_if_it_is_required(
    folder: Path, server_authority: Authority, clients: Authority, policy: str, required: bool
) -> None:
    with serving(written(folder, MUTUAL.replace("RequireAndVerifyClientCert", policy))) as server:
        assert server.status(tls=shown(server_authority, clients, "prometheus")) == 200
        assert refused(server, server_authority.trusts()) is required
        assert refused(server, shown(server_authority, server_authority, "other"))


@pytest.mark.parametrize(
    ("name", "let_in"),
    [
        *(("prometheus", True), ("2001:db8::1", True), ("p@x", True), ("spiffe://x/p", True)),
        *(("bad", False), ("Prometheus", False), ("prometheus.", False)),
    ],
)
def test_only_the_allowed_names_are_let_in(
    folder: Path, server_authority: Authority, clients: Authority, name: str, let_in: bool
) -> None:
    text = f"{MUTUAL}  client_allowed_sans: [nobody, '{name}']\n"
    with serving(written(folder, text)) as server:
        client = shown(server_authority, clients, "prometheus")
        assert refused(server, client) is not let_in


# Taken up while it serves.


def serial(server: Serving, tls: ssl.SSLContext) -> str:
    with server.secured(tls) as secured:
        certificate = secured.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def test_a_new_certificate_is_served_and_a_broken_one_never(
    folder: Path, tls: ssl.SSLContext
) -> None:
    with serving(written(folder, PAIR)) as server:
        first = serial(server, tls)
        shutil.copy(folder / "other.pem", folder / "server.pem")
        wait_for(lambda: server.reloads[-1] is False, "the mismatch is not seen")
        assert serial(server, tls) == first

        shutil.copy(folder / "other.key", folder / "server.key")
        wait_for(lambda: server.reloads[-1], "the new pair is not taken up")
        assert serial(server, tls) != first


def test_everything_but_tls_itself_can_be_changed_while_it_serves(
    folder: Path, server_authority: Authority, clients: Authority
) -> None:
    tls = server_authority.trusts()
    with serving(written(folder, PAIR)) as server:
        assert server.status(tls=tls) == 200
        users = f"basic_auth_users: {{a: {hashed('b')}}}\n"
        headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n"
        written(folder, MUTUAL + users + headers)
        wait_for(lambda: refused(server, tls), "no certificate is asked for")
        client = shown(server_authority, clients, "prometheus")
        answer = server.get(tls=client)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"x-frame-options: deny\r\n" in answer


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(f"{MUTUAL}  client_allowed_sans: [another]\n", id="names"),
        pytest.param(MUTUAL.replace("clients.pem", "server.pem"), id="authority"),
        pytest.param(f"{MUTUAL}  min_version: TLS13\n  max_version: TLS13\n", id="versions"),
    ],
)
@pytest.mark.parametrize("asks", [True, False], ids=["asks-again", "idle"])
def test_a_kept_connection_ends_when_what_let_it_in_is_no_longer_in_force(
    folder: Path, server_authority: Authority, clients: Authority, later: str, asks: bool
) -> None:
    client = shown(server_authority, clients, "prometheus")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        serving(written(folder, f"{MUTUAL}  client_allowed_sans: [prometheus]\n")) as server,
        server.secured(client) as secured,
    ):
        secured.sendall(request)
        assert secured.recv(4096).startswith(b"HTTP/1.1 200 ")
        written(folder, later)
        wait_for(lambda: len(server.reloads) > 1, "the change is not seen")
        time.sleep(0.2)
        found = b""
        secured.settimeout(3)  # it ends at once, not when it has been idle for long
        with suppress(ssl.SSLError, ConnectionError):
            if asks:
                secured.sendall(request)
            found = rest(secured)
        assert found == b""


def test_whoever_takes_the_end_of_an_answer_slowly_gets_all_of_it(
    folder: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(door: Door) -> tuple[socket.socket, Any]:
        connection, address = accept(door)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return connection, address

    accept, page = Door.accept, LINE * 20_000
    monkeypatch.setattr(Door, "accept", narrow)
    with (
        serving(written(folder, PAIR), Limits(head_seconds=0.5), lambda: page) as server,
        closing(socket.socket()) as plain,
    ):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(10)
        plain.connect((LOOPBACK, server.port))
        with closing(tls.wrap_socket(plain, server_hostname=LOOPBACK)) as secured:
            secured.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            found = secured.recv(10)
            while part := secured.recv(4096):
                found += part
                time.sleep(0.02)
    assert found.endswith(page)


def test_what_is_under_way_is_answered_though_the_web_configuration_changes(
    folder: Path, tls: ssl.SSLContext
) -> None:
    page = LINE * 2_000_000
    with (
        serving(written(folder, PAIR), own=lambda: page) as server,
        server.secured(tls) as secured,
    ):
        secured.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert secured.recv(10)
        written(folder, f"{PAIR}http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n")
        wait_for(lambda: len(server.reloads) > 1, "the change is not seen")
        assert rest(secured).endswith(page)  # and then it ends


@pytest.mark.parametrize("kind", TLS_KINDS)
def test_over_tls_nothing_of_a_connection_outlives_its_reset(folder: Path, kind: str) -> None:
    gc.collect()
    before = alive(Connection)
    with serving(written(folder, PAIR)) as server:
        gc.disable()  # nothing waits for the garbage collector
        try:
            with attacked(partial(tls_resets, kind=kind), LOOPBACK, server.port) as attack:
                wait_for(lambda: attack.times >= 100, "no 100 resets", 20)
            wait_for(lambda: alive(sslproto.SSLProtocol) == 0, "some are still there", 3)
        finally:
            gc.enable()

        def gone() -> bool:
            gc.collect()
            return alive(Connection) == before

        wait_for(gone, "connections are still there")


def alive(kind: type) -> int:
    """How many of a kind there still are, in use or not."""
    return sum(isinstance(one, kind) for one in gc.get_objects())


def test_what_comes_in_many_records_of_tls_is_read_as_it_was_sent(
    folder: Path, tls: ssl.SSLContext
) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = tls.wrap_bio(incoming, outgoing, server_hostname=LOOPBACK)
    with serving(written(folder, PAIR)) as server, closing(server.connect()) as plain:

        def done(step: Callable[[], object]) -> object:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    assert incoming.write(plain.recv(65_536))

        done(secured.do_handshake)
        for at in range(0, len(request), 7):
            secured.write(request[at : at + 7])
        plain.sendall(outgoing.read())  # so that the server decrypts all of them at once
        assert server.status(path="/-/healthy", tls=tls) == 200  # what another client has sent
        assert str(done(lambda: secured.read(100))).startswith("b'HTTP/1.1 200 OK")


def test_a_handshake_reads_little_at_a_time() -> None:
    assert Secured.max_size <= 16_384


def test_no_secret_of_tls_is_written_on_either_side_and_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    authority = Authority.made(tmp_path / "api", "authority")
    certificate, key = authority.signs("server", "subjectAltName=IP:127.0.0.1")
    web = f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n"
    config, secrets = tmp_path / "seasalt.yml", tmp_path / "secrets"
    answers = {"total_usage": {"total_chat_responses": 1}}
    with listening(lambda _: (200, answers), authority.serves("IP:127.0.0.1")) as api:
        config.write_text(
            f"http: {{ca_file: {authority.certificate}}}\nrequests_per_minute: 600\n"
            f"workspaces: [{{name: acme, api: seachat, base_url: '{api.url('https')}',"
            " api_key: sk-x, metrics: [total_usage]}]\n",
            encoding="utf-8",
        )
        files = (f"--config.file={config}", f"--web.config.file={written(tmp_path, web)}")
        command = [sys.executable, "-m", "exporter", *files, "--web.listen-address=127.0.0.1:0"]
        with started(command, {"SSLKEYLOGFILE": str(secrets)}) as process:
            port = int(process.said(r"msg=listening address=127\.0\.0\.1:(\d+)"))
            served = Serving(port, LiveWebConfig("", {}, lambda _: None))
            assert served.status(tls=authority.trusts()) == 200
            wait_for(lambda: api.asked, "nothing is asked")
            assert "SSLKEYLOGFILE is ignored" in process.end().stderr
    assert not secrets.exists()


# Passwords.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    text = (
        f"basic_auth_users:\n  alice: {hashed('right')}\n  žofie: {hashed('přímý')}\n"
        f"  long: {hashed('x' * 72)}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    with serving(written(tmp_path_factory.mktemp("guarded"), text)) as found:
        assert found.status(basic("long", "x" * 72)) == 200  # its worker runs before any test
        yield found


@pytest.mark.parametrize(
    "header",
    [
        basic("alice", "right"),
        basic("žofie", "přímý"),
        basic("long", "x" * 72),
        basic("alice", "right").replace("Basic", "bAsIc"),
    ],
    ids=["ascii", "utf-8", "72-bytes", "scheme"],
)
def test_the_right_password_lets_in(guarded: Serving, header: str) -> None:
    assert guarded.status(header) == guarded.status(header) == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param(["Authorization: Basic"], id="no-credentials"),
        pytest.param(["Authorization: Basic !!!"], id="no-base64"),
        pytest.param(["Authorization: Basic YWxpY2U="], id="no-colon"),
        pytest.param(["Authorization: Basic Og=="], id="nothing-at-all"),
        pytest.param(["Authorization: Basic \xff"], id="eight-bit"),
        pytest.param(["Authorization: Bearer YWxpY2U6cmlnaHQ="], id="another-scheme"),
        pytest.param([basic("alice", "wrong")], id="wrong"),
        pytest.param([basic("alice", "")], id="blank"),
        pytest.param([basic("alice", "right\0")], id="nul"),
        pytest.param([basic("alice", "right\0x")], id="more-after-nul"),
        pytest.param([basic("long", "x" * 73)], id="73-bytes"),
        pytest.param([basic("long", "x" * 10_000)], id="10-000-bytes"),
        pytest.param([basic("nobody", "right")], id="unknown"),
        pytest.param([basic("Alice", "right")], id="another-case"),
        pytest.param([basic("fakeuser", "fakepassword")], id="the-toolkits-stand-in"),
        pytest.param([basic("alice", "right")] * 2, id="twice"),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/nope"])
def test_nothing_else_does(guarded: Serving, headers: list[str], path: str) -> None:
    answer = guarded.get(*headers, path=path)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nwww-authenticate: Basic\r\n" in answer
    assert answer.endswith(b"\r\n\r\nUnauthorized\n")


def test_no_joining_of_name_and_password_gets_somebody_in(guarded: Serving) -> None:
    # CVE-2022-46146: two requests whose parts, put together, read the same.
    stored = guarded.kept.current.users[b"alice"].decode()
    assert guarded.status(basic("alice", "right")) == 200
    for name, password in (
        (f"alice{stored}", "right"),
        ("alice", f"{stored}right"),
        ("alic", "eright"),
        (f"alice:{stored}", "right"),
        ("", f"alice{stored}right"),
    ):
        assert guarded.status(basic(name, password)) == 401
        assert guarded.status(basic("alice", password)) == 401 or password == "right"  # noqa: S105


def test_no_two_users_are_taken_for_one_another() -> None:
    first, second = hashed("right"), hashed("pw")
    users = {b"a": first.encode(), f"a{first}".encode(): second.encode()}

    async def go() -> tuple[bool, bool]:
        passwords = Passwords(users)
        known = await passwords.right(f"a{first}".encode(), b"pw")
        return known, await passwords.right(b"a", f"{second}pw".encode())

    assert asyncio.run(go()) == (True, False)


def test_the_configured_headers_are_on_every_answer(guarded: Serving) -> None:
    right = basic("alice", "right")
    answers = [
        guarded.get(right),
        guarded.get(right, path="/nope"),
        guarded.get(),
        guarded.get(right, "Content-Length: 1"),
        guarded.ask(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{right}\r\n\r\n".encode()),
        guarded.ask(b"nonsense\r\n\r\n"),
    ]

    assert [int(answer[9:12]) for answer in answers] == [200, 404, 401, 413, 405, 400]
    assert all(b"x-frame-options: deny\r\n" in answer for answer in answers)


def test_many_at_once_are_told_apart_rightly() -> None:
    async def go() -> tuple[list[bool], list[bool]]:
        passwords = Passwords({b"a": hashed("b").encode()})
        good = [passwords.right(b"a", b"b", f"{number % 15}") for number in range(150)]
        bad = [passwords.right(b"a", b"c", f"{number % 15}") for number in range(150)]
        found = await asyncio.gather(*good, *bad)
        return found[:150], found[150:]

    assert asyncio.run(go()) == ([True] * 150, [False] * 150)


def test_only_so_many_of_a_client_wait_for_a_check_and_who_is_known_does_not() -> None:
    async def go() -> None:
        passwords = Passwords({b"a": hashed("b", 8).encode()})
        assert await passwords.right(b"a", b"b")
        tries = [
            asyncio.ensure_future(passwords.right(b"x%d" % number, b"b", "them"))
            for number in range(1 + WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await passwords.right(b"y", b"b", "them")
        assert await passwords.right(b"a", b"b", "them")
        assert not any(task.done() for task in tries[1:])
        assert await asyncio.gather(*tries) == [False] * (1 + WAITING)

    asyncio.run(go())


def test_a_client_waits_for_one_check_of_each_other_however_many_those_have() -> None:
    async def go() -> list[str]:
        passwords = Passwords({b"a": hashed("b", 5).encode()})
        ended: list[str] = []

        async def ask(client: str, number: int) -> None:
            await passwords.right(b"a", b"wrong%d" % number, client)
            ended.append(client)

        first = [asyncio.ensure_future(ask(client, n)) for client in "xy" for n in range(20)]
        await asyncio.sleep(0)
        await ask("z", 0)
        found = list(ended)
        await asyncio.gather(*first)
        return found

    assert len(asyncio.run(go())) <= 1 + 2 + 1  # what was under way, one of each, and ours


def test_whoever_goes_leaves_the_line_and_nobody_loses_a_turn() -> None:
    async def go() -> bool:
        passwords = Passwords({b"a": hashed("b", 6).encode()})
        for _ in range(5):
            gone = [
                asyncio.ensure_future(passwords.right(b"a", b"wrong%d" % number, client))
                for client in "xyz"
                for number in range(WAITING)
            ]
            await asyncio.sleep(0.005)
            for task in gone:
                task.cancel()
            found = await asyncio.gather(*gone, return_exceptions=True)
            assert {type(one) for one in found} <= {asyncio.CancelledError, bool}
        return await asyncio.wait_for(passwords.right(b"a", b"b", "x"), 5)

    assert asyncio.run(go())


@pytest.mark.parametrize(("user", "password"), [("c", "d"), ("a", "d")], ids=["gone", "changed"])
def test_a_user_who_is_gone_or_has_another_password_is_known_no_more_on_a_kept_connection_either(
    tmp_path: Path, user: str, password: str
) -> None:
    file = written(tmp_path, f"basic_auth_users: {{a: {hashed('b')}, c: {hashed('d')}}}\n")
    request = f"GET /metrics HTTP/1.1\r\nHost: x\r\n{basic('a', 'b')}\r\n\r\n".encode()
    with serving(file) as server, closing(server.connect()) as connection:
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        written(tmp_path, f"basic_auth_users: {{{user}: {hashed(password)}}}\n")
        wait_for(lambda: len(server.reloads) > 1, "the change is not seen")
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert server.status(basic(user, password)) == 200


def scrape(server: Serving, right: str) -> float:
    """How long one takes, in seconds."""
    begun = time.perf_counter()
    assert server.status(right) == 200
    return time.perf_counter() - begun


@pytest.mark.parametrize("name", [b"cheap", b"dear", b"nobody", b"nobody else"])
def test_a_wrong_password_costs_what_the_dearest_does_whoever_it_is_for(
    monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    costs: list[int] = []

    def check(_: bytes, against: bytes) -> bool:
        costs.append(int(against[4:6]))
        return False

    monkeypatch.setattr("bcrypt.checkpw", check)
    users = {b"cheap": hashed("x", 4).encode(), b"dear": hashed("x", 7).encode()}

    assert asyncio.run(Passwords(users).right(name, b"wrong")) is False
    assert sum(2**cost for cost in costs) == 2**7


def test_nothing_shows_whether_a_name_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def go() -> dict[bytes, list[float]]:
        users = {b"cheap": hashed("x", 4).encode(), b"dear": hashed("x", 8).encode()}
        passwords = Passwords(users)
        found: dict[bytes, list[float]] = {b"cheap": [], b"dear": [], b"nobody": []}
        for number in range(20 * HEAVY):
            for name, times in found.items():
                begun = time.process_time()  # of this process, however busy the others are
                assert not await passwords.right(name, b"wrong%d" % number)
                times.append(time.process_time() - begun)
        return found

    took = {name: min(times) * 1000 for name, times in asyncio.run(go()).items()}
    with capsys.disabled():
        told = ", ".join(f"{name.decode()} {time:.1f} ms" for name, time in took.items())
        print(f" [{told}]", end="")
    assert max(took.values()) < 1.5 * min(took.values())


def test_who_guesses_does_not_make_who_is_known_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {hashed('right', 8)}}}\n")
    with serving(file) as server:
        right = basic("alice", "right")
        assert server.status(right) == 200
        alone = [scrape(server, right) for _ in range(20)]
        with attacked(guessers, LOOPBACK, server.port, each=12) as attack:
            took = []
            while attack.times < 300 * HEAVY:
                took.append(scrape(server, right))
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    with capsys.disabled():
        print(f" [{attack.times} guesses: {len(took)} scrapes, p99 {p99 * 1000:.0f} ms]", end="")
    assert attack.done["401"]
    assert p99 < 0.25 + 5 * max(alone)  # which grows with what else the machine does


@pytest.mark.parametrize("source", ["127.0.0.2", LOOPBACK], ids=["from-elsewhere", "from-there"])
def test_who_guesses_locks_nobody_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    """Every right login is one that was never made before, as after a restart."""
    users = [f"user{number}" for number in range(15 * HEAVY)]
    lines = "".join(f"  {user}: {hashed('right', 8)}\n" for user in users)
    file = written(tmp_path, f"basic_auth_users:\n{lines}")
    with serving(file) as server, attacked(guessers, LOOPBACK, server.port, [LOOPBACK], 31):
        took = []
        for user in users:
            begun = time.perf_counter()
            request = f"GET /metrics HTTP/1.1\r\nHost: x\r\n{basic(user, 'right')}\r\n"
            got = server.ask(f"{request}Connection: close\r\n\r\n".encode(), source=source)
            assert got.startswith(b"HTTP/1.1 200 ")
            took.append(time.perf_counter() - begun)
    with capsys.disabled():
        print(f" [{len(users)} logins, the slowest {max(took):.2f} s]", end="")
    assert max(took) < 5


def test_who_guesses_from_everywhere_takes_no_place_that_a_login_needs(tmp_path: Path) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {hashed('right', 8)}}}\n")
    # So many at each address that all places are taken, and so few that none has many.
    each = Limits().per_address // 4
    sources = [f"127.0.7.{number}" for number in range(Limits().connections // each)]
    login = f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{basic('alice', 'right')}\r\n\r\n"
    with (
        serving(file) as server,
        attacked(guessers, LOOPBACK, server.port, sources, each) as attack,
    ):
        wait_for(lambda: attack.times > Limits().connections, "no guesses")
        for _ in range(3):
            got = server.ask(login.encode(), source="127.0.8.1")
            assert got.startswith(b"HTTP/1.1 200 ")


def test_whoever_asks_and_goes_leaves_nothing_to_be_checked(tmp_path: Path) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {hashed('right', 10)}}}\n")
    with serving(file) as server:
        with attacked(deserters, LOOPBACK, server.port, ["127.0.0.2"], each=4) as attack:
            wait_for(lambda: attack.times > 300, "nobody asks")
        begun = time.perf_counter()
        assert server.status(basic("alice", "right")) == 200
        assert time.perf_counter() - begun < 2  # each of theirs would take a twentieth of that


# The rate limit.


def test_a_rate_limit_answers_429_after_the_burst_and_before_any_password(tmp_path: Path) -> None:
    text = f"rate_limit: {{interval: 1h, burst: 3}}\nbasic_auth_users: {{a: {hashed('b')}}}\n"
    with serving(written(tmp_path, text)) as server:
        found = [server.status(basic("a", "b")) for _ in range(3)]
        found += [server.status(), server.status(basic("a", "b")), server.status(path="/nope")]

    assert found == [200, 200, 200, 429, 429, 429]


def test_a_rate_limit_lets_in_again_after_its_interval(tmp_path: Path) -> None:
    with serving(written(tmp_path, "rate_limit: {interval: 200ms, burst: 1}\n")) as server:
        assert server.status() == 200
        assert server.status() == 429
        time.sleep(0.25)
        assert server.status() == 200


def test_no_rate_limit_is_none(tmp_path: Path) -> None:
    with serving(written(tmp_path, "rate_limit: {interval: 0, burst: 0}\n")) as server:
        assert {server.status() for _ in range(10)} == {200}
