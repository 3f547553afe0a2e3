"""How often the shipped alerts are false, and how soon they tell of what goes wrong.

promtool evaluates the rules of config/prometheus/rules over weeks of made-up bots (see
`benchmarks.life`): the first for what is usual, the last four to judge. Two tables come of it: how
many episodes of each alert healthy bots had, and how long after its beginning each planted incident
was told. Nothing is random but by the seed, and only the rules decide.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import yaml

from benchmarks import life
from benchmarks.life import DAY, STEP, WEEK, Bot, Trouble, Values, Workspace
from benchmarks.machine import ROOT, TOOLS

RULES: Final = ROOT / "config" / "prometheus" / "rules"
PROMTOOL: Final = TOOLS / "prometheus" / "usr" / "bin" / "promtool"
BOTS: Final = 50
WEEKS: Final = 8
JUDGED: Final = 4
"""Of the weeks, the last so many."""

ALLOWED: Final = 2.0
"""False episodes in four weeks of 50 bots in ordinary life."""

_SAMPLE: Final = re.compile(r'(\{alertname="[^}]*\}) ([-+.\dE]+)')
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_RECORDED: Final = re.compile(r"\w+(?::\w+)+")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong with a bot.

    Attributes:
        what: As the table says it.
        size: The bot's messages on a weekday.
        begins: Local day, from the first that is judged (a Thursday), and hour.
        traffic: What the messages are multiplied by from then on.
        alert: Any alert whose name matches this tells of it.
        within: Minutes in which it must be told.
        trouble: What goes wrong, from the step on that it gets.
    """

    what: str
    size: float
    begins: tuple[int, int]
    alert: str
    within: int
    traffic: float = 1.0
    satisfied: float = 1.0
    asks: float = 1.0
    rates: float = 1.0
    fails: bool = False

    def trouble(self, begin: int) -> Trouble:
        """The same for each step."""

        def after(factor: float) -> Callable[[int], float]:
            return lambda step: factor if step >= begin else 1.0

        return Trouble(
            traffic=after(self.traffic),
            satisfied=after(self.satisfied),
            asks=after(self.asks),
            rates=after(self.rates),
            fails_from=begin if self.fails else None,
        )


SILENT: Final = "BotSilent|VolumeDropped"
CSAT: Final = "Csat|Satisfaction"
HOUR: Final = 60
INCIDENTS: Final = (
    Incident("a bot of 8,000 messages a day gets none", 8000, (5, 11), SILENT, HOUR, traffic=0),
    Incident("a bot of 800 gets none", 800, (5, 11), SILENT, 3 * HOUR, traffic=0),
    Incident("a bot of 50 gets none", 50, (5, 11), SILENT, 72 * HOUR, traffic=0),
    Incident(
        *("a bot of 7,000 gets half from noon", 7000, (6, 12), "VolumeDropped", 3 * HOUR),
        traffic=0.5,
    ),
    Incident(
        *("a bot of 2,500 gets 30 % from 13:00", 2500, (6, 13), "VolumeDropped", 3 * HOUR),
        traffic=0.3,
    ),
    Incident(
        *("a bot of 3,000 gets 15 % from 2:00", 3000, (6, 2), "VolumeDropped", 8 * HOUR),
        traffic=0.15,
    ),
    Incident("a bot of 400 loops fifty-fold", 400, (5, 14), "VolumeSpiked", HOUR, traffic=50),
    Incident(
        *("70 instead of 80 % are satisfied with a bot of 6,000", 6000, (4, 9), CSAT, 96 * HOUR),
        satisfied=0.875,
    ),
    Incident(
        *("40 instead of 80 % are satisfied with a bot of 1,500", 1500, (4, 9), CSAT, 72 * HOUR),
        satisfied=0.5,
    ),
    Incident(
        *("three times as many want an agent", 4000, (5, 9), "AgentRequestSurge", 24 * HOUR),
        asks=3,
    ),
    Incident(
        *("nobody rates a bot of 5,000 any more", 5000, (4, 9), "RatingsStopped", 108 * HOUR),
        rates=0,
    ),
    Incident("the API fails for a bot", 1000, (5, 15), "DataStale", HOUR, fails=True),
)


def notation(values: Values) -> str:
    """Values as promtool's tests write them: `3x5` is 3 six times, `_x2` is none twice."""
    parts: list[str] = []
    begin = 0
    for at in range(1, len(values) + 1):
        if at < len(values) and values[at] == values[begin]:
            continue
        value, times = values[begin], at - begin
        parts.append(f"_x{times}" if value is None else f"{value:.10g}x{times - 1}")
        begin = at
    return " ".join(parts)


