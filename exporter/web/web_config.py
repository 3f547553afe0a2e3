"""The web configuration file: TLS, authentication, headers and rate limit.

The format is that of the exporter-toolkit. Unsupported settings are rejected at load, never
ignored: an operator who configures a protection must not believe in one that does not exist.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, RootModel, SecretStr

from exporter.config.shape import validated
from exporter.config.yaml_document import Document, Place, read
from exporter.did_you_mean import did_you_mean
from exporter.errors import ConfigError
from exporter.files import LARGEST_PEM, Followed, reason
from exporter.model.report import Section
from exporter.tls import (
    CLIENT_AUTH,
    CURVES,
    NO_CERTIFICATES,
    OLD_VERSIONS,
    SUITES,
    SUITES_OF_TLS13,
    UNVERIFIED,
    VERSIONS,
    Context,
    held,
    in_memory,
    no_pair,
)

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Headers that can be set, each with its valid values; without any, every value is valid."""

DEAREST: Final = 18
"""The highest bcrypt cost: a check takes about 15 seconds, and twice that at the next cost."""

# The 22nd character of the salt has four unused bits. They must be 0, or every check fails.
_HASH: Final = re.compile(
    r"\$2[abxy]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII
)
_UNITS: Final = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 1_000_000),
    "µs": Fraction(1, 1_000_000),
    "ns": Fraction(1, 1_000_000_000),
}
_PART: Final = r"([0-9]{1,19}(?:\.[0-9]{0,19})?)(ms|us|µs|ns|h|m|s)"

_TLS: Final = ("tls_server_config",)

ModelT = TypeVar("ModelT", bound=Section)


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The web configuration in force.

    Attributes:
        tls: The TLS context of the server, None for plain HTTP.
        headers: Response headers, added to every answer.
        users: The bcrypt hash of each user's password; if it is empty, there is no authentication.
        rate_limit: The rate limit for requests, None for no limit.
        files: The files from which it was read, as they were then.
    """

    tls: Context | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: Mapping[bytes, bytes] = field(default_factory=dict)
    rate_limit: "RateLimit | None" = None
    files: tuple[Followed, ...] = field(default=(), compare=False)


def _one_of(known: Iterable[str], refused: Iterable[str] = (), why: str = "") -> AfterValidator:
    """A validator for a closed set of strings; its error suggests the nearest one.

    The exporter-toolkit's strings that cannot be honoured here are refused, and the error says why.
    """
    names = tuple(known)

    def check(value: str) -> str:
        if value in refused:
            raise ValueError(why)
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}{did_you_mean(value, names)}")
        return value

    return AfterValidator(check)


def _http2(value: bool) -> bool:  # noqa: FBT001 - pydantic's signature
    if value:
        raise ValueError("http2 cannot be honoured: HTTP/1.1 is spoken; leave it out or say false")
    return value


def _hash(value: SecretStr) -> SecretStr:
    given = value.get_secret_value()
    found = _HASH.fullmatch(given)
    if not found and _HASH.fullmatch(given.partition(":")[2]):
        raise ValueError("must be the hash alone, without the NAME: that htpasswd prints before it")
    if not found:
        raise ValueError("must be a bcrypt hash, as `htpasswd -nBC 10 NAME` prints it")
    if not 4 <= int(found[1]) <= DEAREST:
        raise ValueError(f"must have a cost from 4 to {DEAREST}: 10 takes well below a second")
    return value


def _seconds(value: object) -> Fraction:
    """The seconds of a duration in Go's format."""
    if value == "0":
        return Fraction(0)
    if isinstance(value, float) or not re.fullmatch(f"(?:{_PART})+", str(value), re.ASCII):
        raise ValueError("must be a duration like 1s, 500ms or 1m30s; 0 for no limit")
    parts = re.findall(_PART, str(value))
    return sum((Fraction(number) * _UNITS[unit] for number, unit in parts), Fraction(0))


_Version = Annotated[
    str, _one_of(VERSIONS, OLD_VERSIONS, "must be TLS12 or TLS13; older versions are not spoken")
]
_ClientAuth = Annotated[
    str,
    _one_of(
        CLIENT_AUTH,
        UNVERIFIED,
        "cannot be honoured: a certificate that is asked for is verified here; use"
        " VerifyClientCertIfGiven, RequireAndVerifyClientCert or NoClientCert",
    ),
]


class _Tls(Section):
    cert: str | None = None
    cert_file: str | None = None
    key: SecretStr | None = None
    key_file: str | None = None
    client_ca: str | None = None
    client_ca_file: str | None = None
    client_auth_type: _ClientAuth = "NoClientCert"
    client_allowed_sans: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: Annotated[
        tuple[Annotated[str, _one_of((*SUITES, *SUITES_OF_TLS13))], ...], Field(max_length=100)
    ] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: Annotated[
        tuple[Annotated[str, _one_of(CURVES)], ...], Field(max_length=100)
    ] = ()


