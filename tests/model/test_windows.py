import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest

from exporter.model.reply_values import Period
from exporter.model.windows import ALL, CALENDAR, RANGE_TYPES, Window, begins, local_day, window

DAY: Final = timedelta(days=1)
DAYS: Final = [
    date(2024, 1, 1) + DAY * n for n in range((date(2036, 1, 1) - date(2024, 1, 1)).days)
]
SLIDING: Final = ("last_1_days", "last_8_days", "last_31_days", "last_366_days")

every_calendar_window = pytest.mark.parametrize("name", list(CALENDAR))

MOVING: Final = {
    "Africa/Cairo": date(2026, 4, 24),
    "Africa/Casablanca": date(2026, 2, 15),
    "America/Asuncion": date(2024, 10, 6),
    "America/Coyhaique": date(2024, 9, 8),
    "America/Havana": date(2026, 3, 8),
    "America/Los_Angeles": date(2026, 3, 8),
    "America/Santiago": date(2026, 9, 6),
    "Asia/Beirut": date(2026, 3, 29),
    "Asia/Kathmandu": date(2026, 1, 1),
    "Atlantic/Azores": date(2026, 3, 29),
    "Australia/Lord_Howe": date(2026, 4, 5),
    "Pacific/Apia": date(2026, 1, 1),
    "Pacific/Kiritimati": date(2026, 1, 1),
}
"""Zones that do something of interest, and a day on which they do."""

AVAILABLE: Final = sorted(zoneinfo.available_timezones())


def days(first: str, last: str) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("name", "today", "first", "last"),
    [
        pytest.param("today", "2024-02-29", "2024-02-29", "2024-02-29", id="today-leap-day"),
        pytest.param("yesterday", "2024-03-01", "2024-02-29", "2024-02-29", id="to-leap-day"),
        pytest.param("yesterday", "2023-03-01", "2023-02-28", "2023-02-28", id="no-leap-day"),
        pytest.param("yesterday", "2025-01-01", "2024-12-31", "2024-12-31", id="over-new-year"),
        pytest.param("this_week", "2024-01-31", "2024-01-29", "2024-01-31", id="this-week"),
        pytest.param("this_week", "2024-01-29", "2024-01-29", "2024-01-29", id="on-monday"),
        pytest.param("this_week", "2024-02-04", "2024-01-29", "2024-02-04", id="on-sunday"),
        pytest.param("this_week", "2025-01-01", "2024-12-30", "2025-01-01", id="week-over-year"),
        pytest.param("last_week", "2024-01-29", "2024-01-22", "2024-01-28", id="from-monday"),
        pytest.param("last_week", "2024-02-04", "2024-01-22", "2024-01-28", id="from-sunday"),
        pytest.param("this_month", "2024-02-29", "2024-02-01", "2024-02-29", id="leap-month"),
        pytest.param("this_month", "2024-12-01", "2024-12-01", "2024-12-01", id="first-of-month"),
        pytest.param("last_month", "2024-03-31", "2024-02-01", "2024-02-29", id="last-month-leap"),
        pytest.param("last_month", "2023-03-31", "2023-02-01", "2023-02-28", id="last-month-short"),
        pytest.param("last_month", "2025-01-15", "2024-12-01", "2024-12-31", id="month-over-year"),
        pytest.param("this_year", "2024-12-31", "2024-01-01", "2024-12-31", id="whole-leap-year"),
        pytest.param("this_year", "2025-01-01", "2025-01-01", "2025-01-01", id="new-year"),
        pytest.param("last_year", "2024-02-29", "2023-01-01", "2023-12-31", id="year-of-leap-day"),
        pytest.param("last_year", "2025-01-01", "2024-01-01", "2024-12-31", id="year-before"),
        pytest.param("last_1_days", "2024-03-01", "2024-03-01", "2024-03-01", id="one-day"),
        pytest.param("last_7_days", "2024-03-01", "2024-02-24", "2024-03-01", id="seven-days"),
        pytest.param("last_30_days", "2024-01-31", "2024-01-02", "2024-01-31", id="thirty-days"),
        pytest.param("last_366_days", "2024-12-31", "2024-01-01", "2024-12-31", id="a-leap-year"),
    ],
)
def test_a_window_is_these_days(name: str, today: str, first: str, last: str) -> None:
    assert window(name).days(date.fromisoformat(today)) == days(first, last)


@pytest.mark.parametrize("name", [*CALENDAR, *SLIDING])
def test_a_window_spans_at_least_a_day_and_at_most_its_longest(name: str) -> None:
    spans = [window(name).days(day) for day in DAYS]
    lengths = [(span.last - span.first).days + 1 for span in spans]
    assert min(lengths) >= 1
    assert max(lengths) == window(name).longest


@every_calendar_window
def test_a_calendar_window_moves_on_when_it_comes_to_mean_other_days(name: str) -> None:
    starts = [window(name).days(day).first for day in DAYS]
    expected: date | None = None
    for index in range(len(DAYS) - 2, -1, -1):
        if starts[index] != starts[index + 1]:
            expected = DAYS[index + 1]
        if expected:
            assert window(name).moves_on(DAYS[index]) == expected


