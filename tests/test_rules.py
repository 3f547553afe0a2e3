"""The rules for Prometheus: promtool's own tests of them, and what holds for every one of them."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from e2e.programs import program
from support.processes import finished
from support.promql import FILTERS, Selector, labels, selectors

from exporter.config import load
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.polling.plan import planned_calls
from exporter.probing.result import FAMILIES as PROBE_FAMILIES
from exporter.reports.catalogue import REPORTS
from grafana.builder.catalogue import BOARDS

pytestmark = pytest.mark.takes_minutes

ROOT: Final = Path(__file__).parent.parent
PROMETHEUS: Final = ROOT / "config" / "prometheus"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"

TARGET: Final = {"api", "workspace", "bot_id", "bot"}
SCRAPED: Final = {"job", "instance"}
LABELS: Final = {
    **{family.name: {*family.labels, *TARGET} for family in (*API_FAMILIES, *REPORT_FAMILIES)},
    **{family.name: {*family.labels} for family in OWN_FAMILIES},
    **{family.name: {*family.labels, *TARGET, "module"} for family in PROBE_FAMILIES},
    "ALERTS": {"alertname", "alertstate"},
    "up": set(),
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
    "prometheus_rule_evaluation_failures_total": {"rule_group"},
    "prometheus_notifications_alertmanagers_discovered": set(),
    "prometheus_notifications_errors_total": {"alertmanager"},
    "alertmanager_notifications_failed_total": {"integration", "reason"},
}
"""The labels that a series has beside those of scraping it, by name: the catalogue's, and what others
tell of themselves."""
API: Final = {family.name for family in API_FAMILIES}
DASHBOARDS: Final = {board.uid for board in BOARDS}
NEVER_QUIET: Final = {"SeasaltWatchdog"}
"""Its silence is the alarm."""
CATEGORIES: Final = {"SeasaltWatchdog": "watchdog", "SeasaltReportStale": "inhibitor"}
"""Of the alerts that notify nobody of anything wrong: their severity is none."""
ENDS_AT_ONCE: Final = {
    "SeasaltExporterDown": "Prometheus makes `up` itself, an exporter that dies cannot take it away",
    "SeasaltInstanceDown": "the same",
    "SeasaltWatchdog": "it never ends",
}
"""Alerts that are not kept when their series are gone, and why not."""
SECTIONS: Final = ("Meaning", "Impact", "First checks", "Silence", "Threshold")
FIRST_ROUND: Final = 600
"""Seconds until a process without a state file has asked for each report: so many requests."""
LONGEST: Final = 100.0
"""Seconds that one file of rule tests may take."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        file: The file's name.
        group: Its group.
        record: The name that it records; empty for an alert.
        alert: The name of the alert; empty for a recording rule.
    """

    file: str
    group: str
    expr: str
    record: str = ""
    alert: str = ""
    lasting: str = ""
    keep: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> Iterator[Rule]:
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in read(path)["groups"]:
            for rule in group["rules"]:
                given = {
                    {"for": "lasting", "keep_firing_for": "keep"}.get(key, key): value
                    for key, value in rule.items()
                }
                yield Rule(file=path.name, group=group["name"], **given)


RULES: Final = list(rules())
ALERTS: Final = [rule for rule in RULES if rule.alert]
ALERT: Final = {alert.alert: alert for alert in ALERTS}
RECORDED: Final = {rule.record for rule in RULES if rule.record}
TEST_FILES: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
RULE_FILES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert.alert for alert in ALERTS])
each_rule = pytest.mark.parametrize(
    "rule", RULES, ids=[f"{rule.alert or rule.record}-{at}" for at, rule in enumerate(RULES)]
)


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool")


def seconds(duration: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    return sum(
        int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhdw])", duration)
    )


def test_promtool_has_nothing_to_say_of_the_rules(promtool: str) -> None:
    checked = finished([promtool, "check", "rules", "--lint-fatal", *map(str, RULE_FILES)])
    assert checked.status == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("SUCCESS") == len(RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=[path.stem for path in TEST_FILES])
def test_promtools_tests_of_the_rules_pass(promtool: str, path: Path) -> None:
    tested = finished([promtool, "test", "rules", str(path)], within=LONGEST)
    assert tested.status == 0, tested.stdout + tested.stderr


CHANGES: Final = {
    "base": ("+ 23 -", "+ 24 -", "office-hours"),
    "thresholds": ("vector(3.5)", "vector(3.6)", "csat"),
    "usual": ("(0.5, target_week", "(0.6, target_week", "recording"),
    "messages": ("<= scalar(seasalt:threshold:age_intervals)", "<= 2", "outages"),
    "csat": ("1.64 *", "0 *", "csat"),
    "agents": ('status="available"', 'status="offline"', "agents"),
    "usage": ("[6h]", "[1h]", "usage"),
    "probes": ("group_left ()", "", "probes"),
    "exporter": ('outcome!~"success|rate_limited"', 'outcome!="success"', "exporter-hours"),
}
"""One change of each file of rules, and the quickest file of tests that should notice it."""


def after_change(promtool: str, folder: Path, file: str, before: str, after: str, by: str) -> bool:
    """Whether a file of tests passes after a change of a file of rules."""
    shutil.copytree(PROMETHEUS, folder / "prometheus")
    path = folder / "prometheus" / "rules" / f"{file}.yml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    tests = str(folder / "prometheus" / "tests" / f"{by}.yml")
    tested = finished([promtool, "test", "rules", tests], within=LONGEST)
    assert tested.status == 0 or "got:" in tested.stderr, tested.stdout + tested.stderr
    return tested.status == 0


@pytest.mark.parametrize("path", RULE_FILES, ids=[path.stem for path in RULE_FILES])
def test_the_rule_tests_notice_a_change_of(promtool: str, tmp_path: Path, path: Path) -> None:
    before, after, by = CHANGES[path.stem]
    assert not after_change(promtool, tmp_path, path.stem, before, after, by)


def test_the_rule_tests_notice_a_shorter_time_for_which_alerts_are_kept(
    promtool: str, tmp_path: Path
) -> None:
    kept = ("keep_firing_for: 45m", "keep_firing_for: 35m")
    assert not after_change(promtool, tmp_path, "csat", *kept, "outages")


def test_the_rule_tests_do_not_mind_a_number_written_otherwise(
    promtool: str, tmp_path: Path
) -> None:
    assert after_change(promtool, tmp_path, "thresholds", "vector(3.5)", "vector(7.0/2)", "csat")


def tried(path: Path) -> Iterator[tuple[str, bool]]:
    """Each alert that a file's tests ask for, and whether it should fire."""
    for test in read(path)["tests"]:
        for asked in test.get("alert_rule_test", ()):
            yield asked["alertname"], bool(asked["exp_alerts"])


