"""How much of an answer is kept when customers make more names than a Prometheus should hold. Pure.

Which values are the largest is asked within one report alone: seconds, ratings and messages cannot
be compared. Between reports it is a matter of how many each has.
"""

from collections.abc import Hashable, Iterable, Set as AbstractSet
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from exporter.model.samples import Sample

CUSTOMER_MADE: Final = ("label", "label_id", "channel", "agent")
"""The labels whose values somebody at the customer's makes up."""

MOST_CHANNELS: Final = 32
"""Channels of a report at most: the documents know of a handful."""

FEW: Final = 16
"""So many reports can be cut for the sake of one, without holding up the others."""

LOYALTY: Final = 1.25
"""How much more than it is a value counts while it is shown, so that two do not take turns."""


class Held(NamedTuple):
    """How many values a report has.

    Attributes:
        wanted: With those that were left out.
        kept: Without.
    """

    wanted: int = 0
    kept: int = 0


NOTHING: Final = Held()


class Room(NamedTuple):
    """What there is room for.

    Attributes:
        level: What each may have.
        share: What the one that asks may have.
        above: How many others have more than the level.
    """

    level: int
    share: int
    above: int


Name = TypeVar("Name", bound=Hashable)


class Shares(Generic[Name]):
    """What the reports of a workspace have, and what each may have.

    What asks for less than the others keeps all of it. The shares depend on how many values there
    are, not on what they are worth, and so change seldom. They are kept up to date, and no question
    takes longer because there are more: what a report costs must not grow with the store.
    """

    def __init__(self) -> None:
        self._wanted, self._kept = _Sizes(), _Sizes()
        self._holders: dict[int, dict[Name, None]] = {}

    @property
    def kept(self) -> int:
        """How many values all of them have."""
        return self._kept.total

    def put(self, name: Name, before: Held, after: Held) -> None:
        """Note that a report has another number of values."""
        if before == after:
            return
        self._wanted.move(before.wanted, after.wanted)
        if before.kept == after.kept:
            return
        self._kept.move(before.kept, after.kept)
        if before.kept:
            holders = self._holders[before.kept]
            del holders[name]
            if not holders:
                del self._holders[before.kept]
        if after.kept:
            self._holders.setdefault(after.kept, {})[name] = None

    def level(self, limit: int) -> int:
        """What each may have, so that all together have no more than a limit."""
        return self._wanted.level(0, 0, limit)[0]

    def room(self, before: Held, size: int, limit: int) -> "Room | None":
        """What one that comes anew may have; None where there is room for all that all want.

        Where the level leaves a rest that is too small for all, as many as it suffices for have
        one value more: those that have it already, else who comes first.

        Args:
            before: What that one has so far.
            size: How many values it would have.
            limit: How many there may be of all together.
        """
        if self._wanted.total - before.wanted + size <= limit:
            return None
        level, spare = self._wanted.level(before.wanted, size, limit)
        above = self._kept.above(level) - (before.kept > level)
        return Room(level, min(size, level + (above < spare)), above)

    def largest(self, but: Name | None = None) -> Name | None:
        """One that has the most values, None if no other has any.

        Of equals it is the one that came first, as it is polled soonest.

        Args:
            but: Which it is not.
        """
        for rank in (self._kept.number, self._kept.number - 1):
            for name in self._holders.get(self._kept.ranked(rank), ()):
                if name != but:
                    return name
        return None


