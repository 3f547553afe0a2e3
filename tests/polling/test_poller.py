"""The loop, in a world where a week takes seconds."""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from support.api import ANSWERS, Answer, FakeApi
from support.polled import Polled
from support.virtual import START, World
from support.workspaces import workspace

from exporter.config import Workspace
from exporter.errors import Outcome
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Record
from exporter.model.targets import Key
from exporter.model.windows import local_day, window as exporter_window
from exporter.polling.poller import Failure
from exporter.polling.workload import EMPTY, Workload

WEEK = timedelta(days=7)


class Run(Polled):
    """One workspace polled for a while against a stand-in API."""

    def __init__(
        self,
        one: Workspace,
        answer: Callable[[dict[str, Any]], Answer | None] = lambda _: None,
        start: datetime = START,
        seconds: float = 0.2,
    ) -> None:
        world = World(start)
        super().__init__(one, world, FakeApi(world.now, answer, seconds))

    def once(self) -> tuple[Failure, ...]:
        """Poll each call once."""

        async def go() -> tuple[Failure, ...]:
            async with self.start() as poller:
                return await poller.once()

        return self.world.run(go)

    def answers(self, status: int | None = None, content: object = None) -> Callable[[], None]:
        """A step: from then on the API answers so, or as usual."""

        def step() -> None:
            self.api.answer = answering(status, content) if status else lambda _: None

        return step

    def assigns(self, one: Workspace) -> Callable[[], None]:
        """A step: the calls of another configuration take the place of the present ones."""
        return lambda: self.poller.reports.assign(Workload.of(one, one.bots))

    def record(self, report: str) -> Record:
        """What is known of one report of the first target that has it."""
        return next(record for key, record in self.store if key.report == report)


def nothing() -> None:
    """A step: let time pass."""


def answering(status: int, content: object = None) -> Callable[[dict[str, Any]], Answer]:
    return lambda _: (status, content or {"detail": "no"})


def test_a_failure_keeps_neither_the_answer_nor_the_key() -> None:
    failures = Run(workspace(), answering(500)).once()

    assert failures
    for error in (failure.error for failure in failures):  # frames hold both
        assert (error.__traceback__, error.__context__) == (None, None)


def test_a_week_of_polls_keeps_every_reports_interval() -> None:
    run = Run(workspace(["conversation_overview", {"metric": "csat", "interval": "30m"}], bots=3))

    run.lasts(WEEK)

    # Once at the start, then at the phase: a week's worth and that one.
    assert len(run.api.sent("conversation_overview")) == 3 * (1 + 7 * 24 * 6)
    assert len(run.api.sent("csat")) == 3 * (1 + 7 * 24 * 2)
    for bot in ("b0", "b1", "b2"):
        times = [
            at
            for at, body in run.api.journal
            if body["gptbot_id"] == bot and "csat" in body["metrics"]
        ]
        assert {later - earlier for earlier, later in pairwise(times[1:])} == {
            timedelta(minutes=30)
        }


def test_the_yearly_report_is_asked_four_times_a_day_and_last_at_the_start() -> None:
    run = Run(workspace(bots=2)).lasts(timedelta(days=3))

    times = run.api.sent("conversation_overview_yearly")
    assert len(times) == 2 * (1 + 3 * 4)
    others = [at for at, body in run.api.journal if "csat" in body["metrics"]][:2]
    assert max(others) < min(times)


def test_first_values_come_within_seconds_of_the_start() -> None:
    run = Run(workspace(bots=2)).lasts(timedelta(seconds=15))

    assert len(run.api.journal) == 2 * 4 + 1
    assert all(record.success for _, record in run.store)


def test_the_rate_is_kept_from_the_first_second_on() -> None:
    run = Run(workspace(bots=200, requests_per_minute=60)).lasts(timedelta(hours=2))

    times = [at for at, _ in run.api.journal]
    assert times[0] >= START + timedelta(seconds=1)
    for earlier, later in zip(times, times[60:], strict=False):
        assert later - earlier >= timedelta(seconds=60 - 10 - 1)
    assert all(
        len([at for at in times if at < START + timedelta(seconds=s)]) <= s for s in range(1, 600)
    )


def test_no_report_is_ever_polled_twice_at_once() -> None:
    one = workspace(["total_usage"], bots=3, interval="30s", allow_fast_polling=True)
    run = Run(one, seconds=45)

    run.lasts(timedelta(hours=1))

    assert run.api.most_flying <= 3
    for bot in ("b0", "b1", "b2"):
        times = [at for at, body in run.api.journal if body["gptbot_id"] == bot]
        assert all(later - earlier >= timedelta(seconds=45) for earlier, later in pairwise(times))
        assert len(times) > 50


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    one = workspace(["total_usage"], bots=50, concurrency=3, requests_per_minute=600)
    run = Run(one, seconds=20).lasts(timedelta(minutes=10))

    assert run.api.most_flying == 3


def test_today_is_asked_once_more_before_local_midnight() -> None:
    one = workspace(["communication_volume"], bots=20, timezone="Asia/Kolkata")
    run = Run(one).lasts(timedelta(days=2))

    midnight = datetime(2026, 11, 21, 18, 30, tzinfo=UTC)  # 00:00 of the 22nd in Kolkata
    for bot in one.bots:
        assert any(
            midnight - timedelta(minutes=5) < at < midnight - timedelta(minutes=1)
            for at, body in run.api.journal
            if body["gptbot_id"] == bot.id
        )
        asked = Counter(
            body["end_date"][:10] for _, body in run.api.journal if body["gptbot_id"] == bot.id
        )
        assert asked["2026-11-22"] == 24 * 6 + 1


