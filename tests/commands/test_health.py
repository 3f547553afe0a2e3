"""The health check finds the exporter wherever it listens, whoever it lets in."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import bcrypt
import pytest
from support.loopback import Authority
from support.processes import free_port
from support.serving import LOOPBACK, serving

from exporter.commands.cli import main
from exporter.commands.flags import DONE, MENDABLE, parse
from exporter.commands.health import as_served, run
from exporter.errors import StartError


def asked(*flags: str, **environment: str) -> int:
    return run(parse(["health", *flags], environment))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority.made(tmp_path_factory.mktemp("authority"), "authority")
    made.signs("server", "subjectAltName=DNS:another.name")
    return made


@pytest.mark.parametrize(
    "host",
    ["", LOOPBACK, "localhost", "0.0.0.0", "[::]"],  # noqa: S104 - as operators write it
    ids=["all", "ipv4", "name", "v4", "v6"],
)
def test_it_asks_where_the_exporter_listens(host: str) -> None:
    with serving() as server:
        variable = {"SEASALT_EXPORTER_WEB_LISTEN_ADDRESS": f"{host}:{server.port}"}
        assert asked(**variable) == DONE
        assert asked(f"--web.listen-address={host}:{server.port}") == DONE


def test_who_refuses_it_is_alive(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(
        f"basic_auth_users: {{a: {hashed}}}\nrate_limit: {{interval: 1h, burst: 1}}\n",
        encoding="utf-8",
    )
    with serving(file) as server:
        for _ in range(3):
            assert asked(f"--web.listen-address=:{server.port}") == DONE


@pytest.mark.parametrize("version", ["TLS12", "TLS13"])
@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
def test_it_speaks_tls_where_that_is_spoken(
    authority: Authority, tmp_path: Path, version: str, mutual: bool
) -> None:
    folder = authority.folder
    more = (
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authority.certificate}\n"
        if mutual
        else ""
    )
    file = tmp_path / "web.yml"
    file.write_text(
        f"tls_server_config:\n  cert_file: {folder / 'server.pem'}\n  key_file: {folder / 'server.key'}\n"
        f"  max_version: {version}\n{more}",
        encoding="utf-8",
    )
    with serving(file) as server:
        assert asked(f"--web.listen-address=:{server.port}") == DONE


def test_it_asks_below_the_prefix_and_believes_nobody_who_knows_no_such_path() -> None:
    with serving() as server:
        with pytest.raises(StartError, match="/seasalt/-/healthy: HTTP 404"):
            asked(f"--web.listen-address=:{server.port}", "--web.external-url=https://x/seasalt")
        flags = (f"--web.listen-address=:{server.port}", "--web.external-url=https://x/seasalt")
        assert asked(*flags, "--web.route-prefix=/") == DONE


def test_where_nobody_listens_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"{LOOPBACK}:{free_port()}"

    assert main(["health", f"--web.listen-address={address}"], {}) == MENDABLE
    assert capsys.readouterr().err.splitlines() == [f"not healthy: {address}: Connection refused"]


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "drips"])
def test_it_is_done_before_a_container_engine_gives_up(drips: bool) -> None:
    over = threading.Event()

    def answers(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            while not over.wait(0.5):
                if drips:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n" if not over.is_set() else b"")

    with socket.create_server((LOOPBACK, 0)) as listening:
        thread = threading.Thread(target=answers, args=(listening,))
        thread.start()
        begun = time.monotonic()
        with pytest.raises(StartError, match="no answer"):
            asked(f"--web.listen-address={LOOPBACK}:{listening.getsockname()[1]}")
        took = time.monotonic() - begun
        over.set()
        thread.join()
    assert took < 4.7


@pytest.mark.parametrize("name", ["a..b", "a" * 64], ids=["empty-label", "long-label"])
def test_a_name_that_can_be_none_is_told_in_one_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", f"--web.listen-address={name}:1"], {}) == MENDABLE
    assert capsys.readouterr().err.splitlines() == [f"not healthy: {name}:1: no such name"]


@pytest.mark.parametrize(
    ("first", "address", "prefix"),
    [
        pytest.param("python\0-m\0exporter\0serve\0--web.listen-address=:1\0", ":1", "", id="ours"),
        pytest.param(
            "/sbin/docker-init\0--\0python\0-m\0exporter\0--web.route-prefix\0/x\0",
            ":7",
            "/x",
            id="with-init",
        ),
        pytest.param("python\0/venv/bin/seasalt-exporter\0demo\0", ":7", "", id="script"),
        pytest.param("/sbin/init\0splash\0", ":7", "", id="another"),
        pytest.param("", ":7", "", id="nothing"),
    ],
)
def test_the_flags_are_those_of_the_first_process_of_a_container(
    tmp_path: Path, first: str, address: str, prefix: str
) -> None:
    file = tmp_path / "cmdline"
    file.write_text(first, encoding="utf-8")
    environment = {"SEASALT_EXPORTER_WEB_LISTEN_ADDRESS": ":7"}

    found = as_served(parse(["health"], environment), file)
    assert (found.one("web.listen-address"), found.one("web.route-prefix")) == (address, prefix)
    given = as_served(parse(["health", "--web.listen-address=:2"], environment), file)
    assert given.one("web.listen-address") == ":2"
    louder = as_served(parse(["health", "--log.level=debug"], environment), file)
    assert (louder.one("web.listen-address"), louder.one("web.route-prefix")) == (address, prefix)
    assert louder.one("log.level") == "debug"


def test_without_a_first_process_the_environment_says_it(tmp_path: Path) -> None:
    found = as_served(parse(["health"], {}), tmp_path / "none")

    assert found.one("web.listen-address") == ":9877"