def cut(kept: int, room: Room, need: int, *, exactly: bool = False) -> int:
    """How many values the one that has the most is left with, as another has come.

    Where few have more than the level, they all come down to it. Where many do, to cut all for
    every new one would take longer the more there are. So a few give what is needed: what they
    have too much, and an eighth of their share beyond, until their own next turn gives that back.

    Args:
        kept: How many it has; as many are the answer when all is well.
        room: What there is room for.
        need: How many values there are too many.
        exactly: Whether all come down to the level, however many have more.
    """
    level = room.level
    if exactly or room.above <= FEW:
        return min(kept, max(level, min(level + 1, kept - (need > 0))))
    if need <= 0:
        return kept
    # An eighth at least, as a large one would be looked through again for each that comes.
    return max(level - level // 8, min(kept - need, max(level, kept - kept // 8)))


class _Sizes:
    """How many there are of each size: a Fenwick tree. Those of nothing do not count.

    Attributes:
        number: How many there are.
        total: What they add up to.
    """

    def __init__(self) -> None:
        self.number = self.total = 0
        self._numbers, self._totals = [0, 0], [0, 0]  # of a power of two, and what nobody looks at

    def move(self, before: int, after: int) -> None:
        """Let one be of another size."""
        self._reach(after)
        self._add(before, -1)
        self._add(after, 1)

    def _reach(self, size: int) -> None:
        while size >= len(self._numbers):
            more = len(self._numbers) - 1
            self._numbers += [*[0] * (more - 1), self.number]
            self._totals += [*[0] * (more - 1), self.total]

    def _add(self, size: int, number: int) -> None:
        if size:
            self.number += number
            self.total += number * size
            at = size
            while at < len(self._numbers):
                self._numbers[at] += number
                self._totals[at] += number * size
                at += at & -at

    def level(self, before: int, after: int, limit: int) -> tuple[int, int]:
        """The highest level to which all can be cut to be no more than a limit, and what is left.

        Where they need not be cut it is at least the largest size.

        Args:
            before: The size of one.
            after: The size that counts for it.
            limit: What they may add up to.
        """
        self._reach(after)
        at = number = total = 0
        left, step = limit, len(self._numbers) - 1
        while step:
            level = at + step
            if level < len(self._numbers):
                here, below = number + self._numbers[level], total + self._totals[level]
                needed = (
                    below + level * (self.number - here) - min(before, level) + min(after, level)
                )
                if needed <= limit:
                    at, number, total, left = level, here, below, limit - needed
            step //= 2
        return at, left

    def above(self, size: int) -> int:
        """How many are larger than a size."""
        number, at = self.number, min(size, len(self._numbers) - 1)
        while at:
            number -= self._numbers[at]
            at -= at & -at
        return number

    def ranked(self, rank: int) -> int:
        """The size of the one with so many that are not larger, itself included; 0 for none."""
        at, step = 0, len(self._numbers) - 1
        while step:
            if at + step < len(self._numbers) and self._numbers[at + step] < rank:
                at += step
                rank -= self._numbers[at]
            step //= 2
        return at + 1 if rank > 0 else 0


def largest(
    samples: Iterable[Sample], limit: int, shown: Iterable[Sample] = ()
) -> tuple[Sample, ...]:
    """At most so many samples, the largest, in their order.

    Args:
        samples: Of one report.
        limit: How many.
        shown: Those of its last answer that were kept.
    """
    given = tuple(samples)
    if len(given) <= limit:
        return given
    loyal = {sample[:2] for sample in shown}
    ranked = sorted(
        range(len(given)),
        key=lambda index: (-_weight(given[index], loyal), given[index].labels, index),
    )
    kept = set(ranked[: max(0, limit)])
    return tuple(sample for index, sample in enumerate(given) if index in kept)


def largest_names(
    samples: Iterable[Sample], limit: int, shown: Iterable[Sample] = ()
) -> tuple[Sample, ...]:
    """The samples of one report's largest names, at most so many, and all that have no such name.

    A name weighs what its samples add up to.

    Args:
        samples: Of one report.
        limit: How many names.
        shown: Those of its last answer that were kept.
    """
    given = tuple(samples)
    if any("channel" in family.labels for family in {sample.family for sample in given}):
        limit = min(limit, MOST_CHANNELS)
    if len(given) <= limit:
        return given
    names = [_made_name(sample) for sample in given]
    if len({*names} - {()}) <= limit:
        return given
    loyal = {sample[:2] for sample in shown}
    weights: dict[tuple[str, ...], float] = {}
    for name, sample in zip(names, given, strict=True):
        if name:
            weights[name] = weights.get(name, 0) + _weight(sample, loyal)
    kept = {(), *sorted(weights, key=lambda name: (-weights[name], name))[:limit]}
    return tuple(sample for name, sample in zip(names, given, strict=True) if name in kept)


def _weight(sample: Sample, loyal: AbstractSet[tuple[object, ...]]) -> float:
    more = abs(sample.value) * (LOYALTY - 1) if sample[:2] in loyal else 0
    return sample.value + more


def _made_name(sample: Sample) -> tuple[str, ...]:
    """The name that somebody made up, with its id where it has one; empty where there is none."""
    places = _made_places(sample.family.labels)
    made = tuple([sample.labels[place] for place in places])
    return made if any(made) else ()


@lru_cache(maxsize=256)
def _made_places(labels: tuple[str, ...]) -> tuple[int, ...]:
    """Which of a family's labels somebody makes up."""
    return tuple(place for place, label in enumerate(labels) if label in CUSTOMER_MADE)
