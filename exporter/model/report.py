"""What a report is: how each API accepts it, and how its part of a response is read. Pure.

A `Report` holds everything that the exporter knows about one metric of the analytics API. Each
file under `reports/` declares one.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set as AbstractSet
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
from exporter.model.history import History
from exporter.model.reply_values import Drift, Fields, Period, Reply, RowT
from exporter.model.samples import Family, Sample
from exporter.model.windows import ALL, CALENDAR, RANGE_TYPES, TODAY, Window, window


class Absent(Enum):
    """The type of `ABSENT`: a request field left out on purpose, as its absence has a meaning."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Edge:
    """A request field derived from a window: its first day, its last day, or its first day's year.

    It stays symbolic until the request is sent, so that a plan is valid on any day.
    """

    window: Window
    kind: Literal["first", "last", "year"]

    def on(self, today: date) -> str:
        """The text to send on a local day: naive local ISO 8601, both ends inclusive, or a year."""
        days = self.window.days(today)
        if self.kind == "first":
            return f"{days.first.isoformat()}T00:00:00"
        if self.kind == "last":
            return f"{days.last.isoformat()}T23:59:59"
        return f"{days.first.year:04}"


Field_ = str | bool | tuple[str, ...] | Absent | Edge
"""The value of a request field, as compared when requests are grouped."""


class Windows(Enum):
    """The windows that an API accepts for a report."""

    NONE = "takes no window"
    TODAY = "is always about today"
    RANGES = f"takes one of the API's own ranges: {', '.join(RANGE_TYPES)}"
    DATES = "takes a calendar window or last_<N>_days"
    DATES_OR_ALL = "takes a calendar window, last_<N>_days or all"

    def allow(self, wanted: Window) -> bool:
        """Whether the API accepts this window."""
        if self is Windows.RANGES:
            return wanted.name in RANGE_TYPES
        if wanted == ALL:
            return self is Windows.DATES_OR_ALL
        if wanted.longest == 0:  # last_day names no calendar days
            return False
        return self in {Windows.DATES, Windows.DATES_OR_ALL} or (
            self is Windows.TODAY and wanted == TODAY
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one API supports a report.

    Attributes:
        metric: The API's name for the report; empty if it is the report's own name.
        windows: The windows that the API accepts.
        series: The number of series in a typical reply, for the plan's estimate.
        window: The default window.
        options: The report's options that this API supports, by their names in the request.
        zoned: Whether the request carries the time zone.
        needs_bot: Whether the request must name a bot.
        history: How the past of its values is rebuilt; None if it cannot be.
    """

    metric: str = ""
    windows: Windows
    series: int
    window: str = ""
    options: frozenset[str] = frozenset()
    zoned: bool = True
    needs_bot: bool = False
    history: History | None = None


def _window(value: object) -> object:
    return window(value) if isinstance(value, str) else value


WindowOption = Annotated[
    Window,
    BeforeValidator(_window),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*CALENDAR, ALL.name, *RANGE_TYPES]},
                {"type": "string", "pattern": "^last_[1-9][0-9]{0,3}_days$"},
            ]
        }
    ),
]
TimeUnit = Literal["day", "month", "year"]


def printable(value: str) -> str:
    """The text itself, if it is printable and not blank.

    Raises:
        ValueError: If it is blank or contains an unprintable character.
    """
    if not (value.isprintable() and value.strip()):
        raise ValueError("must be a text without control characters")
    return value


def matching(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Annotations for a text that must match a pattern, which the error describes in `words`."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"must be {words}")
        return value

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


LabelName = Annotated[str, Field(min_length=1), AfterValidator(printable)]
LabelNames = Annotated[tuple[LabelName, ...], Field(min_length=1)]


class Section(BaseModel):
    """A mapping in a configuration file; unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,  # many models go unused, for example those of other reports
    )


