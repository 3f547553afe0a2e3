from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from support.entries import JANUARY, entry, read
from support.workspaces import workspace

from exporter.model.report import ABSENT, Windows
from exporter.polling.plan import planned_calls

METRIC = "conversation_overview"
CONVERSATIONS = "conversation_overview_conversations"
CHANGE = "conversation_overview_change_ratio"
START = "conversation_overview_period_start_timestamp_seconds"
END = "conversation_overview_period_end_timestamp_seconds"
JUNE = datetime(2024, 6, 1, 12, tzinfo=UTC)
MAY_AND_JUNE: Final[Mapping[str, Any]] = {"window": "last_32_days", "time_unit": "month"}


def test_portals_periods_are_added_up() -> None:  # T21, T39
    part = {
        "metric": "conversation_overview",
        "time_unit": "month",
        "data": [{"date": "2024-06", "count": 200}, {"date": "2024-05", "count": 180}],
    }
    found = read("portal", METRIC, part, JUNE, **MAY_AND_JUNE)
    assert found.series == {CONVERSATIONS: 380}


def test_portals_filter_is_a_label_and_not_a_breakdown() -> None:  # T41
    part = {"data": [{"date": "2024-06-01", "count": 7}]}
    found = read("portal", METRIC, part, JUNE, handling_status="PENDING")
    assert found.series == {f'{CONVERSATIONS}{{handling_status="PENDING"}}': 7}


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_only_portal_filters_by_handling_status(api: str) -> None:  # T41
    assert "handling_status" not in entry(api, METRIC).form.options


def test_each_handling_status_is_an_entry_of_its_own() -> None:  # T41
    one = entry("portal", METRIC, handling_status="PENDING")
    collides = one.report.collides
    for status, clash in (("PENDING", True), ("RESOLVED", False), (None, False)):
        other = entry("portal", METRIC, handling_status=status)
        assert collides(one.options, other.options, JUNE.date()) is clash


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_what_is_told_without_empty_conversations_has_a_label(api: str) -> None:  # T33
    part = {
        "conversations": 138,
        "conversations_change_percentage": 4,
        "current_period_start": "2024-01-01T00:00:00Z",
        "current_period_end": "2024-01-31T23:59:59Z",
    }
    found = read(api, METRIC, part, exclude_empty_response=True)
    excluded = 'exclude_empty_response="true"'
    assert found.series == {
        f"{CONVERSATIONS}{{{excluded}}}": 138,
        f'{CHANGE}{{of="conversations",{excluded}}}': 0.04,
        f'{START}{{period="current",{excluded}}}': 1704067200,
        f'{END}{{period="current",{excluded}}}': 1706745599,
    }


def test_portal_tells_of_a_status_without_empty_conversations() -> None:  # T33, T41
    part = {"data": [{"date": "2024-06-01", "count": 6}]}
    options: dict[str, Any] = {"handling_status": "PENDING", "exclude_empty_response": True}
    found = read("portal", METRIC, part, JUNE, **options)
    labels = 'handling_status="PENDING",exclude_empty_response="true"'
    assert found.series == {f"{CONVERSATIONS}{{{labels}}}": 6}


@pytest.mark.parametrize("api", ["seachat", "portal", "seax"])
def test_all_conversations_and_those_that_are_not_empty_stand_beside_each_other(api: str) -> None:
    both = [METRIC, {"metric": METRIC, "exclude_empty_response": True}]
    one = workspace(both, api=api, bots=int(api == "seachat"))
    calls = planned_calls(one, one.bots)
    assert [call.body(JUNE.date())["exclude_empty_response"] for call in calls] == [False, True]
    names = [entry.name for call in calls for entry in call.entries]
    assert names == [METRIC, f"{METRIC}_exclude_empty_response"]


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_a_range_never_travels_with_dates(api: str) -> None:  # T27
    wanted = entry(api, METRIC)
    assert wanted.form.windows is Windows.RANGES
    assert wanted.fields == {
        "timezone": "UTC",
        "range_type": "last_30_days",
        "start_date": ABSENT,
        "end_date": ABSENT,
        "exclude_empty_response": False,
    }


