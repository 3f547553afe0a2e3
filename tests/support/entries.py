"""Reports as an operator wants them, the documents' samples, and what a report makes of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from exporter.model.entry import Entry
from exporter.model.samples import Sample
from exporter.reports.catalogue import of_api

DATA: Final = Path(__file__).parent.parent / "data"

JANUARY: Final = datetime(2024, 1, 31, 12, tzinfo=UTC)
FEBRUARY: Final = datetime(2024, 2, 29, 12, tzinfo=UTC)
JUNE: Final = datetime(2024, 6, 3, 12, tzinfo=UTC)


def entry(api: str, metric: str, zone: str = "UTC", **options: object) -> Entry:
    """The entry that an item of `metrics:` leads to, its defaults filled in."""
    report, form = of_api(api)[metric]
    given = {"metric": metric, "window": form.window or None} | options
    wanted = report.options.model_validate(given)
    return Entry(
        report=report,
        form=form,
        options=wanted,
        name=wanted.name or report.default_name(wanted),
        interval=wanted.interval or report.interval or timedelta(minutes=10),
        scope=wanted.scope or "workspace",
        zone=ZoneInfo(zone),
    )


@dataclass(frozen=True)
class Read:
    """What a report made of its part of an answer.

    Attributes:
        samples: As they came.
        drift: What was counted as drift, by field.
    """

    samples: tuple[Sample, ...]
    drift: Mapping[str, int]

    @property
    def series(self) -> dict[str, float]:
        """The values by series, without the prefix and the window that all have in common."""
        return {series(sample): sample.value for sample in self.samples}


def series(sample: Sample) -> str:
    """A sample's series as PromQL writes it, without the common prefix and the window."""
    pairs = zip(sample.family.labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{value}"' for name, value in pairs if value and name != "window")
    name = sample.family.name.removeprefix("seasalt_")
    return f"{name}{{{labels}}}" if labels else name


def read(
    api: str,
    metric: str,
    part: object,
    at: datetime = JANUARY,
    zone: str = "UTC",
    **options: object,
) -> Read:
    """What the entry makes of a part of an answer to a request sent at an instant."""
    return read_as(entry(api, metric, zone, **options), part, at)


def read_as(wanted: Entry, part: object, at: datetime) -> Read:
    """What an entry makes of a part of an answer to a request sent at an instant."""
    reading = wanted.reading(at)
    samples = wanted.report.read(part, reading)
    return Read(samples, dict(reading.drift))


@dataclass(frozen=True)
class Documented:
    """A sample reply of the documents, and the request that it answers.

    Attributes:
        api: Whose document it is in.
        metric: The API's own word.
        at: When it could have been asked.
        zone: The time zone of the request.
        bot: Whether it is asked for one bot.
        options: The item of `metrics:`.
    """

    api: str
    metric: str
    at: datetime = JANUARY
    zone: str = "UTC"
    bot: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Its name in a test's id."""
        return f"{self.api}-{self.metric}"

    @property
    def known(self) -> bool:
        """Whether there is a report that reads it."""
        return self.metric in of_api(self.api)

    @property
    def entry(self) -> Entry:
        """What leads to the request."""
        return entry(self.api, self.metric, self.zone, **self.options)

    @property
    def reply(self) -> Any:  # noqa: ANN401 - JSON
        """The whole answer."""
        path = DATA / "replies" / self.api / f"{self.metric}.json"
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def part(self) -> Any:  # noqa: ANN401 - JSON
        """What the answer says of the metric."""
        reply = self.reply
        return reply.get(self.metric, reply)


_LOS_ANGELES: Final = "America/Los_Angeles"
_MONTH: Final = {"window": "this_month"}
_TWO_MONTHS: Final = {"window": "last_60_days", "time_unit": "month"}
_MAY_TO_JUNE_1: Final = {"window": "last_32_days", "time_unit": "month"}
_THREE_DAYS: Final = {"window": "last_3_days"}
_JUNE_1: Final = datetime(2024, 6, 1, 12, tzinfo=UTC)

_LISTED: Final = (
    Documented(
        "seachat",
        "conversation_overview",
        zone=_LOS_ANGELES,
        options={"window": "last_30_days", "exclude_empty_response": True},
    ),
    Documented("seachat", "conversation_overview_yearly", options={"year": "2024"}),
    Documented("seachat", "conversation_breakdown", options=_MONTH),
    Documented("seachat", "label_overview"),
    Documented("seachat", "communication_volume", options=_MONTH),
    Documented("seachat", "activity_trend", options=_MONTH),
    Documented(
        "seachat",
        "label_usage",
        at=FEBRUARY,
        options={**_TWO_MONTHS, "labels": ["support", "sales", "billing"]},
    ),
    Documented("seachat", "total_usage", options=_MONTH),
    Documented(
        "seachat",
        "label_relation",
        bot=True,
        options={**_MONTH, "labels": ["customer service", "solved"]},
    ),
    Documented("seachat", "csat", zone=_LOS_ANGELES, bot=True, options=_MONTH),
    Documented("portal", "today_communication_volume", at=JUNE),
    Documented("portal", "activity_trend", at=JUNE, options=_THREE_DAYS),
    Documented(
        "portal",
        "label_usage",
        at=_JUNE_1,
        options={**_MAY_TO_JUNE_1, "labels": ["sales", "support"]},
    ),
    Documented("portal", "total_usage", at=JUNE, options=_THREE_DAYS),
    Documented(
        "portal",
        "conversation_overview",
        at=_JUNE_1,
        options={**_MAY_TO_JUNE_1, "handling_status": "RESOLVED"},
    ),
    Documented("portal", "conversation_overview_yearly", at=JUNE, options={"year": "2025"}),
    Documented("portal", "conversation_breakdown", at=JUNE, options=_THREE_DAYS),
    Documented("seax", "conversation_overview", options={"window": "last_30_days"}),
    Documented("seax", "conversation_overview_yearly", options={"year": "2024"}),
    Documented("seax", "conversation_breakdown", options=_MONTH),
    Documented("seax", "label_overview"),
    Documented("seax", "communication_volume", options=_MONTH),
    Documented("seax", "activity_trend", at=FEBRUARY, options=_TWO_MONTHS),
    Documented("seax", "label_usage", options=_MONTH | {"labels": ["support", "sales"]}),
    Documented("seax", "total_usage", options=_MONTH),
    Documented("seax", "agent_activity", options=_MONTH),
)
"""Every sample of the documents, in their order, with windows that hold its rows."""

DOCUMENTED: Final = (
    *_LISTED,
    *(
        Documented(path.parent.name, path.stem)
        for path in sorted((DATA / "replies").glob("*/*.json"))
        if (path.parent.name, path.stem) not in {(one.api, one.metric) for one in _LISTED}
        and path.stem != "several"
    ),
)
"""Every sample: those above with what they were an answer to, the others as asked by default."""

KNOWN: Final = tuple(sample for sample in DOCUMENTED if sample.known)
"""Those that a report reads."""
