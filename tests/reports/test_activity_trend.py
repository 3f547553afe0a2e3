from collections.abc import Mapping
from typing import Any, Final

import pytest
from support.entries import JANUARY, entry, read

from exporter.errors import ReplyError
from exporter.model.reply_values import Period

METRIC = "activity_trend"
MONTH: Final[Mapping[str, Any]] = {"window": "this_month"}


def messages(**senders: float) -> dict[str, float]:
    return {f'activity_trend_messages{{sender="{name}"}}': n for name, n in senders.items()}


def calls(**directions: float) -> dict[str, float]:
    return {f'activity_trend_calls{{direction="{name}"}}': n for name, n in directions.items()}


def trend(*rows: object, **more: object) -> dict[str, object]:
    return {"time_unit": "day", "data": list(rows), **more}


def day(number: int, **counts: object) -> dict[str, object]:
    return {"period": f"2024-01-{number:02}", **counts}


def test_a_row_outside_the_asked_window_is_dropped_and_counted() -> None:  # T20
    part = {"time_unit": "month", "data": [{"period": "2019-01", "CUSTOMER": 1}]}
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == {}
    assert found.drift == {"period": 1}


@pytest.mark.parametrize(
    ("period", "counted"),
    [
        pytest.param("2023-12-31", False, id="day-before"),
        pytest.param("2024-01-01", True, id="first-day"),
        pytest.param("2024-01-31", True, id="last-day"),
        pytest.param("2024-02-01", False, id="day-after"),
        pytest.param("2024-01", True, id="its-month"),
        pytest.param("2023-12", False, id="month-before"),
        pytest.param(2024, True, id="its-year"),
        pytest.param("2024-01-31T23:59:59Z", True, id="with-a-time"),
    ],
)
def test_a_period_counts_if_it_has_a_day_of_the_window(
    period: object, *, counted: bool
) -> None:  # T39
    found = read("seachat", METRIC, trend({"period": period, "BOT": 4}), **MONTH)
    assert found.series == (messages(bot=4) if counted else {})
    assert found.drift == ({} if counted else {"period": 1})


def test_a_days_window_is_the_day_of_the_requests_zone() -> None:
    part = trend(day(31, BOT=4), {"period": "2024-02-01", "BOT": 7})
    in_utc = read("seachat", METRIC, part)
    in_kiritimati = read("seachat", METRIC, part, zone="Pacific/Kiritimati")
    assert in_utc.series == messages(bot=4)
    assert in_kiritimati.series == messages(bot=7)


def test_calls_come_by_direction_and_without_senders() -> None:  # T42
    part = {"time_unit": "day", "data": [{"period": "2024-01-01", "inbound": 3, "outbound": 4}]}
    found = read("seachat", METRIC, part, message_type="calls", **MONTH)
    assert found.series == calls(inbound=3, outbound=4)
    assert found.drift == {}


def test_a_row_that_holds_nothing_of_what_was_asked_is_drift() -> None:  # T42
    found = read("seachat", METRIC, trend(day(1, inbound=3), day(2, BOT=1)), **MONTH)
    assert found.series == messages(bot=1)
    assert found.drift == {"other": 1}


def test_what_was_not_asked_for_is_not_shown() -> None:  # T42
    part = trend(day(1, inbound=3, outbound=4, CUSTOMER=5), change_percent=50)
    asked_messages = read("seachat", METRIC, part, **MONTH)
    asked_calls = read("seachat", METRIC, part, message_type="calls", **MONTH)
    change = "activity_trend_change_ratio"
    assert asked_messages.series == messages(customer=5) | {f'{change}{{of="messages"}}': 0.5}
    assert asked_calls.series == calls(inbound=3, outbound=4) | {f'{change}{{of="calls"}}': 0.5}


def test_the_key_of_a_period_may_be_date() -> None:  # T52
    part = {"time_unit": "day", "data": [{"date": "2024-01-01", "CUSTOMER": 45}]}
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == messages(customer=45)


def test_senders_come_in_either_case_and_the_documented_one_wins() -> None:  # T53
    part = {
        "metric": "activity_trend",
        "time_unit": "day",
        "data": [
            {"date": "2024-06-01", "CUSTOMER": 45, "AGENT": 60, "bot": 20},
            {"date": "2024-06-02", "CUSTOMER": 30, "AGENT": 55, "BOT": 15, "bot": 7},
        ],
        "change_percent": 12.5,
    }
    june_2 = JANUARY.replace(month=6, day=2)
    found = read("portal", METRIC, part, june_2, window="last_2_days")
    change = {'activity_trend_change_ratio{of="messages"}': 0.125}
    assert found.series == messages(customer=75, agent=115, bot=35) | change
    assert found.drift == {"BOT": 1}


def test_directions_come_in_either_case() -> None:  # T53
    part = trend(day(1, INBOUND=3, Outbound=4))
    found = read("seachat", METRIC, part, message_type="calls", **MONTH)
    assert found.series == calls(inbound=3, outbound=4)


def test_an_absent_sender_has_no_series() -> None:  # T54
    part = {
        "metric": "activity_trend",
        "time_unit": "day",
        "data": [{"date": "2024-06-01", "CUSTOMER": 45, "AGENT": 60, "BOT": 20}],
    }
    found = read("portal", METRIC, part, JANUARY.replace(month=6, day=1))
    assert found.series == messages(customer=45, agent=60, bot=20)