TRIED: Final = {found for path in TEST_FILES for found in tried(path)}


@each_alert
def test_every_alert_is_tested_firing_and_quiet(alert: Rule) -> None:
    assert (alert.alert, True) in TRIED
    assert (alert.alert, False) in TRIED or alert.alert in NEVER_QUIET


def test_no_test_asks_for_an_alert_that_is_not_there() -> None:
    assert {name for name, _ in TRIED} == {alert.alert for alert in ALERTS}


@pytest.mark.parametrize("path", TEST_FILES, ids=[path.stem for path in TEST_FILES])
def test_rule_tests_evaluate_groups_in_the_order_of_what_needs_what(path: Path) -> None:
    tests = read(path)
    loaded = {Path(file).name for file in tests["rule_files"]}
    groups = {rule.group for rule in RULES if rule.file in loaded}
    order = tests["group_eval_order"]
    assert len(order) == len(set(order))
    assert set(order) == groups
    recorded_in = {rule.record: order.index(rule.group) for rule in RULES if rule.group in groups}
    for rule in RULES:
        if rule.group in groups:
            for selector in selectors(rule.expr):
                assert recorded_in.get(selector.name, 0) <= order.index(rule.group), selector.name


def problem(selector: Selector) -> str | None:
    """What is wrong with a selector of the exporter's own series, or of recorded ones."""
    name = re.sub(r"_(bucket|sum|count)$", "", selector.name)
    known = LABELS.get(selector.name, LABELS.get(name))
    if known is None:
        return None if selector.name in RECORDED else "neither in the catalogue nor recorded"
    unknown = {label for label, _, _ in selector.matchers} - known - SCRAPED
    if unknown:
        return f"has no label {unknown}"
    if selector.name in API:
        if "window" in known and not selector.pinned("window"):
            return "any window"
        scopes = {(sign, value) for label, sign, value in selector.matchers if label == "bot_id"}
        if scopes != {("!=", "")} and selector.pinned("bot_id") is None:
            return "any scope"
        if any(label in known and selector.pinned(label) is None for label in FILTERS):
            return "any filter"
    return None