class _Http(Section):
    http2: Annotated[bool, AfterValidator(_http2)] = False
    headers: Mapping[str, Any] = {}


class RateLimit(Section):
    """The rate limit for requests, as a token bucket.

    Attributes:
        interval: Seconds until one token is added.
        burst: The capacity of the bucket.
    """

    interval: Annotated[Fraction, BeforeValidator(_seconds)] = Fraction(0)
    burst: int = Field(0, ge=0, le=1_000_000)


class _File(Section):
    tls_server_config: Mapping[str, Any] = {}
    http_server_config: Mapping[str, Any] = {}
    basic_auth_users: Mapping[str, Any] = {}
    rate_limit: Mapping[str, Any] = {}


class _Users(RootModel[Mapping[Any, Annotated[SecretStr, AfterValidator(_hash)]]]):
    """The hash of each user's password."""


def load(file: str, environment: Mapping[str, str]) -> WebConfig:
    """The web configuration of a file; an empty file restricts nothing.

    Args:
        file: The name of the file; paths in it are relative to its folder.
        environment: The variables for `${NAME}`.

    Raises:
        ConfigError: With every mistake.
    """
    document = read(file, environment)
    found = _Reader(document).web_config()
    if document.mistakes:
        raise ConfigError(document.mistakes)
    return found


def _no_such_header(name: str) -> str:
    return f"only {', '.join(HEADERS)} can be set{did_you_mean(name, HEADERS)}"


