"""The status as one HTML page without scripts or external resources, for any screen. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from exporter.model.durations import show
from exporter.polling.status import (
    RANKS,
    ReportState,
    ReportStatus,
    Rest,
    Status,
    TargetStatus,
    WorkspaceStatus,
)

MANY: Final = 20
"""The page has a search box from this number of targets on."""

SHOWN: Final = 200
"""Maximum targets on a page; those in the worst state come first."""

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--ok:#2e7d32;--late:#b26a00;--failing:#c62828;--waiting:#607d8b}
@media(prefers-color-scheme:dark){:root{--ok:#81c784;--late:#ffb74d;--failing:#ef9a9a;--waiting:#90a4ae}}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.15rem;margin:2rem 0 .3rem}
p{margin:.3rem 0}nav a{margin-right:1rem}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.2rem .7rem}
details details{border:0;margin:0;padding:0}
summary{cursor:pointer;padding:.25rem 0}summary b{margin-right:.5rem}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-top:1px solid var(--line);vertical-align:top}
th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.s{font-weight:600}.ok{color:var(--ok)}.late{color:var(--late)}.failing{color:var(--failing)}.waiting{color:var(--waiting)}
.e{color:var(--failing)}small{opacity:.75}time small{display:none}
input{font:inherit;padding:.35rem .5rem;width:min(24rem,65%)}button{font:inherit;padding:.35rem .8rem}
@media(max-width:42rem){thead{display:none}tr{display:block;border-top:1px solid var(--line);padding:.4rem 0}
td,td.n{display:block;border:0;padding:0;text-align:left}time small{display:inline}
td[data-l]::before{content:attr(data-l) ": ";opacity:.75}}
"""


def page(
    status: Status, *, metrics: str, api: str, query: str = "", rest: Rest = lambda: None
) -> Iterator[str]:
    """The page in parts, with everything if the query is empty; calls `rest` regularly."""
    yield "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
    yield '<meta name=viewport content="width=device-width,initial-scale=1">'
    yield f"<title>seasalt-exporter</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>seasalt-exporter <small>{escape(status.version)}</small></h1>"
    yield f'<nav><a href="{escape(metrics)}">Metrics</a><a href="{escape(api)}">JSON</a></nav>'
    every = [target for workspace in status.workspaces for target in workspace.targets]
    yield f"<p>As of {_instant(status.at)} UTC: {_counted(every)}.</p>"
    if len(every) >= MANY or query:
        yield '<form role=search><label>Search <input type=search name=q value="'
        yield f'{escape(query)}" placeholder="bot, report, state or error"></label> '
        yield "<button>Find</button></form>"
    left, matched = SHOWN, False
    for workspace in sorted(status.workspaces, key=lambda one: RANKS[one.state]):
        found = []
        for one in workspace.targets:
            if _matches(workspace, one, query.casefold()):
                found.append(one)
            rest()
        if found or not query:
            found.sort(key=lambda target: RANKS[target.state])
            yield from _workspace(workspace, found, left, status.at)
            left, matched = max(0, left - len(found)), True
    if query and not matched:
        yield f'<p>Nothing matches “{escape(query)}”. <a href="?">Show everything</a></p>'
    yield "</body></html>"


def _workspace(
    workspace: WorkspaceStatus, found: Sequence[TargetStatus], most: int, now: datetime
) -> Iterator[str]:
    """A workspace and its first `most` matching targets, which are sorted worst first."""
    yield f"<h2>{escape(workspace.name)} <small>{escape(workspace.api)}</small> "
    yield f"{_word(workspace.state)}</h2>"
    budget = "" if workspace.requests_per_day is None else f" of {workspace.requests_per_day:,}"
    yield f"<p>{_counted(workspace.targets)}; "
    yield f"{workspace.requests_today:,}{budget} requests today, "
    yield f"{workspace.requests_per_minute:,} a minute allowed; days in {escape(workspace.timezone)}."
    if not workspace.answered:
        yield " The API has not answered yet."
    yield "</p>"
    for target in found[:most]:
        yield from _target(target, now, open_=len(found) <= 3 or target.state is not ReportState.OK)
    if len(found) > most:
        yield f"<p>And {len(found) - most:,} more; search for them, or see the JSON.</p>"


def _matches(workspace: WorkspaceStatus, target: TargetStatus, query: str) -> bool:
    texts = (workspace.name, target.bot, target.bot_id)
    reports = (
        text
        for report in target.reports
        for text in (report.report, report.window, report.state, report.error)
    )
    return any(query in text.casefold() for text in (*texts, *reports))


def _target(target: TargetStatus, now: datetime, *, open_: bool) -> Iterator[str]:
    name = target.bot or "whole workspace"
    bot_id = f" <small>{escape(target.bot_id)}</small>" if target.bot_id else ""
    ordered = sorted(target.reports, key=lambda report: RANKS[report.state])
    wrong = [report for report in ordered if report.state is not ReportState.OK]
    right = ordered[len(wrong) :]
    count = _number(len(ordered), "report") + (f", {len(wrong)} not ok" if wrong else "")
    yield f"<details{' open' if open_ else ''}><summary><b>{escape(name)}</b>{bot_id} "
    yield f"{_word(target.state)} <small>{count}</small></summary>"
    yield from _table(wrong or right, now)
    if wrong and right:
        yield f"<details><summary><small>{len(right)} more, ok</small></summary>"
        yield from _table(right, now)
        yield "</details>"
    yield "</details>"


def _table(reports: Iterable[ReportStatus], now: datetime) -> Iterator[str]:
    yield "<table><thead><tr><th>report<th>state<th class=n>age<th class=n>interval"
    yield "<th class=n>next poll<th class=n>values</tr></thead><tbody>"
    for report in reports:
        yield from _row(report, now)
    yield "</tbody></table>"


def _row(report: ReportStatus, now: datetime) -> Iterator[str]:
    window = f" <small>{escape(report.window)}</small>" if report.window else ""
    yield f"<tr><td>{escape(report.report)}{window}"
    if report.error:
        yield f"<div class=e>{escape(report.error)}</div>"
    yield f"<td data-l=state>{_word(report.state)}"
    yield f"<td class=n data-l=age>{_age(report)}"
    yield f"<td class=n data-l=interval>{show(timedelta(seconds=report.interval_seconds))}"
    yield f'<td class=n data-l="next poll">{_next(report, now)}'
    yield f"<td class=n data-l=values>{report.values:,}</tr>"


def _age(report: ReportStatus) -> str:
    if report.last_success is None:
        return "never"
    age = _span(report.age_seconds or 0)
    at = _instant(report.last_success)
    return f'<time title="{at} UTC">{age} <small>{at[:16]}</small></time>'


def _next(report: ReportStatus, now: datetime) -> str:
    if report.next_poll is None:
        return "now"
    seconds = (report.next_poll - now).total_seconds()
    when = f"in {_span(seconds)}" if seconds >= 1 else "now"
    return f'<time title="{_instant(report.next_poll)} UTC">{when}</time>'


def _counted(targets: Sequence[TargetStatus]) -> str:
    """The number of targets, and how many are in each state."""
    states = Counter(target.state for target in targets)
    said = [f"{states[state]:,} {state}" for state in ReportState if states[state]]
    return f"{_number(len(targets), 'target')}, {', '.join(said)}" if said else "no target"


def _number(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _word(state: ReportState) -> str:
    return f'<span class="s {state}">{state}</span>'


def _span(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = show(timedelta(seconds=round(seconds)))
    return " ".join(re.findall(r"\d+[a-z]", whole)[:2])


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
