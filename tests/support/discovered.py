"""A workspace whose bots come and go, in a world where hours take milliseconds."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import httpx

from exporter.model import api_paths
from support.api import FakeApi, in_pieces
from support.polled import Polled
from support.virtual import START, World
from support.workspaces import KEY, workspace


class Listed(FakeApi):
    """The API with a list of bots, a hundred a page at most."""

    bots: list[str]
    endless: bool = False
    odd: tuple[object, ...] = ()
    called: str = "Name of"
    status: int = 200
    more: int = 0  # bots that it says it has, and has not
    again: bool = False
    renamed: str = ""  # a field that goes by another name
    pages: list[tuple[datetime, httpx.Request]]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a page of the list, or leave it to the analytics."""
        if request.url.path != api_paths.BOTS:
            return await super().__call__(request)
        self.pages.append((self.now(), request))
        await asyncio.sleep(self.seconds)
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        rows: list[dict[str, object]] = [
            {"id": bot, "name": f"{self.called} {bot}", "is_enabled": True, "model_config": {}}
            for bot in self.bots
        ]
        for row in rows if self.renamed else ():
            row["renamed"] = row.pop(self.renamed)
        total = len(rows) + self.more + len(self.odd)
        offset = 0 if self.again else offset
        body = {"data": [*rows[offset : offset + limit], *self.odd], "total": total}
        if self.endless:
            body = {"data": [{"id": f"b{offset}", "name": "Another"}]}
        content = body if self.status == 200 else {"detail": KEY}
        return httpx.Response(self.status, content=in_pieces(content))


class Run(Polled):
    """A workspace whose bots are discovered."""

    api: Listed

    def __init__(self, bots: Iterable[str], **others: Any) -> None:  # noqa: ANN401 - keys of the file
        given = {
            "workspace_id": "ws-1",
            "discover_bots": {},
            "metrics": ["total_usage"],
            "requests_per_minute": 600,
            **others,
        }
        world = World()
        super().__init__(workspace(**given), world, Listed(world.now))
        self.api.bots, self.api.pages = list(bots), []

    def asked(self, since: datetime = START) -> Counter[str]:
        """How often each bot was asked about."""
        return Counter(body["gptbot_id"] for at, body in self.api.journal if at >= since)
