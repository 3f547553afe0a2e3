"""csat: the results of a bot's customer satisfaction survey.

SeaChat Analytics API, "CSAT (Customer Satisfaction)". The list of individual responses contains
comments, telephone numbers and links. Polling does not declare it. `times`, for `doctor`, reads
when the responses were given. `backfill` declares two fields of each response, the rating and its
time, and counts them by day; neither is kept singly.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo
from typing import Final

from pydantic import TypeAdapter, ValidationError

from exporter.errors import ReplyError
from exporter.model.history import History, Span
from exporter.model.reply_values import Count, Lenient, Percent, Period, Reply, instant
from exporter.model.report import Form, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample
from exporter.model.windows import DAY, local_day

RESPONSES: Final = Family(
    "seasalt_csat_responses", "Answers to the satisfaction survey in the window.", ("window",)
)
AVERAGE: Final = Family(
    "seasalt_csat_average_rating",
    "Mean rating of the window, on the survey's scale, usually 1 to 5; none without answers.",
    ("window",),
)
SATISFACTION: Final = Family(
    "seasalt_csat_satisfaction_ratio",
    "Share of the answers that are a 4 or a 5, from 0 to 1; none without answers.",
    ("window",),
)
RATINGS: Final = Family(
    "seasalt_csat_rating_responses", "Answers in the window, by rating.", ("window", "rating")
)

_RATINGS: Final = {
    spelling: f"{rating}"
    for rating in range(11)
    for spelling in (f"{rating}", f"{rating:02}", f"{rating}.0", f"{rating:02}.0")
}


class Csat(Reply):
    """The totals over all survey responses in the window."""

    total_responses: Count = None
    average_rating: Count = None
    satisfaction_rate: Percent = None
    rating_counts: Lenient[dict[str, Count]] = None


def samples(reply: Csat, reading: Reading[Options]) -> Iterator[Sample]:
    """The number of responses, their mean and satisfaction rate, and the number per rating."""
    if reply.total_responses is not None:
        yield RESPONSES.sample(reply.total_responses, reading.window)
    if reply.total_responses != 0:  # without responses a mean is undefined, whatever the API sends
        if reply.average_rating is not None:
            yield AVERAGE.sample(reply.average_rating, reading.window)
        if reply.satisfaction_rate is not None:
            yield SATISFACTION.sample(reply.satisfaction_rate / 100, reading.window)
    yield from reading.by_key(RATINGS, reply, "rating_counts", _RATINGS, reading.window)


def times(part: object) -> tuple[datetime, ...]:
    """When each response was given, as the API says; naive if the API names no zone."""
    shaped = single(part)
    rows = shaped.get("responses") if isinstance(shaped, dict) else None
    found: list[datetime] = []
    for row in rows if isinstance(rows, list) else ():
        given = row.get("created_at") if isinstance(row, dict) else None
        if isinstance(given, str):
            with suppress(ValueError):
                found.append(datetime.fromisoformat(given))
    return tuple(found)


class Answer(Reply):
    """One response to the survey, for `backfill` alone; nothing else of it is declared."""

    rating: Count = None
    created_at: object = None


class Answers(Csat):
    """The totals, and every response behind them."""

    responses: tuple[Answer, ...] = ()


def _by_day(part: object, days: Period, zone: tzinfo) -> Mapping[date, object]:
    """What the API would answer for each of some local days.

    A time without an offset is in UTC. A day with a rating that cannot be read has an error.

    Raises:
        ReplyError: If the day of a response cannot be read, or if they are not as many as the total
            says.
    """
    try:
        reply = Answers.model_validate(single(part) or {})
    except ValidationError:
        raise ReplyError("csat: not of the documented shape") from None
    number = (days.last - days.first).days + 1
    found = {days.first + DAY * place: Counter[str]() for place in range(number)}
    unreadable: dict[date, object] = {}
    for answer in reply.responses:
        at = instant(answer.created_at, UTC)
        rating = _RATINGS.get(f"{answer.rating}")
        day = local_day(at, zone) if at else None
        if day is None or day not in found:
            raise ReplyError("csat: a response without a readable time of the range")
        if rating is None:
            unreadable[day] = ReplyError(f"csat: a response of {day} without a readable rating")
        else:
            found[day][rating] += 1
    if reply.total_responses != len(reply.responses):
        raise ReplyError("csat: the list of responses is not complete")
    known = [_RATINGS[name] for name in reply.rating_counts or {} if name in _RATINGS]
    return {day: _part(counts, known) for day, counts in found.items()} | unreadable


def _part(counts: Counter[str], known: Iterable[str]) -> object:
    number, mean, satisfied = _totals(counts)
    return {
        "total_responses": number,
        "average_rating": mean,
        "satisfaction_rate": satisfied,
        "rating_counts": {rating: counts[rating] for rating in sorted({*known, *counts})},
    }


def _totals(counts: Mapping[str, float]) -> tuple[float, float, float]:
    """The number of responses, their mean, and the satisfied percentage, rounded like the API's."""
    number = sum(counts.values())
    ratings = sum(int(rating) * often for rating, often in counts.items())
    satisfied = sum(often for rating, often in counts.items() if int(rating) >= 4)
    least = max(number, 1)
    return number, round(ratings / least, 2), round(100 * satisfied / least, 2)


def _follows(sums: Iterable[Sample]) -> Iterator[Sample]:
    """The mean and the satisfaction rate that follow from the responses by rating."""
    counts = {sample.labels[1]: sample for sample in sums if sample.family is RATINGS}
    window = next((sample.labels[0] for sample in counts.values()), "")
    if sum(sample.value for sample in counts.values()) > 0:
        _, mean, satisfied = _totals({rating: one.value for rating, one in counts.items()})
        yield AVERAGE.sample(mean, window)
        yield SATISFACTION.sample(satisfied / 100, window)


REPORT: Final = Report(
    name="csat",
    apis={
        "seachat": Form(
            windows=Windows.DATES_OR_ALL,
            series=8,
            window="last_30_days",
            needs_bot=True,
            history=History(
                span=Span.DAYS,
                families=(RESPONSES, AVERAGE, SATISFACTION, RATINGS),
                additive=frozenset({RESPONSES, RATINGS}),
                by_day=_by_day,
                follows=_follows,
            ),
        )
    },
    options=Options,
    families=(RESPONSES, AVERAGE, SATISFACTION, RATINGS),
    shape=single,
    reply=TypeAdapter(Csat),
    samples=samples,
    optional=lambda reply: (
        frozenset()
        if reply.total_responses
        else {"average_rating", "satisfaction_rate", "rating_counts"}
    ),
)
