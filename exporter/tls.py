"""TLS as Go's words say it: what the exporter-toolkit's names mean to OpenSSL, and what they cannot."""

import os
import ssl
from collections.abc import Iterator, Mapping, Set as AbstractSet
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
OLD_VERSIONS: Final = ("TLS10", "TLS11")

CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
"""Kinds that ask for a certificate and believe any: Python's TLS verifies whatever it asks for."""

SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
SUITES_OF_TLS13: Final = (
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
)
"""Always on with TLS 1.3, in Go as well as here, whatever the list says."""

CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}


class Context(ssl.SSLContext):
    """A server's side of TLS.

    Attributes:
        allowed_sans: Names of which a client's certificate must have one; None for any.
    """

    allowed_sans: AbstractSet[str] | None = None

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client may come in with what it has shown, which is verified already."""
        if self.allowed_sans is None:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        return any(_name(kind, name) in self.allowed_sans for kind, name in names)


def _name(kind: str, name: str) -> str:
    """A name of a certificate as Go writes it: addresses in their short form."""
    try:
        return str(ip_address(name)) if kind == "IP Address" else name
    except ValueError:
        return name


class Current(ssl.SSLContext):
    """Lends each new connection the context that is in force when it comes."""

    context: Context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401 - ssl's own
        """One connection's TLS."""
        return self.context.wrap_bio(*args, **kwargs)


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL finds a content that is on no disk.

    Raises:
        OSError: If the system has no such files.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError("only Linux can")
    file = os.memfd_create("pem")
    try:
        os.write(file, content)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


@contextmanager
def held(content: bytes | None, file: Path) -> Iterator[str]:
    """A path under which OpenSSL finds what a file held when it was read.

    Where there is no such path, the file's own: it may hold something else by now.
    """
    if content is None or not hasattr(os, "memfd_create"):
        yield str(file)
    else:
        with in_memory(content) as path:
            yield path


NO_CERTIFICATES: Final = "must be certificates as PEM"


def no_pair(error: ssl.SSLError) -> str:
    """Why a certificate and its key cannot be loaded, without OpenSSL's words."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "must be a certificate and a key as PEM, the key without a password"
