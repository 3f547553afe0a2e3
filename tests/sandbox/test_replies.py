"""Replies have the keys, the order and the spelling of the documents' samples."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from exporter.sandbox import Sandbox

Ask = Callable[..., Any]
DATES = {"start_date": "2025-08-01T00:00:00", "end_date": "2025-10-31T23:59:59"}
PORTAL_DATES = {"from_date": DATES["start_date"], "to_date": DATES["end_date"]}
ZULU = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
OVERVIEW = {
    "conversations": int,
    "messages": int,
    "bot_messages": int,
    "agent_messages": int,
    "live_agent_requests": int,
    "distinct_user_count": int,
    "conversations_change_percentage": float,
    "messages_change_percentage": float,
    "bot_messages_change_percentage": float,
    "agent_messages_change_percentage": float,
    "live_agent_requests_change_percentage": float,
    "current_period_start": str,
    "current_period_end": str,
    "previous_period_start": str,
    "previous_period_end": str,
}
YEARLY = {
    "total_conversations": int,
    "total_messages": int,
    "average_messages_per_conversation": float,
    "monthly_messages": dict,
}
BREAKDOWN = {"channel_summary": dict, "messages_by_day": dict, "messages_by_hour": dict}
VOLUME = {
    "inbound_voice_count": int,
    "outbound_voice_count": int,
    "inbound_non_voice_count": int,
}
USAGE = {"total_voice_minutes": float, "total_chat_responses": int}
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def shape(value: dict[str, object]) -> dict[str, type]:
    return {name: type(item) for name, item in value.items()}


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_overview_and_volume_have_the_documented_keys(
    api: str, request: pytest.FixtureRequest
) -> None:
    ask: Ask = request.getfixturevalue(api)
    overview = ask("conversation_overview", range_type="last_30_days")
    assert shape(overview) == OVERVIEW
    assert all(ZULU.fullmatch(value) for name, value in overview.items() if "_period_" in name)
    assert shape(ask("communication_volume", **DATES)) == VOLUME
    assert shape(ask("total_usage", **DATES)) == USAGE
    assert shape(ask("conversation_overview_yearly", year="2025")) == YEARLY
    assert shape(ask("conversation_breakdown", **DATES)) == BREAKDOWN


def test_seachat_names_all_months_weekdays_and_hours(seachat: Ask) -> None:
    assert list(seachat("conversation_overview_yearly", year="2025")["monthly_messages"]) == MONTHS
    night = {"start_date": "2025-10-01T03:00:00", "end_date": "2025-10-01T03:00:01"}
    found = seachat("conversation_breakdown", **night)
    assert list(found["messages_by_day"]) == WEEKDAYS
    assert list(found["messages_by_hour"]) == [str(hour) for hour in range(24)]


def test_seachat_channels_have_four_counts(seachat: Ask) -> None:
    channels = seachat("conversation_breakdown", **DATES)["channel_summary"]
    assert set(channels) == {"WebChat", "WhatsApp", "SMS", "Messenger", "Line"}
    for channel in channels.values():
        assert shape(channel) == {
            "user_count": int,
            "inbound_message_count": int,
            "outbound_message_count": int,
            "total_message_count": int,
        }


def test_seachat_trend_is_oldest_first_with_its_change_inside(seachat: Ask) -> None:
    for kind, names in (
        ("messages", ("CUSTOMER", "AGENT", "BOT", "SYSTEM")),
        ("calls", ("inbound", "outbound")),
    ):
        found = seachat("activity_trend", time_unit="day", message_type=kind, **DATES)
        assert shape(found) == {"time_unit": str, "data": list, "change_percent": float}
        assert found["time_unit"] == "day"
        periods = [row["period"] for row in found["data"]]
        assert periods == sorted(set(periods))
        for row in found["data"]:
            assert shape(row) == {"period": str} | dict.fromkeys(names, int)


def test_seachat_counts_months_of_messages_unless_told_otherwise(seachat: Ask) -> None:
    asked = {"message_type": "messages", "time_unit": "month", "timezone": "UTC"}
    assert seachat("activity_trend", **DATES) == seachat("activity_trend", **DATES, **asked)
    assert seachat("label_usage", **DATES) == seachat("label_usage", **DATES, time_unit="month")
    periods = [row["period"] for row in seachat("label_usage", **DATES)]
    assert periods == ["2025-08", "2025-09", "2025-10"]


def test_seachat_label_usage_is_a_bare_list_of_the_asked_labels(seachat: Ask) -> None:
    rows = seachat("label_usage", labels=["Billing", "Sales", "no such label"], **DATES)
    for row in rows:
        assert shape(row) == {"period": str, "labels": list}
        assert {label["name"] for label in row["labels"]} == {"Billing", "Sales"}
        assert all(shape(label) == {"name": str, "count": int} for label in row["labels"])


def test_seachat_label_overview_tells_own_labels_from_the_systems(seachat: Ask) -> None:
    labels = seachat("label_overview")
    for label in labels:
        assert shape(label) == {
            "id": str,
            "name": str,
            "color": str,
            "description": str,
            "total_count": int,
            "is_system": bool,
            "created_time": str,
            "updated_time": str,
        }
        assert ZULU.fullmatch(label["created_time"])
        assert label["created_time"] <= label["updated_time"]
    assert {label["is_system"] for label in labels} == {True, False}


def test_seachat_csat_has_responses_with_what_nobody_should_see(
    sandbox: Sandbox, seachat: Ask
) -> None:
    bot = sandbox.workspaces[0].bots[0]
    found = seachat("csat", gptbot_id=bot.id)
    assert shape(found) == {
        "total_responses": int,
        "average_rating": float,
        "satisfaction_rate": float,
        "rating_counts": dict,
        "responses": list,
    }
    assert list(found["rating_counts"]) == ["1", "2", "3", "4", "5"]
    for response in found["responses"]:
        assert shape(response) == {
            "id": int,
            "conversation_id": str,
            "form_id": str,
            "rating": int,
            "created_at": str,
            "data": dict,
            "conversation_title": str,
            "conversation_link": str,
        }
        assert response["data"]["rating"] == response["rating"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", response["created_at"])
        assert bot.id in response["conversation_link"]
    assert any(
        re.fullmatch(r"\+1\d{10}", response["conversation_title"])
        for response in found["responses"]
    )
    assert any(response["data"]["comment"] for response in found["responses"])
    assert len({response["id"] for response in found["responses"]}) == found["total_responses"]


def test_seachat_csat_of_an_empty_window_is_all_zeros(sandbox: Sandbox, seachat: Ask) -> None:
    night = {"start_date": "2020-10-01T03:00:00", "end_date": "2020-10-01T03:00:01"}
    assert seachat("csat", gptbot_id=sandbox.workspaces[0].bots[0].id, **night) == {
        "total_responses": 0,
        "average_rating": 0.0,
        "satisfaction_rate": 0.0,
        "rating_counts": {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0},
        "responses": [],
    }


def test_seachat_relation_to_an_unknown_label_is_zero(seachat: Ask) -> None:
    found = seachat("label_relation", labels=["no such label", "Sales"], **DATES)
    assert (found["base_count"], found["both_labels_count"], found["ratio"]) == (0, 0, 0.0)


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_many_metrics_are_answered_in_one_call(
    post: Callable[..., httpx.Response], api: str
) -> None:
    metrics = ["label_overview", "conversation_overview", "communication_volume", "activity_trend"]
    body = {
        "metrics": [*metrics, "label_overview"],
        "range_type": "last_30_days",
        "timezone": "America/Los_Angeles",
    }
    reply = post(api, body | DATES)
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == metrics


def test_portal_replies_name_their_metric_and_time_unit(portal: Ask) -> None:
    listed = {"metric": str, "time_unit": str, "data": list}
    assert shape(portal("today_communication_volume")) == listed
    assert portal("today_communication_volume")["time_unit"] == "day"
    assert shape(portal("today_communication_volume")["data"][0]) == VOLUME
    assert shape(portal("label_usage", time_unit="month", **PORTAL_DATES)) == listed
    assert shape(portal("conversation_overview", time_unit="month", **PORTAL_DATES)) == listed
    trend = portal("activity_trend", type="calls", time_unit="month", **PORTAL_DATES)
    assert shape(trend) == listed | {"change_percent": float}
    assert shape(portal("conversation_overview_yearly")) == {"metric": str} | YEARLY
    assert shape(portal("conversation_breakdown", **PORTAL_DATES)) == {"metric": str} | BREAKDOWN


def test_portal_usage_echoes_the_time_unit_that_only_its_sample_sends(portal: Ask) -> None:
    found = portal("total_usage", time_unit="month", **PORTAL_DATES)
    assert found["time_unit"] == "month"
    assert len(found["data"]) == 1
    assert shape(found["data"][0]) == USAGE
    assert portal("total_usage", **PORTAL_DATES) == found | {"time_unit": "day"}


@pytest.mark.parametrize(
    ("metric", "fields"),
    [
        ("activity_trend", {"type": "messages"}),
        ("activity_trend", {"type": "calls"}),
        ("label_usage", {}),
        ("conversation_overview", {}),
    ],
)
def test_portal_rows_are_newest_first_by_date(
    portal: Ask, metric: str, fields: dict[str, str]
) -> None:
    rows = portal(metric, time_unit="day", **fields, **PORTAL_DATES)["data"]
    assert len(rows) > 50
    assert all(newer["date"] > older["date"] for newer, older in pairwise(rows))
    assert all("period" not in row for row in rows)


def test_portal_writes_bot_in_lower_case_now_and_then_and_system_never(portal: Ask) -> None:
    rows = portal("activity_trend", type="messages", time_unit="day", **PORTAL_DATES)["data"]
    odd = [row for row in rows if "bot" in row]
    assert 0 < 3 * len(odd) < len(rows)
    for row in rows:
        bot = "bot" if row in odd else "BOT"
        assert shape(row) == {"date": str, "CUSTOMER": int, "AGENT": int, bot: int}


def test_portal_channels_have_two_counts_and_its_months_are_partial(portal: Ask) -> None:
    found = portal("conversation_breakdown", **PORTAL_DATES)
    for channel in found["channel_summary"].values():
        assert shape(channel) == {"user_count": int, "inbound_message_count": int}
    assert list(found["messages_by_day"]) == WEEKDAYS
    assert len(found["messages_by_hour"]) == 24
    months = portal("conversation_overview_yearly", year="2024")["monthly_messages"]
    assert list(months) == MONTHS[-len(months) :]
    assert len(months) < 12


def test_seax_replies_are_thinner(seax: Ask) -> None:
    trend = seax("activity_trend", **DATES)
    assert shape(trend) == {"time_unit": str, "data": list}
    assert [shape(row) for row in trend["data"]] == [{"period": str, "count": int}] * 3
    calls = seax("activity_trend", message_type="calls", **DATES)
    assert [row["period"] for row in calls["data"]] == ["2025-08", "2025-09", "2025-10"]
    for channel in seax("conversation_breakdown", **DATES)["channel_summary"].values():
        assert shape(channel) == {"user_count": int, "message_count": int}
    for label in seax("label_overview"):
        assert shape(label) == {"name": str, "count": int}
    for row in seax("label_usage", **DATES):
        assert shape(row) == {"period": str, "labels": list}


def test_seax_leaves_out_hours_and_weekdays_without_a_message(seax: Ask) -> None:
    day = {"start_date": "2025-10-01T00:00:00", "end_date": "2025-10-01T23:59:59"}
    found = seax("conversation_breakdown", **day)
    assert list(found["messages_by_day"]) == ["Wednesday"]
    assert 0 < len(found["messages_by_hour"]) < 24
    assert all(found["messages_by_hour"].values())


def test_seax_minutes_are_null_without_a_call(seax: Ask) -> None:
    night = {"start_date": "2025-10-01T07:00:00", "end_date": "2025-10-01T07:00:01"}
    assert seax("total_usage", **night) == {"total_voice_minutes": None, "total_chat_responses": 0}


def test_seax_takes_label_names_and_ids(seachat: Ask, seax: Ask) -> None:
    ids = {label["name"]: label["id"] for label in seachat("label_overview")}
    by_name = seax("label_usage", labels=["Sales"], **DATES)
    assert by_name == seax("label_usage", labels=[ids["Sales"]], **DATES) != []


def test_seax_agents_have_statuses_in_upper_case(seax: Ask) -> None:
    found = seax("agent_activity", range_type="last_7_days")
    assert list(found) == ["agents"]
    for session in found["agents"]:
        assert list(session) == ["agent_id", "status", "start_time", "end_time", "duration_seconds"]
        assert session["status"].isupper()
        assert ZULU.fullmatch(session["start_time"])
