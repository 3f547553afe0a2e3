"""The web configuration file: what it may say, and what is told where it cannot be honoured."""

import asyncio
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest
from support.loopback import Authority
from support.processes import finished

from exporter.commands.configuration import configuration
from exporter.commands.flags import parse
from exporter.config import yaml_document
from exporter.config.yaml_document import Document
from exporter.errors import ConfigError, Mistake
from exporter.files import Followed
from exporter.web import web_config
from exporter.web.live_web_config import LiveWebConfig
from exporter.web.web_config import RateLimit, WebConfig, load

HASH: Final = "$2y$04$cVi0ZDHpRCBpGO7RMoTjHOQ0YO15mdg.TTxKmWAxVobOCBTtPnS1S"
"""Of `secret`, as cheap as can be."""

ROOT: Final = Path(__file__).parents[2]
PAIR: Final = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CANARY: Final = "CNRY0123456789abcdef"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate and another's."""
    authority = Authority.made(tmp_path_factory.mktemp("authority"), "authority")
    authority.signs("server", "subjectAltName=IP:127.0.0.1")
    authority.signs("other", "subjectAltName=IP:127.0.0.1")
    (authority.folder / "empty.pem").touch()
    return authority.folder


@pytest.fixture
def folder(signed: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(signed, tmp_path / "web"))


def written(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text, encoding="utf-8")
    return file