def test_a_sender_that_is_null_everywhere_has_no_series_and_zero_is_zero() -> None:  # R-ZERO
    found = read("seachat", METRIC, trend(day(1, BOT=None, AGENT=0), day(2, BOT=None)), **MONTH)
    assert found.series == messages(agent=0)
    assert found.drift == {}


def test_a_sender_that_some_periods_lack_is_the_sum_of_the_others() -> None:  # T54
    found = read("seachat", METRIC, trend(day(1, BOT=4), day(2), day(3, BOT=5)), **MONTH)
    assert found.series == messages(bot=9)


def test_a_change_that_is_null_has_no_series() -> None:  # T59
    part: dict[str, object] = {"time_unit": "day", "data": [], "change_percent": None}
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == {}
    assert found.drift == {}


@pytest.mark.parametrize(
    ("percent", "ratio"),
    [
        pytest.param(12.5, 0.125, id="more"),
        pytest.param(-50, -0.5, id="less"),
        pytest.param(0, 0, id="same"),
        pytest.param(400, 4, id="five-times"),
    ],
)
def test_a_change_is_the_apis_own_as_a_ratio(percent: float, ratio: float) -> None:  # T59
    found = read("seachat", METRIC, trend(change_percent=percent), **MONTH)
    assert found.series == {'activity_trend_change_ratio{of="messages"}': ratio}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(True, id="boolean"),
        pytest.param(-1, id="negative"),
        pytest.param("many", id="text"),
        pytest.param(float("inf"), id="infinity"),
    ],
)
def test_a_sum_with_a_part_that_cannot_be_believed_is_not_shown(value: object) -> None:  # T85
    part = trend(day(1, BOT=4, AGENT=1), day(2, BOT=value, AGENT=2), day(3, BOT=5, AGENT=3))
    found = read("seachat", METRIC, part, **MONTH)
    assert found.series == messages(agent=6)
    assert found.drift == {"BOT": 1}


def test_a_row_without_a_readable_period_is_left_out_and_counted() -> None:  # T58
    rows = ({"BOT": 1}, {"period": None, "BOT": 2}, {"period": "Q1 2024", "BOT": 3}, day(1, BOT=4))
    found = read("seachat", METRIC, trend(*rows), **MONTH)
    assert found.series == messages(bot=4)
    assert found.drift == {"period": 3}


@pytest.mark.parametrize(
    ("message_type", "family"),
    [
        pytest.param("messages", "activity_trend_messages", id="messages"),
        pytest.param("calls", "activity_trend_calls", id="calls"),
    ],
)
def test_a_bare_count_is_the_total_of_what_was_asked(message_type: str, family: str) -> None:
    part = trend(day(1, count=4), day(2, count=5))
    found = read("seax", METRIC, part, message_type=message_type, **MONTH)
    assert found.series == {family: 9}


def test_a_total_beside_senders_is_not_shown_as_it_would_count_twice() -> None:
    found = read("seax", METRIC, trend(day(1, BOT=4, count=10)), **MONTH)
    assert found.series == messages(bot=4)


def test_calls_are_a_report_of_their_own() -> None:  # T42
    assert entry("seachat", METRIC).name == "activity_trend"
    assert entry("seachat", METRIC, message_type="calls").name == "activity_trend_calls"


@pytest.mark.parametrize(
    ("other", "collides"),
    [
        pytest.param({}, True, id="same"),
        pytest.param({"time_unit": "month"}, True, id="another-time-unit"),
        pytest.param({"message_type": "calls"}, False, id="calls"),
        pytest.param({"window": "yesterday"}, False, id="another-window"),
    ],
)
def test_what_is_counted_and_the_window_keep_entries_apart(
    other: dict[str, Any], *, collides: bool
) -> None:
    one, two = entry("seachat", METRIC), entry("seachat", METRIC, **other)
    assert one.report.collides(one.options, two.options, JANUARY.date()) is collides


@pytest.mark.parametrize("api", ["seachat", "portal", "seax"])
def test_every_field_is_sent_and_nothing_is_left_to_the_api(api: str) -> None:  # T24, T26, T37
    fields = entry(api, METRIC, "Asia/Taipei").fields
    assert fields.keys() == {"message_type", "time_unit", "timezone", "start_date", "end_date"}
    assert fields["time_unit"] == "day"
    assert fields["message_type"] == "messages"
    assert fields["timezone"] == "Asia/Taipei"


def test_the_days_of_a_reading_are_those_of_its_request() -> None:
    wanted = entry("seachat", METRIC, "Pacific/Kiritimati", window="yesterday")
    assert wanted.reading(JANUARY).days == Period(JANUARY.date(), JANUARY.date())


def test_a_period_that_comes_twice_counts_once_if_it_says_the_same() -> None:
    same = read("seachat", METRIC, trend(day(1, BOT=4), day(2, BOT=5), day(1, BOT=4)), **MONTH)
    assert same.series == messages(bot=9)
    assert same.drift == {"data": 1}
    other = read("seachat", METRIC, trend(day(1, BOT=4), day(1, BOT=5)), **MONTH)
    assert other.series == messages(bot=9)  # of two that differ, each may be a part
    assert other.drift == {"period": 1}


def test_rows_of_which_nothing_can_be_read_are_a_failure() -> None:
    for rows in (
        [day(1, BOT="n/a", CUSTOMER="n/a")],
        [{"period": "Q1 2024", "BOT": 4}],
        [day(1, bots=4), day(2, bots=5)],
    ):
        with pytest.raises(ReplyError, match="activity_trend: nothing in it can be read"):
            read("seachat", METRIC, trend(*rows), **MONTH)