def test_portal_is_never_sent_a_range() -> None:  # T23
    fields = entry("portal", METRIC).fields
    assert "range_type" not in fields
    assert {"start_date", "end_date", "time_unit", "exclude_empty_response"} <= fields.keys()


def test_the_window_that_the_api_means_is_shown_beside_the_one_that_was_asked() -> None:  # T27
    part = {
        "conversations": 150,
        "current_period_start": "2024-01-01T00:00:00Z",
        "current_period_end": "2024-01-31T23:59:59Z",
    }
    found = read("seachat", METRIC, part, zone="America/Los_Angeles")
    assert found.series == {
        CONVERSATIONS: 150,
        f'{START}{{period="current"}}': 1704067200,
        f'{END}{{period="current"}}': 1706745599,
    }
    conversations = found.samples[0]
    assert conversations.labels == ("last_30_days", "", "")


@pytest.mark.usefixtures("_our_zones")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2024-01-01T00:00:00Z", "2024-01-01T00:00:00+00:00", id="utc"),
        pytest.param("2024-01-01T00:00:00-05:00", "2024-01-01T05:00:00+00:00", id="offset"),
        pytest.param("2024-01-01T00:00:00", "2024-01-01T08:00:00+00:00", id="naive"),
        pytest.param("2024-01-01T00:00:00.769173", "2024-01-01T08:00:00.769173+00:00", id="micros"),
        pytest.param("2024-07-01", "2024-07-01T07:00:00+00:00", id="date-alone-in-summer"),
    ],
)
def test_a_period_without_a_zone_is_in_the_requests_zone(text: str, expected: str) -> None:  # T84
    part = {"current_period_start": text}
    found = read("seachat", METRIC, part, zone="America/Los_Angeles")
    seconds = datetime.fromisoformat(expected).timestamp()
    assert found.series == {f'{START}{{period="current"}}': seconds}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("yesterday", id="text"),
        pytest.param("", id="empty"),
        pytest.param(1704067200, id="number"),
        pytest.param(["2024-01-01"], id="list"),
        pytest.param("0001-01-01T00:00:00+23:59", id="before-the-first-year"),
        pytest.param("2024-01-01T00:00:00Z\n+1206123456789", id="more-than-a-time"),
    ],
)
def test_an_unreadable_period_is_absent_and_counted(value: object) -> None:  # T84
    found = read("seachat", METRIC, {"conversations": 1, "previous_period_end": value})
    assert found.series == {CONVERSATIONS: 1}
    assert found.drift == {"previous_period_end": 1}


def test_a_change_that_is_not_documented_is_welcome() -> None:  # T60
    part = {"distinct_user_count": 125, "distinct_user_count_change_percentage": -3.5}
    found = read("seachat", METRIC, part)
    assert found.series == {"conversation_overview_users": 125, f'{CHANGE}{{of="users"}}': -0.035}


def test_messages_of_customers_are_not_made_up() -> None:  # T61
    part = {"messages": 2500, "bot_messages": 1200, "agent_messages": 800}
    found = read("seachat", METRIC, part)
    assert found.series == {
        "conversation_overview_messages": 2500,
        "conversation_overview_bot_messages": 1200,
        "conversation_overview_agent_messages": 800,
    }


def test_a_change_needs_no_count_and_a_count_no_change() -> None:  # T60, R-ZERO
    part = {"conversations": None, "conversations_change_percentage": 5, "messages": 0}
    found = read("seachat", METRIC, part)
    assert found.series == {
        f'{CHANGE}{{of="conversations"}}': 0.05,
        "conversation_overview_messages": 0,
    }


def test_a_change_may_be_negative_and_a_count_may_not() -> None:  # T85
    part = {"messages": -1, "messages_change_percentage": -100}
    found = read("seachat", METRIC, part)
    assert found.series == {f'{CHANGE}{{of="messages"}}': -1}
    assert found.drift == {"messages": 1}


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_a_sliding_range_is_never_withdrawn(api: str) -> None:  # T82
    assert entry(api, METRIC).withdrawn(JANUARY) is None
