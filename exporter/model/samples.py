"""What Prometheus gets, as values: gauge families and their samples."""

from dataclasses import dataclass
from typing import Final, NamedTuple

COMMON_LABELS: Final = ("api", "workspace", "bot_id", "bot")
"""The first labels of every series of a target."""

REPORT_LABELS: Final = ("report", "window")
"""The labels of the `seasalt_report_*` families."""

BOT_LABELS: Final = ("use_case", "language", "live_agent_transfer")
"""The labels of `seasalt_bot_info`, from the bot list."""

PROBE_LABELS: Final = ("module", "phase", "reason")
"""The labels of the series of a probe, with those of the service discovery."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A gauge family in the snapshot: values from the API, or the status of reports.

    Attributes:
        name: The full name, including the prefix `seasalt_`.
        help: What the number counts, its unit and its window, in one sentence.
        labels: The labels that follow those of the target, in order.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def sample(self, value: float, *labels: str) -> "Sample":
        """A sample of this family; the label values are in the order of `self.labels`."""
        if len(labels) != len(self.labels):
            raise TypeError(f"{self.name} takes the labels {self.labels}")
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """One number of a family.

    Attributes:
        family: The family that it belongs to.
        labels: Values of the family's own labels; an empty value means that the label is absent.
        value: The number, in the family's unit.
    """

    family: Family
    labels: tuple[str, ...]
    value: float
