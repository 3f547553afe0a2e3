"""Places in a value of lists and mappings, as JSON and YAML have them."""

from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]
"""The keys and indexes that lead there."""


def places(value: object, place: Place = ()) -> Iterator[Place]:
    """Every place inside a value."""
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield (*place, key)
        yield from places(inner, (*place, key))


def found_at(value: Any, place: Place) -> Any:  # noqa: ANN401 - JSON or YAML
    """What is at a place."""
    for step in place:
        value = value[step]
    return value
