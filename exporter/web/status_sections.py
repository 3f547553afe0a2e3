"""The sections of the status page: problems, workspaces, targets, and one target's reports. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from exporter.errors import Cause
from exporter.polling.status import ReportState, ReportStatus, TargetStatus, WorkspaceStatus
from exporter.web import status_words as words
from exporter.web.html import NOTHING, Html, html, joined
from exporter.web.status_problems import ADVICE, HELD, NAMED, Extent, Hit, Problem
from exporter.web.status_survey import Survey
from exporter.web.status_view import Level, Links, View, kind, level
from exporter.web.status_words import CELLS, SIGNS

MANY: Final = 20
"""The page has a search box from this number of targets on."""

SHOWN: Final = 200
"""Targets on one page of the list."""

WORKSPACES: Final = 100
"""Workspaces in the table; those in the worst state come first."""

HITS: Final = 10
"""Workspaces that a problem names; those with the most lost values come first."""


# What is wrong.


def problems_section(
    problems: Sequence[Problem], view: View, links: Links, now: datetime
) -> Iterator[Html]:
    """What is wrong: a card for each problem."""
    if not problems:
        return
    yield html("<h2>What needs a look</h2>")
    for problem in problems:
        yield from _problem(problem, view, links, now)


def _problem(problem: Problem, view: View, links: Links, now: datetime) -> Iterator[Html]:
    sign, whole = SIGNS[problem.level], problem.extent
    hits = sorted(problem.hits.values(), key=lambda hit: (-hit.lost, -hit.reports))
    yield html(
        '<article class="{name}"><h3>{cell}{title} <span class="y">{whose}</span></h3><div><p>',
        name=sign.name,
        cell=CELLS[problem.level],
        title=problem.title,
        whose=problem.advice.whose,
    )
    waiting, spent = problem.kind == ReportState.WAITING, problem.kind == Cause.BUDGET_SPENT
    held = (
        words.held_back(hits[0].workspace, now)
        if len(hits) == 1 and problem.kind in HELD
        else NOTHING
    )
    facts = (
        _how_many(problem, hits, view),
        words.since(whole, now),
        held,
        NOTHING if waiting or held or spent else words.retry(whole, now),
    )
    yield html("{facts}</p>", facts=words.dotted(facts))
    if values := NOTHING if waiting else words.values(whole, now):
        yield html("<p>{values}</p>", values=values)
    yield from _errors(problem)
    if len(hits) > 1:
        yield html("<ul>")
        for hit in hits[:HITS]:
            yield _hit(problem, hit, view, now)
        if len(hits) > HITS:
            yield html("<li>{more} more workspaces</li>", more=f"{len(hits) - HITS:,}")
        yield html("</ul>")
    yield html(
        "</div><p><b>To do:</b> {text}{load}{runbook}</p></article>",
        text=words.with_code(problem.to_do),
        load=_load(problem),
        runbook=_runbook(problem.advice.runbook, links),
    )


def _runbook(name: str, links: Links) -> Html:
    if name and links.runbooks:
        return html(
            ' Runbook: <a href="{url}/{name}.md" rel="noreferrer">{name}</a>',
            url=links.runbooks,
            name=name,
        )
    return html(" Runbook: {name}", name=name) if name else NOTHING


def _how_many(problem: Problem, hits: Sequence[Hit], view: View) -> Html:
    """How many reports of whom, as a link to these bots and workspaces."""
    reports = words.counted(sum(hit.reports for hit in hits), "report")
    if len(hits) == 1:
        return html("{reports} of {whom}", reports=reports, whom=_whom(problem, hits[0], view))
    bots, whole = sum(hit.bots for hit in hits), sum(hit.whole for hit in hits)
    told = [words.counted(bots, "bot")] if bots else []
    told += [words.counted(whole, "whole workspace")] if whole else []
    link = view.at(cause=problem.kind, api=problem.api)
    return html(
        "{reports} of {whom}{spread}",
        reports=reports,
        whom=words.linked(" and ".join(told), link),
        spread=f" in {len(hits):,} workspaces" if bots else "",
    )


def _whom(problem: Problem, hit: Hit, view: View) -> Html:
    """Whom a problem hits in a workspace: bots by name if they are few, else their number."""
    name = hit.workspace.name
    here = words.linked(name, view.at(workspace=name))
    if hit.bots > len(hit.named):
        link = view.at(workspace=name, cause=problem.kind)
        number = words.counted(hit.bots, "bot") + (" and the whole workspace" if hit.whole else "")
        return html("{whom} in {here}", whom=words.linked(number, link), here=here)
    whom = [
        words.linked(target.bot or target.bot_id, view.at(workspace=name, bot=target.bot_id))
        for target in hit.named
    ]
    if not whom:
        return here
    if hit.whole:
        return html("{here} and {whom}", whom=joined(whom, ", "), here=here)
    return html("{whom} in {here}", whom=joined(whom, ", "), here=here)


def _errors(problem: Problem) -> Iterator[Html]:
    """The most frequent errors."""
    errors = [(text, number) for text, number in problem.errors.most_common() if text]
    if not errors:
        return
    shown = [
        html(
            "<code>{text}</code>{times}",
            text=text,
            times=f" ({number:,} times)" if len(errors) > 1 else "",
        )
        for text, number in errors[:NAMED]
    ]
    if len(errors) > NAMED:
        shown.append(html("and others"))
    yield html("<p>{errors}</p>", errors=joined(shown, ", "))


def _hit(problem: Problem, hit: Hit, view: View, now: datetime) -> Html:
    reports, whom = words.counted(hit.reports, "report"), _whom(problem, hit, view)
    waiting = problem.kind == ReportState.WAITING
    facts = (
        html("{reports} of {whom}", reports=reports, whom=whom),
        words.since(hit, now),
        NOTHING if waiting else words.values(hit, now),
        words.held_back(hit.workspace, now) if problem.kind in HELD else NOTHING,
    )
    return html("<li>{facts}</li>", facts=words.dotted(facts))


def _load(problem: Problem) -> Html:
    """The load of the workspaces whose plan does not fit, as a part of what to do."""
    if problem.kind != ReportState.LATE or not problem.overloaded:
        return NOTHING
    told = [
        html(
            " {name} needs {load} of what is allowed.",
            name=hit.workspace.name,
            load=f"{hit.workspace.load:,.0%}",
        )
        for hit in problem.overloaded[:HITS]
    ]
    return joined(told)


# Workspaces.


def workspaces_section(
    found: Sequence[tuple[WorkspaceStatus, Counter[Level]]], view: View, now: datetime
) -> Iterator[Html]:
    """A table of workspaces, the worst first."""
    if not found:
        return
    yield html(
        "<h2>{title}</h2><table><thead><tr><th scope=col>Workspace<th scope=col>Reports"
        "<th scope=col class=n>Requests today<th scope=col class=n>Load<th scope=col>Key<th scope=col>Pause"
        "</tr></thead><tbody>",
        title="Requests and key" if view.workspace else "Workspaces",
    )
    ordered = sorted(found, key=lambda one: (_badness(one[1]), one[0].name.casefold()))
    for workspace, levels in ordered[:WORKSPACES]:
        yield _workspace(workspace, levels, view, now)
    yield html("</tbody></table>")
    if len(found) > WORKSPACES:
        yield html(
            "<p>And {more} more workspaces: search for them.</p>",
            more=f"{len(found) - WORKSPACES:,}",
        )


def _badness(levels: Mapping[Level, int]) -> tuple[float, ...]:
    """The shares of reports at each level, worst level first, so that the worst sorts first."""
    whole = sum(levels.values()) or 1
    return tuple(-levels.get(one, 0) / whole for one in Level if one is not Level.OK)


def _workspace(
    workspace: WorkspaceStatus, levels: Mapping[Level, int], view: View, now: datetime
) -> Html:
    present = [(one, levels[one]) for one in Level if levels.get(one)]
    worst = present[0][0] if present else Level.WAITING
    told = [f"{number:,} {SIGNS[one].short}" for one, number in present]
    bar = joined(
        html('<b class="{name}" style="flex:{number}"></b>', name=SIGNS[one].name, number=number)
        for one, number in present
    )
    silent = (
        NOTHING if workspace.answered else html(" <small>The API has not answered yet.</small>")
    )
    most = workspace.requests_per_day
    return html(
        '<tr><th scope="row">{cell}<a href="{link}">{name}</a> <small>{api}</small>{silent}'
        '<td><span class="r" aria-hidden="true">{bar}</span>{told}'
        '<td class="n" data-l="requests today">{today}<td class="n" data-l="load">{load}'
        '<td data-l="key">{key}<td data-l="pause">{pause}</tr>',
        cell=CELLS[worst],
        link=view.at(workspace=workspace.name),
        name=workspace.name,
        api=words.api(workspace),
        silent=silent,
        bar=bar,
        told=", ".join(told) or "none",
        today=_budget(workspace.requests_today, most),
        load=html(
            "{load} <small>at most {rate}/min</small>",
            load=f"{workspace.load:,.0%}",
            rate=f"{workspace.requests_per_minute:,.6g}",
        ),
        key=_key(workspace),
        pause=words.held_back(workspace, now) or html("none"),
    )


def _budget(today: int, most: int | None) -> Html:
    if most is None:
        return html("{today}", today=f"{today:,}")
    left = f"{max(0, most - today):,} left"
    return html(
        "{today} of {most} <small>{left}</small>", today=f"{today:,}", most=f"{most:,}", left=left
    )


def _key(workspace: WorkspaceStatus) -> Html:
    if workspace.key_valid is None:
        return html("not judged yet")
    if workspace.key_valid:
        return html("accepted")
    return SIGNS[Level.LOST].says("rejected")


# Bots.


def targets_section(found: Survey, view: View, now: datetime) -> Iterator[Html]:
    """The list of targets, with a search."""
    whole = any(not target.bot_id for _, target in found.rows)
    yield html("<h2>{who}, A to Z</h2>", who="Bots and workspaces" if whole else "Bots")
    if found.number >= MANY or view.q:
        yield from _search(view)
    if not found.rows:
        yield html('<p>Nothing matches. <a href="{link}">Show everything</a></p>', link=view.at())
        return
    pages = -(-len(found.rows) // SHOWN)
    here = min(view.page, pages)
    yield html(
        '<table class="b"><caption>{legend}</caption><thead><tr><th scope=col>Name<th scope=col>Workspace'
        "<th scope=col>Reports<th scope=col>State</tr></thead><tbody>",
        legend=joined(
            (html("{cell}{word}", cell=CELLS[one], word=sign.word) for one, sign in SIGNS.items()),
            " &nbsp; ",
        ),
    )
    for workspace, target in found.rows[(here - 1) * SHOWN : here * SHOWN]:
        yield _row(workspace, target, view, now)
    yield html("</tbody></table>")
    if pages > 1:
        yield from _pages(view, here, pages)


def _search(view: View) -> Iterator[Html]:
    kept = View(workspace=view.workspace, refresh=view.refresh).given
    yield html('<form role="search">')
    for name, value in kept.items():
        yield html('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)
    yield html(
        '<label for="q">Bot, report, state or error</label>'
        '<input type="search" id="q" name="q" value="{q}"> <button>Find</button></form>',
        q=view.q,
    )


def _pages(view: View, here: int, pages: int) -> Iterator[Html]:
    yield html('<nav aria-label="Pages">')
    if here > 1:
        yield html('<a href="{link}" rel="prev">Previous</a>', link=view.on_page(here - 1))
    yield html("<span>Page {here} of {pages}</span>", here=f"{here:,}", pages=f"{pages:,}")
    if here < pages:
        yield html('<a href="{link}" rel="next">Next</a>', link=view.on_page(here + 1))
    yield html("</nav>")


def _row(workspace: WorkspaceStatus, target: TargetStatus, view: View, now: datetime) -> Html:
    levels = [level(report) for report in target.reports]
    link = view.at(workspace=workspace.name, bot=target.bot_id)
    bot_id = html("<small>{bot_id}</small>", bot_id=target.bot_id) if target.bot_id else NOTHING
    return html(
        '<tr><th scope="row"><a href="{link}">{name}</a> {bot_id}<td>{workspace}'
        '<td><span role="img" aria-label="{told}">{cells}</span><td>{wrong}</tr>',
        link=link,
        name=words.shown_name(workspace, target),
        bot_id=bot_id,
        workspace=words.linked(workspace.name, view.at(workspace=workspace.name))
        if target.bot_id
        else html("whole workspace"),
        told=words.told(levels),
        cells=joined(CELLS[one] for one in levels),
        wrong=_how(workspace, target, now),
    )


def _how(workspace: WorkspaceStatus, target: TargetStatus, now: datetime) -> Html:
    """What is wrong with the reports of a target, one line for each reason; or how old they are."""
    reasons: dict[tuple[Level, str], list[ReportStatus]] = {}
    for report in target.reports:
        if why := kind(report, workspace):
            reasons.setdefault((level(report), why), []).append(report)
    if not reasons:
        ages = [report.age_seconds for report in target.reports if report.age_seconds is not None]
        return html("oldest values {age}", age=words.span(max(ages))) if ages else html("no report")
    return joined(
        (
            _reason(one, why, found, len(target.reports), now)
            for (one, why), found in sorted(reasons.items(), key=lambda item: item[0])
        ),
        "<br>",
    )


def _reason(
    worst: Level, why: str, found: Sequence[ReportStatus], number: int, now: datetime
) -> Html:
    if len(found) == number:
        who = "all" if number > 1 else _report_name(found[0])
    else:
        who = ", ".join(_report_name(report) for report in found[:NAMED])
        if len(found) > NAMED:
            who += f" and {len(found) - NAMED} more"
    extent = Extent()
    extent.add(found)
    since = words.since(extent, now)
    return html(
        "{what}: {who}{since}",
        what=SIGNS[worst].says(ADVICE[why].short),
        who=who,
        since=html(", {since}", since=since) if since else NOTHING,
    )


def _report_name(report: ReportStatus) -> str:
    return f"{report.report} {report.window}".strip()


# One target's reports.


def reports_table(
    target: TargetStatus, workspace: WorkspaceStatus, now: datetime
) -> Iterator[Html]:
    """A target's reports in full, the worst first."""
    yield html(
        '<table class="d"><thead><tr><th scope=col>Report<th scope=col>State<th scope=col class=n>Age'
        "<th scope=col class=n>Interval<th scope=col class=n>Next poll<th scope=col class=n>Values"
        "</tr></thead><tbody>"
    )
    for report in sorted(target.reports, key=level):
        yield _report(report, workspace, now)
    yield html("</tbody></table>")


