"""All rebuilt series, family by family, as the journal has them.

Only the readings of one question of one bot are in memory at a time, and the moments once for each
time zone. So memory depends on the number of moments, but not on the number of bots.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.backfill.grid import Grid
from exporter.backfill.journal import Journal
from exporter.backfill.plan import Plan
from exporter.backfill.rebuild import Known, Runs, series
from exporter.metrics.exposition import API_FAMILIES, series_labels
from exporter.metrics.telemetry import UTC_OFFSET
from exporter.model.entry import Entry
from exporter.model.samples import Family

OFFSET: Final = Family(UTC_OFFSET.name, UTC_OFFSET.help)
"""The offset of local time. The alerts on what is usual need it to follow clock changes."""


class Rebuilt(NamedTuple):
    """One rebuilt series.

    Attributes:
        family: Its family.
        labels: Its labels, without its name.
        runs: Its values.
        grid: The moments that the runs refer to.
    """

    family: Family
    labels: Sequence[tuple[str, str]]
    runs: Runs
    grid: Grid


@dataclass(frozen=True)
class Past:
    """The past of some workspaces.

    Attributes:
        plans: The requests for it, all of which have been answered.
        journal: The answers.
        step: Seconds between two samples.
        labels: Labels for every series, such as `job`.
    """

    plans: Sequence[Plan]
    journal: Journal
    step: int
    labels: Sequence[tuple[str, str]] = ()

    def grid(self, plan: Plan) -> Grid:
        """The moments of a workspace."""
        by_hour = frozenset(plan.usual_days) if plan.range.intraday else frozenset()
        return Grid.of(plan.range.days, plan.workspace.zone, self.step, by_hour)

    def __iter__(self) -> Iterator[Rebuilt]:
        # A grid of ten years is large: workspaces with the same days share one.
        shared: dict[object, Grid] = {}
        grids: list[tuple[Plan, Grid]] = []
        for plan in self.plans:
            place = (plan.workspace.timezone, plan.range)
            if place not in shared:
                shared[place] = self.grid(plan)
            grids.append((plan, shared[place]))
        # The earliest sample first: what Thanos gets later of an earlier time it keeps, but does not
        # show for hours. The offset has a sample at every moment.
        grids.sort(key=lambda one: one[1].times[:1])
        for family in (OFFSET, *API_FAMILIES):
            for plan, grid in grids:
                for labels, runs in self._of(family, plan, grid):
                    yield Rebuilt(family, [*self.labels, *labels], runs, grid)

    def _of(
        self, family: Family, plan: Plan, grid: Grid
    ) -> Iterator[tuple[Sequence[tuple[str, str]], Runs]]:
        if family is OFFSET:
            place = (("api", plan.workspace.api), ("workspace", plan.workspace.name))
            yield place, _offsets(plan, grid)
            return
        for target, scope in plan.targets:
            entries = [
                entry for entry, history in plan.entries(scope) if family in history.families
            ]
            known = self._known(plan.account, target.bot_id)
            written: set[tuple[str, ...]] = set()
            for entry in entries:
                found = series(entry, family, known, grid, plan.workspace.max_labels)
                for labels, runs in found.items():
                    # Where two entries have the same series, the first one wins, as on the page.
                    if labels not in written and len(runs):
                        written.add(labels)
                        yield series_labels(target, family, labels), runs

    def _known(self, account: str, bot_id: str) -> Callable[[Entry], Known]:
        @lru_cache(maxsize=1)
        def known(question: str) -> Known:
            return self.journal.known(account, bot_id, question)

        return lambda entry: known(entry.question)


def _offsets(plan: Plan, grid: Grid) -> Runs:
    zone, runs = plan.workspace.zone, Runs()
    for place, at in enumerate(grid.times):
        offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
        runs.add(place, place + 1, offset.total_seconds() if offset else 0.0)
    return runs
