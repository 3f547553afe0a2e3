"""The server behind a web configuration: real TLS, client certificates, passwords, limits."""

import asyncio
import base64
import os
import shutil
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import bcrypt
import pytest
from support.loopback import Authority
from support.processes import wait_for
from support.serving import LINE, LOOPBACK, PATIENCE, Serving, rest, serving

from exporter.passwords import WAITING, Busy, Passwords
from exporter.server import Limits
from exporter.web_config import DEAREST

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
    with (
        serving(written(folder, text)) as server,
        closing(server.connect()) as plain,
        closing(tls.wrap_socket(plain, server_hostname=LOOPBACK)) as secured,
    ):
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
        closing(server.connect()) as plain,
        closing(tls.wrap_socket(plain, server_hostname=LOOPBACK)) as secured,
    ):
        secured.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2)
        found = b""
        with suppress(ssl.SSLError):  # an end in the middle of a record
            found = rest(secured)
        assert len(found) < len(page)


# Client certificates.


def test_a_certificate_of_the_clients_authority_is_required(
    folder: Path, server_authority: Authority, clients: Authority
) -> None:
    with serving(written(folder, MUTUAL)) as server:
        assert server.status(tls=shown(server_authority, clients, "prometheus")) == 200
        assert refused(server, server_authority.trusts())
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


def test_a_certificate_is_verified_if_one_is_given(
    folder: Path, server_authority: Authority, clients: Authority
) -> None:
    text = MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    with serving(written(folder, text)) as server:
        assert server.status(tls=server_authority.trusts()) == 200
        assert server.status(tls=shown(server_authority, clients, "prometheus")) == 200
        assert refused(server, shown(server_authority, server_authority, "other"))


# Taken up while it serves.


def serial(server: Serving, tls: ssl.SSLContext) -> str:
    with (
        closing(server.connect()) as plain,
        closing(tls.wrap_socket(plain, server_hostname=LOOPBACK)) as secured,
    ):
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
        good = [passwords.right(b"a", b"b") for _ in range(150)]
        bad = [passwords.right(b"a", b"c") for _ in range(150)]
        found = await asyncio.gather(*good, *bad)
        return found[:150], found[150:]

    assert asyncio.run(go()) == ([True] * 150, [False] * 150)


def test_only_so_many_wait_for_a_check_and_who_is_known_does_not() -> None:
    async def go() -> None:
        passwords = Passwords({b"a": hashed("b", 8).encode()})
        assert await passwords.right(b"a", b"b")
        tries = [
            asyncio.ensure_future(passwords.right(b"x%d" % number, b"b"))
            for number in range(WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await passwords.right(b"y", b"b")
        assert await passwords.right(b"a", b"b")
        assert not any(task.done() for task in tries[1:])
        assert await asyncio.gather(*tries) == [False] * WAITING

    asyncio.run(go())


def test_a_changed_password_is_another_password_at_once() -> None:
    async def go() -> list[bool]:
        passwords = Passwords({b"a": hashed("b").encode()})
        before = await passwords.right(b"a", b"b")
        passwords.users = {b"a": hashed("c").encode()}
        after = await passwords.right(b"a", b"b"), await passwords.right(b"a", b"c")
        passwords.users = {b"other": hashed("c").encode()}
        return [before, *after, await passwords.right(b"a", b"c")]

    assert asyncio.run(go()) == [True, False, True, False]


def test_nothing_shows_whether_a_name_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    async def go() -> tuple[list[float], list[float]]:
        passwords = Passwords({b"alice": hashed("right", 6).encode()})
        found: tuple[list[float], list[float]] = ([], [])
        for number in range(100 * HEAVY):
            for name, times in zip((b"alice", b"nobody"), found, strict=True):
                begun = time.process_time()  # of this process, however busy the others are
                assert not await passwords.right(name, b"wrong%d" % number)
                times.append(time.process_time() - begun)
        return found

    known, unknown = (statistics.median(times) * 1000 for times in asyncio.run(go()))
    with capsys.disabled():
        print(f" [known {known:.2f} ms, unknown {unknown:.2f} ms]", end="")
    assert known / 1.25 < unknown < known * 1.25


def scrape(server: Serving, right: str) -> float:
    """How long one takes, in seconds."""
    begun = time.perf_counter()
    assert server.status(right) == 200
    return time.perf_counter() - begun


def test_who_guesses_does_not_make_who_is_known_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {hashed('right', 8)}}}\n")
    with serving(file) as server:
        right = basic("alice", "right")
        assert server.status(right) == 200
        alone = [scrape(server, right) for _ in range(20)]
        statuses: list[int] = []

        def guess(part: int) -> None:
            statuses.extend(
                server.status(basic("alice", f"wrong{part}-{number}"))
                for number in range(25 * HEAVY)
            )

        threads = [threading.Thread(target=guess, args=(part,)) for part in range(12)]
        for thread in threads:
            thread.start()
        took = []
        while any(thread.is_alive() for thread in threads):
            took.append(scrape(server, right))
        for thread in threads:
            thread.join()
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    with capsys.disabled():
        counts = {status: statuses.count(status) for status in sorted(set(statuses))}
        print(f" [{counts}: {len(took)} scrapes, p99 {p99 * 1000:.0f} ms]", end="")
    assert set(statuses) == {401, 429}
    assert p99 < 0.25 + 5 * max(alone)  # which grows with what else the machine does


def test_the_dearest_cost_is_what_bcrypt_takes() -> None:
    assert 4 < DEAREST <= 31


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
