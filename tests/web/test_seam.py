"""What of uvicorn's and h11's inside the server relies on, so that a new release fails here first."""

import asyncio
import inspect
import re
from asyncio import sslproto
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web.connection import Connection
from exporter.web.server import Server

ROOT: Final = Path(__file__).parents[2]


def parameters(function: Any) -> list[str]:  # noqa: ANN401 - anything that can be called
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    "name",
    [name for name, one in vars(Connection).items() if inspect.isfunction(one) and name[0] != "_"],
)
def test_what_a_connection_overrides_is_there_to_be_overridden(name: str) -> None:
    ours = {"renew", "get_buffer", "buffer_updated"}
    if name not in ours:
        assert parameters(getattr(H11Protocol, name)) == parameters(getattr(Connection, name))


@pytest.mark.parametrize(
    "name", ["capture_signals", "startup", "on_tick", "shutdown", "serve", "main_loop"]
)
def test_what_the_server_overrides_or_calls_is_there(name: str) -> None:
    assert parameters(getattr(uvicorn.Server, name)) == parameters(getattr(Server, name))


def test_a_connection_has_the_attributes_that_are_used() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    config = uvicorn.Config(app, ws="none", lifespan="off", http="h11")
    protocol = H11Protocol(config, ServerState(), {}, _loop=object())  # type: ignore[arg-type]

    assert {
        "app",
        "app_state",
        "config",
        "conn",
        "cycle",
        "scope",
        "server_state",
        "transport",
    } <= {*vars(protocol)}
    assert protocol.app is config.loaded_app
    assert vars(protocol)["cycle"] is None
    assert protocol.timeout_keep_alive_task is None
    assert callable(protocol._unset_keepalive_if_required)  # noqa: SLF001
    assert "response_complete" in inspect.getsource(RequestResponseCycle.__init__)
    assert "disconnected" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.app_state.copy()" in inspect.getsource(H11Protocol.handle_events)
    assert "self.app" in inspect.getsource(H11Protocol.handle_events)


def test_what_is_used_of_asyncios_tls_is_there() -> None:
    assert parameters(sslproto.SSLProtocol._fatal_error) == ["self", "exc", "message"]  # noqa: SLF001
    assert parameters(sslproto.SSLProtocol) == [
        *("loop", "app_protocol", "sslcontext", "waiter", "server_side", "server_hostname"),
        *("call_connection_made", "ssl_handshake_timeout", "ssl_shutdown_timeout"),
    ]
    source = inspect.getsource(sslproto.SSLProtocol)
    assert "bytearray(self.max_size)" in source
    assert "self._fatal_error(exc, msg)" in source
    assert "if self._waiter is None:" in source or "if self._waiter is not None" in source
    assert issubclass(sslproto.SSLProtocol, asyncio.BufferedProtocol)


def test_the_state_of_a_server_has_what_is_used() -> None:
    assert {"connections", "tasks", "default_headers", "total_requests"} <= {*vars(ServerState())}


def test_h11_keeps_what_it_has_not_read_where_it_is_looked_for() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"\r\nGET")
    unread = connection._receive_buffer  # noqa: SLF001

    assert unread._data.startswith(b"\r\n")  # noqa: SLF001
    assert len(unread) == 5
    assert bytes(unread.maybe_extract_at_most(2) or b"") == b"\r\n"
    assert connection.trailing_data == (b"GET", False)


def test_uvicorn_is_bounded_by_what_was_tried() -> None:
    found = re.search(
        r'"uvicorn>=0\.(\d+),<0\.(\d+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert found
    lowest, beyond = map(int, found.groups())
    major, minor = map(int, version("uvicorn").split(".")[:2])
    assert major == 0
    assert lowest <= minor < beyond
