import math
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, strategies as st
from support.workspaces import workspace

from exporter.backfill.grid import Grid
from exporter.backfill.plan import WHOLE_DAY, Plan, Range
from exporter.backfill.readings import readings
from exporter.backfill.rebuild import Known, Runs, series
from exporter.model.entry import Entry
from exporter.model.samples import Sample
from exporter.model.windows import Window
from exporter.reports import (
    activity_trend,
    agent_activity,
    communication_volume,
    conversation_overview_yearly,
    csat,
)

DAY = timedelta(days=1)
FIRST = date(2026, 11, 16)  # a Monday
MESSAGES = activity_trend.MESSAGES


def entry(metric: str, window: str | None = None, **others: Any) -> Entry:  # noqa: ANN401 - the file's
    given = {"metric": metric, **({"window": window} if window else {}), **others}
    return workspace([given], bots=1).entries[0]


def messages(*counts: float | None) -> Known:
    """What is known of each day from the first one on; nothing of a day with None."""
    return {
        (FIRST + DAY * number, WHOLE_DAY): (Sample(MESSAGES, ("", "bot"), count),)
        for number, count in enumerate(counts)
        if count is not None
    }


def rebuilt(
    window: str, known: Known, days: int = 3, by_hour: frozenset[date] = frozenset()
) -> tuple[Grid, dict[tuple[str, ...], list[tuple[int, int, float]]]]:
    grid = Grid.of([FIRST + DAY * one for one in range(days)], ZoneInfo("UTC"), 3600, by_hour)
    made = series(entry("activity_trend", window), MESSAGES, lambda _: known, grid, 200)
    return grid, {labels: list(runs) for labels, runs in made.items()}


def test_yesterday_stands_all_day_long() -> None:
    grid, found = rebuilt("yesterday", messages(5, 7, 9))
    _, two, three, _ = grid.begins
    assert found == {("yesterday", "bot"): [(two, three, 5.0), (three, grid.begins[3], 7.0)]}


def test_today_is_there_in_the_last_moment_of_a_day_alone() -> None:
    grid, found = rebuilt("today", messages(5, 7, 9))
    ends = [
        (end - 1, end, value) for end, value in zip(grid.begins[1:], (5.0, 7.0, 9.0), strict=True)
    ]
    assert found == {("today", "bot"): ends}


def test_a_sliding_window_has_its_last_value_until_the_next_day_is_over() -> None:
    grid, found = rebuilt("last_2_days", messages(5, 7, 9))
    second, third = grid.begins[2], grid.begins[3]
    assert found == {
        ("last_2_days", "bot"): [(second - 1, third - 1, 12.0), (third - 1, third, 16.0)]
    }


def test_a_month_ends_with_its_last_day() -> None:
    grid, found = rebuilt("this_week", messages(*range(1, 9)), days=8)
    [runs] = found.values()
    sunday, monday = grid.begins[7], grid.begins[8]
    assert (sunday - 1, sunday, 28.0) in runs
    assert runs[-1] == (monday - 1, monday, 8.0)
    assert not any(begin < monday - 1 and end > sunday for begin, end, _ in runs)


def test_a_sum_with_an_unknown_day_is_left_out() -> None:
    _, found = rebuilt("last_2_days", messages(5, None, 9))
    assert found == {}


def test_a_sum_with_a_value_that_cannot_be_read_is_left_out() -> None:
    _, found = rebuilt("last_2_days", messages(5, math.nan, 9))
    assert found == {}


def test_a_day_without_anything_is_no_zero_but_adds_nothing_to_a_sum() -> None:
    known = {**messages(5, None, 9), (FIRST + DAY, WHOLE_DAY): ()}
    assert rebuilt("yesterday", known)[1] == {
        ("yesterday", "bot"): [(*rebuilt("yesterday", known)[0].begins[1:3], 5.0)]
    }
    assert [value for *_, value in rebuilt("last_2_days", known)[1]["last_2_days", "bot"]] == [5, 9]


def test_an_hours_value_stands_for_an_hour_at_most() -> None:
    day = FIRST + DAY
    hours = {
        (day, 9): (Sample(MESSAGES, ("", "bot"), 2.0),),
        (day, 18): (Sample(MESSAGES, ("", "bot"), 6.0),),
    }
    grid, found = rebuilt("today", {**messages(5, 7, 9), **hours}, by_hour=frozenset({day}))
    nine, six = grid.hours[1, 9], grid.hours[1, 18]
    runs = found["today", "bot"]
    assert (nine, nine + 12, 2.0) in runs
    assert (six, six + 12, 6.0) in runs
    assert len(runs) == 5


def test_two_labels_of_a_sum_are_added_up_apart() -> None:
    calls = communication_volume.CALLS
    known = {
        (FIRST + DAY * number, WHOLE_DAY): tuple(
            Sample(calls, ("", direction), float(count))
            for direction, count in (("inbound", number), ("outbound", 10))
        )
        for number in range(3)
    }
    grid = Grid.of([FIRST + DAY * 2], ZoneInfo("UTC"), 86_400)
    entries = entry("communication_volume", "last_3_days")
    found = series(entries, calls, lambda _: known, grid, 200)
    values = {labels[1]: [value for *_, value in runs] for labels, runs in found.items()}
    assert values == {"inbound": [3.0], "outbound": [30.0]}


