"""The ASGI application that Prometheus talks to: exact routes, GET and HEAD, nothing else. Polls nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs

from exporter import status_page
from exporter.exposition import Snapshot
from exporter.status import Status
from exporter.stitch import Piece

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_PLAIN: Final = b"text/plain; charset=utf-8"

PIECE: Final = 131_072
"""Bytes of a page that are handed on at a time; the next waits until the client has taken them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, whole."""

    status: int
    body: bytes
    content_type: bytes = _PLAIN
    headers: tuple[Header, ...] = ()


_SCRAPERS: Final = 32
"""So many headers are not read again: whoever comes back sends the same."""

_GUARDED: Final = (
    # The page holds names from elsewhere: whatever they are, nothing of them is run or fetched.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
NOT_FOUND: Final = Answer(404, b"Not Found\n")
NOT_ALLOWED: Final = Answer(405, b"Method Not Allowed\n", headers=((b"allow", b"GET, HEAD"),))
POST_ALONE: Final = Answer(405, b"Method Not Allowed\n", headers=((b"allow", b"POST"),))
NOT_ENABLED: Final = Answer(403, b"Start with --web.enable-lifecycle to allow this\n")


class Web:
    """Serves the page, and says whether the exporter is alive and ready.

    Args:
        snapshot: The values as they are now.
        own: The exporter's own metrics, compressed, in OpenMetrics if told so.
        ready: Whether every workspace has had an answer.
        status: Looks at how the polling goes, and says what brings that, which may take long.
        reload: Reads the configuration again, and says what is wrong with it; None forbids it.
        telemetry_path: Where the page is.
        route_prefix: What comes before every route, without a slash at its end.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Awaitable[Snapshot]],
        own: Callable[[bool], Iterable[Piece]],
        ready: Callable[[], bool],
        status: Callable[[], Callable[[], Status]],
        reload: Callable[[], Awaitable[str]] | None = None,
        telemetry_path: str = "/metrics",
        route_prefix: str = "",
    ) -> None:
        self._snapshot = snapshot
        self._own = own
        self._ready = ready
        self._status = status
        self._reload = reload
        self._reloading = f"{route_prefix}/-/reload"
        self._api = f"{route_prefix}/api/v1/status"
        self._metrics = route_prefix + telemetry_path
        self._routes: Mapping[str, Callable[[], Answer]] = {
            f"{route_prefix}/-/healthy": lambda: Answer(200, b"Healthy\n"),
            f"{route_prefix}/-/ready": self._readiness,
        }
        self._pages: Mapping[str, Callable[[Scope, Status], Answer]] = {
            f"{route_prefix}/": self._landing,
            self._api: _json,
        }
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        known = path == self._metrics or path in self._routes or path in self._pages
        if path == self._reloading:
            await reply(scope, send, await self._reloaded(scope["method"]))
        elif not known:
            await reply(scope, send, NOT_FOUND)
        elif scope["method"] not in {"GET", "HEAD"}:
            await reply(scope, send, NOT_ALLOWED)
        elif path == self._metrics:
            await self._page(scope, send)
        elif path in self._routes:
            await reply(scope, send, self._routes[path]())
        else:
            await reply(scope, send, await self._looked(scope, self._pages[path]))

    async def _page(self, scope: Scope, send: Send) -> None:
        snapshot = await self._snapshot()
        openmetrics = wants_openmetrics(_values(scope, b"accept"))
        page = Piece.joined((snapshot.page, *self._own(openmetrics)))
        headers = [
            (b"content-type", OPENMETRICS if openmetrics else TEXT),
            (b"vary", b"Accept, Accept-Encoding"),
        ]
        if wants_gzip(_values(scope, b"accept-encoding")):
            headers.append((b"content-encoding", b"gzip"))
            member = page.member()
            await _stream(scope, send, headers, sum(map(len, member)), member)
        else:
            await _stream(scope, send, headers, page.size, page.text())

    async def _reloaded(self, method: str) -> Answer:
        if method != "POST":
            return POST_ALONE
        if self._reload is None:
            return NOT_ENABLED
        mistakes = await self._reload()
        if mistakes:
            return Answer(500, f"The old configuration stays in force:\n{mistakes}\n".encode())
        return Answer(200, b"Reloaded\n")

    async def _looked(self, scope: Scope, answer: Callable[[Scope, Status], Answer]) -> Answer:
        """A page on how the polling goes, made beside the event loop, one at a time."""
        async with self._one:
            status = self._status()
            return await asyncio.to_thread(lambda: answer(scope, status()))

    def _readiness(self) -> Answer:
        if self._ready():
            return Answer(200, b"Ready\n")
        return Answer(503, b"Waiting for the first answer of the API\n")

    def _landing(self, scope: Scope, status: Status) -> Answer:
        asked = parse_qs(scope.get("query_string", b"")[:1000].decode("latin-1"))
        query = asked.get("q", [""])[0]
        page = status_page.page(status, metrics=self._metrics, api=self._api, query=query)
        return Answer(200, page.encode(), b"text/html; charset=utf-8", _GUARDED)