def test_yesterdays_values_are_gone_at_local_midnight_until_today_is_known() -> None:
    one = workspace(["communication_volume"], timezone="America/Los_Angeles", interval="1h")
    run = Run(one, start=datetime(2026, 11, 22, 7, 50, tzinfo=UTC)).lasts(timedelta(minutes=5))
    midnight = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    assert "communication_volume_calls" in run.page(midnight - timedelta(seconds=1))
    assert "communication_volume_calls" not in run.page(midnight)


set_by = st.timedeltas(-timedelta(days=3), timedelta(days=3)) | st.sampled_from(
    [timedelta(seconds=one) for one in (-3600, -90, -50, -20, -1, 0, 1, 20, 50, 90, 3600)]
)
windows = st.sampled_from(["today", "yesterday", "this_week", "last_month", "this_year"])


@settings(max_examples=40, deadline=None)
@given(windows, st.lists(set_by, min_size=1, max_size=8), st.integers(0, 40))
@example("today", [timedelta(0)], 5)  # the answer crosses midnight
@example("today", [timedelta(days=-1)], 0)
@example("today", [timedelta(seconds=-50)], 20)
def test_however_the_clock_is_set_while_the_api_is_asked_no_days_values_are_another_days(
    window: str, settings_: list[timedelta], before: int
) -> None:
    start = datetime(2026, 12, 1, 8, 0, tzinfo=UTC) - timedelta(seconds=before)  # a month begins
    one = workspace(
        [{"metric": "communication_volume", "window": window}], timezone="America/Los_Angeles"
    )
    left = list(settings_)

    def answer(body: dict[str, Any]) -> Answer:
        if left:
            run.world.start += left.pop()
        first = datetime.fromisoformat(body["start_date"]).toordinal()
        return 200, {"communication_volume": {"inbound_voice_count": first}}

    def look() -> None:
        now = run.world.now()
        means = exporter_window(window).days(local_day(now, one.zone)).first.toordinal()
        lines = [line for line in run.page(now).splitlines() if "volume_calls{" in line]
        assert all(float(line.split()[-1]) == means for line in lines), (now, lines)

    run = Run(one, answer, start=start, seconds=10)
    run.lasts(timedelta(hours=1), *[look] * 90)


def test_a_clock_that_is_set_back_while_the_api_is_asked_hides_what_comes_until_it_is_asked_again() -> (
    None
):
    one = workspace(["communication_volume"], timezone="America/Los_Angeles")
    left = [timedelta(hours=-24)]

    def answer(_: dict[str, Any]) -> Answer | None:
        if left:
            run.world.start += left.pop()
        return None

    run = Run(one, answer, seconds=10)
    run.lasts(timedelta(seconds=30))

    # By the clock it came a day ago, and was asked for on the day after.
    record = run.record("communication_volume")
    assert record.last_success
    assert record.last_success > run.world.now() + timedelta(hours=23)
    assert "communication_volume_calls" not in run.page()


def test_a_clock_that_is_set_back_within_the_minute_over_midnight_hides_what_came_after_it() -> (
    None
):
    start = datetime(2026, 11, 22, 8, 0, 5, tzinfo=UTC)
    one = workspace(["communication_volume"], timezone="America/Los_Angeles")
    run = Run(one, start=start).lasts(timedelta(seconds=15))
    pages = SnapshotRefresher(run.store, run.telemetry, lambda: start + timedelta(seconds=15))
    midnight = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    assert "communication_volume_calls" in run.page(midnight + timedelta(seconds=5))
    assert "communication_volume_calls" not in run.page(midnight - timedelta(seconds=1))
    assert pages.snapshot.holds(midnight)
    assert not pages.snapshot.holds(midnight - timedelta(seconds=1))


def test_sliding_windows_stay_over_midnight() -> None:
    one = workspace(["conversation_overview"], timezone="America/Los_Angeles")
    run = Run(one, start=datetime(2026, 11, 22, 7, 55, tzinfo=UTC)).lasts(timedelta(seconds=10))

    assert "conversations{" in run.page(datetime(2026, 11, 22, 8, 1, tzinfo=UTC))


def test_values_outlive_their_last_success_by_three_intervals_and_no_longer() -> None:
    run = Run(workspace(["conversation_overview"])).lasts(timedelta(seconds=5))
    came = run.record("conversation_overview").last_success

    assert came
    assert "conversations{" in run.page(came + timedelta(minutes=29, seconds=59))
    assert "conversations{" not in run.page(came + timedelta(minutes=30))


def test_a_failure_keeps_the_old_values_and_says_so() -> None:
    run = Run(workspace(["conversation_overview"]))

    run.lasts(timedelta(minutes=18), run.answers(503, {"detail": "down"}))

    record = run.record("conversation_overview")
    assert not record.success
    line = 'conversations{api="seachat",workspace="acme",window="last_30_days"} 150'
    assert line in run.page()
    assert record.last_success
    assert record.last_success < START + timedelta(minutes=10)
    assert run.counted("server_error") == 3


def test_labels_that_an_answer_no_longer_names_are_gone() -> None:
    run = Run(workspace(["label_overview"]))

    run.lasts(timedelta(minutes=22), run.answers(200, {"label_overview": []}))

    assert run.record("label_overview").success
    assert run.record("label_overview").samples == ()


