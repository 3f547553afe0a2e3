"""A panel's few words, and the JSON that Grafana makes a panel of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from exporter.reports.catalogue import REPORTS
from grafana.builder.query import at_end, told_apart

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "bargauge", "table", "barchart", "state-timeline"]

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
GAP: Final = 30 * 60 * 1000
"""Milliseconds without a value over which a line is still drawn: three intervals of ten minutes."""

_REPORTS: Final = {family.name: report.name for report in REPORTS for family in report.families}
_LEGEND: Final = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_REDUCE: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_TOOLTIP: Final = {"mode": "multi", "sort": "desc"}
_OPTIONS: Final[Mapping[Kind, Json]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "percentChangeColorMode": "same_as_value",
        "orientation": "auto",
        "reduceOptions": _REDUCE,
        "showPercentChange": False,
        "textMode": "value",
        "wideLayout": True,
    },
    "timeseries": {"legend": _LEGEND, "tooltip": _TOOLTIP},
    "bargauge": {
        "displayMode": "basic",
        "legend": {**_LEGEND, "showLegend": False},
        "minVizHeight": 10,
        "minVizWidth": 8,
        "maxVizHeight": 40,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": _REDUCE,
        "showUnfilled": True,
        "sizing": "auto",
        "text": {"titleSize": 12, "valueSize": 16},
        "valueMode": "text",
    },
    # Grafana 13 knows enablePagination and frozenColumns here, 12 and older the pagination of the footer.
    "table": {
        "cellHeight": "sm",
        "enablePagination": True,
        "footer": {"enablePagination": True, "fields": "", "reducer": [], "show": False},
        "frameIndex": 0,
        "frozenColumns": {"left": 0},
        "showHeader": True,
    },
    "barchart": {
        "barRadius": 0,
        "barWidth": 0.8,
        "fullHighlight": False,
        "groupWidth": 0.75,
        "legend": {**_LEGEND, "showLegend": False},
        "orientation": "vertical",
        "showValue": "auto",
        "stacking": "none",
        "tooltip": _TOOLTIP,
        "xTickLabelMaxLength": 0,
        "xTickLabelRotation": 0,
        "xTickLabelSpacing": 0,
    },
    "state-timeline": {
        "alignValue": "left",
        "legend": _LEGEND,
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": _TOOLTIP,
    },
}
_CUSTOM: Final[Mapping[Kind, Json]] = {
    "timeseries": {
        "drawStyle": "line",
        "fillOpacity": 0,
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "showPoints": "never",
        "spanNulls": GAP,
    },
    "table": {
        "align": "auto",
        "cellOptions": {"type": "auto"},
        "filterable": False,
        "inspect": False,
        "minWidth": 90,
    },
    "barchart": {"fillOpacity": 80, "lineWidth": 0},
    "state-timeline": {"fillOpacity": 70, "lineWidth": 0, "spanNulls": GAP},
}
NOTHING: Final[Json] = {
    "type": "special",
    "options": {"match": "null+nan", "result": {"color": "text", "index": 9, "text": "-"}},
}
"""A cell that has no value, in no colour that means something."""
_CELLS: Final[Json] = {
    "matcher": {"id": "byRegexp", "options": "/.*/"},
    "properties": [{"id": "noValue", "value": "-"}],
}
"""The panel's own text is for a table without rows."""
SPACES: Final[Json] = {
    "id": "renameByRegex",
    "options": {"regex": "/_/g", "renamePattern": " "},
}
"""Names of the API's own as a person would write them."""


ROOM: Final = 65
"""Pixels that a table has for each of its 24ths, on a screen of 1600."""
_WIDE: Final = 6
"""Columns of a table from which on it may have to be moved sideways."""
_SHORT: Final = {"Nothing": "None today", "Needs": "Not polled"}
"""What stands in a number's panel instead of the long text, by its first word."""


