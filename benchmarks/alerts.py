"""How often the shipped alerts are false, and how soon they tell of what goes wrong.

promtool evaluates the rules of config/prometheus/rules over weeks of made-up bots (see
`benchmarks.life`): the first for what is usual, the last four to judge. Two tables come of it: how
many episodes of each alert healthy bots had, and how long after its beginning each planted incident
was told. Nothing is random but by the seed, and only the rules decide.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
SEEDS: Final = (1, 2)
BOTS: Final = 50
WEEKS: Final = 8
JUDGED: Final = 4
"""Of the weeks, the last so many."""

ALLOWED: Final = 2.0
"""False episodes in four weeks of 50 bots in ordinary life."""

WITHIN: Final = 30
"""Minutes after the data can show it, in which an incident must be told."""

_SAMPLE: Final = re.compile(r"(\w*)(\{[^}]*\}) ([-+.\dE]+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_RECORDED: Final = re.compile(r"\w+(?::\w+)+")

Fired = Mapping[tuple[str, str, str], float]
"""A number for each alert, workspace and bot id."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong with a bot.

    Attributes:
        what: As the table says it.
        place: Of the bot that has it, in order of size.
        begins: The step.
        shows: How many messages, or ratings, must be due since then before the data can show it.
        alerts: Any of these tells of it.
    """

    what: str
    place: int
    begins: int
    shows: float
    alerts: frozenset[str]
    trouble: Trouble


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
        report = {**target, "report": "activity_trend", "window": "today"}
        yield (
            _labelled("seasalt_report_last_success_timestamp_seconds", report),
            f"0+{STEP}x{steps}",
        )
        yield _labelled("seasalt_report_interval_seconds", report), f"{STEP}x{steps}"
        trouble = troubles.get(bot.id, Trouble())
        for family, labels, values in life.series(
            bot, workspace.offset, lively[bot.id], steps, seed, trouble
        ):
            yield _labelled(family, {**target, **labels}), notation(values)


def answered(series: Sequence[tuple[str, str]], question: str, weeks: int) -> Fired:
    """What a query answers in the end, after promtool has evaluated all rules over the series.

    promtool's tests compare and do not print. So this one expects nothing, and reads what it got.

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
                    {"expr": question, "eval_time": f"{(weeks * WEEK - 1) * STEP}s"}
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
    if done.returncode and "got:" not in told:
        raise RuntimeError(told)
    found = {}
    for _, labels, value in _SAMPLE.findall(told.partition("got:")[2].replace('\\"', '"')):
        named = dict(_LABEL.findall(labels))
        key = named["alertname"], named.get("workspace", ""), named.get("bot_id", "")
        found[key] = float(value)
    return found


def _of_alerts(question: str) -> str:
    """A question about the alerts that notify somebody, in the weeks that are judged."""
    firing = 'ALERTS{alertstate="firing",severity!="none"}'
    return f"{question} by (alertname, workspace, bot_id) ".join(("", "")) + firing


def episodes(
    bots: int, weeks: int, seed: int, *, ordinary: bool, judged: int = JUDGED
) -> Counter[str]:
    """How often each alert began to fire in the judged weeks of healthy bots."""
    firing = 'ALERTS{alertstate="firing",severity!="none"}'
    question = (
        "sum by (alertname, workspace, bot_id) (count_over_time("
        f"({firing} unless {firing} offset {STEP}s)[{judged}w:{STEP}s]))"
    )
    series = [
        one
        for workspace in life.workspaces(bots, seed)
        for one in inputs(workspace, weeks, seed, {}, ordinary=ordinary)
    ]
    found: Counter[str] = Counter()
    for (alert, _, _), number in answered(series, question, weeks).items():
        found[alert] += round(number)
    return found
