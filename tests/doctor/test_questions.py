"""What the requests of an examination rest on: where a day is cut, and when a scale can be told."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, strategies as st

from exporter.doctor import findings
from exporter.doctor.questions import absent, last_hour, shared_hours

HOURS = st.dictionaries(st.integers(0, 23), st.integers(0, 500), max_size=24)


@given(HOURS)
def test_a_day_is_cut_between_two_messages_or_not_at_all(by_hour: dict[int, int]) -> None:
    hour = last_hour(by_hour)

    used = [one for one, messages in by_hour.items() if messages]
    assert (hour is None) == (len(used) < 2)
    if hour is not None:
        before = sum(messages for one, messages in by_hour.items() if one <= hour)
        assert 0 < before < sum(by_hour.values())


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_scale_of_a_change_is_never_mistaken(now: int, before: int) -> None:
    real = (now - before) / before

    for scale, wrong in ((1, "ratio"), (1 / 100, "percent")):
        sent = round(100 * real * scale, 2 if scale == 1 else 4)
        told = findings.scale("change_percent", sent / 100, real, "")
        assert told.answer != wrong
        if abs(real) > 0.01:
            assert told.answer in {"ratio", "percent"}


@given(st.lists(st.from_regex(r"\A[0-9a-f]{4,32}\Z") | st.uuids().map(str), max_size=20))
def test_a_bot_that_does_not_exist_is_none_of_those_that_do(known: list[str]) -> None:
    made = absent(known)

    assert made not in known
    if known and len(known[0]) > 8:
        assert len(made) == len(known[0])


@given(st.sampled_from(sorted(available_timezones())), st.dates(date(2024, 1, 1), date(2035, 1, 1)))
def test_the_shared_hours_are_those_that_both_days_have(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
    ahead = noon.utcoffset() or timedelta()

    shared = shared_hours(ahead)

    here = noon.replace(tzinfo=timezone(ahead))
    for hour in range(24):
        begins = here.replace(hour=hour).astimezone(UTC)
        ends = begins + timedelta(hours=1) - timedelta(seconds=1)
        assert (hour in shared) == (begins.date() == ends.date() == day)