@each_rule
def test_rules_name_what_the_exporter_has_and_pin_window_and_scope(rule: Rule) -> None:
    found = selectors(rule.expr)
    assert [(selector.name, wrong) for selector in found if (wrong := problem(selector))] == []
    known = {label for selector in found for label in LABELS.get(selector.name, ())}
    known |= SCRAPED | TARGET | {"report", "window", "channel", "week", "reason"}
    assert labels(rule.expr) <= known


def hours(duration: str) -> int:
    return seconds(duration) // 3600


def as_of_week_0(rule: Rule) -> str:
    """A rule's expression as it would be of this week: how far it looks back beyond its weeks."""
    week = rule.labels["week"]
    told = re.sub(
        r"offset (\w+)",
        lambda found: f"offset {hours(found[1]) - 168 * int(week)}",
        rule.expr,
    )
    return told.replace(f'week="{week}"', "this week")


def test_the_rules_of_four_weeks_differ_in_their_weeks_alone() -> None:
    by_record: dict[str, dict[str, str]] = {}
    for rule in RULES:
        if week := rule.labels.get("week"):
            by_record.setdefault(rule.record, {})[week] = as_of_week_0(rule)
    assert len(by_record) > 3
    for record, weeks in by_record.items():
        assert "_week:" in record
        known = {"1"} if record.endswith(":last_day") else {"1", "2", "3", "4"}
        assert weeks.keys() == known, record
        assert len(set(weeks.values())) == 1, record


CLOCKS: Final = re.compile(
    r"offset (\w+) (?:unless|and) on \(job, api, workspace\)"
    r' workspace_week:seasalt_clock_change:seconds\{week="(\d)"\}(?: ([<>]) 0)?'
)
"""Where a series of weeks ago is read: as is, and where the clocks were put forward or back since."""


def test_where_the_clocks_were_changed_the_week_is_an_hour_shorter_or_longer() -> None:
    found = [rule for rule in RULES if re.match(r"(target|channel)_week:.*messages", rule.record)]
    assert len(found) == 2 * 4
    for rule in found:
        told = " ".join(rule.expr.split())
        ways = [(week, sign, hours(offset)) for offset, week, sign in CLOCKS.findall(told)]
        week = rule.labels["week"]
        apart = {"": 0, ">": -1, "<": 1}
        # Of bots and of whole workspaces.
        assert sorted(ways) == sorted(
            2 * [(week, sign, 168 * int(week) + hour) for sign, hour in apart.items()]
        )
        assert told.count("offset ") == len(ways)


OVERVIEW: Final = 'conversation_overview_users{window="last_day",bot_id=""'


