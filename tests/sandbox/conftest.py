"""One sandbox for all tests, and short ways to call it over HTTP."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from exporter.model import api_paths
from exporter.sandbox import Sandbox

NOW = datetime(2025, 11, 5, 15, 0, tzinfo=UTC)
REPORTS: Final = {
    "seachat": api_paths.SEACHAT_REPORT,
    "portal": api_paths.PORTAL_REPORT,
    "seax": api_paths.SEAX_REPORT,
}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Two workspaces three days after New York's clocks went back."""
    made = Sandbox.make(now=lambda: NOW, workspaces=2, bots=4, days=400, conversations_per_day=2.5)
    yield made
    made.close()


@pytest.fixture(scope="session")
def call() -> Callable[..., httpx.Response]:
    """Sends one request to a sandbox."""

    def send(sandbox: Sandbox, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(sandbox)
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    return send


@pytest.fixture(scope="session")
def post(sandbox: Sandbox, call: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    """Posts a body to an API with the key of the first workspace, of that sandbox or of another."""

    def send(api: str, body: object, of: Sandbox = sandbox) -> httpx.Response:
        key = getattr(of.workspaces[0], f"{api}_key")
        headers = {"X-API-KEY": key, "Content-Type": "application/json"}
        return call(of, "POST", REPORTS[api], headers=headers, content=json.dumps(body))

    return send


def answered(reply: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture(scope="session")
def seachat(post: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks SeaChat for one metric of the first workspace: its value."""
    return lambda metric, **fields: answered(post("seachat", {"metrics": [metric]} | fields))[
        metric
    ]


@pytest.fixture(scope="session")
def seax(post: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks SeaX for one metric of the first workspace: its value."""
    return lambda metric, **fields: answered(post("seax", {"metrics": [metric]} | fields))[metric]


@pytest.fixture(scope="session")
def portal(post: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks Portal for one metric of the first workspace: the whole reply."""
    return lambda metric, **fields: answered(post("portal", {"metric": metric} | fields))
