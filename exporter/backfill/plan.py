"""The fewest requests that bring the past of all configured reports. Pure.

The requests come in four parts:

- A: reports with a row for each day, up to 90 days in one request;
- B: reports that answer for a window as a whole, one request for each day;
- C: reports of a year, one request for each year;
- D: for the alerts on what is usual, the reports on `today` at each office hour of the last days.

Entries that differ only in their window ask the same question, because the values of all windows
follow from those of single days. Questions share requests as in `polling.plan`.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from hashlib import blake2b
from typing import Final, Literal

from exporter.config import Bot, Workspace
from exporter.model.apis import Api
from exporter.model.entry import Entry
from exporter.model.history import MOST_DAYS, History, Span
from exporter.model.reply_values import Period
from exporter.model.report import ABSENT, Edge, Windows
from exporter.model.targets import Target
from exporter.model.windows import ALL, DAY, TODAY
from exporter.polling.plan import group, merged, target

Part = Literal["A", "B", "C", "D"]

PARTS: Final[dict[Part, str]] = {
    "A": "rows of days, up to 90 days a request",
    "C": "years",
    "D": "today at each office hour, for the alerts on what is usual",
    "B": "totals of single days",
}
"""What the parts bring, in the order in which they are requested: the most for the least first."""

OFFICE_HOURS: Final = range(9, 19)
"""The local hours at which part D asks; the alerts on what is usual begin in office hours."""

WHOLE_DAY: Final = 24
"""The hour at which the values of a whole day are known."""


@dataclass(frozen=True, slots=True)
class Range:
    """The local days to rebuild, both inclusive; all of them are over.

    Attributes:
        first: The first day.
        last: The last day.
        intraday: For how many of the last days part D asks.
    """

    first: date
    last: date
    intraday: int = 0

    @property
    def days(self) -> Iterator[date]:
        """Every day, in order."""
        return _days(self.first, self.last)


@dataclass(frozen=True, slots=True)
class Request:
    """One request for the past.

    Attributes:
        part: What it is part of.
        api: The API's dialect.
        target: The workspace or bot.
        asked: The questions, as entries without a window of their own.
        days: The local days that it asks about; for a year, all of the year's.
        hour: The local hour up to which it asks, of a single day; `WHOLE_DAY` for whole days.
        since: An answer from before this local day does not have everything yet.
    """

    part: Part
    api: Api
    target: Target
    asked: tuple[Entry, ...]
    days: Period
    hour: int = WHOLE_DAY
    since: date = date.min

    def missing(self, known: Callable[[Entry], Collection[date]]) -> "Request | None":
        """The part of the request that is not known yet; None if all of it is.

        Args:
            known: The days of the request that are known of a question; of a year, its first.
        """
        days = [self.days.first] if self.part == "C" else [*_days(*self.days)]
        gaps = {entry: [day for day in days if day not in known(entry)] for entry in self.asked}
        asked = tuple(entry for entry, unknown in gaps.items() if unknown)
        if not asked:
            return None
        if self.part != "A":
            return replace(self, asked=asked)
        first = min(gaps[entry][0] for entry in asked)
        last = max(gaps[entry][-1] for entry in asked)
        return replace(self, asked=asked, days=Period(first, last))

    def body(self, asked: Iterable[Entry] | None = None) -> dict[str, object]:
        """The request's body, for some of its questions; by default, for all."""
        entries = self.asked if asked is None else tuple(asked)
        fields: dict[str, object] = {}
        for name, value in merged(entries).items():
            if isinstance(value, Edge):
                end = f"{self.hour - 1:02}:59:59"
                day, time = (
                    (self.days.first, "00:00:00")
                    if value.kind == "first"
                    else (self.days.last, end)
                )
                fields[name] = f"{day.isoformat()}T{time}"
            elif value is not ABSENT:
                fields[name] = value
        if self.target.bot_id:
            fields["gptbot_id"] = self.target.bot_id
        return self.api.body([entry.metric for entry in entries], fields)


def account(workspace: Workspace) -> str:
    """A digest of what tells one account's answers from another's.

    The key is no part of it: it may be replaced, and nothing about it is to be kept.
    """
    url = workspace.base_url or workspace.dialect.base_url
    place = [workspace.api, workspace.name, url, workspace.workspace_id]
    return blake2b(json.dumps(place).encode(), digest_size=16).hexdigest()


def history_of(entry: Entry) -> History | None:
    """How the entry's past is rebuilt; None if it cannot be."""
    history, window = entry.form.history, entry.options.window
    if history is None or history.span is Span.YEAR:
        return history
    if window is None or window == ALL or (window.longest > 1 and not history.additive):
        return None
    return history


def left_out(workspace: Workspace) -> Iterator[str]:
    """What of the workspace's reports cannot be rebuilt, one line each."""
    for entry in workspace.entries:
        named = " ".join(filter(None, (entry.name, entry.window)))
        form = entry.form.history
        if history_of(entry) is None:
            yield f"{named} cannot be rebuilt: {_why_not(entry)}"
        elif form and form.left_out:
            yield f"{named}: without {form.left_out}"


def _why_not(entry: Entry) -> str:
    window, form = entry.options.window, entry.form
    if form.windows is Windows.RANGES:
        return "the API's own ranges end now"
    if form.windows is Windows.TODAY:
        return "the API answers for today alone"
    if form.windows is Windows.NONE or window == ALL:
        return "the API answers for all time up to now"
    return "its values over several days are no sums of days"


