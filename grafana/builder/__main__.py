"""Writes every dashboard, and what they need into their document: `python -m grafana.builder`.

`python -m grafana.builder FOLDER` writes them as grafana.com takes them, and changes nothing else.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grafana.builder.board import Board
from grafana.builder.catalogue import BOARDS
from grafana.builder.needs import DOCUMENT, with_table
from grafana.builder.panel import Json

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
OLDEST: Final = "10.0.0"
"""The oldest Grafana that reads the files."""


def content(board: Board) -> str:
    """A dashboard's shipped file."""
    return text(board.json())


def shared(board: Board) -> Json:
    """A dashboard as "Export for sharing externally" writes it.

    The data source is a variable and so no input. `__requires` lists what an import checks.
    """
    made = board.json()
    kinds = sorted({panel["type"] for panel in made["panels"]} - {"row"})
    made["__inputs"] = []
    made["__elements"] = {}
    made["__requires"] = [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": OLDEST},
        {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
    ]
    return made | {"id": None, "editable": True}


def text(made: Json) -> str:
    """A file, the same bytes at every run."""
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folders: Sequence[str]) -> None:
    """Write the shipped files, or those to share into a folder."""
    for each in BOARDS:
        for folder in folders:
            Path(folder, f"{each.uid}.json").write_text(text(shared(each)), encoding="utf-8")
        if not folders:
            (FOLDER / f"{each.uid}.json").write_text(content(each), encoding="utf-8")
    if not folders:
        written = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_table(written), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
