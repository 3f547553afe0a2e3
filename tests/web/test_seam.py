"""What of h11's and asyncio's inside the server relies on, so that a new release fails here first."""

import asyncio
import inspect
from asyncio import sslproto
from typing import Any

import h11


def parameters(function: Any) -> list[str]:  # noqa: ANN401 - anything that can be called
    return list(inspect.signature(function).parameters)


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


def test_h11_keeps_what_it_has_not_read_where_it_is_looked_for() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"\r\nGET")
    unread = connection._receive_buffer  # noqa: SLF001

    assert unread._data.startswith(b"\r\n")  # noqa: SLF001
    assert len(unread) == 5
    assert bytes(unread.maybe_extract_at_most(2) or b"") == b"\r\n"
    assert connection.trailing_data == (b"GET", False)
