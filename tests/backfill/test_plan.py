from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.workspaces import workspace

from exporter.backfill.plan import OFFICE_HOURS, Plan, Range, Request, left_out
from exporter.config import Workspace
from exporter.model.history import MOST_DAYS

DAY = timedelta(days=1)
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
EVERYTHING: list[Any] = [
    "activity_trend",
    {"metric": "activity_trend", "window": "last_7_days"},
    {"metric": "activity_trend", "message_type": "calls"},
    "label_usage",
    {"metric": "label_usage", "window": "last_30_days"},
    {"metric": "csat", "window": "last_30_days"},
    "communication_volume",
    "total_usage",
    {"metric": "total_usage", "window": "this_month"},
    "conversation_breakdown",
    "conversation_overview_yearly",
    "conversation_overview",
    "label_overview",
]


def plan(
    metrics: list[Any] = EVERYTHING, *, bots: int = 50, intraday: int = 0, first: date = FIRST
) -> Plan:
    made = workspace(metrics, bots=bots)
    return Plan(made, made.bots, Range(first, LAST, intraday))


def counted(of: Plan) -> dict[str, int]:
    parts = [request.part for request in of.requests()]
    return {part: parts.count(part) for part in sorted(set(parts))}


def test_a_year_of_fifty_bots_takes_as_few_requests_as_the_documents_allow() -> None:
    # Two requests for each bot and 90 days, one for each day, one for the year, ten for each of 14 days.
    counts = counted(plan(intraday=14))
    assert counts == {"A": 50 * 2 * 5, "B": 50 * 365, "C": 50, "D": 50 * 14 * 10}


def test_windows_of_one_report_share_their_requests() -> None:
    one = counted(plan(["activity_trend"], bots=1))
    windows = ["yesterday", "last_7_days", "last_30_days", "this_month", "last_month"]
    many = [{"metric": "activity_trend", "window": window} for window in windows]
    assert counted(plan(["activity_trend", *many], bots=1)) == one == {"A": 5}


def test_at_the_scope_of_the_workspace_the_hours_of_14_days_take_140_requests() -> None:
    assert counted(plan(["activity_trend"], bots=0, intraday=14))["D"] == 140


def test_no_request_is_made_for_what_cannot_be_rebuilt() -> None:
    never = [
        "conversation_overview",
        "label_overview",
        {"metric": "csat", "window": "all"},
        {"metric": "label_relation", "labels": ["a", "b"], "window": "last_7_days"},
    ]
    made = plan(never, bots=1)
    assert list(made.requests()) == []
    assert [line.split(":")[0] for line in left_out(made.workspace)] == [
        "conversation_overview last_30_days cannot be rebuilt",
        "label_overview cannot be rebuilt",
        "csat all cannot be rebuilt",
        "label_relation last_7_days cannot be rebuilt",
    ]


@given(
    first=st.dates(date(2023, 1, 1), LAST), window=st.sampled_from(["yesterday", "last_60_days"])
)
def test_the_pieces_of_a_range_cover_it_once_and_are_never_longer_than_the_documents_advise(
    first: date, window: str
) -> None:
    made = plan([{"metric": "activity_trend", "window": window}], bots=1, first=first)
    pieces = sorted(request.days for request in made.part("A"))
    for before, after in pairwise(pieces):
        assert after.first - before.last == DAY
    assert pieces[0].first <= first
    assert pieces[-1].last == LAST
    assert all((one.last - one.first).days < MOST_DAYS for one in pieces)
    # Days before the range, which longer windows need, never cost a request.
    assert len(pieces) == -(-((LAST - first).days + 1) // MOST_DAYS)


def body(metrics: list[Any], part: Any) -> dict[str, object]:  # noqa: ANN401 - a literal
    request: Request = next(plan(metrics, bots=1, intraday=1).part(part))
    return request.body()


def test_a_request_of_part_a_asks_for_rows_of_days() -> None:
    asked = body(["activity_trend", "label_usage", {"metric": "csat"}], "A")
    assert asked == {
        "metrics": ["activity_trend", "label_usage", "csat"],
        "start_date": "2025-10-03T00:00:00",
        "end_date": "2025-12-31T23:59:59",
        "timezone": "UTC",
        "time_unit": "day",
        "message_type": "messages",
        "gptbot_id": "b0",
    }


def test_a_request_of_part_d_ends_one_second_before_the_hour() -> None:
    asked = body(["activity_trend", "conversation_breakdown"], "D")
    assert asked["metrics"] == ["activity_trend", "conversation_breakdown"]
    assert asked["start_date"] == "2025-12-31T00:00:00"
    assert asked["end_date"] == f"2025-12-31T{OFFICE_HOURS[0] - 1:02}:59:59"


def test_of_a_request_only_the_days_and_questions_that_are_not_known_are_missing() -> None:
    request = next(plan(["activity_trend", "label_usage"], bots=1).part("A"))
    trend, usage = request.asked
    days = [request.days.first + DAY * number for number in range(MOST_DAYS)]
    known = {trend: {*days}, usage: {*days} - {*days[5:8], days[10]}}
    missing = request.missing(lambda entry: known[entry])
    assert missing is not None
    assert missing.asked == (usage,)
    assert missing.days == (days[5], days[10])
    known[usage] = {*days}
    assert request.missing(lambda entry: known[entry]) is None


def keys(of: Plan) -> set[tuple[object, ...]]:
    """What the journal tells readings apart by."""
    return {
        (of.account, one.target.bot_id, entry.question, one.hour, one.days.first)
        for one in of.requests()
        for entry in one.asked
    }


@pytest.mark.parametrize(
    "other",
    [
        {"base_url": "http://127.0.0.1:2"},
        {"workspace_id": "w2"},
        {"timezone": "Asia/Tokyo"},
        {"api": "seax"},
        {"name": "another"},
    ],
)
def test_the_answers_of_another_account_or_time_zone_are_no_answers(other: dict[str, Any]) -> None:
    given: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "workspace_id": "w1"}
    one, two = (
        Plan(made, (), Range(LAST, LAST))
        for made in (
            workspace(["activity_trend"], **given),
            workspace(["activity_trend"], **{**given, **other}),
        )
    )
    assert keys(one)
    assert not keys(one) & keys(two)


def test_agents_with_labels_are_another_question() -> None:
    one, two = (
        Plan(made, (), Range(LAST, LAST))
        for made in (
            workspace([{"metric": "agent_activity", "agent_labels": on}], api="seax")
            for on in (False, True)
        )
    )
    assert keys(one)
    assert not keys(one) & keys(two)


def test_another_key_of_the_same_account_asks_nothing_again() -> None:
    one, two = (
        Plan(made, (), Range(LAST, LAST))
        for made in (workspace(["activity_trend"], api_key=key) for key in ("k1", "k2"))
    )
    assert keys(one) == keys(two)


@pytest.mark.parametrize("api", ["portal", "seax"])
def test_the_other_apis_are_asked_in_their_own_words(api: str) -> None:
    made: Workspace = workspace(["activity_trend"], api=api)
    request = next(Plan(made, (), Range(LAST, LAST)).requests())
    names = {"portal": "from_date", "seax": "start_date"}
    assert request.body()[names[api]] == "2025-12-30T00:00:00"
