"""A headless Chromium that is driven over a pipe with the DevTools protocol, so without a library.

One browser opens every page, at any size and in either theme.
"""

import json
import os
import select
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from support.processes import inherited

PATIENCE: Final = 120.0
"""Seconds for one step, on a busy machine."""

_QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)
_ON_3_AND_4: Final = """
import os, sys
from fcntl import F_DUPFD, fcntl
ends = [fcntl(int(end), F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in enumerate(ends, 3):
    os.dup2(end, number)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4."""

Size = tuple[int, int]
WIDE: Final[Size] = (1200, 900)
NARROW: Final[Size] = (390, 844)


class Browser:
    """A running Chromium.

    Args:
        commands: Where it reads.
        answers: Where it writes.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._read = b""
        self._came: list[dict[str, Any]] = []

    def ask(self, method: str, session: str = "", /, **params: object) -> dict[str, Any]:
        """The result of a command.

        Raises:
            AssertionError: If there is none, or none in time.
        """
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        answer = self._await(lambda one: one.get("id") == command["id"], method)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def loaded(self, session: str, but: Collection[str] = (), only: str = "") -> str:
        """Wait until a document is loaded: `only` this one, or one that is not among some others.

        Raises:
            AssertionError: If that does not happen in time.
        """

        def wanted(one: Mapping[str, Any]) -> bool:
            if (one.get("method"), one.get("sessionId")) != ("Page.lifecycleEvent", session):
                return False
            document = one["params"]["loaderId"]
            known = document == only if only else document not in but
            return known and one["params"]["name"] == "load"

        found: str = self._await(wanted, "load")["params"]["loaderId"]
        return found

    def _await(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            for place, one in enumerate(self._came):
                if wanted(one):
                    return self._came.pop(place)
            left = deadline - time.monotonic()
            ready, *_ = select.select([self._answers], [], [], max(left, 0))
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            assert chunk, f"no {what} within {PATIENCE} s"
            *whole, self._read = (self._read + chunk).split(b"\0")
            self._came += map(json.loads, whole)

    @contextmanager
    def page(self, url: str, size: Size = WIDE, *, dark: bool = False) -> Iterator["Page"]:
        """Open a page, at a size in CSS pixels, in a theme."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.resize(size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", session, features=[scheme])
        self.ask("Page.enable", session)
        self.ask("Page.setLifecycleEventsEnabled", session, enabled=True)
        # The blank page may be loaded only now, and must not be taken for the one that is asked for.
        blank = self.ask("Page.getFrameTree", session)["frameTree"]["frame"]["loaderId"]
        document = self.ask("Page.navigate", session, url=url)["loaderId"]
        page.documents = {blank, document}
        self.loaded(session, only=document)
        yield page
        self.ask("Target.closeTarget", targetId=target)
        self._came.clear()


class Page:
    """A page in a browser.

    Attributes:
        documents: The documents that it has shown.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.documents: set[str] = set()

    def resize(self, size: Size) -> None:
        """Change the size of the screen."""
        self._browser.ask(
            "Emulation.setDeviceMetricsOverride",
            self._session,
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == NARROW,
        )

    def value(self, expression: str) -> Any:  # noqa: ANN401 - JSON
        """The value of an expression in JavaScript, or of what it promises."""
        given = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        found = self._browser.ask("Runtime.evaluate", self._session, **given)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    @property
    def dom(self) -> str:
        """The whole document."""
        return str(self.value("document.documentElement.outerHTML"))

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.value("document.body.innerText"))

    def picture(self) -> bytes:
        """What a person sees without scrolling, as a PNG."""
        return b64decode(self._browser.ask("Page.captureScreenshot", self._session)["data"])

    def loaded_again(self) -> None:
        """Wait until the page shows another document than before, and has loaded it.

        Raises:
            AssertionError: If that does not happen in time.
        """
        self.documents.add(self._browser.loaded(self._session, but=self.documents))


def axe() -> str | None:
    """The source of axe-core; None where it is not installed.

    It is taken from a package whose other half would need Playwright.
    """
    try:
        found = distribution("axe-playwright-python")
    except PackageNotFoundError:
        return None
    return Path(str(found.locate_file("axe_playwright_python/axe.min.js"))).read_text("utf-8")


@contextmanager
def chromium(path: str, profile: Path) -> Iterator[Browser]:
    """Run a browser for as long as the block lasts."""
    (from_us, commands), (answers, to_us) = os.pipe(), os.pipe()
    ends = (from_us, to_us)
    program = [sys.executable, "-c", _ON_3_AND_4, *map(str, ends), path, *_QUIET]
    process = subprocess.Popen(
        [*program, f"--user-data-dir={profile}"],
        pass_fds=ends,
        env=inherited(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        browser = Browser(commands, answers)
        yield browser
        browser.ask("Browser.close")
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