def test_one_broken_report_does_not_take_the_others_down() -> None:
    run = Run(
        workspace(["communication_volume", "total_usage"]),
        lambda _: (200, {"communication_volume": "error", "total_usage": ANSWERS["total_usage"]}),
    )

    failures = run.once()

    assert [str(failure) for failure in failures] == [
        "workspace acme: communication_volume: communication_volume: not of the documented shape"
    ]
    assert run.record("total_usage").success
    assert not run.record("communication_volume").success
    assert run.counted("success") == 1


def test_an_answer_in_which_nothing_is_readable_is_invalid() -> None:
    run = Run(workspace(["total_usage"]), answering(200, {"detail": "no", "code": 1}))

    assert len(run.once()) == 1
    assert run.counted("invalid") == 1


def refusing(*metrics: str) -> Callable[[dict[str, Any]], Answer | None]:
    """An API that answers 400 to any request that names one of these."""
    return lambda body: (
        (400, {"detail": "Unsupported metric: x"}) if set(metrics) & set(body["metrics"]) else None
    )


def test_a_refused_request_is_asked_report_by_report_in_the_same_round() -> None:
    one = workspace(["communication_volume", "total_usage", "conversation_breakdown"])
    run = Run(one, refusing("total_usage"))

    failures = run.once()

    assert [body["metrics"] for _, body in run.api.journal] == [
        ["communication_volume", "total_usage", "conversation_breakdown"],
        ["communication_volume"],
        ["total_usage"],
        ["conversation_breakdown"],
    ]
    assert [(failure.key.report, failure.error.refused) for failure in failures] == [
        ("total_usage", True)
    ]
    assert run.record("communication_volume").success


def test_a_healthy_report_of_the_culprits_name_is_not_left_out_with_it() -> None:
    one = workspace(
        [
            {"metric": "conversation_overview", "name": "x"},
            {"metric": "label_overview", "name": "x"},
        ]
    )
    run = Run(one, refusing("conversation_overview")).lasts(timedelta(hours=6))

    assert len(run.api.sent("label_overview")) >= 36


def test_the_culprit_is_left_out_for_a_day_and_then_asked_again() -> None:
    one = workspace(["communication_volume", "total_usage"])
    run = Run(one, refusing("total_usage")).lasts(timedelta(hours=36))

    # At the start together and alone; a day later once more the same.
    assert len(run.api.sent("total_usage")) == 4
    assert len(run.api.sent("communication_volume")) >= 36 * 6


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_of_everything_blames_nobody_and_is_taken_apart_once_a_day(status: int) -> None:
    one = workspace(["communication_volume", "total_usage"])
    run = Run(one, answering(status)).lasts(timedelta(hours=25))

    # At the start and a day later each alone; together at every turn and before midnight.
    alone = [body for _, body in run.api.journal if len(body["metrics"]) == 1]
    assert len(alone) == 2 * 2
    assert len(run.api.journal) == 4 + 1 + 25 * 6 + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_failed_report_is_asked_again_at_its_next_turn_and_not_before(status: int) -> None:
    run = Run(workspace(["total_usage"]), answering(status)).lasts(timedelta(hours=2))

    assert len(run.api.journal) <= 1 + 12 + 1


@pytest.mark.parametrize(("status", "rounds"), [(400, 6), (500, 4)])
def test_a_failed_slow_report_is_asked_again_after_ten_minutes_as_long_as_there_is_credit(
    status: int, rounds: int
) -> None:
    run = Run(workspace(["conversation_overview_yearly"]), answering(status))

    run.lasts(timedelta(hours=1))

    # Those that follow within seconds are repetitions.
    times = [at for at, _ in run.api.journal]
    assert 1 + sum(b - a > timedelta(minutes=1) for a, b in pairwise(times)) == rounds


def test_a_rejected_key_is_told_until_an_answer_says_otherwise() -> None:
    run = Run(workspace(["total_usage"]), answering(401, {"detail": "Invalid API key"}))
    valid = 'seasalt_api_key_valid{api="seachat",workspace="acme"}'

    def accept() -> None:
        assert run.told(valid) == 0
        run.answers()()

    run.lasts(timedelta(minutes=24), accept)

    assert run.told(valid) == 1


def test_a_key_file_that_is_missing_is_told_and_is_no_reason_to_send_anything_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1", encoding="utf-8")
    one = workspace(["conversation_overview_yearly"], bots=3, api_key=None, api_key_file=str(file))
    run = Run(one)
    file.unlink()

    failures = run.once()
    run.lasts(timedelta(hours=1))

    assert all("the key file cannot be read" in str(failure.error) for failure in failures)
    assert run.api.journal == []
    assert {run.retried(outcome) for outcome in Outcome} == {0}


def test_readiness_comes_with_the_first_answer_whatever_it_says() -> None:
    run = Run(workspace(["total_usage"]), answering(500))
    run.once()

    assert run.poller.answered


def test_without_any_answer_there_is_no_readiness() -> None:
    run = Run(workspace(["total_usage"], timeout="1s"), seconds=5)
    run.once()

    assert not run.poller.answered
    assert run.counted("timeout") == 2


def test_the_days_budget_ends_the_polling_until_local_midnight() -> None:
    one = workspace(["conversation_overview"], requests_per_day=5, timezone="UTC")
    run = Run(one).lasts(timedelta(days=2))

    days = Counter(at.date() for at, _ in run.api.journal)
    assert [days[day] for day in sorted(days)][:2] == [5, 5]
    assert run.record("conversation_overview").error == (
        "daily request limit reached; next request at 2026-11-24 00:00:00 UTC"
    )


