"""Rows of panels, and the dashboard around them."""

import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

from grafana.builder.attention import FIRING
from grafana.builder.panel import DATASOURCE, Json, Panel

TAG: Final = "seasalt"
_COLUMNS: Final = 24


@dataclass(frozen=True)
class Row:
    """A heading and what is below it, from left to right, as many to a line as fit."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard.

    Attributes:
        uid: Its address, which alerts and links use.
        title: Its name.
        about: What it is for, in a sentence.
        rows: From top to bottom.
        since: How far back it looks when it is opened.
        one_bot: Whether it opens with the first bot alone, and not with all.
    """

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    since: str = "now-7d"
    one_bot: bool = False

    def json(self) -> Json:
        """The file's content."""
        return {
            "annotations": {"list": [_annotation()]},
            "description": self.about,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "links": [_links()],
            "panels": self._panels(),
            "refresh": "5m",
            "schemaVersion": 42,
            "tags": [TAG],
            "templating": {"list": _variables(self._used(), one_bot=self.one_bot)},
            "time": {"from": self.since, "to": "now"},
            "timepicker": {},
            "timezone": "browser",
            "title": f"Seasalt: {self.title}",
            "uid": self.uid,
            "version": 1,
            "weekStart": "monday",
        }

    def _panels(self) -> list[Json]:
        found: list[Json] = []
        top = 0
        for row in self.rows:
            place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
            found.append(
                {
                    "collapsed": False,
                    "gridPos": place,
                    "id": self._id(row.title),
                    "panels": [],
                    "title": row.title,
                    "type": "row",
                }
            )
            left, top, highest = 0, top + 1, 0
            for panel in row.panels:
                width, height = panel.size
                if left + width > _COLUMNS:
                    left, top, highest = 0, top + highest, 0
                place = {"h": height, "w": width, "x": left, "y": top}
                found.append({"gridPos": place, "id": self._id(panel.title), **panel.json()})
                left, highest = left + width, max(highest, height)
            top += highest
        return found

    def _used(self) -> set[str]:
        """The variables that a panel asks for: the marks alone are no reason to offer one."""
        asked = (query.expr for row in self.rows for panel in row.panels for query in panel.queries)
        return set(re.findall(r"\$(\w+)", " ".join(asked)))

    def _id(self, title: str) -> int:
        """A number that stays when panels move, as links to a panel hold it."""
        return zlib.crc32(f"{self.uid}/{title}".encode()) % 1_000_000 + 1


def _links() -> Json:
    return {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": [TAG],
        "targetBlank": False,
        "title": "Seasalt dashboards",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }


def _annotation() -> Json:
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": FIRING,
        "hide": False,
        "iconColor": "red",
        "name": "Firing alerts",
        "step": "60s",
        "tagKeys": "severity",
        "target": {"expr": FIRING, "refId": "Alerts"},
        "textFormat": "{{workspace}} {{bot}}",
        "titleFormat": "{{alertname}}",
        "useValueForTime": False,
    }


_EACH_BOT: Final = (
    "count by (workspace, bot_id, bot)"
    ' (seasalt_report_success{job=~"$job",workspace=~"$workspace",bot_id!=""})'
)
_ALIKE: Final = f"on (workspace, bot) (count by (workspace, bot) ({_EACH_BOT}) > 1)"
"""Bots of one workspace that share a name are told apart by their ids."""
_BOTS: Final = (
    f'query_result(label_join({_EACH_BOT} unless {_ALIKE}, "shown", " / ", "bot", "workspace")'
    f' or label_join({_EACH_BOT} and {_ALIKE}, "shown", " / ", "bot", "workspace", "bot_id"))'
)
# The labels come sorted and unescaped: a name may hold any character.
_SHOWN: Final = r'/bot_id="(?<value>[^"]*)",shown="(?<text>.*)",workspace="/'


def _variables(used: set[str], *, one_bot: bool) -> list[Json]:
    bot = _variable("bot", _BOTS, ".+") | {"regex": _SHOWN}
    if one_bot:
        # Where All can be chosen Grafana begins with it, and the sum of fifty bots is no bot's.
        bot |= {"includeAll": False, "current": {"selected": False, "text": [], "value": []}}
    found = [
        {
            "current": {"selected": False, "text": "default", "value": "default"},
            "hide": 0,
            "includeAll": False,
            "label": "Data source",
            "multi": False,
            "name": "datasource",
            "options": [],
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "type": "datasource",
        },
        _variable("job", "label_values(seasalt_exporter_build_info, job)", ".+"),
        _variable("workspace", 'label_values(seasalt_up{job=~"$job"}, workspace)'),
        bot,
    ]
    return [one for one in found if one["name"] in {"datasource", *used}]


def _variable(name: str, query: str, every: str = ".*") -> dict[str, Any]:
    return {
        "allValue": every,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": name.title(),
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }
