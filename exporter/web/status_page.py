"""The status as one HTML page without scripts or external resources, for any screen. Pure.

The page answers the questions of somebody on call in their order. What is wrong, since when, whose
side is it on, are the values still there, what is to be done? Then each workspace, then each bot with
a sign for each of its reports. Everything leads to a view of its own, see `View`.

One pass over the reports counts them and gathers the problems (`Survey`). Whatever the number of
bots, a page shows some hundreds of rows at most (`status_sections`).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from exporter.model.apis import APIS
from exporter.polling.status import ReportState, Rest, Status, TargetStatus, WorkspaceStatus
from exporter.web import status_words as words
from exporter.web.html import NOTHING, Html, html, joined
from exporter.web.status_problems import ADVICE
from exporter.web.status_sections import (
    problems_section,
    reports_table,
    targets_section,
    workspaces_section,
)
from exporter.web.status_style import STYLE
from exporter.web.status_survey import Survey, survey
from exporter.web.status_view import STATES, Level, Links, View
from exporter.web.status_words import CELLS, SIGNS

_REFRESHES: Final = (30, 300)


def page(status: Status, view: View, links: Links, rest: Rest = lambda: None) -> Iterator[Html]:
    """The page in parts; calls `rest` regularly."""
    found = survey(status, view, rest)
    title = _title(found, view)
    yield html('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">')
    yield html('<meta name="viewport" content="width=device-width,initial-scale=1">')
    if view.refresh:
        yield html('<meta http-equiv="refresh" content="{seconds}">', seconds=view.refresh)
    yield html("<title>{title} · seasalt-exporter</title>", title=title)
    yield html("<style>{style}</style></head><body>", style=STYLE)
    yield from _header(status, view, links)
    yield html("<main>")
    yield from _trail(view)
    yield html("<h1>{title}</h1>", title=title)
    if not view.bot:
        yield from _filters(found, view)
    if view.filters:
        yield from _filtered(found, view, links, status.at)
    elif view.bot:
        yield from _one_target(found, view, links, status.at)
    elif view.workspace:
        yield from _one_workspace(found, view, links, status.at)
    else:
        yield from _everything(found, view, links, status.at)
    yield html("</main></body></html>")


def _title(found: Survey, view: View) -> str:
    """The heading: the name of what is shown, or else how things stand."""
    if view.filters:
        return f"{len(found.rows):,} of {words.all_of(found.number)}"
    if view.bot or view.workspace:
        if not found.reports:
            return "Not polled here"
        names = [words.shown_name(*row) for row in found.rows]
        return names[0] if view.bot and names else view.workspace
    wrong = [one for one in found.problems if one.kind != ReportState.WAITING]
    if wrong:
        return words.counted(len(wrong), "problem")
    waiting = found.count(Level.WAITING)
    if waiting:
        return f"Starting: {words.counted(waiting, 'report')} not polled yet"
    return "Everything is up to date" if found.number else "Nothing is polled"


def _header(status: Status, view: View, links: Links) -> Iterator[Html]:
    home = View(refresh=view.refresh).link
    yield html(
        '<header><p><a href="{home}"><b>seasalt-exporter</b></a> <small>{version}</small></p>'
        '<nav aria-label="Elsewhere"><a href="{metrics}">Metrics</a><a href="{api}">JSON</a>',
        home=home,
        version=status.version,
        metrics=links.metrics,
        api=links.api,
    )
    if links.grafana:
        yield html('<a href="{url}" rel="noreferrer">Grafana</a>', url=links.grafana)
    yield html(
        "</nav><p>As of {at} UTC · Refresh: {choices}</p></header>",
        at=f"{status.at:%Y-%m-%d %H:%M:%S}",
        choices=joined(_refreshes(view), " · "),
    )


def _refreshes(view: View) -> Iterator[Html]:
    for seconds in sorted({0, *_REFRESHES, view.refresh}):
        text = f"every {words.span(seconds)}" if seconds else "off"
        if seconds == view.refresh:
            yield html("<b>{text}</b>", text=text)
        else:
            yield words.linked(text, view.refreshed(seconds))


def _trail(view: View) -> Iterator[Html]:
    """The way back from a view."""
    if not (view.filters or view.workspace):
        return
    yield html('<nav aria-label="Back">{all}', all=words.linked("Everything", view.at()))
    if view.workspace and (view.bot or view.filters):
        yield words.linked(view.workspace, view.at(workspace=view.workspace))
    yield html("</nav>")


def _everything(found: Survey, view: View, links: Links, now: datetime) -> Iterator[Html]:
    yield from problems_section(found.problems, view, links, now)
    yield from workspaces_section(found.reports, view, now)
    yield from targets_section(found, view, now)


def _one_workspace(found: Survey, view: View, links: Links, now: datetime) -> Iterator[Html]:
    if not found.reports:
        yield html("<p>The configuration has no workspace of this name.</p>")
        return
    ((workspace, _),) = found.reports
    yield _more(view, links, workspace)
    yield from problems_section(found.problems, view, links, now)
    yield from workspaces_section(found.reports, view, now)
    own = [target for _, target in found.rows if not target.bot_id]
    for target in own:
        yield html("<h2>Reports of the whole workspace</h2>")
        yield from reports_table(target, workspace, now)
    found.rows = [row for row in found.rows if row[1].bot_id]
    if found.rows:
        yield from targets_section(found, view, now)


def _one_target(found: Survey, view: View, links: Links, now: datetime) -> Iterator[Html]:
    if not found.rows:
        yield html("<p>No workspace here has a bot with this id.</p>")
    for workspace, target in found.rows:
        yield _more(view, links, workspace, target)
    yield from problems_section(found.problems, view, links, now)
    for workspace, target in found.rows:
        yield html("<h2>Reports</h2>")
        yield from reports_table(target, workspace, now)


def _filtered(found: Survey, view: View, links: Links, now: datetime) -> Iterator[Html]:
    told = [
        *([f"state: {SIGNS[STATES[view.state]].word}"] if view.state else []),
        *([f"cause: {ADVICE[view.cause].short}"] if view.cause else []),
        *([f"API: {APIS[view.api].title}"] if view.api else []),
        *([f"search: “{view.q}”"] if view.q else []),
        *([f"workspace: {view.workspace}"] if view.workspace else []),
    ]
    yield html("<p>{told}</p>", told=", ".join(told))
    if view.cause:
        yield from problems_section(found.problems, view, links, now)
    yield from targets_section(found, view, now)


def _more(
    view: View, links: Links, workspace: WorkspaceStatus, target: TargetStatus | None = None
) -> Html:
    """What a workspace or a bot is, and the way to its dashboard."""
    facts = [html("{api}", api=words.api(workspace))]
    if target:
        here = words.linked(workspace.name, view.at(workspace=workspace.name))
        facts = [
            html("<code>{bot_id}</code>", bot_id=target.bot_id),
            html("bot of {here}", here=here),
            *facts,
        ]
    facts.append(html("days begin in {zone}", zone=workspace.timezone))
    if links.grafana:
        url = links.dashboard(workspace.name, target.bot_id if target else "")
        facts.append(html('<a href="{url}" rel="noreferrer">Dashboard</a>', url=url))
    return html("<p>{facts}</p>", facts=words.dotted(facts))


def _filters(found: Survey, view: View) -> Iterator[Html]:
    """How many targets are how bad, each number as a link to them."""
    choices = {"": (NOTHING, words.all_of(found.number))} | {
        state: (CELLS[here], f"{found.targets[here]:,} {SIGNS[here].short}")
        for state, here in STATES.items()
        if found.targets[here]
    }
    yield html('<nav aria-label="Filter by state">')
    for state, (cell, text) in choices.items():
        if state == view.state and not (view.cause or view.api or view.q):
            yield html("<b>{cell}{text}</b>", cell=cell, text=text)
        else:
            link = words.linked(text, view.at(workspace=view.workspace, state=state))
            yield html("<span>{cell}{link}</span>", cell=cell, link=link)
    yield html("</nav>")
