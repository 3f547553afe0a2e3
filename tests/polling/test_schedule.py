from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings, strategies as st
from support.workspaces import workspace

from exporter.config import Bot
from exporter.model.shards import Shard
from exporter.model.targets import Target
from exporter.model.windows import DAY, begins, local_day
from exporter.polling.plan import Call, planned_calls
from exporter.polling.schedule import (
    RETRY_AFTER,
    Rhythm,
    load,
    phase,
    real_interval,
    requests_per_hour,
    rhythms,
    shortages,
)
from exporter.polling.workload import Workload

NOW = datetime(2026, 11, 21, 12, 3, 4, tzinfo=UTC)
TEN = timedelta(minutes=10)

instants = st.datetimes(
    min_value=datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2035, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
intervals = st.sampled_from([timedelta(seconds=15), TEN, timedelta(hours=6), timedelta(days=1)])


@given(instants, intervals, st.text())
def test_turns_come_one_interval_after_the_other_at_one_phase(
    now: datetime, interval: timedelta, identity: str
) -> None:
    rhythm = Rhythm(interval, phase(identity, interval), UTC)

    first = rhythm.after(now)
    second = rhythm.after(first)

    assert now < first <= now + interval
    assert second - first == interval


def test_a_call_has_its_place_in_the_interval_in_every_process() -> None:
    place = timedelta(minutes=4, seconds=18, microseconds=511_694)
    assert phase("acme|bot-1|x/today", TEN) == place


def test_calls_are_spread_over_the_interval() -> None:
    phases = sorted(phase(f"acme|bot-{number}|x/today", TEN) for number in range(1000))

    gaps = [later - earlier for earlier, later in pairwise(phases)]
    assert max(gaps) < timedelta(seconds=8)
    tenths = [
        sum(place // 60 == number for place in (p.total_seconds() for p in phases))
        for number in range(10)
    ]
    assert min(tenths) > 60


def test_a_failed_report_may_be_asked_again_after_ten_minutes() -> None:
    slow = Rhythm(timedelta(hours=6), phase("x", timedelta(hours=6)), UTC)

    assert slow.after_failure(NOW) == min(NOW + RETRY_AFTER, slow.after(NOW))


def test_a_failed_report_of_a_short_interval_keeps_its_phase() -> None:
    rhythm = Rhythm(TEN, phase("x", TEN), UTC)

    assert rhythm.after_failure(NOW) == rhythm.after(NOW)


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Africa/Cairo"])
def test_today_is_polled_once_more_in_the_last_minutes_of_the_local_day(zone: str) -> None:
    one = workspace(["communication_volume", "csat"], bots=30, timezone=zone)
    calls = planned_calls(one, one.bots)

    found = rhythms(calls, one.requests_per_minute, one.concurrency, one.zone)
    midnight = begins(local_day(NOW, one.zone) + DAY, one.zone)
    last = sorted(
        midnight - rhythm.before_midnight for rhythm in found.values() if rhythm.before_midnight
    )

    assert len(last) == 30
    assert last[-1] <= midnight - timedelta(seconds=90)
    assert last[0] >= midnight - timedelta(minutes=5)
    apart = {later - earlier for earlier, later in pairwise(last)}
    assert min(apart) >= timedelta(seconds=60 / one.requests_per_minute)


def test_only_calls_about_today_have_a_poll_before_midnight() -> None:
    one = workspace(["communication_volume", "csat", "conversation_overview_yearly"], bots=1)
    calls = planned_calls(one, one.bots)

    found = rhythms(calls, 60, 4, one.zone)

    assert [found[call].before_midnight is not None for call in calls] == [True, False, False]


def test_many_bots_begin_their_last_polls_earlier_as_the_rate_needs() -> None:
    one = workspace(["communication_volume"], bots=600, requests_per_minute=120)

    found = rhythms(planned_calls(one, one.bots), 120, 50, one.zone)
    leads = [rhythm.before_midnight for rhythm in found.values() if rhythm.before_midnight]

    # 600 requests at the 60 a minute that the usual turns leave take 10 minutes and a quarter.
    assert timedelta(minutes=12) < max(leads) < timedelta(minutes=15)


def test_few_requests_in_flight_begin_their_last_polls_earlier() -> None:
    one = workspace(["communication_volume"], bots=60, requests_per_minute=600)
    calls = planned_calls(one, one.bots)

    longest = [
        max(rhythm.before_midnight or timedelta() for rhythm in found.values())
        for found in (rhythms(calls, 600, 1, one.zone), rhythms(calls, 600, 50, one.zone))
    ]

    # One at a time, five seconds each and a quarter more.
    assert timedelta(minutes=6) < longest[0] < timedelta(minutes=9)
    assert longest[1] < timedelta(minutes=3)


@pytest.mark.usefixtures("_our_zones")
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        pytest.param("Africa/Cairo", (2026, 4, 23), id="midnight-skipped"),
        pytest.param("America/Havana", (2026, 10, 31), id="midnight-twice"),
        pytest.param("Australia/Lord_Howe", (2026, 4, 4), id="half-an-hour"),
        pytest.param("Europe/Berlin", (2026, 3, 28), id="spring"),
    ],
)
def test_the_poll_before_midnight_comes_once_on_days_of_any_length(
    zone: str, day: tuple[int, int, int]
) -> None:
    where = ZoneInfo(zone)
    rhythm = Rhythm(timedelta(days=40_000), timedelta(), where, timedelta(seconds=100))
    turns = [rhythm.after(datetime(*day, tzinfo=where).astimezone(UTC))]

    while len(turns) < 3:
        turns.append(rhythm.after(turns[-1]))

    days = [local_day(turn, where) for turn in turns]
    assert days == sorted(set(days))
    assert all(
        begins(local_day(turn, where) + DAY, where) - turn == timedelta(seconds=100)
        for turn in turns
    )


