"""A configured report: one item of `metrics:` with every default filled in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal
from zoneinfo import ZoneInfo

from exporter.model.reply_values import Fields
from exporter.model.report import (
    ABSENT,
    AnyReport,
    Edge,
    Field_,
    Form,
    Options,
    Reading,
    Windows,
)
from exporter.model.windows import ALL, begins, local_day


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One configured report: an item of `metrics:` with its defaults filled in.

    Attributes:
        report: The report to request.
        form: How this entry's API supports the report.
        options: The options as written, with the window in force.
        name: The value of the label `report`.
        interval: The polling interval.
        scope: `bots` or `workspace`.
        zone: The workspace's time zone; the API gets its IANA name.
    """

    report: AnyReport
    form: Form
    options: Options
    name: str
    interval: timedelta
    scope: Literal["bots", "workspace"]
    zone: ZoneInfo

    @property
    def metric(self) -> str:
        """The entry's API's name for the report."""
        return self.form.metric or self.report.name

    @cached_property
    def window(self) -> str:
        """The value of the label `window`: the configured name, empty if there is no window."""
        return self.options.window.name if self.options.window else ""

    @cached_property
    def question(self) -> str:
        """A fingerprint of what gives the values their meaning: report, labels, time zone, options.

        Values with another fingerprint are discarded after a reload or a restart, and asked for
        again at once. The labels are part of it because a kept value has its label values by their
        order: after an upgrade that adds a label, it would be missing until the next poll. A
        four-byte digest is enough to tell two questions apart, and too short to reveal the names in
        the options.
        """
        options = self.options.model_dump_json(exclude={"name", "interval", "scope"})
        labels = [(family.name, *family.labels) for family in self.report.families]
        asked = f"{self.report.name}\n{labels}\n{self.zone.key}\n{options}"
        return blake2b(asked.encode(), digest_size=4).hexdigest()

    @cached_property
    def fields(self) -> Mapping[str, Field_]:
        """Every request field that the entry sets, by SeaChat's spelling."""
        found: dict[str, Field_] = {}
        if self.form.zoned:
            found["timezone"] = self.zone.key
        wanted = self.options.window
        if self.form.windows is Windows.RANGES and wanted:
            # The documents do not say which of the two wins: never send a range with dates.
            found |= {"range_type": wanted.name, "start_date": ABSENT, "end_date": ABSENT}
        elif self.form.windows in {Windows.DATES, Windows.DATES_OR_ALL} and wanted:
            found["start_date"] = Edge(wanted, "first") if self._dated else ABSENT
            found["end_date"] = Edge(wanted, "last") if self._dated else ABSENT
        for option in self.form.options:
            value = getattr(self.options, option)
            found[option] = ABSENT if value is None else value
        found.update(self.report.fields(self.options))
        return found

    @cached_property
    def _dated(self) -> bool:
        """Whether its requests carry a start and an end date."""
        dates = self.form.windows in {Windows.DATES, Windows.DATES_OR_ALL}
        return dates and self.options.window not in {None, ALL}

    def reading(self, at: datetime, before: Fields = ()) -> Reading[Any]:
        """The context in which to read the response to a request sent at an instant."""
        days = self.options.window.days(local_day(at, self.zone)) if self._dated else None  # type: ignore[union-attr]  # dated: there is a window
        return Reading(self.options, self.window, days, self.zone, at, before=before)

    def withdrawn(self, at: datetime) -> datetime | None:
        """When the window of values requested at an instant moves on; None if it never does."""
        stands_for = self.report.window(self.options)
        day = stands_for.moves_on(local_day(at, self.zone)) if stands_for else None
        return begins(day, self.zone) if day else None

    def since(self, at: datetime) -> datetime | None:
        """When the window last moved on before an instant of a request; None if it never does."""
        stands_for = self.report.window(self.options)
        day = stands_for.moved_on(local_day(at, self.zone)) if stands_for else None
        return begins(day, self.zone) if day else None
