"""How long the API asks to be left alone, in every form that it may say so."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from exporter.upstream.retry_after import LONGEST, clock_ahead, seconds

NOW = datetime(2019, 6, 3, 11, 0, tzinfo=UTC)


def asked(header: str = "", date: str = "", answer: object = None) -> float | None:
    return seconds(header, date, answer, NOW)


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        ("0", 0),
        ("120", 120),
        (" 42 ", 42),
        ("007", 7),
        ("86400", 86400),
        ("86401", LONGEST),
        ("9" * 40, LONGEST),
        ("1" * 5000, LONGEST),
        ("120.5", 121),
        ("120.0", 120),
        ("0.5", 1),
    ],
    ids=lambda value: str(value)[:12],
)
def test_seconds_are_taken_as_they_are_up_to_a_day(header: str, wish: float) -> None:
    assert asked(header) == wish <= timedelta(days=1).total_seconds()


@pytest.mark.parametrize(
    "header",
    [
        *(
            "-1",
            "+1",
            "1.",
            ".5",
            "1.5.1",
            "1e9",
            "\N{SUPERSCRIPT TWO}",
            "\uff11\uff12",
            "soon",
            "",
            "soon, now",
        ),
        *("Wed, 99 Oct 2019 11:30:12 GMT", "Mon, 03 Jun 2019", "Mon, 03 Jun 2019 11:30:12 PST"),
    ],
    ids=ascii,
)
def test_what_is_no_time_is_no_wish(header: str) -> None:
    assert asked(header) is None


@pytest.fixture(params=["UTC", "Asia/Jerusalem", "America/New_York"])
def _host_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


FORMS = [
    "Mon, 03 Jun 2019 11:30:12 GMT",
    "Monday, 03-Jun-19 11:30:12 GMT",
    "Mon Jun  3 11:30:12 2019",
]


@pytest.mark.usefixtures("_host_zone")
@pytest.mark.parametrize("form", FORMS)
def test_a_date_is_utc_in_each_of_its_forms_wherever_the_host_is(form: str) -> None:
    assert asked(form) == 1812


@pytest.mark.parametrize("form", FORMS)
def test_a_date_counts_from_the_apis_own_clock_where_it_tells_it(form: str) -> None:
    assert asked(form, date="Mon, 03 Jun 2019 11:30:00 GMT") == 12
    assert asked(form, date="no date") == 1812


def test_a_date_that_is_far_off_is_no_clock() -> None:
    assert asked(FORMS[0], date="Mon, 03 Jun 2013 11:30:00 GMT") == 1812
    assert asked(FORMS[0], date="Wed, 05 Jun 2019 11:30:00 GMT") == 1812
    assert asked(FORMS[0], date="Mon, 03 Jun 2019 01:30:12 GMT") == 36_000


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("5, 120, 60", 120),
        ("60, Mon, 03 Jun 2019 11:30:12 GMT", 1812),
        ("Mon, 03 Jun 2019 11:30:12 GMT, Monday, 03-Jun-19 12:00:00 GMT, soon", 3600),
        ("soon, 7", 7),
    ],
)
def test_of_several_wishes_the_largest_counts(header: str, found: float) -> None:
    assert asked(header) == found


def test_a_number_above_a_thousand_million_is_an_instant() -> None:
    at = int(NOW.timestamp())
    assert asked(str(at + 90)) == 90
    assert asked(str(at - 90)) == 0
    assert asked(str(at + 10**6)) == LONGEST
    assert asked(answer={"retry_after": at + 90}) == 90
    assert asked(answer={"retry_after": str(at + 90)}) == 90
    assert asked(str(at), date="Mon, 03 Jun 2019 10:59:00 GMT") == 60


def test_a_date_that_is_past_is_no_wait_and_one_far_ahead_a_day() -> None:
    assert asked("Mon, 03 Jun 2019 10:59:59 GMT") == 0
    assert asked("Mon, 03 Jun 2119 10:59:59 GMT") == LONGEST


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (60, 60),
        (1.5, 1.5),
        ("60", 60),
        ("1.5", 2),
        (0, 0),
        (86400, 86400),
        (90000, LONGEST),
        ("90000", LONGEST),
        (10**400, LONGEST),
    ],
    ids=lambda value: ascii(value)[:12],
)
def test_the_body_is_asked_where_the_header_says_nothing(wish: object, found: float) -> None:
    answer = {"error": "Rate Limit Exceeded", "retry_after": wish}

    assert asked(answer=answer) == found
    assert asked("soon", answer=answer) == found
    assert asked("5", answer=answer) == 5


@pytest.mark.parametrize(
    "wish",
    [-1, float("nan"), True, None, "", "-1", "soon", [60], {}],
    ids=lambda value: ascii(value)[:12],
)
def test_a_body_without_a_believable_wish_has_none(wish: object) -> None:
    assert asked(answer={"retry_after": wish}) is None


@pytest.mark.parametrize("answer", [None, [], "retry_after", 60, {"detail": "no"}], ids=ascii)
def test_any_other_body_has_none(answer: object) -> None:
    assert asked(answer=answer) is None


@given(st.text(), st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists))
def test_whatever_is_said_a_wish_is_between_nothing_and_a_day(
    header: str, date: str, wish: object
) -> None:
    found = asked(header, date, {"retry_after": wish})

    assert found is None or 0 <= found <= LONGEST


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Mon, 03 Jun 2019 11:00:00 GMT", 0),
        ("Mon, 03 Jun 2019 11:05:00 GMT", 300),
        ("Mon, 03 Jun 2019 10:59:59 GMT", -1),
        ("", None),
        ("yesterday", None),
        ("Mon, 03 Jun 2019 11:00:00 GMT, Mon, 03 Jun 2019 11:00:00 GMT", None),
    ],
)
def test_a_date_says_how_far_the_servers_clock_is_ahead(date: str, ahead: float | None) -> None:
    assert clock_ahead(date, NOW) == ahead
