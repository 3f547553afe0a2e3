"""The words and signs of the status page: levels, durations, instants, and what they say. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, LiteralString

from exporter.model.apis import APIS
from exporter.model.durations import show
from exporter.polling.status import TargetStatus, WorkspaceStatus
from exporter.web.html import NOTHING, Html, html, joined
from exporter.web.status_problems import Extent
from exporter.web.status_view import Level


@dataclass(frozen=True, slots=True)
class Sign:
    """How a level is shown: never by colour alone.

    Attributes:
        name: The class in the style sheet.
        mark: One character.
        short: What it means, after a number.
        word: What it means, in full.
    """

    name: LiteralString
    mark: LiteralString
    short: LiteralString
    word: LiteralString

    @property
    def cell(self) -> Html:
        """The mark in a cell, of which the page has one for each report; `ok` is the default."""
        if self.name == "k":
            return html("<i>{mark}</i>", mark=self.mark)
        return html('<i class="{name}">{mark}</i>', name=self.name, mark=self.mark)

    def says(self, text: object) -> Html:
        """A text in the colour of the level."""
        return html('<b class="{name}">{text}</b>', name=self.name, text=text)


SIGNS: Final[Mapping[Level, Sign]] = {
    Level.LOST: Sign("x", "✗", "without values", "without values"),
    Level.FAILING: Sign("f", "!", "failing", "failing, last values still shown"),
    Level.LATE: Sign("l", "~", "late", "late"),
    Level.WAITING: Sign("w", "·", "not polled yet", "not polled yet"),
    Level.OK: Sign("k", "✓", "ok", "ok"),
}
CELLS: Final = {level: sign.cell for level, sign in SIGNS.items()}


def dotted(facts: Iterable[Html]) -> Html:
    """The facts that there are, in one line."""
    return joined(filter(None, facts), " · ")


def linked(text: str, link: str) -> Html:
    """A link."""
    return html('<a href="{link}">{text}</a>', link=link, text=text)


def with_code(text: str) -> Html:
    """A text in which backquotes enclose code."""
    parts = text.split("`")
    return joined(
        html("<code>{part}</code>", part=part) if place % 2 else html("{part}", part=part)
        for place, part in enumerate(parts)
    )


def counted(number: int, thing: str, several: str = "") -> str:
    """A number of things, in the singular for one."""
    return f"{number:,} {thing if number == 1 else several or thing + 's'}"


def all_of(number: int) -> str:
    """A number of targets."""
    return counted(number, "bot or workspace", "bots and workspaces")


def instant(at: datetime, now: datetime) -> Html:
    """An instant, and how far off it is."""
    seconds = (at - now).total_seconds()
    off = f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"
    return html("{clock} UTC ({off})", clock=clock(at, now), off=off)


def clock(at: datetime, now: datetime) -> str:
    """An instant in UTC, without the date if that is today."""
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = show(timedelta(seconds=round(seconds)))
    return " ".join(re.findall(r"\d+[a-z]", whole)[:2])


def shown_name(workspace: WorkspaceStatus, target: TargetStatus) -> str:
    """The name of a target in the list; a workspace's own reports stand under its name."""
    return target.bot or target.bot_id or workspace.name


def api(workspace: WorkspaceStatus) -> str:
    """The title of a workspace's API."""
    return APIS[workspace.api].title if workspace.api in APIS else workspace.api


def told(levels: Sequence[Level]) -> str:
    """How many reports are at which level: the words for a row of signs."""
    counts = Counter(levels)
    said = [f"{counts[one]} {SIGNS[one].short}" for one in Level if counts[one]]
    return f"{counted(len(levels), 'report')}: {', '.join(said)}" if said else "no report"


def since(extent: Extent, now: datetime) -> Html:
    """Since when reports are not ok; empty if nobody knows."""
    if extent.since:
        return html("since {since}", since=instant(extent.since, now))
    if extent.tried:
        return html("never succeeded, tried since {since}", since=instant(extent.tried, now))
    return NOTHING


def values(extent: Extent, now: datetime) -> Html:
    """Whether the values are still on the metrics page."""
    kept, still = extent.reports - extent.lost, NOTHING
    if kept and extent.until:
        still = html(
            "{whose} last values are still on the metrics page, at least until {until}",
            whose=f"The other {kept:,} reports'" if extent.lost else "The",
            until=instant(extent.until, now),
        )
    if not extent.lost:
        return still
    if extent.lost == extent.never:
        gone = html("No values yet")
    else:
        lost = counted(extent.lost, "report")
        gone = html("Values {of}gone", of=f"of {lost} " if kept else "")
    if extent.gone:
        gone = html("{gone} since {at}", gone=gone, at=instant(extent.gone, now))
    return joined(filter(None, (SIGNS[Level.LOST].says(gone), still)), ". ")


def held_back(workspace: WorkspaceStatus, now: datetime) -> Html:
    """Whether the workspace may not send now, and until when."""
    if workspace.paused_until and workspace.paused_until > now:
        until = instant(workspace.paused_until, now)
        return html("paused until {until}", until=until)
    if not workspace.probe_at:
        return NOTHING
    when = html("at {at}", at=instant(workspace.probe_at, now))
    return html(
        "circuit breaker open, next request {when}",
        when=when if workspace.probe_at > now else "now",
    )


def retry(extent: Extent, now: datetime) -> Html:
    """When the next of the reports is polled."""
    if extent.retry is None or extent.retry <= now:
        return html("next try now")
    return html("next try in {span}", span=span((extent.retry - now).total_seconds()))
