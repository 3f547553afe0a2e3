"""The goals, and the tables that show this machine's figures beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

Figures = Mapping[str, float]
"""What was measured, by the names that the goals have for it."""


@dataclass(frozen=True)
class Goal:
    """A bound for a figure.

    Attributes:
        figure: Its name.
        bound: What it must not pass.
        least: Whether the bound is the least that it may be, not the most.
        stretch: A bound that would be better still, None for none.
        shown: How a figure is written.
        floor: What it must not fall below either, None for nothing.
    """

    figure: str
    bound: float
    least: bool = False
    stretch: float | None = None
    shown: str = "\N{MULTIPLICATION SIGN}{}"
    floor: float | None = None

    def met(self, figure: float, bound: float) -> bool:
        """Whether a figure is within a bound."""
        if self.floor is not None and figure < self.floor:
            return False
        return figure >= bound if self.least else figure <= bound

    def written(self, value: float) -> str:
        """A value with three digits and its unit."""
        digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return self.shown.format(digits)

    def cell(self, figures: Figures) -> str:
        """The figure, the bound, and how one stands to the other."""
        figure = figures.get(self.figure)
        wanted = f"{'at least' if self.least else 'at most'} {self.written(self.bound)}"
        if self.floor is not None:
            wanted += f", at least {self.written(self.floor)}"
        if self.stretch is not None:
            wanted += f", stretch {self.written(self.stretch)}"
        if figure is None:
            return f"not measured ({wanted})"
        verdict = "met" if self.met(figure, self.bound) else "**missed**"
        if self.stretch is not None and self.met(figure, self.stretch):
            verdict = "stretch met"
        return f"{self.written(figure)} ({wanted}): {verdict}"


def _sized(figure: str, *bounds: float, least: bool = False, stretch: str = "") -> tuple[Goal, ...]:
    """The goals of one figure at the sizes that have a bound."""
    better = [float(value) for value in stretch.split()] + [None] * 4
    return tuple(
        Goal(f"{figure}/{bots}", bound, least, more)
        for bots, bound, more in zip((10, 100, 1000, 6667), bounds, better, strict=False)
    )


SCRAPES: Final[Mapping[str, tuple[Goal | None, ...]]] = {
    "`scrape_duration_seconds` as Prometheus reports it, against nginx serving the same bytes": (
        _sized("prometheus/nginx", 1.3, 1.3, 1.3)
    ),
    "latency with fresh metrics of its own, against nginx (`sendfile off` at 150k)": (
        _sized("latency/nginx", 8, 6, 2, 1.5, stretch="6 5 1.5 1.4")
    ),
    "CPU of a scrape, stock prometheus_client against it": (
        _sized("cpu/prometheus_client", 100, 900, 3000, least=True)
    ),
    "CPU of a scrape, pushgateway against it": (
        _sized("cpu/pushgateway", 20, 150, 600, least=True)
    ),
    "CPU of a scrape, node_exporter's textfile against it": (
        _sized("cpu/node_exporter textfile", 60, 600, 2000, least=True)
    ),
    "CPU with a full refresh before every scrape, stock prometheus_client against it": (
        _sized("refresh/all", 8, 8, 8, least=True)
    ),
    "the same with 2.5 % of the bots fresh": _sized("refresh/some", 8, 12, 60, least=True),
    "resident memory, idle with one bot": (Goal("memory/idle", 50, shown="{} MB"), None, None),
    "the same, against query-exporter": (Goal("memory/query-exporter", 1), None, None),
    "resident memory": (None, None, Goal("memory/1000", 90, shown="{} MB")),
    "memory that one more series takes, a third of them with label names of their bot's own": (
        None,
        None,
        Goal("memory/series", 150, shown="{} B"),
    ),
}
"""What is measured at four sizes; gzip, kept connections, ratios of one interleaved run."""

OTHERS: Final[Mapping[str, Goal]] = {
    "start to the first answered `/metrics`, against query-exporter": Goal("start", 0.55),
    "50 scrapers at once, until the last has its page, against nginx, 1.5k series": (
        Goal("latency/crowd", 8)
    ),
    "latency over TLS with a password, against nginx, 1.5k series": Goal("latency/secured", 8),
    "CPU of a polled report against httpx itself (TLS, 7 kB)": Goal("pipeline/own", 1.15),
    "the same at one report in two seconds, connections idle in between": (
        Goal("pipeline/paced", 1.15)
    ),
    "httpx + pydantic + Gauge against the whole of it, as many in flight": (
        Goal("pipeline/usual", 1.6, least=True)
    ),
    "requests of a round, against what `plan` says": Goal("requests", 1, floor=1),
    "10,000 bots, 200 ms a request: a full round": Goal("scale/round", 600, shown="{} s"),
    "10,000 bots: requests of a round, against what `plan` says": Goal(
        "scale/requests", 1.005, floor=0.995
    ),
    "10,000 bots: resident memory at its largest": Goal("scale/memory", 400, shown="{} MB"),
    "10,000 bots: answered scrapes": Goal("scale/answered", 100, least=True, shown="{} %"),
    "10,000 bots: the longest that the loop was held": Goal("scale/held", 50, shown="{} ms"),
    "CPU of a report from 100 to 10,000 bots, largest against smallest": Goal("scale/cpu", 1.15),
    "memory of a series at 10,000 bots, against 1,000": Goal("scale/linear", 1.15),
    "CPU of a scrape after 25 bots changed, at 10,000 bots against 1,000": Goal("scale/scrape", 3),
    "10,000 bots: written to the state file": Goal("state/written", 1, shown="{} MB/s"),
    "10,000 bots: the longest that the loop was held, polled once in ten minutes": (
        Goal("state/held", 50, shown="{} ms")
    ),
    "10,000 bots: resident memory at its largest after a restart": (
        Goal("restart/memory", 250, shown="{} MB")
    ),
    "10,000 bots: the longest that the loop was held after a restart": (
        Goal("restart/held", 250, shown="{} ms")
    ),
    "the same by a reload without a change": Goal("reload/unchanged", 150, shown="{} ms"),
    "the same with a renamed bot and one less": Goal("reload/bots", 150, shown="{} ms"),
    "the same with another interval": Goal("reload/interval", 150, shown="{} ms"),
}
"""All other goals. `benchmarks/scale` measures 10,000 bots and growth, `benchmarks/restart` the last seven."""


def tables(figures: Figures) -> Iterator[str]:
    """Both tables in Markdown, line by line."""
    yield "| gzip, connections kept | 1.5k series | 15k | 150k | 1,000k |"
    yield "|---|---|---|---|---|"
    for what, goals in SCRAPES.items():
        sized = (*goals, *[None] * (4 - len(goals)))
        cells = " | ".join(goal.cell(figures) if goal else "" for goal in sized)
        yield f"| {what} | {cells} |"
    yield ""
    yield "| what | figure (goal) |"
    yield "|---|---|"
    for what, goal in OTHERS.items():
        yield f"| {what} | {goal.cell(figures)} |"
