"""Writes every dashboard, and what they need into their document: `python -m grafana.builder`."""

import json
from pathlib import Path
from typing import Final

from grafana.builder.board import Board
from grafana.builder.catalogue import BOARDS
from grafana.builder.needs import DOCUMENT, with_table

FOLDER: Final = Path(__file__).parents[1] / "dashboards"


def content(board: Board) -> str:
    """A dashboard's file, the same bytes at every run."""
    return json.dumps(board.json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in BOARDS:
        (FOLDER / f"{each.uid}.json").write_text(content(each), encoding="utf-8")
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