def test_new_calls_are_sent_soon_and_old_ones_keep_their_place() -> None:
    few, many = workspace(["total_usage"], bots=2), workspace(["total_usage"], bots=3)
    run = Run(few)

    run.lasts(timedelta(minutes=40), run.assigns(many))

    asked = Counter(body["gptbot_id"] for _, body in run.api.journal)
    assert asked["b2"] >= 2
    assert asked["b0"] in {4, 5}
    first = min(at for at, body in run.api.journal if body["gptbot_id"] == "b2")
    assert first < START + timedelta(minutes=20, seconds=5)


def test_what_is_no_longer_wanted_leaves_the_page_and_is_not_asked() -> None:
    many, few = workspace(["total_usage"], bots=3), workspace(["total_usage"], bots=1)
    run = Run(many)

    run.lasts(timedelta(minutes=40), run.assigns(few))

    assert {key.target.bot_id for key, _ in run.store} == {"b0"}
    late = [body["gptbot_id"] for at, body in run.api.journal if at > START + timedelta(minutes=21)]
    assert set(late) == {"b0"}


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_for_what_was_dropped_while_it_was_on_its_way_is_not_kept(status: int) -> None:
    many, few = workspace(["total_usage"], bots=2), workspace(["total_usage"], bots=1)
    run = Run(many, answering(status, {"total_usage": {}}), seconds=50)

    run.lasts(timedelta(seconds=100), run.assigns(few))

    assert {key.target.bot_id for key, _ in run.store} == {"b0"}


def test_dates_are_those_of_the_moment_when_the_request_may_be_sent() -> None:
    one = workspace(["communication_volume"], requests_per_day=3, timezone="UTC")
    run = Run(one, start=datetime(2026, 11, 21, 23, 0, tzinfo=UTC)).lasts(timedelta(hours=3))

    assert all(body["start_date"][:10] == at.date().isoformat() for at, body in run.api.journal)
    assert {at.day for at, _ in run.api.journal} == {21, 22}


def test_calls_that_are_assigned_while_they_are_in_flight_are_not_sent_twice_at_once() -> None:
    one = workspace(["total_usage"], bots=3, timeout="2m")
    run = Run(one, seconds=70)

    run.lasts(timedelta(seconds=120), run.assigns(one))

    for bot in ("b0", "b1", "b2"):
        times = [at for at, body in run.api.journal if body["gptbot_id"] == bot]
        assert all(later - earlier >= timedelta(seconds=70) for earlier, later in pairwise(times))


def test_what_was_assigned_while_its_call_was_in_flight_is_asked_at_the_next_turn() -> None:
    days = workspace([{"metric": "activity_trend", "time_unit": "day"}])
    months = workspace([{"metric": "activity_trend", "time_unit": "month"}])
    run = Run(days, seconds=50)

    # In flight from the first second to the 51st.
    run.lasts(timedelta(minutes=12), run.assigns(months), *[nothing] * 34)

    units = [body["time_unit"] for _, body in run.api.journal]
    assert units[0] == "day"
    assert set(units[1:]) == {"month"}


def test_a_refusal_is_forgotten_with_the_report_that_it_was_about() -> None:
    both = workspace(["communication_volume", "total_usage"])
    one = workspace(["communication_volume"])
    run = Run(both, refusing("total_usage"))

    run.lasts(timedelta(minutes=45), run.assigns(one), run.assigns(both))

    assert min(run.api.sent("total_usage")[2:]) >= START + timedelta(minutes=30)


def test_the_culprit_is_no_reason_to_ask_the_others_early() -> None:
    metrics = ["communication_volume", "total_usage", "conversation_breakdown"]
    run = Run(workspace(metrics, interval="8h"), refusing("total_usage"))

    run.lasts(timedelta(minutes=59))

    # Together, then each alone; midnight and the next turn are hours away.
    assert len(run.api.journal) == 1 + 3


def test_oddities_of_an_answer_are_counted_by_metric_and_field() -> None:
    odd = {"total_usage": {"total_chat_responses": -1}}
    run = Run(workspace(["total_usage"]), answering(200, odd))
    run.once()

    labels = 'api="seachat",field="total_chat_responses",metric="total_usage",workspace="acme"'
    assert run.told(f"seasalt_schema_drift_total{{{labels}}}") == 1


RATED: dict[str, Any] = {
    "total_responses": 2,
    "average_rating": 3.5,
    "satisfaction_rate": 50.0,
    "rating_counts": {"3": 1, "4": 1},
}


def renamed(answer: dict[str, Any], field: str) -> dict[str, Any]:
    """An answer whose field goes by another name."""
    return {("new_name" if name == field else name): value for name, value in answer.items()}