def test_requests_an_hour_add_up() -> None:
    one = workspace(["total_usage", {"metric": "csat", "interval": "30m"}], bots=2)

    assert requests_per_hour(planned_calls(one, one.bots)) == 2 * 6 + 2 * 2


def calls(*each: tuple[int, str]) -> list[Call]:
    """So many calls at an interval, and so on."""
    found: list[Call] = []
    for number, interval in each:
        one = workspace(["total_usage"], bots=number, interval=interval, allow_fast_polling=True)
        found += planned_calls(one, one.bots)
    return found


def test_a_shortage_says_what_will_be_and_what_would_be_right() -> None:
    [minute, day] = shortages(calls((30, "10m")), 1, 2160)

    assert str(minute) == (
        "requests_per_minute 1 is too low for the intervals, which need 3: what is to be polled"
        " more often is polled every 30m"
    )
    assert str(day) == (
        "requests_per_day 2160 is too low for the intervals, which need 4320: they are spent 12h"
        " after midnight once requests_per_minute is enough"
    )
    assert load(calls((30, "10m")), 1, 2160) == pytest.approx(3)


def test_a_shortage_of_a_shard_is_of_what_all_shards_share() -> None:
    """A third of the requests, with a third of each limit."""
    [minute, day] = shortages(calls((10, "10m")), 1, 2160, Shard(0, 3))

    assert str(minute) == (
        "requests_per_minute 1 among 3 shards is too low for the intervals, which need 3: what is to"
        " be polled more often is polled every 30m"
    )
    assert str(day) == (
        "requests_per_day 2160 among 3 shards is too low for the intervals, which need 4500: what is"
        " to be polled more often is polled every 30m"
    )
    assert list(shortages(calls((10, "10m")), 3, 4500, Shard(0, 3))) == []


@pytest.mark.parametrize(
    ("per_minute", "end"),
    [
        (3, "12h after midnight"),
        (2, "18h after midnight"),  # at the two a minute that are sent, not at the three wanted
        (1, "12h after midnight once requests_per_minute is enough"),
    ],
)
def test_when_a_days_requests_are_spent_follows_from_what_is_sent(
    per_minute: int, end: str
) -> None:
    day = list(shortages(calls((30, "10m")), per_minute, 2160))[-1]

    assert day.consequence == f"they are spent {end}"


@pytest.mark.parametrize(
    ("per_day", "end"), [(1, "within a second"), (2879, "11h59m45s"), (5759, "23h59m45s")]
)
def test_a_days_requests_never_last_longer_than_told(per_day: int, end: str) -> None:
    each = calls((40, "10m")) if per_day > 1 else calls((2000, "1s"))

    [day] = shortages(each, 600_000, per_day)

    assert day.consequence == f"they are spent {end} after midnight"


INTERVALS = st.one_of(
    st.sampled_from([1, 60, 7 * 60, 600, 3600, 6 * 3600, 366 * 86_400]),
    st.integers(1, 366 * 86_400),
)
MIXED = st.lists(st.tuples(st.integers(1, 5000), INTERVALS), min_size=1, max_size=6)
RATES = st.one_of(st.sampled_from([1, 3, 60, 600_000]), st.integers(1, 600_000))
ONE = workspace(["total_usage"], bots=1)
CALL = planned_calls(ONE, ONE.bots)[0]


