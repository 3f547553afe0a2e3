"""Durations in Prometheus's notation: `90s`, `10m`, `1h30m`, `7d`. Pure."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer
from pydantic.json_schema import WithJsonSchema

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST: Final = 366 * 86_400
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_SHOWN: Final = {
    **{unit: timedelta(seconds=size) for unit, size in _UNITS.items() if unit != "w"},
    "ms": _MILLISECOND,
}

TICKS: Final = 1_000_000
"""Ticks per second: the resolution of a `timedelta`, which a float still has after ten years."""

_DURATION: Final = re.compile(
    "".join(f"(?:(?P<{unit}>[0-9]{{1,6}}){unit})?" for unit in _UNITS), re.ASCII
)


def parse(value: object) -> timedelta:
    """The duration that a text denotes.

    Raises:
        ValueError: If it is not a duration, is zero (`0s`), or is longer than 366 days.
    """
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    seconds = sum(int(n) * _UNITS[unit] for unit, n in found.groupdict("0").items()) if found else 0
    if not seconds:
        raise ValueError("must be a duration like 90s, 10m or 1h30m")
    if seconds > _LONGEST:
        raise ValueError("must be at most a year")
    return timedelta(seconds=seconds)


def show(value: timedelta) -> str:
    """A duration as text, as short as possible and never rounded down.

    It is rounded up to whole seconds, or below a minute to whole milliseconds. Rounding down
    would promise too much.
    """
    step = _MILLISECOND if value < _MINUTE else _SECOND
    rest, text = -(-value // step) * step, ""
    for unit, size in _SHOWN.items():
        if rest >= size:
            text += f"{rest // size}{unit}"
            rest %= size
    return text or "0s"


def ticks(seconds: float) -> int:
    """A monotonic time, or a duration, in seconds, as the nearest whole number of microseconds.

    Sums and comparisons of ticks are exact. With seconds as floats, a task that slept until
    `at + wait` could wake up to find itself too early by a rounding error.
    """
    return round(seconds * TICKS)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(show),
    WithJsonSchema(
        {"type": "string", "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}
    ),
]
