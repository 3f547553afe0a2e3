"""The generated parts of the documentation that no command prints: reports, configuration, figures.

`python tests/support/pages.py` writes them into docs/.
"""

import json
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from exporter.config.json_schema import schema
from exporter.config.settings import Settings
from exporter.model import bot_list
from exporter.model.apis import APIS
from exporter.model.report import AnyReport, Form, Options
from exporter.reports.catalogue import REPORTS, of_api

DOCS: Final = Path(__file__).parents[2] / "docs"
REPORTS_PAGE: Final = DOCS / "reports.md"
CONFIGURATION_PAGE: Final = DOCS / "configuration-reference.md"
PERFORMANCE_PAGE: Final = DOCS / "performance.md"
COMPARISON_PAGE: Final = DOCS / "comparison.md"
BEGIN: Final = "<!-- reports: begin -->\n"
END: Final = "<!-- reports: end -->\n"

FIGURES: Final = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
COMPARED: Final = (
    *("seasalt-exporter", "prometheus_client", "pushgateway", "node_exporter textfile"),
    "query-exporter",
)
"""Whose figures stand side by side, as docs/performance.md names them."""

_SERIES: Final = "15,000"
_SECTIONS: Final = {
    "Http": "http",
    "Workspace": "workspaces",
    "Bot": "bots",
    "Discovery": "discover_bots",
    "Module": "modules",
    "ProbeUser": "user",
}
_FORMATS: Final = {"password": "string, secret", "path": "file name"}
_DURATION: Final = "([0-9]+s)?"

Schema = Mapping[str, Any]
"""A JSON Schema, or a part of one."""


# The table of reports, a row for each metric of each API.


def with_table(text: str) -> str:
    """A page's text with the table of reports as it must be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    table = "\n".join(_table())
    return f"{head}{BEGIN}{table}\n{END}{tail}"


def _table() -> Iterator[str]:
    yield "| API | metric | default window | options |"
    yield "|---|---|---|---|"
    for api in APIS.values():
        for metric, (report, form) in of_api(api.name).items():
            name = f"[`{metric}`](metrics.md#{report.name})"
            yield _row(api.title, name, _window(form), _options(report, form))
    yield _row("SeaChat", f"[the bot list](metrics.md#{bot_list.REPORT})", "", "`discover_bots`")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _window(form: Form) -> str:
    bot = "; per bot only" if form.needs_bot else ""
    return (f"`{form.window}`" if form.window else "none") + bot


def _options(report: AnyReport, form: Form) -> str:
    own = report.options.model_fields.keys() - Options.model_fields.keys()
    return ", ".join(f"`{name}`" for name in sorted(own - report.foreign(form)))


# The figures of others, from the measurements.


def with_figures(text: str, measured: str) -> str:
    """A page's text with a part of the measurements of another page."""
    head, _, rest = text.partition(FIGURES[0])
    _, _, tail = rest.partition(FIGURES[1])
    table = "\n".join(_figures(measured))
    return f"{head}{FIGURES[0]}{table}\n{FIGURES[1]}{tail}"


def _figures(measured: str) -> Iterator[str]:
    rows = {row["scraped"]: row for row in _rows_of(measured, "| series | scraped |")}
    columns = ("p50 ms", "CPU ms", "MB")
    yield _row("", "a scrape, median", "CPU of a scrape", "memory")
    yield "|---|---|---|---|"
    for name in COMPARED:
        half, cpu, memory = (rows[name][column] for column in columns)
        yield _row(name, f"{half} ms", f"{cpu} ms", f"{memory} MB")


def _rows_of(text: str, head: str) -> Iterator[dict[str, str]]:
    """The rows of a table about the one size, by the names of its columns."""
    table = text[text.index(head) :].partition("\n\n")[0].splitlines()
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    for row in rows:
        if row[0] == _SERIES:
            yield dict(zip(names, row, strict=True))


# The reference of the configuration, from its schema.


def configuration() -> str:
    """The page, every key of the configuration in it."""
    return "\n".join(_configuration()) + "\n"