class _Reader:
    """Turns a document into a web configuration, and records its mistakes in the document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def web_config(self) -> WebConfig:
        """The web configuration of the document; meaningless if there are mistakes."""
        data = {} if self.document.data is None else self.document.data
        if not isinstance(data, dict):
            self.document.wrong(
                (), f"must be a mapping with keys of {', '.join(_File.model_fields)}"
            )
            return WebConfig()
        self._shape(_File, data, ())
        # Whatever that found, the sections that are mappings are checked as well.
        sections = {name: section for name, section in data.items() if isinstance(section, dict)}
        return WebConfig(
            self._tls(sections.get("tls_server_config", {})),
            self._headers(sections.get("http_server_config", {})),
            self._users(sections.get("basic_auth_users", {})),
            self._rate_limit(sections.get("rate_limit", {})),
            tuple(self.document.files),
        )

    def _shape(self, model: type[ModelT], data: Mapping[str, Any], place: Place) -> ModelT | None:
        """A section as its model; a known key with an empty value counts as absent."""
        known = model.model_fields
        given = {
            key: value for key, value in data.items() if key not in known or value not in (None, "")
        }
        found, _ = validated(self.document, model, given, place)
        return found

    def _headers(self, data: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
        place = ("http_server_config",)
        http = self._shape(_Http, data, place)
        if http is None:
            return ()
        found = []
        for name, value in http.headers.items():
            where = (*place, "headers", name)
            if name not in HEADERS:
                self.document.wrong(where, partial(_no_such_header, name))
            elif not value:
                continue
            elif HEADERS[name] and value not in HEADERS[name]:
                self.document.wrong(where, f"{name} must be {' or '.join(HEADERS[name])}")
            elif not (isinstance(value, str) and value.isascii() and value.isprintable()):
                self.document.wrong(where, f"{name} must be a line of ASCII")
            else:
                found.append((name.lower().encode(), value.strip().encode()))
        return tuple(found)

    def _users(self, data: Mapping[str, Any]) -> Mapping[bytes, bytes]:
        place = ("basic_auth_users",)
        good = {}
        for name, value in data.items():
            if not name or ":" in name or not name.isprintable():
                text = "a user's name must be printable, without a colon in it"
                self.document.wrong((*place, name), text)
            else:
                good[name] = value
        users, _ = validated(self.document, _Users, good, place)
        hashes = users.root.items() if users else ()
        return {name.encode(): value.get_secret_value().encode() for name, value in hashes}

    def _rate_limit(self, data: Mapping[str, Any]) -> RateLimit | None:
        limit = self._shape(RateLimit, data, ("rate_limit",))
        if limit is None or not limit.interval:
            return None
        if limit.burst < 1:
            self.document.wrong(
                ("rate_limit", "burst"), "must be at least 1, or nothing would be answered"
            )
        return limit

    def _tls(self, data: Mapping[str, Any]) -> Context | None:
        given = self._shape(_Tls, data, _TLS) if data else None
        if given is None:
            return None
        context = Context(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION
        if given.min_version > given.max_version:
            self.document.wrong((*_TLS, "max_version"), "must not be below min_version")
        else:
            context.minimum_version = VERSIONS[given.min_version]
            context.maximum_version = VERSIONS[given.max_version]
        self._ciphers(context, given)
        self._certificate(context, given)
        self._clients(context, given)
        return context

    def _ciphers(self, context: Context, given: _Tls) -> None:
        if given.cipher_suites:
            chosen = [SUITES[name] for name in given.cipher_suites if name in SUITES]
            if chosen:
                context.set_ciphers(":".join(chosen))
            elif given.min_version != "TLS13":
                self.document.wrong(
                    (*_TLS, "cipher_suites"),
                    "has suites of TLS 1.3 alone, which are always on: say min_version: TLS13",
                )
        if not given.prefer_server_cipher_suites:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        if len(given.curve_preferences) > 1:
            self.document.wrong(
                (*_TLS, "curve_preferences"),
                "only one curve can be honoured: name one, or leave it out for all of them",
            )
        for name in given.curve_preferences:
            try:
                context.set_ecdh_curve(CURVES[name])
            except (ValueError, ssl.SSLError):
                self.document.wrong(
                    (*_TLS, "curve_preferences"), "is a curve that this OpenSSL does not have"
                )

    def _certificate(self, context: Context, given: _Tls) -> None:
        """Load certificate and key into a new context; a failure would break one in use."""
        inline_key = given.key.get_secret_value() if given.key else None
        with ExitStack() as opened:
            certificate = self._pem("cert", given.cert, given.cert_file, opened)
            key = self._pem("key", inline_key, given.key_file, opened)
            if certificate is None or key is None:
                return
            try:
                # Without a password here, OpenSSL would prompt for one on the terminal.
                context.load_cert_chain(certificate, key, password="")
            except ssl.SSLError as error:
                self.document.wrong(_TLS, no_pair(error))
            except (OSError, ValueError):
                self.document.wrong(_TLS, "the certificate and its key cannot be read")

    def _pem(
        self, name: str, inline: str | None, file: str | None, opened: ExitStack
    ) -> str | None:
        """A path to a PEM that is given inline or as a file; None after recording a mistake."""
        if (inline is None) == (file is None):
            self.document.wrong(_TLS, f"needs one of {name} and {name}_file")
        elif file is not None:
            content = self._file(f"{name}_file", file)
            if content is not None:
                return opened.enter_context(held(content, self.document.files[-1].path))
        elif inline is not None:
            try:
                return opened.enter_context(in_memory(inline.encode()))
            except OSError:
                self.document.wrong((*_TLS, name), f"can be used on Linux alone: use {name}_file")
        return None

    def _file(self, key: str, name: str) -> bytes | None:
        """The content of a file relative to this one; None after recording a mistake."""
        place = (*_TLS, key)
        if name.startswith("~"):
            self.document.wrong(place, "must be a whole path: nobody expands the ~ in it")
            return None
        file = Followed(Path(self.document.file).parent / name, LARGEST_PEM)
        self.document.files.append(file)
        try:
            return file.read()
        except OSError as error:
            self.document.wrong(place, reason(error))
            return None

    def _clients(self, context: Context, given: _Tls) -> None:
        """Set up the verification of client certificates."""
        context.verify_mode = CLIENT_AUTH[given.client_auth_type]
        authority = self._authority(given)
        if authority is None:
            if given.client_auth_type == "RequireAndVerifyClientCert":
                self.document.wrong(
                    _TLS,
                    "needs one of client_ca and client_ca_file, or any public authority's"
                    " certificate would do",
                )
            elif given.client_auth_type == "VerifyClientCertIfGiven":
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        else:
            if given.client_auth_type == "NoClientCert":
                self.document.wrong(
                    _TLS, "has authorities for clients: say client_auth_type as well"
                )
            try:
                # Non-ASCII characters can only be in comments between the certificates.
                context.load_verify_locations(cadata=authority.encode("ascii", "replace").decode())
            except (ssl.SSLError, ValueError):
                name = "client_ca" if given.client_ca else "client_ca_file"
                self.document.wrong((*_TLS, name), NO_CERTIFICATES)
        if given.client_allowed_sans is not None:
            if given.client_auth_type != "RequireAndVerifyClientCert":
                self.document.wrong(
                    (*_TLS, "client_allowed_sans"),
                    "needs client_auth_type: RequireAndVerifyClientCert",
                )
            context.allowed_sans = frozenset(given.client_allowed_sans)

    def _authority(self, given: _Tls) -> str | None:
        if given.client_ca and given.client_ca_file:
            self.document.wrong(_TLS, "needs one of client_ca and client_ca_file")
        if given.client_ca_file is None:
            return given.client_ca
        content = self._file("client_ca_file", given.client_ca_file)
        return "" if content is None else content.decode("latin-1")