class Options(Section):
    """One item of `metrics:`; a report with options of its own adds them in a subclass."""

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
ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class Reading(Generic[OptionsT]):
    """The context in which a reply is read.

    Attributes:
        options: The report's options, with the window in force.
        window: The value of the label `window`.
        days: The requested local days; None if the request carried no dates.
        zone: The workspace's time zone.
        at: When the request was sent, in UTC.
        drift: Counts deviations from the API's documents.
        before: The fields that earlier replies had.
    """

    options: OptionsT
    window: str
    days: Period | None
    zone: tzinfo
    at: datetime
    drift: Drift = field(default_factory=Drift)
    before: Fields = ()

    def inside(self, rows: Iterable[RowT]) -> Iterable[RowT]:
        """The rows that overlap the requested days; the others are dropped and counted as drift.

        A repeated period counts as drift too, but its row is kept.
        """
        seen: set[Period] = set()
        for row in rows:
            if row.period is None:
                continue  # already counted as drift
            if row.period in seen or (self.days and not row.period.overlaps(self.days)):
                self.drift.add("period")
            if self.days is None or row.period.overlaps(self.days):
                yield row
            seen.add(row.period)

    def sums(self, rows: Iterable[RowT], names: Iterable[str]) -> dict[str, float]:
        """The sum of each column over the requested days; columns that no row has are left out.

        A sum is NaN if any of its values is unreadable. A row with none of the columns is drift.
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

    def by_key(
        self, family: Family, reply: Reply, field: str, names: Mapping[str, str], *labels: str
    ) -> Iterator[Sample]:
        """A sample for each value of a map, with the name of its key as the last label.

        `names` has the known keys, case-folded. An unknown one counts as drift at `field`.
        """
        for key, value in (getattr(reply, field) or {}).items():
            name = names.get(key.casefold())
            if name is None:
                self.drift.unreadable(field)
            elif value is not None:
                yield family.sample(value, *labels, name)


def single(part: object) -> object:
    """The only object of a part, which may wrap it in a `data` list; None if the list is empty.

    Raises:
        ReplyError: If the list holds more than one object: there is no telling which is right.
    """
    if not (isinstance(part, dict) and isinstance(part.get("data"), list)):
        return part
    if len(part["data"]) > 1:
        raise ReplyError("data holds more than the one object that is documented")
    return part["data"][0] if part["data"] else None


def listing(part: object) -> object:
    """A part as an object with a `data` list; a bare list is wrapped in one."""
    return {"data": part} if isinstance(part, list) else part


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Generic[OptionsT, ReplyT]):
    """One metric of the analytics API.

    Attributes:
        name: The API's name for it, also used for the file, the fixture and the request.
        apis: How each API supports it; APIs without the report are missing.
        families: Every family that `samples` may use.
        options: The model of its item in the configuration.
        reply: The type of its part of a response.
        shape: Converts the documented envelopes to the form that `reply` validates.
        samples: Converts a reply to samples.
        alone: Whether its requests carry no other report, as the documents ask.
        interval: The default polling interval; None means the workspace's.
        workspace_scope: Whether its default scope is the workspace, even if there are bots.
        needs_choice: Whether it has an option without a default.
        fields: Request fields other than the options' own values.
        window: The window that its values describe; None if they have none.
        default_name: Its default name in `seasalt_report_*`.
        optional: The fields that this reply may lack although earlier replies had them; mostly
            figures computed over items of which there are none. See `Drift.missing`.
        collides: Whether two entries of one scope could write the same series, today or later.
    """

    name: str
    apis: Mapping[str, Form]
    families: tuple[Family, ...]
    reply: "TypeAdapter[ReplyT]"
    samples: Callable[[ReplyT, Reading[OptionsT]], Iterable[Sample]]
    options: type[OptionsT]
    shape: Callable[[object], object]
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
        """The options that other APIs support and this form does not."""
        return frozenset(name for other in self.apis.values() for name in other.options) - (
            form.options
        )

    def read(self, part: object, reading: Reading[OptionsT]) -> tuple[Sample, ...]:
        """The samples in this report's part of a response, at most one per series.

        Implausible values are left out and counted in `reading.drift`.

        Raises:
            ReplyError: If the part is missing or does not have the documented shape, or if it
                holds data but nothing in it is readable.
        """
        given = self.values(part, reading)
        kept = tuple([sample for sample in given if math.isfinite(sample.value)])
        if not kept and (given or (reading.drift.unread and not reading.drift.read)):
            raise ReplyError(f"{self.name}: nothing in it can be read")
        return kept

    def values(self, part: object, reading: Reading[OptionsT]) -> tuple[Sample, ...]:
        """Like `read`, but implausible values are NaN, so that a sum over them is NaN too.

        Raises:
            ReplyError: If the part is missing or does not have the documented shape.
        """
        shaped = self.shape(part)
        if shaped is None and part is not None:
            return ()  # a successful response without data
        try:
            reply = self.reply.validate_python(shaped, context=reading.drift)
            if isinstance(reply, BaseModel) and not reply.model_fields_set:
                raise ReplyError(f"{self.name}: none of the documented fields")
            given = tuple(self.samples(reply, reading))  # this validates lazy rows
            reading.drift.missing(reading.before, self.optional(reply))
        except ValidationError:
            # The error itself would quote the response: its locations contain object keys.
            raise ReplyError(f"{self.name}: not of the documented shape") from None
        if len({sample[:2] for sample in given}) < len(given):
            given = _summed(given, reading.drift)
        return given


def _summed(samples: Iterable[Sample], drift: Drift) -> tuple[Sample, ...]:
    """One sample per series: samples whose names are equal, at least once cleaned, are summed."""
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