def every(interval: timedelta) -> Call:
    """A call at an interval of any length."""
    return replace(CALL, entries=(replace(CALL.entries[0], interval=interval),))


def mixed(each: list[tuple[int, int]]) -> list[Call]:
    return [
        call for number, seconds in each for call in [every(timedelta(seconds=seconds))] * number
    ]


def a_minute(given: list[Call], least: timedelta = timedelta(0)) -> Fraction:
    """The requests of a minute, none of them more often than at an interval: the law itself."""
    tick = timedelta(microseconds=1)
    counted = Counter(max(call.interval, least) // tick for call in given)
    return sum((Fraction(60_000_000 * n, each) for each, n in counted.items()), Fraction())


@given(MIXED, RATES)
@settings(deadline=None)
def test_what_is_allowed_is_no_shortage_and_what_is_not_is_told_with_the_least_that_would_be(
    each: list[tuple[int, int]], per_minute: int
) -> None:
    given = mixed(each)
    needed = a_minute(given)

    short = list(shortages(given, per_minute, None))

    assert bool(short) == (needed > per_minute) == (load(given, per_minute, None) > 1)
    assert all(one.needed - 1 < needed <= one.needed for one in short)
    assert requests_per_hour(given) == 60 * needed


@given(MIXED, RATES)
@example([(380, 600), (883, 54_083), (24, 70_607)], 1)  # next to nothing is left for the often ones
@settings(deadline=None)
def test_the_real_interval_is_the_shortest_at_which_all_is_allowed(
    each: list[tuple[int, int]], per_minute: int
) -> None:
    given = mixed(each)
    real, shortest = real_interval(given, per_minute), min(call.interval for call in given)

    assert real >= shortest
    assert a_minute(given, real) <= per_minute
    if real > shortest:
        assert a_minute(given, real - timedelta(microseconds=1)) > per_minute


def test_calls_that_are_exactly_allowed_are_no_shortage() -> None:
    for minutes in range(1, 61):
        for per_minute in range(1, 61):
            given = mixed([(minutes * per_minute, minutes * 60)])
            assert list(shortages(given, per_minute, 1440 * per_minute)) == []
            assert load(given, per_minute, 1440 * per_minute) == 1
            assert real_interval(given, per_minute) == timedelta(minutes=minutes)


def test_what_is_left_for_the_often_ones_may_be_exactly_nothing() -> None:
    given = mixed([(10, 60), (600, 600)])

    assert real_interval(given, 60) == timedelta(seconds=610)


def test_with_nothing_but_defaults_every_number_of_calls_is_planned() -> None:
    for number in (*range(1, 600, 50), *range(590, 2200), *range(2200, 5001, 100)):
        given = [CALL] * number
        real = real_interval(given, 60)
        assert real == max(TEN, timedelta(seconds=number))
        assert [one.needed for one in shortages(given, 60, None)] == (
            [-(-number // 10)] if number > 600 else []
        )


@given(MIXED, RATES, st.integers(1, 1000))
@settings(deadline=None, max_examples=30)
def test_however_much_is_asked_for_the_last_polls_of_a_day_are_spread(
    each: list[tuple[int, int]], per_minute: int, concurrency: int
) -> None:
    given = [
        replace(every(timedelta(seconds=seconds)), target=Target("seachat", "acme", f"b{number}"))
        for number, seconds in each
    ]

    leads = [
        rhythm.before_midnight
        for rhythm in rhythms(given, per_minute, concurrency, UTC).values()
        if rhythm.before_midnight
    ]

    assert len(leads) == len(given)
    assert all(timedelta(seconds=90) <= lead < timedelta(hours=6, seconds=90) for lead in leads)


def test_the_pages_of_the_list_of_bots_are_asked_for_as_well() -> None:
    bots = [Bot(id=f"b{number}") for number in range(600)]
    found_in = workspace(["total_usage"], workspace_id="ws-1", discover_bots={})
    found = Workload.of(found_in, bots)

    given = found.calls.values()
    hourly = requests_per_hour(given)
    assert hourly == 3600
    alone = load(given, found_in.requests_per_minute, found_in.requests_per_day)
    assert found.load / alone == pytest.approx(float((hourly + 6) / hourly), rel=1e-9)
