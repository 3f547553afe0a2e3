"""The stand-in for Seasalt's APIs as one ASGI application: routing, keys, errors."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from exporter.model import api_paths
from exporter.sandbox import bots as bots_list, companies, fill_database, portal, seachat, seax
from exporter.sandbox.companies import SandboxWorkspace
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Refusal, json_object

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Report = Callable[[SandboxWorkspace, dict[str, object], Scope], object]


@dataclass(frozen=True, slots=True)
class _Call:
    """An HTTP request; header names are lower case, and a repeated header is left out."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Sandbox:
    """SeaChat, Portal and SeaX analytics and the list of bots, with made-up data.

    It is an ASGI application: `await sandbox(scope, receive, send)`. It does not support the
    lifespan protocol.
    """

    workspaces: tuple[SandboxWorkspace, ...]
    """The workspaces with their bots and keys."""
    connection: sqlite3.Connection
    """The database from which all figures are computed, see `schema.sql`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        workspaces: tuple[SandboxWorkspace, ...],
        now: Callable[[], datetime],
        since: int,
    ) -> None:
        self.connection = connection
        self.workspaces = workspaces
        self._now = now
        self._since = since
        self._routes: Final[dict[str, tuple[str, Callable[[_Call], object]]]] = {
            api_paths.SEACHAT_REPORT: ("POST", self._report(seachat.report, "seachat_key")),
            api_paths.PORTAL_REPORT: ("POST", self._report(portal.report, "portal_key")),
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

        Raises:
            ValueError: If `now` returns a naive datetime.
            sqlite3.OperationalError: If the database already has tables.
        """
        start = now()
        if start.utcoffset() is None:
            raise ValueError("now must give an aware datetime")
        made = companies.make_workspaces(seed, workspaces, bots)
        # The sandbox may be served in another thread than this one.
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            plan = fill_database.Plan(seed, start, days, ahead_days, conversations_per_day)
            fill_database.fill(connection, made, plan)
        except BaseException:
            connection.close()  # no sandbox owns it yet
            raise
        # One day more than local days can differ from those of UTC.
        since = int(start.timestamp()) - (days + 2) * 86_400
        return cls(connection, made, now, since)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        Raises:
            RuntimeError: If the scope is not HTTP.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP, not {scope['type']}")
        call = await _read_call(scope, receive)
        status, headers, found = self._answer(call)
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        lines = {"content-type": "application/json", "content-length": str(len(body))} | headers
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

    def _answer(self, call: _Call) -> tuple[int, dict[str, str], object]:
        if call.path not in self._routes:
            return 404, {}, {"detail": "Not Found"}
        method, handler = self._routes[call.path]
        if call.method != method:
            return 405, {"allow": method}, {"detail": "Method Not Allowed"}
        try:
            return 200, {}, handler(call)
        except Refusal as refusal:
            return refusal.status, {}, refusal.body

    def _report(self, report: Report, key: str) -> Callable[[_Call], object]:
        """The handler of an analytics endpoint; `key` is the attribute with the key for it."""
        owners = {getattr(workspace, key): workspace for workspace in self.workspaces}

        def handler(call: _Call) -> object:
            workspace = owners.get(call.headers.get("x-api-key", ""))
            if workspace is None:
                raise Refusal(401, "Invalid API key")
            given = json_object(call.body, call.headers.get("content-type", ""))
            return report(workspace, given, self._scope(workspace))

        return handler

    def _bots(self, call: _Call) -> object:
        """The handler of the list of bots, whose key is a bearer token."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        for workspace in self.workspaces:
            if scheme.lower() == "bearer" and token == workspace.seachat_key:
                query = parse_qsl(call.query, keep_blank_values=True)
                return bots_list.listing(workspace, query, self.connection)
        detail = f"The token: {token} decoding failed."
        raise Refusal(401, detail, code=40007, parameters={"token": token})

    def _scope(self, workspace: SandboxWorkspace) -> Scope:
        return Scope(
            connection=self.connection,
            workspace=workspace.number,
            bot=None,
            since=self._since,
            now=int(self._now().astimezone(UTC).timestamp()),
        )


async def _read_call(scope: Message, receive: Receive) -> _Call:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    names = [name.decode("latin-1").lower() for name, _ in scope["headers"]]
    return _Call(
        method=scope["method"],
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers={
            name: value.decode("latin-1")
            for name, (_, value) in zip(names, scope["headers"], strict=True)
            if names.count(name) == 1
        },
        body=body,
    )
