"""What of a report's past can be rebuilt, and from which requests. Pure.

The API knows the past, but each report at its own price. Where a reply has a row for each day, one
request brings up to `MOST_DAYS` days. Other reports answer for a window as a whole, so each day
costs a request. A value over several days is known without a further request if it is the sum of
the days, as with messages; distinct users are not.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, tzinfo
from enum import Enum
from typing import Any, Final

from exporter.errors import ReplyError
from exporter.model.reply_values import PERIOD_NAMES, Period, period
from exporter.model.samples import Family, Sample

MOST_DAYS: Final = 90
"""The longest range that the documents advise to request."""


class Span(Enum):
    """How much of the past one request brings."""

    DAYS = "up to 90 days in one request"
    DAY = "one request for each day"
    YEAR = "one request for each year"


def rows_by_day(part: object, _days: Period, _zone: tzinfo) -> Mapping[date, object]:
    """The rows of a reply with `time_unit: day`, as one part for each day.

    What concerns the whole range, such as the change since the one before, is left out.

    Raises:
        ReplyError: If a row is not about a single day: a sum without it would be too low.
    """
    rows = part.get("data") if isinstance(part, dict) else part
    found: defaultdict[date, list[object]] = defaultdict(list)
    for row in rows if isinstance(rows, list) else ():
        named = [row[name] for name in PERIOD_NAMES if name in row] if isinstance(row, dict) else []
        days = period(named[0]) if named else None
        if days is None or days.first != days.last:
            raise ReplyError("a row is not about a single day")
        found[days.first].append(row)
    return {day: {"data": of_day} for day, of_day in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a report's past is rebuilt.

    Attributes:
        span: How much of it one request brings.
        families: What can be rebuilt.
        additive: The families whose values over several days are the sums of the days'.
        whole_days: The families that are known for whole days alone: what they measure may go on for
            a while, such as a call, and of an earlier hour the API tells it to its end.
        left_out: What cannot be rebuilt, for the operator; may be empty.
        by_day: For `Span.DAYS`, divides a report's part of a reply for some days into the parts
            of each. A day without anything may be missing; one that cannot be read has an error.
        follows: The samples over several days that follow from the sums of the additive families.
        year: For `Span.YEAR`, the year that the options ask for on a local day.
        counts: Which events the options count without exception, `messages` or `calls`; empty if
            others or not all.
        usual: Whether the alerts compare these options' values with those at the same time of day
            in earlier weeks.
        settled: For `Span.YEAR`, the samples that were final before a local day, of those in the
            reply for a whole year.
    """

    span: Span
    families: tuple[Family, ...]
    additive: frozenset[Family] = frozenset()
    whole_days: frozenset[Family] = frozenset()
    left_out: str = ""
    by_day: Callable[[object, Period, tzinfo], Mapping[date, object]] = rows_by_day
    follows: Callable[[Iterable[Sample]], Iterable[Sample]] = lambda _: ()
    year: Callable[[Any, date], str] = lambda _, day: f"{day.year:04}"
    counts: Callable[[Any], str] = lambda _: ""
    usual: Callable[[Any], bool] = lambda _: False
    settled: Callable[[Iterable[Sample], date], Iterable[Sample]] = lambda samples, _: samples
