"""The stand-in for Seasalt's APIs as one ASGI application: routing, keys, errors."""

import asyncio
import json
import re
import sqlite3
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from typing import Any, Final
from urllib.parse import parse_qsl

from exporter.model import api_paths
from exporter.sandbox import (
    bots as bots_list,
    companies,
    conversations,
    fill_database,
    many_bots,
    portal,
    seachat,
    seax,
    temperaments,
)
from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.conversations import Conversations, Late
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Refusal, json_object
from exporter.sandbox.temperaments import Temperament
from exporter.sandbox.troubles import Trouble

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Report = Callable[[dict[str, object], Scope], object]
Handler = Callable[[Message, bytes], object]
"""Answers a request, given its ASGI scope and its body."""

_OF_A_BOT: Final = re.compile(f"{api_paths.BOTS}/([^/]+)(?:/(.+))?")
_MESSAGES: Final = re.compile(f"conversations/([^/]+)/{api_paths.MESSAGES}")

_SILENT_FOR: Final = timedelta(hours=30)
"""Longer than a local day, so that the silent bot has no message of today."""


class Sandbox:
    """SeaChat, Portal and SeaX analytics, the list of bots and conversations, with made-up data.

    It is an ASGI application: `await sandbox(scope, receive, send)`. It does not support the
    lifespan protocol.

    Attributes:
        workspaces: The workspaces with their bots and keys.
        connection: The database from which all figures are computed, see `schema.sql`.
        trouble: The faults that come and go; None if there are none.
        temper: How it behaves where the documents leave it open, if not by default.
        conversations: What is said to the bots, and how they react.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        workspaces: tuple[SandboxWorkspace, ...],
        now: Callable[[], datetime],
        since: int,
        *,
        trouble: Trouble | None = None,
        temper: Collection[Temperament] = (),
    ) -> None:
        self.connection = connection
        self.trouble = trouble
        self.workspaces = workspaces
        self.conversations = Conversations(now)
        self._now = now
        self._since = since
        self.temper = frozenset(temper)
        self._arrivals: defaultdict[int, deque[datetime]] = defaultdict(deque)
        old = Temperament.OLD_PATH in self.temper
        portal_path = api_paths.PORTAL_REPORT_OLD if old else api_paths.PORTAL_REPORT
        self._routes: Final[dict[str, tuple[str, Handler]]] = {
            api_paths.SEACHAT_REPORT: ("POST", self._report(seachat.report, "seachat_key")),
            portal_path: ("POST", self._report(portal.report, "portal_key")),
            api_paths.SEAX_REPORT: ("POST", self._report(seax.report, "seax_key")),
            api_paths.BOTS: ("GET", self._bots),
        }

    @classmethod
    def make(  # noqa: PLR0913 - keyword-only, and all but the clock have defaults
        cls,
        *,
        seed: int = 1,
        now: Callable[[], datetime],
        path: str = ":memory:",
        workspaces: int = 1,
        bots: int = 4,
        days: int = 400,
        ahead_days: int = 3,
        conversations_per_day: float = 12.0,
        trouble: bool = False,
        temper: Collection[Temperament] = (),
    ) -> "Sandbox":
        """Create a sandbox with its data; the same seed and start give the same data.

        Args:
            seed: Determines all names, keys and events.
            now: The only clock, read at every request; aware. Later events are not visible.
            path: A database file that does not exist yet; in memory by default.
            workspaces: The number of workspaces; the first six have different time zones.
            bots: The number of bots in each workspace.
            days: Local days of data before the day of `now`.
            ahead_days: Local days of data after it, which become visible as time passes.
            conversations_per_day: Conversations of an average bot on an average day.
            trouble: Whether faults come and go, see `Trouble`.
            temper: How it behaves where the documents leave it open, see `Temperament`.

        Raises:
            ValueError: If `now` returns a naive datetime.
            sqlite3.OperationalError: If the database already has tables.
        """
        made = companies.make_workspaces(seed, workspaces, bots)
        plan = fill_database.Plan(seed, now(), days, ahead_days, conversations_per_day)
        return cls._filled(made, plan, now, path, trouble=trouble, temper=temper)

    @classmethod
    def make_big(  # noqa: PLR0913 - keyword-only, and all but the clock have defaults
        cls,
        *,
        seed: int = 1,
        now: Callable[[], datetime],
        path: str = ":memory:",
        bots: int = 50,
        days: int = 91,
        ahead_days: int = 3,
        silent_since: datetime | None = None,
        trouble: bool = False,
        temper: Collection[Temperament] = (),
    ) -> "Sandbox":
        """Create a sandbox with many bots in four workspaces, see `many_bots`.

        It has a quarter's data by default. Four hundred days of fifty bots would take four times as
        long to fill and to count, and half a gigabyte. To thin out all but the last weeks would
        look like growth that no bot had, so the companies began a quarter ago.

        Args:
            seed: As for `make`.
            now: As for `make`.
            path: As for `make`.
            bots: The number of bots in all workspaces together.
            days: As for `make`.
            ahead_days: As for `make`.
            silent_since: When the silent bot fell silent, aware; 30 hours before `now` if None.
            trouble: As for `make`.
            temper: As for `make`.

        Raises:
            ValueError: If `now` returns a naive datetime, or for too few or too many bots.
            sqlite3.OperationalError: If the database already has tables.
        """
        start = now()
        silent = (silent_since or start - _SILENT_FOR).timestamp()
        made = many_bots.make_many(seed, bots, silent)
        # Each bot has its own volume.
        plan = fill_database.Plan(seed, start, days, ahead_days, conversations_per_day=0)
        return cls._filled(made, plan, now, path, trouble=trouble, temper=temper)

    @classmethod
    def _filled(
        cls,
        workspaces: tuple[SandboxWorkspace, ...],
        plan: fill_database.Plan,
        now: Callable[[], datetime],
        path: str,
        *,
        trouble: bool,
        temper: Collection[Temperament],
    ) -> "Sandbox":
        """The sandbox with these workspaces, and a new database with their data."""
        if plan.now.utcoffset() is None:
            raise ValueError("now must give an aware datetime")
        # The sandbox may be served in another thread than this one.
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            fill_database.fill(connection, workspaces, plan)
        except BaseException:
            connection.close()  # no sandbox owns it yet
            raise
        # One day more than local days can differ from those of UTC.
        since = int(plan.now.timestamp()) - (plan.days + 2) * 86_400
        # To fill the database may have taken a while.
        faults = Trouble(plan.seed, now(), workspaces) if trouble else None
        return cls(connection, workspaces, now, since, trouble=faults, temper=temper)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        Raises:
            RuntimeError: If the scope is not HTTP.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP, not {scope['type']}")
        asked, more = b"", True
        while more:
            message = await receive()
            asked += message.get("body", b"")
            more = message.get("more_body", False)
        if self.trouble:
            await asyncio.sleep(self.trouble.delay(self._now()))
        if Temperament.SLOW in self.temper:
            await asyncio.sleep(temperaments.DELAY)
        status, headers, found = self._answer(scope, asked)
        if isinstance(found, Late):
            if await _gone(receive, found.seconds):
                return
            found = found.reply
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        lines = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "date": self._date(),
            **headers,
        }
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Close the database; requests fail from then on."""
        self.connection.close()

    def _date(self) -> str:
        """The header Date."""
        fast = Temperament.FAST_CLOCK in self.temper
        ahead = timedelta(seconds=temperaments.CLOCK_AHEAD if fast else 0)
        return format_datetime(self._now().astimezone(UTC) + ahead, usegmt=True)

    def _admit(self, workspace: SandboxWorkspace, now: datetime) -> None:
        """Count a request of a workspace.

        Raises:
            Refusal: 429 with `rate-limit`, if there were too many within a minute.
        """
        if Temperament.RATE_LIMIT not in self.temper:
            return
        arrivals = self._arrivals[workspace.number]
        while arrivals and now - arrivals[0] > timedelta(minutes=1):
            arrivals.popleft()
        arrivals.append(now)
        if len(arrivals) > temperaments.MOST_A_MINUTE:
            headers = {"retry-after": str(temperaments.RETRY_AFTER)}
            raise Refusal(429, "Too Many Requests", headers=headers)

    def _answer(self, scope: Message, body: bytes) -> tuple[int, dict[str, str], object]:
        if scope["path"] not in self._routes:
            try:
                return self._answer_of_bot(scope, body)
            except Refusal as refusal:
                return refusal.status, refusal.headers, refusal.body
        method, handler = self._routes[scope["path"]]
        if scope["method"] != method:
            return 405, {"allow": method}, {"detail": "Method Not Allowed"}
        try:
            return 200, {}, handler(scope, body)
        except Refusal as refusal:
            return refusal.status, refusal.headers, refusal.body

    def _report(self, report: Report, key: str) -> Handler:
        """The handler of an analytics endpoint; `key` is the attribute with the key for it."""
        owners = {getattr(workspace, key): workspace for workspace in self.workspaces}

        def handler(scope: Message, body: bytes) -> object:
            workspace, now = owners.get(_header(scope, b"x-api-key")), self._now()
            trouble = self.trouble if key == "seachat_key" else None
            if workspace is None or (trouble and trouble.rejects(workspace, now)):
                raise Refusal(401, "Invalid API key")
            self._admit(workspace, now)
            given = json_object(body, _header(scope, b"content-type"))
            at = int(now.timestamp())
            of = Scope(self.connection, workspace, None, self._since, at, self.temper)
            reply = temperaments.tempered(report(given, of), self.temper)
            if trouble:
                trouble.refuse(workspace, given.get("gptbot_id"), now)
            return reply

        return handler

    def _bots(self, scope: Message, _body: bytes) -> object:
        """The handler of the list of bots."""
        owner = self._owner(scope)
        if Temperament.BOTS_SCOPE in self.temper:
            raise Refusal(403, "Forbidden", code=403, parameters={})
        return bots_list.listing(owner, _query(scope), self.connection)

    def _answer_of_bot(self, scope: Message, body: bytes) -> tuple[int, dict[str, str], object]:
        """The answer to a request below one bot.

        Raises:
            Refusal: If the request is not right.
        """
        found = _OF_A_BOT.fullmatch(scope["path"])
        path = (found[2] or "") if found else ""
        talk = _MESSAGES.fullmatch(path)
        methods = {
            "": ("GET",),
            api_paths.KNOWLEDGE_BASE_FILES: ("GET",),
            api_paths.CONVERSATION: ("POST",),
        }.get(path, ("GET", "POST") if talk else ())
        if not found or not methods:
            return 404, {}, {"detail": "Not Found"}
        if scope["method"] not in methods:
            return 405, {"allow": ", ".join(methods)}, {"detail": "Method Not Allowed"}
        owner = self._owner(scope)
        bot = _bot(owner, found[1])
        if talk and scope["method"] == "GET":
            reply = self.conversations.read(bot, talk[1], _query(scope))
        elif talk:
            reply = self.conversations.send(bot, talk[1], _given(scope, body))
        elif path == api_paths.CONVERSATION:
            reply = self.conversations.get_or_create(bot, _given(scope, body))
        elif path:
            reply = conversations.files(bot, _query(scope))
        else:
            reply = bots_list.one(owner, bot, self.connection)
        return 200, {}, reply

    def _owner(self, scope: Message) -> SandboxWorkspace:
        """The workspace whose key is the request's bearer token.

        Raises:
            Refusal: 401 if it is none's, 429 if it asks too often.
        """
        scheme, _, token = _header(scope, b"authorization").partition(" ")
        now = self._now()
        for workspace in self.workspaces:
            if self.trouble and self.trouble.rejects(workspace, now):
                continue
            if scheme.lower() == "bearer" and token == workspace.seachat_key:
                self._admit(workspace, now)
                return workspace
        detail = f"The token: {token} decoding failed."
        raise Refusal(401, detail, code=40007, parameters={"token": token})


async def _gone(receive: Receive, seconds: float) -> bool:
    """Wait for some seconds, and return whether the client has gone away meanwhile."""
    try:
        async with asyncio.timeout(None if seconds == inf else seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def _bot(workspace: SandboxWorkspace, identity: str) -> SandboxBot:
    """A bot of a workspace.

    Raises:
        Refusal: 404 if there is no such bot.
    """
    for bot in workspace.bots:
        if bot.id == identity:
            return bot
    raise conversations.missing("BOT", identity)


def _given(scope: Message, body: bytes) -> dict[str, object]:
    return json_object(body, _header(scope, b"content-type"))


def _query(scope: Message) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _header(scope: Message, name: bytes) -> str:
    """The value of a header; empty if it is missing or repeated."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""
