"""Whether the numbers on the other dashboards can be believed: the exporter's own health."""

from typing import Final

from exporter.model.apis import APIS
from grafana.builder.board import Board, Row
from grafana.builder.common import API as API_NAMES, SUCCEED, coloured, painted, states
from grafana.builder.panel import SPACES, Panel, Query
from grafana.builder.query import own, reports, total
from grafana.builder.words import ANY_STEPS, LATE, NOW, SHARE_STEPS, SHOWN

_SMALL: Final = (3, 4)
_PLACE: Final = "workspace, api"
_SUCCESS: Final = reports("success")
_KEY: Final = own("seasalt_api_key_valid", _PLACE, of="min")
_AGE: Final = f"(time() - {reports('last_success_timestamp_seconds')})"
_LATE: Final = f"{_AGE} / {reports('interval_seconds')} > bool {LATE:g}"
_SHARD: Final = own("seasalt_exporter_shard_info")
_VALUES: Final = (
    f"max by ({_PLACE}, shard) ({own('seasalt_series')} * on (job, instance) group_left (shard) {_SHARD}"
    f" or {own('seasalt_series')} unless on (job, instance) {_SHARD})"
)
"""Of each shard: their values add up, those of two exporters of one shard do not."""
_RATE: Final = "[$__rate_interval]"
_HOUR: Final = "[1h]"
"""For what is counted one by one: the same number however far the time range reaches."""
_EACH_HOUR: Final = f"{SHOWN} Each point counts the hour before it."


def _stat(title: str, asks: str, expression: str, **settings: object) -> Panel:
    return Panel(
        kind="stat",
        title=title,
        asks=asks,
        window=NOW,
        queries=(Query(expression, str(settings.pop("legend", ""))),),
        empty=str(settings.pop("empty", "Not scraped")),
        size=_SMALL,
        **settings,  # type: ignore[arg-type]  # the fields of Panel that are left
    )


GLANCE: Final = (
    _stat(
        "Reports succeed",
        "Which share of the reports succeeded when they were last tried?",
        f"avg({_SUCCESS})",
        unit="percentunit",
        decimals=1,
        maximum=1,
        steps=SHARE_STEPS,
    ),
    _stat(
        "Workspaces hit",
        "In how many workspaces does a report fail?",
        total(f"min by ({_PLACE}) ({_SUCCESS}) == bool 0"),
        steps=ANY_STEPS,
    ),
    _stat(
        "Rejected keys",
        "How many API keys are not taken?",
        total(f"{_KEY} == bool 0"),
        steps=ANY_STEPS,
    ),
    _stat(
        "Failing reports",
        "How many reports failed when they were last tried?",
        total(f"{reports('success')} == bool 0"),
        steps=ANY_STEPS,
    ),
    _stat(
        "Late reports",
        f"How many reports are older than {LATE:g} of their intervals, so that values go away?",
        total(_LATE),
        steps=ANY_STEPS,
    ),
    _stat(
        "Values",
        "How many values from the API are exported?",
        total(_VALUES),
    ),
    _stat(
        "Files",
        "Are both configurations right, and could the state file be written, where there is one?",
        f"min({own('seasalt_exporter_config_last_reload_successful')}"
        f" * {own('seasalt_exporter_web_config_last_reload_successful')}"
        f" * {own('seasalt_exporter_state_last_write_successful')})",
        unit="none",
        mappings={"0": ("See the log", "red"), "1": ("In order", "text")},
    ),
    _stat(
        "Version",
        "Which version is running?",
        own("seasalt_exporter_build_info", "version"),
        legend="{{version}}",
        options={"textMode": "name"},
    ),
)

TABLES: Final = (
    Panel(
        kind="table",
        title="Workspaces",
        asks="Which share of a workspace's reports succeed, and how much of the day's budget is left?",
        window=f"{NOW} The budget is of the local day, where there is one. Of several exporters the worst key and the least budget count.",
        queries=(
            Query(f"avg by ({_PLACE}) ({_SUCCESS})"),
            Query(_KEY),
            Query(f"count by ({_PLACE}) ({reports('success')})"),
            Query(total(f"{reports('success')} == bool 0", _PLACE)),
            Query(total(_LATE, _PLACE)),
            Query(total(_VALUES, _PLACE)),
            Query(f"min by ({_PLACE}) ({own('seasalt_api_requests_budget_remaining')})"),
        ),
        names={
            "workspace": "Workspace",
            "api": "API",
            "Value #A": "Succeed",
            "Value #B": "Key",
            "Value #C": "Reports",
            "Value #D": "Failing",
            "Value #E": "Late",
            "Value #F": "Values",
            "Value #G": "Requests left",
        },
        columns={
            "API": API_NAMES,
            "Succeed": SUCCEED,
            "Key": states("Rejected", "Taken"),
            "Failing": coloured(ANY_STEPS),
            "Late": coloured(ANY_STEPS),
        },
        options={"sortBy": [{"displayName": "Failing", "desc": True}]},
        size=(24, 11),
    ),
    Panel(
        kind="table",
        title="Reports, the oldest first",
        asks="Which reports are behind, measured by their own intervals? The hundred oldest.",
        window=NOW,
        queries=(
            Query(f"topk(100, {_AGE} / {reports('interval_seconds')})"),
            Query(f"{_AGE} and topk(100, {_AGE} / {reports('interval_seconds')})"),
        ),
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "report": "Report",
            "window": "Window",
            "Value #B": "Age",
            "Value #A": "Intervals",
        },
        columns={
            "Report": {"custom__minWidth": 320},
            "Age": {"unit": "s", "decimals": 0},
            "Intervals": coloured(((None, "text"), (LATE, "red")), unit="none", decimals=1),
        },
        options={"sortBy": [{"displayName": "Intervals", "desc": True}]},
        size=(24, 14),
    ),
)

