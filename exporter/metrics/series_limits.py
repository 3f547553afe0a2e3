"""The cardinality limit: which values to keep when customers create too many names. Pure.

There are two limits. `max_labels` limits the customer-made names in one report of one target;
the names with the largest values stay. `max_series` limits the values of a whole workspace, which
its reports must share.

Values compete only within one report, as seconds, ratings and messages have no common scale.
Between reports, only the number of values counts, and the division is max-min fair. There is a
level: a report that wants fewer values keeps all of them, and any other is cut to the level. So no
report can crowd out the others, however many names it has.

The level depends on how many values the reports have, not on what they are, so it rarely changes.
Within a report, a value that is already shown has an advantage, so that two close values do not
alternate between polls. Both keep series from flapping.

A poll must not become slower as the store grows. So the level is found from the number of reports
of each size, and there are never more sizes than the largest report has values. Reports above the
level are not all cut at once: each report that needs room takes it from the largest ones, see
`cut`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Set as AbstractSet
from functools import lru_cache
from heapq import nlargest
from typing import Final, Generic, NamedTuple, TypeVar

from exporter.model.samples import Sample

CUSTOMER_MADE: Final = ("label", "label_id", "channel", "agent")
"""The labels whose values customers make up."""

MOST_CHANNELS: Final = 32
"""The most channels in a report; only a handful are documented."""

FEW: Final = 16
"""How many reports may be cut to make room for one, without blocking the others."""

LOYALTY: Final = 1.25
"""The factor by which a shown value counts for more, so that two close values do not alternate."""


class Held(NamedTuple):
    """The number of values of a report.

    Attributes:
        wanted: Including those that were left out.
        kept: Excluding them.
    """

    wanted: int = 0
    kept: int = 0


NOTHING: Final = Held()


class Room(NamedTuple):
    """The room for a report in a workspace that is over its limit.

    Attributes:
        level: How many values each report may keep.
        share: How many values the report in question may keep.
        above: How many other reports keep more than the level.
    """

    level: int
    share: int
    above: int


Name = TypeVar("Name", bound=Hashable)


class Shares(Generic[Name]):
    """The number of values of each report of a workspace, and the fair share of each.

    The numbers are updated with each report, so that no query has to go through all reports.

    Attributes:
        kept: How many values all reports keep together.
    """

    def __init__(self) -> None:
        self.kept = 0
        self._wanted = 0
        self._sizes = Counter[int]()  # how many reports want so many values; means nothing for 0
        self._holders: dict[int, dict[Name, None]] = {}

    def put(self, name: Name, before: Held, after: Held) -> None:
        """Update the number of values of a report."""
        self._wanted += after.wanted - before.wanted
        self._sizes[before.wanted] -= 1
        self._sizes[after.wanted] += 1
        if not self._sizes[before.wanted]:
            del self._sizes[before.wanted]
        if before.kept == after.kept:
            return
        self.kept += after.kept - before.kept
        if before.kept:
            holders = self._holders[before.kept]
            del holders[name]
            if not holders:
                del self._holders[before.kept]
        if after.kept:
            self._holders.setdefault(after.kept, {})[name] = None

    def level(self, limit: int, before: int = 0, after: int = 0) -> tuple[int, int]:
        """How many values each report may keep within an exceeded limit, and what is left of it.

        Args:
            limit: The most values of all reports together.
            before: The number of values that one report wants.
            after: The number to assume for it instead.
        """
        sizes = self._sizes.copy()
        sizes[before] -= 1
        sizes[after] += 1
        left, reports = limit, sizes.total()
        for size, number in sorted(sizes.items()):
            if size * reports > left:
                break
            left -= size * number
            reports -= number
        return divmod(left, reports)

    def room(self, before: Held, size: int, limit: int) -> Room | None:
        """The room for a report with new values; None if all values of all reports fit.

        If the level leaves a remainder smaller than the number of reports, as many reports may
        keep one value more: those that already do, then first come, first served.

        Args:
            before: The report's previous numbers.
            size: The number of its new values.
            limit: The most values of all reports together.
        """
        if self._wanted - before.wanted + size <= limit:
            return None
        level, spare = self.level(limit, before.wanted, size)
        above = sum(len(self._holders[kept]) for kept in self._holders if kept > level)
        above -= before.kept > level
        return Room(level, min(size, level + (above < spare)), above)

    def largest(self, but: Name | None = None) -> Name | None:
        """The report that keeps the most values, but for one; None if no report has any.

        Among equals it is the one that got its size first, as it is polled again soonest.
        """
        for kept in nlargest(2, self._holders):
            for name in self._holders[kept]:
                if name != but:
                    return name
        return None


def cut(kept: int, room: Room, need: int, *, exactly: bool = False) -> int:
    """How many values the largest report keeps when another report needs room.

    If few reports are above the level, all of them are cut to it. If many are, cutting all of them
    for each new report would take longer the more there are. So only a few make room: they give up
    their excess and, if needed, up to an eighth of the level. Their next poll restores the latter.

    Args:
        kept: How many values it keeps now; returned unchanged if nothing has to be cut.
        room: The room for the new report.
        need: By how many values the workspace would exceed its limit.
        exactly: Whether to cut to the level even if many reports are above it.
    """
    level = room.level
    if exactly or room.above <= FEW:
        return min(kept, max(level, min(level + 1, kept - (need > 0))))
    if need <= 0:
        return kept
    # Cut at least an eighth, or each new report would rank all values of a large one again.
    return max(level - level // 8, min(kept - need, max(level, kept - kept // 8)))


def largest(
    samples: Iterable[Sample], limit: int, shown: Iterable[Sample] = ()
) -> tuple[Sample, ...]:
    """The largest samples of a report, at most `limit`, in their original order.

    Those kept from its previous reply, the shown ones, have an advantage.
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
    """The samples of a report's largest customer-made names, and all samples without such a name.

    The weight of a name is the sum of its samples; shown samples have an advantage. If there are
    channels, no more than `MOST_CHANNELS` names are kept.
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
    """The customer-made label values of a sample, ids included; empty if there are none."""
    places = _made_places(sample.family.labels)
    made = tuple([sample.labels[place] for place in places])
    return made if any(made) else ()


@lru_cache(maxsize=256)
def _made_places(labels: tuple[str, ...]) -> tuple[int, ...]:
    """The positions of a family's customer-made labels."""
    return tuple(place for place, label in enumerate(labels) if label in CUSTOMER_MADE)
