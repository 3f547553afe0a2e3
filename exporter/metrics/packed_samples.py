"""Compact storage of samples: packed values, and series shared between reports."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from struct import pack, unpack
from sys import intern
from typing import ClassVar, Self, overload
from weakref import WeakValueDictionary

from exporter.model.samples import Family, Sample


class Shape:
    """The series of some samples, without values; samples with the same series share one object.

    Attributes:
        families: The family of each sample.
        labels: The label values of all samples, concatenated.
        kinds: The set of families.
    """

    __slots__ = ("__weakref__", "families", "kinds", "labels")

    known: ClassVar[WeakValueDictionary[object, Self]] = WeakValueDictionary()

    def __init__(self, families: tuple[Family, ...], labels: tuple[str, ...]) -> None:
        self.families = families
        self.labels = labels
        self.kinds = frozenset(families)

    def __iter__(self) -> Iterator[tuple[Family, tuple[str, ...]]]:
        begin = 0
        for family in self.families:
            end = begin + len(family.labels)
            yield family, self.labels[begin:end]
            begin = end

    @classmethod
    def of(cls, families: tuple[Family, ...], labels: tuple[str, ...]) -> Self:
        """The shared shape of some series."""
        shape = cls.known.get((families, labels))
        if shape is None:
            labels = tuple(map(intern, labels))
            cls.known[families, labels] = shape = cls(families, labels)
        return shape


class Samples(Sequence[Sample]):
    """Samples in compact form: eight bytes per value, plus a shared shape.

    Apart from the bot, the bots of a workspace mostly have the same series, with label values from
    a common set. So each shape and each label value is stored once, and freed once it is unused.

    Args:
        samples: The samples, in order.

    Attributes:
        shape: Their series.
    """

    __slots__ = ("_packed", "shape")

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        given = tuple(samples)
        families = tuple([sample.family for sample in given])
        labels = tuple(chain.from_iterable([sample.labels for sample in given]))
        self._fill(Shape.of(families, labels), [sample.value for sample in given])

    def _fill(self, shape: Shape, values: Sequence[float]) -> None:
        self.shape = shape
        # Bytes rather than an array, which the garbage collector would have to track.
        self._packed = pack(f"{len(shape.families)}d", *values)

    @classmethod
    def restored(cls, shape: Shape, values: Sequence[float]) -> "Samples":
        """The samples of some series.

        Raises:
            struct.error: If there are not as many values as series.
        """
        made = cls.__new__(cls)
        made._fill(shape, values)  # noqa: SLF001 - its own
        return made

    @property
    def values(self) -> tuple[float, ...]:
        """The values, in order."""
        return unpack(f"{len(self)}d", self._packed)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Samples":
        """The samples in compact form; returned unchanged if they already are."""
        return samples if isinstance(samples, Samples) else cls(samples)

    def __iter__(self) -> Iterator[Sample]:
        for (family, labels), value in zip(self.shape, self.values, strict=True):
            yield Sample(family, labels, value)

    def __len__(self) -> int:
        return len(self.shape.families)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Samples):  # 0 and -0 differ: at worst, the same text is rendered again
            return self.shape is other.shape and self._packed == other._packed
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
