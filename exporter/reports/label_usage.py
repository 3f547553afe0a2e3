"""label_usage: how often each label was applied over the periods of a window.

SeaChat Analytics API, "LABEL_USAGE"; Portal Analytics API, "Metric: LABEL_USAGE";
SeaX Analytics API, 7.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from pydantic import Field, TypeAdapter

from exporter.errors import ReplyError
from exporter.model.history import History, Span
from exporter.model.label_values import MadeOf, Name, label_value
from exporter.model.reply_values import Count, Lenient, ManyRows, Reply, Row, Rows
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

MOST_LABELS: Final = 40_000
"""The limit on distinct labels in a reply; a limit on each period's list would not bound them."""

USES: Final = Family(
    "seasalt_label_usage_uses", "Uses of the label in the window.", ("window", "label")
)


class LabelUsageOptions(Options):
    """How a label_usage is asked for."""

    labels: LabelNames | None = Field(None, description="Labels to include; all if omitted.")
    time_unit: TimeUnit = Field("day", description="Length of the periods that are summed.")


class Label(Reply):
    """One label in a period."""

    name: Name
    made_of: MadeOf
    count: Count = None


class Labels(Row):
    """One period and its labels."""

    labels: Lenient[Rows[Label]] = None


class Usage(Reply):
    """All periods."""

    data: ManyRows[Labels]


def samples(reply: Usage, reading: Reading[LabelUsageOptions]) -> Iterator[Sample]:
    """One sample per label: the sum over the periods.

    Raises:
        ReplyError: If the reply has more than `MOST_LABELS` labels.
    """
    sums: dict[str, float] = {}
    made_of: dict[str, object] = {}
    for row in reading.inside(reply.data):
        reading.drift.read += row.labels is not None
        names = [label.name for label in row.labels or ()]
        if len(set(names)) < len(names):
            reading.drift.add("name")
        for label in row.labels or ():
            if made_of.setdefault(label.name, label.made_of) != label.made_of:
                reading.drift.add("name")  # two names with the same label value
            if label.count is not None:
                sums[label.name] = sums.get(label.name, 0) + label.count
        if len(made_of) > MOST_LABELS:
            raise ReplyError("label_usage: too many labels")
    for name, value in sums.items():
        yield USES.sample(value, reading.window, name)


def _collides(one: LabelUsageOptions, two: LabelUsageOptions, _today: date) -> bool:
    """Whether both have the same window and share a label; naming no labels means all."""
    shown = [{label_value(label) for label in options.labels or ()} for options in (one, two)]
    apart = all(shown) and not shown[0] & shown[1]
    return one.window == two.window and not apart


_FORM: Final = Form(
    windows=Windows.DATES,
    series=10,
    window="today",
    options=frozenset({"labels", "time_unit"}),
    history=History(span=Span.DAYS, families=(USES,), additive=frozenset({USES})),
)

REPORT: Final = Report(
    name="label_usage",
    apis={"seachat": _FORM, "portal": _FORM, "seax": _FORM},
    options=LabelUsageOptions,
    families=(USES,),
    shape=listing,
    reply=TypeAdapter(Usage),
    samples=samples,
    optional=lambda _: frozenset({"labels"}),  # absent on a day without labels
    collides=_collides,
)
