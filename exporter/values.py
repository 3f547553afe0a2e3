"""What a number, a period or a name in a reply must look like to be believed. Pure.

The API's replies are read leniently, value by value: what is absent or null gives no sample, and
what is present but cannot be believed gives none either and is counted as drift. In between, such
a value is NaN, so that whatever is computed from it is not believed either.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Final, NamedTuple, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
)

UNREADABLE: Final = math.nan
LARGEST: Final = 2**53  # beyond it, a float no longer tells neighbouring integers apart

_READABLE_NAME: Final = 120
_LOOKED_AT: Final = 1000  # no more of a name: whoever fills an answer with one gains nothing


class Drift(Counter[str]):
    """How often a reply said something that the documents do not know, by documented field."""

    def add(self, field: str | None) -> None:
        """Count one oddity at a documented field, or `other` where there is no such name."""
        self[field or "other"] += 1


class Reply(BaseModel):
    """The part of an answer that belongs to one report; unknown fields are ignored.

    Validated with a `Drift` as its context.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # most configurations ask for a few reports
    )


def _drift(info: ValidationInfo) -> Drift:
    return info.context if isinstance(info.context, Drift) else Drift()


def number(value: object) -> float | None:
    """A finite number as the API may spell it, None for null, NaN for what is no such number.

    Integers, finite floats and strings of ASCII digits are numbers; booleans are not.
    """
    if value is None:
        return None
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)
    if type(value) is int or type(value) is float:
        return value if -LARGEST <= value <= LARGEST else UNREADABLE
    return UNREADABLE


def count(value: object) -> float | None:
    """A number that is not negative; see `number`."""
    found = number(value)
    return UNREADABLE if found is not None and found < 0 else found


def percent(value: object) -> float | None:
    """A share in percent, from 0 to 100; see `number`."""
    found = count(value)
    return UNREADABLE if found is not None and found > 100 else found


def ratio(value: object) -> float | None:
    """A share from 0 to 1; see `number`."""
    found = count(value)
    return UNREADABLE if found is not None and found > 1 else found


def _counted(read: Callable[[object], float | None]) -> PlainValidator:
    """A validator that reads a value and counts it as drift when it cannot be believed."""

    def validate(value: object, info: ValidationInfo) -> float | None:
        found = read(value)
        if found is not None and math.isnan(found):
            _drift(info).add(info.field_name)
        return found

    return PlainValidator(validate)


# Of what JSON can hold. Nearly every number is a plain one, which pydantic sees for itself, in a
# fraction of the time that a function of ours takes. Ours has the rest; integers that a float
# cannot tell apart among them, as those would be rounded before they are compared.
_IN_ORDER: Final = Field(union_mode="left_to_right")
_Plain: TypeAlias = Annotated[float, Field(strict=True, gt=-LARGEST, lt=LARGEST)]

Number = Annotated[_Plain | Annotated[float | None, _counted(number)], _IN_ORDER]
"""A finite number; None where absent or null, NaN where unreadable."""

Count = Annotated[
    Annotated[_Plain, Field(ge=0)] | Annotated[float | None, _counted(count)], _IN_ORDER
]
"""A number of things, never negative; None where absent or null, NaN where unreadable."""

Percent = Annotated[
    Annotated[_Plain, Field(ge=0, le=100)] | Annotated[float | None, _counted(percent)], _IN_ORDER
]
"""A share in percent, from 0 to 100; None where absent or null, NaN where unreadable."""

Ratio = Annotated[
    Annotated[_Plain, Field(ge=0, le=1)] | Annotated[float | None, _counted(ratio)], _IN_ORDER
]
"""A share from 0 to 1; None where absent or null, NaN where unreadable."""


class Period(NamedTuple):
    """A stretch of whole days, both ends included."""

    first: date
    last: date

    def overlaps(self, other: "Period") -> bool:
        """Whether the two have a day in common."""
        return self.first <= other.last and other.first <= self.last


