"""PromQL in the few forms that the dashboards need, every selector pinned.

Where two exporters poll the same workspace each value is there twice. `max by` the labels that
name a series counts it once, and leaves out the labels that the configuration adds.
"""

import re
from collections.abc import Mapping
from typing import Final

from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.probing.result import FAMILIES as PROBE_FAMILIES

LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    **{family.name: family.labels for family in (*API_FAMILIES, *REPORT_FAMILIES)},
    **{family.name: family.labels for family in OWN_FAMILIES},
    **{family.name: ("module", *family.labels) for family in PROBE_FAMILIES},
}
"""The labels of every family, without those of its target."""

_OPERATORS: Final = ("=~", "!~", "!=")
CHOSEN: Final = {"job": "=~$job", "workspace": "=~$workspace"}
BOTS: Final = {"bot_id": "=~$bot"}
"""By id: several bots may have one name."""


def selector(name: str, labels: Mapping[str, str], at: str = "") -> str:
    """One selector; a value may begin with its operator, `=~`, `!~`, `!=`, and is equal else."""
    matchers = []
    for label, value in labels.items():
        operator = next((found for found in _OPERATORS if value.startswith(found)), "")
        matchers.append(f'{label}{operator or "="}"{value.removeprefix(operator)}"')
    return f"{name}{{{','.join(matchers)}}}{at}"


def bots(family: str, window: str = "", *, at: str = "", over: str = "", **pins: str) -> str:
    """The values of the chosen bots, one for each bot and label that is not pinned.

    Args:
        family: Its name without `seasalt_`.
        window: The window, where the family has one.
        at: A modifier: ` offset 1w`, ` @ end()`.
        over: A range, such as `8h`, of which the latest value counts.
        pins: The family's own labels.
    """
    scope = CHOSEN | {"api": "seachat"} | BOTS
    return _once(family, scope, ("bot_id", "bot"), window, at, pins, over)


def whole(family: str, window: str = "", *, api: str, at: str = "", **pins: str) -> str:
    """The values of whole workspaces of one API, see `bots`."""
    return _once(family, CHOSEN | {"api": api, "bot_id": ""}, (), window, at, pins)


def _once(
    family: str,
    scope: Mapping[str, str],
    kept: tuple[str, ...],
    window: str,
    at: str,
    pins: Mapping[str, str],
    over: str = "",
) -> str:
    name = f"seasalt_{family}"
    own = [label for label in LABELS[name] if label not in {"bot_id", "bot"}]
    filters = ("handling_status", "exclude_empty_response")
    pinned = {label: "" for label in filters if label in own} | dict(pins)
    if "window" in own:
        pinned = {"window": window} | pinned
    one = {label for label, value in pinned.items() if not value.startswith(_OPERATORS)}
    free = ("api", "workspace", *kept, *(label for label in own if label not in one))
    found = selector(name, {**scope, **pinned}, f"[{over}]{at}" if over else at)
    return f"max by ({', '.join(free)}) ({f'last_over_time({found})' if over else found})"


def reports(family: str, **pins: str) -> str:
    """What is told of each report of the chosen bots, and of whole workspaces."""
    by = "api, workspace, bot_id, bot, report, window"
    chosen = CHOSEN | {"bot_id": "=~$bot|"} | pins
    return f"max by ({by}) ({selector(f'seasalt_report_{family}', chosen)})"


def probes(name: str, **pins: str) -> str:
    """A family of the probes of the chosen bots; their job is another than the exporter's.

    Args:
        name: Its name.
        pins: The family's own labels.
    """
    free = ("workspace", "bot_id", "bot", *(one for one in LABELS[name] if one not in pins))
    chosen = {"workspace": CHOSEN["workspace"]} | BOTS | pins
    return f"max by ({', '.join(free)}) ({selector(name, chosen)})"


def own(name: str, by: str = "", *, of: str = "max", over: str = "", **pins: str) -> str:
    """A family of the exporter's own, or of its process.

    Args:
        name: Its name.
        by: The labels to keep.
        of: Which of several exporters' values counts: `max`, or `min` where 0 is what is wrong.
        over: A range for rate and increase.
        pins: The family's own labels.
    """
    labels = LABELS.get(name.removesuffix("_bucket"), ())
    chosen = {"job": CHOSEN["job"]} | (
        {"workspace": "=~$workspace"} if "workspace" in labels else {}
    )
    found = selector(name, chosen | pins, over)
    return f"{of} by ({by}) ({found})" if by else found


def recorded(
    rule: str, at: str = "", *, bots: bool = True, whole_too: bool = False, api: str = ""
) -> str:
    """A recorded series of the chosen bots, or of whole workspaces.

    Args:
        rule: Its name.
        at: A modifier, see `bots`.
        bots: Whether to take the bots, where the level of the rule has both.
        whole_too: Whether to take bots and whole workspaces, which no sum must do.
        api: Of one API alone.
    """
    level = rule.partition(":")[0]
    target = {"bot_id": "=~$bot|"} if whole_too else BOTS if bots else {"bot_id": ""}
    scope = {"bot": BOTS, "target": target}.get(level, {})
    return selector(rule, CHOSEN | ({"api": api} if api else {}) | scope, at)


def at_end(expression: str) -> str:
    """The same at the end of the time range, at each of its points."""
    return re.sub(r"\}(\[[^\]]*\])?(?! @)", r"}\1 @ end()", expression)


def total(expression: str, by: str = "") -> str:
    """The sum, by some labels or of all."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def ratio(above: str, below: str) -> str:
    """A quotient, none where it would be of nothing."""
    return f"{above} / ({below} > 0)"


_EACH_BOT: Final = f"count by (workspace, bot_id, bot) ({reports('success')})"
_ALIKE: Final = at_end(f"on (workspace, bot) (count by (workspace, bot) ({_EACH_BOT}) > 1)")


def told_apart(expression: str) -> str:
    """The same by bot, with its id in the name of each that shares it within its workspace."""
    return (
        f"({expression}) unless {_ALIKE}"
        f' or label_join(({expression}) and {_ALIKE}, "bot", " / ", "bot", "bot_id")'
    )
