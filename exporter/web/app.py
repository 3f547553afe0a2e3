"""The ASGI application: the metrics page, the status pages, health checks and reload.

Routes match exactly, and all but the reload accept only GET and HEAD. No request triggers a poll:
`/metrics` serves the current snapshot, and scraping never costs API requests. Only `/probe` leads to
requests, of bots and modules that the configuration allows and no more often than it says; what
sends them comes from outside, see `Probes`.

The status pages need more care: with thousands of bots they are large and take long to render. A
scrape must not suffer from that, so three rules apply:

- Rendering rests. It runs in a thread, but a thread that computes without pause competes with the
  event loop for the interpreter lock. So after every few milliseconds of work, the thread sleeps
  three times as long (`_Rests`).
- Pages are shared. Only one is rendered at a time. Everybody who asks for the same view within a
  second gets the same one, kept compressed. If all who wait for a page disconnect before its
  rendering has begun, it is cancelled (`_Shared`).
- Sending is paced. Large status pages share a fixed bandwidth, first come, first served.

The list of what can be probed is made in a thread as well, and shared like a page.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from exporter.metrics.gzip_pieces import PORTION, Piece
from exporter.metrics.snapshot import Snapshot
from exporter.network_addresses import literal, party
from exporter.polling.status import Rest, Status
from exporter.web.status_view import Links, View

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_PLAIN: Final = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; a page is sent in portions, and compressed if the client accepts gzip."""

    status: int
    body: bytes | Piece
    content_type: bytes = _PLAIN
    headers: tuple[Header, ...] = ()


_SCRAPERS: Final = 32
"""Size of the cache of parsed Accept headers: a scraper always sends the same ones."""

_LONGEST: Final = 1000
"""Maximum length of a header or query to parse; longer ones are slow, and scrapers send none."""

MOST_WAITING: Final = 64
MOST_WAITING_OF_ONE: Final = 16
"""Requests that may wait for probes at a time, in all and of one client.

Each takes one of the connections that `exporter.web.sockets` allows, 256 in all and 32 of a client.
Bots that hang must leave enough of them for `/metrics`.
"""

_LONGEST_QUERY: Final = 4000
"""Bytes of a query that are parsed; a workspace's name may take 1,440."""

HELD: Final = 1.0
"""Seconds for which a status page, or a list for service discovery, is shared by all who ask for it."""

_SLICE: Final = 0.002
"""Seconds of work on a status page without a rest."""

_SHARE: Final = 4
"""One part in so many of the time is spent on status pages; scrapes need the rest."""

_BYTES_A_SECOND: Final = 16 * 1024 * 1024
"""Bandwidth for status pages; with 2,000 bots, each report per bot adds half a MiB to a page."""

_PRIVATE_NAMES: Final = (".localhost", ".local", ".internal", ".svc")
"""Suffixes of names that public DNS does not resolve, including Kubernetes services."""