FRESH: Final = (
    Panel(
        title="Age of the oldest report",
        asks="Are reports in time? 1 is one interval; values go away at the dashed line.",
        window=f"{SHOWN} In intervals of the report.",
        queries=(
            Query(
                f"max by (workspace) ({_AGE} / {reports('interval_seconds')})",
                "{{workspace}}",
            ),
        ),
        unit="none",
        decimals=1,
        steps=((None, "transparent"), (LATE, "red")),
        custom={"thresholdsStyle": {"mode": "dashed"}},
    ),
    Panel(
        kind="state-timeline",
        title="Reports that succeed",
        asks="When did a report of a workspace fail?",
        window=SHOWN,
        queries=(Query(f"min by (workspace) ({reports('success')})", "{{workspace}}"),),
        unit="none",
        mappings={"0": ("One fails or more", "red"), "1": ("All succeed", "green")},
    ),
)

_OUTCOMES: Final = {
    "success": "green",
    "rate limited": "yellow",
    "unauthorized": "purple",
    "client error": "orange",
    "server error": "red",
    "invalid": "dark-red",
    "timeout": "blue",
    "connect": "#8e8e8e",
}
_REQUESTS: Final = own("seasalt_api_requests_total", over=_RATE)
_BUCKETS: Final = own("seasalt_api_request_duration_seconds_bucket", over=_RATE)
API: Final = (
    Panel(
        title="Requests by outcome",
        asks="How many requests does the API get, and how do they end?",
        window=f"{SHOWN} Requests a minute.",
        queries=(Query(f"60 * sum by (outcome) (rate({_REQUESTS}))", "{{outcome}}"),),
        unit="reqpm",
        decimals=1,
        custom={"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 60, "lineWidth": 0},
        transformations=(SPACES,),
        overrides=tuple(painted(*outcome) for outcome in _OUTCOMES.items()),
        size=(8, 8),
    ),
    Panel(
        title="Requests that fail",
        asks="Which share of a workspace's requests brings nothing?",
        window=SHOWN,
        queries=(
            Query(
                "1 - sum by (workspace) (rate("
                + own("seasalt_api_requests_total", over=_RATE, outcome="success")
                + f")) / (sum by (workspace) (rate({_REQUESTS})) > 0)",
                "{{workspace}}",
            ),
        ),
        unit="percentunit",
        custom={"axisSoftMax": 0.1},
        size=(8, 8),
    ),
    Panel(
        title="How long the API takes",
        asks="How long do the slowest twentieth of the requests take?",
        window=f"{SHOWN} The 95th percentile, out of buckets and so rough.",
        queries=(
            Query(
                f"histogram_quantile(0.95, sum by (api, le) (rate({_BUCKETS})))",
                "{{api}}",
            ),
        ),
        unit="s",
        transformations=tuple(
            {
                "id": "renameByRegex",
                "options": {"regex": f"^{name}$", "renamePattern": api.title},
            }
            for name, api in APIS.items()
        ),
        size=(8, 8),
    ),
)

LOST: Final = (
    Panel(
        title="Values dropped",
        asks="How many values are left out because there are more than the configuration allows?",
        window=_EACH_HOUR,
        queries=(
            Query(
                f"sum by (reason) (increase({own('seasalt_series_dropped_total', over=_HOUR)}))",
                "{{reason}}",
            ),
        ),
        decimals=0,
        custom={"axisSoftMax": 1},
        transformations=(SPACES,),
        size=(6, 7),
    ),
    Panel(
        title="Surprises in answers",
        asks="How many parts of the API's answers are missing, or not as its documents say?",
        window=_EACH_HOUR,
        queries=(
            Query(
                f"sum(increase({own('seasalt_schema_drift_total', over=_HOUR)}))"
                f" or 0 * count({own('seasalt_exporter_build_info')})",
                "surprises",
            ),
        ),
        decimals=0,
        custom={"axisSoftMax": 1},
        size=(6, 7),
    ),
    Panel(
        title="Size of the page",
        asks="How much does a scrape bring?",
        window=SHOWN,
        queries=(Query(own("seasalt_exporter_page_bytes", "encoding"), "{{encoding}}"),),
        unit="bytes",
        size=(6, 7),
    ),
    Panel(
        title="Memory",
        asks="Does the exporter's memory grow without end?",
        window=SHOWN,
        queries=(
            Query(
                f"{own('process_resident_memory_bytes', 'instance')}"
                f" and on (instance) {own('seasalt_exporter_build_info', 'instance')}",
                "{{instance}}",
            ),
        ),
        unit="bytes",
        size=(6, 7),
    ),
)

BOARD: Final = Board(
    uid="seasalt-exporter",
    title="Exporter",
    about="Whether the exporter is well, and so whether the other dashboards can be believed.",
    rows=(
        Row("At a glance", GLANCE),
        Row("Where it is wrong", TABLES),
        Row("Freshness", FRESH),
        Row("Requests to the API", API),
        Row("What is lost, and what it costs", LOST),
    ),
    since="now-24h",
)
