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
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
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

_READABLE_NAME: Final = 120
_LOOKED_AT: Final = 256
"""Characters of a name that are looked at: whoever fills an answer with one gains nothing."""

_BEYOND_A_CUT: Final = _LOOKED_AT - _READABLE_NAME
"""Characters before a cut that are looked at but not shown: no part of an address or a telephone
number is shown whose rest is beyond it."""

_MOST_JOINERS: Final = 32
"""Joiners of a name that are looked at one by one; no writing needs more in so short a text."""

_MOST_TURNS: Final = 4


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


def _drift(info: ValidationInfo) -> Drift:
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
            _drift(info).unreadable(info.field_name)
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
        _drift(info).unreadable("period")
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
        _drift(info).unreadable(info.field_name)


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
                _drift(info).add(info.field_name)
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


_HIDDEN: Final = re.compile(
    # Control and format characters (bidirectional overrides among them), lone surrogates and
    # non-characters: nothing of a name that a person reads. The two joiners are looked at apart.
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff"
    r"\ud800-\udfff]"
)
_NON_JOINER: Final = "\u200c"
_JOINER: Final = "\u200d"
_JOINERS: Final = re.compile(f"[{_NON_JOINER}{_JOINER}]+")
_ENDS_NO_NAME: Final = f" {_NON_JOINER}{_JOINER}"
_VIRAMA: Final = 9  # its combining class
_JOINS_NOTHING: Final = frozenset("اآأإٱدذرزژڑڈوؤۇۆۈۋةەى")
"""Arabic letters that are never joined to the next, so that a joiner after one shows nothing."""

_EMAIL: Final = re.compile(
    r"[^\s@](?:@[^\s@]+[.\u3002][^\s@]|(?:\s@|@\s)[^\s@]+[.\u3002][^\W\d_]{2})"
)
_DASHES: Final = r"\u2010-\u2015\u2212-"
_BETWEEN: Final = (  # what people put between the groups of a number, and what looks like it
    rf"./\\\u2044\u2215\xb7\u2022\u2027\u2219\u22c5\u30fb_:|\xa6~\u223c\u301c*={_DASHES}"
)
_GAP: Final = rf"[\s()\[\]{{}}\u115f\u1160\u2800{_BETWEEN}]*+"
_CALLED: Final = re.compile(rf"\+{_GAP}(?:\d{_GAP}){{7}}")
_DIGITS: Final = re.compile(rf"\d(?:{_GAP}\d){{6,}}+")
_YEAR: Final = r"(?:19|20|21)\d\d"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MINUTES: Final = r"(?:[01]?\d|2[0-3]):[0-5]\d"
_SECONDS: Final = r":[0-5]\d(?:[.,]\d{1,9})?"
_TIME: Final = rf"{_MINUTES}(?:{_SECONDS})?"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_OF_ITS_OWN: Final = re.compile(
    # Dates, times, addresses, versions and UUIDs. Between other digits, what looks like one is a
    # part of a number.
    rf"(?<!\d)(?<!\d[{_BETWEEN}])(?:"
    rf"{_YEAR}(?P<a>[{_BETWEEN}]){_MONTH}(?P=a){_DAY}(?!(?P=a)?\d)"
    rf"|(?:{_DAY}(?P<b>[{_BETWEEN}]){_MONTH}|{_MONTH}(?P<c>[{_BETWEEN}]){_DAY})"
    rf"[{_BETWEEN}]{_YEAR}(?![{_BETWEEN}]?\d)"
    rf"|{_YEAR}\s?[{_DASHES}]\s?{_YEAR}(?![{_BETWEEN}]?\d)"
    rf"|{_TIME}(?:[\s{_DASHES}]{{1,3}}+{_TIME})*+(?![\s{_BETWEEN}]?\d)"
    rf"|{_MINUTES}{_SECONDS}(?![{_BETWEEN}]?\d)"
    rf"|{_OCTET}(?:\.{_OCTET}){{3}}(?:[:/]\d{{1,5}})?(?![{_BETWEEN}]?\d))"
    r"|(?<![^\W_])[vV]\d+(?:\.\d+)++"
    r"|(?<![^\W_])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![^\W_])"
)
_LONG: Final = 10
"""Digits of a telephone number with its area code; a number of fewer may count anything."""

_LOCAL: Final = 7
"""And without: only where they stand in groups, and are all of the name."""

_NEVER_LOCAL: Final = frozenset(":|~*=")
"""Between few digits, these are of a ratio, a range or a product."""

_AREA_CODE: Final = re.compile(r"0\d{1,3}|\d{1,3}")


def personal(value: str) -> bool:
    """Whether a text holds what is shaped like a telephone number or an e-mail address."""
    name = _bare(value)
    if _EMAIL.search(name) or _CALLED.search(name):
        return True
    if not _DIGITS.search(name):
        return False
    name = _OF_ITS_OWN.sub("!", name)
    return any(_telephone(name, found) for found in _DIGITS.finditer(name))