def question(entry: Entry, year: str = "") -> Entry:
    """What is asked for an entry: its options without those that only single days do not need."""
    changes: dict[str, object] = dict.fromkeys(("name", "interval", "scope"))
    if entry.options.window is not None:
        changes["window"] = TODAY
    if "time_unit" in type(entry.options).model_fields:
        changes["time_unit"] = "day"
    if year:
        changes["year"] = year
    options = entry.options.model_copy(update=changes)
    return replace(entry, options=options, name=entry.report.name, interval=DAY)


@dataclass(frozen=True)
class Plan:
    """All requests for the past of one workspace.

    Attributes:
        workspace: The workspace.
        bots: Its bots.
        range: The days to rebuild.
        as_a_whole: Whether the reports about the workspace as a whole are rebuilt too.
    """

    workspace: Workspace
    bots: tuple[Bot, ...]
    range: Range
    as_a_whole: bool = True

    @cached_property
    def account(self) -> str:
        """A digest of what tells one account's answers from another's."""
        return account(self.workspace)

    @cached_property
    def targets(self) -> tuple[tuple[Target, str], ...]:
        """The workspace and its bots, each with the scope of its entries."""
        bots = [(target(self.workspace, bot), "bots") for bot in self.bots]
        whole = [(target(self.workspace), "workspace")] if self.as_a_whole else []
        return (*whole, *bots)

    def entries(self, scope: str) -> Iterator[tuple[Entry, History]]:
        """The entries of a scope whose past can be rebuilt, in the order of the configuration."""
        for entry in self.workspace.entries:
            history = history_of(entry)
            if entry.scope == scope and history:
                yield entry, history

    def requests(self) -> Iterator[Request]:
        """Every request, the cheapest part first; each part bot by bot."""
        for part in PARTS:
            yield from self.part(part)

    def part(self, part: Part) -> Iterator[Request]:
        """Every request of one part, bot by bot."""
        for one, scope in self.targets:
            for asked in self._groups(part, scope):
                for days, hour in self._spans(part, scope, asked):
                    since = self._settled(days) if part == "C" else date.min
                    yield Request(part, self.workspace.dialect, one, asked, days, hour, since)

    def questions(self, scope: str, span: Span) -> tuple[Entry, ...]:
        """The distinct questions of one span to each target of a scope."""
        found: dict[str, Entry] = {}
        for entry, history in self.entries(scope):
            if history.span is span:
                years = {history.year(entry.options, day) for day in (self.range.days)}
                for year in sorted(years) if span is Span.YEAR else ("",):
                    asked = question(entry, year)
                    found.setdefault(asked.question, asked)
        return tuple(found.values())

    def shows_empty_days(self, scope: str) -> bool:
        """Whether part A sees everything that part B counts, so that it shows days without it."""
        asked = self.questions(scope, Span.DAYS)
        histories = [(entry, entry.form.history) for entry in asked]
        kinds = {history.counts(entry.options) for entry, history in histories if history}
        return {"messages", "calls"} <= kinds

    def _groups(self, part: Part, scope: str) -> tuple[tuple[Entry, ...], ...]:
        if part == "D":
            return self._usual(scope) if self.range.intraday else ()
        span = {"A": Span.DAYS, "B": Span.DAY, "C": Span.YEAR}[part]
        return group(self.questions(scope, span), many=self.workspace.dialect.many)

    def _usual(self, scope: str) -> tuple[tuple[Entry, ...], ...]:
        """The groups of questions on `today` of which the alerts on what is usual read one."""
        found: dict[str, Entry] = {}
        for entry, history in self.entries(scope):
            by_hour = not history.whole_days.issuperset(history.families)
            if entry.options.window == TODAY and history.span is not Span.YEAR and by_hour:
                found.setdefault(question(entry).question, question(entry))
        groups = group(found.values(), many=self.workspace.dialect.many)
        return tuple(one for one in groups if any(map(_is_usual, one)))

    def _spans(
        self, part: Part, scope: str, asked: tuple[Entry, ...]
    ) -> Iterator[tuple[Period, int]]:
        """The days and the hour of each request of a group."""
        if part == "A":
            for days in self._chunks(scope):
                yield days, WHOLE_DAY
        elif part == "B":
            for day in self.range.days:
                yield Period(day, day), WHOLE_DAY
        elif part == "C":
            year = int(getattr(asked[0].options, "year"))  # noqa: B009 - only some options have it
            yield Period(date(year, 1, 1), date(year, 12, 31)), WHOLE_DAY
        else:
            for day in self.usual_days:
                for hour in OFFICE_HOURS:
                    yield Period(day, day), hour

    def _settled(self, year: Period) -> date:
        """The day on which the months of a year are over that the range has whole."""
        after = min(self.range.last, year.last) + DAY
        return after.replace(day=1)

    @property
    def usual_days(self) -> Iterator[date]:
        """The days of part D."""
        first = self.range.last - DAY * (self.range.intraday - 1)
        return _days(max(self.range.first, first), self.range.last)

    def _chunks(self, scope: str) -> Iterator[Period]:
        """The range in pieces of at most 90 days, the latest first.

        Windows of several days need days before the range. The earliest piece has them as far as
        they cost no request more.
        """
        before = self.range.first - DAY
        windows = [
            entry.options.window
            for entry, history in self.entries(scope)
            if history.span is Span.DAYS and entry.options.window
        ]
        needed = min((window.days(before).first for window in windows), default=before)
        last = self.range.last
        while last >= self.range.first:
            first = last - DAY * (MOST_DAYS - 1)
            if first <= self.range.first:
                first = max(first, min(needed, self.range.first))
            yield Period(first, last)
            last = first - DAY


def _is_usual(entry: Entry) -> bool:
    history = entry.form.history
    return history is not None and history.usual(entry.options)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + DAY * number for number in range((last - first).days + 1))
