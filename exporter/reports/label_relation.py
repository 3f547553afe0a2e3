"""label_relation: how many conversations with a base label also carry a second label.

SeaChat Analytics API, "LABEL_RELATION".
"""

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from exporter.errors import ReplyError
from exporter.model.history import History, Span
from exporter.model.label_values import label_value
from exporter.model.reply_values import Count, Ratio, Reply
from exporter.model.report import Form, LabelName, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample

_LABELS: Final = ("window", "base_label", "comparison_label")

BASE: Final = Family(
    "seasalt_label_relation_base_conversations",
    "Conversations in the window that carry the base label.",
    _LABELS,
)
BOTH: Final = Family(
    "seasalt_label_relation_both_conversations",
    "Conversations in the window that carry both labels.",
    _LABELS,
)
RATIO: Final = Family(
    "seasalt_label_relation_ratio",
    "Share of the base label's conversations that carry the other one too; none where there are no conversations.",
    _LABELS,
)


class LabelRelationOptions(Options):
    """How a label_relation is asked for."""

    labels: Annotated[tuple[LabelName, ...], Field(min_length=2, max_length=2)] = Field(
        description="Exactly two labels: the base label, then the one to compare with it."
    )


class Relation(Reply):
    """The pair of labels as echoed by the API, and the counts."""

    base_label: str | None = None
    base_count: Count = None
    comparison_label: str | None = None
    both_labels_count: Count = None
    ratio: Ratio = None


def samples(reply: Relation, reading: Reading[LabelRelationOptions]) -> Iterator[Sample]:
    """The counts, and the ratio unless the base count is 0 or missing.

    Raises:
        ReplyError: If the reply names a different pair of labels than requested.
    """
    echoed = (reply.base_label, reply.comparison_label)
    if any(
        got is not None and got != asked
        for got, asked in zip(echoed, reading.options.labels, strict=True)
    ):
        raise ReplyError("label_relation: the answer is about other labels")
    labels = (reading.window, *(label_value(label) for label in reading.options.labels))
    for family, value in (
        (BASE, reply.base_count),
        (BOTH, reply.both_labels_count),
        (RATIO, reply.ratio if reply.base_count else None),
    ):
        if value is not None:
            yield family.sample(value, *labels)


REPORT: Final = Report(
    name="label_relation",
    apis={
        "seachat": Form(
            windows=Windows.DATES,
            series=3,
            window="today",
            options=frozenset({"labels"}),
            # A conversation may get its two labels on two days, so nothing adds up over days.
            history=History(span=Span.DAY, families=(BASE, BOTH, RATIO)),
        )
    },
    options=LabelRelationOptions,
    families=(BASE, BOTH, RATIO),
    shape=single,
    reply=TypeAdapter(Relation),
    samples=samples,
    optional=lambda reply: frozenset() if reply.base_count else {"ratio"},
    needs_choice=True,
    collides=lambda one, two, _: (
        one.window == two.window
        and [*map(label_value, one.labels)] == [*map(label_value, two.labels)]
    ),
)
