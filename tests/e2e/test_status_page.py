"""The status page as a person sees it, in a real browser."""

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import LOOPBACK, Command, Demo, ServedSandbox, missing
from support.processes import finished, get, started, wait_for

QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)
WIDE, NARROW = (1200, 900), (390, 844)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of a browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    return path or missing("no chromium: tests/run installs it where it may")


def browse(chromium: str, folder: Path, url: str, *asked: str) -> str:
    """What headless Chromium prints when it is asked for a page."""
    ended = finished(
        [chromium, *QUIET, f"--user-data-dir={folder / 'profile'}", *asked, url], within=60
    )
    assert ended.status == 0, ended.stderr
    return ended.stdout


def picture(chromium: str, folder: Path, url: str, size: tuple[int, int]) -> bytes:
    """The page as a PNG of that size."""
    file = folder / "page.png"
    browse(chromium, folder, url, f"--screenshot={file}", f"--window-size={size[0]},{size[1]}")
    return file.read_bytes()


def test_the_page_in_a_browser_shows_every_workspace_and_bot(
    chromium: str, demo: Demo, tmp_path: Path
) -> None:
    dom = browse(chromium, tmp_path, demo.page.removesuffix("metrics"), "--dump-dom")

    for said in ("harbor", "harbor-portal", "harbor-seax", "Order Desk", "csat", "last_30_days"):
        assert said in dom
    assert 'class="s failing"' not in dom


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
def test_the_page_can_be_drawn_on_a_desk_and_on_a_telephone(
    chromium: str, demo: Demo, tmp_path: Path, size: tuple[int, int]
) -> None:
    png = picture(chromium, tmp_path, demo.page.removesuffix("metrics"), size)

    assert struct.unpack(">II", png[16:24]) == size
    assert len(png) > 10_000  # more than an empty sheet


def test_a_rejected_key_is_told_in_words_and_not_shown(
    chromium: str, exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    workspace = {
        "name": "acme",
        "api": "seachat",
        "base_url": small_sandbox.url,
        "api_key": "sk-canary-0123456789",
        "metrics": ["total_usage"],
    }
    config = tmp_path / "seasalt.yml"
    config.write_text(json.dumps({"requests_per_minute": 600, "workspaces": [workspace]}))
    command = [*exporter, "serve", f"--config.file={config}", f"--web.listen-address={LOOPBACK}"]
    with started(command) as process:
        url = f"http://{process.said('msg=listening address=([^ ]+)').strip()}/"
        wait_for(lambda: b"failing" in get(url).body, "no failure is told", more=lambda: url)
        dom = browse(chromium, tmp_path, url, "--dump-dom")

    text = re.sub("<[^>]+>", " ", dom)
    assert "HTTP 401: the key is not accepted; its scope must be SeaChat API Access" in text
    assert "canary" not in dom
