"""The HTTP client of one workspace's API: requests out, strict JSON back, errors translated.

No error contains any part of an answer or of the request's headers, because the API echoes keys.
"""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx

from exporter import __version__
from exporter.config import Workspace
from exporter.config.settings import Http
from exporter.errors import Cause, NoConnection, Outcome, RequestFailed, StartError
from exporter.files import LARGEST_PEM, Unfit as UnfitFile, read as read_file, reason as why_unread
from exporter.model import api_paths
from exporter.model.bot_list import BOT_ID, PAGE_SIZE
from exporter.tls import NO_CERTIFICATES, held, no_pair
from exporter.upstream import retry_after
from exporter.upstream.answer import (
    LARGEST_BODY,
    Answer,
    Content,
    TooMuch,
    Unfit,
    Unfolding,
    holds,
    read,
    small,
)
from exporter.upstream.connection_errors import reason
from exporter.upstream.transport import KeptConnectionLost, NoEnd, NotHttp, Transport as Network

BAD_KEY: Final = 40007
"""The API's error code for a key that it cannot decode, whatever the HTTP status."""


_UNDOCUMENTED_MEDIA: Final = frozenset(
    {
        *("text/json", "text/plain", "text/javascript"),
        *("application/octet-stream", "application/x-json"),
        "application/json, application/json",  # the header twice
    }
)
"""Undocumented media types under which servers sometimes send JSON."""

_KNOWN_MEDIA: Final = _UNDOCUMENTED_MEDIA | {
    *("text/html", "text/xml", "application/xml", "application/xhtml+xml")
}
"""Media types that an error message may name; it never quotes any other one."""

_BROKEN: Final[Mapping[type[Exception], str]] = {
    httpx.ConnectError: "cannot be reached",
    httpx.NetworkError: "the connection broke before the answer was whole",
    httpx.ProtocolError: "the connection broke before the answer was whole",
}

_PROXY: Final[Mapping[str, str]] = {
    "407": "it wants a password",
    "403": "it refuses",
    "502": "it cannot reach the API",
    "503": "it cannot reach the API",
    "504": "it cannot reach the API",
}
"""Why a proxy refuses the connection, by its HTTP status."""

_IN_A_PATH: Final = rf"(?!\.\.?/){BOT_ID}"
"""The pattern of an id in a path: `..` would lead to another path."""

MOST_PROBES: Final = 16
"""Probes of a workspace at a time; bots that hang must not use up the connections of the reports."""

_MOST_MESSAGES: Final = 50
"""Messages that are read at a time."""

_CONNECT: Final = 10.0
_REFUSAL: Final = 5.0
"""Seconds for the body of a refusal; its status counts even without a body."""

_REFUSAL_WITH_A_WISH: Final = 0.5
"""The same for a refusal with Retry-After: until it is processed, other requests are still sent."""

_LARGEST_REFUSAL: Final = 64 * 1024


Transport = httpx.AsyncBaseTransport
"""Replaces the network in tests."""

Trust = ssl.SSLContext | bool
"""The trusted authorities and the client certificate; False if the connection uses no TLS."""


