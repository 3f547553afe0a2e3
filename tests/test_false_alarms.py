"""The shipped alerts over weeks of made-up bots: quiet while all is well, and soon when it is not.

`benchmarks/alerts` does it with fifty bots and more of all.
"""

from typing import Final

import pytest
from e2e.programs import program

from benchmarks import alerts
from benchmarks.alerts import INCIDENTS, Told, incidents

HEALTHY: Final = 8
WEEKS: Final = 4
"""Two for what is usual, and two that are judged."""

SHOWN_AT_ONCE: Final = (
    "a bot of 8,000 messages a day gets none",
    "a bot of 400 loops fifty-fold",
    "three times as many want an agent",
    "the API fails for a bot",
)


@pytest.fixture(scope="module")
def fortnight() -> tuple[list[Told], dict[str, int]]:
    """When the incidents were told, and how many healthy bots and workspaces each alert hit."""
    chosen = [one for one in INCIDENTS if one.what in SHOWN_AT_ONCE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "PROMTOOL", program("promtool"))
        told, others = incidents(chosen, HEALTHY, WEEKS, 1, judged=WEEKS // 2, ordinary=False)
    return told, dict(others)


def test_healthy_bots_raise_no_alert(fortnight: tuple[list[Told], dict[str, int]]) -> None:
    _, others = fortnight
    assert others == {}


def test_each_incident_is_told_within_half_an_hour_after_the_data_can_show_it(
    fortnight: tuple[list[Told], dict[str, int]],
) -> None:
    told, _ = fortnight
    assert [one.incident.what for one in told if not one.good] == []
    assert {one.incident.what for one in told} == set(SHOWN_AT_ONCE)