def told(folder: Path, text: str) -> list[str]:
    """Every mistake of a file, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(str(written(folder, text)), {})
    assert caught.value.__cause__ is None
    return [str(mistake).removeprefix(f"{folder}/web.yml:") for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        # What the exporter-toolkit refuses, each case of its own tests in order.
        pytest.param(
            f"{CANARY}\n{CANARY}\n",
            "1: must be a mapping with keys of tls_server_config, http_server_config,"
            " basic_auth_users, rate_limit",
            id="junk",
        ),
        pytest.param(
            "tls_server_config:\n  cert_filse: server.pem\n",
            "2: tls_server_config.cert_filse: unknown key; did you mean cert_file?",
            id="a-key-misspelt",
        ),
        pytest.param(
            'tls_server_config:\n  cert_file: ""\n  key_file: server.key\n',
            "1: tls_server_config: needs one of cert and cert_file",
            id="cert-file-blank",
        ),
        pytest.param(
            'tls_server_config:\n  cert: ""\n  key_file: server.key\n',
            "1: tls_server_config: needs one of cert and cert_file",
            id="cert-blank",
        ),
        pytest.param(
            'tls_server_config:\n  cert_file: server.pem\n  key_file: ""\n',
            "1: tls_server_config: needs one of key and key_file",
            id="key-file-blank",
        ),
        pytest.param(
            'tls_server_config:\n  cert_file: server.pem\n  key: ""\n',
            "1: tls_server_config: needs one of key and key_file",
            id="key-blank",
        ),
        pytest.param(
            'tls_server_config:\n  cert_file: ""\n  key_file: ""\n  client_auth_type: x\n',
            "4: tls_server_config.client_auth_type: must be one of NoClientCert,"
            " VerifyClientCertIfGiven, RequireAndVerifyClientCert",
            id="both-blank",
        ),
        pytest.param(
            "tls_server_config:\n  cert_file: somefile\n  key_file: server.key\n",
            "2: tls_server_config.cert_file: cannot be read: No such file or directory",
            id="no-such-certificate",
        ),
        pytest.param(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: somefile\n",
            "3: tls_server_config.key_file: cannot be read: No such file or directory",
            id="no-such-key",
        ),
        pytest.param(
            f"{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: empty.pem\n",
            "5: tls_server_config.client_ca_file: must be certificates as PEM",
            id="authorities-of-nothing",
        ),
        pytest.param(
            f"{PAIR}  client_ca_file: authority.pem\n",
            "1: tls_server_config: has authorities for clients: say client_auth_type as well",
            id="authorities-without-a-policy",
        ),
        pytest.param(
            f"{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: somefile\n",
            "5: tls_server_config.client_ca_file: cannot be read: No such file or directory",
            id="no-such-authority",
        ),
        pytest.param(
            f"{PAIR}basic_auth_users:\n  john: {CANARY}\n",
            "5: basic_auth_users.john: must be a bcrypt hash, as `htpasswd -nBC 10 NAME` prints it",
            id="no-hash",
        ),
        pytest.param(
            f"{PAIR}basic_auth_users:\n  john: john:{HASH}\n",
            "5: basic_auth_users.john: must be the hash alone, without the NAME: that"
            " htpasswd prints before it",
            id="name-and-hash",
        ),
        pytest.param(
            "tls_server_config:\n  cert_file: ~/canary.pem\n  key_file: server.key\n",
            "2: tls_server_config.cert_file: must be a whole path: nobody expands the ~ in it",
            id="home",
        ),
        pytest.param(
            f"{PAIR}  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048\n",
            "5: tls_server_config.cipher_suites[0]: must be one of ",
            id="an-invented-suite",
        ),
        pytest.param(
            f"{PAIR}  curve_preferences:\n    - CurveP257\n",
            "5: tls_server_config.curve_preferences[0]: must be one of CurveP256, CurveP384,"
            " CurveP521, X25519; did you mean CurveP256?",
            id="an-invented-curve",
        ),
        pytest.param(
            f"{PAIR}  min_version: TLS111\n",
            "4: tls_server_config.min_version: must be one of TLS12, TLS13; did you mean TLS13?",
            id="an-invented-version",
        ),
        pytest.param(
            "http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n",
            "3: http_server_config.headers: X-Content-Type-Options must be nosniff",
            id="content-type-options",
        ),
        pytest.param(
            "http_server_config:\n  headers:\n    X-Frame-Options: foo\n",
            "3: http_server_config.headers: X-Frame-Options must be deny or sameorigin",
            id="frame-options",
        ),
        pytest.param(
            f"http_server_config:\n  headers:\n    Content-Type: {CANARY}\n",
            "3: http_server_config.headers: only Content-Security-Policy,"
            " Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options,"
            " X-XSS-Protection can be set; did you mean X-Content-Type-Options?",
            id="another-header",
        ),
        # What it takes, and cannot be honoured here.
        ("http_server_config:\n  http2: true\n", "2: http_server_config: http2 cannot be honoured"),
        (
            f"{PAIR}  client_auth_type: RequestClientCert\n",
            "4: tls_server_config.client_auth_type: cannot be honoured",
        ),
        (
            f"{PAIR}  client_auth_type: RequireAnyClientCert\n",
            "4: tls_server_config.client_auth_type: cannot be honoured",
        ),
        (
            f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n",
            "1: tls_server_config: needs one of client_ca and client_ca_file",
        ),
        (
            f"{PAIR}  curve_preferences: [CurveP256, X25519]\n",
            "4: tls_server_config.curve_preferences: only one curve can be honoured",
        ),
        (f"{PAIR}  min_version: TLS10\n", "4: tls_server_config.min_version: must be TLS12 or"),
        (f"{PAIR}  max_version: TLS11\n", "4: tls_server_config.max_version: must be TLS12 or"),
        (
            f"{PAIR}  min_version: TLS13\n  max_version: TLS12\n",
            "5: tls_server_config.max_version: must not be below min_version",
        ),
        (
            f"{PAIR}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
            "4: tls_server_config.cipher_suites: has suites of TLS 1.3 alone",
        ),
        (
            f"{PAIR}  client_allowed_sans: [a]\n",
            "4: tls_server_config.client_allowed_sans: needs client_auth_type",
        ),
        (
            f"{PAIR}  client_allowed_sans: []\n",
            "4: tls_server_config.client_allowed_sans: must hold at least 1",
        ),
        (f"{PAIR}  cert: {CANARY}\n", "1: tls_server_config: needs one of cert and cert_file"),
        (
            f"tls_server_config:\n  cert_file: server.pem\n  key: {CANARY}\n",
            "1: tls_server_config: must be a certificate and a key as PEM",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: other.key\n",
            "1: tls_server_config: the key is not the certificate's",
        ),
        (
            f"{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca: {CANARY}\n",
            "5: tls_server_config.client_ca: must be certificates as PEM",
        ),
        (
            "tls_server_config:\n  cert_file: .\n  key_file: server.key\n",
            "2: tls_server_config.cert_file: must be a regular file",
        ),
        ("tls_server_config:\n  min_version: TLS13\n", "1: tls_server_config: needs one of cert"),
        (
            f"basic_auth_users:\n  prometheus: $$2b$$04$${'z' * 53}\n",
            "2: basic_auth_users.prometheus: must be a bcrypt hash",
        ),
        ("basic_auth_users:\n  'a:b': " + HASH, "2: basic_auth_users: a user's name must be"),
        (
            "basic_auth_users:\n  a: " + HASH.replace("$04", "$19"),
            "2: basic_auth_users.a: must have a cost from 4 to 18",
        ),
        (
            'http_server_config:\n  headers:\n    X-XSS-Protection: "a\\r\\nb: c"\n',
            "3: http_server_config.headers: X-XSS-Protection must be a line of ASCII",
        ),
        ("rate_limit:\n  interval: 1\n  burst: 1\n", "2: rate_limit.interval: must be a duration"),
        (
            f"rate_limit:\n  interval: {'9' * 400}h\n  burst: 1\n",
            "2: rate_limit.interval: must be a duration",
        ),
        ("rate_limit:\n  interval: 1s\n", "1: rate_limit.burst: must be at least 1"),
        ("rate_limit:\n  burts: 1\n", "2: rate_limit.burts: unknown key; did you mean burst?"),
        ("tls_config: {}\n", "1: tls_config: unknown key; did you mean tls_server_config?"),
        ("rate_limit: 5\n", "1: rate_limit: must be a mapping"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_words(folder: Path, text: str, mistake: str) -> None:
    (found,) = told(folder, text)

    assert found.startswith(mistake)
    assert CANARY not in found
    assert HASH[:20] not in found


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yml: cannot be read: No such file"):
        load(str(tmp_path / "nowhere.yml"), {})


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    found = told(
        folder,
        "tls_server_config:\n  cert_file: none.pem\n  key_file: none.pem\n"
        "  curve_preferences: [X25519, CurveP256]\nhttp_server_config: {http2: true}\n"
        "basic_auth_users: {a: b, c: d}\nrate_limit: {interval: soon}\nmore: 1\n",
    )

    assert [line.split(": ")[1] for line in found] == [
        *("tls_server_config.cert_file", "tls_server_config.key_file"),
        *("tls_server_config.curve_preferences", "http_server_config"),
        *("basic_auth_users.a", "basic_auth_users.c", "rate_limit.interval", "more"),
    ]


def test_without_libyaml_a_users_name_that_has_no_bytes_is_told_as_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_document, "Loader", yaml_document.PureLoader)

    (mistake,) = told(folder, f'basic_auth_users: {{"\\ud800": {HASH}}}\n')

    assert "must be printable" in mistake


# What it takes.


@pytest.mark.parametrize("text", ["", "# nothing\n", "tls_server_config:\nrate_limit: {}\n"])
def test_an_empty_file_restricts_nothing(folder: Path, text: str) -> None:
    file = written(folder, text)

    assert load(str(file), {}) == WebConfig()


def test_everything_that_it_may_say_is_taken(folder: Path) -> None:
    found = load(
        str(
            written(
                folder,
                f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n"
                "  client_ca_file: authority.pem\n  client_allowed_sans: [prometheus]\n"
                "  min_version: TLS12\n  max_version: TLS13\n  cipher_suites:\n"
                "    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n    - TLS_AES_128_GCM_SHA256\n"
                "  prefer_server_cipher_suites: true\n  curve_preferences: [CurveP521]\n"
                "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
                "    X-XSS-Protection: 1\n    Strict-Transport-Security: ''\n"
                f"basic_auth_users:\n  alice: {HASH}\n"
                "rate_limit:\n  interval: 1m0.5s\n  burst: 3\n",
            )
        ),
        {},
    )

    assert found.tls
    assert found.tls.allowed_sans == {"prometheus"}
    assert found.headers == ((b"x-frame-options", b"deny"), (b"x-xss-protection", b"1"))
    assert found.users == {b"alice": HASH.encode()}
    assert found.rate_limit == RateLimit.model_construct(interval=Fraction(121, 2), burst=3)
    assert tuple(file.path for file in found.files) == tuple(
        folder / name for name in ("web.yml", "server.pem", "server.key", "authority.pem")
    )


def test_authorities_may_have_remarks_in_any_language(folder: Path) -> None:
    authority = (folder / "authority.pem").read_text(encoding="utf-8")
    (folder / "authority.pem").write_text(f"# Főtanúsítvány\n{authority}", encoding="utf-8")
    text = (
        f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: authority.pem\n"
    )

    tls = load(str(written(folder, text)), {}).tls
    assert tls
    assert len(tls.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("noise", "must be certificates as PEM"),
        ("unreadable", "cannot be read: Input/output error"),
    ],
)
def test_authorities_that_are_none_are_refused_in_words(
    folder: Path, name: str, mistake: str
) -> None:
    (folder / "noise").write_bytes(b"\x30\x82\xff\xfe\x00")
    (folder / "unreadable").symlink_to("/proc/self/mem")
    text = f"{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: {name}\n"

    assert told(folder, text) == [f"5: tls_server_config.client_ca_file: {mistake}"]


def test_certificate_and_key_may_stand_in_the_file_itself(folder: Path) -> None:
    def block(name: str, file: str) -> str:
        lines = (folder / file).read_text(encoding="utf-8").splitlines()
        return f"  {name}: |\n" + "".join(f"    {line}\n" for line in lines)

    text = "tls_server_config:\n" + block("cert", "server.pem") + block("key", "server.key")

    assert load(str(written(folder, text)), {}).tls


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(folder: Path) -> None:
    finished(
        [
            *("openssl", "ec", "-aes128", "-passout", "pass:x"),
            *("-in", str(folder / "server.key"), "-out", str(folder / "locked.key")),
        ]
    )
    assert "ENCRYPTED" in (folder / "locked.key").read_text(encoding="utf-8")

    text = PAIR.replace("server.key", "locked.key")

    assert told(folder, text) == [
        "1: tls_server_config: must be a certificate and a key as PEM, the key without a password"
    ]


def test_the_check_of_the_configuration_looks_at_the_web_configuration_too(folder: Path) -> None:
    web = written(folder, "basic_auth_users: {a: b}\n")
    bad = folder / "seasalt.yml"
    bad.write_text("workspaces: []\n", encoding="utf-8")
    flags = ["--config.check", f"--config.file={bad}", f"--web.config.file={web}"]

    with pytest.raises(ConfigError) as caught:
        configuration(parse(flags, {}))

    assert [Path(mistake.file).name for mistake in caught.value.mistakes] == [
        "seasalt.yml",
        "web.yml",
    ]


# Taken up when it changes.


@pytest.fixture
def kept(folder: Path) -> tuple[LiveWebConfig, list[bool]]:
    reloads: list[bool] = []
    return LiveWebConfig(str(written(folder, PAIR)), {}, reloads.append), reloads


def looked(one: LiveWebConfig) -> None:
    """Look until what has changed is known to rest."""
    one.look()
    one.look()


def test_a_file_that_is_emptied_before_it_is_written_lets_nobody_in_meanwhile(folder: Path) -> None:
    one = LiveWebConfig(
        str(written(folder, f"basic_auth_users:\n  one: {HASH}\n")), {}, lambda _: None
    )

    written(folder, "")
    one.look()
    assert set(one.current.users) == {b"one"}
    written(folder, f"basic_auth_users:\n  two: {HASH}\n")
    one.look()
    assert set(one.current.users) == {b"one"}
    one.look()
    assert set(one.current.users) == {b"two"}

    written(folder, "")
    looked(one)
    assert not one.current.users  # which is what it says, as it rests


def test_a_file_that_is_emptied_while_it_is_loaded_lets_nobody_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (f"basic_auth_users:\n  {name}: {HASH}\n" for name in ("one", "two"))
    one = LiveWebConfig(str(written(folder, old)), {}, lambda _: None)
    real = load

    def torn(file: str, environment: Mapping[str, str]) -> WebConfig:
        written(folder, "")
        found = real(file, environment)
        written(folder, new)  # the same as before: nobody sees that it was another in between
        return found

    written(folder, new)
    monkeypatch.setattr("exporter.web.live_web_config.load", torn)
    for _ in range(4):
        one.look()
        assert set(one.current.users) == {b"one"}
    monkeypatch.undo()
    looked(one)
    assert set(one.current.users) == {b"two"}


def test_a_mistake_in_what_is_still_being_written_is_told_to_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[bool] = []
    one = LiveWebConfig(str(written(folder, PAIR)), {}, reloads.append)
    real, halves = load, [PAIR[:-4]]

    def torn(file: str, environment: Mapping[str, str]) -> WebConfig:
        if halves:
            written(folder, halves.pop())
            with suppress(ConfigError):
                real(file, environment)
            written(folder, PAIR + "# whole\n")
            raise ConfigError([Mistake(file, 1, "", "is cut")])
        return real(file, environment)

    monkeypatch.setattr("exporter.web.live_web_config.load", torn)
    written(folder, PAIR + "# changed\n")
    for _ in range(4):
        one.look()
    assert reloads == [True, True]


def test_what_does_not_change_is_not_read_again(kept: tuple[LiveWebConfig, list[bool]]) -> None:
    one, reloads = kept
    before = one.current
    looked(one)

    assert one.current is before
    assert reloads == [True]


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda folder: (folder / "web.yml").write_text("x: ["), id="no-yaml"),
        pytest.param(lambda folder: (folder / "web.yml").write_text(""), id="tls-gone"),
        pytest.param(lambda folder: (folder / "web.yml").unlink(), id="file-gone"),
        pytest.param(lambda folder: (folder / "server.key").unlink(), id="key-gone"),
        pytest.param(lambda folder: (folder / "server.key").write_text(CANARY), id="key-junk"),
        pytest.param(lambda folder: os.truncate(folder / "server.key", 2 * 1024**3), id="key-huge"),
        pytest.param(
            lambda folder: shutil.copy(folder / "other.key", folder / "server.key"), id="mismatch"
        ),
    ],
)
def test_a_bad_change_leaves_the_last_good_one_and_is_told_once(
    kept: tuple[LiveWebConfig, list[bool]],
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], object],
) -> None:
    caplog.set_level(logging.INFO)
    one, reloads = kept
    before = one.current
    harm(folder)
    looked(one)
    one.look()

    assert one.current is before
    assert reloads == [True, False, False]
    assert len(caplog.records) == 1
    assert CANARY not in caplog.text

    for name in ("server.pem", "server.key"):
        shutil.copy(folder / name.replace("server", "other"), folder / name)
    written(folder, PAIR)
    looked(one)

    assert one.current is not before
    assert reloads[-1]
    assert caplog.records[-1].message == "web configuration reloaded"
    # Both are about one thing, so that no line about it is folded after the other.
    about = {(record.name, vars(record).get("file")) for record in caplog.records}
    assert about == {("exporter.web.live_web_config", None)}


# What we ship and show.


def test_the_example_is_right_and_so_is_every_line_that_it_has_in_comments(folder: Path) -> None:
    example = (ROOT / "config" / "web.yml").read_text(encoding="utf-8")
    assert load(str(written(folder, example)), {}).headers

    shutil.copy(folder / "authority.pem", folder / "clients.pem")
    told = re.sub("^# ", "", example.partition("\n\n")[2], flags=re.MULTILINE)
    found = load(str(written(folder, told)), {"PASSWORD_HASH": HASH})

    assert found.tls
    assert found.users
    assert found.rate_limit == RateLimit.model_construct(interval=Fraction(1, 10), burst=50)


def test_the_documentations_example_is_right(folder: Path) -> None:
    page = (ROOT / "docs" / "tls.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    shutil.copy(folder / "authority.pem", folder / "clients.pem")
    found = load(str(written(folder, text)), {"PASSWORD_HASH": HASH})

    assert found.tls
    assert found.tls.allowed_sans == {"prometheus"}
    assert found.users == {b"prometheus": HASH.encode()}


# What is nobody's mistake but ours, and what a disk does.


def test_whatever_a_look_leads_to_is_told_as_a_bug_and_the_last_good_one_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[bool] = []
    bugs: list[BaseException] = []
    one = LiveWebConfig(
        str(written(folder, PAIR)), {}, reloads.append, lambda error, _: bugs.append(error)
    )
    before, harm = one.current, OverflowError()

    def fails(*_: object) -> Document:
        raise harm

    monkeypatch.setattr(web_config, "read", fails)
    written(folder, PAIR + "# changed\n")
    looked(one)
    one.look()
    assert one.current is before
    assert bugs == [harm]  # once
    assert reloads == [True, False, False]

    monkeypatch.undo()
    one.look()
    assert one.current is not before
    assert reloads[-1]


@pytest.mark.parametrize("name", ["web.yml", "server.key", "server.pem", "authority.pem"])
def test_a_change_while_a_file_is_read_is_taken_up_by_the_next_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = (
        f"{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: authority.pem\n"
        f"basic_auth_users:\n  one: {HASH}\n"
    )
    one = LiveWebConfig(str(written(folder, text)), {}, lambda _: None)
    real, late = Followed.read, [False, True]  # where it is looked at, where it is read

    def changed_late(file: Followed) -> bytes:
        found = real(file)
        if file.path.name == name and late and late.pop(0):
            content = text.replace("one:", "two:") if name == "web.yml" else found.decode() + "\n"
            file.path.write_text(content, encoding="utf-8")
        return found

    monkeypatch.setattr(Followed, "read", changed_late)
    written(folder, text + "# first\n")
    before = one.current
    looked(one)  # reads the file as it was
    assert one.current is before
    looked(one)
    assert one.current is not before
    if name == "web.yml":
        assert set(one.current.users) == {b"two"}


def test_a_disk_that_hangs_holds_nothing_but_the_look(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> float:
        one = LiveWebConfig(str(written(folder, PAIR)), {}, lambda _: None)
        released, real = threading.Event(), Followed.changed

        def hangs(file: Followed) -> bool:
            released.wait(10)
            return real(file)

        monkeypatch.setattr(Followed, "changed", hangs)
        worst, threads = 0.0, threading.active_count()
        for _ in range(20):
            begun = time.perf_counter()
            one.look_beside()
            worst = max(worst, time.perf_counter() - begun)
            await asyncio.sleep(0.01)
        assert threading.active_count() <= threads + 1  # one look at a time
        released.set()
        return worst

    assert asyncio.run(go()) < 0.3