def _configuration() -> Iterator[str]:
    found = schema()
    parts = found["$defs"]
    yield "# Configuration reference"
    yield ""
    yield "Generated from the configuration's schema, [config/schema.json](../config/schema.json)."
    yield "[Configuration](configuration.md) explains how the file is read."
    yield ""
    yield "## Settings"
    yield ""
    yield "At the top of the file for all workspaces, or in one workspace for it alone."
    yield from _keys(found, without={"workspaces", "modules"})
    yield from _section("http", parts["Http"])
    yield from _section("workspaces", parts["Workspace"], without=Settings.model_fields)
    yield from _section("bots", parts["Bot"])
    yield from _section("discover_bots", parts["Discovery"])
    yield ""
    yield "## modules"
    yield ""
    yield "At the top of the file: each module by its name, as a mapping with these keys."
    yield "[Probes](probing.md) explains what they are for."
    yield from _keys(parts["Module"])
    yield from _section("user", parts["ProbeUser"])
    yield ""
    yield "## metrics"
    yield ""
    yield "An entry is the name of a metric, or a mapping with these keys."
    yield "[Reports and windows](reports.md) lists metrics, windows and defaults."
    yield from _keys(Options.model_json_schema())
    for report in REPORTS:
        if report.options is not Options:
            yield from _section(report.name, parts[report.name], Options.model_fields, "###")


def _section(
    title: str, part: Schema, without: Container[str] = (), level: str = "##"
) -> Iterator[str]:
    yield ""
    yield f"{level} {title}"
    yield from _keys(part, without)


def _keys(part: Schema, without: Container[str] = ()) -> Iterator[str]:
    """The table of a mapping's keys."""
    yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    required = part.get("required", ())
    for name, key in part["properties"].items():
        if name not in without:
            default = "required" if name in required else _default(key)
            yield _row(f"`{name}`", _type(key), default, key.get("description", ""))


def _default(key: Schema) -> str:
    value = key.get("default")
    if value in (None, "", [], {}) or "$ref" in key:
        return ""
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _type(key: Schema) -> str:
    """What a value may be, in words; what only a regular expression says is left to the meaning."""
    choices = [one for one in key.get("anyOf", [key]) if one.get("type") != "null"]
    told = [one for one in choices if len(choices) == 1 or "pattern" not in one]
    return " or ".join(_word(one) for one in told)


def _word(one: Schema) -> str:
    if "$ref" in one:
        name = _SECTIONS[one["$ref"].rpartition("/")[2]]
        return f"[{name}](#{name})"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if one["type"] == "array":
        items = "[metrics](#metrics)" if "anyOf" in one["items"] else _word(one["items"])
        return f"list: {items.partition(',')[0]}{_bounds(one, 'minItems', 'maxItems', ' items')}"
    if one["type"] == "string":
        kind = _DURATION in one.get("pattern", "")
        word = "duration" if kind else _FORMATS.get(one.get("format", ""), "string")
        return word + _bounds(one, "minLength", "maxLength", " characters")
    if one["type"] == "object":
        return "mapping of strings" + _bounds(one, "minProperties", "maxProperties", " keys")
    return f"{one['type']}{_bounds(one, 'minimum', 'maximum', '')}"


def _bounds(one: Schema, least: str, most: str, what: str) -> str:
    low, high = one.get(least), one.get(most)
    if high is None:
        return "" if low is None else f", at least {low}{what.removesuffix('s')}"
    if low == high:
        return f", exactly {high}{what}"
    until = f"{high:,}" if high > 9999 else high
    return f", at most {until}{what}" if low is None else f", {low} to {until}{what}"


if __name__ == "__main__":
    REPORTS_PAGE.write_text(with_table(REPORTS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    CONFIGURATION_PAGE.write_text(configuration(), encoding="utf-8")
    figures = PERFORMANCE_PAGE.read_text(encoding="utf-8")
    compared = with_figures(COMPARISON_PAGE.read_text(encoding="utf-8"), figures)
    COMPARISON_PAGE.write_text(compared, encoding="utf-8")
