"""How much of an answer is kept when customers make more names than a Prometheus should hold. Pure.

Which values are the largest is asked within one report alone: seconds, ratings and messages cannot
be compared. Between reports it is a matter of how many each has.
"""

from collections.abc import Iterable, Sequence, Set as AbstractSet
from functools import lru_cache
from typing import Final

from exporter.samples import Sample

CUSTOMER_MADE: Final = ("label", "label_id", "channel", "agent")
"""The labels whose values somebody at the customer's makes up."""

MOST_CHANNELS: Final = 32
"""Channels of a report at most: the documents know of a handful."""

LOYALTY: Final = 1.25
"""How much more than it is a value counts while it is shown, so that two do not take turns."""


def fair_shares(sizes: Sequence[int], limit: int) -> list[int]:
    """How many values each of some reports may have, so that together they have at most a limit.

    What asks for less than the others keeps all of it. The shares depend on how many values there
    are, not on what they are worth, and so change seldom.

    Args:
        sizes: How many each would have.
        limit: How many there may be of all together.

    Returns:
        The shares in the order of the sizes; the first ones have what cannot be divided.
    """
    left, level = limit, limit
    for index, size in enumerate(ordered := sorted(sizes)):
        level = left // (len(ordered) - index)
        if size > level:
            break
        left -= size
    shares = [min(size, level) for size in sizes]
    over = limit - sum(shares)
    for index, size in enumerate(sizes):
        if size > level and over:
            shares[index] += 1
            over -= 1
    return shares


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
