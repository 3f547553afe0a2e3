"""The programs that the end-to-end tests run: the exporter's demo, a sandbox, Prometheus's own."""

import asyncio
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from support.processes import Running

from exporter.sandbox import Sandbox
from exporter.web.server import Server
from exporter.web.sockets import TRUSTED, bound, listen

Command = tuple[str, ...]

ROOT: Final = Path(__file__).parents[2]
LOOPBACK: Final = "127.0.0.1:0"
ANYWHERE: Final = (f"--web.listen-address={LOOPBACK}", f"--sandbox.listen-address={LOOPBACK}")

_TOOLS: Final = ROOT / ".tools/prometheus/usr/bin"
_LEAST: Final = (3, 5)


def missing(what: str) -> NoReturn:
    """Skip the test for want of something; in CI, where nothing may be missing, fail it."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"missing in CI: {what}", pytrace=False)
    pytest.skip(what)


def program(name: str, least: tuple[int, int] = _LEAST) -> str:
    """The path of one of Prometheus's programs, recent enough: ours, or the machine's."""
    for path in (str(_TOOLS / name), shutil.which(name)):
        if path and os.access(path, os.X_OK):
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            found = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
            if found and (int(found[1]), int(found[2])) >= least:
                return path
    missing(f"no {name} {'.'.join(map(str, least))} or newer: tests/get-prometheus fetches it")


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo.

    Attributes:
        page: The URL of its metrics.
        process: The program.
    """

    page: str
    process: Running


@dataclass
class ServedSandbox:
    """A sandbox that is served on loopback, and what it was asked.

    Attributes:
        sandbox: Where the numbers come from.
        url: Where it is.
        requests: Paths, one for each request.
    """

    sandbox: Sandbox
    url: str
    requests: list[str] = field(default_factory=list)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Note a request and let the sandbox answer it."""
        self.requests.append(scope["path"])
        await self.sandbox(scope, receive, send)

    @property
    def environment(self) -> dict[str, str]:
        """What a configuration may refer to."""
        workspace = self.sandbox.workspaces[0]
        return {
            "SANDBOX_URL": self.url,
            "SEACHAT_API_KEY": workspace.seachat_key,
            "WORKSPACE_ID": workspace.id,
            "BOT_ID": workspace.bots[0].id,
        }


@contextmanager
def served(sandbox: Sandbox) -> Iterator[ServedSandbox]:
    """Serve a sandbox from a thread for as long as the block lasts."""
    [listening] = listen([LOOPBACK])
    found = ServedSandbox(sandbox, f"http://{bound(listening)}")
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete,
        args=(Server(found, limits=TRUSTED).serve_until(stop, [listening]),),
    )
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        sandbox.close()
