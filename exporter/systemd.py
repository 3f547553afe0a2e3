"""The sd_notify protocol: tells systemd when the service is ready, reloads, ends, and is alive.

systemd names a datagram socket in NOTIFY_SOCKET, and podman does the same for a container. Without
the variable nothing is sent, so a `Notifier` can always be there.

The event loop itself answers the watchdog: a thread would go on answering for a loop that hangs.
That is also why a message never blocks. If systemd does not read, the message waits for a while and
is then dropped. A dropped ping is no harm, because the next one comes well within the interval.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

PATIENCE: Final = 2.0
"""The longest that a message waits until systemd reads, in seconds."""

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager about this process; does nothing without one.

    Args:
        environment: Where the manager says what it wants: NOTIFY_SOCKET, WATCHDOG_USEC and
            WATCHDOG_PID.
        monotonic_ns: The present on CLOCK_MONOTONIC, in nanoseconds.

    Attributes:
        ping_every: Seconds between two pings, half of what systemd allows; 0.0 without a watchdog.
    """

    def __init__(
        self, environment: Mapping[str, str], monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._socket = _connected(environment.get("NOTIFY_SOCKET", ""))
        self._started = False
        self._hears = True
        self.ping_every = _watchdog_seconds(environment) / 2 if self._socket else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._socket:
            self._socket.close()

    async def started(self) -> None:
        """Say that the metrics page is served from now on."""
        self._started = True
        await self._send("READY=1")

    async def reloading(self) -> None:
        """Say that a reload begins.

        The time tells systemd whether this is the reload that it asked for. A reload during the
        start is a part of the start.
        """
        if self._started:
            await self._send(f"RELOADING=1\nMONOTONIC_USEC={self._monotonic_ns() // 1000}")

    async def reloaded(self, *, successful: bool) -> None:
        """Say that the reload is over; the protocol has no word for a failed one but its status."""
        if self._started:
            status = (
                "" if successful else "new configuration rejected, the last good one is in force"
            )
            await self._send(f"READY=1\nSTATUS={status}")

    async def stopping(self) -> None:
        """Say that the shutdown begins."""
        await self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Answer the watchdog until cancelled."""
        while self.ping_every:
            await self._send("WATCHDOG=1")
            await asyncio.sleep(self.ping_every)

    async def _send(self, message: str) -> None:
        if not self._socket:
            return
        sending = asyncio.get_running_loop().sock_sendall(self._socket, message.encode())
        try:
            await asyncio.wait_for(sending, PATIENCE)
        except OSError as error:  # a timeout is one, too
            if self._hears:
                log.warning("systemd is not told", extra={"reason": _reason(error)})
            self._hears = False
        else:
            self._hears = True


def _connected(address: str) -> socket.socket | None:
    """A socket to the manager; None without one, or if it cannot be reached."""
    if not address:
        return None
    if address[0] not in "/@":
        log.warning("systemd is not told", extra={"reason": "NOTIFY_SOCKET must be a Unix socket"})
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        found.settimeout(0)
        found.connect(address.replace("@", "\0", 1) if address[0] == "@" else address)
    except OSError as error:
        found.close()
        log.warning("systemd is not told", extra={"reason": _reason(error)})
        return None
    return found


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """What systemd allows between two pings; 0.0 without a watchdog for this process."""
    pid = environment.get("WATCHDOG_PID", str(os.getpid()))
    allowed = environment.get("WATCHDOG_USEC", "")
    if pid != str(os.getpid()) or not (allowed.isascii() and allowed.isdecimal()):
        return 0.0
    return int(allowed) / 1e6


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
