"""The status page as a person sees it, in a real browser."""

import json
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from e2e.programs import LISTENING, LOOPBACK, Command, Demo, ServedSandbox, missing
from faults.stub import Asked, Stub, as_json
from support.browser import NARROW, WIDE, Browser, Page, Size, axe, chromium
from support.entries import DATA
from support.processes import get, started, wait_for
from support.statuses import NOW, failing, fine, shown, status, troubled, workspace

from exporter.errors import Cause
from exporter.metrics.store import Record
from exporter.model.targets import Key, Target
from exporter.polling.status import Status, targets

pytestmark = pytest.mark.takes_minutes

BOT: Final = "bot-000-2839e65f9ca7"
WAITING: Final[list[Record | None]] = [None] * 5
BEGINNING: Final = status(
    workspace("harbor", [(Target("seachat", "harbor", "b1", "Support"), WAITING)], answered=False)
)
VIEWS: Final[dict[str, tuple[Status, dict[str, Any]]]] = {
    "nothing": (status(), {}),
    "beginning": (BEGINNING, {}),
    "fine": (fine(), {}),
    "trouble": (troubled(), {}),
    "a workspace": (troubled(), {"workspace": "harbor"}),
    "a bot": (troubled(), {"workspace": "harbor", "bot": BOT}),
    "failing": (troubled(), {"state": "failing"}),
    "a cause": (troubled(), {"cause": "key_rejected", "api": "seachat"}),
    "a search": (troubled(), {"q": "csat"}),
    "found nothing": (troubled(), {"q": "<zzz>"}),
    "no such bot": (troubled(), {"workspace": "harbor", "bot": "gone"}),
}
RULES: Final = """
{resultTypes: ["violations"], rules: {"target-size": {enabled: true}}, runOnly: [
  "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests here."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("no chromium: tests/prepare-machine installs it")
    with chromium(path, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def checker() -> str:
    """The source of axe-core."""
    return axe() or missing("no axe-core: requirements-dev.lock has it")


def written(folder: Path, html: str) -> str:
    """The address of a page in a file."""
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    return file.as_uri()


def complaints(page: Page, checker: str) -> list[str]:
    """What axe-core finds wrong with a page."""
    page.value(f"{checker}; 0")
    found = page.value(
        f"axe.run(document, {RULES}).then(found => found.violations.map("
        "rule => `${rule.id}: ${rule.nodes.map(node => node.html + node.failureSummary)}`))"
    )
    assert page.value("Object.keys(axe._audit.rules).length") > 90  # it has really judged
    return list(found)


# For everybody, on any screen.


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_and_nothing_runs_off_the_screen(
    browser: Browser, checker: str, tmp_path: Path, view: str, size: Size, dark: bool
) -> None:
    found, asked = VIEWS[view]
    with browser.page(written(tmp_path, shown(found, **asked)), size, dark=dark) as page:
        assert page.value(
            f"matchMedia('(prefers-color-scheme: dark)').matches === {str(dark).lower()}"
        )
        assert complaints(page, checker) == []
        wide, room = page.value("[document.documentElement.scrollWidth, innerWidth]")
        assert (wide, room) == (size[0], size[0])


def test_of_a_page_that_refreshes_axe_says_that_and_it_can_be_switched_off(
    browser: Browser, checker: str, tmp_path: Path
) -> None:
    """WCAG 2.2.1 allows what a person can turn off; axe-core cannot know that somebody can."""
    with browser.page(written(tmp_path, shown(troubled(), refresh=300))) as page:
        [complaint] = complaints(page, checker)
        assert complaint.startswith("meta-refresh: ")
        assert page.value("document.querySelector('header p:last-child').innerText") == (
            "As of 2026-11-21 02:46:00 UTC · Refresh: off · every 30s · every 5m"
        )


CONTRAST: Final = """
(() => {
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(one => {
    const part = one / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  return Object.fromEntries([...document.querySelectorAll("i")].map(one => {
    const style = getComputedStyle(one);
    const [low, high] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
    return [one.innerText, (high + 0.05) / (low + 0.05)];
  }));
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_sign_can_be_told_from_its_ground(
    browser: Browser, tmp_path: Path, dark: bool
) -> None:
    """axe-core does not judge single characters."""
    with browser.page(written(tmp_path, shown(troubled())), dark=dark) as page:
        contrasts = page.value(CONTRAST)

    assert {*contrasts} == {"✗", "!", "~", "·", "✓"}
    assert min(contrasts.values()) >= 4.5


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
@pytest.mark.parametrize("bot", ["", "b" * 128], ids=["all", "bot"])
def test_the_longest_names_do_not_run_off_the_screen(
    browser: Browser, tmp_path: Path, size: Size, bot: str
) -> None:
    long = "W" * 120
    key = Key(Target("seachat", long, "b" * 128, long), long, "last_30_days")
    record = failing(Cause.TIMEOUT, error="E" * 200)
    one = replace(workspace(long, []), targets=targets({key: (600.0, NOW)}, {key: record}, NOW))
    html = shown(status(one), bot=bot, q="" if bot else long[:100])

    with browser.page(written(tmp_path, html), size) as page:
        assert page.value("document.documentElement.scrollWidth === innerWidth")
        assert page.value("getComputedStyle(document.querySelector('td')).display") == (
            "table-cell" if size == WIDE else "block"
        )


def test_a_row_of_a_bots_signs_fits_on_a_desk(browser: Browser, tmp_path: Path) -> None:
    with browser.page(written(tmp_path, shown(fine()))) as page:
        heights = page.value(
            "[...document.querySelectorAll('[role=img]')].map(one => one.getClientRects().length)"
        )

    assert set(heights) == {1}


def test_the_page_loads_itself_again_when_it_is_asked_to(browser: Browser, tmp_path: Path) -> None:
    html = shown(fine(), refresh=5).replace('content="5"', 'content="1"')
    file = written(tmp_path, html)

    with browser.page(file) as page:
        written(tmp_path, shown(troubled()))
        page.loaded_again()
        assert page.value("document.title") == "14 problems · seasalt-exporter"


# The exporter itself.


def test_the_page_in_a_browser_shows_every_workspace_and_bot(browser: Browser, demo: Demo) -> None:
    with browser.page(demo.page.removesuffix("metrics")) as page:
        text = page.text
        page.value("[...document.links].find(one => one.innerText === 'Order Desk').click()")
        page.loaded_again()
        bot = page.text

    assert "Everything is up to date" in text
    for said in ("harbor", "harbor-portal", "harbor-seax", "Order Desk"):
        assert said in text
    assert "csat" in bot
    assert "last_30_days" in bot


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
def test_the_page_can_be_drawn_on_a_desk_and_on_a_telephone(
    browser: Browser, each_demo: Demo, size: Size
) -> None:
    with browser.page(each_demo.page.removesuffix("metrics"), size) as page:
        png = page.picture()

    assert struct.unpack(">II", png[16:24]) == size
    assert len(png) > 10_000  # more than an empty sheet


@contextmanager
def polling(exporter: Command, folder: Path, *workspaces: object) -> Iterator[str]:
    """An exporter that polls these workspaces; the address of its status page."""
    config = folder / "seasalt.yml"
    config.write_text(json.dumps({"requests_per_minute": 6000, "workspaces": workspaces}))
    flags = (
        f"--config.file={config}",
        f"--web.listen-address={LOOPBACK}",
        "--web.runbooks-url=https://docs.example/runbooks/",
        "--web.grafana-url=https://grafana.example/",
    )
    with started([*exporter, "serve", *flags]) as process:
        yield f"http://{process.said(LISTENING)}/"


def said(url: str, *words: str) -> None:
    """Wait until a page says some words."""

    def look() -> bool:
        body = get(url).body.decode()
        return all(word in body for word in words)

    wait_for(look, f"{words} are not told", more=lambda: get(url).body)


def acme(url: str, **others: object) -> dict[str, object]:
    """A workspace with a report, as a configuration has it."""
    one = {"name": "acme", "api": "seachat", "base_url": url, "metrics": ["total_usage"]}
    return {**one, "api_key": "sk-canary-0123456789", **others}


def test_a_rejected_key_is_told_in_words_and_not_shown(
    browser: Browser, exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with polling(exporter, tmp_path, acme(small_sandbox.url)) as url:
        said(url, "the key is not accepted")
        with browser.page(url) as page:
            text, dom = page.text, page.dom

    assert "SeaChat rejects the key" in text
    assert "HTTP 401: the key is not accepted; its scope must be SeaChat API Access" in text
    assert "into api_key of workspace acme. Then reload the configuration; if the key comes" in text
    assert "canary" not in dom


def test_real_faults_are_told_by_cause_with_what_to_do_and_where_to_read_on(
    browser: Browser, checker: str, exporter: Command, tmp_path: Path
) -> None:
    right = json.loads((DATA / "replies/seachat/total_usage.json").read_text(encoding="utf-8"))

    def answer(asked: Asked) -> tuple[bytes, ...]:
        status, content = {
            "broken": (500, {"detail": "no"}),
            "refused": (422, {"detail": "no"}),
            "garbled": (200, "no"),
        }.get(asked.bot, (200, right))
        return (as_json(status, content),)

    bots = [{"id": name, "name": name.title()} for name in ("broken", "refused", "garbled", "well")]
    with (
        Stub(answer).beside() as stub,
        polling(
            exporter,
            tmp_path,
            acme(stub.url, bots=bots, metrics=[{"metric": "total_usage", "scope": "bots"}]),
            acme("http://127.0.0.1:9", name="cut-off", bots=[{"id": "b", "name": "Lonely"}]),
        ) as url,
    ):
        said(url, "server errors", "refuses the request", "cannot be read", "cannot be reached")
        with browser.page(url, NARROW, dark=True) as page:
            text = page.text
            assert complaints(page, checker) == []
            link = "https://docs.example/runbooks/SeasaltApiFailing.md"
            assert page.value(f"document.querySelectorAll('a[href=\"{link}\"]').length") == 3
            page.value("[...document.links].find(one => one.innerText === 'Broken').click()")
            page.loaded_again()
            bot = page.text
        states = json.loads(get(f"{url}api/v1/status").body)

    assert "4 problems" in text
    assert "1 report of Broken in acme" in text
    assert "never succeeded, tried since" in text
    assert "the API cannot be reached: connection refused" in text
    assert "broken · bot of acme · SeaChat" in bot
    assert "HTTP 500" in bot
    found = {
        target["bot_id"]: target["reports"][0]["cause"]
        for target in states["workspaces"][0]["targets"]
    }
    assert found == {
        "broken": "server_error",
        "refused": "refused",
        "garbled": "invalid",
        "well": None,
    }
