import pytest
from pydantic_core import from_json
from support.entries import read

from exporter.errors import ReplyError

METRIC = "communication_volume"
INBOUND = 'communication_volume_calls{direction="inbound"}'
OUTBOUND = 'communication_volume_calls{direction="outbound"}'
NON_VOICE = 'communication_volume_non_voice_messages{direction="inbound"}'


def test_portals_volume_of_today_is_the_same_report() -> None:  # T21
    counts = {"inbound_voice_count": 12, "outbound_voice_count": 5, "inbound_non_voice_count": 180}
    part = {"metric": "today_communication_volume", "time_unit": "day", "data": [counts]}
    of_portal = read("portal", "today_communication_volume", part)
    assert of_portal == read("seachat", METRIC, counts)
    assert of_portal.series == {INBOUND: 12, OUTBOUND: 5, NON_VOICE: 180}


def test_two_objects_are_a_failure_and_never_the_first_of_them() -> None:  # T79
    part = {
        "metric": "today_communication_volume",
        "time_unit": "day",
        "data": [{"inbound_voice_count": 1}, {"inbound_voice_count": 2}],
    }
    with pytest.raises(ReplyError):
        read("portal", "today_communication_volume", part)


def test_outbound_messages_are_not_made_up() -> None:  # T80
    found = read("seachat", METRIC, {"inbound_voice_count": 1, "outbound_non_voice_count": 7})
    assert found.series == {INBOUND: 1}


def test_zero_is_zero_and_null_or_absent_is_nothing() -> None:  # R-ZERO
    found = read("seachat", METRIC, {"inbound_voice_count": 0, "outbound_voice_count": None})
    assert found.series == {INBOUND: 0}
    assert found.drift == {}


def test_only_numbers_that_can_be_believed_are_shown() -> None:  # T85
    part = {
        "inbound_voice_count": True,
        "outbound_voice_count": "12",
        "inbound_non_voice_count": -1,
    }
    found = read("seachat", METRIC, part)
    assert found.series == {OUTBOUND: 12}
    assert found.drift == {"inbound_voice_count": 1, "inbound_non_voice_count": 1}


def test_a_constant_that_is_not_json_is_no_answer() -> None:  # T86
    with pytest.raises(ValueError, match="expected value"):
        from_json(b'{"inbound_voice_count": NaN}', allow_inf_nan=False)


def test_a_number_that_overflows_is_absent_and_counted() -> None:  # T86
    part = from_json(
        b'{"outbound_voice_count": 1e999, "inbound_non_voice_count": 1}', allow_inf_nan=False
    )
    found = read("seachat", METRIC, part)
    assert found.series == {NON_VOICE: 1}
    assert found.drift == {"outbound_voice_count": 1}
