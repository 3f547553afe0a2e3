"""One workspace's API over HTTP: a request out, a strict JSON answer back, errors translated.

Nothing of an answer or of the request's headers is ever in an error: the API echoes keys.
"""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx
from pydantic_core import from_json

from exporter import __version__
from exporter.bots import PAGE_SIZE
from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed, StartError

LARGEST_ON_WIRE: Final = 2 * 1024 * 1024
LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes of an answer, as they come and as they unfold; a bomb is small on the wire."""

BAD_KEY: Final = 40007
"""The API's own code for a key that it cannot decode, at whatever status it comes."""

_WBITS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_CONNECT: Final = 10.0
_READ: Final = 30.0


Transport = httpx.AsyncBaseTransport
"""What takes the place of the network in tests."""


class Client:
    """Asks the API of one workspace.

    Args:
        workspace: Where to ask, and with which key.
        transport: Takes the place of the network in tests.

    Raises:
        StartError: If its certificates cannot be used.
    """

    def __init__(self, workspace: Workspace, transport: Transport | None = None) -> None:
        self._workspace = workspace
        proxy = workspace.http.proxy_url
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=_trust(workspace),
            proxy=proxy.get_secret_value() if proxy else None,
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
        try:
            async with (
                asyncio.timeout(self._workspace.timeout.total_seconds()),
                self._http.stream(method, url, **request) as response,
            ):
                content = await _content(response)
        except (TimeoutError, httpx.TimeoutException):
            raise RequestFailed(Outcome.TIMEOUT, "no answer in time") from None
        except (httpx.InvalidURL, UnicodeError):
            # httpx looks at where a redirect would lead even if it is never followed.
            raise RequestFailed(Outcome.INVALID, "a redirect that leads nowhere") from None
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            # The kind says enough; the text may hold an address with credentials.
            raise RequestFailed(Outcome.CONNECT, type(error).__name__) from None
        return self._judged(response.status_code, content)

    def _judged(self, status: int, content: bytes) -> object:
        answer: object = None
        with suppress(ValueError):
            answer = from_json(content.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
        scope = self._workspace.dialect.key_scope
        if status in {401, 403} or _code(answer) == BAD_KEY:
            text = f"HTTP {status}: the key is not accepted; its scope must be {scope}"
            raise RequestFailed(Outcome.UNAUTHORIZED, text, status)
        if status == 200:
            if answer is None:
                raise RequestFailed(Outcome.INVALID, "HTTP 200 without strict JSON", status)
            return answer
        raise RequestFailed(_outcome(status), f"HTTP {status}", status)


def _outcome(status: int) -> Outcome:
    if status == 429:
        return Outcome.RATE_LIMITED
    if 400 <= status < 500:
        return Outcome.CLIENT_ERROR
    return Outcome.SERVER_ERROR if status >= 500 else Outcome.INVALID


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
