"""Where the exporter listens, and what it says where it cannot."""

import socket
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest
from support.processes import free_port

from exporter.errors import StartError
from exporter.web.sockets import Crowd, Door, Limits, bound, listen

BOTH: Final = ["::1", "127.0.0.1"]
needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


def refused(*addresses: str) -> str:
    with pytest.raises(StartError) as caught:
        listen(addresses)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("address", "reached", "shown"),
    [
        pytest.param("127.0.0.1:0", ["127.0.0.1"], "127.0.0.1:", id="ipv4"),
        pytest.param("localhost:0", ["127.0.0.1"], "127.0.0.1:", id="name"),
        pytest.param("[127.0.0.1]:0", ["127.0.0.1"], "127.0.0.1:", id="brackets"),
        pytest.param(":0", BOTH, "[::]:", id="everywhere", marks=needs_ipv6),
        pytest.param("[::1]:0", ["::1"], "[::1]:", id="ipv6", marks=needs_ipv6),
        pytest.param("[::]:0", BOTH, "[::]:", id="everywhere-ipv6", marks=needs_ipv6),
        pytest.param("[0:0::0]:0", BOTH, "[::]:", id="written-out", marks=needs_ipv6),
        pytest.param("0.0.0.0:0", ["127.0.0.1"], "0.0.0.0:", id="everywhere-ipv4"),
        pytest.param(
            "[::ffff:127.0.0.1]:0", ["127.0.0.1"], "127.0.0.1:", id="mapped", marks=needs_ipv6
        ),
    ],
)
def test_an_address_is_listened_on(address: str, reached: list[str], shown: str) -> None:
    (listening,) = listen([address])

    with closing(listening):
        port = listening.getsockname()[1]
        assert bound(listening) == f"{shown}{port}"
        for host in reached:
            socket.create_connection((host, port)).close()


IPV6: Final = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))
IPV4: Final = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))


@needs_ipv6
@pytest.mark.parametrize(
    ("found", "shown"),
    [
        pytest.param([IPV6], "[::1]:", id="ipv6-alone"),
        pytest.param([IPV6, IPV4], "127.0.0.1:", id="both"),
    ],
)
def test_a_name_is_listened_on_by_ipv4_and_by_ipv6_where_it_has_no_other_address(
    monkeypatch: pytest.MonkeyPatch, found: list[object], shown: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)

    with closing(listen(["some-name:0"])[0]) as listening:
        assert bound(listening).startswith(shown)


def link() -> str:
    """An address of one link alone, with the link's name; empty where there is none."""
    try:
        lines = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    for line in lines:
        digits, _, _, scope, _, name = line.split()
        if scope == "20":
            return f"{ip_address(bytes.fromhex(digits))}%{name}"
    return ""


@pytest.mark.skipif(not link(), reason="no link has an address of its own here")
def test_an_address_of_one_link_is_listened_on() -> None:
    with closing(listen([f"[{link()}]:0"])[0]) as listening:
        port = listening.getsockname()[1]
        assert bound(listening) == f"[{link()}]:{port}"
        socket.create_connection((link(), port)).close()


def test_the_number_of_a_link_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    address = ("fe80::1", 0, 0, 7)
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", address)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    bound_to: list[object] = []
    monkeypatch.setattr("socket.create_server", lambda where, **_: bound_to.append(where))

    listen(["[fe80::1%eth0]:0"])
    assert bound_to == [address]


def test_several_addresses_are_listened_on_in_their_order() -> None:
    ports = [free_port(), free_port()]

    with ExitStack() as stack:
        found = [
            stack.enter_context(closing(one))
            for one in listen([f"127.0.0.1:{port}" for port in ports])
        ]
        assert [one.getsockname()[1] for one in found] == ports


@pytest.mark.parametrize(
    "address",
    [
        *("", ":", "9877", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"),
        *("127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:1_0", "127.0.0.1:\u0661"),
    ],
    ids=ascii,
)
def test_what_is_no_address_is_told_with_what_would_be_one(address: str) -> None:
    assert refused(address) == f"cannot listen on {address}: must be host:port or :port"


def test_a_port_that_is_taken_is_told_in_the_systems_words() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = bound(taken)

        assert refused(address) == f"cannot listen on {address}: Address already in use"


def test_where_one_address_cannot_be_had_the_others_are_free_again() -> None:
    free = free_port()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        with pytest.raises(StartError) as caught:
            listen([f"127.0.0.1:{free}", bound(taken)])

        # As long as the error lives, so does whatever was opened before it.
        assert bound(taken) in str(caught.value)
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize("host", ["no such host", "nowhere.invalid", ".", "a..b", "x" * 70])
def test_a_name_that_does_not_resolve_is_one_line_in_the_systems_words(host: str) -> None:
    said = refused(f"{host}:0")
    assert said.startswith(f"cannot listen on {host}:0: ")
    assert "Unknown error" not in said


def test_no_answer_waits_until_its_head_is_acknowledged() -> None:
    with (
        closing(Door(listen(["127.0.0.1:0"])[0], Crowd(Limits()))) as door,
        socket.create_connection(door.getsockname()),
        closing(door.accept()[0]) as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