def period(value: object) -> Period | None:
    """The days that a period's name means, None where it is no such name.

    `2024`, `2024-6`, `2024-06-01` and anything that goes on after a date with a time.
    """
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    found = re.fullmatch(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ].*)?)?)?", text, re.ASCII)
    if not found:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    try:
        first = date(year or 0, 1 if month is None else month, 1 if day is None else day)
    except ValueError:
        return None
    if not 1970 <= first.year <= 2200:
        return None
    if day:
        return Period(first, first)
    after = date(first.year, first.month, 28) + timedelta(days=4) if month else first
    end = after.replace(day=1) if month else first.replace(year=first.year + 1)
    return Period(first, end - timedelta(days=1))


def _period(value: object, info: ValidationInfo) -> Period | None:
    found = period(value)
    if found is None:
        _drift(info).add("period")
    return found


class Row(Reply):
    """One period of a report over time: `period` on SeaChat and SeaX, `date` on Portal.

    Attributes:
        period: The days it is about; None where that cannot be read.
    """

    period: Annotated[
        Period | None,
        PlainValidator(_period),
        Field(
            default=None,
            validate_default=True,
            validation_alias=AliasChoices("period", "date", "day", "month", "year"),
        ),
    ]


RowT = TypeVar("RowT", bound=Row)


def instant(value: object, zone: tzinfo) -> datetime | None:
    """The instant that an ISO 8601 text means, in UTC; without a zone of its own, in `zone`."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _of_another_shape(value: object, info: ValidationInfo) -> None:
    if value is not None:
        _drift(info).add(info.field_name)


T = TypeVar("T")
Lenient = Annotated[T | Annotated[None, PlainValidator(_of_another_shape)], _IN_ORDER]
"""A nested object or list; None where absent, null or of another shape (then it is drift)."""


def _list(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004 - pydantic's
    return value


Rows = Annotated[Iterable[T], BeforeValidator(_list), Field(default=())]
"""Parts of a report of which there may be tens of thousands: each is read as it is looked at, once.

So a long list takes no more than what is made of it.
"""

_HIDDEN: Final = re.compile(
    # Control and format characters (bidirectional overrides among them), lone surrogates and
    # non-characters: nothing of a name that a person reads.
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]"
)
_EMAIL: Final = r"[^\s@]@[^\s@]+\.[^\s@]"
_GAP: Final = (  # what stands between digits: blanks, every kind of dash
    r"[\s().\u115f\u1160\u2800\u2010-\u2015\u2212-]*"
)
_PHONE: Final = rf"\+{_GAP}(?:\d{_GAP}){{7}}|^\(?(?:\d{_GAP}){{7,}}$"
_PERSONAL: Final = re.compile(f"{_EMAIL}|{_PHONE}")


def text(value: object) -> str:
    """A name made by somebody, fit to be a label value: clean, short, without personal data.

    `redacted` for what is shaped like a telephone number or an e-mail address, `unnamed` for
    what has nothing to show.
    """
    raw = value if type(value) is str else _raw(value)
    return _fit(raw) if len(raw) <= _REMEMBERED else _fit.__wrapped__(raw)


_REMEMBERED: Final = 256
"""Characters of the longest name that is remembered, so that a hostile answer fills no memory."""


@lru_cache(maxsize=8192)  # the same names come in every answer
def _fit(raw: str) -> str:
    name, short = _cleaned(raw), shown(raw)
    if any(_PERSONAL.search(_bare(part)) for part in (name, short)):
        return "redacted"
    return short


def shown(value: object) -> str:
    """A name fit to be a label value, e-mail addresses included: for whoever asked to see them."""
    return _cleaned(_raw(value))[:_READABLE_NAME].rstrip() or "unnamed"


def _bare(name: str) -> str:
    """The letters and digits of a name without what is put on or between them, seen or not."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(one for one in plain if unicodedata.category(one) not in {"Mn", "Me", "Cf"})


def _cleaned(raw: str) -> str:
    seen = _HIDDEN.sub("", raw)[:_LOOKED_AT]
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _raw(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _noted(value: str, info: ValidationInfo) -> str:
    """A text, counted as drift where something in it could not be read."""
    if "\ufffd" in value:
        _drift(info).add(info.field_name)
    return value


def _name(value: object, info: ValidationInfo) -> str:
    if type(value) is str and "\ufffd" in value:
        _drift(info).add(info.field_name)
    return text(value)


Text = Annotated[str, AfterValidator(_noted)]
"""A text as it came."""

Name = Annotated[str, PlainValidator(_name), Field(default="unnamed")]
"""A name made by somebody, see `text`."""
