"""What the pages tell a reader to run, to write and to ask: their blocks of code, as they stand there."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a page that are in a language, those in a list without its indent."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [dedent(block) for block in found]


def commands(page: str) -> list[list[str]]:
    """The commands of each block of a page, without comments."""
    return [
        [line for line in block.splitlines() if not line.startswith("#")]
        for block in blocks(page, "sh")
    ]
