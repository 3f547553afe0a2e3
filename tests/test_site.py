"""The documentation as a site: it builds, every link leads somewhere, nothing comes from elsewhere."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
import yaml
from e2e.programs import missing
from support.processes import finished

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
RUNBOOKS: Final = {path.name for path in ROOT.glob("docs/runbooks/*.md")}
REPOSITORY: Final = "https://git.example/seasalt-exporter"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None:
        missing("no mkdocs: requirements-docs.lock has it")
    folder = tmp_path_factory.mktemp("site")
    built = finished(
        [
            *(sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"),
            *(f"--config-file={ROOT / 'mkdocs.yml'}", f"--site-dir={folder}"),
        ],
        {"REPOSITORY_URL": REPOSITORY, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.status == 0, built.stdout + built.stderr
    return folder


def test_the_site_has_a_page_for_each_file(site: Path) -> None:
    pages = {path.stem.lower() for path in PAGES if path.name != "README.md"}
    assert {path.stem.lower() for path in site.rglob("*.html")} == pages | {"404"}


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href|srcset)="(.*?)"')
    for page in site.rglob("*.html"):
        for address in fetched.findall(page.read_text(encoding="utf-8")):
            assert not re.match(r"(?:https?:)?//", address), (page.name, address)


def test_the_site_has_the_pages_of_the_root_and_links_to_the_repositorys_files(site: Path) -> None:
    assert 'href="security.html"' in (site / "index.html").read_text(encoding="utf-8")
    security = (site / "security.html").read_text(encoding="utf-8")
    assert f'href="{REPOSITORY}/blob/HEAD/tests/web/test_connection.py"' in security
    runbook = (site / "alerts.html").read_text(encoding="utf-8")
    assert 'href="runbooks/SeasaltExporterDown.html"' in runbook


def test_every_runbook_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"- runbooks/(\S+)", text)) == RUNBOOKS


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'\]\((?!https?:)([^)\s]+)\)|(?:src|srcset)="([^"]+)"', text)
    for link in (one or other for one, other in links):
        target, _, anchor = link.partition("#")
        found = page.parent / target if target else page
        assert found.exists(), link
        assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub and MkDocs name them in links."""
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_the_publishing_workflow_builds_the_same_site() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text("utf-8"))["jobs"]
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert "python -m mkdocs build --strict" in runs
