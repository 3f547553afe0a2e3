"""What MkDocs has to know about this repository: pages outside docs/, and links that leave it.

CHANGELOG, CONTRIBUTING and SECURITY stay at the root, where people and GitHub look for them. All links
are written for GitHub. On the site they lead to the page, or else to the file in the repository.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
FROM_ROOT: Final = {
    "CHANGELOG.md": "docs/changelog.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "SECURITY.md": "docs/security.md",
}
"""Files at the root, and the pages that the site makes of them."""

_WRITTEN: Final = {page: name for name, page in FROM_ROOT.items()}
_LINK: Final = re.compile(r"\[([^\[\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages of docs/ and those from the root."""
    for name, page in FROM_ROOT.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page.removeprefix("docs/"), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page with links that work on the site."""
    here = f"docs/{page.file.src_uri}"
    folder = dirname(_WRITTEN.get(here, here))

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = normpath(join(folder, target))
        there = FROM_ROOT.get(path, path)
        if there.startswith("docs/") and files.get_file_from_path(there.removeprefix("docs/")):
            return f"[{text}]({relpath(there, dirname(here))}{anchor})"
        if not (ROOT / path).exists():
            return found[0]  # the strict build rejects it
        repository = config.extra["repository"]
        return f"[{text}]({repository}/blob/HEAD/{path}{anchor})" if repository else text

    return _LINK.sub(link, markdown)
