"""How much of an answer is kept when customers make more names than a Prometheus should hold. Pure."""

from collections.abc import Iterable
from typing import Final

from exporter.samples import Sample

CUSTOMER_MADE: Final = ("label", "channel", "agent")
"""The labels whose values somebody at the customer's makes up."""


def largest(samples: Iterable[Sample], limit: int) -> tuple[Sample, ...]:
    """At most so many samples, the largest, in their order."""
    given = tuple(samples)
    if len(given) <= limit:
        return given
    ranked = sorted(range(len(given)), key=lambda index: -given[index].value)
    kept = set(ranked[: max(0, limit)])
    return tuple(sample for index, sample in enumerate(given) if index in kept)


def largest_names(samples: Iterable[Sample], limit: int) -> tuple[Sample, ...]:
    """The samples of one report's largest names, at most so many, and all that have no such name.

    A name weighs what its samples add up to.
    """
    given = tuple(samples)
    weights: dict[str, float] = {}
    for sample in given:
        name = _made_name(sample)
        if name is not None:
            weights[name] = weights.get(name, 0) + sample.value
    if len(weights) <= limit:
        return given
    kept = {None, *sorted(weights, key=lambda name: -weights[name])[:limit]}
    return tuple(sample for sample in given if _made_name(sample) in kept)


def _made_name(sample: Sample) -> str | None:
    for label, value in zip(sample.family.labels, sample.labels, strict=True):
        if label in CUSTOMER_MADE:
            return value
    return None
