"""label_usage: how often each label was applied over the periods of a window.

SeaChat Analytics API, "LABEL_USAGE"; Portal Analytics API, "Metric: LABEL_USAGE";
SeaX Analytics API, 7.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from pydantic import Field, TypeAdapter

from exporter.errors import ReplyError
from exporter.model.names import MadeOf, Name, label_value
from exporter.model.report import (
    Form,
    LabelNames,
    Options,
    Reading,
    Report,
    TimeUnit,
    Windows,
    listing,
)
from exporter.model.samples import Family, Sample
from exporter.model.values import Count, Lenient, ManyRows, Reply, Row, Rows

MOST_LABELS: Final = 40_000
"""Labels of an answer; with one list a period, no bound to a list's length bounds them."""

USES: Final = Family(
    "seasalt_label_usage_uses", "Uses of the label in the window.", ("window", "label")
)


class LabelUsageOptions(Options):
    """How a label_usage is asked for."""

    labels: LabelNames | None = Field(None, description="Labels to include; all if omitted.")
    time_unit: TimeUnit = Field("day", description="Length of the periods that are summed.")


class Label(Reply):
    """One label of a period."""

    name: Name
    made_of: MadeOf
    count: Count = None


class Labels(Row):
    """One period."""

    labels: Lenient[Rows[Label]] = None


class Usage(Reply):
    """The periods."""

    data: ManyRows[Labels]


def samples(reply: Usage, reading: Reading[LabelUsageOptions]) -> Iterator[Sample]:
    """One sum over the periods per label."""
    sums: dict[str, float] = {}
    made_of: dict[str, object] = {}
    for row in reading.inside(reply.data):
        reading.drift.read += row.labels is not None
        names = [label.name for label in row.labels or ()]
        if len(set(names)) < len(names):
            reading.drift.add("name")
        for label in row.labels or ():
            if made_of.setdefault(label.name, label.made_of) != label.made_of:
                reading.drift.add("name")  # two names that are shown alike
            if label.count is not None:
                sums[label.name] = sums.get(label.name, 0) + label.count
        if len(sums) > MOST_LABELS:
            raise ReplyError("label_usage: more labels than any answer may hold")
    for name, value in sums.items():
        yield USES.sample(value, reading.window, name)


def _collides(one: LabelUsageOptions, two: LabelUsageOptions, _today: date) -> bool:
    """Whether a window is the same and a label is in both; none named is every label."""
    shown = [{label_value(label) for label in options.labels or ()} for options in (one, two)]
    apart = all(shown) and not shown[0] & shown[1]
    return one.window == two.window and not apart


_FORM: Final = Form(
    windows=Windows.DATES, series=10, window="today", options=frozenset({"labels", "time_unit"})
)

REPORT: Final = Report(
    name="label_usage",
    apis={"seachat": _FORM, "portal": _FORM, "seax": _FORM},
    options=LabelUsageOptions,
    families=(USES,),
    shape=listing,
    reply=TypeAdapter(Usage),
    samples=samples,
    optional=lambda _: frozenset({"labels"}),  # of a day without any
    collides=_collides,
)
