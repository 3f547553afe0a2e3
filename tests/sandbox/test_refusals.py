"""What does not fit the documents is refused, in the documents' words where they have any."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from exporter.model import api_paths
from exporter.sandbox import Sandbox

Call = Callable[..., httpx.Response]
DATES: dict[str, Any] = {
    "start_date": "2025-10-01T00:00:00",
    "end_date": "2025-10-31T23:59:59",
}
PORTAL_DATES = {"from_date": DATES["start_date"], "to_date": DATES["end_date"]}
REPORTS = {
    "seachat": api_paths.SEACHAT_REPORT,
    "portal": api_paths.PORTAL_REPORT,
    "seax": api_paths.SEAX_REPORT,
}
GOOD: dict[str, dict[str, Any]] = {
    "seachat": {"metrics": ["label_overview"]},
    "portal": {"metric": "conversation_overview", "time_unit": "day"},
    "seax": {"metrics": ["label_overview"]},
}
MISSING = "value_error.missing"
EXTRA = "value_error.extra"
ENUM = "type_error.enum"
STR = "type_error.str"
every_report = pytest.mark.parametrize("api", list(REPORTS))


def mistakes(reply: httpx.Response) -> list[tuple[str, str]]:
    """(field, type) of each entry of the validation shape."""
    assert reply.status_code == 422, reply.text
    found = reply.json()["detail"]
    assert all(set(entry) == {"loc", "msg", "type"} for entry in found)
    assert all(entry["loc"][0] in {"body", "query"} for entry in found)
    return [(entry["loc"][-1], entry["type"]) for entry in found]


@every_report
def test_only_the_apis_own_key_opens_it(sandbox: Sandbox, call: Call, api: str) -> None:
    workspace = sandbox.workspaces[0]
    keys = {name: getattr(workspace, f"{name}_key") for name in REPORTS}
    own = keys.pop(api)
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("X-API-KEY", "")],
        [("X-API-KEY", "nobody")],
        [("X-API-KEY", own[:-1])],
        [("Authorization", f"Bearer {own}")],
        [("X-API-KEY", own), ("X-API-KEY", own)],
        *([("X-API-KEY", key)] for key in keys.values()),
    ]
    for headers in wrong:
        reply = call(sandbox, "POST", REPORTS[api], headers=headers, json=GOOD[api])
        assert reply.status_code == 401
        assert reply.json() == {"detail": "Invalid API key"}
    reply = call(sandbox, "POST", REPORTS[api], headers={"x-api-key": own}, json=GOOD[api])
    assert reply.status_code == 200


@every_report
def test_the_key_is_asked_before_the_body_is_read(sandbox: Sandbox, call: Call, api: str) -> None:
    reply = call(sandbox, "POST", REPORTS[api], content=b"{")
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "path",
    [api_paths.PORTAL_REPORT_OLD, "/", "/api/v1/public/bots/", f"{api_paths.SEACHAT_REPORT}/x"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths_are_not_found(sandbox: Sandbox, call: Call, path: str, method: str) -> None:
    reply = call(sandbox, method, path)
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in REPORTS.values()),
        *(("PUT", path) for path in REPORTS.values()),
        ("POST", api_paths.BOTS),
        ("DELETE", api_paths.BOTS),
    ],
)
def test_wrong_methods_are_not_allowed(
    sandbox: Sandbox, call: Call, method: str, path: str
) -> None:
    reply = call(sandbox, method, path)
    assert (reply.status_code, reply.json()) == (405, {"detail": "Method Not Allowed"})
    assert reply.headers["allow"] != method


@every_report
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", MISSING),
        (b"{", "value_error.jsondecode"),
        (b'{"metrics": NaN}', "value_error.jsondecode"),
        (b'{"metrics": "\xff"}', "value_error.jsondecode"),
        (b"[" * 100_000, "value_error.jsondecode"),
        (b"[]", "type_error.dict"),
        (b'"text"', "type_error.dict"),
        (b"null", "type_error.dict"),
    ],
)
def test_bodies_that_are_no_json_object_are_refused(
    sandbox: Sandbox, call: Call, api: str, content: bytes, kind: str
) -> None:
    headers = {
        "X-API-KEY": getattr(sandbox.workspaces[0], f"{api}_key"),
        "Content-Type": "application/json; charset=utf-8",
    }
    reply = call(sandbox, "POST", REPORTS[api], headers=headers, content=content)
    assert [entry for _, entry in mistakes(reply)] == [kind]


@every_report
def test_bodies_must_say_that_they_are_json(sandbox: Sandbox, call: Call, api: str) -> None:
    headers = {"X-API-KEY": getattr(sandbox.workspaces[0], f"{api}_key")}
    reply = call(sandbox, "POST", REPORTS[api], headers=headers, content=b"{}")
    assert mistakes(reply) == [("body", "type_error.dict")]


@pytest.mark.parametrize(
    ("api", "field"), [("seachat", "metrics"), ("portal", "metric"), ("seax", "metrics")]
)
def test_missing_metrics_are_refused_as_documented(post: Call, api: str, field: str) -> None:
    reply = post(api, {})
    assert reply.status_code == 422
    assert reply.json() == {
        "detail": [{"loc": ["body", field], "msg": "field required", "type": "value_error.missing"}]
    }


SHARED_MISTAKES: list[tuple[dict[str, object], str, str]] = [
    ({"metrics": []}, "metrics", "value_error.list.min_items"),
    ({"metrics": "label_overview"}, "metrics", "type_error.list"),
    ({"metrics": [1]}, "metrics", STR),
    ({"metrics": None}, "metrics", "type_error.list"),
    ({"metric": "label_overview"}, "metric", EXTRA),
    ({"from_date": DATES["start_date"]}, "from_date", EXTRA),
    ({"type": "messages"}, "type", EXTRA),
    ({"handling_status": "RESOLVED"}, "handling_status", EXTRA),
    ({"time_unit": "week"}, "time_unit", ENUM),
    ({"time_unit": None}, "time_unit", ENUM),
    ({"message_type": "MESSAGES"}, "message_type", ENUM),
    ({"range_type": "last_14_days"}, "range_type", ENUM),
    ({"range_type": ["last_day"]}, "range_type", ENUM),
    ({"timezone": "Asia/Mumbai"}, "timezone", "value_error.timezone"),
    ({"timezone": "America"}, "timezone", "value_error.timezone"),
    ({"timezone": "../UTC"}, "timezone", "value_error.timezone"),
    ({"timezone": ""}, "timezone", "value_error.any_str.min_length"),
    ({"timezone": 0}, "timezone", STR),
    ({"start_date": "2025-10-01"}, "start_date", "value_error.datetime"),
    ({"start_date": "2025-02-30T00:00:00"}, "start_date", "value_error.datetime"),
    ({"start_date": "2025-10-01 00:00:00"}, "start_date", "value_error.datetime"),
    ({"start_date": 1759276800}, "start_date", STR),
    ({"end_date": "2025-10-01T00:00:00+25:00"}, "end_date", "value_error.datetime"),
    ({"end_date": "yesterday"}, "end_date", "value_error.datetime"),
    (
        {"start_date": DATES["end_date"], "end_date": DATES["start_date"]},
        "start_date",
        "value_error.date_range",
    ),
    ({"exclude_empty_response": "true"}, "exclude_empty_response", "type_error.bool"),
    ({"exclude_empty_response": 1}, "exclude_empty_response", "type_error.bool"),
    ({"labels": "Sales"}, "labels", "type_error.list"),
    ({"labels": ["\ud800"]}, "labels", "value_error.str"),
    ({"year": 2025}, "year", STR),
]


MISTAKES: list[tuple[str, dict[str, object], str, str]] = [
    *((api, *mistake) for api in ("seachat", "seax") for mistake in SHARED_MISTAKES),
    ("seachat", {"agents": ["agent_user_2"]}, "agents", EXTRA),
    ("seax", {"gptbot_id": "bot-1"}, "gptbot_id", EXTRA),
    ("portal", {"metric": None}, "metric", STR),
    ("portal", {"metric": ["total_usage"]}, "metric", STR),
    ("portal", {"metric": ""}, "metric", "value_error.any_str.min_length"),
    ("portal", {"handling_status": "resolved"}, "handling_status", ENUM),
    ("portal", {"time_unit": "week"}, "time_unit", ENUM),
    ("portal", {"timezone": "Nowhere"}, "timezone", "value_error.timezone"),
    ("portal", {"from_date": "2025-10-01"}, "from_date", "value_error.datetime"),
    ("portal", {"from_date": "2026-01-01T00:00:00"}, "from_date", "value_error.date_range"),
    ("portal", {"exclude_empty_response": 0}, "exclude_empty_response", "type_error.bool"),
]


@pytest.mark.parametrize(("api", "fields", "field", "kind"), MISTAKES)
def test_fields_that_do_not_fit_are_refused(
    post: Call, api: str, fields: dict[str, object], field: str, kind: str
) -> None:
    assert mistakes(post(api, GOOD[api] | fields)) == [(field, kind)]


def test_all_mistakes_are_told_at_once(post: Call) -> None:
    found = mistakes(post("seachat", {"metric": "csat", "timezone": "Mars", "time_unit": "week"}))
    assert sorted(found) == [
        ("metric", EXTRA),
        ("metrics", MISSING),
        ("time_unit", ENUM),
        ("timezone", "value_error.timezone"),
    ]


RANGE = "Range type is required for conversation overview"
SHARED_LACKS: list[tuple[str, dict[str, Any], str]] = [
    ("conversation_overview", {}, RANGE),
    ("conversation_overview", DATES, RANGE),
    (
        "conversation_overview_yearly",
        {},
        "Year is required for conversation overview yearly",
    ),
    *(
        (metric, fields, f"Start date and end date are required for {metric.replace('_', ' ')}")
        for metric in (
            "communication_volume",
            "activity_trend",
            "label_usage",
            "conversation_breakdown",
        )
        for fields in (
            {},
            {"start_date": DATES["start_date"]},
            {"end_date": DATES["end_date"]},
            {"range_type": "last_30_days"},
        )
    ),
    *(
        ("conversation_overview_yearly", {"year": year}, "Invalid year format")
        for year in ("25", "twenty", "20255", "0000", "9999", "\u0662\u0660\u0662\u0665", "2025 ")
    ),
    ("invalid_metric_name", {}, "Unsupported metric: invalid_metric_name"),
    ("today_communication_volume", {}, "Unsupported metric: today_communication_volume"),
]


LACKS: list[tuple[str, str, dict[str, Any], str]] = [
    *((api, *lack) for api in ("seachat", "seax") for lack in SHARED_LACKS),
    ("seachat", "csat", {}, "gptbot_id is required for csat"),
    ("seachat", "csat", DATES, "gptbot_id is required for csat"),
    ("seachat", "agent_activity", DATES, "Unsupported metric: agent_activity"),
    (
        "seachat",
        "label_relation",
        {"labels": ["Sales", "Support"]},
        "Start date and end date are required for label relation",
    ),
    ("seachat", "label_relation", DATES, "Label relation requires exactly 2 labels"),
    (
        "seachat",
        "label_relation",
        DATES | {"labels": ["Sales"]},
        "Label relation requires exactly 2 labels",
    ),
    (
        "seachat",
        "label_relation",
        DATES | {"labels": ["Sales", "Support", "Billing"]},
        "Label relation requires exactly 2 labels",
    ),
    ("seax", "csat", DATES, "Unsupported metric: csat"),
    ("seax", "label_relation", DATES, "Unsupported metric: label_relation"),
    (
        "seax",
        "agent_activity",
        {"start_date": DATES["start_date"]},
        "Start date and end date are required for agent activity",
    ),
    ("portal", "csat", {}, "Unsupported metric: csat"),
    ("portal", "communication_volume", {}, "Unsupported metric: communication_volume"),
    ("portal", "conversation_overview_yearly", {"year": "25"}, "Invalid year format"),
]


@pytest.mark.parametrize(("api", "metric", "fields", "text"), LACKS)
def test_what_a_metric_lacks_is_told_in_the_documents_words(
    post: Call, api: str, metric: str, fields: dict[str, object], text: str
) -> None:
    asked: dict[str, object] = {"metric": metric} if api == "portal" else {"metrics": [metric]}
    reply = post(api, asked | fields)
    assert (reply.status_code, reply.json()) == (400, {"detail": text})


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_one_bad_metric_fails_the_whole_call(post: Call, api: str) -> None:
    good = GOOD[api]["metrics"]
    reply = post(api, {"metrics": [*good, "communication_volume"]})
    assert (reply.status_code, list(reply.json())) == (400, ["detail"])
    reply = post(api, {"metrics": ["communication_volume", "nonsense"]})
    assert reply.json() == {"detail": "Unsupported metric: nonsense"}


def test_a_bot_of_another_workspace_is_not_found(sandbox: Sandbox, post: Call) -> None:
    for bot in ("nobody", sandbox.workspaces[1].bots[0].id):
        reply = post("seachat", {"metrics": ["csat"], "gptbot_id": bot})
        assert (reply.status_code, reply.json()) == (404, {"detail": "Bot not found"})


def test_the_other_workspaces_key_gives_its_own_numbers(sandbox: Sandbox, call: Call) -> None:
    totals = []
    for workspace in sandbox.workspaces:
        headers = {"X-API-KEY": workspace.seachat_key}
        body = {"metrics": ["total_usage"]}
        reply = call(sandbox, "POST", api_paths.SEACHAT_REPORT, headers=headers, json=body)
        totals.append(reply.json()["total_usage"]["total_chat_responses"])
    assert len(set(totals)) == len(totals)


PORTAL_FIELDS: dict[str, dict[str, Any]] = {
    "today_communication_volume": {},
    "activity_trend": PORTAL_DATES | {"type": "calls", "time_unit": "day"},
    "label_usage": PORTAL_DATES | {"time_unit": "day", "labels": ["Sales"]},
    "total_usage": PORTAL_DATES | {"time_unit": "month"},
    "conversation_overview": PORTAL_DATES
    | {"time_unit": "day", "handling_status": "PENDING", "exclude_empty_response": False},
    "conversation_overview_yearly": {"year": "2025"},
    "conversation_breakdown": PORTAL_DATES,
}
PORTAL_VALUES: dict[str, Any] = {
    "type": "messages",
    "time_unit": "day",
    "range_type": "last_7_days",
    "exclude_empty_response": True,
    "labels": ["Sales"],
    "handling_status": "RESOLVED",
    "year": "2025",
    "gptbot_id": "bot-1",
    "metrics": ["total_usage"],
    **PORTAL_DATES,
    **DATES,
}


@pytest.mark.parametrize("metric", list(PORTAL_FIELDS))
def test_portal_takes_the_fields_of_a_metrics_table_and_no_other(post: Call, metric: str) -> None:
    body = {"metric": metric, "timezone": "Asia/Taipei"} | PORTAL_FIELDS[metric]
    assert post("portal", body).status_code == 200
    for field, value in PORTAL_VALUES.items():
        if field not in body:
            assert mistakes(post("portal", body | {field: value})) == [(field, EXTRA)]


@pytest.mark.parametrize(
    ("metric", "lacking"),
    [
        ("activity_trend", ["type", "time_unit"]),
        ("label_usage", ["time_unit"]),
        ("conversation_overview", ["time_unit"]),
    ],
)
def test_portal_requires_what_its_tables_mark(post: Call, metric: str, lacking: list[str]) -> None:
    found = mistakes(post("portal", {"metric": metric}))
    assert sorted(found) == sorted((field, MISSING) for field in lacking)
