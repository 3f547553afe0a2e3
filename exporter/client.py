"""One workspace's API over HTTP: a request out, a strict JSON answer back, errors translated.

Nothing of an answer or of the request's headers is ever in an error: the API echoes keys.
"""

import asyncio
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
from pydantic_core import from_json

from exporter import __version__, retry_after
from exporter.bots import PAGE_SIZE
from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed, StartError

LARGEST_ON_WIRE: Final = 2 * 1024 * 1024
LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes of an answer, as they come and as they unfold; a bomb is small on the wire."""

DEEPEST: Final = 32
"""Levels of objects and lists in an answer; the documents know six."""

BAD_KEY: Final = 40007
"""The API's own code for a key that it cannot decode, at whatever status it comes."""

_NESTED: Final = frozenset({dict, list})
_KNOWN_MEDIA: Final = frozenset(
    {"text/html", "text/plain", "text/xml", "application/xml", "application/xhtml+xml"}
)
"""What answers are where they are not JSON; anything else is not repeated."""

_BROKEN: Final[Mapping[type[Exception], str]] = {
    httpx.ConnectError: "the API cannot be reached",
    httpx.ProxyError: "the proxy does not let us through",
    httpx.NetworkError: "the connection broke before the answer was whole",
    httpx.ProtocolError: "the connection broke before the answer was whole",
}

_WBITS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_CONNECT: Final = 10.0
_KEPT: Final = 2.0  # shorter than any server keeps an idle connection: none is used as it is closed
_READ: Final = 30.0


Transport = httpx.AsyncBaseTransport
"""What takes the place of the network in tests."""


