"""What must hold of the exporter as a process, whatever the API, the host and the operator do."""

import pytest
from faults import processes
from faults.processes import STATES, WAYS

pytestmark = pytest.mark.takes_minutes


def test_the_page_is_served_while_connections_break_and_the_host_is_out_of_order() -> None:
    found = processes.scraped(10)
    assert found.faults > 2  # so many that the breaker opens
    assert found.wrong == []
    assert found.slowest < 5


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_between_it_and_the_api_is_told_and_gets_no_key(way: str) -> None:
    found = processes.cut_off(way, seconds=1)
    assert (found.unready, found.wrong) == (0, [])


@pytest.mark.parametrize("how", STATES)
def test_no_row_of_kills_makes_it_ask_more_than_was_allowed(how: str) -> None:
    found = processes.kills(4, how, state=True, longest=2.0)
    assert (found.wrong, found.beyond) == ([], 0)


@pytest.mark.parametrize("hang", [True, False], ids=["no-answer", "slow-reader"])
def test_it_ends_in_time_and_asks_nothing_more_whatever_is_in_flight(hang: bool) -> None:
    found = processes.terms(3, hang=hang)
    assert (found.unready, found.wrong) == (0, [])
    assert found.slowest < 10