def then(metric: str, first: object, second: object, **others: Any) -> dict[str, float]:  # noqa: ANN401 - keys of the file
    """The drift, by field, of a report that answers so for an hour and then otherwise."""
    bots = 1 if metric == "csat" else 0
    run = Run(workspace([metric], bots=bots, **others), answering(200, {metric: first}))
    run.lasts(timedelta(hours=2), run.answers(200, {metric: second}))
    page = run.telemetry.text(openmetrics=False).decode()
    lines = [line for line in page.splitlines() if line.startswith("seasalt_schema_drift_total{")]
    return {line.split('field="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}


@pytest.mark.parametrize(
    ("metric", "field", "before", "after"),
    [
        ("csat", "average_rating", RATED, renamed(RATED, "average_rating")),
        ("csat", "rating_counts", RATED, renamed(RATED, "rating_counts")),
        (
            "communication_volume",
            "inbound_voice_count",
            {"inbound_voice_count": 1, "outbound_voice_count": 2},
            {"inbound_calls": 1, "outbound_voice_count": 2},
        ),
        (
            "label_overview",
            "total_count",
            [{"id": "1", "name": "a", "total_count": 1}],
            [{"id": "1", "name": "a", "conversation_count": 1}],
        ),
        (
            "conversation_breakdown",
            "user_count",
            {"channel_summary": {"SMS": {"user_count": 1, "total_message_count": 2}}},
            {"channel_summary": {"SMS": {"users": 1, "total_message_count": 2}}},
        ),
    ],
)
def test_a_field_that_was_there_and_is_renamed_is_drift(
    metric: str, field: str, before: object, after: object
) -> None:
    assert then(metric, before, after) == {field: 6}
    assert then(metric, after, after) == {}


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        ("csat", RATED, {"total_responses": 0}),
        ("csat", RATED, {**RATED, "average_rating": None}),
        ("label_overview", [{"id": "1", "name": "a", "total_count": 1}], []),
        ("label_usage", [{"period": "2026-11-21", "labels": [{"name": "a", "count": 1}]}], []),
        (
            "activity_trend",
            {"data": [{"period": "2026-11-21", "BOT": 1, "SYSTEM": 1}]},
            {"data": []},
        ),
        (
            "activity_trend",
            {"data": [{"period": "2026-11-21", "BOT": 1, "SYSTEM": 1}], "change_percent": 1},
            {"data": [{"period": "2026-11-21", "BOT": 1}]},
        ),
        (
            "conversation_overview",
            {"conversations": 1, "conversations_change_percentage": 1.0},
            {"conversations": 0},
        ),
    ],
)
def test_what_an_answer_may_lack_by_the_documents_is_no_drift(
    metric: str, before: object, after: object
) -> None:
    assert then(metric, before, after) == {}


def test_a_clock_that_is_set_forward_is_noticed_within_a_minute() -> None:
    run = Run(workspace(["conversation_overview"], interval="6h"))

    def set_clock() -> None:
        run.world.start += timedelta(hours=6)

    run.lasts(timedelta(minutes=4), set_clock)

    # At the start, and once its turn has come by the new time.
    assert len(run.api.journal) == 2


def test_a_clock_that_is_set_back_makes_no_call_wait_longer_than_its_interval() -> None:
    run = Run(workspace(["conversation_overview"], interval="2h"))

    def set_clock() -> None:
        run.world.start -= timedelta(days=7)

    run.lasts(timedelta(hours=8), set_clock)

    assert 4 <= len(run.api.journal) <= 6


def test_a_bug_in_the_loop_ends_it() -> None:
    run = Run(workspace(["total_usage"]))

    def broken() -> None:
        raise ZeroDivisionError

    run.changed = broken

    with pytest.raises((ExceptionGroup, ZeroDivisionError)):
        run.lasts(timedelta(seconds=10))


def labels(number: int) -> dict[str, object]:
    """An answer of so many labels, with their number as their count."""
    return {
        "label_overview": [
            {"id": str(n), "name": f"label {n}", "total_count": n} for n in range(1, number + 1)
        ]
    }


LABELS_OF_BOTS = {"metric": "label_overview", "scope": "bots"}


@pytest.mark.parametrize("limit", ["max_labels", "max_series"])
def test_what_is_beyond_a_limit_is_left_out_the_smallest_first_and_counted_at_every_poll(
    limit: str,
) -> None:
    run = Run(workspace(["label_overview"], **{limit: 10}), answering(200, labels(30)))
    for poll in (1, 2):
        run.once()

        values = [sample.value for sample in run.record("label_overview").samples]
        assert values == list(range(21, 31))
        assert run.dropped(limit) == poll * 20


def test_reports_with_few_series_keep_them_and_those_with_many_share_the_rest() -> None:
    content = labels(30) | {"total_usage": {"total_chat_responses": 0}}
    one = workspace(["total_usage", LABELS_OF_BOTS], bots=3, max_series=23)
    run = Run(one, answering(200, content))
    seen: list[dict[Key, tuple[float, ...]]] = []

    def look() -> None:
        seen.append(
            {key: tuple(sample.value for sample in record.samples) for key, record in run.store}
        )

    run.lasts(timedelta(hours=1), *[look] * 12)

    sizes = [len(values) for key, values in seen[-1].items() if key.report == "label_overview"]
    assert sorted(sizes) == [6, 7, 7]
    assert all(30 in values for key, values in seen[-1].items() if key.report == "label_overview")
    assert [values for key, values in seen[-1].items() if key.report == "total_usage"] == [(0,)] * 3
    # And nothing comes and goes.
    assert all(values == seen[-1] for values in seen[2:])