@pytest.mark.parametrize(
    ("selector", "wrong"),
    [
        ('seasalt_csat_responses{window="all",bot_id!=""}', None),
        ('seasalt_csat_responses{window="all",bot_id="",job="seasalt"}', None),
        ('seasalt_csat_responses{window="all",bot_id="bot_1"}', None),
        ('seasalt_csat_responses{bot_id=""}', "any window"),
        ('seasalt_csat_responses{window=~"all|today",bot_id=""}', "any window"),
        ('seasalt_csat_responses{window="all"}', "any scope"),
        ('seasalt_csat_responses{window="all",bot_id=~".*"}', "any scope"),
        ('seasalt_csat_responses{window="all",bot_id="",rating="1"}', "has no label {'rating'}"),
        (f'seasalt_{OVERVIEW},handling_status="",exclude_empty_response=""}}', None),
        (f'seasalt_{OVERVIEW},handling_status="",exclude_empty_response="true"}}', None),
        (f'seasalt_{OVERVIEW},handling_status=""}}', "any filter"),
        (f'seasalt_{OVERVIEW},exclude_empty_response=""}}', "any filter"),
        (f'seasalt_{OVERVIEW},handling_status=~".*",exclude_empty_response=""}}', "any filter"),
        ("seasalt_csat_answers", "neither in the catalogue nor recorded"),
        ("seasalt_api_request_duration_seconds_count", None),
        ("seasalt_up", None),
    ],
)
def test_a_selector_that_counts_twice_is_noticed(selector: str, wrong: str | None) -> None:
    (found,) = selectors(f"sum by (api) (rate({selector}[5m] offset 1w)) > bool 2e3")
    assert problem(found) == wrong


COMPUTED: Final = {"seasalt:threshold:pace_weight"}
"""Of other thresholds."""


def test_the_settings_of_workspaces_are_read_by_one_rule_whatever_their_names() -> None:
    (settings,) = (
        group["rules"]
        for group in yaml.safe_load((PROMETHEUS / "rules" / "base.yml").read_text())["groups"]
        if group["name"] == "seasalt-workspace-thresholds"
    )
    read = re.compile(r"seasalt:(?:threshold:(\w+)|office_hours:(\w+))(?=\{)")
    expressions = set()
    for rule in settings:
        name = re.fullmatch(
            r"workspace:seasalt_(?:(\w+):threshold|office_hours:(\w+))", rule["record"]
        )
        assert name
        assert {*read.findall(rule["expr"])} == {tuple(part or "" for part in name.groups())}
        expressions.add(read.sub("SETTING", rule["expr"]))
    assert len(settings) == 10
    assert len(expressions) == 1


def test_every_threshold_is_one_number_without_labels_and_is_used() -> None:
    thresholds = [
        rule for rule in RULES if rule.record.startswith(("seasalt:threshold:", "seasalt:office"))
    ]
    names = [rule.record for rule in thresholds]
    used = {selector.name for rule in RULES for selector in selectors(rule.expr)}
    assert len(names) == len(set(names)) > 15
    assert set(names) <= used
    for rule in thresholds:
        assert re.fullmatch(r"vector\([\d.]+\)", rule.expr) or rule.record in COMPUTED, rule.record
        assert not rule.labels
        assert rule.file == "thresholds.yml"


@each_alert
def test_alerts_are_written_in_the_style_of_mixins(alert: Rule) -> None:
    assert re.fullmatch(r"Seasalt([A-Z][a-z]+)+", alert.alert)
    severity, category = alert.labels["severity"], alert.labels["category"]
    assert severity in {"critical", "warning", "info", "none"}
    assert category == CATEGORIES.get(alert.alert, category)
    assert category in {"data", "exporter", *CATEGORIES.values()}
    assert (severity == "none") == (category in CATEGORIES.values()) == (alert.alert in CATEGORIES)
    assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    summary, description = alert.annotations["summary"], alert.annotations["description"]
    assert re.fullmatch(r"[A-Z][^{}\n]*\.", summary)
    assert description.endswith((".", ".{{ end }}"))
    assert "{{" in description or alert.alert in NEVER_QUIET
    assert summary not in description


@each_alert
def test_alerts_link_to_their_runbook_and_dashboard(alert: Rule) -> None:
    runbook, dashboard = alert.annotations["runbook_url"], alert.annotations["dashboard_url"]
    assert runbook.startswith('{{ with query "seasalt:address:runbooks" }}')
    assert runbook.endswith(f"{{{{ end }}}}/{alert.alert}.md")
    assert dashboard.startswith('{{ with query "seasalt:address:grafana" }}')
    uid = re.search(r"/d/([\w-]+)", dashboard)
    assert uid
    assert uid[1] in DASHBOARDS
    for label, variable in (("workspace", "workspace"), ("bot_id", "bot")):
        if f"var-{variable}=" in dashboard:
            assert f"$labels.{label}" in dashboard
            assert f"$labels.{variable}" in alert.annotations["description"]
    assert "{{ $labels.workspace | urlquery }}" in dashboard or "workspace" not in str(
        alert.annotations["description"]
    )