class Client:
    """Asks the API of one workspace.

    Args:
        workspace: Where to ask, and with which key.
        transport: Takes the place of the network in tests.
        now: The present as an aware instant.

    Raises:
        StartError: If its certificates cannot be used.
    """

    def __init__(
        self,
        workspace: Workspace,
        transport: Transport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._workspace = workspace
        self._now = now
        # Nothing else ever leaves, whatever an answer, a state file or a mistake of ours says.
        reports = filter(None, (workspace.url, workspace.other_url))
        self._leaves = {("POST", url): httpx.URL(url) for url in reports}
        self._leaves["GET", workspace.bots_url] = httpx.URL(workspace.bots_url)
        trust = _trust(workspace)
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=trust,
            proxy=_proxy(workspace, trust),
            trust_env=False,  # neither proxies nor credentials that nobody configured
            follow_redirects=False,  # the key would go along
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is kept
            headers={
                "User-Agent": f"seasalt-exporter/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            timeout=httpx.Timeout(_READ, connect=_CONNECT, pool=None),
            limits=httpx.Limits(
                max_connections=workspace.concurrency + 1,  # and one for the list of bots
                max_keepalive_connections=workspace.concurrency,
                keepalive_expiry=_KEPT,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def report(self, url: str, body: Mapping[str, object], key: str) -> object:
        """The answer to a request for reports.

        Raises:
            RequestFailed: If there is none, or none that can be used.
        """
        return await self._answer("POST", url, json=body, headers={"X-API-KEY": key})

    async def bots(self, offset: int, key: str) -> object:
        """The answer when asked for the page of the list of bots that begins at an offset.

        Raises:
            RequestFailed: If there is none, or none that can be used.
        """
        params = {
            "workspace_id": self._workspace.workspace_id or "",
            "offset": offset,
            "limit": PAGE_SIZE,
            "order_by": "created_at:asc",  # the default, and the one that pages can rely on
        }
        headers = {"Authorization": f"Bearer {key}"}
        return await self._answer("GET", self._workspace.bots_url, params=params, headers=headers)

    async def _answer(self, method: str, url: str, **request: Any) -> object:  # noqa: ANN401 - httpx's
        """What one request brings, judged.

        Raises:
            RequestFailed: If it brings nothing that can be used.
        """
        address = self._leaves.get((method, url))
        if address is None:
            raise RequestFailed(Outcome.INVALID, "not an address that may be asked")
        try:
            out = self._http.build_request(method, address, **request)
            async with asyncio.timeout(self._workspace.timeout.total_seconds()):
                response = await self._http.send(out, stream=True)
                try:
                    content = await _content(response)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            raise RequestFailed(Outcome.TIMEOUT, "no answer in time") from None
        except (httpx.InvalidURL, UnicodeError):
            # httpx looks at where a redirect would lead even if it is never followed.
            raise RequestFailed(Outcome.INVALID, "a redirect that leads nowhere") from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise RequestFailed(Outcome.CONNECT, _words(error)) from None
        return self._judged(response.status_code, response.headers, content)

    def _judged(self, status: int, headers: Mapping[str, str], content: bytes) -> object:
        answer: object = None
        with suppress(ValueError):
            answer = from_json(content.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
        scope = self._workspace.dialect.key_scope
        if status in {401, 403} or _code(answer) == BAD_KEY:
            text = f"HTTP {status}: the key is not accepted; its scope must be {scope}"
            raise RequestFailed(Outcome.UNAUTHORIZED, text, status)
        if status == 200:
            media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if media not in {"", "application/json", "text/json"} and not media.endswith("+json"):
                kind = f", not JSON but {media}" if media in _KNOWN_MEDIA else ", not JSON"
                raise RequestFailed(Outcome.INVALID, f"HTTP 200{kind}", status)
            if answer is None or _deeper_than(DEEPEST, answer):
                raise RequestFailed(Outcome.INVALID, "HTTP 200 without strict JSON", status)
            return answer
        wish = None
        if status in {429, 503}:
            asked, date = headers.get("Retry-After", ""), headers.get("Date", "")
            wish = retry_after.seconds(asked, date, answer, self._now())
        raise RequestFailed(_outcome(status), f"HTTP {status}", status, wish, own=_own(answer))


def _words(error: Exception) -> str:
    """What is wrong with a connection; not in the error's words, which may hold credentials."""
    kind = type(error).__name__
    for known, words in _BROKEN.items():
        if isinstance(error, known):
            return f"{words} ({kind})"
    return f"no connection ({kind})"


def _deeper_than(levels: int, answer: object) -> bool:
    """Whether an answer has more levels of objects and lists than some number."""
    nodes: list[Any] = [answer] if type(answer) in _NESTED else []
    for _ in range(levels):
        nodes = [
            inner
            for node in nodes
            for inner in (node.values() if type(node) is dict else node)
            if type(inner) in _NESTED
        ]
    return bool(nodes)


def _outcome(status: int) -> Outcome:
    if status == 429:
        return Outcome.RATE_LIMITED
    if 400 <= status < 500:
        return Outcome.CLIENT_ERROR
    return Outcome.SERVER_ERROR if status >= 500 else Outcome.INVALID


_OWN_ERRORS: Final = (
    # What must be there, and what may be beside it: the forms that the documents show.
    (frozenset({"detail"}), frozenset({"detail", "code", "parameters"})),
    (
        frozenset({"message", "code", "status_code"}),
        frozenset({"message", "code", "status_code", "parameters"}),
    ),
    (
        frozenset({"error", "message", "status_code"}),
        frozenset({"error", "message", "status_code", "details", "retry_after"}),
    ),
)


def _own(answer: object) -> bool:
    """Whether an answer is an error in one of the API's own forms; proxies have others."""
    return isinstance(answer, dict) and any(
        least <= answer.keys() <= most for least, most in _OWN_ERRORS
    )


def _code(answer: object) -> int | None:
    """The API's own error code, where an answer is nothing but an error."""
    if not isinstance(answer, dict) or "code" not in answer:
        return None
    code = answer["code"]
    return int(code) if str(code).isascii() and str(code).isdigit() and len(str(code)) < 9 else None


async def _content(response: httpx.Response) -> bytes:
    """The body, unfolded no further than the bound.

    Raises:
        RequestFailed: If it is too large or encoded in a way that was not asked for.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "", *_WBITS}:
        raise RequestFailed(Outcome.INVALID, "an encoding that was not asked for")
    inflate: Any = zlib.decompressobj(_WBITS[encoding]) if encoding in _WBITS else None
    wire, body = 0, bytearray()
    async for chunk in response.aiter_raw():
        wire += len(chunk)
        try:
            room = LARGEST_BODY + 1 - len(body)
            body += inflate.decompress(chunk, room) if inflate else chunk
        except zlib.error:
            raise RequestFailed(Outcome.INVALID, "not in its own encoding") from None
        if len(body) > LARGEST_BODY or (inflate and wire > LARGEST_ON_WIRE):
            raise RequestFailed(Outcome.INVALID, "larger than any answer may be")
    if inflate and not inflate.eof and wire:
        raise RequestFailed(Outcome.INVALID, "ends before its end")
    return bytes(body)


def _proxy(workspace: Workspace, trust: object) -> httpx.Proxy | None:
    """The configured proxy; one that is spoken to over TLS is believed as the API is."""
    if workspace.http.proxy_url is None:
        return None
    url = httpx.URL(workspace.http.proxy_url.get_secret_value())
    own = trust if isinstance(trust, ssl.SSLContext) and url.scheme == "https" else None
    return httpx.Proxy(url, ssl_context=own)


def _trust(workspace: Workspace) -> ssl.SSLContext | bool:
    """Whom to believe that it is the API, and who to say we are."""
    http = workspace.http
    if not (http.ca_file or http.cert_file):
        return workspace.url.startswith("https:")
    try:
        context = ssl.create_default_context(cafile=http.ca_file)
        if http.cert_file:
            context.load_cert_chain(http.cert_file, http.key_file)
    except (OSError, ssl.SSLError) as error:
        text = f"workspace {workspace.name}: its certificates cannot be used"
        raise StartError(f"{text} ({type(error).__name__})") from None
    return context
