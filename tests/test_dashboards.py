"""What every dashboard promises, read out of the files that are shipped."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support.promql import FILTERS

from exporter.commands import demo
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.model.apis import APIS
from exporter.probing.result import FAMILIES as PROBE_FAMILIES
from exporter.sandbox import Sandbox
from grafana.builder import attention
from grafana.builder.__main__ import content, main
from grafana.builder.catalogue import BOARDS, UNUSED
from grafana.builder.common import MATRIX_COLOURS
from grafana.builder.needs import BEGIN, END, table
from grafana.builder.panel import ROOM
from grafana.builder.query import told_apart
from grafana.builder.words import LEAST_ANSWERS, SHARE_STEPS

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "grafana" / "dashboards"
DOCUMENT: Final = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
RULES: Final = ROOT / "config" / "prometheus" / "rules"
UIDS: Final = (
    *("seasalt-overview", "seasalt-bot", "seasalt-demand", "seasalt-csat"),
    *("seasalt-agents", "seasalt-topics", "seasalt-usage", "seasalt-exporter"),
)
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
TARGET: Final = {"job", "api", "workspace", "bot_id", "bot"}
NOT_OURS: Final = {
    "ALERTS": TARGET
    | {"alertname", "alertstate", "severity", "category", "report", "window", "channel"},
    "ALERTS_FOR_STATE": TARGET | {"alertname", "severity", "category", "report", "window"},
    "seasalt:address:runbooks": set(),
    "seasalt:contract:voice_seconds_per_month": {"workspace"},
    "seasalt:contract:chat_responses_per_month": {"workspace"},
    "seasalt:price:voice_minute": {"workspace", "currency"},
    "seasalt:price:chat_response": {"workspace", "currency"},
    "process_resident_memory_bytes": {"job", "instance"},
}
PROBES: Final = {family.name: TARGET | {"module"} | set(family.labels) for family in PROBE_FAMILIES}
LABELS: Final = {
    **PROBES,
    **{family.name: TARGET | set(family.labels) for family in (*API_FAMILIES, *REPORT_FAMILIES)},
    **{family.name: {"job"} | set(family.labels) for family in OWN_FAMILIES},
    **NOT_OURS,
}
COUNTERS: Final = {family.name for family in OWN_FAMILIES if family.kind == "counter"}
API_NAMES: Final = {family.name for family in API_FAMILIES}
WITH_WINDOW: Final = {family.name for family in API_FAMILIES if "window" in family.labels}
RUNBOOK: Final = "${__data.fields.Runbooks:raw}/${__data.fields.Why:raw}.md"
DRAWN_OVER_TIME: Final = {"timeseries", "state-timeline"}

UNITS: Final = {"none", "locale", "string", "percentunit", "s", "bytes", "reqpm"}
"""Ids of Grafana's list of units, as far as they are used."""
SAID_AS: Final = {
    "today": r"\b(today|now|an hour|a day|four weeks)\b",
    "yesterday": r"\byesterday\b",
    "last_day": r"\blast day\b",
    "last_7_days": r"\b(7 days|last week)\b",
    "last_29_days": r"\b(29 days|four weeks)\b",
    "last_30_days": r"\b30 days\b",
    "this_month": r"\bmonth\b",
    "all": r"\ball time\b",
}
"""How a window is told where there is little room."""

Json = dict[str, Any]
each_board = pytest.mark.parametrize("uid", UIDS)


@dataclass(frozen=True)
class Selector:
    """One selector of a query: its metric, and operator and value by label."""

    name: str
    labels: Mapping[str, tuple[str, str]]


@cache
def board(uid: str) -> Json:
    found: Json = json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8"))
    return found


def panels(uid: str) -> list[Json]:
    """Those that ask something."""
    return [panel for panel in board(uid)["panels"] if panel["type"] != "row"]


def columns(panel: Json) -> list[str]:
    """The titles of a table's columns."""
    return [
        title
        for change in panel["transformations"]
        for title in change["options"].get("renameByName", {}).values()
    ]


def queries(uid: str) -> list[str]:
    """Of the panels."""
    return [target["expr"] for panel in panels(uid) for target in panel["targets"]]


def every_query(uid: str) -> list[str]:
    """Of panels, annotations and variables."""
    variables = [
        inside[1] or inside[2]
        for one in board(uid)["templating"]["list"]
        if one["type"] == "query"
        and (
            inside := re.fullmatch(
                r"(?:label_values\((.*), \w+|query_result\((.*))\)", one["query"]["query"]
            )
        )
    ]
    annotations = [one["target"]["expr"] for one in board(uid)["annotations"]["list"]]
    return [*queries(uid), *variables, *annotations]


