"""The programs that the end-to-end tests run: the exporter's demo, a sandbox, Prometheus's own."""

import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from support.processes import Running
from support.serving import in_a_thread

from exporter.sandbox import Sandbox
from exporter.web.server import Server
from exporter.web.sockets import TRUSTED

Command = tuple[str, ...]

ROOT: Final = Path(__file__).parents[2]
LOOPBACK: Final = "127.0.0.1:0"
ANYWHERE: Final = (f"--web.listen-address={LOOPBACK}", f"--sandbox.listen-address={LOOPBACK}")

LISTENING: Final = r"msg=listening address=(127\.0\.0\.1:[1-9]\d*)$"
SMALL: Final = """\
requests_per_minute: 6000
workspaces:
  - name: small
    api: seachat
    base_url: ${SANDBOX_URL}
    api_key: ${SEACHAT_API_KEY}
"""
"""A configuration for a sandbox, to which keys of its workspace may be added."""

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
    found = ServedSandbox(sandbox, "")
    with closing(sandbox), in_a_thread(Server(found, limits=TRUSTED, dates=False)) as port:
        found.url = f"http://127.0.0.1:{port}"
        yield found