def _report(report: ReportStatus, workspace: WorkspaceStatus, now: datetime) -> Html:
    here = level(report)
    extent = Extent()
    extent.add([report])
    why = kind(report, workspace)
    details = [
        html("{short}", short=ADVICE[why].short) if why in ADVICE and report.error else NOTHING,
        html("<code>{error}</code>", error=report.error) if report.error else NOTHING,
        words.since(extent, now),
        words.values(extent, now) if why and here is not Level.WAITING else NOTHING,
    ]
    told = words.dotted(details)
    return html(
        '<tr><th scope="row">{name} <small>{window}</small>'
        '<td data-l="state">{cell}{word}{told}'
        '<td class="n" data-l="age">{age}<td class="n" data-l="interval">{interval}'
        '<td class="n" data-l="next poll">{next}<td class="n" data-l="values">{values}</tr>',
        name=report.report,
        window=report.window,
        cell=CELLS[here],
        word=SIGNS[here].word if not told else NOTHING,
        told=told,
        age=_age(report, now),
        interval=words.span(report.interval_seconds),
        next=_next(report, now),
        values=f"{report.values:,}",
    )


def _age(report: ReportStatus, now: datetime) -> Html:
    if report.last_success is None:
        return html("never")
    return html(
        "{age} <small>{at} UTC</small>",
        age=words.span(max(0.0, report.age_seconds or 0.0)),
        at=words.clock(report.last_success, now),
    )


def _next(report: ReportStatus, now: datetime) -> str:
    seconds = (report.next_poll - now).total_seconds() if report.next_poll else 0.0
    return f"in {words.span(seconds)}" if seconds >= 1 else "now"