@dataclass(frozen=True)
class Query:
    """A query and what its result is called.

    Attributes:
        expr: In PromQL.
        legend: With labels in double braces.
        trend: Whether a table shows it as a small line; else a table asks for now alone.
    """

    expr: str
    legend: str = ""
    trend: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What a panel says.

    Attributes:
        title: The subject of its question.
        asks: The question that it answers.
        window: What stretch of time the numbers stand for, and by which clock.
        queries: In order; `A`, `B` … to Grafana.
        empty: Stands in the panel where there is nothing; by default, which report it needs. A number
            has no room for that, and says it in the description.
        unit: Grafana's id; `locale` writes 12,345.
        steps: Thresholds as (from, colour), where somebody acts; the first one is from -infinity.
        size: Columns of 24, and rows.
        interval: The least step between two points.
        names: Columns of a table, and the titles that they get, in this order.
        columns: Further settings of a column, by its title: any field option.
        first: Transformations before those that make one table of several queries.
    """

    title: str
    asks: str
    window: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    empty: str = ""
    unit: str = "locale"
    decimals: int | None = None
    minimum: float | None = 0
    maximum: float | None = None
    steps: tuple[tuple[float | None, str], ...] = ()
    mappings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    size: tuple[int, int] = (12, 8)
    interval: str = ""
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Json] = field(default_factory=dict)
    first: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    overrides: tuple[Json, ...] = ()

    def json(self) -> Json:
        """As Grafana has it, but for its id and its place."""
        needs, about = self._needs(), ""
        if self.kind == "stat" and not self.empty:
            needs, about = _SHORT.get(needs.partition(" ")[0], needs), f" Empty: {needs}."
        defaults: Json = {
            "color": {"mode": "palette-classic"},
            "custom": {**_CUSTOM.get(self.kind, {}), **self.custom},
            "links": [],
            "mappings": self._mappings(),
            "noValue": self.empty or needs,
            "thresholds": self._thresholds(),
            "unit": self.unit,
        }
        if self.kind != "timeseries":
            fixed = {"mode": "fixed", "fixedColor": "text" if self.kind == "stat" else "blue"}
            defaults["color"] = {"mode": "thresholds"} if self.steps or self.mappings else fixed
        # Whole percents on an axis leave it two labels, 0 and 100%; whole mebibytes the same one twice.
        rough = self.kind == "timeseries" and self.unit in {"percentunit", "bytes"}
        # From 0 on, the line behind a share that stays near 90 % would be flat.
        limits = {
            "decimals": None if rough else self.decimals,
            "min": None if self._sparkles() and self.unit == "percentunit" else self.minimum,
            "max": self.maximum,
        }
        defaults |= {name: value for name, value in limits.items() if value is not None}
        return {
            "datasource": DATASOURCE,
            "description": f"{self.asks} {self.window}{about}",
            "fieldConfig": {"defaults": defaults, "overrides": self._overrides()},
            "options": {**_OPTIONS[self.kind], **self._means(), **self.options},
            **({"maxDataPoints": 60} if self._sparkles() else {}),
            **({"interval": self.interval} if self.interval else {}),
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "title": self.title,
            "transformations": self._transformations(),
            "type": self.kind,
        }

    @property
    def shown(self) -> Mapping[str, str]:
        """The columns, with the bot's id wherever there is a bot: rows are told apart by it."""
        return {
            **self.names,
            **({"bot_id": "Id"} if {"bot", "workspace"} <= self.names.keys() else {}),
        }

    def _sparkles(self) -> bool:
        """Whether a number has its line behind it; a name has none.

        Grafana rounds the end of a line down to a sixtieth of the time range, half a day of a month.
        That is nothing to a window of days that slides on; what is of now, of today or of the last day is
        asked for now.
        """
        plain = self.options.get("textMode") == "name" or self.mappings
        slides = all(re.search('window="last_(?!day")', query.expr) for query in self.queries)
        return self.kind == "stat" and slides and not plain

    def _means(self) -> Json:
        """Grafana's own means: the change over the time range, columns that stay."""
        if self.kind == "stat":
            # The change of a percentage is read as points, which it is not.
            number = self.unit != "percentunit"
            graph = "area" if self._sparkles() else "none"
            # Side by side, the line would be drawn through the number.
            room = {"wideLayout": False} if self._sparkles() else {}
            return {"graphMode": graph, "showPercentChange": self._sparkles() and number, **room}
        wide = len(self.names) > _WIDE or not self.names
        left = list(self.shown).index("bot") + 1 if "bot" in self.names else 1
        return {"frozenColumns": {"left": left}} if self.kind == "table" and wide else {}

    def _needs(self) -> str:
        """Which report with which window fills the panel."""
        found = re.search(r"\b(seasalt_[a-z_]+)\{(?:[^}]*window=\"(\w+)\")?", self.queries[0].expr)
        report = _REPORTS.get(found[1]) if found else None
        if not found or not report:
            return "Not scraped"
        if found[2] == "today":
            return f"Nothing yet today, or {report} is not polled"
        return f"Needs {report}" + (f", {found[2]}" if found[2] else "")

    def _thresholds(self) -> Json:
        steps = self.steps or ((None, "text"),)
        return {
            "mode": "absolute",
            "steps": [{"color": colour, "value": value} for value, colour in steps],
        }

    def _mappings(self) -> list[Json]:
        if not self.mappings:
            return [NOTHING] if self.kind == "table" else []
        shown = {
            value: {"color": colour, "index": place, "text": text}
            for place, (value, (text, colour)) in enumerate(self.mappings.items())
        }
        return [{"type": "value", "options": shown}]

    def _target(self, place: int, query: Query) -> Json:
        now = not (self.kind in {"timeseries", "state-timeline"} or self._sparkles() or query.trend)
        # The line ends with a value of now, or there is neither: never an old value as the number.
        expr = query.expr
        if self._sparkles():
            expr = f"({expr}) and on () ({at_end(expr)})"
        if self.kind == "table" and {"bot", "workspace"} <= self.names.keys():
            expr = told_apart(expr)
        table = self.kind in {"table", "barchart"} and not query.trend
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": expr,
            "format": "table" if table else "time_series",
            "instant": now,
            "legendFormat": query.legend,
            "range": not now,
            "refId": chr(ord("A") + place),
        }

    def _transformations(self) -> list[Json]:
        if not self.names:
            return list(self.transformations)
        order = {name: place for place, name in enumerate(self.shown)}
        return [
            *self.first,
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": list(self.shown)}}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": order,
                    "renameByName": dict(self.shown),
                },
            },
            *self.transformations,
        ]

    def _overrides(self) -> list[Json]:
        # Grafana writes 2026 as 2,026 wherever a text looks like a number.
        texts = [
            title for name, title in self.names.items() if not name.startswith(("Value", "Trend"))
        ]
        hidden = [
            title
            for name, title in self.shown.items()
            if name in {"url", "bot_id", "board", "scope"} and title not in self.columns
        ]
        filtered = {"custom__filterable": True} if self.kind == "table" else {}
        long = [title for title in texts if title in {"Bot", "Label", "Report"}]
        return [
            *((_CELLS,) if self.kind == "table" else ()),
            *self.overrides,
            *(named(title, unit="string", **filtered) for title in texts),
            *(named(title, **_tooltip(title)) for title in long if self.kind == "table"),
            *(named(title, **HIDDEN) for title in hidden),
            *(named(title, **settings) for title, settings in self.columns.items()),
            *(named(title, custom__width=width) for title, width in self._fixed().items()),
        ]

    def _fixed(self) -> dict[str, float]:
        """The columns of a table that need more than an equal share of its room, and their widths.

        Grafana gives each column without a width the same share, or its least width if that is more,
        and takes nothing from the others: the last column would lie beyond the panel's edge.
        """
        if self.kind != "table" or not self.names:
            return {}
        least = {"minWidth": 0, **_CUSTOM["table"], **self.custom}["minWidth"]
        settings = {
            title: self.columns.get(title, {})
            for name, title in self.names.items()
            if name != "url"
        }
        room = ROOM * self.size[0] - sum(one.get("custom__width", 0) for one in settings.values())
        wanted = {
            title: one.get("custom__minWidth", least)
            for title, one in settings.items()
            if "custom__width" not in one
        }
        fixed: dict[str, float] = {}
        while wide := {
            title: width
            for title, width in wanted.items()
            if title not in fixed and width * (len(wanted) - len(fixed)) > room
        }:
            fixed |= wide
            room -= sum(wide.values())
        return fixed


# Grafana 12 and older know the first, newer ones the second.
HIDDEN: Final = {"custom__hidden": True, "custom__hideFrom": {"viz": True}}
"""Settings of a column that only links read."""


def _tooltip(field_name: str) -> Json:
    """A cell that is cut off shows its whole text under the mouse; Grafana 13 knows it."""
    return {"custom__tooltip": {"field": field_name, "placement": "auto"}}


def named(name: str, **settings: object) -> Json:
    """Settings of one field, by its name; `__` in a setting stands for the dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": setting.replace("__", "."), "value": value}
            for setting, value in settings.items()
        ],
    }
