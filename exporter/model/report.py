"""What a report is: how it may be asked for, and how its part of an answer is read. Pure.

A `Report` is the whole of our knowledge of one metric of the analytics API; the files under
`reports/` declare one each.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import WithJsonSchema

from exporter.errors import ReplyError
from exporter.model.durations import Duration
from exporter.model.samples import Family, Sample
from exporter.model.values import Drift, Period, RowT
from exporter.model.windows import ALL, RANGE_TYPES, TODAY, Window, window


class Absent(Enum):
    """The one value of a request field that is left out and means something by it."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Edge:
    """A request field that follows a window: its first or last day, or the year it begins in.

    Kept symbolic until the request is sent, so that a plan holds for every day.
    """

    window: Window
    kind: Literal["first", "last", "year"]

    def on(self, today: date) -> str:
        """The text to send on a local day: naive local ISO 8601, both ends included, or a year."""
        days = self.window.days(today)
        if self.kind == "first":
            return f"{days.first.isoformat()}T00:00:00"
        if self.kind == "last":
            return f"{days.last.isoformat()}T23:59:59"
        return f"{days.first.year:04}"


Field_ = str | bool | tuple[str, ...] | Absent | Edge
"""A value of a request field, as the plan compares it."""


class Windows(Enum):
    """Which windows an API lets a report be asked for."""

    NONE = "takes no window"
    TODAY = "is always about today"
    RANGES = f"takes one of the API's own ranges: {', '.join(RANGE_TYPES)}"
    DATES = "takes a calendar window or last_<N>_days"
    DATES_OR_ALL = "takes a calendar window, last_<N>_days or all"

    def allow(self, wanted: Window) -> bool:
        """Whether a report may be asked for this window."""
        if self is Windows.RANGES:
            return wanted.name in RANGE_TYPES
        if wanted == ALL:
            return self is Windows.DATES_OR_ALL
        if wanted.name in RANGE_TYPES and wanted.longest == 0:  # last_day has no days of ours
            return False
        return self in {Windows.DATES, Windows.DATES_OR_ALL} or (
            self is Windows.TODAY and wanted == TODAY
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one API takes a report.

    Attributes:
        metric: The API's word for it; empty where it is the report's own name.
        windows: Which windows can be asked for.
        series: How many a usual answer makes, for the plan's estimate.
        window: The one asked for when the operator names none.
        options: The report's options that this API knows, by their names in the request.
        zoned: Whether the time zone goes along.
        needs_bot: Whether the API answers it for one bot only.
    """

    metric: str = ""
    windows: Windows
    series: int
    window: str = ""
    options: frozenset[str] = frozenset()
    zoned: bool = True
    needs_bot: bool = False


def _window(value: object) -> object:
    return window(value) if isinstance(value, str) else value


WindowOption = Annotated[
    Window,
    BeforeValidator(_window),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "enum": [
                        *("today", "yesterday", "this_week", "last_week", "this_month"),
                        *("last_month", "this_year", "last_year", "all", *RANGE_TYPES),
                    ]
                },
                {"type": "string", "pattern": "^last_[1-9][0-9]{0,3}_days$"},
            ]
        }
    ),
]
TimeUnit = Literal["day", "month", "year"]


def printable(value: str) -> str:
    """The text, if a person could have written it.

    Raises:
        ValueError: If something in it is not for printing: it could not be sent or shown.
    """
    if not (value.isprintable() and value.strip()):
        raise ValueError("must be a text without control characters")
    return value


def matching(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """What makes a text one that matches a pattern, and says so in words otherwise."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"must be {words}")
        return value

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


LabelName = Annotated[str, Field(min_length=1), AfterValidator(printable)]
LabelNames = Annotated[tuple[LabelName, ...], Field(min_length=1)]


class Options(BaseModel):
    """One item of `metrics:`; a report with options of its own adds them in a subclass."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # most configurations ask for a few reports
    )

    metric: str = Field(description="Metric of the analytics API.")
    name: (
        Annotated[str, *matching("[a-zA-Z][a-zA-Z0-9_]{0,63}", "letters, digits and underscores")]
        | None
    ) = Field(
        None,
        description="Value of the label `report` of `seasalt_report_*`; the metric if omitted.",
    )
    window: WindowOption | None = Field(
        None, description="Time window. `last_<N>_days` takes any number of days up to 9999."
    )
    interval: Duration | None = Field(
        None, description="How often the report is polled, such as 10m, 1h or 1d."
    )
    scope: Literal["bots", "workspace"] | None = Field(
        None, description="Whether the report is polled per bot or once for the workspace."
    )


OptionsT = TypeVar("OptionsT", bound=Options)
Fields = AbstractSet[tuple[str, str]]
"""Fields of answers, each with the name of the object that it is in."""
ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class Reading(Generic[OptionsT]):
    """What an answer is read against.

    Attributes:
        options: As the operator wrote them.
        window: The value of the label `window`.
        days: The local days that were asked for, None where no dates were sent.
        zone: The time zone that was sent.
        at: When the request was sent, in UTC.
        drift: Takes note of what the documents do not know.
        before: The fields that earlier answers had, with the names of the objects they are in.
    """

    options: OptionsT
    window: str
    days: Period | None
    zone: tzinfo
    at: datetime
    drift: Drift = field(default_factory=Drift)
    before: Fields = frozenset()

    def inside(self, rows: Iterable[RowT]) -> Iterable[RowT]:
        """The rows that overlap the asked days; the others are dropped, and are drift."""
        seen: set[Period] = set()
        for row in rows:
            if row.period is None:
                continue  # already drift
            if row.period in seen or (self.days and not row.period.overlaps(self.days)):
                self.drift.add("period")
            if self.days is None or row.period.overlaps(self.days):
                yield row
            seen.add(row.period)

    def sums(self, rows: Iterable[RowT], names: Iterable[str]) -> dict[str, float]:
        """The sums over the asked days of those columns that any row has.

        NaN where one of the values is unreadable. A row that has none of the columns is drift.
        """
        asked, found = tuple(names), dict[str, float]()
        for row in self.inside(rows):
            if row.model_fields_set.isdisjoint(asked):
                self.drift.unreadable(None)
            else:
                self.drift.read += 1
            for name in asked:
                value = getattr(row, name)
                if value is not None:
                    found[name] = found.get(name, 0) + value
        return found


def plain(part: object) -> object:
    """A part of an answer as it stands."""
    return part


def single(part: object) -> object:
    """The one object of a part that may wrap it in a `data` list; None where the list is empty.

    Raises:
        ReplyError: If the list holds more than one, as nothing says which would be right.
    """
    if not (isinstance(part, dict) and isinstance(part.get("data"), list)):
        return part
    if len(part["data"]) > 1:
        raise ReplyError("data holds more than the one object that is documented")
    return part["data"][0] if part["data"] else None


def listing(part: object) -> object:
    """A part that is a bare list, or the `data` of an object, as an object with `data`."""
    return {"data": part} if isinstance(part, list) else part


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Generic[OptionsT, ReplyT]):
    """One metric of the analytics API.

    Attributes:
        name: The API's own word, and so the file's, the fixture's and the request's.
        apis: How each API that has it takes it.
        families: All that `samples` may use.
        options: The model of its item in the configuration.
        reply: The type of its part of an answer.
        shape: Brings the envelopes that the documents show into that type's form.
        samples: What the answer says, family by family.
        alone: Whether the documents ask for requests of its own.
        interval: How often it is polled when the operator names nothing; None is the workspace's.
        workspace_scope: Whether it is asked for the workspace, bots or none.
        needs_choice: Whether it cannot be asked for without a choice of the operator's.
        fields: Request fields that are not the options' own values.
        window: The window that its values stand for, None where they have none.
        default_name: Its name in `seasalt_report_*`.
        optional: The fields that an answer like this may lack, though others had them: what is
            computed of things that there are none of, mostly.
        collides: Whether two entries of one scope could write the same series, today or later.
    """

    name: str
    apis: Mapping[str, Form]
    families: tuple[Family, ...]
    reply: "TypeAdapter[ReplyT]"
    samples: Callable[[ReplyT, Reading[OptionsT]], Iterable[Sample]]
    options: type[OptionsT]
    shape: Callable[[object], object] = plain
    alone: bool = False
    interval: timedelta | None = None
    workspace_scope: bool = False
    needs_choice: bool = False
    fields: Callable[[OptionsT], Mapping[str, Field_]] = lambda _: {}
    window: Callable[[OptionsT], Window | None] = lambda options: options.window
    default_name: Callable[[OptionsT], str] = lambda options: options.metric
    optional: Callable[[ReplyT], AbstractSet[str]] = lambda _: frozenset()
    collides: Callable[[OptionsT, OptionsT, date], bool] = lambda one, two, _today: (
        one.window == two.window
    )

    def foreign(self, form: Form) -> frozenset[str]:
        """The options that other APIs know, and this form does not."""
        return frozenset(name for other in self.apis.values() for name in other.options) - (
            form.options
        )

    def read(self, part: object, reading: Reading[OptionsT]) -> tuple[Sample, ...]:
        """The samples of this report's part of an answer; no two of them are of the same series.

        What cannot be believed is left out and noted in `reading.drift`.

        Raises:
            ReplyError: If the part is missing, has another shape than documented, or holds
                something of which nothing can be read.
        """
        shaped = self.shape(part)
        if shaped is None and part is not None:
            return ()  # a successful answer without data
        try:
            reply = self.reply.validate_python(shaped, context=reading.drift)
            if isinstance(reply, BaseModel) and not reply.model_fields_set:
                raise ReplyError(f"{self.name}: none of the documented fields")
            given = tuple(self.samples(reply, reading))  # which reads its rows
            self._miss(reply, reading)
        except ValidationError:
            # The error itself would quote the answer: keys of objects are in its locations.
            raise ReplyError(f"{self.name}: not of the documented shape") from None
        if len({sample[:2] for sample in given}) < len(given):
            given = _summed(given, reading.drift)
        kept = tuple([sample for sample in given if math.isfinite(sample.value)])
        if not kept and (given or (reading.drift.unread and not reading.drift.read)):
            raise ReplyError(f"{self.name}: nothing in it can be read")
        return kept

    def _miss(self, reply: ReplyT, reading: Reading[OptionsT]) -> None:
        """Note the fields that earlier answers had and this one has not: renamed, most likely."""
        had = reading.drift.had
        for name, missing in reading.before:
            # Where there is no such object now, none of its fields can be missed.
            if missing not in had.get(name, {missing}) and missing not in self.optional(reply):
                reading.drift.add(missing)


def _summed(samples: Iterable[Sample], drift: Drift) -> tuple[Sample, ...]:
    """One sample of each series: names became equal when cleaned, or were so from the start."""
    found: dict[tuple[Family, tuple[str, ...]], Sample] = {}
    for sample in samples:
        series = sample[:2]
        if series in found:
            drift.add(None)
            found[series] = Sample(*series, found[series].value + sample.value)
        else:
            found[series] = sample
    return tuple(found.values())


AnyReport = Report[Any, Any]