def test_series_that_expired_make_room_for_others() -> None:
    down: list[str] = []

    def answer(body: dict[str, Any]) -> Answer:
        return (500, {}) if body["gptbot_id"] in down else (200, labels(10))

    run = Run(workspace([LABELS_OF_BOTS], bots=2, max_series=12), answer)

    def sizes() -> dict[str, int]:
        return {key.target.bot_id: len(record.samples) for key, record in run.store}

    def fail() -> None:
        assert sizes() == {"b0": 6, "b1": 6}
        down.append("b0")

    def forget() -> None:
        run.store.expire([key for key, _ in run.store], run.world.now())

    run.lasts(timedelta(hours=2), fail, *[forget] * 20)

    assert sizes() == {"b0": 0, "b1": 10}


def test_a_failure_is_one_line_in_the_log_without_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        run = Run(workspace(["total_usage"]), answering(500, {"detail": "CANARY-IN-A-BODY"}))
        run.once()

    (record,) = [record for record in caplog.records if record.name == "exporter.polling.poller"]
    assert record.getMessage() == "report failed"
    assert vars(record)["report"] == "total_usage"
    assert vars(record)["reason"] == "HTTP 500"
    assert "CANARY" not in caplog.text


# The API in trouble.


def healthy(run: Run) -> Counter[bool]:
    """How many reports succeeded at their last try, and how many did not."""
    return Counter(record.success for _, record in run.store)


def late(run: Run, at: datetime) -> list[Key]:
    """What has brought no values for longer than its interval, and the minute of a probe."""
    return [
        key
        for key, record in run.store
        if not record.last_success
        or (at - record.last_success).total_seconds() > record.interval_seconds + 60
    ]


@pytest.mark.parametrize("bots", [1, 100], ids=["one-bot", "a-hundred-bots"])
@pytest.mark.parametrize("status", [429, 500], ids=["too-many", "down"])
def test_during_an_outage_every_report_is_told_to_fail_and_soon_after_it_all_is_fresh(
    status: int, bots: int
) -> None:
    metrics = ["conversation_overview", {"metric": "csat", "interval": "30m"}]
    run = Run(workspace(metrics, bots=bots, requests_per_minute=120))
    seen: list[Counter[bool]] = []
    ends: list[datetime] = []

    def look() -> None:
        seen.append(healthy(run))

    def mend() -> None:
        look()
        run.answers()()
        ends.append(run.world.now())

    # Each step is ten minutes.
    breaks = run.answers(status)
    run.lasts(timedelta(hours=8), *[nothing] * 5, breaks, *[look] * 35, mend, *[look] * 5)

    assert seen[0][False] > 0
    assert all(one[True] == 0 for one in seen[4:36])
    assert seen[37][False] <= 10  # the last minutes' probes, which wait for their own turn
    assert seen[39] == {True: 2 * bots}
    assert late(run, ends[0] + timedelta(hours=1)) == []


@pytest.mark.parametrize("assigned", [False, True], ids=["as it was", "the bots assigned again"])
def test_when_the_api_answers_again_what_was_put_off_is_asked_within_minutes(
    *, assigned: bool
) -> None:
    one = workspace(["conversation_overview"], bots=60, requests_per_minute=600)
    run = Run(one)

    def mend() -> None:
        assert healthy(run)[True] <= 6
        if assigned:  # the list of bots may be the first to answer
            run.assigns(one)()
        run.answers()()

    # Each step is three minutes; three after the outage only a third has had a turn of its own.
    run.lasts(timedelta(minutes=63), *[nothing] * 10, run.answers(500), *[nothing] * 8, mend)

    assert healthy(run)[True] >= 50  # all but the probes of the last ten minutes


@pytest.mark.parametrize("turns", range(6))
def test_other_bots_may_be_assigned_whenever_a_slow_call_is_about_to_be_sent(turns: int) -> None:
    one = workspace(["conversation_overview_yearly"], bots=2)
    run = Run(one)

    async def go() -> None:
        async with run.start() as poller:
            task = asyncio.ensure_future(poller.run())
            for _ in range(turns):
                await asyncio.sleep(0)
            poller.reports.assign(Workload.of(one, one.bots))
            await asyncio.sleep(30)
            assert not task.done()
            task.cancel()

    run.world.run(go)
    assert len(run.api.journal) == 2


@pytest.mark.parametrize("status", [404, 500])
def test_a_month_of_outage_stays_within_the_schedule_and_a_tenth(status: int) -> None:
    one = workspace(["conversation_overview", "conversation_overview_yearly"], interval="20m")
    run = Run(one, answering(status))

    run.lasts(timedelta(days=30))

    # Three an hour, one more before midnight, and four a day of the yearly report.
    assert len(run.api.journal) <= 1.1 * (30 * (24 * 3 + 1 + 4) + 2) + 10


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_random_failures_delay_no_report_for_long(share: float) -> None:
    # Each request by its number: the same in every run.
    numbers = itertools.count()

    def answer(_: dict[str, Any]) -> Answer | None:
        digest = blake2b(str(next(numbers)).encode(), digest_size=4).digest()
        return (500, {}) if int.from_bytes(digest) < share * 2**32 else None

    run = Run(workspace(["conversation_overview"], bots=50), answer)
    ages: list[float] = []

    def look() -> None:
        for _, record in run.store:
            ages.append((run.world.now() - (record.last_success or START)).total_seconds())

    run.lasts(timedelta(hours=12), *[look] * 71)

    within = [sum(age <= turns * 600 + 60 for age in ages) / len(ages) for turns in (1, 3)]
    least = {0.05: (0.99, 1.0), 0.3: (0.7, 0.95), 0.5: (0.5, 0.85)}[share]
    assert all(found >= wanted for found, wanted in zip(within, least, strict=True))
    assert len(run.api.journal) <= 1.1 * 50 * (12 * 6 + 1) + 10


