"""What a number, a period or a name in a reply must look like to be believed. Pure.

The API's replies are read leniently, value by value: what is absent or null gives no sample, and
what is present but cannot be believed gives none either and is counted as drift. In between, such
a value is NaN, so that whatever is computed from it is not believed either.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias, TypeVar, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema

UNREADABLE: Final = math.nan
LARGEST: Final = 2**53  # beyond it, a float no longer tells neighbouring integers apart


class Drift(Counter[str]):
    """How often a reply said something that the documents do not know, by documented field.

    Attributes:
        unread: How often that was something that could not be read at all.
        read: How many rows could be, whatever is in them.
        had: The fields that were there, by the name of the object they are in.
    """

    def __init__(self, *given: Any, **counts: int) -> None:  # noqa: ANN401 - as a Counter takes it
        super().__init__(*given, **counts)
        self.unread = 0
        self.read = 0
        self.had: dict[str, set[str]] = {}

    def add(self, field: str | None) -> None:
        """Count one oddity at a documented field, or `other` where there is no such name."""
        self[field or "other"] += 1

    def unreadable(self, field: str | None) -> None:
        """Count one at which there is something that cannot be read."""
        self.unread += 1
        self.add(field)


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

    @model_validator(mode="after")
    def _note(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Drift):
            info.context.had.setdefault(type(self).__name__, set()).update(
                self.model_fields_set - _internal(type(self))
            )
        return self


@lru_cache(maxsize=64)
def _internal(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model that are no fields of the documents', see `MadeOf`."""
    return frozenset(name for name, field in model.model_fields.items() if not field.repr)


def drift_of(info: ValidationInfo) -> Drift:
    """Where a validator counts what it cannot believe."""
    return info.context if isinstance(info.context, Drift) else Drift()


_SPELLED: Final = re.compile(
    # JSON's own grammar, and zeros before it; bounded, as Python reads digits by the square.
    r"-?[0-9]{1,16}(?P<broken>(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?)",
    re.ASCII,
)


def number(value: object) -> float | None:
    """A finite number as the API may spell it, None for null, NaN for what is no such number.

    Integers, finite floats and strings that spell one as JSON does are numbers: an API that writes
    decimals as strings writes whole ones so, too, and `450`, `450.5` and `4.5E+2` are one series.
    Booleans are none.
    """
    if value is None:
        return None
    if type(value) is str:
        spelled = _SPELLED.fullmatch(value)
        if spelled is None:
            return UNREADABLE
        value = float(value) if spelled["broken"] else int(value)
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
            drift_of(info).unreadable(info.field_name)
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
        drift_of(info).unreadable("period")
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
        drift_of(info).unreadable(info.field_name)


class _Distinct:
    """Leaves out the rows of a list that are there already, as far as the documents know them."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - any type
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        model = _model_in(source)

        def distinct(value: object, info: ValidationInfo) -> object:
            if not isinstance(value, list):
                raise ValueError("must be a list")  # noqa: TRY004 - pydantic's
            kept = _kept(value, model)
            for _ in range(len(value) - len(kept)):
                drift_of(info).add(info.field_name)
            return kept

        return BeforeValidator(distinct).__get_pydantic_core_schema__(source, handler)


def _model_in(kind: Any) -> type[Reply]:  # noqa: ANN401 - any type
    """The model of what a type holds.

    Raises:
        TypeError: If there is none.
    """
    found = _nested(kind)
    if found is None:
        raise TypeError("rows of no model")
    return found


def _nested(kind: Any) -> type[Reply] | None:  # noqa: ANN401 - any type
    if isinstance(kind, type) and not get_args(kind):
        return kind if issubclass(kind, Reply) else None
    return next(filter(None, map(_nested, get_args(kind))), None)


class _Documented(NamedTuple):
    """What is known of a kind of rows.

    Attributes:
        names: Its fields, as answers name them.
        folded: The same without regard to upper and lower case, as one report takes them.
        nested: The models of those that hold objects.
    """

    names: tuple[str, ...]
    folded: frozenset[str]
    nested: dict[str, type[Reply]]


@lru_cache(maxsize=64)
def _documented(model: type[Reply]) -> _Documented:
    names: dict[str, type[Reply] | None] = {"id": None}  # what another id has is another thing
    for name, field in model.model_fields.items():
        alias = field.validation_alias or name
        spellings = alias.choices if isinstance(alias, AliasChoices) else (alias,)
        names |= {str(spelling): _nested(field.annotation) for spelling in spellings}
    nested = {name: inner for name, inner in names.items() if inner}
    return _Documented(tuple(names), frozenset(map(str.casefold, names)), nested)


def _kept(rows: list[Any], model: type[Reply]) -> list[Any]:
    """The rows without those that say what an earlier one says."""
    if len({_said(row, model, deep=False) for row in rows}) == len(rows):
        return rows  # nearly always: no day comes twice
    found: dict[object, Any] = {}
    for row in rows:
        found.setdefault(_said(row, model), row)
    return rows if len(found) == len(rows) else [*found.values()]


def _said(value: object, model: type[Reply] | None, *, deep: bool = True) -> object:
    """What is the same for two parts of an answer if they say the same in documented fields.

    What is in other fields is not looked at, however much that is.
    """
    if type(value) is bool:
        return bool, value  # which is no number
    if type(value) is dict and model:
        names, folded, nested = _documented(model)
        others = [name for name in value if name not in names and name.casefold() in folded]
        return (
            *[
                _said(value[name], nested.get(name), deep=deep)
                if name in value and (deep or name not in nested)
                else _ABSENT
                for name in names
            ],
            *[(name, _said(value[name], None)) for name in sorted(others)],
        )
    if type(value) is list and model:
        return tuple([_said(one, model, deep=deep) for one in value])
    return ("other", id(value)) if type(value) in {dict, list} else value


_ABSENT: Final = object()

T = TypeVar("T")
Rows = Annotated[tuple[T, ...], _Distinct()]
"""A list of rows; one that comes twice is there once, and is drift.

It is the raw rows that are compared: two names that are shown alike are two rows.
"""

ManyRows = Annotated[Iterable[T], _Distinct(), Field(default=())]
"""Rows of which there may be tens of thousands: each is read as it is looked at, once.

So a long list takes no more than what is made of it.
"""

Lenient = Annotated[T | Annotated[None, PlainValidator(_of_another_shape)], _IN_ORDER]
"""A nested object or list; None where absent, null or of another shape (then it is drift)."""
