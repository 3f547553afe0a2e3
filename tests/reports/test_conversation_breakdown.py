import pytest
from support.entries import read

METRIC = "conversation_breakdown"


def users(**channels: float) -> dict[str, float]:
    family = "conversation_breakdown_channel_users"
    return {f'{family}{{channel="{name}"}}': n for name, n in channels.items()}


def written(channel: str, direction: str = "") -> str:
    of = f',direction="{direction}"' if direction else ""
    return f'conversation_breakdown_channel_messages{{channel="{channel}"{of}}}'


def by_hour(**hours: float) -> dict[str, float]:
    family = "conversation_breakdown_hour_messages"
    return {f'{family}{{hour="{name[1:]}"}}': n for name, n in hours.items()}


def by_weekday(**days: float) -> dict[str, float]:
    family = "conversation_breakdown_weekday_messages"
    return {f'{family}{{weekday="{name}"}}': n for name, n in days.items()}


def test_hours_and_weekdays_come_in_several_spellings_and_others_are_counted() -> None:  # T64
    part = {
        "messages_by_hour": {"00": 5, "9": 2, "24": 1, "\u0661": 3, "-1": 4},
        "messages_by_day": {"MONDAY": 1, "tue": 2, "Funday": 3},
    }
    found = read("seachat", METRIC, part)
    assert found.series == by_hour(_00=5, _09=2) | by_weekday(Monday=1, Tuesday=2)
    assert found.drift == {"messages_by_hour": 3, "messages_by_day": 1}


def test_an_hour_or_weekday_that_the_api_leaves_out_has_no_series() -> None:  # T64, R-ZERO
    part = {
        "messages_by_hour": {"9": 0, "14": None},
        "messages_by_day": {"Monday": 0, "Friday": None},
    }
    found = read("seax", METRIC, part)
    assert found.series == by_hour(_09=0) | by_weekday(Monday=0)
    assert found.drift == {}


def test_one_hour_in_two_spellings_is_one_series_and_drift() -> None:
    found = read("seachat", METRIC, {"messages_by_hour": {"9": 2, "09": 3}})
    assert found.series == by_hour(_09=5)
    assert found.drift == {"other": 1}


def test_a_channel_keeps_the_apis_spelling_and_a_phone_number_is_none() -> None:  # T65
    part = {
        "channel_summary": {
            "WEBCHAT": {"user_count": 1},
            "WebChat": {"user_count": 2},
            "SeaX_SMS": {"user_count": 3},
            "+1206123456789": {"user_count": 4},
        }
    }
    found = read("seachat", METRIC, part)
    assert found.series == users(WEBCHAT=1, WebChat=2, SeaX_SMS=3, redacted=4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("微信", id="not-ascii"),
        pytest.param("x" * 33, id="long"),
        pytest.param("7up", id="digit-first"),
        pytest.param("<b>", id="markup"),
        pytest.param('a"b', id="quote"),
    ],
)
def test_what_does_not_look_like_a_channel_is_other_and_drift(name: str) -> None:  # T65
    found = read("seachat", METRIC, {"channel_summary": {name: {"user_count": 1}}})
    assert found.series == users(other=1)
    assert found.drift == {"channel_summary": 1}


def test_a_channel_without_a_name_is_unnamed() -> None:
    assert read("seachat", METRIC, {"channel_summary": {"": {"user_count": 1}}}).series == users(
        unnamed=1
    )


def test_unknown_channels_are_one_series_and_drift() -> None:  # T65
    part = {"channel_summary": {"微信": {"user_count": 1}, "<b>": {"user_count": 2}}}
    found = read("seachat", METRIC, part)
    assert found.series == users(other=3)
    assert found.drift == {"channel_summary": 2, "other": 1}


def test_a_bare_message_count_is_the_channels_total() -> None:  # T66
    part = {"channel_summary": {"SMS": {"user_count": 80, "message_count": 800}}}
    found = read("seax", METRIC, part)
    assert found.series == users(SMS=80) | {written("SMS"): 800}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param(
            {"inbound_message_count": 3, "outbound_message_count": 4, "total_message_count": 9},
            {written("SMS", "inbound"): 3, written("SMS", "outbound"): 4},
            id="directions-before-total",
        ),
        pytest.param(
            {"inbound_message_count": 3, "total_message_count": 9},
            {written("SMS", "inbound"): 3},
            id="one-direction-before-total",
        ),
        pytest.param(
            {"total_message_count": 9, "message_count": 8}, {written("SMS"): 9}, id="one-total"
        ),
        pytest.param({"inbound_message_count": 3}, {written("SMS", "inbound"): 3}, id="portal"),
        pytest.param({"inbound_message_count": 0}, {written("SMS", "inbound"): 0}, id="zero"),
        pytest.param({"total_message_count": None}, {}, id="null"),
    ],
)
def test_a_channels_total_is_neither_made_up_nor_counted_twice(
    counts: dict[str, object], expected: dict[str, float]
) -> None:  # T66
    found = read("seachat", METRIC, {"channel_summary": {"SMS": counts}})
    assert found.series == expected


def test_a_total_does_not_stand_in_for_a_direction_that_cannot_be_believed() -> None:  # T66, T85
    channel = {"inbound_message_count": True, "total_message_count": 9}
    part = {"channel_summary": {"SMS": channel}, "messages_by_hour": {"0": 424}}
    found = read("seachat", METRIC, part)
    assert found.series == by_hour(_00=424)
    assert found.drift == {"inbound_message_count": 1}


def test_sums_that_contradict_each_other_are_shown_as_they_are() -> None:  # T62
    part = {
        "channel_summary": {"SMS": {"inbound_message_count": 470}},
        "messages_by_day": {"Monday": 1},
        "messages_by_hour": {"0": 424},
    }
    found = read("portal", METRIC, part)
    expected = {written("SMS", "inbound"): 470} | by_weekday(Monday=1) | by_hour(_00=424)
    assert found.series == expected


@pytest.mark.parametrize(
    ("part", "field"),
    [
        pytest.param({"channel_summary": [1]}, "channel_summary", id="list-of-channels"),
        pytest.param({"channel_summary": {"SMS": 80}}, "channel_summary", id="bare-number"),
        pytest.param({"messages_by_day": "many"}, "messages_by_day", id="text-for-days"),
        pytest.param({"messages_by_hour": [5, 2]}, "messages_by_hour", id="list-of-hours"),
    ],
)
def test_one_map_of_another_shape_does_not_take_the_others_down(
    part: dict[str, object], field: str
) -> None:
    others = {"messages_by_day": {"Monday": 1}, "messages_by_hour": {"9": 2}}
    found = read("seachat", METRIC, others | part)
    expected = by_weekday(Monday=1) | by_hour(_09=2)
    assert found.series.items() <= expected.items()
    assert found.series
    assert found.drift == {field: 1}


def test_the_users_of_a_channel_say_that_they_do_not_add_up() -> None:  # T83
    found = read("seachat", METRIC, {"channel_summary": {"SMS": {"user_count": 1}}})
    assert "not additive" in found.samples[0].family.help
