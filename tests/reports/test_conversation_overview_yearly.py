from datetime import UTC, datetime, timedelta

import pytest
from support.entries import JANUARY, entry, read

from exporter.errors import ReplyError
from exporter.model.report import Edge
from exporter.model.windows import LAST_YEAR, THIS_YEAR

METRIC = "conversation_overview_yearly"
NEW_YEARS_EVE = datetime(2024, 12, 31, 12, tzinfo=UTC)


def months(year: str = "2024", **counts: float) -> dict[str, float]:
    family = "conversation_overview_yearly_month_messages"
    return {f'{family}{{year="{year}",month="{name[1:]}"}}': n for name, n in counts.items()}


def of_year(year: str, what: str) -> str:
    return f'conversation_overview_yearly_{what}{{year="{year}"}}'


def test_a_year_that_comes_in_a_list_is_the_same_year() -> None:  # T50
    totals = {"total_conversations": 1450, "total_messages": 8700}
    listed = read("portal", METRIC, {"metric": METRIC, "data": [totals]})
    assert listed == read("portal", METRIC, {"metric": METRIC} | totals)
    assert listed.series == {
        of_year("2024", "conversations"): 1450,
        of_year("2024", "messages"): 8700,
    }


def test_two_years_are_a_failure() -> None:  # T79
    with pytest.raises(ReplyError):
        read("portal", METRIC, {"data": [{"total_messages": 1}, {"total_messages": 2}]})


def test_months_come_in_several_spellings_and_others_are_counted() -> None:  # T63
    part = {
        "total_messages": 15000,
        "monthly_messages": {"january": 1, "Feb": 2, "3": 3, "Enero": 4, "+1206123456789": 5},
    }
    found = read("seachat", METRIC, part)
    expected = {of_year("2024", "messages"): 15000} | months(_01=1, _02=2, _03=3)
    assert found.series == expected
    assert found.drift == {"monthly_messages": 2}
    assert "+1206123456789" not in repr(found)


def test_a_month_that_the_api_leaves_out_has_no_series() -> None:  # T63, R-ZERO
    part = {"monthly_messages": {"January": 600, "February": 0, "March": None}}
    found = read("portal", METRIC, part)
    assert found.series == months(_01=600, _02=0)


@pytest.mark.parametrize(
    ("year", "instant", "zone", "expected"),
    [
        pytest.param("current", NEW_YEARS_EVE, "UTC", "2024", id="current"),
        pytest.param("previous", NEW_YEARS_EVE, "UTC", "2023", id="previous"),
        pytest.param("2019", NEW_YEARS_EVE, "UTC", "2019", id="fixed"),
        pytest.param("current", NEW_YEARS_EVE, "Pacific/Kiritimati", "2025", id="zone-ahead"),
        pytest.param(
            "current",
            NEW_YEARS_EVE + timedelta(hours=12),
            "America/Los_Angeles",
            "2024",
            id="zone-behind",
        ),
    ],
)
def test_the_label_is_the_year_that_was_sent(
    year: str, instant: datetime, zone: str, expected: str
) -> None:  # T34
    wanted = entry("seachat", METRIC, zone, year=year)
    sent = wanted.fields["year"]
    today = instant.astimezone(wanted.zone).date()
    assert (sent.on(today) if isinstance(sent, Edge) else sent) == expected
    found = read("seachat", METRIC, {"total_messages": 1}, instant, zone, year=year)
    assert found.series == {of_year(expected, "messages"): 1}


def test_the_year_is_asked_in_the_configured_zone_without_dates() -> None:  # T34, T37
    assert entry("seachat", METRIC, "Asia/Taipei").fields == {
        "timezone": "Asia/Taipei",
        "year": Edge(THIS_YEAR, "year"),
    }
    assert entry("seachat", METRIC, year="previous").fields["year"] == Edge(LAST_YEAR, "year")


@pytest.mark.parametrize(
    ("year", "withdrawn"),
    [
        pytest.param("current", datetime(2025, 1, 1, tzinfo=UTC), id="current"),
        pytest.param("previous", datetime(2025, 1, 1, tzinfo=UTC), id="previous"),
        pytest.param("2024", None, id="fixed"),
    ],
)
def test_a_year_that_follows_the_calendar_is_withdrawn_at_new_year(
    year: str, withdrawn: datetime | None
) -> None:  # T82
    assert entry("seachat", METRIC, year=year).withdrawn(JANUARY) == withdrawn


@pytest.mark.parametrize(
    ("one", "two", "collides"),
    [
        pytest.param("current", "current", True, id="same"),
        pytest.param("current", "previous", False, id="two-that-follow"),
        pytest.param("2019", "2020", False, id="two-fixed"),
        pytest.param("current", "2024", True, id="this-year"),
        pytest.param("2025", "current", True, id="will-be-this-year"),
        pytest.param("current", "2023", False, id="never-again-this-year"),
        pytest.param("previous", "2023", True, id="last-year"),
        pytest.param("previous", "2024", True, id="will-be-last-year"),
        pytest.param("previous", "2022", False, id="never-again-last-year"),
    ],
)
def test_years_that_are_or_become_the_same_are_not_asked_twice(
    one: str, two: str, *, collides: bool
) -> None:
    first, second = entry("seachat", METRIC, year=one), entry("seachat", METRIC, year=two)
    today = NEW_YEARS_EVE.date()
    assert first.report.collides(first.options, second.options, today) is collides


def test_a_year_goes_alone_and_seldom() -> None:
    wanted = entry("seachat", METRIC)
    assert wanted.report.alone
    assert wanted.interval == timedelta(hours=6)
