"""What must hold whatever the API does: more than a day of faults on virtual time."""

from collections import Counter
from functools import cache

import pytest
from faults import campaign, judges
from faults.campaign import Figures, Plan
from faults.kinds import KINDS

pytestmark = pytest.mark.takes_minutes


@cache
def day() -> Figures:
    """Thirty virtual hours in which most requests go wrong."""
    return campaign.run(Plan(hours=30, share=0.7, scrape=300))


def test_two_thousand_faults_of_every_kind_end_nothing() -> None:
    figures = day()
    assert figures.faults.total() >= 2000
    assert KINDS.keys() <= figures.faults.keys()
    assert figures.unwell == []


def test_every_page_can_be_read_and_every_value_on_it_was_served() -> None:
    figures = day()
    assert figures.values > 40_000
    assert (figures.wrongs, figures.wrong) == (0, [])


def test_the_api_is_never_asked_more_than_was_allowed() -> None:
    assert 0 < day().burst <= 10


def test_whoever_asks_to_be_left_alone_is_left_alone() -> None:
    assert day().wishes > 50
    assert day().early == 0


def test_what_was_refused_for_good_is_not_asked_again_at_once() -> None:
    assert day().finals > 50
    assert day().retried == 0


def test_the_key_goes_to_its_own_host_alone() -> None:
    assert day().strangers == 0


def test_nothing_private_is_in_a_page_or_a_log() -> None:
    figures = day()
    assert figures.scanned > 100_000
    assert figures.hits == []


def test_after_faults_values_are_fresh_within_an_interval() -> None:
    assert day().unrecovered == []
    figures = campaign.run(campaign.spells(hours=7))
    assert figures.unrecovered == []
    assert len(figures.recovered) > 100
    assert max(figures.recovered) <= campaign.SOON


def test_reloads_and_clocks_that_are_set_harm_nothing_that_they_do_not_change() -> None:
    figures = campaign.run(Plan(hours=8, share=0.3, scrape=300, reloads=18, clocks=12, leaks=False))
    assert {"H20 reload", "H06 the clock is set"} <= figures.faults.keys()
    assert (figures.wrong, figures.unwell, figures.early) == ([], [], 0)
    assert figures.burst <= 10


def test_a_fault_of_one_bot_delays_no_other() -> None:
    # But for what the API asks of the whole workspace: to be left alone for a while.
    figures = campaign.run(campaign.victim(hours=4))
    assert figures.faults.total() > 50
    assert figures.delayed == []
    assert figures.wrong == []


@cache
def calls(share: float) -> Counter[str]:
    """How many requests there are in four hours, where so many fail that a retry may help."""
    return campaign.run(campaign.storm(share)).requests


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_failures_make_no_storm(share: float) -> None:
    planned = calls(0.0)
    assert {
        name: judges.too_many(number, planned[name]) for name, number in calls(share).items()
    } == dict.fromkeys(planned, 0.0)
