import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from exporter.errors import Cause
from exporter.metrics.store import Record
from exporter.model.samples import Family
from exporter.model.targets import Key, Target
from exporter.polling.status import ReportState, Status, TargetStatus, WorkspaceStatus, targets

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BOT = Target("seachat", "acme", "b1", "Support")
CSAT = Key(BOT, "csat", "last_30_days")
FAMILY = Family("seasalt_x", "X.")


def record(age: float = 60, *, error: str = "", values: int = 2) -> Record:
    return Record(
        600.0,
        success=not error,
        last_success=NOW - timedelta(seconds=age),
        samples=tuple(FAMILY.sample(1) for _ in range(values)),
        expires=NOW + timedelta(seconds=1800 - age),
        error=error,
        cause=Cause.SERVER_ERROR if error else None,
        failing_since=NOW - timedelta(minutes=1) if error else None,
    )


def shown(known: Record | None, turn: datetime | None = NOW + timedelta(seconds=90)) -> Any:  # noqa: ANN401 - the one report
    ((target),) = targets({CSAT: (600.0, turn)}, {CSAT: known} if known else {}, NOW)
    return target.reports[0]


def status(*found: TargetStatus, **others: Any) -> Status:  # noqa: ANN401 - fields
    given: dict[str, Any] = {
        "name": "acme",
        "api": "seachat",
        "timezone": "UTC",
        "answered": True,
        "requests_today": 1234,
        "requests_per_day": None,
        "requests_per_minute": 60,
        "targets": found,
    }
    return Status("0.1.0", NOW, (WorkspaceStatus(**(given | others)),))


@pytest.mark.parametrize(
    ("known", "state"),
    [
        pytest.param(None, ReportState.WAITING, id="never-tried"),
        pytest.param(record(600), ReportState.OK, id="one-interval"),
        pytest.param(record(901), ReportState.LATE, id="one-and-a-half"),
        pytest.param(record(60, error="HTTP 500"), ReportState.FAILING, id="failed"),
        pytest.param(
            Record(600.0, error="HTTP 401"), ReportState.FAILING, id="failed-from-the-start"
        ),
    ],
)
def test_a_reports_state_is_one_word(known: Record | None, state: ReportState) -> None:
    assert shown(known).state is state


def test_a_report_says_age_interval_next_poll_values_and_error() -> None:
    found = shown(record(300, error="HTTP 500", values=3))

    assert (found.age_seconds, found.interval_seconds, found.values) == (300, 600, 3)
    assert found.next_poll == NOW + timedelta(seconds=90)
    assert found.error == "HTTP 500"


def test_a_target_and_a_workspace_are_as_bad_as_their_worst_report() -> None:
    other = Key(BOT, "total_usage", "today")
    found = targets(
        {CSAT: (600.0, None), other: (600.0, None)},
        {CSAT: record(), other: record(error="HTTP 500")},
        NOW,
    )

    assert found[0].state is ReportState.FAILING
    assert status(*found).workspaces[0].state is ReportState.FAILING
    assert status().workspaces[0].state is ReportState.WAITING


def test_the_json_has_instants_in_iso_8601_and_states_in_words() -> None:
    found = status(*targets({CSAT: (600.0, None)}, {CSAT: record()}, NOW))
    plain = json.loads("".join(found.json()))

    assert plain["at"] == "2026-11-21T12:00:00+00:00"
    (target,) = plain["workspaces"][0]["targets"]
    assert (plain["workspaces"][0]["state"], target["state"]) == ("ok", "ok")
    assert target["reports"][0] == {
        "report": "csat",
        "window": "last_30_days",
        "state": "ok",
        "last_success": "2026-11-21T11:59:00+00:00",
        "age_seconds": 60.0,
        "interval_seconds": 600.0,
        "next_poll": None,
        "values": 2,
        "error": "",
        "cause": None,
        "failing_since": None,
        "values_until": "2026-11-21T12:29:00+00:00",
        "lost": False,
    }


def test_the_json_says_since_when_and_why_a_report_fails() -> None:
    found = status(*targets({CSAT: (600.0, None)}, {CSAT: record(error="HTTP 500")}, NOW))
    report = json.loads("".join(found.json()))["workspaces"][0]["targets"][0]["reports"][0]

    assert (report["cause"], report["failing_since"]) == (
        "server_error",
        "2026-11-21T11:59:00+00:00",
    )


@pytest.mark.parametrize(
    ("known", "lost"),
    [
        pytest.param(None, False, id="never-tried"),
        pytest.param(record(600), False, id="ok"),
        pytest.param(record(1200), False, id="late"),
        pytest.param(record(1801), True, id="late-and-expired"),
        pytest.param(record(1799, error="HTTP 500"), False, id="failed-with-values"),
        pytest.param(record(60, error="HTTP 500", values=0), False, id="failed-without-a-value"),
        pytest.param(record(1801, error="HTTP 500"), True, id="failed-and-expired"),
        pytest.param(Record(600.0, error="HTTP 401"), True, id="failed-from-the-start"),
        pytest.param(record(60, error="HTTP 404").withdrawn_at(NOW), True, id="gone-and-withdrawn"),
    ],
)
def test_a_report_has_lost_its_values_if_it_fails_or_is_late_and_none_may_be_shown(
    known: Record | None, lost: bool
) -> None:
    assert shown(known).lost is lost


@given(
    st.integers(-4000, 4000),
    st.sampled_from(["", "HTTP 404"]),
    st.none() | st.integers(-4000, 0),
    st.none() | st.integers(-4000, 4000),
)
@example(660, "HTTP 404", -60, None)  # a bot is gone
@example(-1000, "HTTP 500", None, None)  # the clock was set back
def test_values_that_are_gone_went_before_now_and_those_that_are_not_go_later(
    age: int, error: str, withdrawn: int | None, since: int | None
) -> None:
    known = record(age, error=error)
    if withdrawn is not None:
        known = known.withdrawn_at(NOW + timedelta(seconds=withdrawn))
    if since is not None:
        known = replace(known, since=NOW + timedelta(seconds=since))
    found = shown(known)

    if found.lost:
        assert found.values_until is None or found.values_until <= NOW
    elif error:
        assert found.values_until > NOW


def test_a_report_is_late_from_one_and_a_half_intervals_after_its_last_success_on() -> None:
    assert shown(record(1000)).late_since == NOW - timedelta(seconds=100)
    assert shown(record(600)).late_since is None
    assert shown(record(1000, error="HTTP 500")).late_since is None