def selectors(expression: str) -> Iterator[Selector]:
    """All of a query; every one has braces, or is a bare name in a variable."""
    bare = re.fullmatch(r"\w+", expression)
    if bare:
        yield Selector(expression, {})
    for name, inside in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
        labels = {
            label: (operator, value)
            for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', inside)
        }
        yield Selector(name.removesuffix("_bucket"), labels)


def walk(part: object) -> Iterator[Json]:
    """Every object of a file."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from walk(value)
    elif isinstance(part, list):
        for value in part:
            yield from walk(value)


@cache
def recorded() -> dict[str, set[str]]:
    """The labels of the recorded series, as their names and the file's head promise them."""
    by_level = {
        "bot": TARGET,
        "workspace": {"job", "api", "workspace"},
        "channel": TARGET | {"channel"},
        "report": TARGET | {"report", "window"},
        "target": TARGET,
    }
    names = {
        rule["record"]
        for file in RULES.glob("*.yml")
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    levels = {name: name.partition(":")[0] for name in names}
    return {name: by_level[level] for name, level in levels.items() if level in by_level}


@each_board
def test_making_a_dashboard_anew_gives_the_same_bytes(uid: str) -> None:
    (made,) = (one for one in BOARDS if one.uid == uid)
    shipped = (FOLDER / f"{uid}.json").read_bytes()
    assert content(made).encode() == shipped, "python -m grafana.builder writes it anew"


def test_the_files_are_the_eight_dashboards_and_no_others() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {f"{uid}.json" for uid in UIDS}
    assert [made.uid for made in BOARDS] == list(UIDS)


@each_board
def test_a_dashboard_can_be_provisioned_and_imported(uid: str) -> None:
    found = board(uid)
    assert found["uid"] == uid
    assert found["schemaVersion"] >= 36
    assert found["editable"] is False
    assert found["title"].startswith("Seasalt: ")
    assert "seasalt" in found["tags"]
    assert found["description"].endswith(".")
    assert not {"id", "__inputs", "__requires"} & found.keys()


def test_they_can_be_written_as_grafana_com_takes_them(tmp_path: Path) -> None:
    main([str(tmp_path)])
    assert {file.stem for file in tmp_path.iterdir()} == set(UIDS)
    for uid in UIDS:
        shared = json.loads((tmp_path / f"{uid}.json").read_text(encoding="utf-8"))
        assert shared["id"] is None
        needed = {(one["type"], one["id"]) for one in shared.pop("__requires")}
        assert {("grafana", "grafana"), ("datasource", "prometheus")} <= needed
        assert {one for kind, one in needed if kind == "panel"} == {
            panel["type"] for panel in panels(uid)
        }
        assert shared.pop("__inputs") == [], "the data source is a variable"
        assert shared.pop("__elements") == {}
        assert {**shared, "editable": False} == {**board(uid), "id": None}


@each_board
def test_panels_have_ids_of_their_own(uid: str) -> None:
    ids = [panel["id"] for panel in board(uid)["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(one, int) and one > 0 for one in ids)
    titles = [panel["title"] for panel in board(uid)["panels"]]
    assert len(set(titles)) == len(titles)


def test_a_panel_keeps_its_id_when_others_move() -> None:
    one = BOARDS[0]
    turned = type(one)(uid=one.uid, title=one.title, about=one.about, rows=one.rows[::-1])
    ids = {panel["title"]: panel["id"] for panel in one.json()["panels"]}
    assert {panel["title"]: panel["id"] for panel in turned.json()["panels"]} == ids


@each_board
def test_no_panel_lies_on_another_or_beyond_the_24_columns(uid: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board(uid)["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@each_board
def test_every_line_of_panels_is_filled(uid: str) -> None:
    widths: dict[int, int] = {}
    for panel in board(uid)["panels"]:
        place = panel["gridPos"]
        widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
    assert set(widths.values()) == {24}


@each_board
def test_the_data_source_is_always_the_variable(uid: str) -> None:
    found = [part["datasource"] for part in walk(board(uid)) if "datasource" in part]
    assert len(found) > 2 * len(panels(uid))
    assert all(one == DATASOURCE for one in found)


@each_board
def test_every_panel_says_what_it_answers_with_window_and_time_zone(uid: str) -> None:
    for panel in panels(uid):
        title, description = panel["title"], panel["description"]
        question, _, window = description.partition(" Window: ")
        assert "?" in question, title
        assert "time zone" in window, title
        assert not title.endswith((".", "?")), title


@each_board
def test_every_panel_has_a_unit_a_text_for_nothing_and_a_query(uid: str) -> None:
    for panel in panels(uid):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert len(defaults["noValue"]) > 8, panel["title"]
        assert "no data" not in defaults["noValue"].lower()
        assert panel["targets"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None


@each_board
def test_every_unit_is_one_of_grafanas(uid: str) -> None:
    """A unit that Grafana does not know is shown as a word behind each number."""
    for panel in panels(uid):
        fields = panel["fieldConfig"]
        properties = [part for one in fields["overrides"] for part in one["properties"]]
        units = {part["value"] for part in properties if part["id"] == "unit"}
        assert units | {fields["defaults"]["unit"]} <= UNITS, panel["title"]


@each_board
def test_a_title_or_a_column_says_of_which_window_a_number_is(uid: str) -> None:
    for panel in panels(uid):
        legends = [target["legendFormat"] for target in panel["targets"]]
        shown = " ".join([panel["title"], *columns(panel), *legends]).lower()
        for target in panel["targets"]:
            for selector in selectors(target["expr"]):
                _, window = selector.labels.get("window", ("", ""))
                # What all time was a month ago makes thirty days of all time.
                if "offset 30d" not in target["expr"] and selector.name in API_NAMES and window:
                    assert re.search(SAID_AS[window], shown), (panel["title"], window)


@each_board
def test_title_and_text_for_nothing_fit_into_the_panel_of_a_number(uid: str) -> None:
    for panel in panels(uid):
        if panel["type"] == "stat":
            room = 8 * panel["gridPos"]["w"]
            assert len(panel["fieldConfig"]["defaults"]["noValue"]) <= room, panel["title"]
            # The title shares its line with the `i`.
            assert len(panel["title"]) <= 6.5 * panel["gridPos"]["w"], panel["title"]


@each_board
def test_what_is_missing_has_no_colour_that_means_something(uid: str) -> None:
    for panel in panels(uid):
        fields = panel["fieldConfig"]
        thresholds = [fields["defaults"]["thresholds"]] + [
            part["value"]
            for one in fields["overrides"]
            for part in one["properties"]
            if part["id"] == "thresholds"
        ]
        for one in thresholds:
            assert one["steps"][0]["color"] in {"text", "transparent"}, panel["title"]


@each_board
def test_bars_begin_at_0_and_a_rating_goes_from_1_to_5(uid: str) -> None:
    for panel in panels(uid):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] in {"bargauge", "barchart"}:
            assert defaults["min"] == 0, panel["title"]
        if panel["type"] == "stat" and "csat_average_rating" in panel["targets"][0]["expr"]:
            assert (defaults["min"], defaults["max"]) == (1, 5), panel["title"]


@each_board
def test_lines_end_where_nothing_came_for_half_an_hour(uid: str) -> None:
    for panel in panels(uid):
        if panel["type"] in DRAWN_OVER_TIME:
            gap = panel["fieldConfig"]["defaults"]["custom"]["spanNulls"]
            assert gap in {30 * 60 * 1000, False}, panel["title"]


@each_board
def test_no_legend_shows_raw_labels(uid: str) -> None:
    for panel in panels(uid):
        for target in panel["targets"]:
            if panel["type"] in {*DRAWN_OVER_TIME, "bargauge"}:
                assert target["legendFormat"], panel["title"]
                named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                grouped = re.search(r" by \(([^)]*)\)", target["expr"])
                assert named <= set(re.split(r", ?", grouped[1])) if named and grouped else True


@each_board
def test_tables_name_their_columns(uid: str) -> None:
    for panel in panels(uid):
        if panel["type"] != "table":
            continue
        changes = {one["id"]: one["options"] for one in panel["transformations"]}
        titles = changes["organize"]["renameByName"]
        assert all(title[0].isupper() for title in titles.values()), panel["title"]
        if "merge" in changes:
            shown = changes["filterFieldsByName"]["include"]["names"]
            assert set(shown) == set(titles)
            places = {chr(ord("A") + place) for place in range(len(panel["targets"]))}
            # What only brings labels, as the list of bots does, has no column of its own.
            info = {
                chr(ord("A") + place)
                for place, target in enumerate(panel["targets"])
                if "seasalt_bot_info{" in target["expr"]
            }
            numbered = {name[-1] for name in shown if name.startswith(("Value #", "Trend #"))}
            assert numbered == (places - info if len(places) > 1 else set()), panel["title"]


@each_board
def test_only_metrics_that_are_exported_or_recorded_are_asked_for(uid: str) -> None:
    for expression in every_query(uid):
        found = list(selectors(expression))
        assert found, expression
        for selector in found:
            labels = {**recorded(), **LABELS}.get(selector.name)
            assert labels is not None, selector.name
            assert selector.labels.keys() <= labels, selector
        # Whatever looks like a metric has its braces, and so was looked at.
        names = set(re.findall(r"\b(?:seasalt_\w+|\w+:seasalt_[\w:]+)", expression))
        assert names <= {name for one in found for name in (one.name, f"{one.name}_bucket")}, (
            expression
        )


@each_board
def test_every_selector_of_the_apis_pins_window_scope_and_api(uid: str) -> None:
    for expression in every_query(uid):
        for selector in selectors(expression):
            if selector.name not in API_NAMES:
                continue
            assert selector.labels["bot_id"] in {("=", ""), ("=~", "$bot")}, expression
            operator, apis = selector.labels["api"]
            assert operator in {"=", "=~"}
            assert set(apis.split("|")) <= set(APIS)
            # A sum over several APIs would count a company that is on all of them again.
            if operator == "=~":
                assert re.search(r"(sum|max) by \([^)]*\bapi\b", expression)
            if selector.name in WITH_WINDOW:
                operator, window = selector.labels["window"]
                assert operator == "="
                assert re.fullmatch(r"[a-z0-9_]+", window)
            for label in LABELS[selector.name].intersection(FILTERS):
                assert selector.labels[label][0] == "=", expression


@each_board
def test_a_window_that_is_told_by_weekday_holds_each_weekday_equally_often(uid: str) -> None:
    for expression in queries(uid):
        for selector in selectors(expression):
            if "weekday" in LABELS.get(selector.name, ()):
                window = selector.labels["window"][1]
                days = re.fullmatch(r"last_(\d+)_days", window)
                if window == "today":
                    continue
                assert days, expression
                # Up to yesterday: with today, which is unfinished, one more.
                assert int(days[1]) % 7 == 1, expression
                without = re.search(
                    r"clamp_min\(.*window=\"(\w+)\".* - .*window=\"today\"", expression
                )
                assert without, expression
                assert without[1] == window


@each_board
def test_hours_of_the_week_are_those_of_the_workspace_and_each_is_there_equally_often(
    uid: str,
) -> None:
    """A sum would be larger for a weekday that a young history has once more; UTC is nobody's clock."""
    for expression in queries(uid):
        if "day_of_week" in expression:
            assert "time()" not in expression
            assert all(
                inside.startswith("max by (workspace) (workspace:seasalt_local_time:seconds{")
                for inside in re.findall(r"(?:day_of_week|hour|minute)\(+(.*)", expression)
            )
            spans = re.findall(r"(\w+)\([^\[]*\[(\d+)d:30m\]", expression)
            assert spans, expression
            assert all(int(days) % 7 == 0 for _, days in spans), expression
            assert "avg_over_time(" in expression
            assert "sum_over_time(" not in expression


@each_board
def test_a_month_that_is_not_over_is_never_held_against_a_whole_one(uid: str) -> None:
    for panel in panels(uid):
        expressions = [target["expr"] for target in panel["targets"]]
        legends = " ".join(target["legendFormat"] for target in panel["targets"])
        compared = re.search(r"last month|month and last", f"{panel['title']} {legends}")
        assert not any('window="last_month"' in one for one in expressions), panel["title"]
        assert bool(compared) == any("_last_month:same_day{" in one for one in expressions)
        for one in expressions:
            # A bot that is new, or was not polled then, has no part in a change.
            if "_last_month:same_day{" in one:
                assert one.count("_last_month:same_day{") == one.count('window="this_month"')


@each_board
def test_what_a_whole_day_had_is_not_read_off_its_last_poll(uid: str) -> None:
    for panel in panels(uid):
        shown = " ".join([panel["title"], *columns(panel)]).lower()
        windows = {
            one.labels.get("window", ("", ""))[1]
            for target in panel["targets"]
            for one in selectors(target["expr"])
        }
        assert ("yesterday" in shown) == ("yesterday" in windows), panel["title"]


@each_board
def test_who_had_no_reply_is_told_of_bots_that_are_asked_both_ways_and_never_below_0(
    uid: str,
) -> None:
    """The two numbers come from two requests, and one of them may fail."""
    filtered = 'exclude_empty_response="true"'
    for panel in panels(uid):
        shown = [panel["title"], *columns(panel)]
        told = any("Unanswered" in one for one in shown)
        assert told == any(filtered in target["expr"] for target in panel["targets"]), shown
        for expression in (target["expr"] for target in panel["targets"]):
            pairs = re.findall(
                r'(clamp_min\(|and|\()max by \([^)]*\) \((seasalt_\w+)\{[^}]*window="(\w+)"[^}]*=""\}'
                rf'(?: @ end\(\))?\) (-|and) max by \([^)]*\) \(\2\{{[^}}]*window="\3"[^}}]*{filtered}',
                expression,
            )
            assert len(pairs) == expression.count(filtered), panel["title"]
            assert all((begin == "clamp_min(") == (sign == "-") for begin, _, _, sign in pairs)


@each_board
def test_every_selector_of_ours_heeds_the_variables(uid: str) -> None:
    for expression in queries(uid):
        for selector in selectors(expression):
            if selector.name.startswith(("ALERTS", "seasalt:")):
                continue
            if selector.name not in PROBES:  # another job scrapes them
                assert selector.labels["job"] == ("=~", "$job")
            labels = LABELS.get(selector.name) or recorded()[selector.name]
            if "workspace" in labels:
                assert selector.labels["workspace"] == ("=~", "$workspace")
            # By id, never by name: bots of one name would be one.
            assert "bot" not in selector.labels
            if {"bot_id", "bot"} <= labels:
                assert selector.labels["bot_id"] in {("=", ""), ("=~", "$bot"), ("=~", "$bot|")}


@each_board
def test_wherever_bots_are_told_apart_it_is_by_their_ids(uid: str) -> None:
    """Three bots of one name are three rows and three lines."""
    alike = re.compile(r"on \(workspace, bot\) \(count by \(workspace, bot\) \(.*? > 1\)")
    for expression in every_query(uid):
        for listed in re.findall(r"\b(?:by|on|ignoring) \(([^()]*)\)", alike.sub("", expression)):
            labels = re.split(r", ?", listed)
            if "bot" in labels:
                assert "bot_id" in labels, expression
    for panel in panels(uid):
        for target in panel["targets"]:
            table = panel["type"] == "table" and '"bot"' in json.dumps(panel["transformations"])
            if "{{bot}}" in target["legendFormat"] or '"who"' in target["expr"] or table:
                assert '"bot", " / ", "bot", "bot_id")' in target["expr"], panel["title"]


@each_board
def test_no_line_is_squashed_by_an_axis_that_nothing_reaches(uid: str) -> None:
    """An axis from 1 to 5 hides that a rating fell from 4.0 to 3.6."""
    for panel in panels(uid):
        if panel["type"] == "timeseries":
            defaults = panel["fieldConfig"]["defaults"]
            assert "max" not in defaults, panel["title"]
            assert defaults.get("min", 0) == 0, panel["title"]


@each_board
def test_an_axis_is_no_coarser_than_its_lines(uid: str) -> None:
    """Without decimals Grafana writes 0 % and 100 % beside lines from 5 to 35 %, and 2 MiB twice."""
    for panel in panels(uid):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and defaults["unit"] in {"percentunit", "bytes"}:
            assert not {"decimals", "max"} & defaults.keys(), panel["title"]


@each_board
def test_a_variable_that_no_query_uses_is_not_offered(uid: str) -> None:
    asked = " ".join(queries(uid))
    offered = {one["name"] for one in board(uid)["templating"]["list"]} - {"datasource"}
    assert offered == set(re.findall(r"\$([a-z]\w+)", asked))


@each_board
def test_no_table_hides_rows_without_saying_so(uid: str) -> None:
    """Pages say how many rows there are: Grafana 13 reads the first, older ones the footer's."""
    for panel in panels(uid):
        if panel["type"] == "table":
            assert panel["options"]["enablePagination"], panel["title"]
            assert panel["options"]["footer"]["enablePagination"], panel["title"]


@each_board
def test_only_lines_are_made_into_small_ones(uid: str) -> None:
    """Grafana makes small lines of tables as well, and their columns would be gone."""
    for panel in panels(uid):
        over_time = {one["refId"] for one in panel["targets"] if one["format"] == "time_series"}
        for change in panel["transformations"]:
            if change["id"] == "timeSeriesTable":
                assert change["filter"]["id"] == "byRefId"
                assert (
                    set(change["filter"]["options"].split("|"))
                    == over_time
                    == set(change["options"])
                )


@each_board
def test_no_column_lies_beyond_the_edge_of_its_table(uid: str) -> None:
    """Each column has its width, or an equal share of the rest, or its least width if that is more."""
    for panel in panels(uid):
        fields = panel["fieldConfig"]
        found: dict[str, dict[str, Any]] = {title: {} for title in columns(panel)}
        for one in fields["overrides"]:
            for part in one["properties"]:
                found.get(one["matcher"]["options"], {})[part["id"]] = part["value"]
        if panel["type"] != "table" or len(found) < 2:
            continue
        shown = [one for one in found.values() if "custom.hidden" not in one]
        fixed = [one["custom.width"] for one in shown if "custom.width" in one]
        least = [
            one.get("custom.minWidth", fields["defaults"]["custom"]["minWidth"])
            for one in shown
            if "custom.width" not in one
        ]
        room = ROOM * panel["gridPos"]["w"] - sum(fixed)
        assert max(least) * len(least) <= room, panel["title"]


@each_board
def test_a_name_that_is_cut_off_can_be_read(uid: str) -> None:
    for panel in panels(uid):
        if "Bot" in columns(panel):
            tips = [
                part["value"]["field"]
                for one in panel["fieldConfig"]["overrides"]
                if one["matcher"]["options"] == "Bot"
                for part in one["properties"]
                if part["id"] == "custom.tooltip"
            ]
            assert tips == ["Bot"], panel["title"]


@each_board
def test_no_order_puts_shares_of_few_first(uid: str) -> None:
    """1 of 1 is 100 %: a share that orders a table or a choice is of enough, or chance is taken off."""
    for panel in panels(uid):
        for by in panel["options"].get("sortBy", ()):
            assert by["displayName"] not in {
                *("Unsatisfied, 30 days", "Handled alone", "Of conversations", "Change", "Share"),
            }, panel["title"]
        for target in panel["targets"]:
            if "bottomk(" in target["expr"]:
                assert "1.64" in target["expr"], panel["title"]
                assert f">= {LEAST_ANSWERS:g}" in target["expr"], panel["title"]


@each_board
def test_the_last_request_alone_is_no_measure(uid: str) -> None:
    assert "seasalt_up" not in {one.name for query in queries(uid) for one in selectors(query)}


def test_the_exporters_memory_is_not_that_of_prometheus() -> None:
    """With all jobs chosen, the job alone would let Prometheus and Alertmanager in."""
    (panel,) = (one for one in panels("seasalt-exporter") if one["title"] == "Memory")
    (target,) = panel["targets"]
    assert re.search(r"and on \(instance\) .*seasalt_exporter_build_info", target["expr"])


def test_number_and_table_of_what_is_wrong_agree_and_heed_inhibition() -> None:
    found = {panel["title"]: panel for panel in panels("seasalt-overview")}
    (number,) = found["To look at"]["targets"]
    assert f"count({attention.NUMBER})" in number["expr"]
    assert told_apart(attention.NUMBER) in {
        one["expr"] for one in found["Needs attention"]["targets"]
    }
    rules = yaml.safe_load((ROOT / "config/alertmanager/alertmanager.yml").read_text("utf-8"))
    assert attention.HEEDED.count(" unless (") == len(rules["inhibit_rules"])
    assert attention.HEEDED.count('severity!="none"') == 1 + len(rules["inhibit_rules"])


def test_an_alert_that_has_just_ended_is_no_row() -> None:
    """The small lines end up to a step before now, and a row of a line alone says nothing."""
    (panel,) = (one for one in panels("seasalt-overview") if one["title"] == "Needs attention")
    *_, last = panel["transformations"]
    assert last["id"] == "filterByValue"
    assert last["options"]["type"] == "exclude"
    (left_out,) = last["options"]["filters"]
    assert (left_out["fieldName"], left_out["config"]["id"]) == ("Severity", "isNull")


@each_board
def test_a_share_below_1_is_never_a_red_100_percent(uid: str) -> None:
    """Where 1 alone is right, whole percents would hide one failure in 300."""
    steps = [{"color": color, "value": value} for value, color in SHARE_STEPS]
    for panel in panels(uid):
        for one in walk(panel["fieldConfig"]):
            changed = {part["id"]: part["value"] for part in one.get("properties", ())} or one
            share = changed.get("unit") == "percentunit"
            if share and changed.get("thresholds", {}).get("steps") == steps:
                assert changed["decimals"] == 1, panel["title"]


@each_board
def test_a_number_has_its_line_and_never_one_of_the_past(uid: str) -> None:
    """A line ends where its value went; the number must not be the last one that there was.

    Nor may a number of now or today be one of the line's last step, which is hours ago.
    """
    for panel in panels(uid):
        if panel["type"] == "stat":
            mapped = bool(panel["fieldConfig"]["defaults"]["mappings"])
            plain = panel["options"]["textMode"] == "name" or mapped
            slides = all(
                'window="last_' in one["expr"] and 'window="last_day"' not in one["expr"]
                for one in panel["targets"]
            )
            has_line = slides and not plain
            assert (panel["options"]["graphMode"] == "area") is has_line, panel["title"]
            assert panel["options"]["wideLayout"] is not has_line, "no line through a number"
            assert all(one["instant"] is not has_line for one in panel["targets"]), panel["title"]
            for target in panel["targets"]:
                assert target["instant"] or " and on () (" in target["expr"], panel["title"]
                assert target["instant"] or target["expr"].count("@ end()"), panel["title"]
            # A change of -3 % beside 74 % is read as 3 points.
            plain |= panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
            assert panel["options"]["showPercentChange"] is (slides and not plain), panel["title"]


@each_board
def test_a_colour_that_means_something_is_that_of_its_threshold(uid: str) -> None:
    """Where the panel has one colour for all, a column's own thresholds alone change nothing."""
    for panel in panels(uid):
        usual = panel["fieldConfig"]["defaults"]["color"]
        for one in panel["fieldConfig"]["overrides"]:
            changed = {part["id"]: part["value"] for part in one["properties"]}
            if "thresholds" in changed and len(changed["thresholds"]["steps"]) > 1:
                assert changed.get("color", usual)["mode"] == "thresholds", panel["title"]


@pytest.mark.parametrize(
    ("uid", "title", "rows"),
    [
        ("seasalt-demand", "Messages by weekday and hour, SeaChat bots, four weeks", 7),
        ("seasalt-exporter", "Workspaces", 6),
    ],
    ids=["weekdays", "workspaces of the big demo"],
)
def test_what_are_few_rows_are_on_one_page(uid: str, title: str, rows: int) -> None:
    (panel,) = (one for one in panels(uid) if one["title"] == title)
    # A unit of height is 38 pixels with its gap; title, head and pages take 160 of them, a row 36.
    assert 38 * panel["gridPos"]["h"] - 160 >= rows * 36


def luminance(colour: tuple[float, float, float]) -> float:
    """Relative, as WCAG 2 defines it."""
    parts = (one / 255 for one in colour)
    lit = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), lit, strict=True))


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Of two colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("page", "text"),
    [((24, 27, 31), (204, 204, 220)), ((255, 255, 255), (36, 41, 46))],
    ids=["dark", "light"],
)
def test_every_cell_of_a_matrix_can_be_read(
    page: tuple[float, float, float], text: tuple[float, float, float]
) -> None:
    """Grafana writes in the theme's colour on what lets the page through, else in white on dark."""
    for colour in MATRIX_COLOURS[1:]:
        if colour.startswith("rgba"):
            *back, alpha = (float(one) for one in colour[5:-1].split(","))
            assert alpha < 0.3
            mixed = [alpha * a + (1 - alpha) * b for a, b in zip(back, page, strict=True)]
            assert contrast((mixed[0], mixed[1], mixed[2]), text) >= 4.5
        else:
            back = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
            assert contrast((back[0], back[1], back[2]), (247, 248, 250)) >= 4.5, colour


@each_board
def test_only_counters_are_rated_and_what_is_counted_does_not_change_with_the_zoom(
    uid: str,
) -> None:
    for expression in queries(uid):
        for function, name, inside in re.findall(r"(\w+)\((\w+)\{[^}]*\}(\[[^\]]*\])?", expression):
            ranges = {"rate": "[$__rate_interval]", "increase": "[1h]", "last_over_time": "[8h]"}
            counts = name in COUNTERS or name.endswith("_bucket")
            assert (function in {"rate", "increase"}) == counts, expression
            assert inside == ranges.get(function, ""), expression
        assert not re.search(r"\b(irate|delta|deriv|idelta)\(", expression)


@each_board
def test_what_is_counted_in_an_hour_says_so(uid: str) -> None:
    for panel in panels(uid):
        counted = any("increase(" in target["expr"] for target in panel["targets"])
        assert counted == ("the hour before" in panel["description"]), panel["title"]


def test_the_stack_of_agents_ends_with_a_status() -> None:
    """A line is drawn on to its next point, on top of the status that came instead."""
    (panel,) = (
        one for one in panels("seasalt-agents") if one["title"] == "Agents by status today, SeaX"
    )
    custom = panel["fieldConfig"]["defaults"]["custom"]
    assert (custom["drawStyle"], custom["spanNulls"]) == ("bars", False)


@each_board
def test_the_variables_are_chained_and_follow_the_time_range(uid: str) -> None:
    found = {one["name"]: one for one in board(uid)["templating"]["list"]}
    assert list(found) == ["datasource", "job", "workspace", "bot"]
    assert found["datasource"]["label"] == "Data source"
    assert found["datasource"]["query"] == "prometheus"
    for (before, _), (name, variable) in pairwise(list(found.items())[1:]):
        assert f"${before}" in variable["query"]["query"]
        assert variable["allValue"] == {"workspace": ".*", "bot": ".+"}[name]
        assert variable["label"] == name.title()
    assert found["job"]["allValue"] == ".+"
    for name in ("job", "workspace", "bot"):
        assert found[name]["refresh"] == 2
        assert found[name]["multi"]
        one_bot = (uid, name) == ("seasalt-bot", "bot")
        assert found[name]["includeAll"] is not one_bot, "Grafana begins with All where it can"
        assert found[name]["current"]["value"] == ([] if one_bot else ["$__all"])


@each_board
def test_links_keep_variables_and_time(uid: str) -> None:
    (to_others,) = board(uid)["links"]
    assert to_others["tags"] == ["seasalt"]
    assert to_others["includeVars"]
    assert to_others["keepTime"]
    urls = {part["url"] for part in walk(panels(uid)) if {"title", "url"} <= part.keys()}
    for url in urls - {RUNBOOK}:
        assert url.startswith(
            ("/d/seasalt-bot?", "/d/seasalt-exporter?", "/d/${__data.fields.Board:raw}?")
        )
        for wanted in ("${datasource:queryparam}", "${job:queryparam}", "${__url_time_range}"):
            assert wanted in url
        assert "var-workspace=" in url
        assert "var-bot=" in url


@each_board
def test_a_table_of_bots_leads_to_the_bots_page(uid: str) -> None:
    for panel in panels(uid):
        changed = {
            (one["matcher"]["options"], part["id"])
            for one in panel["fieldConfig"]["overrides"]
            for part in one["properties"]
        }
        if {"Workspace", "Bot"} <= set(columns(panel)) and uid != "seasalt-exporter":
            assert ("Bot", "links") in changed, panel["title"]
        assert "Time" not in {column for column, _ in changed}


@each_board
def test_firing_alerts_are_marked_and_the_watchdog_is_not(uid: str) -> None:
    (marks,) = board(uid)["annotations"]["list"]
    assert marks["expr"] == marks["target"]["expr"]
    (selector,) = selectors(marks["expr"])
    assert selector.name == "ALERTS"
    assert selector.labels["alertstate"] == ("=", "firing")
    assert selector.labels["alertname"] == ("=~", "Seasalt.*")
    assert selector.labels["severity"] == ("!=", "none"), "as the watchdog has"


def test_every_family_is_shown_somewhere_or_left_out_for_a_reason() -> None:
    shown = {one.name for uid in UIDS for query in queries(uid) for one in selectors(query)}
    families = LABELS.keys() - NOT_OURS.keys()
    assert families - shown == UNUSED.keys()
    assert all(len(reason) > 20 for reason in UNUSED.values())


def test_the_demo_polls_all_that_the_dashboards_need(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    now = datetime.now(UTC)
    sandbox = make_sandbox(now=lambda: now, days=1, ahead_days=0, conversations_per_day=1)
    polled: set[tuple[str, str, str]] = set()
    for workspace in demo.configuration(sandbox, "http://127.0.0.1:1").workspaces:
        for entry in workspace.entries:
            names = {family.name for family in entry.report.families}
            polled |= {(workspace.api, name, entry.window) for name in names}
    for uid in UIDS:
        for query in queries(uid):
            for one in selectors(query):
                for api in one.labels.get("api", ("", ""))[1].split("|"):
                    if one.name in WITH_WINDOW:
                        assert (api, one.name, one.labels["window"][1]) in polled, query


def test_the_document_says_what_each_dashboard_needs() -> None:
    written = DOCUMENT.partition(BEGIN)[2].partition(END)[0]
    assert written == table(), "python -m grafana.builder writes it anew"


@each_board
@pytest.mark.parametrize(
    ("theme", "said"),
    [
        ("", r'<source media="\(prefers-color-scheme: dark\)" srcset="{}">'),
        ("-light", r'src="{}">'),
    ],
    ids=["dark", "light"],
)
def test_the_document_shows_each_dashboard_in_both_themes(uid: str, theme: str, said: str) -> None:
    picture = f"pictures/{uid}{theme}.png"
    assert len(re.findall(said.format(picture), DOCUMENT)) == 1
    file = ROOT / "docs" / picture
    assert file.read_bytes().startswith(b"\x89PNG")
    assert f"`{uid}`" in DOCUMENT


def test_no_picture_is_taken_for_a_screenshot() -> None:
    caption = "drawn with Grafana's UI components from the shipped file, not a Grafana screenshot"
    assert DOCUMENT.count("<picture>") == len(UIDS)
    assert DOCUMENT.count("![") == 0
    assert len(re.findall(rf"</picture>\n\n\*[\w ]+: {caption}\.\*", DOCUMENT)) == len(UIDS)


def test_grafana_is_provisioned_with_what_the_dashboards_expect() -> None:
    folder = ROOT / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))
    assert sources["apiVersion"] == 1
    (source,) = sources["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == "60s"
    providers = yaml.safe_load((folder / "dashboards" / "seasalt.yml").read_text("utf-8"))
    (provider,) = providers["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"].startswith("/")
