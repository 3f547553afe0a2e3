"""docs: prints the metric reference in Markdown, generated from the catalogue of reports."""

from collections.abc import Iterator

from exporter.commands.flags import DONE, Invocation
from exporter.commands.output import tell
from exporter.metrics.exposition import REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.model import bot_list
from exporter.model.apis import APIS
from exporter.model.report import AnyReport, Windows
from exporter.model.samples import COMMON_LABELS
from exporter.reports.catalogue import REPORTS


def run(_invocation: Invocation) -> int:
    """Print the reference."""
    tell("".join(f"{line}\n" for line in lines()))
    return DONE


def lines() -> Iterator[str]:
    """The reference, line by line."""
    common = ", ".join(f"`{label}`" for label in COMMON_LABELS)
    yield "# Metric reference"
    yield ""
    yield "Written by `seasalt-exporter docs` from the exporter's own catalogue."
    yield ""
    yield "## From the API"
    yield ""
    yield (
        f"All are gauges, polled at the report's interval. Each series begins with {common} and"
        " the labels that the configuration adds; `bot_id` and `bot` are absent where a report is"
        " asked for the whole workspace. A value that the API does not give has no series."
    )
    for report in REPORTS:
        yield from _report(report)
    yield ""
    yield "### bots"
    yield ""
    yield "- SeaChat: the list of bots, where `discover_bots` asks for it."
    yield ""
    yield "| family | labels | meaning |"
    yield "|---|---|---|"
    for family in bot_list.FAMILIES:
        yield _row(family.name, _labels(family.labels), family.help)
    yield ""
    yield "## Of each report"
    yield ""
    yield f"Gauges with {common}, the labels that the configuration adds, and those below."
    yield ""
    yield "| family | labels | meaning |"
    yield "|---|---|---|"
    for family in REPORT_FAMILIES:
        yield _row(family.name, _labels(family.labels), family.help)
    yield ""
    yield "## Of the exporter"
    yield ""
    yield "Fresh at each scrape; beside these the `process_*` and `python_*` of prometheus-client."
    yield ""
    yield "| family | type | labels | meaning |"
    yield "|---|---|---|---|"
    for own in OWN_FAMILIES:
        yield _row(own.name, own.kind, _labels(own.labels), own.help)


def _report(report: AnyReport) -> Iterator[str]:
    yield ""
    yield f"### {report.name}"
    yield ""
    for api, form in report.apis.items():
        name = f" as `{form.metric}`" if form.metric else ""
        choice = form.window and form.windows is not Windows.TODAY
        default = f", by default {form.window}" if choice else ""
        yield f"- {APIS[api].title}{name}: {form.windows.value}{default}."
    yield ""
    yield "| family | labels | meaning |"
    yield "|---|---|---|"
    for family in report.families:
        yield _row(family.name, _labels(family.labels), family.help)


def _labels(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _row(name: str, *cells: str) -> str:
    return f"| `{name}` | {' | '.join(cells)} |"
