"""Samples as they are kept: the values of one report packed, its series shared with others."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from struct import pack, unpack
from sys import intern
from typing import ClassVar, Self, overload
from weakref import WeakValueDictionary

from exporter.model.samples import Family, Sample


class Shape:
    """Which series some samples are of, without their values; one for all that have the same.

    Attributes:
        families: The family of each sample.
        labels: The label values of one sample after the other.
        kinds: The families, each once.
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
    def of(cls, samples: Sequence[Sample]) -> Self:
        """The shape of some samples."""
        families = tuple([sample.family for sample in samples])
        labels = tuple(chain.from_iterable([sample.labels for sample in samples]))
        shape = cls.known.get((families, labels))
        if shape is None:
            labels = tuple(map(intern, labels))
            cls.known[families, labels] = shape = cls(families, labels)
        return shape


class Samples(Sequence[Sample]):
    """Samples that are kept: eight bytes each, beside what they share with others.

    The bots of a workspace mostly have the same series, but for the bot, and always draw from the
    same names: series and names are kept once. What nobody uses any more is gone.

    Args:
        samples: In order.

    Attributes:
        shape: Which series they are of.
    """

    __slots__ = ("_packed", "shape")

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        given = tuple(samples)
        self.shape = Shape.of(given)
        # Bytes, as an array is one object more for the garbage collector to look at.
        self._packed = pack(f"{len(given)}d", *[sample.value for sample in given])

    @property
    def values(self) -> tuple[float, ...]:
        """Their values."""
        return unpack(f"{len(self)}d", self._packed)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Samples":
        """Samples as they are kept, which they may be already."""
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
        if isinstance(other, Samples):  # 0 and -0 differ: at worst the same is written again
            return self.shape is other.shape and self._packed == other._packed
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
