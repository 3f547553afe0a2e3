from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, strategies as st

from exporter.backfill.grid import FINEST, STEPS, Grid
from exporter.model.windows import begins

DAY = timedelta(days=1)
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]


@given(
    first=st.dates(date(2011, 1, 1), date(2026, 1, 1)),
    zone=st.sampled_from(ZONES),
    step=st.sampled_from([*STEPS.values()]),
)
@example(first=date(2011, 12, 29), zone="Pacific/Apia", step=3600)
def test_each_day_ends_five_minutes_before_its_midnight_whatever_the_clocks_do(
    first: date, zone: str, step: int
) -> None:
    clock, days = ZoneInfo(zone), [first + DAY * number for number in range(3)]
    grid = Grid.of(days, clock, step)
    assert all(one < two for one, two in pairwise(grid.times))
    for number, day in enumerate(days):
        if zone == "Pacific/Apia" and day == date(2011, 12, 30):  # the day that never was
            assert grid.begins[number] == grid.begins[number + 1]
            continue
        end = int(begins(day + DAY, clock).timestamp())
        times = grid.times[grid.begins[number] : grid.begins[number + 1]]
        assert times[-1] == end - FINEST
        assert times[0] >= begins(day, clock).timestamp()
        assert all(at % step == 0 for at in times[:-1])


def test_a_day_that_is_known_by_the_hour_has_the_finest_step() -> None:
    days = [date(2026, 11, 18), date(2026, 11, 19)]
    grid = Grid.of(days, ZoneInfo("Asia/Kolkata"), 3600, {days[1]})
    assert grid.begins == (0, 25, 25 + 288)
    nine = grid.times[grid.hours[1, 9]]
    assert datetime.fromtimestamp(nine, UTC).isoformat() == "2026-11-19T03:30:00+00:00"
    assert (0, 9) not in grid.hours


@pytest.mark.parametrize("step", STEPS.values())
def test_the_value_of_a_whole_day_is_out_of_sight_at_midnight(step: int) -> None:
    day = date(2026, 11, 18)
    [last] = Grid.of([day], ZoneInfo("UTC"), step).times[-1:]
    # Prometheus looks back five minutes, without the instant at their beginning.
    assert begins(day + DAY, ZoneInfo("UTC")).timestamp() - last >= FINEST
