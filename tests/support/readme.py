"""The README's table of everything that can be polled, from the catalogue.

`python tests/support/readme.py` writes it into the README.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from exporter.model import bot_list
from exporter.model.apis import APIS
from exporter.model.report import AnyReport, Form, Options
from exporter.reports.catalogue import of_api

README: Final = Path(__file__).parent.parent.parent / "README.md"
BEGIN: Final = "<!-- reports: begin -->\n"
END: Final = "<!-- reports: end -->\n"


def table() -> str:
    """The table, a row for each metric of each API."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| API | metric | window | options | families |"
    yield "|---|---|---|---|---|"
    for api in APIS.values():
        for metric, (report, form) in of_api(api.name).items():
            yield _row(
                api.title, f"`{metric}`", _window(form), _options(report, form), _names(report)
            )
    families = ", ".join(
        f"`{family.name.removeprefix('seasalt_')}`" for family in bot_list.FAMILIES
    )
    yield _row("SeaChat", "the list of bots", "", "`discover_bots`", families)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _window(form: Form) -> str:
    bot = "; of one bot" if form.needs_bot else ""
    return (f"`{form.window}`" if form.window else "none") + bot


def _options(report: AnyReport, form: Form) -> str:
    own = report.options.model_fields.keys() - Options.model_fields.keys()
    return ", ".join(f"`{name}`" for name in sorted(own - report.foreign(form)))


def _names(report: AnyReport) -> str:
    """The families in a shell's short form: `csat_{responses,average_rating}`."""
    prefix = f"seasalt_{report.name}_"
    ends = [family.name.removeprefix(prefix) for family in report.families]
    short = prefix.removeprefix("seasalt_")
    return f"`{short}{ends[0]}`" if len(ends) == 1 else f"`{short}{{{','.join(ends)}}}`"


def with_table(text: str) -> str:
    """The README's text with the table as it must be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
