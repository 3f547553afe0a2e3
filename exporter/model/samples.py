"""What we say to Prometheus, as values: gauge families and their samples."""

from dataclasses import dataclass
from typing import Final, NamedTuple

COMMON_LABELS: Final = ("api", "workspace", "bot_id", "bot")
"""The labels that every series of a target begins with."""

REPORT_LABELS: Final = ("report", "window")
"""The labels of what the exporter says of each report."""

BOT_LABELS: Final = ("use_case", "language", "live_agent_transfer")
"""The labels of what the list of bots says of each."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A gauge family of the page's snapshot: values from the API, and what is told of reports.

    Attributes:
        name: In full, the prefix `seasalt_` included.
        help: What the number counts, its unit and its window, in a sentence.
        labels: The labels that follow those of the target, in order.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def sample(self, value: float, *labels: str) -> "Sample":
        """The sample of this family with these label values, in the order of `labels`."""
        if len(labels) != len(self.labels):
            raise TypeError(f"{self.name} takes the labels {self.labels}")
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """One number of a family.

    Attributes:
        family: What it is a sample of.
        labels: Values of the family's own labels; empty means that the label is absent.
        value: In the family's unit.
    """

    family: Family
    labels: tuple[str, ...]
    value: float
