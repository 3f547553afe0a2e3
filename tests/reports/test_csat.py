from datetime import UTC, datetime

import pytest
from support.entries import entry, read

from exporter.errors import ReplyError
from exporter.reports.csat import times

METRIC = "csat"


def ratings(**counts: float) -> dict[str, float]:
    return {f'csat_rating_responses{{rating="{name[1:]}"}}': n for name, n in counts.items()}


def test_a_satisfaction_rate_is_percent_whatever_its_size() -> None:  # T71
    part = {"total_responses": 200, "average_rating": 1.0, "satisfaction_rate": 0.5}
    assert read("seachat", METRIC, part).series == {
        "csat_responses": 200,
        "csat_average_rating": 1,
        "csat_satisfaction_ratio": 0.005,
    }


@pytest.mark.parametrize("none", [pytest.param(0, id="number"), pytest.param("0", id="digits")])
def test_without_answers_there_is_no_mean_of_them(none: object) -> None:  # T73
    part = {
        "total_responses": none,
        "average_rating": 0,
        "satisfaction_rate": 0.0,
        "rating_counts": {},
    }
    assert read("seachat", METRIC, part).series == {"csat_responses": 0}


def test_ratings_of_zero_answers_are_zero() -> None:  # T73, R-ZERO
    part = {"total_responses": 0, "rating_counts": {"4": 0, "5": None}}
    assert read("seachat", METRIC, part).series == {"csat_responses": 0} | ratings(_4=0)


def test_ratings_are_whole_numbers_of_any_scale_up_to_ten() -> None:  # T74
    part = {"total_responses": 3, "rating_counts": {"1": 0, "5": 1, "10": 1, "4.0": 1, "five": 1}}
    found = read("seachat", METRIC, part)
    assert found.series == {"csat_responses": 3} | ratings(_1=0, _5=1, _10=1, _4=1)
    assert found.drift == {"rating_counts": 1}


@pytest.mark.parametrize(
    "rating",
    [
        pytest.param("11", id="above-ten"),
        pytest.param("00999", id="padded"),
        pytest.param("0" * 5000, id="longer-than-python-converts"),
        pytest.param("4.5", id="half"),
        pytest.param("-1", id="negative"),
        pytest.param("\u0664", id="arabic-digit"),
        pytest.param("", id="empty"),
        pytest.param("+1206123456789", id="phone"),
    ],
)
def test_another_rating_is_left_out_and_counted(rating: str) -> None:  # T74
    found = read("seachat", METRIC, {"total_responses": 1, "rating_counts": {rating: 1}})
    assert found.series == {"csat_responses": 1}
    assert found.drift == {"rating_counts": 1}


def test_nothing_of_the_single_answers_is_read() -> None:  # T75, T76, T04
    part = {
        "total_responses": "call +1206123456789",
        "responses": [
            {
                "rating": 5,
                "data": {"comment": "CANARY-PII", "rating": 5.0},
                "conversation_title": "+1206123456789",
                "conversation_link": "http://127.0.0.1:9/x",
            }
        ],
    }
    with pytest.raises(ReplyError) as failed:
        read("seachat", METRIC, part)
    assert str(failed.value) == "csat: nothing in it can be read"
    found = read("seachat", METRIC, part | {"average_rating": 4})
    assert found.series == {"csat_average_rating": 4}
    assert found.drift == {"total_responses": 1}
    assert "1206123456789" not in repr(found)


def test_single_answers_of_any_shape_do_not_matter() -> None:  # T75
    figures = {"total_responses": 2, "average_rating": 3.5}
    for responses in (None, [], "text", [None, 1], {"comment": "x"}):
        found = read("seachat", METRIC, figures | {"responses": responses})
        assert found == read("seachat", METRIC, figures)


def test_it_is_asked_for_one_bot_with_dates() -> None:  # T25
    wanted = entry("seachat", METRIC)
    assert wanted.form.needs_bot
    assert {"start_date", "end_date"} <= wanted.fields.keys()


@pytest.mark.parametrize("enveloped", [False, True])
def test_of_the_responses_the_times_alone_are_read(enveloped: bool) -> None:
    rows: list[object] = [
        {"created_at": "2025-05-30T01:35:11.769173", "data": {"comment": "private"}},
        {"created_at": "2025-05-30T01:35:11Z"},
        *({"created_at": wrong} for wrong in ("soon", None, 7, ["2025-05-30"])),
        "2025-05-30T01:35:11",
        {},
    ]
    part = {"total_responses": 1, "responses": rows}

    assert times({"data": [part]} if enveloped else part) == (
        datetime(2025, 5, 30, 1, 35, 11, 769173),  # noqa: DTZ001 - the API names no zone
        datetime(2025, 5, 30, 1, 35, 11, tzinfo=UTC),
    )


@pytest.mark.parametrize("part", [None, 1, [], {}, {"responses": {"created_at": "2025-05-30"}}])
def test_without_responses_there_are_no_times(part: object) -> None:
    assert times(part) == ()
