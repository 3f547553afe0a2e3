"""From the readings of days to the live series. Pure.

The series are those that an exporter would have shown that asked once at the end of each day, and
where part D asked, at each hour of it:

- A window that ended before the day, such as `yesterday`, has its value all day long.
- Any other has the value of the whole day at the day's last moment. Until the next day's last
  moment that value stands, unless the window moves on at midnight, as `today` does.
- A value by the hour stands for an hour at most.

A value over several days is the sum of the days, and there is none if one of the days is unknown.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Final

from exporter.backfill.grid import FINEST, Grid
from exporter.backfill.plan import OFFICE_HOURS, WHOLE_DAY, history_of, question
from exporter.metrics.series_limits import largest_names
from exporter.model.entry import Entry
from exporter.model.history import History, Span
from exporter.model.reply_values import Period
from exporter.model.samples import Family, Sample
from exporter.model.windows import DAY, TODAY, Window

Known = Mapping[tuple[date, int], Sequence[Sample]]
"""The samples of a question by local day and hour; a pair that is missing is unknown."""

_HOUR: Final = 3600 // FINEST


@dataclass(slots=True)
class Runs:
    """The values of one series: runs of moments with the same value.

    Attributes:
        begins: The index of each run's first moment in the grid.
        ends: The index after its last.
        values: Its value.
    """

    begins: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, begin: int, end: int, value: float) -> None:
        """Add a run after all others; it joins the last one if that is its like."""
        if self.ends and self.ends[-1] == begin and self.values[-1] == value:
            self.ends[-1] = end
        elif begin < end:
            self.begins.append(begin)
            self.ends.append(end)
            self.values.append(value)

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        return zip(self.begins, self.ends, self.values, strict=True)

    def __len__(self) -> int:
        """The number of samples."""
        return sum(self.ends) - sum(self.begins)


def series(
    entry: Entry, family: Family, known: Callable[[Entry], Known], grid: Grid, max_labels: int
) -> dict[tuple[str, ...], Runs]:
    """The series of one family for an entry of a target, by the values of the family's labels.

    Args:
        entry: The entry.
        family: One of the families that can be rebuilt.
        known: What is known of a question.
        grid: The moments.
        max_labels: How many customer-made names a moment may have.
    """
    history = history_of(entry)
    if history is None or family not in history.families:
        return {}
    spells = _years if history.span is Span.YEAR else _windows
    found: dict[tuple[str, ...], Runs] = {}
    for begin, end, samples in spells(entry, history, known, grid):
        kept = [sample for sample in samples if math.isfinite(sample.value)]
        for sample in largest_names(kept, max_labels):
            if sample.family is family:
                found.setdefault(sample.labels, Runs()).add(begin, end, sample.value)
    return found


_Spells = Iterator[tuple[int, int, Iterable[Sample]]]
"""The samples that stand from one moment up to, but excluding, another."""


def _windows(
    entry: Entry, history: History, known: Callable[[Entry], Known], grid: Grid
) -> _Spells:
    window, days = entry.options.window, known(question(entry))
    if window is None:
        return
    whole = _Whole(window, history, days)
    for number, day in enumerate(grid.days):
        begin, end = grid.begins[number], grid.begins[number + 1]
        if begin == end:
            continue
        if window.days(day).last < day:
            yield begin, end, whole.on(day)
            continue
        last = end - 1
        if window.moved_on(day) != day:
            yield begin, last, whole.on(day - DAY)
        elif window == TODAY:
            yield from _by_hour(grid, number, days, entry.window)
        yield last, end, whole.on(day)


def _by_hour(grid: Grid, number: int, days: Known, window: str) -> _Spells:
    """What is known of a day hour by hour."""
    day, last = grid.days[number], grid.begins[number + 1] - 1
    places = [grid.hours.get((number, hour), last) for hour in (*OFFICE_HOURS, WHOLE_DAY)]
    for hour, begin, until in zip(OFFICE_HOURS, places, places[1:], strict=False):
        samples = days.get((day, hour))
        if samples is not None and (number, hour) in grid.hours:
            yield begin, min(until, begin + _HOUR), _named(samples, window)


@dataclass(slots=True)
class _Sum:
    """The sum of some days' values of one series; exact, so that days can be taken out of it again.

    Attributes:
        total: The sum of the finite values.
        days: How many days have a value.
        unreadable: How many of these values are not finite.
    """

    total: Fraction = Fraction(0)
    days: int = 0
    unreadable: int = 0

    def add(self, value: float, sign: int) -> None:
        """Add a day's value, or take it out with the sign -1."""
        self.days += sign
        if math.isfinite(value):
            self.total += sign * Fraction(value)
        else:
            self.unreadable += sign

    @property
    def value(self) -> float:
        """The sum; NaN if a value of it cannot be read."""
        return math.nan if self.unreadable else float(self.total)


class _Whole:
    """The values of a window as they were at the end of a day; quickest for days in order."""

    def __init__(self, window: Window, history: History, days: Known) -> None:
        self._window = window
        self._history = history
        self._days = days
        self._sums: dict[tuple[Family, tuple[str, ...]], _Sum] = {}
        self._unknown = 0
        self._within = Period(date.max, date.min)
        self._samples: Sequence[Sample] = ()

    def on(self, today: date) -> Iterable[Sample]:
        """The samples of the window that a day has, or none if a day of it is unknown."""
        wanted = self._window.days(today)
        if wanted.first == wanted.last:
            return _named(self._days.get((wanted.first, WHOLE_DAY), ()), self._window.name)
        if wanted != self._within:
            self._move(wanted)
            self._samples = () if self._unknown else [*self._summed()]
        return self._samples

    def _summed(self) -> Iterator[Sample]:
        summed = [Sample(*place, one.value) for place, one in self._sums.items()]
        return _named((*summed, *self._history.follows(summed)), self._window.name)

    def _move(self, wanted: Period) -> None:
        """Add the days that come into the window, and take out those that leave it."""
        first, last = self._within
        if not first <= wanted.first <= last <= wanted.last:
            self._sums, self._unknown = {}, 0
            first, last = wanted.first, wanted.first - DAY
        while last < wanted.last:
            last += DAY
            self._count(last, 1)
        while first < wanted.first:
            self._count(first, -1)
            first += DAY
        self._within = wanted

    def _count(self, day: date, sign: int) -> None:
        part = self._days.get((day, WHOLE_DAY))
        self._unknown += sign * (part is None)
        for family, labels, value in part or ():
            if family in self._history.additive:
                place = (family, labels)
                one = self._sums.setdefault(place, _Sum())
                one.add(value, sign)
                if not one.days:
                    del self._sums[place]


def _named(samples: Iterable[Sample], window: str) -> Iterator[Sample]:
    """The samples with the window as their label."""
    for family, labels, value in samples:
        place = family.labels.index("window")
        yield Sample(family, (*labels[:place], window, *labels[place + 1 :]), value)


def _years(entry: Entry, history: History, known: Callable[[Entry], Known], grid: Grid) -> _Spells:
    for number, day in enumerate(grid.days):
        year = history.year(entry.options, day)
        samples = known(question(entry, year)).get((date(int(year), 1, 1), WHOLE_DAY), ())
        begin, end = grid.begins[number], grid.begins[number + 1]
        if begin < end:
            yield begin, end - 1, history.settled(samples, day)
            yield end - 1, end, history.settled(samples, day + DAY)  # the day is over