def evaluation_order() -> list[str]:
    """The groups of the rules, each after those that record what it reads."""
    groups = {
        group["name"]: group["rules"]
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    }
    recorded = {
        rule["record"]: name for name, rules in groups.items() for rule in rules if "record" in rule
    }
    needs = {
        name: {recorded[read] for rule in rules for read in _RECORDED.findall(rule["expr"])}
        - {name}
        for name, rules in groups.items()
    }
    return [*TopologicalSorter(needs).static_order()]


def _labelled(family: str, labels: Mapping[str, str]) -> str:
    return family + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def inputs(
    workspace: Workspace,
    weeks: int,
    seed: int,
    troubles: Mapping[str, Trouble],
    *,
    ordinary: bool,
) -> Iterator[tuple[str, str]]:
    """Each series of a workspace, and its values in promtool's notation."""
    steps = weeks * WEEK
    exporter = {"job": "seasalt", "instance": "exporter:9877"}
    of = {**exporter, "api": "seachat", "workspace": workspace.name}
    yield _labelled("up", exporter), f"1x{steps}"
    yield _labelled("seasalt_series", of), f"1000x{steps}"
    yield _labelled("seasalt_workspace_utc_offset_seconds", of), f"{workspace.offset}x{steps}"
    lively = life.days(workspace, weeks, seed, ordinary=ordinary)
    for bot in workspace.bots:
        target = {**of, "bot_id": bot.id, "bot": bot.id}
        trouble = troubles.get(bot.id, Trouble())
        report = {**target, "report": "activity_trend", "window": "today"}
        last = steps if trouble.fails_from is None else trouble.fails_from
        succeeded = f"0+{STEP}x{last - 1} {STEP * last}x{steps - last}"
        yield _labelled("seasalt_report_last_success_timestamp_seconds", report), succeeded
        yield _labelled("seasalt_report_interval_seconds", report), f"{STEP}x{steps}"
        for family, labels, values in life.series(
            bot, workspace.offset, lively[bot.id], steps, seed, trouble
        ):
            yield _labelled(family, {**target, **labels}), notation(values)