@pytest.mark.parametrize("bots", [2, 3, 10])
def test_a_bot_that_always_fails_does_not_keep_the_others_from_being_polled(bots: int) -> None:
    run = Run(
        workspace(["conversation_overview"], bots=bots),
        lambda body: (500, {}) if body["gptbot_id"] == "b0" else None,
    )
    ages: list[float] = []

    def look() -> None:
        ages.extend(
            (run.world.now() - (record.last_success or START)).total_seconds()
            for key, record in run.store
            if key.target.bot_id != "b0"
        )

    run.lasts(timedelta(hours=12), *[look] * 71)

    assert max(ages) <= 2 * 600 + 60


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("forbidden", [("b5",), ("b0", "b1", "b2", "b20")])
def test_a_bot_that_the_key_must_not_read_keeps_no_other_from_being_polled(
    forbidden: tuple[str, ...], status: int
) -> None:
    run = Run(
        workspace(["total_usage"], bots=40),
        lambda body: (status, {"detail": "x"}) if body["gptbot_id"] in forbidden else None,
    ).lasts(timedelta(hours=6))

    ages = {
        key.target.bot_id: run.world.now() - (record.last_success or START)
        for key, record in run.store
    }
    assert {bot for bot, age in ages.items() if age > timedelta(minutes=11)} == set(forbidden)
    assert len(run.api.journal) <= 40 * 37


def values(run: Run) -> str:
    """The values of the bots on the page now."""
    lines = run.page().splitlines()
    return "\n".join(line for line in lines if line.startswith("seasalt_conversation"))


def test_a_bot_that_is_gone_leaves_the_page_after_two_turns_and_is_asked_hourly() -> None:
    gone: list[str] = []
    run = Run(
        workspace(["conversation_overview"], bots=2),
        lambda body: (404, {"detail": "x"}) if body["gptbot_id"] in gone else None,
    )
    pages: list[str] = []

    def look() -> None:
        pages.append(values(run))

    def leave() -> None:
        gone.append("b0")

    # Each step is ten minutes: one turn of each bot.
    run.lasts(timedelta(hours=6), leave, *[look] * 17, gone.clear, *[nothing] * 16)

    assert 'bot_id="b0"' in pages[0]
    assert all('bot_id="b0"' not in page for page in pages[2:])
    assert all('bot_id="b1"' in page for page in pages)
    asked = [at - START for at, body in run.api.journal if body["gptbot_id"] == "b0"]
    assert len([at for at in asked if timedelta(minutes=35) < at < timedelta(hours=3)]) <= 3
    assert 'bot_id="b0"' in values(run)
    # Back in its rhythm: the last two hours have a dozen turns.
    assert len([at for at in asked if at > timedelta(hours=4, minutes=10)]) >= 10


def test_a_bot_that_is_gone_is_no_reason_to_ask_for_its_year_more_often() -> None:
    one = workspace(["conversation_overview_yearly"], bots=1)
    run = Run(one, lambda _: (404, {"detail": "x"})).lasts(timedelta(days=2))

    assert len(run.api.journal) <= 2 * 4 + 2  # the one at the start, and its repetition
    assert run.retried("client_error") == 1


def test_a_bot_of_which_a_report_is_left_out_can_be_gone_too() -> None:
    gone: list[str] = []

    def answer(body: dict[str, Any]) -> Answer | None:
        if body["gptbot_id"] in gone:
            return 404, {"detail": "x"}
        if body["gptbot_id"] == "b1":
            return None
        return (400, {"detail": "x"}) if "label_usage" in body["metrics"] else None

    one = workspace(["total_usage", "label_usage", "communication_volume"], bots=2)
    run = Run(one, answer).lasts(timedelta(hours=6), lambda: gone.append("b0"))

    asked = [
        at
        for at, body in run.api.journal
        if body["gptbot_id"] == "b0" and at > START + timedelta(hours=3, minutes=30)
    ]
    assert len(asked) <= 3
    assert not any(
        record.shown(run.world.now()) for key, record in run.store if key.target.bot_id == "b0"
    )


def test_a_bot_that_is_missed_once_stays() -> None:
    answers = itertools.cycle([404, 200])
    run = Run(
        workspace(["conversation_overview"], bots=1),
        lambda _: (404, {}) if next(answers) == 404 else None,
    )

    run.lasts(timedelta(hours=6))

    assert len(run.api.journal) >= 36


