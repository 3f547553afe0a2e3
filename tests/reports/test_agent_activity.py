from datetime import UTC, datetime
from typing import Any

import pytest
from support.entries import read

from exporter.errors import ReplyError

METRIC = "agent_activity"
DAY = datetime(2024, 1, 15, 20, 0, tzinfo=UTC)


def session(
    agent: object = "agent_user_1",
    status: object = "available",
    start: object = "2024-01-15T08:00:00Z",
    end: object = "2024-01-15T10:30:00Z",
    **others: object,
) -> dict[str, object]:
    return {"agent_id": agent, "status": status, "start_time": start, "end_time": end, **others}


def activity(*sessions: object, **options: Any) -> dict[str, float]:  # noqa: ANN401 - any option
    return read("seax", METRIC, {"agents": list(sessions)}, DAY, **options).series


def drift(*sessions: object) -> dict[str, int]:
    return dict(read("seax", METRIC, {"agents": list(sessions)}, DAY).drift)


def seconds(status: str) -> str:
    return f'agent_activity_seconds{{status="{status}"}}'


def sessions(status: str) -> str:
    return f'agent_activity_sessions{{status="{status}"}}'


def agents(status: str) -> str:
    return f'agent_activity_agents{{status="{status}"}}'


def test_sessions_of_a_status_are_summed_over_all_agents() -> None:
    found = activity(session(), session("agent_user_2"), session(status="meal"))

    assert found[seconds("available")] == 2 * 9000
    assert found[sessions("available")] == 2
    assert found[seconds("meal")] == 9000


def test_an_open_session_lasts_until_the_poll() -> None:
    assert activity(session(end=None, duration_seconds=None))[seconds("available")] == 12 * 3600


def test_a_session_is_clipped_to_the_window() -> None:
    found = activity(session(start="2024-01-14T22:00:00Z", end="2024-01-15T01:00:00Z"))

    assert found[seconds("available")] == 3600


def test_the_window_is_the_local_day() -> None:
    found = read(
        "seax",
        METRIC,
        {"agents": [session(start="2024-01-15T04:00:00Z", end="2024-01-15T06:00:00Z")]},
        DAY,
        zone="America/New_York",
    )

    assert found.series[seconds("available")] == 3600


def test_a_session_outside_the_window_is_dropped_and_drift() -> None:
    old = session(start="2024-01-10T08:00:00Z", end="2024-01-10T09:00:00Z")

    assert activity(old) == {}
    assert drift(old) == {"period": 1}


@pytest.mark.parametrize("status", ["AVAILABLE", "available", "Available"])
def test_a_status_comes_in_any_case(status: str) -> None:  # T19
    assert seconds("available") in activity(session(status=status))


@pytest.mark.parametrize(
    "status",
    [
        *("AVAILABLE", "OFFLINE", "ON_THE_CALL", "CALL_RINGING", "OUTBOUND", "WRAP_UP"),
        *("MEAL", "BREAK", "AWAY", "DO_NOT_DISTURB"),
    ],
)
def test_every_documented_status_has_its_own_series(status: str) -> None:
    assert activity(session(status=status))[agents(status.lower())] == 1
    assert drift(session(status=status)) == {}


@pytest.mark.parametrize("status", ["LUNCH", "", None, "+1 206 123 4567"])
def test_a_status_that_is_not_documented_is_other_and_drift(status: object) -> None:
    assert activity(session(status=status))[agents("other")] == 1
    assert drift(session(status=status)) == {"status": 1}


def test_agents_are_counted_by_their_latest_session_in_whatever_order_it_comes() -> None:
    later = session(status="offline", start="2024-01-15T17:00:00Z", end=None)

    for order in ((session(), later), (later, session())):
        found = activity(*order, session("agent_user_2"))
        assert found[agents("offline")] == 1
        assert found[agents("available")] == 1


def test_agents_are_no_label_unless_asked_for() -> None:
    given = (session("jane@example.com"), session("joe@example.com"))

    assert not any("agent=" in series for series in activity(*given))
    assert (
        activity(*given, agent_labels=True)[
            'agent_activity_seconds{agent="jane@example.com",status="available"}'
        ]
        == 9000
    )


