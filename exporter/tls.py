"""TLS settings by their Go names, as the exporter-toolkit uses them, mapped to OpenSSL."""

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
"""Modes that request a certificate but do not verify it; Python verifies whatever it requests."""

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
"""Always enabled with TLS 1.3, as in Go, whatever the configured list says."""

CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}


class Context(ssl.SSLContext):
    """The TLS context of a server.

    Attributes:
        allowed_sans: The names of which a client certificate must contain one; None allows all.
    """

    allowed_sans: AbstractSet[str] | None = None

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client is admitted with this certificate, which is already verified."""
        if self.allowed_sans is None:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        return any(_name(kind, name) in self.allowed_sans for kind, name in names)


def _name(kind: str, name: str) -> str:
    """A name of a certificate as Go writes it: IP addresses in their short form."""
    try:
        return str(ip_address(name)) if kind == "IP Address" else name
    except ValueError:
        return name


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read some bytes that exist in memory only.

    Raises:
        OSError: If the system has no in-memory files.
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
    """A path under which OpenSSL can read the content that a file had when it was read.

    Without in-memory files it is the path of the file itself, which may have changed since.
    """
    if content is None or not hasattr(os, "memfd_create"):
        yield str(file)
    else:
        with in_memory(content) as path:
            yield path


NO_CERTIFICATES: Final = "must be certificates as PEM"


def no_pair(error: ssl.SSLError) -> str:
    """Why a certificate and its key cannot be loaded, without OpenSSL's own message."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "must be a certificate and a key as PEM, the key without a password"
