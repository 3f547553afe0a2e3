"""Which alerts somebody should look at: those that fire, less those that Alertmanager inhibits.

The inhibit rules are read from the shipped `alertmanager.yml`, so that a number, a table and a
notification agree. Silences are known to Alertmanager alone.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from grafana.builder.query import recorded
from grafana.builder.words import ROOT

_FILE: Final = ROOT / "config" / "alertmanager" / "alertmanager.yml"
_OURS: Final = 'alertname=~"Seasalt.*",severity!="none",workspace=~"$workspace|",bot_id=~"$bot|"'
FIRING: Final = f'ALERTS{{{_OURS},alertstate="firing"}}'
"""Alerts of the chosen workspaces and bots and of the exporter; `none` notifies nobody."""

PLACE: Final = "workspace, bot_id, bot"
_RANKS: Final = {"critical": 3, "warning": 2, "info": 1}


def _matchers(listed: list[str]) -> str:
    found = (re.fullmatch(r'(\w+)\s*(=~|!~|!=|=)\s*"?(.*?)"?', one) for one in listed)
    return ",".join(f'{one[1]}{one[2]}"{one[3]}"' for one in found if one)


def _inhibited() -> Iterator[str]:
    content: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    for rule in content["inhibit_rules"]:
        target, source = _matchers(rule["target_matchers"]), _matchers(rule["source_matchers"])
        yield (
            f' unless (ALERTS{{{_OURS},alertstate="firing",{target}}}'
            f" and on ({', '.join(rule['equal'])})"
            f' ALERTS{{alertstate="firing",{source}}})'
        )


HEEDED: Final = f"({FIRING}{''.join(_inhibited())})"
"""Like the alert in Alertmanager: a label that both lack is equal, and an inhibited one inhibits."""


def placed(expression: str) -> str:
    """The same with a word for the bot where it is about a whole workspace, or the exporter.

    The id is then what stands for all values of a variable in a link.
    """
    for label, word in (("bot_id", "All"), ("bot", "all bots"), ("workspace", "exporter")):
        expression = f'label_replace({expression}, "{label}", "{word}", "{label}", "")'
    return expression


def leading(expression: str) -> str:
    """The same with where a row leads: to its bot, or to the bots of its workspace, or of all."""
    for label, value, of, regex in (
        ("board", "seasalt-bot", "bot_id", ".+"),
        ("board", "seasalt-overview", "bot_id", ""),
        ("scope", "$1", "workspace", "(.+)"),
        ("scope", "All", "workspace", ""),
    ):
        expression = f'label_replace({expression}, "{label}", "{value}", "{of}", "{regex}")'
    return expression


_RANK: Final = " or ".join(
    f'label_replace(vector({rank}), "severity", "{name}", "", "")' for name, rank in _RANKS.items()
)
WORST: Final = placed(
    leading(
        f"max by ({PLACE}, alertname) (topk by ({PLACE}) (1,"
        f" max by ({PLACE}, alertname, severity) ({HEEDED})"
        f" * on (severity) group_left () ({_RANK})))"
    )
)
"""The worst alert of each bot and workspace: 3 is critical, 2 a warning, 1 to know."""
NUMBER: Final = placed(f"count by ({PLACE}) ({HEEDED})")
SINCE: Final = placed(
    f"time() - min by ({PLACE}) (ALERTS_FOR_STATE{{{_OURS}}} and ignoring (alertstate) {HEEDED})"
)
"""Seconds since the condition of the first of them began."""
_MESSAGES: Final = recorded("target:seasalt_messages_1h:sum", whole_too=True)
TREND: Final = placed(
    f"max by ({PLACE}) ({_MESSAGES}) and on (workspace, bot_id) {HEEDED.replace('}', '} @ end()')}"
)
"""Messages an hour of those that have an alert now."""
