"""The status page as a person sees it, in a real browser."""

import json
import re
import shutil
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import LOOPBACK, Command, Demo, ServedSandbox, missing
from support.processes import finished, get, started, wait_for

from exporter.metrics.store import Record
from exporter.model.targets import Key, Target
from exporter.polling.status import Status, WorkspaceStatus, targets
from exporter.web.status_page import page

QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)
NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WIDE, NARROW = (1200, 900), (390, 844)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of a browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    return path or missing("no chromium: tests/prepare-machine installs it")


def browse(chromium: str, folder: Path, url: str, *asked: str) -> str:
    """What headless Chromium prints when it is asked for a page."""
    ended = finished(
        [chromium, *QUIET, f"--user-data-dir={folder / 'profile'}", *asked, url], within=240
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
    chromium: str, each_demo: Demo, tmp_path: Path, size: tuple[int, int]
) -> None:
    png = picture(chromium, tmp_path, each_demo.page.removesuffix("metrics"), size)

    assert struct.unpack(">II", png[16:24]) == size
    assert len(png) > 10_000  # more than an empty sheet


MEASURE: Final = """<script>
const style = (what) => getComputedStyle(document.querySelector(what));
document.title = JSON.stringify({
  wide: document.documentElement.scrollWidth, room: innerWidth,
  head: style("thead").display, ok: style(".ok").color, ground: matchMedia("(prefers-color-scheme: dark)").matches,
});
</script>"""


def measured(chromium: str, folder: Path, *asked: str) -> dict[str, object]:
    """What a browser makes of a page with the longest of names."""
    long = "W" * 120
    key = Key(Target("seachat", long, "b" * 128, long), "csat", "last_30_days")
    record = Record(600.0, success=True, last_success=NOW, expires=NOW, error="")
    found = targets({key: (600.0, NOW)}, {key: record}, NOW)
    workspace = WorkspaceStatus(long, "seachat", "UTC", True, 1, 5000, 60, found)  # noqa: FBT003
    status = Status("0.1.0", NOW, (workspace,))
    html = "".join(page(status, metrics="/metrics", api="/api", query=long[:100]))
    file = folder / "page.html"
    file.write_text(html.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    dom = browse(chromium, folder, file.as_uri(), "--dump-dom", *asked)
    found_title = re.search("<title>(.*?)</title>", dom)
    assert found_title
    title: dict[str, object] = json.loads(found_title[1])
    return title


def test_on_a_telephone_nothing_runs_off_the_screen(chromium: str, tmp_path: Path) -> None:
    narrow = measured(chromium, tmp_path, f"--window-size={NARROW[0]},{NARROW[1]}")
    wide = measured(chromium, tmp_path, f"--window-size={WIDE[0]},{WIDE[1]}")

    assert narrow["wide"] == narrow["room"]
    assert narrow["head"] == "none"  # a row is a card there
    assert wide["wide"] == wide["room"]
    assert wide["head"] == "table-header-group"


def test_the_page_is_dark_where_that_is_preferred(chromium: str, tmp_path: Path) -> None:
    dark = measured(chromium, tmp_path, "--blink-settings=preferredColorScheme=0")
    light = measured(chromium, tmp_path, "--blink-settings=preferredColorScheme=1")

    assert (dark["ground"], light["ground"]) == (True, False)
    assert dark["ok"] != light["ok"]


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
        said = b"the key is not accepted"
        wait_for(lambda: said in get(url).body, "no failure is told", more=lambda: url)
        dom = browse(chromium, tmp_path, url, "--dump-dom")

    text = re.sub("<[^>]+>", " ", dom)
    assert "HTTP 401: the key is not accepted; its scope must be SeaChat API Access" in text
    assert "canary" not in dom
