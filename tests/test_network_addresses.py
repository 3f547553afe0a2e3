"""Addresses as operators write them and clients have them."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, strategies as st

from exporter.network_addresses import everywhere, joined, party, split


@given(
    st.one_of(st.ip_addresses().map(str), st.from_regex("[a-z0-9.-]+", fullmatch=True)),
    st.integers(0, 65535),
)
def test_what_is_joined_is_split_again(host: str, port: int) -> None:
    assert split(joined(host, port)) == (host, port)


def test_the_link_of_an_address_is_a_part_of_it() -> None:
    assert split("[fe80::1%eth0]:9877") == ("fe80::1%eth0", 9877)


@pytest.mark.parametrize("host", ["", "::", "0::0", "::%lo"])
def test_everywhere_is_nowhere_in_particular(host: str) -> None:
    assert everywhere(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "127.0.0.1", "localhost", "::ffff:0.0.0.0"])  # noqa: S104
def test_what_is_somewhere_is_not_everywhere(host: str) -> None:
    assert not everywhere(host)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_64_are_one_client(address: IPv6Address, other: int) -> None:
    if address.ipv4_mapped is None:
        near = IPv6Address((int(address) >> 64 << 64) | other)
        assert near.ipv4_mapped or party(str(near)) == party(str(address))
        assert party(str(IPv6Address(int(address) ^ (1 << 64)))) != party(str(address))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_every_ipv4_address_is_a_client_in_either_form(
    one: IPv4Address, other: IPv4Address
) -> None:
    assert party(f"::ffff:{one}") == party(str(one)) == str(one)
    assert (party(str(one)) == party(str(other))) == (one == other)


def test_the_link_makes_no_other_client() -> None:
    assert party("fe80::1%eth0") == party("fe80::2%eth1") == "fe80::"
