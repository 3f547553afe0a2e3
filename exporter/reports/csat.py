"""csat: the results of a bot's customer satisfaction survey.

SeaChat Analytics API, "CSAT (Customer Satisfaction)". The list of individual responses is
deliberately not declared here: it contains comments, telephone numbers and links. `times` reads
when the responses were given, and nothing else of them.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from exporter.model.reply_values import Count, Lenient, Percent, Reply
from exporter.model.report import Form, Options, Reading, Report, Windows, single
from exporter.model.samples import Family, Sample

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


REPORT: Final = Report(
    name="csat",
    apis={
        "seachat": Form(
            windows=Windows.DATES_OR_ALL, series=8, window="last_30_days", needs_bot=True
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
