"""Durations as Prometheus writes them: `90s`, `10m`, `1h30m`, `7d`. Pure."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer
from pydantic.json_schema import WithJsonSchema

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST: Final = 366 * 86_400
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
    """The shortest text that means a duration of whole seconds."""
    rest, text = round(value.total_seconds()), ""
    for unit, size in _UNITS.items():
        if unit != "w" and rest >= size:
            text += f"{rest // size}{unit}"
            rest %= size
    return text or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(show),
    WithJsonSchema(
        {"type": "string", "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}
    ),
]
