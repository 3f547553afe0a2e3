"""What each dashboard needs to be polled, as a table for the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from exporter.model.apis import APIS
from exporter.reports.catalogue import REPORTS
from grafana.builder.board import Board
from grafana.builder.catalogue import BOARDS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "dashboards.md"
BEGIN: Final = "<!-- needs: begin -->\n"
END: Final = "<!-- needs: end -->\n"

_REPORTS: Final = {family.name: report for report in REPORTS for family in report.families}


def table() -> str:
    """A row for each dashboard and API."""
    rows = "".join(f"| {row} |\n" for board in BOARDS for row in _rows(board))
    return f"| dashboard | API | reports and windows |\n|---|---|---|\n{rows}"


def _rows(board: Board) -> Iterator[str]:
    wanted: dict[str, dict[str, set[str]]] = {}
    queries = (query for row in board.rows for panel in row.panels for query in panel.queries)
    for query in queries:
        for name, labels in re.findall(r"(seasalt_\w+)\{([^}]*)\}", query.expr):
            report = _REPORTS.get(name)
            api = re.search(r'api=~?"([^"]*)"', labels)
            window = re.search(r'window="([^"]*)"', labels)
            for each in api[1].split("|") if api and report else ():
                windows = wanted.setdefault(each, {}).setdefault(_word(name, each), set())
                windows |= {window[1]} if window else set()
    for known in APIS.values():
        if known.name in wanted:
            needed = "; ".join(
                f"`{word}` {', '.join(sorted(windows))}".strip()
                for word, windows in sorted(wanted[known.name].items())
            )
            yield f"{board.title} | {known.title} | {needed}"


def _word(family: str, api: str) -> str:
    """The API's own word for the report of a family."""
    report = _REPORTS[family]
    return report.apis[api].metric or report.name


def with_table(text: str) -> str:
    """The document's text with the table as it must be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"
