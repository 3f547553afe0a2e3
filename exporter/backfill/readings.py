"""From an answer to the samples of single days. Pure.

A reading is what one question brought for one local day: its samples, without a window, as the
report's own code makes them when it is polled. Nothing else of an answer is kept.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from exporter.backfill.plan import WHOLE_DAY, Request
from exporter.errors import ReplyError
from exporter.model.entry import Entry
from exporter.model.history import Span
from exporter.model.reply_values import Period
from exporter.model.report import Reading as Context
from exporter.model.samples import Family, Sample
from exporter.model.windows import DAY, local_day
from exporter.reports.catalogue import REPORTS

_FAMILIES: Final = {family.name: family for report in REPORTS for family in report.families}


class Reading(NamedTuple):
    """What one question brought for one day.

    Attributes:
        question: The fingerprint of the question, see `Entry.question`.
        bot_id: The bot; empty for the workspace.
        day: The local day; for a year, its first.
        hour: The hour up to which it counts.
        asked: The local day on which it was asked.
        samples: The samples, with NaN for values that cannot be read.
    """

    question: str
    bot_id: str
    day: date
    hour: int
    asked: date
    samples: tuple[Sample, ...]


def readings(
    request: Request, answer: object, sent: datetime
) -> tuple[tuple[Reading, ...], tuple[ReplyError, ...]]:
    """The readings in the answer to a request, one for each question and day.

    A question whose part of the answer is missing or cannot be read has no readings but an error;
    so has a day of which alone that is true.
    """
    found: list[Reading] = []
    errors: list[ReplyError] = []
    for entry in request.asked:
        try:
            days = [*_days(request, entry, answer, sent)]
        except ReplyError as error:
            errors.append(error)
            continue
        for day, samples in days:
            if isinstance(samples, ReplyError):
                errors.append(samples)
            else:
                found.append(_reading(request, entry, day, sent, samples))
    return tuple(found), tuple(errors)


def nothing(request: Request, at: datetime) -> tuple[Reading, ...]:
    """The readings of a request that need not be sent, because there is nothing to count."""
    return tuple(_reading(request, entry, request.days.first, at, ()) for entry in request.asked)


def _reading(
    request: Request, entry: Entry, day: date, at: datetime, samples: tuple[Sample, ...]
) -> Reading:
    asked = local_day(at, entry.zone)
    return Reading(entry.question, request.target.bot_id, day, request.hour, asked, samples)


def _days(
    request: Request, entry: Entry, answer: object, sent: datetime
) -> Iterable[tuple[date, tuple[Sample, ...] | ReplyError]]:
    history = entry.form.history
    if history is None:
        raise TypeError(f"{entry.report.name} has no history")
    part = request.api.part(answer, entry.metric)
    if history.span is not Span.DAYS:
        day = request.days.first
        samples = _samples(request, entry, part, day, sent)
        if history.span is Span.YEAR:
            # What is not over yet would later look as if it were.
            samples = tuple(history.settled(samples, local_day(sent, entry.zone)))
        yield day, samples
        return
    if not isinstance(part, dict | list):
        raise ReplyError(f"{entry.report.name}: not of the documented shape")
    by_day = history.by_day(part, request.days, entry.zone)
    day = request.days.first
    while day <= request.days.last:
        of_day = by_day.get(day)
        if of_day is None or isinstance(of_day, ReplyError):
            yield day, of_day or ()
        else:
            yield day, _samples(request, entry, of_day, day, sent)
        day += DAY


def _samples(
    request: Request, entry: Entry, part: object, day: date, sent: datetime
) -> tuple[Sample, ...]:
    history = entry.form.history
    families = set(history.families) if history else set()
    if history and request.hour != WHOLE_DAY:
        families -= history.whole_days
    context = Context(entry.options, "", Period(day, day), entry.zone, sent)
    given = entry.report.values(part, context)
    if not given and context.drift.unread:
        raise ReplyError(f"{entry.report.name}: nothing in it can be read")
    return tuple(sample for sample in given if sample.family in families)


def encoded(samples: Iterable[Sample]) -> str:
    """The samples as text for the journal."""
    return json.dumps([[family.name, labels, value] for family, labels, value in samples])


def decoded(text: str) -> Sequence[Sample]:
    """The samples from the journal.

    Raises:
        ValueError: If the text was not made by `encoded` of this version.
    """
    try:
        return [
            Sample(_known(name), tuple(labels), float(value))
            for name, labels, value in json.loads(text)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("not a reading") from error


def _known(name: str) -> Family:
    return _FAMILIES[name]