@each_rule
def test_an_answer_is_believed_until_it_is_told_that_it_is_old_whatever_the_interval(
    rule: Rule,
) -> None:
    ages = r"(?:age_intervals(?:\{[^}]*\})?|age_intervals:max) *[<>]=? *([^\s)]+)"
    for against in re.findall(ages, rule.expr):
        assert against == "scalar(seasalt:threshold:age_intervals"


@each_alert
def test_alerts_on_data_outlast_what_tells_that_there_is_none(alert: Rule) -> None:
    """At the longest a restart without a state file, while the API fails.

    What reads a report stops when the exporter goes. Until it is told that there is no exporter it may
    be gone, then its first round comes to the report, and then nothing succeeds.
    """
    if alert.labels["category"] == "data":
        down, stale, blind = (
            seconds(ALERT[f"Seasalt{name}"].lasting)
            for name in ("ExporterDown", "DataStale", "WorkspaceBlind")
        )
        (stale_reports,) = (
            rule for rule in RULES if rule.record == "report:seasalt_stale:intervals"
        )
        never = re.search(r"offset (\w+)", stale_reports.expr)
        assert never
        restart = down + FIRST_ROUND + seconds(never[1]) + stale
        assert seconds(alert.keep) > max(restart, blind)
        assert (alert.labels["report"], alert.labels["window"]) in needs(alert.expr)


@each_alert
def test_an_alert_is_kept_when_its_series_are_gone_or_it_is_said_why_not(alert: Rule) -> None:
    assert bool(alert.keep) != (alert.alert in ENDS_AT_ONCE)


Need = tuple[str, str]
"""What has to be polled: a metric and a window."""

REPORT_OF: Final = {family.name: report for report in REPORTS for family in report.families}


def needs(expr: str) -> set[Need]:
    """What an expression reads of the API, by itself or in what is recorded."""
    found = set()
    for selector in selectors(expr):
        if (report := REPORT_OF.get(selector.name)) and (window := selector.pinned("window")):
            found.add((report.name, window))
        elif selector.name in RECORDED:
            for rule in RULES:
                if rule.record == selector.name:
                    found |= needs(rule.expr)
    return found


def polled() -> set[Need]:
    """What config/seasalt.yml, which everybody begins with, has polled."""
    config = load(
        [str(ROOT / "config" / "seasalt.yml")], {"SEACHAT_API_KEY": "key"}, date(2026, 1, 1)
    )
    return {
        (entry.report.name, entry.window)
        for workspace in config.workspaces
        for call in planned_calls(workspace, workspace.bots)
        for entry in call.entries
    }


def not_polled(exprs: Iterable[str]) -> set[Need]:
    """What expressions read and config/seasalt.yml does not poll, of what SeaChat has at all."""
    seachat = {report.name for report in REPORTS if "seachat" in report.apis}
    wanted = set[Need]().union(*(needs(expr) for expr in exprs))
    return {need for need in wanted - polled() if need[0] in seachat}


def test_the_configuration_to_begin_with_polls_all_that_rules_read() -> None:
    assert not_polled(rule.expr for rule in RULES) == set()


def test_the_documentation_says_what_each_alert_needs_polled() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`Seasalt.*?) \| (`.*?`) \|", text, re.MULTILINE)
    told = {
        name: set(re.findall(r"`\{metric: (\w+), window: (\w+)\}`", cell))
        for names, cell in rows
        for name in re.findall(r"`(Seasalt\w+)`", names)
    }
    assert told == {alert.alert: found for alert in ALERTS if (found := needs(alert.expr))}


@each_alert
def test_a_runbook_says_what_to_do(alert: Rule) -> None:
    text = (RUNBOOKS / f"{alert.alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert.alert}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(SECTIONS)
    checks = text.partition("## First checks")[2].partition("## Silence")[0]
    assert len(re.findall(r"^\d\. ", checks, re.MULTILINE)) == 3
    assert checks.count("```") == 6
    assert f"alertname={alert.alert}" in text.partition("## Silence")[2]
    for selector in selectors(alert.expr):
        name = re.sub(
            r"^workspace:seasalt_(\w+):threshold$", r"seasalt:threshold:\1", selector.name
        )
        if name.startswith("seasalt:"):
            assert f"`{name}`" in text.partition("## Threshold")[2], name


