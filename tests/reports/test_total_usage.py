import pytest
from support.entries import JANUARY, entry, read

from exporter.errors import ReplyError
from exporter.model.report import ABSENT, Edge

METRIC = "total_usage"
VOICE = "total_usage_voice_seconds"
CHAT = "total_usage_chat_responses"


def test_minutes_become_seconds_and_the_time_unit_no_label() -> None:  # T26
    part = {
        "metric": "total_usage",
        "time_unit": "month",
        "data": [{"total_voice_minutes": 220, "total_chat_responses": 310}],
    }
    assert read("portal", METRIC, part).series == {VOICE: 13200, CHAT: 310}


@pytest.mark.parametrize(
    ("minutes", "seconds"),
    [
        pytest.param(220, 13200, id="integer"),
        pytest.param(450.5, 27030, id="float"),
        pytest.param("7", 420, id="digits"),
        pytest.param(0, 0, id="zero"),
    ],
)
def test_minutes_may_be_any_number(minutes: object, seconds: float) -> None:  # T78
    found = read("seachat", METRIC, {"total_voice_minutes": minutes})
    assert found.series == {VOICE: seconds}


def test_null_minutes_have_no_series() -> None:  # T78
    part = {"total_voice_minutes": None, "total_chat_responses": 1250}
    assert read("seax", METRIC, part).series == {CHAT: 1250}


def test_more_than_one_object_is_a_failure() -> None:  # T79
    with pytest.raises(ReplyError):
        read("portal", METRIC, {"data": [{"total_chat_responses": 1}] * 2})


@pytest.mark.parametrize("api", ["seachat", "portal", "seax"])
def test_dates_are_sent_and_a_time_unit_never(api: str) -> None:  # T24, T26
    fields = entry(api, METRIC).fields
    assert fields.keys() == {"timezone", "start_date", "end_date"}
    assert isinstance(fields["start_date"], Edge)
    assert isinstance(fields["end_date"], Edge)


def test_all_time_is_asked_for_by_leaving_the_dates_out() -> None:  # T24
    wanted = entry("seachat", METRIC, window="all")
    assert wanted.fields == {"timezone": "UTC", "start_date": ABSENT, "end_date": ABSENT}
    assert wanted.reading(JANUARY).days is None
    assert wanted.withdrawn(JANUARY) is None


def test_todays_usage_is_withdrawn_at_midnight() -> None:  # T82
    wanted = entry("portal", METRIC, "Asia/Taipei")
    midnight = wanted.withdrawn(JANUARY)
    assert midnight == JANUARY.replace(hour=16)
