"""Why a connection failed, from the error codes of the system and OpenSSL. Pure.

The text of an error is never used: it may contain credentials or data from the other side.
"""

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

_MOST: Final = 50

_SYSTEM: Final[Mapping[int | None, str]] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ENETUNREACH: "network unreachable",
    errno.ENETDOWN: "network down",
    errno.EHOSTUNREACH: "host unreachable",
    errno.EHOSTDOWN: "host down",
    errno.ETIMEDOUT: "the connection timed out",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection closed by the other side",
    errno.EADDRNOTAVAIL: "no local address or port left",
    errno.EMFILE: "too many open files in this process",
    errno.ENFILE: "too many open files on this host",
    errno.EACCES: "not permitted by this host",
    errno.EPERM: "not permitted by this host",
}

_LOOK_UP: Final[Mapping[int | None, str]] = {
    socket.EAI_NONAME: "name unknown",
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): "name unknown",
    socket.EAI_AGAIN: "name lookup failed for now",
}

_CERTIFICATE: Final[Mapping[int, str]] = {
    2: "certificate of an unknown authority",
    9: "certificate not yet valid",
    10: "certificate expired",
    18: "self-signed certificate",
    19: "self-signed certificate in the chain",
    20: "certificate of an unknown authority",
    21: "certificate of an unknown authority",
    23: "certificate revoked",
    26: "certificate not meant for a server",
    62: "certificate for another name",
    64: "certificate for another address",
    66: "certificate with too weak a key",
    68: "certificate with too weak a signature",
}

_TLS: Final[Mapping[str | None, str]] = {
    "WRONG_VERSION_NUMBER": "TLS protocol: the other side does not speak TLS, or no version of ours",
    "HTTP_REQUEST": "TLS protocol: the other side speaks plain HTTP",
    "UNSUPPORTED_PROTOCOL": "TLS protocol: only versions older than 1.2",
    "TLSV1_ALERT_PROTOCOL_VERSION": "TLS protocol: no common version",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "TLS protocol: handshake refused",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "TLS protocol: a client certificate is required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "TLS protocol: our client certificate was refused",
    "TLSV1_ALERT_UNKNOWN_CA": "TLS protocol: our client certificate was refused",
}


def reason(error: BaseException) -> str:
    """Why a connection failed, in a few words; empty if no error in the chain says why."""
    found = list(_behind(error))
    for one in found:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _CERTIFICATE.get(one.verify_code, f"certificate not valid ({one.verify_code})")
    for one in found:
        if isinstance(one, ssl.SSLError) and one.reason in _TLS:
            return _TLS[one.reason]
    for one in found:
        if isinstance(one, socket.gaierror):
            return _LOOK_UP.get(one.errno, "name lookup failed")
    for one in found:
        # OpenSSL's error numbers are not the system's.
        if isinstance(one, OSError) and not isinstance(one, ssl.SSLError) and one.errno in _SYSTEM:
            return _SYSTEM[one.errno]
    # Last, because a reset connection also raises a TLS error, and the reset is the cause.
    return "TLS protocol" if any(isinstance(one, ssl.SSLError) for one in found) else ""


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An error and every error in its chain, each once."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        waiting += [*filter(None, (one.__cause__, one.__context__)), *inner]
