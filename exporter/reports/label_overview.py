"""label_overview: how many conversations carry each label of the workspace, over all time.

SeaChat Analytics API, "LABEL_OVERVIEW"; SeaX Analytics API, 4, with only names and counts.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import TypeAdapter

from exporter.model.label_values import Name, label_value
from exporter.model.reply_values import Count, Lenient, ManyRows, Reply
from exporter.model.report import Form, Options, Reading, Report, Windows, listing
from exporter.model.samples import Family, Sample

CONVERSATIONS: Final = Family(
    "seasalt_label_overview_conversations",
    "Conversations that carry the label, over all time; a gauge, as deletion lowers it.",
    ("label_id", "label", "system"),
)


class Label(Reply):
    """One label. Its colour, description and times are not read."""

    id: Lenient[str] = None
    name: Name
    total_count: Count = None
    count: Count = None
    is_system: Lenient[bool] = None


class Labels(Reply):
    """All labels, custom and system ones."""

    data: ManyRows[Label]


def samples(reply: Labels, _reading: Reading[Options]) -> Iterator[Sample]:
    """One sample per label; the id distinguishes labels with the same name."""
    for label in reply.data:
        value = label.count if label.total_count is None else label.total_count
        if value is not None:
            label_id = "" if label.id is None else label_value(label.id)
            system = "true" if label.is_system else "false"
            yield CONVERSATIONS.sample(value, label_id, label.name, system)


_FORM: Final = Form(windows=Windows.NONE, series=10, zoned=False)

REPORT: Final = Report(
    name="label_overview",
    apis={"seachat": _FORM, "seax": _FORM},
    options=Options,
    families=(CONVERSATIONS,),
    shape=listing,
    reply=TypeAdapter(Labels),
    samples=samples,
    workspace_scope=True,
)