def answered(
    series: Sequence[tuple[str, str]], question: str, days: Sequence[int]
) -> list[tuple[tuple[str, str, str], float]]:
    """What a query answers at the end of each of these days, of rules evaluated over the series.

    promtool's tests compare and do not print. So this one expects nothing, and reads what it got.
    It allows a query few samples; hence the days.

    Returns:
        The alert, the workspace and the bot id, or nothing; and the value.

    Raises:
        RuntimeError: If promtool says anything else.
    """
    test = {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": f"{STEP}s",
        "group_eval_order": evaluation_order(),
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": [{"series": one, "values": values} for one, values in series],
                "promql_expr_test": [
                    {"expr": question, "eval_time": f"{((day + 1) * DAY - 1) * STEP}s"}
                    for day in days
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "life.yml")
        path.write_text(json.dumps(test), encoding="utf-8")
        done = subprocess.run(
            [PROMTOOL, "test", "rules", path], capture_output=True, text=True, check=False
        )
    told = done.stdout + done.stderr
    # A query that fails, as one of too many samples does, is an `err:`; it must not count as nothing.
    if done.returncode and ("got:" not in told or "err:" in told):
        raise RuntimeError(told)
    found = []
    for labels, value in _SAMPLE.findall(told.replace('\\"', '"')):
        named = dict(_LABEL.findall(labels))
        key = named["alertname"], named.get("workspace", ""), named.get("bot_id", "")
        found.append((key, float(value)))
    return found


FIRING: Final = 'ALERTS{alertstate="firing",severity!="none"}'


def episodes(
    bots: int, weeks: int, seed: int, *, ordinary: bool, judged: int = JUDGED
) -> Counter[str]:
    """How often each alert began to fire in the judged weeks of healthy bots."""
    question = (
        "sum by (alertname, workspace, bot_id) (count_over_time("
        f"({FIRING} unless {FIRING} offset {STEP}s)[1d:{STEP}s]))"
    )
    series = [
        one
        for workspace in life.workspaces(bots, seed)
        for one in inputs(workspace, weeks, seed, {}, ordinary=ordinary)
    ]
    found: Counter[str] = Counter()
    days = range((weeks - judged) * 7, weeks * 7)
    for (alert, _, _), number in answered(series, question, days):
        found[alert] += round(number)
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """An incident, and when it was told.

    Attributes:
        told: Minutes until the first alert; None if there was none.
        alerts: All that told of it, in the order of their names.
    """

    incident: Incident
    told: float | None
    alerts: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether it was told after it began, and soon enough."""
        return self.told is not None and 0 <= self.told <= self.incident.within


def incidents(
    chosen: Sequence[Incident],
    healthy: int,
    weeks: int,
    seed: int,
    *,
    judged: int = JUDGED,
    ordinary: bool = True,
) -> tuple[list[Told], Counter[str]]:
    """When each incident was told, and which alerts healthy bots and workspaces had beside it."""
    bots = life.workspaces(healthy, seed)
    troubled = {f"bad_{at:02}": one for at, one in enumerate(chosen)}
    troubles, begins = {}, {}
    workspaces = []
    for place, workspace in enumerate(bots):
        own = list(workspace.bots)
        for id_, one in list(troubled.items())[place :: len(bots)]:
            own.append(Bot(id_, workspace.name, one.size, 0.8, 0.1))
            day, hour = one.begins
            begin = (weeks - judged) * WEEK + day * DAY + (hour * 3600 - workspace.offset) // STEP
            troubles[id_], begins[id_] = one.trouble(begin), begin
        workspaces.append(Workspace(workspace.name, workspace.offset, tuple(own)))
    series = [
        one
        for workspace in workspaces
        for one in inputs(workspace, weeks, seed, troubles, ordinary=ordinary)
    ]
    question = (
        "min by (alertname, workspace, bot_id) (min_over_time("
        f"timestamp({FIRING})[1d:{STEP}s])) / {STEP}"
    )
    first: dict[tuple[str, str, str], float] = {}
    for fired, at in answered(series, question, range((weeks - judged) * 7 + 1, weeks * 7)):
        first.setdefault(fired, at)
    found = []
    for id_, one in troubled.items():
        alerts = {
            alert: at
            for (alert, _, bot), at in first.items()
            if bot == id_ and re.search(one.alert, alert)
        }
        told = min(alerts.values(), default=None)
        minutes = None if told is None else (told - begins[id_]) * STEP / 60
        found.append(Told(one, minutes, tuple(sorted(alerts))))
    hit = {
        workspace.name for workspace in workspaces for bot in workspace.bots if bot.id in troubled
    }
    others = Counter(
        alert
        for alert, workspace, bot in first
        if bot not in troubled and (bot or workspace not in hit)
    )
    return found, others


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _false_alarms(seeds: Sequence[int]) -> tuple[list[str], float]:
    """The table of false episodes, and their mean in ordinary life."""
    kinds = [(ordinary, seed) for ordinary in (False, True) for seed in seeds]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda kind: episodes(BOTS, WEEKS, kind[1], ordinary=kind[0]), kinds))
    names = sorted({name for counts in found for name in counts})
    heads = [f"{'ordinary' if ordinary else 'steady'}, seed {seed}" for ordinary, seed in kinds]
    lines = [_row("alert", *heads), _row("---", *("---" for _ in heads))]
    lines += [_row(f"`{name}`", *(counts[name] for counts in found)) for name in names]
    lines.append(_row("episodes", *(counts.total() for counts in found)))
    ordinary_life = [
        counts.total() for (ordinary, _), counts in zip(kinds, found, strict=True) if ordinary
    ]
    return lines, sum(ordinary_life) / len(ordinary_life)


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return "never"
    hours, rest = divmod(round(minutes), 60)
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0 or not hours))


def told_table(found: Sequence[Told]) -> list[str]:
    """When each incident was told, in Markdown."""
    lines = [_row("fault", "told after", "at most", "by"), _row(*["---"] * 4)]
    for one in found:
        by = ", ".join(f"`{alert}`" for alert in one.alerts)
        most = _minutes(one.incident.within)
        lines.append(_row(one.incident.what, _minutes(one.told), most, by))
    return lines


def main() -> int:
    """Print both tables; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks/alerts", description=__doc__)
    parser.add_argument("--seeds", default="1,2", help="of the healthy bots (1,2)")
    given = parser.parse_args()
    table, mean = _false_alarms([int(seed) for seed in given.seeds.split(",")])
    print(*table, sep="\n")
    print(f"\nIn ordinary life: {mean:.3g} in four weeks of {BOTS} bots (at most {ALLOWED:g}).\n")
    found, _ = incidents(INCIDENTS, 4, WEEKS, 1)
    print(*told_table(found), sep="\n")
    return 0 if mean <= ALLOWED and all(one.good for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
