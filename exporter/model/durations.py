"""Durations as Prometheus writes them: `90s`, `10m`, `1h30m`, `7d`. Pure."""

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
"""Of a second: as fine as a `timedelta`, and no float of ten years in seconds is coarser."""

_DURATION: Final = re.compile(
    "".join(f"(?:(?P<{unit}>[0-9]{{1,6}}){unit})?" for unit in _UNITS), re.ASCII
)


def parse(value: object) -> timedelta:
    """The duration that a text means.

    Raises:
        ValueError: If it means none, none at all (`0s`), or more than a year.
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
    """The shortest text for a duration; never for a shorter one.

    What lies between two seconds is rounded up, and below a minute what lies between two
    milliseconds: a duration that is too short by the rounding would promise too much.
    """
    step = _MILLISECOND if value < _MINUTE else _SECOND
    rest, text = -(-value // step) * step, ""
    for unit, size in _SHOWN.items():
        if rest >= size:
            text += f"{rest // size}{unit}"
            rest %= size
    return text or "0s"


def ticks(seconds: float) -> int:
    """A time of the monotonic clock, or a stretch of it, as the nearest whole number of microseconds.

    Sums and comparisons of these are exact, those of seconds are not: whoever waits until
    `at + wait` would find that it has not come by a rounding error.
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
