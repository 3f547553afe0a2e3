"""Days and windows in every zone of the database, and no yesterday that is shown as today."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest
from support.entries import entry
from support.fuzz import taking_long, times

from exporter.metrics.store import Record, Store
from exporter.model.report import Edge
from exporter.model.targets import Key, Target
from exporter.model.windows import CALENDAR, begins, local_day, window

DAY: Final = timedelta(days=1)
SECOND: Final = timedelta(seconds=1)
DAYS: Final = [
    date(2024, 1, 1) + DAY * n for n in range((date(2036, 1, 1) - date(2024, 1, 1)).days)
]
ZONES: Final = sorted(zoneinfo.available_timezones())
WINDOWS: Final = (*CALENDAR, "last_1_days", "last_7_days", "last_30_days", "last_90_days")
UNEVEN: Final = (
    *("Africa/Cairo", "Africa/Casablanca", "America/Havana", "America/Los_Angeles"),
    *("America/Santiago", "America/Sao_Paulo", "America/St_Johns", "Asia/Beirut", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Asia/Taipei", "Asia/Gaza", "Atlantic/Azores", "Australia/Lord_Howe"),
    *("Europe/Berlin", "Europe/London", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati"),
    "UTC",
)
"""Twenty zones whose midnights are not all alike."""

WANTED: Final = [zone for zone in ZONES if taking_long() or zone in UNEVEN]


@pytest.mark.parametrize("zone", WANTED)
def test_days_follow_one_another_without_gap_or_overlap_and_are_as_long_as_the_clocks_say(
    zone: str,
) -> None:
    place = zoneinfo.ZoneInfo(zone)
    starts = [begins(day, place) for day in (*DAYS, DAYS[-1] + DAY)]
    for day, (first, after) in zip(DAYS, pairwise(starts), strict=True):
        assert local_day(first, place) == local_day(after - SECOND, place) == day
        assert local_day(first - SECOND, place) == day - DAY
        # What the clocks went through, and what they were moved by.
        shown = [each.astimezone(place) for each in (first, after)]
        walls = shown[1].replace(tzinfo=None) - shown[0].replace(tzinfo=None)
        ahead = [each.replace(tzinfo=UTC) - each for each in shown]
        assert after - first == walls - (ahead[1] - ahead[0])
        assert timedelta(hours=22) <= after - first <= timedelta(hours=26)


def test_every_window_begins_before_its_end_and_ends_no_later_than_today() -> None:
    for name in WINDOWS:
        asked = window(name)
        for today in DAYS:
            days = asked.days(today)
            assert days.first <= days.last <= today
            first, last = (Edge(asked, kind).on(today) for kind in ("first", "last"))
            assert datetime.fromisoformat(first).date() == days.first
            assert datetime.fromisoformat(last).date() == days.last
            assert first < last


@pytest.mark.parametrize("zone", UNEVEN)
def test_values_of_a_window_are_gone_at_the_midnight_at_which_it_moves_on(zone: str) -> None:
    place, target = zoneinfo.ZoneInfo(zone), Target("seachat", "acme")
    wanted = entry("seachat", "communication_volume", zone)
    year = times(2026, 2024)
    for today in (day for day in DAYS if year <= day.year <= 2026):
        midnight = begins(today + DAY, place)
        for sent in (begins(today, place), midnight - timedelta(hours=1), midnight - SECOND):
            store = Store()
            stale = sent + timedelta(hours=30)
            withdrawn = wanted.withdrawn(sent)
            assert withdrawn == midnight
            samples = wanted.report.read({"inbound_voice_count": 1}, wanted.reading(sent))
            store.put(
                Key.of(target, wanted), Record(600, samples=samples, expires=min(stale, midnight))
            )
            ((_, record),) = store
            assert record.shown(midnight - timedelta(microseconds=1))
            assert not record.shown(midnight)
            assert local_day(midnight, place) == today + DAY


@pytest.mark.parametrize("name", list(CALENDAR))
def test_a_calendar_windows_values_never_stand_for_other_days(name: str) -> None:
    """From the request until it is withdrawn, the window begins on the same day in every zone."""
    for zone in UNEVEN:
        place = zoneinfo.ZoneInfo(zone)
        wanted = entry("seachat", "total_usage", zone, window=name)
        for today in DAYS[:: times(37, 1)]:
            sent = begins(today, place) + timedelta(hours=13)
            until = wanted.withdrawn(sent)
            assert until
            asked = window(name).days(local_day(sent, place)).first
            assert window(name).days(local_day(until - SECOND, place)).first == asked
            assert window(name).days(local_day(until, place)).first != asked


def test_the_database_is_whole() -> None:
    assert len(ZONES) > 400
    assert set(UNEVEN) <= set(ZONES)
    assert len(UNEVEN) == 20
