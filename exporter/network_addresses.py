"""Parsing and formatting of listen addresses, client addresses and URLs. Pure."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_IN_BRACKETS: Final = re.compile(r"(?:^|@)\[[^\[\]@]*\](?::[0-9]*)?$", re.ASCII)

_SUBSCRIBER: Final = 64
"""The prefix length of an IPv6 subscriber's network; the subscriber may use any address in it."""


def split(text: str) -> tuple[str, int]:
    """Host and port of a listen address.

    Examples are `:9877`, `127.0.0.1:0`, `[::1]:9877` and `[fe80::1%eth0]:9877`.

    Raises:
        ValueError: If the text is not such an address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("must be host:port or :port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def joined(host: str, port: int) -> str:
    """The address as text; an IPv6 host is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The host as an IP address, None for a name; an IPv4-mapped IPv6 address becomes IPv4."""
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return (found.version == 6 and found.ipv4_mapped) or found


def everywhere(host: str) -> bool:
    """Whether a server on this host listens on all IPv6 and IPv4 addresses, as in Go."""
    found = literal(host)
    return not host or (found is not None and found.version == 6 and found.is_unspecified)


def party(host: str) -> str:
    """The client to which a host belongs: an IPv4 address, or the /64 of an IPv6 address."""
    found = literal(host)
    if found is None:
        return host
    if found.version == 4:
        return str(found)
    return str(IPv6Address(int(found) >> _SUBSCRIBER << _SUBSCRIBER))


def url_parts(text: str) -> SplitResult | None:
    """The parts of an http or https URL; None if no valid request could be sent to it."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
        if "[" in parts.netloc:
            if not _IN_BRACKETS.search(parts.netloc):
                return None  # parsers disagree about the host of `[::1]evil.com`
            ip_address(host)
        elif len(host) > 253 or not _HOST.fullmatch(host):
            return None
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and text.isprintable() else None