NOT_FOUND: list[Answer] = [
    (404, "404 page not found"),
    (404, {"message": "no Route matched with those values"}),
    (404, {"error": {"code": 404, "status": "NOT_FOUND"}}),
    (404, {"kind": "Status", "message": "not found", "code": 404}),
    (404, {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no"}),
    (404, []),
]
"""What proxies, gateways and load balancers answer where they know of no server."""


@pytest.mark.parametrize("found", [*NOT_FOUND, (404, {"detail": "Bot not found"})], ids=str)
def test_a_stretch_in_which_no_bot_is_found_withdraws_none_and_is_over_at_the_next_good_turn(
    found: Answer,
) -> None:
    run = Run(workspace(["conversation_overview"], bots=3))
    seen: list[str] = []

    def look() -> None:
        seen.append(values(run))

    # Each step is ten minutes: two turns of each bot without an answer, then one with.
    run.lasts(timedelta(minutes=60), run.answers(*found), nothing, look, run.answers(), look)

    assert all(page.count("conversation_overview_conversations{") == 3 for page in seen)
    assert all(record.success for _, record in run.store)


def test_a_proxy_that_knows_nothing_of_one_bot_while_others_answer_withdraws_it_neither() -> None:
    lost: list[str] = []
    for found in NOT_FOUND:
        run = Run(
            workspace(["conversation_overview"], bots=2),
            lambda body, found=found: found if body["gptbot_id"] in lost else None,  # type: ignore[misc]  # bound now
        )
        lost.clear()
        run.lasts(timedelta(minutes=48), nothing, lambda: lost.append("b0"))
        assert values(run).count("conversation_overview_conversations{") == 2, found
        asked = [at for at, body in run.api.journal if body["gptbot_id"] == "b0"]
        assert len(asked) >= 5


def test_an_only_bot_that_is_not_found_goes_stale_and_is_asked_at_every_turn() -> None:
    run = Run(workspace(["conversation_overview"], bots=1))
    seen: list[str] = []

    run.lasts(
        timedelta(hours=2),
        run.answers(404, {"detail": "Bot not found"}),
        nothing,
        lambda: seen.append(values(run)),
        run.answers(),
    )

    assert seen == [""]  # older than three intervals
    assert "conversation_overview_conversations{" in values(run)
    assert 12 <= len(run.api.journal) <= 15


def test_a_report_of_the_workspace_is_witness_enough_that_its_only_bot_is_gone() -> None:
    gone: list[str] = []
    run = Run(
        workspace(["conversation_overview", "label_overview"], bots=1),
        lambda body: (404, {"detail": "x"}) if gone and body.get("gptbot_id") else None,
    )

    run.lasts(timedelta(minutes=50), lambda: gone.append("b0"))

    assert values(run) == ""
    assert len(run.api.sent("conversation_overview")) <= 5


def test_a_refusal_that_is_not_the_apis_own_blames_no_report() -> None:
    one = workspace(["communication_volume", "total_usage"])
    run = Run(one, answering(400, "<html>blocked</html>"))
    run.lasts(timedelta(minutes=30), run.answers())

    assert {record.success for _, record in run.store} == {True}
    assert all(len(body["metrics"]) == 2 for _, body in run.api.journal)


def test_a_path_that_is_not_found_withdraws_no_workspace() -> None:
    run = Run(workspace(["conversation_overview"]))

    run.lasts(timedelta(minutes=24), run.answers(404))

    assert "conversations{" in run.page()


def test_a_rotated_key_brings_everything_back_with_the_next_request(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-old", encoding="utf-8")
    one = workspace(["conversation_overview"], bots=30, api_key=None, api_key_file=str(file))
    run = Run(one)

    def rotate() -> None:
        assert healthy(run) == {False: 30}
        file.write_text("sk-new", encoding="utf-8")
        run.answers()()

    # Two minutes after the rotation.
    revoke = run.answers(401, {"detail": "Invalid API key"})
    run.lasts(timedelta(minutes=64), revoke, *[nothing] * 29, rotate)

    # All but those that tried the old key once a minute, which wait for their turn.
    assert healthy(run)[True] >= 20


def test_a_fruitless_splitting_is_forgotten_with_its_call() -> None:
    one = workspace(["communication_volume", "total_usage"])
    run = Run(one, answering(400))

    def drop_and_bring_back() -> None:
        run.poller.reports.assign(EMPTY)
        run.assigns(one)()

    run.lasts(timedelta(minutes=50), drop_and_bring_back)

    alone = [body for _, body in run.api.journal if len(body["metrics"]) == 1]
    assert len(alone) == 2 * 2


@pytest.mark.parametrize(("number", "bots"), [(10_000, 3), (300, 100)])
def test_however_many_labels_and_bots_there_are_the_limits_hold(number: int, bots: int) -> None:
    one = workspace([LABELS_OF_BOTS], bots=bots, max_series=150 * bots, requests_per_minute=6000)
    run = Run(one, answering(200, labels(number)))
    run.once()

    assert [len(record.samples) for _, record in run.store] == [150] * bots
    assert len(run.page().splitlines()) == 2 + 150 * bots + 4 * (2 + bots)


def test_under_overload_no_report_starves_and_the_real_interval_is_as_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = ["total_usage", {"metric": "csat", "interval": "1h"}]
    one = workspace(
        metrics, bots=40, requests_per_minute=10, interval="1m", allow_fast_polling=True
    )
    run = Run(one).lasts(timedelta(hours=6))

    [told] = [vars(record)["reason"] for record in caplog.records if record.levelname == "WARNING"]
    assert "is polled every 4m18s" in told
    ratio = run.told('seasalt_workspace_load_ratio{api="seachat",workspace="acme"}')
    assert ratio == pytest.approx(4.06, abs=0.01)
    begun = min(at for at, _ in run.api.journal)
    for bot in one.bots:
        for metric, interval in (("total_usage", 257), ("csat", 3600)):
            times = [
                at
                for at, body in run.api.journal
                if body["gptbot_id"] == bot.id and body["metrics"] == [metric]
            ]
            gaps = [
                (later - earlier).total_seconds() for earlier, later in pairwise([begun, *times])
            ]
            assert max(gaps) <= 2 * interval  # the first round is one of all
            settled = gaps[2:]  # the first turn after the start comes at the place in the interval
            assert sum(settled) / len(settled) == pytest.approx(interval, rel=0.1)
