"""How often the shipped alerts are false, and how soon they tell of what is wrong.

promtool evaluates the rules of config/prometheus/rules over eight weeks of made-up bots
(`benchmarks.life`), the first four for what is usual. It prints, for each alert, how many episodes
there were among healthy bots in four weeks, and how long after its beginning each planted incident
was told. Nothing here is random but by the seed.
"""

import argparse
import json
import math
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
from benchmarks.life import DAY, JUDGED, STEP, WEEK, WEEKS, Bot, Trouble, Values, Workspace
from benchmarks.machine import ROOT, TOOLS

RULES: Final = ROOT / "config" / "prometheus" / "rules"
END: Final = WEEKS * WEEK - 1
"""The last step."""

_FIRING: Final = re.compile(r'\{(?P<labels>[^}]*)\} (?P<value>[-+.\dE]+)')
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def notation(values: Values) -> str:
    """Values as promtool's tests write them: `3x5` is 3 six times, `_` none, `1+2x9` a ramp."""
    parts = []
    at = 0
    while at < len(values):
        end = at
        while end + 1 < len(values) and values[end + 1] == values[at]:
            end += 1
        value = "_" if values[at] is None else f"{values[at]:.10g}"
        times = end - at
        if value == "_":
            parts.append(f"_x{times + 1}")
        else:
            parts.append(f"{value}x{times}" if times else value)
        at = end + 1
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
        name: {
            recorded[found]
            for rule in rules
            for found in re.findall(r"\w+(?::\w+)+", rule["expr"])
            if recorded.get(found, name) != name
        }
        for name, rules in groups.items()
    }
    return [*TopologicalSorter(needs).static_order()]


def labelled(family: str, labels: Mapping[str, str]) -> str:
    """A series in PromQL's notation."""
    return family + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong, and what should tell of it.

    Attributes:
        bot: The id of the bot that has it; empty for a workspace.
        begins: The step.
        shows: The step from which the data can show it.
        alerts: Any of these tells of it.
    """

    what: str
    bot: str
    begins: int
    shows: int
    alerts: frozenset[str]
    trouble: Trouble


def inputs(
    workspace: Workspace, seed: int, troubles: Mapping[str, Trouble], *, ordinary: bool
) -> Iterator[tuple[str, str]]:
    """Each series of a workspace, and its values."""
    steps = WEEKS * WEEK
    common = {"job": "seasalt", "instance": "exporter:9877"}
    of = {**common, "api": "seachat", "workspace": workspace.name}
    yield labelled("up", common), f"1x{steps}"
    yield labelled("seasalt_series", of), f"1000x{steps}"
    yield labelled("seasalt_api_key_valid", of), f"1x{steps}"
    yield labelled("seasalt_workspace_utc_offset_seconds", of), f"{workspace.offset}x{steps}"
    lively = life.days(workspace, seed, ordinary=ordinary)
    for bot in workspace.bots:
        target = {**of, "bot_id": bot.id, "bot": bot.id}
        for family, labels, values in life.series(
            bot, workspace.offset, lively[bot.id], seed, troubles.get(bot.id, Trouble())
        ):
            yield labelled(family, {**target, **labels}), notation(values)
        for report, window in REPORTS:
            named = {**target, "report": report, "window": window}
            last = labelled("seasalt_report_last_success_timestamp_seconds", named)
            yield last, f"0+{STEP}x{steps}"
            yield labelled("seasalt_report_interval_seconds", named), f"600x{steps}"
            yield labelled("seasalt_report_success", named), f"1x{steps}"


REPORTS: Final = (("activity_trend", "today"),)
EPISODES: Final = (
    "sum by (alertname, bot_id) (count_over_time((ALERTS{alertstate='firing',severity!='none'} "
    f"unless ALERTS{{alertstate='firing',severity!='none'}} offset {STEP}s)[4w:{STEP}s]))"
)
FIRST: Final = (
    "min by (alertname, bot_id) (min_over_time("
    f"timestamp(ALERTS{{alertstate='firing',severity!='none'}})[4w:{STEP}s]))"
)


def answers(promtool: str, series: Iterator[tuple[str, str]], question: str) -> object:
    """What a query answers after the last step, by the labels alertname and bot_id."""
    test = {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": f"{STEP}s",
        "group_eval_order": evaluation_order(),
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": [{"series": one, "values": values} for one, values in series],
                "promql_expr_test": [
                    {"expr": question, "eval_time": f"{END * STEP}s", "exp_samples": []}
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "life.yml")
        path.write_text(json.dumps(test), encoding="utf-8")
        command = [promtool, "test", "rules", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done


if __name__ == "__main__":
    import time
    ws = life.workspaces(int(sys.argv[2]), 1)[int(sys.argv[1])]
    a = time.time()
    done = answers(str(TOOLS / "prometheus/usr/bin/promtool"), inputs(ws, 1, {}, ordinary=True), EPISODES)
    print(done.returncode, done.stdout[-300:], done.stderr[-3000:])
    print(time.time() - a)
