"""One sandbox for all tests, and short ways to call it over HTTP."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from exporter.model import api_paths
from exporter.sandbox import Sandbox

NOW = datetime(2025, 11, 5, 15, 0, tzinfo=UTC)


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
def seachat(sandbox: Sandbox, call: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks SeaChat for one metric of the first workspace: its value."""

    def ask(metric: str, **fields: object) -> object:
        key = sandbox.workspaces[0].seachat_key
        body = {"metrics": [metric]} | fields
        reply = call(
            sandbox, "POST", api_paths.SEACHAT_REPORT, headers={"X-API-KEY": key}, json=body
        )
        assert reply.status_code == 200, reply.text
        return reply.json()[metric]

    return ask


@pytest.fixture(scope="session")
def seax(sandbox: Sandbox, call: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks SeaX for one metric of the first workspace: its value."""

    def ask(metric: str, **fields: object) -> object:
        key = sandbox.workspaces[0].seax_key
        body = {"metrics": [metric]} | fields
        reply = call(sandbox, "POST", api_paths.SEAX_REPORT, headers={"X-API-KEY": key}, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()[metric]

    return ask


@pytest.fixture(scope="session")
def portal(sandbox: Sandbox, call: Callable[..., httpx.Response]) -> Callable[..., Any]:
    """Asks Portal for one metric of the first workspace: the whole reply."""

    def ask(metric: str, **fields: object) -> object:
        key = sandbox.workspaces[0].portal_key
        body = {"metric": metric} | fields
        reply = call(
            sandbox, "POST", api_paths.PORTAL_REPORT, headers={"X-API-KEY": key}, json=body
        )
        assert reply.status_code == 200, reply.text
        return reply.json()

    return ask