_ABSOLUTE: Final = re.compile(r"https?://([^/]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)

_GUARDED: Final = (
    # The page contains names from the API. Whatever they are, browsers must not run or load them.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
_FRESH: Final = ((b"cache-control", b"no-store"),)
NOT_FOUND: Final = Answer(404, b"Not Found\n")
NOT_ALLOWED: Final = Answer(405, b"Method Not Allowed\n", headers=((b"allow", b"GET, HEAD"),))
POST_ALONE: Final = Answer(405, b"Method Not Allowed\n", headers=((b"allow", b"POST"),))
NOT_FROM_THERE: Final = Answer(
    403, b"Refused: another site's page asks, or the host is not that of --web.external-url\n"
)
NOT_PROBED: Final = Answer(
    404, b"Not Found: the configuration allows no such probe, or the bot is not known\n"
)
NOT_KNOWN: Final = Answer(
    503, b"Waiting for the list of bots\n", headers=((b"retry-after", b"10"),)
)
UNDER_WAY: Final = Answer(
    503,
    b"The probe is under way, and too many wait already: ask again\n",
    headers=((b"retry-after", b"30"),),
)
NO_RESULT: Final = Answer(503, b"The probe was given up, ask again\n")
WHICH: Final = Answer(400, b"Give workspace, bot_id and module, each once\n")
WHICH_WORKSPACE: Final = Answer(400, b"Give no parameter, or workspace once\n")
NOT_ENABLED: Final = Answer(403, b"Start with --web.enable-lifecycle to allow this\n")


ViewT = TypeVar("ViewT")
"""Which page of several is asked for."""

Look = Callable[[Rest], Status]
"""Returns the status of the polling; calls its argument regularly for a rest."""


class NoProbe(Exception):
    """There is no result of a probe.

    Attributes:
        answer: What the client gets instead.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Probes(Protocol):
    """What probes bots."""

    def allows(self, workspace: str, bot_id: str, module: str) -> bool:
        """Whether the configuration has such a probe."""

    async def page(self, workspace: str, bot_id: str, module: str, *, wait: bool) -> bytes:
        """The result for a bot and a module in the text format.

        Args:
            workspace: The name of the bot's workspace.
            bot_id: The id of the bot.
            module: The name of the module.
            wait: Whether to wait for a probe that is under way or begins.

        Raises:
            NoProbe: If there is none.
        """

    async def discovery(self, workspace: str) -> bytes:
        """What can be probed, in the form of Prometheus' HTTP service discovery.

        Args:
            workspace: The name of a workspace; empty for all.

        Raises:
            NoProbe: If that is not known yet, or there is no such workspace.
        """


class _Waiting:
    """Who waits for probes."""

    def __init__(self) -> None:
        self._of = Counter[str]()

    @contextmanager
    def one_of(self, client: str) -> Iterator[bool]:
        """Count a request of a client; whether it may wait."""
        of = self._of
        of[client] += 1
        try:
            yield of[client] <= MOST_WAITING_OF_ONE and of.total() <= MOST_WAITING
        finally:
            of[client] -= 1
            if not of[client]:
                del of[client]


@dataclass(kw_only=True, eq=False)
class Web:
    """The application.

    Attributes:
        snapshot: Returns the current snapshot.
        own: Returns the exporter's own metrics, compressed; in OpenMetrics if the argument is true.
        ready: Whether every workspace has had an answer.
        status: Captures the state of the polling, and returns a function that derives the status
            from it. That may take long, so it calls its argument regularly for a rest.
        reload: Reloads the configuration, and returns its mistakes; None disables the route.
        telemetry_path: The path of the metrics page.
        route_prefix: The prefix of every route, without a trailing slash.
        external_url: The URL under which a reverse proxy exposes the exporter; empty without one.
        runbooks_url: The URL of the folder of runbooks; empty if the status page does not link it.
        grafana_url: The URL of Grafana; likewise.
        probes: What probes bots; None disables the routes.
    """

    snapshot: Callable[[], Awaitable[Snapshot]]
    own: Callable[[bool], Iterable[Piece]]
    ready: Callable[[], bool]
    status: Callable[[], Look]
    reload: Callable[[], Awaitable[str]] | None = None
    telemetry_path: str = "/metrics"
    route_prefix: str = ""
    external_url: str = ""
    runbooks_url: str = ""
    grafana_url: str = ""
    probes: Probes | None = None

    def __post_init__(self) -> None:
        self._routes: dict[str, Callable[[Scope], Awaitable[Answer]]] = {
            f"{self.route_prefix}/-/healthy": self._health,
            f"{self.route_prefix}/-/ready": self._readiness,
            f"{self.route_prefix}/": self._looked,
            f"{self.route_prefix}/api/v1/status": partial(self._looked, json=True),
            self.route_prefix: self._slash_after,
            self.route_prefix + self.telemetry_path: self._metrics,
        }
        if self.probes:
            lists = _Shared(partial(_listed, self.probes))
            self._routes |= {
                f"{self.route_prefix}/probe": partial(self._probe, self.probes),
                f"{self.route_prefix}/api/v1/sd/probes": partial(self._discovery, lists),
            }
        self._waiting = _Waiting()
        self._pages = _Shared[View | None](self._made)
        self._one_reload = asyncio.Lock()
        self._next_reload: asyncio.Future[str] | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        await reply(scope, send, await self._answer(scope))

    async def _answer(self, scope: Scope) -> Answer:
        host, path = _target(scope)
        if path == f"{self.route_prefix}/-/reload":
            return await self._reloaded(scope, host)
        route = self._routes.get(path)
        if route is None:
            return NOT_FOUND
        if scope["method"] not in {"GET", "HEAD"}:
            return NOT_ALLOWED
        return await route(scope)

    async def _health(self, _scope: Scope) -> Answer:
        return Answer(200, b"Healthy\n")

    async def _readiness(self, _scope: Scope) -> Answer:
        if self.ready():
            return Answer(200, b"Ready\n")
        return Answer(503, b"Waiting for the first answer of the API\n")

    async def _metrics(self, scope: Scope) -> Answer:
        # All waiting scrapes share it, so it must go on if one of them disconnects.
        snapshot = await asyncio.shield(self.snapshot())
        openmetrics = wants_openmetrics(_values(scope, b"accept"))
        page = Piece.joined((snapshot.page, *self.own(openmetrics)))
        kind = OPENMETRICS if openmetrics else TEXT
        return Answer(200, page, kind, ((b"vary", b"Accept, Accept-Encoding"),))

    async def _probe(self, probes: Probes, scope: Scope) -> Answer:
        """The result of a probe, which the client may have to wait for."""
        found = _parameters(scope)
        if found is None or found.keys() != {"workspace", "bot_id", "module"}:
            return WHICH
        if scope["method"] == "HEAD":  # a look is no reason to send a message
            return Answer(200, b"", TEXT) if probes.allows(**found) else NOT_PROBED
        with self._waiting.one_of(party((scope.get("client") or ("",))[0])) as wait:
            try:
                return Answer(200, await probes.page(**found, wait=wait), TEXT, _FRESH)
            except NoProbe as none:
                return none.answer

    async def _discovery(self, lists: "_Shared[str]", scope: Scope) -> Answer:
        found = _parameters(scope)
        if found is None or not found.keys() <= {"workspace"}:
            return WHICH_WORKSPACE
        try:
            made = await lists.get(found.get("workspace", ""))
        except NoProbe as none:
            return none.answer
        headers = ((b"vary", b"Accept-Encoding"), *_FRESH)
        return Answer(200, made, b"application/json", headers)

    async def _slash_after(self, scope: Scope) -> Answer:
        """A redirect to the prefix plus a slash; relative, because a proxy may rewrite the path."""
        query = scope.get("query_string", b"")
        last = quote(self.route_prefix.rpartition("/")[2]).encode()
        place = last + b"/" + (b"?" + query if query else b"")
        return Answer(302, b"", headers=((b"location", place),))

    async def _reloaded(self, scope: Scope, host: str) -> Answer:
        if scope["method"] != "POST":
            return POST_ALONE
        if self.reload is None:
            return NOT_ENABLED
        if not _is_own(scope, host, self.external_url):
            return NOT_FROM_THERE
        if self._next_reload is None:
            self._next_reload = asyncio.ensure_future(self._reload_next(self.reload))
        mistakes = await asyncio.shield(self._next_reload)  # it goes on if the client disconnects
        if mistakes:
            return Answer(500, f"The old configuration stays in force:\n{mistakes}\n".encode())
        return Answer(200, b"Reloaded\n")

    async def _reload_next(self, reload: Callable[[], Awaitable[str]]) -> str:
        """Reload after the current reload has ended, for all requests that arrived meanwhile."""
        async with self._one_reload:
            self._next_reload = None
            return await reload()

    async def _looked(self, scope: Scope, *, json: bool = False) -> Answer:
        """A status page."""
        made = await self._pages.get(None if json else _view(scope))
        if scope["method"] == "GET":
            await self._pages.pace(made.compressed if _takes_gzip(scope) else made.size)
        kind = b"application/json" if json else b"text/html; charset=utf-8"
        return Answer(200, made, kind, ((b"vary", b"Accept-Encoding"), *_GUARDED))

    async def _made(self, view: View | None) -> Piece:
        """The HTML page of a view, or the JSON for None; rendered in a thread."""
        return await asyncio.to_thread(self._written, self.status(), view)

    def _written(self, status: Look, view: View | None) -> Piece:
        rest = _Rests()
        found = status(rest)
        texts: Iterable[str]
        if view is None:
            texts = found.json()
        else:
            # Only now, because most processes only ever serve metrics; this saves 0.3 MB.
            from exporter.web.status_page import page  # noqa: PLC0415

            # Relative to the landing page, so that the links work behind any proxy.
            metrics = quote(self.telemetry_path.removeprefix("/"))
            links = Links(metrics, "api/v1/status", self.runbooks_url, self.grafana_url)
            texts = page(found, view, links, rest)
        # Compressed portion by portion, so that the whole text is never in memory.
        portions = _portions(text.encode() for text in rest.after(texts))
        made = Piece.joined(map(Piece.of, portions))
        rest.now()
        return made


@dataclass(slots=True, eq=False)
class _Page:
    """A page that is being rendered, or is cached.

    Attributes:
        made: The page, once it is rendered.
        readers: How many requests wait for it.
        begun: Whether rendering has begun.
    """

    made: asyncio.Future[Piece] = field(init=False)
    readers: int = 0
    begun: bool = False


async def _listed(probes: Probes, workspace: str) -> Piece:
    """What can be probed in a workspace, or in all."""
    return await asyncio.to_thread(Piece.of, await probes.discovery(workspace))


class _Shared(Generic[ViewT]):
    """The pages of the last second; compressed, because a slow reader may hold one long."""

    def __init__(self, make: Callable[[ViewT], Awaitable[Piece]]) -> None:
        self._make = make
        self._one = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._held: dict[ViewT, _Page] = {}

    async def get(self, view: ViewT) -> Piece:
        """The page of a view, rendered at most a second ago."""
        page = self._held.get(view)
        if page is None:
            page = self._held[view] = _Page()
            page.made = asyncio.ensure_future(self._fresh(view, page))
        page.readers += 1
        try:
            return await asyncio.shield(page.made)  # a disconnect must not cancel it for the others
        finally:
            page.readers -= 1
            if not (page.readers or page.begun):
                page.made.cancel()
                del self._held[view]

    async def pace(self, size: int) -> None:
        """Wait for bandwidth to send `size` bytes, first come, first served; a few need no wait."""
        if size < PORTION:
            return
        async with self._sending:  # a client that disconnects while waiting uses no bandwidth
            await asyncio.sleep(size / _BYTES_A_SECOND)

    async def _fresh(self, view: ViewT, page: _Page) -> Piece:
        async with self._one:
            page.begun = True
            try:
                made = await self._make(view)
            except BaseException:
                del self._held[view]
                raise
            asyncio.get_running_loop().call_later(HELD, self._held.pop, view)
            return made


class _Rests:
    """Sleeps after every few milliseconds of work, so that the work takes only a share of the time."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._begun > _SLICE:
            self.now()

    def now(self) -> None:
        """Rest for the work done so far, even if it is little: the next page may start at once."""
        time.sleep((_SHARE - 1) * (time.perf_counter() - self._begun))
        self._begun = time.perf_counter()

    def after(self, texts: Iterable[str]) -> Iterator[str]:
        """The same texts, with rests between them."""
        for text in texts:
            yield text
            self()


def _parameters(scope: Scope) -> dict[str, str] | None:
    """The parameters of a query; None if one is there twice."""
    query = scope.get("query_string", b"")[:_LONGEST_QUERY].decode("latin-1")
    given = parse_qsl(query, keep_blank_values=True)
    found = dict(given)
    return found if len(given) == len(found) else None


def _view(scope: Scope) -> View:
    """The view that the request asks for."""
    return View.parsed(scope.get("query_string", b"")[:_LONGEST_QUERY].decode("latin-1"))


def _target(scope: Scope) -> tuple[str, str]:
    """Host and path of a request; an absolute request target overrides the Host header."""
    absolute = _ABSOLUTE.fullmatch(scope["path"])
    if absolute:
        return absolute[1], absolute[2] or "/"
    return _values(scope, b"host"), scope["path"]


def _is_own(scope: Scope, host: str, external: str) -> bool:
    """Whether a request does not come from another site's page (CSRF and DNS rebinding).

    A browser sends the origin of the page that makes a request. It is not enough that the origin
    equals the requested host: with DNS rebinding, an attacker's name resolves to this host. So the
    host must also be an IP address, a name that public DNS does not resolve, or the external URL's.
    """
    told = {name for name, _ in scope["headers"]}
    site, origin = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    if (b"origin" in told and not origin) or (b"sec-fetch-site" in told and not site):
        return False  # the origin is present but too long to be parsed
    if site not in {"", "same-origin", "none"} or origin == "null":
        return False
    asked, outside = _place(host), _place(external) if external else None
    if not site and not origin:
        # Not a browser, or an old one. Browsers always send the host, so check it if present.
        nowhere = not host and b"host" not in told
        return nowhere or _is_private(asked[0]) or bool(outside and asked[0] == outside[0])
    asking = _place(origin or host)
    return asking == outside or (asking == asked and _is_private(asking[0]))


def _place(text: str) -> tuple[str, int | None]:
    """Host and port of an address or URL; None for ports 80 and 443, which browsers omit."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = None if parts.port in {80, 443} else parts.port
    except ValueError:
        return "", None
    return parts.hostname or "", port


def _is_private(host: str) -> bool:
    """Whether a foreign name server cannot make this host resolve to the exporter.

    That holds for IP addresses and for names of local networks, which no registry hands out.
    """
    name = host.rstrip(".").lower()
    return bool(name) and (
        literal(name) is not None or "." not in name or name.endswith(_PRIVATE_NAMES)
    )


@lru_cache(maxsize=_SCRAPERS)
def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics 1.0 to the text format.

    Unknown parts are ignored, and the default is text, which every scraper reads. The functions of
    prometheus-client for this and for gzip ignore `q`.
    """
    openmetrics = text = 0.0
    for media, parameters in _choices(accept):
        known = parameters.get("version", "1.0.0") in {"1.0.0", "0.0.1"}
        if media == "application/openmetrics-text" and known:
            openmetrics = max(openmetrics, _quality(parameters))
        elif media in {"text/plain", "text/*", "*/*"}:
            text = max(text, _quality(parameters))
    return openmetrics > text


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
    """All values of a request header, joined by commas; empty if the result is too long."""
    found = ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
    return found if len(found) <= _LONGEST else ""


async def reply(scope: Scope, send: Send, answer: Answer) -> None:
    """Send an answer."""
    headers = [(b"content-type", answer.content_type), *answer.headers]
    pieces: Iterable[bytes]
    if isinstance(answer.body, bytes):
        pieces, size = [answer.body], len(answer.body)
    elif _takes_gzip(scope):
        headers.append((b"content-encoding", b"gzip"))
        pieces, size = answer.body.member(), answer.body.member_size
    else:
        pieces, size = answer.body.text(), answer.body.size
    headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if scope["method"] == "HEAD" or not size:
        await send({"type": "http.response.body", "body": b""})
        return
    for part in _portions(pieces):
        size -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": size > 0})
        if size:
            await asyncio.sleep(0)  # serve other requests, and notice a disconnect


def _takes_gzip(scope: Scope) -> bool:
    return wants_gzip(_values(scope, b"accept-encoding"))


def _portions(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in portions of at most `PORTION` bytes."""
    held, size = list[bytes](), 0
    for piece in pieces:
        if not held and PORTION // 2 < len(piece) <= PORTION:
            yield piece  # a portion by itself: look for nothing else while it is sent
            continue
        begin = 0
        if size + len(piece) > PORTION:
            portion, size = b"".join(held), 0
            held.clear()  # keep nothing else while it is sent
            if portion:
                yield portion
            while begin + PORTION < len(piece):
                yield piece[begin : begin + PORTION]
                begin += PORTION
        held.append(piece[begin:])
        size += len(piece) - begin
    if held:
        yield b"".join(held)