def _telephone(name: str, found: re.Match[str]) -> bool:
    """Whether digits, and what stands between them, are a number to call; of no date any more."""
    groups = re.findall(r"\d+", found[0])
    digits = sum(map(len, groups))
    left, right = name[: found.start()][-1:], name[found.end() :][:1]
    led = not left.isspace() and name[: found.start()][-2:-1].isalnum()
    hung = led and left in {"-", "."}  # as in label-1234567890
    glued = left.isalpha() or left == "_"
    if len(groups) == 1 and (hung or glued or right.isalpha() or right == "_"):
        return False  # an identifier
    if (led or glued) and re.fullmatch(_YEAR, groups[0]):
        return False  # as in INV/2026/11/00012
    if digits >= _LONG:
        of_parts = len(groups) == 2 and not _AREA_CODE.fullmatch(groups[0])
        return not (of_parts and (hung or glued))  # as in conv-12345-67890
    around = name[: found.start()] + name[found.end() :]
    alone = not around.strip(" \t()[].-") and _NEVER_LOCAL.isdisjoint(found[0])
    return alone and len(groups) > 1 and digits >= _LOCAL


def text(value: object) -> str:
    """A name made by somebody, fit to be a label value: clean, short, without personal data.

    `redacted` for what is shaped like a telephone number or an e-mail address, `unnamed` for
    what has nothing to show.
    """
    raw = _raw(value)
    # A longer one is not remembered, so that a hostile answer fills no memory.
    return _fit(raw) if len(raw) <= _LOOKED_AT else _fit.__wrapped__(raw)


@lru_cache(maxsize=8192)  # the same names come in every answer
def _fit(raw: str) -> str:
    name = _cleaned(raw)
    short = _cut(name, raw)
    return "redacted" if personal(name) or (short != name and personal(short)) else short


def shown(value: object) -> str:
    """A name fit to be a label value, e-mail addresses included: for whoever asked to see them."""
    raw = _raw(value)
    return _cut(_cleaned(raw), raw)


def _cut(name: str, raw: str) -> str:
    most = len(name) - _BEYOND_A_CUT if len(raw) > _LOOKED_AT else _READABLE_NAME
    return name[: max(0, min(most, _READABLE_NAME))].rstrip(_ENDS_NO_NAME) or "unnamed"


def _bare(name: str) -> str:
    """The letters and digits of a name without what is put on or between them, seen or not."""
    return name if name.isascii() else "".join(map(_bare_character, name))[:_MOST_BARE]


@lru_cache(maxsize=8192)
def _bare_character(one: str) -> str:
    if not unicodedata.decomposition(one):
        return "" if unicodedata.category(one) in _UNSEEN else one
    plain = unicodedata.normalize("NFKD", one)
    bare = "".join(part for part in plain if unicodedata.category(part) not in _UNSEEN)
    return bare if len(bare) <= _MOST_PARTS else bare[:1]  # no longer one has a digit in it


_UNSEEN: Final = frozenset({"Mn", "Me", "Cf"})
_MOST_PARTS: Final = 4
_MOST_BARE: Final = 5 * _READABLE_NAME  # all that is shown, and what follows


def _cleaned(raw: str) -> str:
    name = unicodedata.normalize("NFC", _HIDDEN.sub("", raw[:_LOOKED_AT]))
    joiners = len(_JOINERS.findall(name))
    for turn in range(_MOST_TURNS if joiners else 0):
        # One that is dropped may let its neighbours be composed, and be others to the next.
        none = joiners > _MOST_JOINERS or turn == _MOST_TURNS - 1
        joined = unicodedata.normalize("NFC", _JOINERS.sub("" if none else _joining, name))
        if joined == name:
            break
        name = joined
    return " ".join(name.split())


def _joining(found: re.Match[str]) -> str:
    """A joiner where it is part of the writing, nothing where it only hides in a name.

    It is between the parts of an emoji, after a virama, and between letters that would be joined.
    """
    if len(found[0]) > 1:
        return ""
    before = found.string[max(found.start() - _MARKS, 0) : found.start()]
    after = found.string[found.end() : found.end() + _MARKS]
    if not before or not after:
        return ""
    if unicodedata.combining(before[-1]) == _VIRAMA:
        return found[0]
    if found[0] == _JOINER and unicodedata.category(after[0]) in {"So", "Sm"}:
        last = before[-1]
        part = last == "\ufe0f" or "\U0001f3fb" <= last <= "\U0001f3ff"
        return found[0] if part or unicodedata.category(last) == "So" else ""
    letters = [
        next((one for one in side if not unicodedata.combining(one)), "")
        for side in (before[::-1], after)
    ]
    arabic = all(one and unicodedata.bidirectional(one) == "AL" for one in letters)
    return found[0] if arabic and letters[0] not in _JOINS_NOTHING else ""


_MARKS: Final = 4
"""Characters on either side of a joiner that are looked at: a letter and what is put on it."""


def _raw(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def writable(value: str) -> str:
    """A text of the operator's, which is shown as it stands.

    Raises:
        ValueError: If it could not be shown: control characters, or nothing at all.
    """
    if not value.strip() or any(unicodedata.category(one) in {"Cc", "Cs"} for one in value):
        raise ValueError("must be a text without control characters")
    if len(value) > _LONGEST_OF_OURS:
        raise ValueError(f"must have at most {_LONGEST_OF_OURS} characters")
    return value


_LONGEST_OF_OURS: Final = 1000


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

MadeOf = Annotated[object, Field(default=None, validation_alias="name", repr=False)]
"""The same name as it came: another for another name, whatever is shown of it. Never shown."""
