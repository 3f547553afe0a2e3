"""How the values of a reply are validated, one by one. Pure.

One bad value must not cost the operator a whole report, so replies are read leniently. A value
that is absent or null is None, and gives no sample. A value that is present but implausible (a
negative count, a boolean for a number) gives no sample either, and is counted as schema drift.

An implausible value is NaN until the samples are complete. NaN propagates through arithmetic: a sum
over periods is NaN if one of its terms is, instead of too low. `Report.read` drops the samples
that are NaN in the end. So an exported total never silently omits a bad value.

Rows that repeat an earlier one are dropped and counted as drift. Long lists are validated lazily,
row by row, to save memory.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Set as AbstractSet
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias, TypeVar, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema

UNREADABLE: Final = math.nan
LARGEST: Final = 2**53  # beyond it, a float cannot represent every integer


Fields = tuple[tuple[str, ...], ...]
"""Fields seen in replies: for each model its name, then the names of its fields, all sorted."""

_UNDOCUMENTED: Final = "?"
"""Stands among the names of fields for all those that the documents do not have."""


@lru_cache(maxsize=1024)
def shared(fields: Fields) -> Fields:
    """One object for all equal values, because thousands of bots have the same fields."""
    return fields


class Drift(Counter[str]):
    """Counts a reply's deviations from the API's documents, by documented field.

    Attributes:
        unread: The number of unreadable values and rows.
        read: The number of readable rows, whatever their values.
        had: The fields that were present, by model; `?` if there were undocumented ones.
    """

    def __init__(self, *given: Any, **counts: int) -> None:  # noqa: ANN401 - Counter's signature
        super().__init__(*given, **counts)
        self.unread = 0
        self.read = 0
        self.had: dict[type[BaseModel], set[str]] = {}

    def add(self, field: str | None) -> None:
        """Count one deviation at a documented field, or at `other` if the field is None."""
        self[field or "other"] += 1

    def unreadable(self, field: str | None) -> None:
        """Count one unreadable value at a documented field."""
        self.unread += 1
        self.add(field)

    def missing(self, before: Fields, optional: AbstractSet[str]) -> None:
        """Count the fields that earlier replies had and this one lacks; probably they were renamed.

        An optional field counts only if there are undocumented fields now, and were none at first.
        If a reply has no object of a kind, none of its fields counts.

        Args:
            before: The fields of earlier replies to the same request.
            optional: The fields that this reply may lack.
        """
        known = {name: {*fields} for name, *fields in before}
        for model, had in self.had.items():
            earlier = known.get(model.__name__, set())
            renamed = _UNDOCUMENTED in had - earlier
            for field in earlier - had:
                if field in model.model_fields and (renamed or field not in optional):
                    self.add(field)

    def fields(self, before: Fields) -> Fields:
        """The fields of this reply and of earlier ones; undocumented ones if they were there first.

        The others stay new for as long as they come, and so does what is missing.
        """
        known = {name: {*fields} for name, *fields in before}
        for model, had in self.had.items():
            now = had - _internal(model)
            known.setdefault(model.__name__, {*now}).update(now - {_UNDOCUMENTED})
        return shared(tuple(sorted((name, *sorted(fields)) for name, fields in known.items())))


class Reply(BaseModel):
    """The part of a response that belongs to one report; undocumented fields are ignored.

    Its validation context is a `Drift`, which notes the fields that are there.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # most configurations use only a few reports
    )

    @model_validator(mode="wrap")
    @classmethod
    def _note(
        cls, given: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        reply = handler(given)
        if isinstance(info.context, Drift):
            had = info.context.had.setdefault(cls, set())
            had |= reply.model_fields_set
            if _UNDOCUMENTED not in had and isinstance(given, dict):
                known = _documented(cls).known
                if not (given.keys() <= known or known.issuperset(map(str.casefold, given))):
                    had.add(_UNDOCUMENTED)
        return reply


@lru_cache(maxsize=64)
def _internal(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a model whose absence is not noticed; see `Unread` and `MadeOf`."""
    return frozenset(name for name, field in model.model_fields.items() if not field.repr)


def drift_of(info: ValidationInfo) -> Drift:
    """The `Drift` in which a validator counts implausible values."""
    return info.context if isinstance(info.context, Drift) else Drift()


_SPELLED: Final = re.compile(
    # JSON's number grammar plus leading zeros; bounded, as int() takes quadratic time.
    r"-?[0-9]{1,16}(?P<broken>(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?)",
    re.ASCII,
)


def number(value: object) -> float | None:
    """A finite number as the API may spell it; None for null, NaN for anything else.

    Integers, finite floats and strings in JSON's number syntax are accepted: an API that writes
    decimals as strings may write `450`, `450.5` and `4.5E+2` in the same series. Booleans, and
    magnitudes beyond 2**53, are NaN.
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


def count(value: object, most: float = LARGEST) -> float | None:
    """A number from 0 to `most`; see `number`."""
    found = number(value)
    return UNREADABLE if found is not None and not 0 <= found <= most else found


def _counted(read: Callable[[object], float | None]) -> PlainValidator:
    """A validator that reads a value and counts it as drift if the result is NaN."""

    def validate(value: object, info: ValidationInfo) -> float | None:
        found = read(value)
        if found is not None and math.isnan(found):
            drift_of(info).unreadable(info.field_name)
        return found

    return PlainValidator(validate)


# Nearly all values are plain JSON numbers. pydantic validates those itself, in a fraction of the
# time that a Python function takes. The functions above handle the rest, including integers of
# 2**53 and beyond, which pydantic would round to a float before comparing.
_IN_ORDER: Final = Field(union_mode="left_to_right")
_Plain: TypeAlias = Annotated[float, Field(strict=True, gt=-LARGEST, lt=LARGEST)]

Number = Annotated[_Plain | Annotated[float | None, _counted(number)], _IN_ORDER]
"""A finite number; None if absent or null, NaN if unreadable."""

Count = Annotated[
    Annotated[_Plain, Field(ge=0)] | Annotated[float | None, _counted(count)], _IN_ORDER
]
"""A number of at least 0; None if absent or null, NaN if unreadable."""

Percent = Annotated[
    Annotated[_Plain, Field(ge=0, le=100)]
    | Annotated[float | None, _counted(partial(count, most=100))],
    _IN_ORDER,
]
"""A percentage from 0 to 100; None if absent or null, NaN if unreadable."""

Ratio = Annotated[
    Annotated[_Plain, Field(ge=0, le=1)]
    | Annotated[float | None, _counted(partial(count, most=1))],
    _IN_ORDER,
]
"""A share from 0 to 1; None if absent or null, NaN if unreadable."""


class Period(NamedTuple):
    """A range of whole days, both ends inclusive."""

    first: date
    last: date

    def overlaps(self, other: "Period") -> bool:
        """Whether the two have a day in common."""
        return self.first <= other.last and other.first <= self.last


def period(value: object) -> Period | None:
    """The days that a period's name denotes; None if it denotes none, or a year outside 1970-2200.

    Accepts `2024`, `2024-6`, `2024-06-01`, and a date followed by a time.
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


PERIOD_NAMES: Final = ("period", "date", "day", "month", "year")
"""The fields that may name a row's period."""


class Row(Reply):
    """One period of a report over time: `period` on SeaChat and SeaX, `date` on Portal.

    Attributes:
        period: The days that the row covers; None if unreadable.
    """

    period: Annotated[
        Period | None,
        PlainValidator(_period),
        Field(
            default=None,
            validate_default=True,
            validation_alias=AliasChoices(*PERIOD_NAMES),
        ),
    ]


RowT = TypeVar("RowT", bound=Row)


def instant(value: object, zone: tzinfo) -> datetime | None:
    """The instant of an ISO 8601 text, in UTC, or None. A text without an offset is in `zone`."""
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
    """Drops the rows of a list that equal an earlier one in all documented fields."""

    def __get_pydantic_core_schema__(
        self,
        source: Any,  # noqa: ANN401 - any type
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        model = _nested(source)
        if model is None:
            raise TypeError("rows of no model")

        def distinct(value: object, info: ValidationInfo) -> object:
            if not isinstance(value, list):
                raise ValueError("must be a list")  # noqa: TRY004 - pydantic's
            kept = _kept(value, model)
            for _ in range(len(value) - len(kept)):
                drift_of(info).add(info.field_name)
            return kept

        return BeforeValidator(distinct).__get_pydantic_core_schema__(source, handler)


def _nested(kind: Any) -> type[Reply] | None:  # noqa: ANN401 - any type
    """The model of the rows that a type holds; None if it holds none."""
    if isinstance(kind, type) and not get_args(kind):
        return kind if issubclass(kind, Reply) else None
    return next(filter(None, map(_nested, get_args(kind))), None)


class _Documented(NamedTuple):
    """The documented fields of one kind of row.

    Attributes:
        names: The names of the fields in a reply.
        known: The same names and their case-folded forms; `activity_trend` ignores case.
        nested: The models of the fields that hold objects.
    """

    names: tuple[str, ...]
    known: frozenset[str]
    nested: dict[str, type[Reply]]


@lru_cache(maxsize=64)
def _documented(model: type[Reply]) -> _Documented:
    names: dict[str, type[Reply] | None] = {"id": None}  # different ids are different rows
    for name, field in model.model_fields.items():
        alias = field.validation_alias or name
        spellings = alias.choices if isinstance(alias, AliasChoices) else (alias,)
        names |= {str(spelling): _nested(field.annotation) for spelling in spellings}
    nested = {name: inner for name, inner in names.items() if inner}
    return _Documented(tuple(names), frozenset((*names, *map(str.casefold, names))), nested)


def _kept(rows: list[Any], model: type[Reply]) -> list[Any]:
    """The rows without those that repeat an earlier one."""
    if len({_said(row, model, deep=False) for row in rows}) == len(rows):
        return rows  # the usual case: nothing is repeated
    found: dict[object, Any] = {}
    for row in rows:
        found.setdefault(_said(row, model), row)
    return rows if len(found) == len(rows) else [*found.values()]


def _said(value: object, model: type[Reply] | None, *, deep: bool = True) -> object:
    """A key that is equal for two values if they agree in all documented fields.

    Other fields are ignored, however large. If not `deep`, fields that hold objects are too.
    """
    if type(value) is bool:
        return bool, value  # so that True and 1 differ
    if type(value) is dict and model:
        names, known, nested = _documented(model)
        others = [name for name in value if name not in names and name.casefold() in known]
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
"""A list of rows; repeated rows are dropped and counted as drift.

Raw rows are compared: two names with the same label value are two rows.
"""

ManyRows = Annotated[Iterable[T], _Distinct(), Field(default=())]
"""Rows of which there may be tens of thousands: validated lazily, and iterable only once.

A long list therefore needs no memory for its validated rows, only for what is made of them.
"""

Unread = Annotated[object, Field(default=None, repr=False)]
"""A documented field without use, declared only so that it is not taken for an undocumented one."""

Lenient = Annotated[T | Annotated[None, PlainValidator(_of_another_shape)], _IN_ORDER]
"""A nested object or list; None if absent, null or of another shape (the latter is drift)."""
