"""Access control: the checks that a request must pass before the application sees it.

The checks run in the order of their cost. First come the HTTP version and the size of the head,
which only need the parsed request. Next comes the body: no route takes one, so a request with a
body is refused without reading the rest of it. Then the rate limiter counts the request. It is one
token bucket for all clients, as in the exporter-toolkit. The password is checked last, because
bcrypt is slow by design. So the rate limit, if one is configured, also bounds guesses.

While a password is being checked, the connection is marked as doubted. If the server needs room
for another connection, it may close this one (see `sockets`).
"""

import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from exporter.network_addresses import party
from exporter.web.app import Answer, Header, Receive, Scope, Send, reply
from exporter.web.passwords import Busy, Passwords
from exporter.web.web_config import RateLimit, WebConfig

LARGEST_HEAD: Final = 16_384
"""Maximum bytes of a request's target and headers, far above what a scraper sends."""

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_CLOSE: Final = (b"connection", b"close")

BAD_REQUEST: Final = Answer(400, b"Bad Request\n", headers=(_CLOSE,))
TOO_LARGE: Final = Answer(413, b"Content Too Large\n", headers=(_CLOSE,))
HEAD_TOO_LARGE: Final = Answer(431, b"Request Header Fields Too Large\n", headers=(_CLOSE,))
TOO_MANY: Final = Answer(429, b"Too Many Requests\n", headers=((b"retry-after", b"1"),))
UNAUTHORIZED: Final = Answer(401, b"Unauthorized\n", headers=((b"www-authenticate", b"Basic"),))


@dataclass(eq=False)
class AccessControl:
    """Passes the requests that the web configuration in force allows on to an application."""

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    config: Callable[[], WebConfig]

    def __post_init__(self) -> None:
        self._limit: RateLimit | None = None
        self._full_at = Fraction(0)  # when the token bucket is full, on the monotonic clock
        self._passwords = Passwords({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        refusal = await self._refusal(scope, receive)
        if refusal:
            await reply(scope, send, refusal)
        else:
            await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope, receive: Receive) -> Answer | None:
        # The parser accepts other versions and larger heads, but no proper client sends them.
        if scope["http_version"] not in {"1.0", "1.1"}:
            return BAD_REQUEST
        head = len(scope["raw_path"]) + len(scope["query_string"])
        head += sum(len(name) + len(value) for name, value in scope["headers"])
        if head > LARGEST_HEAD:
            return HEAD_TOO_LARGE
        framing = [header for header in scope["headers"] if header[0] in _FRAMING]
        if framing and (refusal := await _of_body(framing, receive)):
            return refusal
        config = self.config()
        if not self._in_time(config.rate_limit):
            return TOO_MANY
        return await self._of_person(scope, config) if config.users else None

    async def _of_person(self, scope: Scope, config: WebConfig) -> Answer | None:
        self._passwords.users = config.users
        given = _credentials(scope)
        if given is None:
            return UNAUTHORIZED
        doubt = scope.get("state", {}).get("doubt", dict)
        doubt(doubted=True)  # until then, the server may close the connection to make room
        try:
            return None if await self._passwords.right(*given, _client(scope)) else UNAUTHORIZED
        except Busy:
            return TOO_MANY
        finally:
            doubt(doubted=False)

    def _in_time(self, limit: RateLimit | None) -> bool:
        """Take a token from the bucket; it starts full, as the exporter-toolkit's does."""
        if limit is None:
            return True
        if limit != self._limit:
            self._limit, self._full_at = limit, Fraction(0)
        now = Fraction(time.monotonic())
        full_at = max(self._full_at, now) + limit.interval
        if full_at - now > limit.burst * limit.interval:
            return False
        self._full_at = full_at
        return True


async def _of_body(framing: Sequence[Header], receive: Receive) -> Answer | None:
    """The refusal of a request whose headers announce a body; None if the body is empty."""
    if any(name == b"content-length" and value.strip(b"0") for name, value in framing):
        return TOO_LARGE
    while True:
        message = await receive()  # the server limits the time for this
        if message.get("body"):
            return TOO_LARGE
        if not message.get("more_body"):
            return None


def _client(scope: Scope) -> str:
    """The client to queue under: its peer address, as forwarding headers can be forged."""
    return party(scope["client"][0]) if scope.get("client") else ""


def _credentials(scope: Scope) -> tuple[bytes, bytes] | None:
    """Name and password from the Authorization header; None unless there is one valid header."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:
        return None
    scheme, _, encoded = given[0].partition(b" ")
    try:
        decoded = base64.b64decode(encoded.strip(b" "), validate=True)
    except ValueError:
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon and scheme.lower() == b"basic" else None
