"""What we say to Prometheus, as values: gauge families and their samples."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from sys import intern
from typing import ClassVar, Final, NamedTuple, Self, overload
from weakref import WeakValueDictionary

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


class _Shape:
    """Which series some samples are of, without their values; one for all that have the same.

    Attributes:
        families: The family of each sample.
        labels: The label values of one sample after the other.
    """

    __slots__ = ("__weakref__", "families", "labels")

    known: ClassVar[WeakValueDictionary[object, Self]] = WeakValueDictionary()

    def __init__(self, families: tuple[Family, ...], labels: tuple[str, ...]) -> None:
        self.families = families
        self.labels = labels

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        """The shape of some samples."""
        families = tuple(sample.family for sample in samples)
        labels = tuple(intern(label) for sample in samples for label in sample.labels)
        shape = cls.known.get((families, labels))
        if shape is None:
            cls.known[families, labels] = shape = cls(families, labels)
        return shape


class Samples(Sequence[Sample]):
    """Samples that are kept: eight bytes each, beside what they share with others.

    The bots of a workspace mostly have the same series, but for the bot, and always draw from the
    same names: series and names are kept once. What nobody uses any more is gone.

    Args:
        samples: In order.
    """

    __slots__ = ("_shape", "_values")

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        given = tuple(samples)
        self._shape = _Shape.of(given)
        self._values = array("d", (sample.value for sample in given))

    @property
    def families(self) -> frozenset[Family]:
        """The families that there are samples of."""
        return frozenset(self._shape.families)

    def __iter__(self) -> Iterator[Sample]:
        labels, begin = self._shape.labels, 0
        for family, value in zip(self._shape.families, self._values, strict=True):
            end = begin + len(family.labels)
            yield Sample(family, labels[begin:end], value)
            begin = end

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Samples):
            return self._shape is other._shape and self._values == other._values
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