@every_calendar_window
def test_a_calendar_window_that_is_over_is_followed_by_the_next(name: str) -> None:
    unit, back = CALENDAR[name]
    this, last = (f"{prefix}_{unit}" for prefix in ("this", "last"))
    if unit == "day":
        this, last = "today", "yesterday"
    for day in DAYS:
        assert window(last).days(day).last == window(this).days(day).first - DAY
        moved = window(name).moves_on(day)
        assert moved
        assert moved > day
        if back:
            assert window(last).days(moved) == Period(window(this).days(day).first, moved - DAY)


@pytest.mark.parametrize("name", [*SLIDING, *RANGE_TYPES, "all"])
def test_a_sliding_window_never_moves_on(name: str) -> None:
    assert window(name).moves_on(date(2024, 12, 31)) is None


@pytest.mark.parametrize("name", ["all", "last_day"])
def test_what_the_api_alone_knows_has_no_days(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no days"):
        window(name).days(date(2024, 1, 1))
    assert window(name).longest == 0


@pytest.mark.parametrize("name", [*CALENDAR, *RANGE_TYPES, *SLIDING, "all", "last_9999_days"])
def test_a_window_goes_by_its_name(name: str) -> None:
    assert window(name) == Window(name)
    assert window("all") == ALL


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("tomorrow", id="future"),
        pytest.param("Today", id="case"),
        pytest.param("this_quarter", id="quarter"),
        pytest.param("last_0_days", id="no-days"),
        pytest.param("last_07_days", id="padded"),
        pytest.param("last_-7_days", id="negative"),
        pytest.param("last_10000_days", id="too-many"),
        pytest.param("last_\u0667_days", id="arabic-digit"),
        pytest.param("last_7_days\n", id="line-feed"),
    ],
)
def test_another_window_is_an_error_that_says_which_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"today, .*last_<N>_days or all"):
        window(name)


# Local days


@pytest.mark.usefixtures("_our_zones")
@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        pytest.param("UTC", "2024-02-29", "2024-02-29T00:00", id="utc"),
        pytest.param("Asia/Taipei", "2024-02-29", "2024-02-28T16:00", id="ahead"),
        pytest.param("America/Los_Angeles", "2024-02-29", "2024-02-29T08:00", id="behind"),
        pytest.param("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15", id="quarter-of-an-hour"),
        pytest.param("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00", id="furthest-ahead"),
        pytest.param("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", id="no-midnight-cairo"),
        pytest.param("America/Havana", "2026-03-08", "2026-03-08T05:00", id="no-midnight-havana"),
        pytest.param("America/Santiago", "2026-09-06", "2026-09-06T04:00", id="no-midnight-chile"),
        pytest.param("Asia/Beirut", "2026-03-29", "2026-03-28T22:00", id="no-midnight-beirut"),
        pytest.param("Atlantic/Azores", "2026-03-29", "2026-03-29T01:00", id="no-midnight-azores"),
        pytest.param("America/Havana", "2026-11-01", "2026-11-01T04:00", id="two-midnights-havana"),
        pytest.param(
            "Atlantic/Azores", "2026-10-25", "2026-10-25T00:00", id="two-midnights-azores"
        ),
    ],
)
def test_a_day_begins_at_its_first_instant(zone: str, day: str, expected: str) -> None:
    found = begins(date.fromisoformat(day), zoneinfo.ZoneInfo(zone))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.usefixtures("_our_zones")
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("America/Los_Angeles", "2026-03-08", 23, id="spring-forward"),
        pytest.param("America/Los_Angeles", "2026-11-01", 25, id="fall-back"),
        pytest.param("Africa/Cairo", "2026-04-24", 23, id="no-midnight"),
        pytest.param("America/Havana", "2026-11-01", 25, id="two-midnights"),
        pytest.param("America/Santiago", "2026-04-04", 25, id="the-last-hour-twice"),
        pytest.param("Australia/Lord_Howe", "2026-04-05", 24.5, id="half-an-hour"),
        pytest.param("Africa/Casablanca", "2026-02-15", 25, id="ramadan"),
        pytest.param("Asia/Taipei", "2026-03-08", 24, id="never"),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, day: str, hours: float) -> None:
    assert dict(lengths(zoneinfo.ZoneInfo(zone)))[date.fromisoformat(day)] == timedelta(hours=hours)


@pytest.mark.parametrize("zone", sorted(MOVING.keys() & set(AVAILABLE)))
def test_every_instant_of_a_day_is_on_it(zone: str) -> None:
    place, day = zoneinfo.ZoneInfo(zone), MOVING[zone]
    first, end = begins(day, place), begins(day + DAY, place)
    instants = [first + timedelta(minutes=n) for n in range((end - first) // timedelta(minutes=1))]
    assert {local_day(each, place) for each in instants} == {day}


def lengths(zone: zoneinfo.ZoneInfo) -> Iterator[tuple[date, timedelta]]:
    """How long each day is in a zone."""
    starts = [begins(day, zone) for day in (*DAYS, DAYS[-1] + DAY)]
    for day, (first, after) in zip(DAYS, pairwise(starts), strict=True):
        yield day, after - first