@each_alert
def test_a_runbook_says_how_long_the_condition_lasts_before_and_after(alert: Rule) -> None:
    text = (RUNBOOKS / f"{alert.alert}.md").read_text(encoding="utf-8")
    timing = {"for": alert.lasting, "keep_firing_for": alert.keep}
    said = ", ".join(f"`{name}: {value}`" for name, value in timing.items() if value)
    assert not said or f"set in `config/prometheus/rules/{alert.file}`: {said}.\n" in text


@each_alert
def test_a_runbook_names_a_bot_by_its_id_because_several_may_have_one_name(alert: Rule) -> None:
    text = (RUNBOOKS / f"{alert.alert}.md").read_text(encoding="utf-8")
    for code in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL):
        assert not re.search(r"\bbot=", code), code
    if "bot_id" in alert.annotations["dashboard_url"] and alert.labels["severity"] != "none":
        assert " bot_id=" in text.partition("## Silence")[2]


def test_every_runbook_is_an_alerts() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {alert.alert for alert in ALERTS}


def queries() -> list[tuple[str, str]]:
    return [
        (path.stem, query)
        for path in sorted(RUNBOOKS.parent.glob("**/*.md"))
        for query in re.findall(r"```promql\n(.*?)\n *```", path.read_text("utf-8"), re.DOTALL)
    ]


def test_every_query_of_the_documentation_is_right_and_names_what_is_there(
    promtool: str, tmp_path: Path
) -> None:
    found = queries()
    assert len(found) > len(ALERTS)
    wrong = [
        (name, selector.name, said)
        for name, query in found
        for selector in selectors(query)
        if selector.name not in {"", "ALERTS"} and (said := problem(selector))
    ]
    assert wrong == []
    assert not_polled(query for _, query in found) == set()
    asked = [{"record": f"query:{at}", "expr": query} for at, (_, query) in enumerate(found)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": asked}]}), "utf-8")
    checked = finished([promtool, "check", "rules", "--lint=none", str(path)])
    assert checked.status == 0, checked.stdout + checked.stderr


# The name of the job.


def test_the_job_is_named_in_one_rule_and_it_is_the_one_that_prometheus_scrapes() -> None:
    (named,) = [rule for rule in RULES if rule.labels.get("job")]
    assert (named.file, named.record) == ("thresholds.yml", "seasalt:exporter:job")

    scraped = read(PROMETHEUS / "prometheus.yml")["scrape_configs"][0]
    assert scraped["job_name"] == named.labels["job"]


@each_rule
def test_no_rule_picks_a_job_by_its_name(rule: Rule) -> None:
    for text in (rule.expr, *rule.annotations.values()):
        # The text of an alert may ask for its own job.
        assert not re.search(r"\bjob\s*(=|!=|=~|!~)(?!%(\[1\])?q)", text)


@pytest.mark.parametrize("tests", ["exporter", "exporter-hours", "outages"])
def test_a_job_of_another_name_needs_one_change_of_the_rules(
    promtool: str, tmp_path: Path, tests: str
) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    thresholds = tmp_path / "prometheus" / "rules" / "thresholds.yml"
    text = thresholds.read_text(encoding="utf-8")
    assert text.count("job: seasalt\n") == 1
    thresholds.write_text(text.replace("job: seasalt\n", "job: chat\n"), encoding="utf-8")
    path = tmp_path / "prometheus" / "tests" / f"{tests}.yml"
    asked = path.read_text(encoding="utf-8")
    renamed = re.sub(r'(job="|job: |(?:in|of) job )seasalt\b', r"\g<1>chat", asked)
    assert "seasalt," not in renamed
    path.write_text(renamed, encoding="utf-8")

    tested = finished([promtool, "test", "rules", str(path)], within=LONGEST)

    assert tested.status == 0, tested.stdout + tested.stderr