class Client:
    """The HTTP client of one workspace.

    Args:
        workspace: The workspace, with its URLs, timeout, proxy and certificates.
        transport: Replaces the network in tests.
        now: The present as an aware instant.
        trusted: The result of `trust`, if it was called already; that call is slow.

    Attributes:
        clock_ahead: The seconds by which the clock of the last answer's header Date is ahead of
            ours; None without one.

    Raises:
        StartError: If the workspace's certificates or URLs cannot be used.
    """

    def __init__(
        self,
        workspace: Workspace,
        transport: Transport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trusted: Trust | None = None,
    ) -> None:
        self.clock_ahead: float | None = None
        self._workspace = workspace
        self._now = now
        # No other URL is ever requested, whatever an answer, a state file or a bug of ours says.
        reports = filter(None, (workspace.url, workspace.other_url))
        if trusted is None:
            trusted = trust(workspace)
        self._leaves = {("POST", url): _address(workspace, url) for url in reports}
        self._leaves["GET", workspace.bots_url] = _address(workspace, workspace.bots_url)
        self._of_bots = tuple(_of_bots(workspace))
        self._http = httpx.AsyncClient(
            transport=transport or _transport(workspace, trusted),
            trust_env=False,  # neither proxies nor credentials from the environment
            follow_redirects=False,  # a redirect would carry the key along
            event_hooks={"response": [_nowhere_else]},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # no cookie is kept
            headers={
                "User-Agent": f"seasalt-exporter/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            timeout=httpx.Timeout(None, connect=_CONNECT),  # the total is in _answer
        )
        self._sent: dict[str, str] = {}  # the last key sent, by the header that carries it

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def report(self, url: str, body: Mapping[str, object], key: str) -> Answer:
        """Request reports.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        return await self._answer("POST", url, key, "X-API-KEY", json=body)

    async def bots(self, offset: int, key: str) -> Answer:
        """Request the page of the bot list that begins at an offset.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        params = {
            "workspace_id": self._workspace.workspace_id or "",
            "offset": offset,
            "limit": PAGE_SIZE,
            "order_by": "created_at:asc",  # the default; new bots shift no page
        }
        return await self._answer("GET", self._workspace.bots_url, key, params=params)

    async def files(self, bot_id: str, offset: int, key: str) -> Answer:
        """Request the page of the files in a bot's knowledge base that begins at an offset.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        params = {"offset": offset, "limit": PAGE_SIZE, "order_by": "created_at:asc"}
        url = self._below(api_paths.of_bot(bot_id, api_paths.KNOWLEDGE_BASE_FILES))
        return await self._answer("GET", url, key, params=params)

    async def conversation(
        self, bot_id: str, body: Mapping[str, object], key: str, seconds: float
    ) -> Answer:
        """Get or create the conversation of a user with a bot, within some seconds.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        url = self._below(api_paths.of_bot(bot_id, api_paths.CONVERSATION))
        return await self._answer("POST", url, key, seconds=seconds, once=True, json=body)

    async def message(
        self,
        bot_id: str,
        conversation_id: str,
        body: Mapping[str, object],
        key: str,
        seconds: float,
    ) -> Answer:
        """Send a message in a conversation, and wait for the reply for some seconds.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        url = self._below(api_paths.messages(bot_id, conversation_id))
        return await self._answer("POST", url, key, seconds=seconds, once=True, json=body)

    async def messages(
        self, bot_id: str, conversation_id: str, sequence: int, key: str, seconds: float
    ) -> Answer:
        """Read the messages of a conversation from a sequence number on, within some seconds.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        # Despite its name, the documents let BACKWARD begin with the first message.
        params = {
            "direction": "BACKWARD",
            "sequence": sequence,
            "offset": 0,
            "limit": _MOST_MESSAGES,
        }
        url = self._below(api_paths.messages(bot_id, conversation_id))
        return await self._answer("GET", url, key, seconds=seconds, params=params)

    def _below(self, path: str) -> str:
        """The URL of a path of the API."""
        return self._workspace.bots_url.removesuffix(api_paths.BOTS) + path

    def _of_a_bot(self, method: str, url: str) -> httpx.URL | None:
        """The address below a bot, if the configuration has a use for it."""
        for allowed, pattern in self._of_bots:
            if method == allowed and pattern.fullmatch(url):
                return _address(self._workspace, url)
        return None

    async def _answer(
        self,
        method: str,
        url: str,
        key: str,
        carrier: str = "Authorization",
        *,
        seconds: float | None = None,
        once: bool = False,
        **request: Any,  # noqa: ANN401 - httpx's
    ) -> Answer:
        """Send one request, and check and parse its answer.

        Args:
            method: The HTTP method.
            url: One of the URLs that may be requested.
            key: The key.
            carrier: The header that carries it; as a bearer token in `Authorization`.
            seconds: The time for all of it; the workspace's timeout if None.
            once: Whether the request changes something, so that it must not be sent again.
            request: The rest of the request.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        address = self._leaves.get((method, url)) or self._of_a_bot(method, url)
        if address is None:
            raise RequestFailed(Outcome.INVALID, "not an address that may be asked")
        headers = {carrier: f"Bearer {key}" if carrier == "Authorization" else key}
        if once:
            headers["Connection"] = "close"
        if seconds is not None:
            # Below the time for all of it, so that no connection is told from no answer.
            request["timeout"] = httpx.Timeout(None, connect=min(_CONNECT, seconds / 2))
        self._sent[carrier] = key
        time = asyncio.get_running_loop().time
        allowed = self._workspace.timeout.total_seconds() if seconds is None else seconds
        deadline = time() + allowed
        with self._in_our_words():
            out = self._http.build_request(method, address, headers=headers, **request)
            async with asyncio.timeout_at(deadline):
                response = await self._http.send(out, stream=True)
        self.clock_ahead = retry_after.clock_ahead(response.headers.get("Date", ""), self._now())
        try:
            if response.status_code != 200:
                asked = "Retry-After" in response.headers
                patience = _REFUSAL_WITH_A_WISH if asked else _REFUSAL
                by = min(deadline, time() + patience)
                raise self._refusal(response, await _of_refusal(response, by))
            with self._in_our_words():
                async with asyncio.timeout_at(deadline):
                    content = await _content(response, LARGEST_BODY)
        except Unfit as unfit:
            raise _unfit(unfit) from None
        finally:
            with suppress(httpx.HTTPError, OSError):  # the answer is complete already
                await response.aclose()
        large, kind = not small(content), response.headers.get("Content-Type", "")
        judge = partial(self._judged, kind, content, key, large=large)
        del content  # it may take megabytes
        return await asyncio.to_thread(_alone, judge) if large else judge()

    def _judged(self, kind: str, content: Content, key: str, *, large: bool) -> Answer:
        """Parse an answer of status 200, and note whether its Content-Type is undocumented.

        Args:
            kind: The header Content-Type.
            content: The body.
            key: The key that was sent with the request; a later request may have sent another.
            large: Whether the body is not small.

        Raises:
            RequestFailed: If the answer cannot be used.
        """
        media = _media(kind)
        odd = media in _UNDOCUMENTED_MEDIA
        if not (odd or _is_json(media)):
            raise _unfit(Unfit(_not_json(media)))
        try:
            found = read(content)
        except Unfit as unfit:
            raise _unfit(unfit, f", said to be {media}" if odd else "") from None
        if _own(found) and _code(found) == BAD_KEY:
            raise self._rejected(200)
        if found is None:
            raise _unfit(Unfit("null"))
        if holds(content, found, {key, *self._sent.values()}):
            raise _unfit(Unfit("with the key that was sent in it"))
        return Answer(found, large=large, odd=odd)

    def _refusal(self, response: httpx.Response, content: Content | None) -> RequestFailed:
        """Translate an answer of another status than 200; its body is None if it was incomplete."""
        status, headers = response.status_code, response.headers
        found: object = None
        with suppress(Exception):  # the status counts, even if the body cannot be parsed
            found = read(content or b"")
        own = _own(found)
        asked, date = headers.get("Retry-After", ""), headers.get("Date", "")
        wish = retry_after.seconds(asked, date, found, self._now())
        if _code(found) == BAD_KEY and own and not asked:
            return self._rejected(status)
        media = _media(headers.get("Content-Type", ""))
        if status in {401, 403}:
            if not asked and (own or (content is None and media and _is_json(media))):
                return self._rejected(status)
            form = "not in the API's form" if found is not None else _not_json(media)
            why = "which asks to wait" if asked else form
            text = f"HTTP {status} from something before the API, {why}"
            return RequestFailed(Outcome.RATE_LIMITED, text, status, wish, cause=Cause.BLOCKED)
        text = f"HTTP {status}: the proxy wants a password" if status == 407 else f"HTTP {status}"
        if status < 400:
            wish = None
        cause = Cause.CONNECT if status == 407 else None
        failed = RequestFailed(_outcome(status), text, status, wish, own=own, cause=cause)
        failed.code = _code(found) if own else None
        return failed

    def _rejected(self, status: int) -> RequestFailed:
        scope = self._workspace.dialect.key_scope
        text = f"HTTP {status}: the key is not accepted; its scope must be {scope}"
        return RequestFailed(Outcome.UNAUTHORIZED, text, status, own=True)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Translate network errors into `RequestFailed`, without a word of their own text.

        Raises:
            RequestFailed: If the network fails.
        """
        try:
            yield
        except httpx.ConnectTimeout:
            raise NoConnection(Outcome.TIMEOUT, "no connection in time") from None
        except (TimeoutError, httpx.TimeoutException):
            raise RequestFailed(Outcome.TIMEOUT, "no answer in time") from None
        except NoEnd:
            text = "no answer, but more before one than any may have"
            raise RequestFailed(Outcome.INVALID, text, fault=True) from None
        except NotHttp:
            raise RequestFailed(Outcome.CONNECT, "not HTTP/1.1, or broken HTTP") from None
        except (httpx.HTTPError, OSError) as error:
            proxied = self._workspace.http.proxy_url is not None
            none = isinstance(error, httpx.ConnectError | httpx.ProxyError)
            failure = NoConnection if none else RequestFailed
            failed = failure(Outcome.CONNECT, _words(error, proxied=proxied))
            failed.of_a_kept_connection = isinstance(error, KeptConnectionLost)
            raise failed from None


def _alone(judge: Callable[[], Answer]) -> Answer:
    """Process one large answer at a time, because several at once would add up in memory."""
    with _one_large:
        return judge()


def _words(error: Exception, *, proxied: bool) -> str:
    """Why a connection failed, without the error's own text, which may contain credentials."""
    why, kind = reason(error), type(error).__name__
    if isinstance(error, httpx.ProxyError):
        status = str(error)[:3]  # httpx has the status nowhere but in the text
        why = f": {_PROXY[status]}" if status in _PROXY else f" ({kind})"
        return f"the proxy does not let us through{why}"
    what = next((said for known, said in _BROKEN.items() if isinstance(error, known)), "")
    if isinstance(error, httpx.ConnectError):
        # A proxy passes TLS through, so a TLS error comes from the API.
        tls = why.startswith(("certificate", "self-signed", "TLS"))
        what = f"the {'proxy' if proxied and not tls else 'API'} {what}"
    return f"{what or 'no connection'}{f': {why}' if why else f' ({kind})'}"


def _media(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _is_json(media: str) -> bool:
    return media in {"", "application/json"} or media.endswith("+json")


def _not_json(media: str) -> str:
    return f"not JSON but {media}" if media in _KNOWN_MEDIA else "not JSON"


def _outcome(status: int) -> Outcome:
    if status == 429:
        return Outcome.RATE_LIMITED
    if 400 <= status < 500:
        return Outcome.CLIENT_ERROR
    return Outcome.SERVER_ERROR if status >= 500 else Outcome.INVALID


_OWN_ERRORS: Final = (
    # The documented error forms: the required fields, and the optional ones.
    ({"detail"}, {"code", "parameters"}),
    ({"message", "code", "status_code"}, {"parameters"}),
    ({"error", "message", "status_code"}, {"details", "retry_after"}),
)


def _own(answer: object) -> bool:
    """Whether an answer has one of the API's own error forms; a proxy's error has none of them."""
    return isinstance(answer, dict) and any(
        least <= answer.keys() <= least | more for least, more in _OWN_ERRORS
    )


def _code(answer: object) -> int | None:
    """The API's own error code in an answer; None if there is none."""
    if not isinstance(answer, dict) or "code" not in answer:
        return None
    code = answer["code"]
    return int(code) if str(code).isascii() and str(code).isdigit() and len(str(code)) < 9 else None


def _unfit(unfit: Unfit, more: str = "") -> RequestFailed:
    text = f"HTTP 200, {unfit}{more}"
    return RequestFailed(Outcome.INVALID, text, 200, fault=isinstance(unfit, TooMuch))


async def _of_refusal(response: httpx.Response, by: float) -> Content | None:
    """Read the body of a refusal; None if it is not complete by a time of the loop's clock."""
    try:
        async with asyncio.timeout_at(by):
            return await _content(response, _LARGEST_REFUSAL)
    except (Unfit, TimeoutError, httpx.HTTPError, OSError):
        return None


async def _content(response: httpx.Response, most: int) -> Content:
    """Read and decompress the body, up to a number of decompressed bytes.

    Raises:
        Unfit: If the body is too large, broken, or in an encoding that was not requested.
    """
    unfolding, body = Unfolding(response.headers.get("Content-Encoding", "")), bytearray()
    async for chunk in response.aiter_raw():
        for piece in unfolding.feed(chunk):
            body += piece
            if len(body) > most:
                raise TooMuch("too large")
            await asyncio.sleep(0)  # a small chunk may decompress to a lot
    unfolding.end()
    return body


async def _nowhere_else(response: httpx.Response) -> None:
    """Remove the Location header: httpx parses it, and may fail, even if it never follows it."""
    response.headers.pop("Location", None)


def _address(workspace: Workspace, url: str) -> httpx.URL:
    """A URL as httpx requests it.

    Raises:
        StartError: If httpx cannot parse it, or sees another host in it than the configuration's
            check did.
    """
    with suppress(httpx.InvalidURL, ValueError):
        found = httpx.URL(url)
        if found.host and found.host == urlsplit(url).hostname:
            return found
    raise StartError(f"workspace {workspace.name}: base_url is no address that can be asked")


def _of_bots(workspace: Workspace) -> Iterator[tuple[str, re.Pattern[str]]]:
    """The methods and URLs below bots that may be requested: only those that are configured."""
    paths = []
    if workspace.knowledge_base:
        paths.append(("GET", api_paths.KNOWLEDGE_BASE_FILES))
    if workspace.has_probes:
        messages = f"conversations/{_IN_A_PATH}/{api_paths.MESSAGES}"
        paths += [("POST", api_paths.CONVERSATION), ("POST", messages), ("GET", messages)]
    for method, path in paths:
        pattern = f"{re.escape(workspace.bots_url)}/{_IN_A_PATH}/{path}"
        yield method, re.compile(pattern, re.ASCII)


def _transport(workspace: Workspace, trusted: Trust) -> Network:
    """The transport to the API.

    Raises:
        StartError: If the proxy's URL cannot be used.
    """
    # And one for the bot list, one for the knowledge base, and those of the probes.
    more = 1 + workspace.knowledge_base + MOST_PROBES * workspace.has_probes
    context = trusted if isinstance(trusted, ssl.SSLContext) else None
    return Network(context, _proxy(workspace, trusted), workspace.own_concurrency + more)


def _proxy(workspace: Workspace, trusted: Trust) -> httpx.Proxy | None:
    """The configured proxy; a proxy behind TLS is verified with the API's certificates.

    Raises:
        StartError: If its URL cannot be used.
    """
    if workspace.http.proxy_url is None:
        return None
    try:
        url = httpx.URL(workspace.http.proxy_url.get_secret_value())
        own = trusted if isinstance(trusted, ssl.SSLContext) and url.scheme == "https" else None
        return httpx.Proxy(url, ssl_context=own)
    except (httpx.InvalidURL, ValueError):
        text = f"workspace {workspace.name}: http.proxy_url is no address that can be asked"
        raise StartError(text) from None


_trusted: Final = WeakValueDictionary[tuple[bytes | None, ...], ssl.SSLContext]()
_one_at_a_time: Final = threading.Lock()
_one_large: Final = threading.Lock()
_PEM: Final = ("ca_file", "cert_file", "key_file")


def trust(workspace: Workspace) -> Trust:
    """The TLS context of a workspace; workspaces with the same file contents share one.

    This reads files and may be slow: a context contains all authorities, which take 0.7 MB.

    Raises:
        StartError: If the workspace's certificates cannot be used.
    """
    http = workspace.http
    if not any(getattr(http, name) for name in _PEM) and not workspace.url.startswith("https:"):
        return False
    try:
        ca, cert, key = (_held(name, getattr(http, name)) for name in _PEM)
        # By digest, so that no copy of a private key is kept beside the context.
        digests = tuple(sha256(part).digest() if part else part for part in (ca, cert, key))
        with _one_at_a_time:
            found = _trusted.get(digests)
            if found is None:
                found = _trusted[digests] = _context(ca, cert, key, http)
    except (OSError, ValueError) as error:
        text = f"workspace {workspace.name}: its certificates cannot be used"
        why = f": {error}" if isinstance(error, UnfitFile) else f" ({type(error).__name__})"
        raise StartError(f"{text}{why}") from None
    return found


def _held(name: str, file: Path | None) -> bytes | None:
    """The content of the PEM file of a setting in `http`; None if it is not set.

    Raises:
        UnfitFile: If the file cannot be read.
    """
    try:
        return read_file(file, LARGEST_PEM) if file else None
    except OSError as error:
        raise UnfitFile(f"http.{name} {why_unread(error)}") from None


def _context(ca: bytes | None, cert: bytes | None, key: bytes | None, http: Http) -> ssl.SSLContext:
    """The client's TLS context, made from the bytes that were read, not from the files again.

    Raises:
        OSError: If the certificates cannot be used; if it is UnfitFile, its text says why.
    """
    if ca is None:
        context = httpx.create_ssl_context(trust_env=False)
    else:
        # Non-ASCII characters can only be in comments between the certificates.
        text = ca.decode("ascii", "replace").replace("\ufffd", "?")
        try:
            # For an empty text, Python would load the system's and the environment's authorities.
            context = ssl.create_default_context(cadata=text or "nothing")
        except (ssl.SSLError, ValueError):
            raise UnfitFile(f"http.ca_file {NO_CERTIFICATES}") from None
    # Ignore SSLKEYLOGFILE: with that file, anybody could decrypt the API key.
    context.keylog_filename = None  # type: ignore[assignment]  # typeshed lacks None
    if cert is not None:
        with ExitStack() as opened:
            files = ((cert, http.cert_file), (key, http.key_file))
            paths = [file and opened.enter_context(held(part, file)) for part, file in files]
            try:
                # An empty password never fits; without one, OpenSSL would prompt on the terminal.
                context.load_cert_chain(str(paths[0]), paths[1], password="")
            except ssl.SSLError as error:
                raise UnfitFile(f"http.cert_file and key_file: {no_pair(error)}") from None
    return context