def test_a_mean_over_several_days_follows_from_the_ratings_and_not_from_the_means() -> None:
    known = {}
    for number, counts in enumerate(({"5": 1}, {"2": 3, "5": 1})):
        total = sum(counts.values())
        ratings = [Sample(csat.RATINGS, ("", one), float(often)) for one, often in counts.items()]
        known[FIRST + DAY * number, WHOLE_DAY] = (
            Sample(csat.RESPONSES, ("",), float(total)),
            Sample(csat.AVERAGE, ("",), 4.0),
            *ratings,
        )
    grid = Grid.of([FIRST + DAY], ZoneInfo("UTC"), 86_400)
    wanted = entry("csat", "last_2_days")
    for family, value in ((csat.AVERAGE, 3.2), (csat.SATISFACTION, 0.4), (csat.RESPONSES, 5.0)):
        found = series(wanted, family, lambda _: known, grid, 200)
        assert [runs.values[0] for runs in found.values()] == [value], family.name


def test_of_a_year_that_goes_on_only_the_months_that_are_over_are_there() -> None:
    months, total = conversation_overview_yearly.MONTHS, conversation_overview_yearly.MESSAGES
    samples = (
        Sample(total, ("2026",), 99.0),
        *(Sample(months, ("2026", f"{month:02}"), float(month)) for month in range(1, 13)),
    )
    wanted = entry("conversation_overview_yearly")
    grid = Grid.of([FIRST], ZoneInfo("UTC"), 86_400)
    known = {(date(2026, 1, 1), WHOLE_DAY): samples}
    assert series(wanted, total, lambda _: known, grid, 200) == {}
    found = series(wanted, months, lambda _: known, grid, 200)
    assert sorted(labels[1] for labels in found) == [f"{month:02}" for month in range(1, 11)]


def test_equal_values_in_a_row_are_one_run() -> None:
    runs = Runs()
    for place in range(5):
        runs.add(place, place + 1, 1.0)
    runs.add(5, 6, 2.0)
    assert list(runs) == [(0, 5, 1.0), (5, 6, 2.0)]
    assert len(runs) == 6


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(0, 10**6).map(float),
            st.floats(0, 1e6, allow_nan=False),
            st.just(math.nan),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["last_2_days", "last_7_days", "this_week", "last_week", "this_month"]),
)
def test_a_sum_that_moves_on_is_that_of_its_days(counts: list[float | None], window: str) -> None:
    grid, found = rebuilt(window, messages(*counts), days=len(counts))
    values = {
        place: value
        for runs in found.values()
        for begin, end, value in runs
        for place in range(begin, end)
    }
    for number in range(len(counts)):
        day = FIRST + DAY * number
        days = Window(window).days(day)
        places = [(one - FIRST).days for one in (days.first, days.last)]
        within = counts[max(places[0], 0) : places[1] + 1] if places[0] >= 0 else [None]
        known = [one for one in within if one is not None]
        whole = len(known) == len(within) and not any(map(math.isnan, known))
        told = values.get(grid.begins[number + 1] - 1)
        assert told == (float(sum(map(Fraction, known))) if whole else None), day


def test_a_day_that_the_clocks_left_out_has_no_samples() -> None:
    days = [date(2011, 12, 29) + DAY * number for number in range(3)]
    zone = ZoneInfo("Pacific/Apia")
    known = {(day, WHOLE_DAY): (Sample(MESSAGES, ("", "bot"), 5.0),) for day in days}
    grid = Grid.of(days, zone, 3600)
    for window in ("today", "yesterday", "last_2_days"):
        made = series(entry("activity_trend", window), MESSAGES, lambda _: known, grid, 200)
        for runs in made.values():
            assert all(0 <= begin < end for begin, end, _ in runs)
            assert sorted(runs.begins) == list(runs.begins)


def test_a_session_over_midnight_counts_on_each_day_for_its_time_on_it() -> None:
    made = workspace([{"metric": "agent_activity", "window": "yesterday"}], api="seax")
    request = next(Plan(made, (), Range(date(2026, 11, 18), date(2026, 11, 20))).part("A"))
    sessions = [
        ("busy", "2026-11-18T22:00:00Z", "2026-11-20T06:00:00Z"),
        ("busy", "2026-11-18T01:00:00Z", "2026-11-19T00:00:00Z"),
        ("meal", "2026-11-20T23:00:00Z", None),
    ]
    agents = [
        {"agent_id": 1, "status": status, "start_time": begun, "end_time": ended}
        for status, begun, ended in sessions
    ]
    sent = datetime(2026, 11, 21, 12, tzinfo=UTC)
    found, errors = readings(request, {"agent_activity": {"agents": agents}}, sent)
    assert errors == ()
    seconds = {
        (reading.day.day, sample.labels[2]): sample.value / 3600
        for reading in found
        for sample in reading.samples
        if sample.family is agent_activity.SECONDS
    }
    assert seconds == {
        (18, "other"): 25.0,
        (19, "other"): 24.0,
        (20, "other"): 6.0,
        (20, "meal"): 1.0,
    }
    history = made.entries[0].form.history
    assert history is not None
    # Two days would count one session twice.
    assert agent_activity.SESSIONS not in history.additive