def _json(_: Scope, status: Status) -> Answer:
    # Bit by bit, as the whole would keep every other thread waiting.
    body = "".join(json.JSONEncoder(ensure_ascii=False).iterencode(status.plain())).encode()
    return Answer(200, body, b"application/json", _GUARDED)


@lru_cache(maxsize=_SCRAPERS)
def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics 1.0 to the text format.

    What cannot be understood is passed over; text is what every scraper reads. (The client
    library has functions for this and the next; they do not look at `q`.)
    """
    wanted: dict[str, float] = {}
    for media, parameters in _choices(accept):
        if media == "application/openmetrics-text":
            if parameters.get("version", "1.0.0") in {"1.0.0", "0.0.1"}:
                wanted["openmetrics"] = max(wanted.get("openmetrics", 0), _quality(parameters))
        elif media in {"text/plain", "text/*", "*/*"}:
            wanted["text"] = max(wanted.get("text", 0), _quality(parameters))
    return wanted.get("openmetrics", 0) > wanted.get("text", 0)


@lru_cache(maxsize=_SCRAPERS)
def wants_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    qualities = {coding: _quality(parameters) for coding, parameters in _choices(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0)) > 0


def _choices(header: str) -> Iterable[tuple[str, Mapping[str, str]]]:
    for choice in header.split(","):
        name, *rest = (part.strip() for part in choice.split(";"))
        pairs = (part.partition("=") for part in rest)
        yield name.lower(), {key.strip().lower(): value.strip(' "') for key, _, value in pairs}


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _values(scope: Scope, name: bytes) -> str:
    """All values of a request header as one list, whatever bytes they hold."""
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


async def reply(scope: Scope, send: Send, answer: Answer) -> None:
    """Send a small answer."""
    headers = [(b"content-type", answer.content_type), *answer.headers]
    await _stream(scope, send, headers, len(answer.body), [answer.body], answer.status)


async def _stream(
    scope: Scope,
    send: Send,
    headers: list[Header],
    size: int,
    pieces: Iterable[bytes],
    status: int = 200,
) -> None:
    headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if scope["method"] == "HEAD" or not size:
        await send({"type": "http.response.body", "body": b""})
        return
    for part in _portions(pieces):
        size -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": size > 0})
        if size:
            await asyncio.sleep(0)  # others are served too; and that a client is gone is heard


def _portions(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, `PIECE` of them at a time."""
    held, room = list[bytes | memoryview](), PIECE
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) >= room:
            part = b"".join((*held, rest[:room]))
            rest, held, room = rest[room:], [], PIECE  # while the client takes it, that is all
            yield part
        if rest:
            held.append(rest)
            room -= len(rest)
    if held:
        yield b"".join(held)