def test_an_account_that_is_a_number_is_an_account() -> None:
    assert activity(session(7))[agents("available")] == 1


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        pytest.param(session(agent=None), "agent_id", id="no-agent"),
        pytest.param(session(start=None), "start_time", id="no-start"),
        pytest.param(session(start="soon"), "start_time", id="odd-start"),
        pytest.param(session(end="later"), "end_time", id="odd-end"),
        pytest.param(session(end=5), "end_time", id="number-as-end"),
        pytest.param("available", "agents", id="no-session"),
    ],
)
def test_a_session_that_cannot_be_placed_in_time_is_left_out_and_drift(
    broken: object, field: str
) -> None:
    assert drift(broken, session()) == {field: 1}
    assert activity(broken, session())[sessions("available")] == 1
    with pytest.raises(ReplyError, match="agent_activity: nothing in it can be read"):
        activity(broken)


def test_a_session_that_comes_twice_counts_once() -> None:
    twice = (
        session(),
        session(),
        session(duration_seconds=5),
        session(start="2024-01-15T08:00:00"),
    )

    assert activity(*twice) == activity(session())
    assert drift(*twice) == {"agents": 3}
    assert activity(session(end=None), session(end=None)) == activity(session(end=None))


def test_two_accounts_that_are_shown_alike_are_summed_and_drift() -> None:
    given = {"agents": [session("jane"), session("jane\u200b")]}
    found = read("seax", METRIC, given, DAY, agent_labels=True)

    assert found.series['agent_activity_sessions{agent="jane",status="available"}'] == 2
    assert found.drift == {"agent_id": 1}


def test_no_sessions_are_no_series() -> None:
    assert activity() == {}


@pytest.mark.parametrize(
    ("window", "end", "hours"),
    [
        pytest.param("yesterday", "2024-01-15T03:00:00Z", 2, id="yesterday"),
        pytest.param("last_week", "2024-01-15T03:00:00Z", 2, id="last-week"),
        pytest.param("yesterday", None, 2, id="still-open"),
    ],
)
def test_a_session_is_clipped_to_the_end_of_a_window_that_is_over(
    window: str, end: str | None, hours: int
) -> None:
    found = activity(session(start="2024-01-14T22:00:00Z", end=end), window=window)

    assert found[seconds("available")] == hours * 3600


def test_a_session_after_a_window_that_is_over_is_drift() -> None:
    found = read("seax", METRIC, {"agents": [session()]}, DAY, window="yesterday")

    assert found.samples == ()
    assert found.drift == {"period": 1}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_times_without_a_zone_are_utc_whatever_the_zone_of_the_request(zone: str) -> None:
    # A day of the window in each of the zones.
    for one in ("2024-01-15T18:40:00", "2024-01-15T18:40:00Z"):
        found = read("seax", METRIC, {"agents": [session(start=one, end=None)]}, DAY, zone=zone)
        assert found.series[seconds("available")] == 80 * 60


@pytest.mark.parametrize(
    ("end", "left"),
    [("2024-01-15T00:00:00Z", 0), ("2024-01-15T00:00:01Z", 1)],
    ids=["as-it-begins", "a-second-later"],
)
def test_a_session_that_ended_as_the_window_began_is_left_out(end: str, left: int) -> None:
    yesterdays = session(start="2024-01-14T22:00:00Z", end=end)

    assert activity(yesterdays).get(sessions("available"), 0) == left
    assert drift(yesterdays) == ({} if left else {"period": 1})


def test_of_sessions_that_begin_together_the_one_that_lasts_longer_is_the_latest() -> None:
    short, long = session(end="2024-01-15T08:00:01Z"), session(status="away")

    for order in ((short, long), (long, short)):
        assert activity(*order).get(agents("away")) == 1
        assert agents("available") not in activity(*order)


def test_of_two_sessions_at_once_it_is_always_the_same_that_counts() -> None:
    one, two = session(status="meal"), session(status="away")

    assert activity(one, two).get(agents("meal")) == 1
    assert activity(two, one).get(agents("meal")) == 1


def test_sessions_that_were_clipped_to_the_same_begin_are_told_apart_by_their_end() -> None:
    older = session(status="meal", start="2024-01-14T08:00:00Z", end="2024-01-15T09:00:00Z")
    newer = session(status="away", start="2024-01-14T22:00:00Z", end="2024-01-15T12:00:00Z")

    for order in ((older, newer), (newer, older)):
        assert activity(*order).get(agents("away")) == 1
