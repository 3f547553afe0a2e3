"""One pass over all reports: how they are, what is wrong, and which targets a view shows. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from exporter.polling.status import ReportState, Rest, Status, TargetStatus, WorkspaceStatus
from exporter.web import status_words as words
from exporter.web.status_problems import ADVICE, Hit, Problem, ranked
from exporter.web.status_view import Level, View, by_kind, kind, level, worst


@dataclass(slots=True)
class Survey:
    """What one pass over the reports finds.

    Attributes:
        targets: How many targets are at each level, by their worst report.
        reports: How many reports of each workspace are at each level.
        problems: What is wrong.
        rows: The targets that the filters let through, from A to Z.
    """

    targets: Counter[Level] = field(default_factory=Counter)
    reports: list[tuple[WorkspaceStatus, Counter[Level]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    rows: list[tuple[WorkspaceStatus, TargetStatus]] = field(default_factory=list)

    @property
    def number(self) -> int:
        """The number of targets."""
        return sum(self.targets.values())

    def count(self, found: Level) -> int:
        """The number of reports at a level."""
        return sum(levels[found] for _, levels in self.reports)


def survey(status: Status, view: View, rest: Rest) -> Survey:
    """Look at every report in the scope of a view once; calls `rest` for each target."""
    found, problems = Survey(), dict[tuple[str, str], Problem]()
    rows: list[tuple[tuple[str, str, str], WorkspaceStatus, TargetStatus]] = []
    for workspace in status.workspaces:
        levels, hits = Counter[Level](), dict[str, Hit]()
        for target in workspace.targets:
            rest()
            if not view.has(workspace, target):
                continue
            bad = [report for report in target.reports if report.state is not ReportState.OK]
            levels[Level.OK] += len(target.reports) - len(bad)
            if bad:
                here = [level(report) for report in bad]
                levels.update(here)
                found.targets[min(here)] += 1
                for why, those in by_kind(bad, workspace).items():
                    if why not in hits:
                        reason = why, workspace.api
                        hits[why] = problems.setdefault(reason, Problem(*reason)).hit(workspace)
                    hits[why].found(target, those)
            else:
                found.targets[worst(target)] += 1
            if view.wants(workspace, target) and _matches(view.q.casefold(), workspace, target):
                place = words.shown_name(workspace, target).casefold()
                rows.append(((place, workspace.name, target.bot_id), workspace, target))
        if levels or (not view.bot and view.workspace in {"", workspace.name}):
            found.reports.append((workspace, levels))
    found.problems = ranked(
        one
        for one in problems.values()
        if view.cause in {"", one.kind} and view.api in {"", one.api}
    )
    rows.sort(key=itemgetter(0))
    found.rows = [(workspace, target) for _, workspace, target in rows]
    return found


def _matches(query: str, workspace: WorkspaceStatus, target: TargetStatus) -> bool:
    """Whether a text, in lower case, is in anything that the page says of a target."""
    return not query or any(query in text.casefold() for text in _texts(workspace, target))


def _texts(workspace: WorkspaceStatus, target: TargetStatus) -> Iterator[str]:
    yield from (workspace.name, target.bot, target.bot_id)
    for report in target.reports:
        here, why = level(report), kind(report, workspace)
        yield from (report.report, report.window, report.state, report.error)
        yield from (here.name, words.SIGNS[here].short, why, ADVICE[why].short if why else "")
