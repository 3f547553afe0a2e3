"""The shipped alerts over weeks of made-up bots: quiet while all is well, and soon when it is not.

`benchmarks/alerts` does it with fifty bots and more of all.
"""

from collections.abc import Iterator
from typing import Final

import pytest
from e2e.programs import program

from benchmarks import alerts
from benchmarks.alerts import INCIDENTS, Told, incidents

pytestmark = pytest.mark.takes_minutes

HEALTHY: Final = 4
WEEKS: Final = 4
"""Two for what is usual, and two that are judged."""

SHOWN_AT_ONCE: Final = (
    "a bot of 8,000 messages a day gets none",
    "a bot of 400 loops fifty-fold",
    "three times as many want an agent",
    "the API fails for a bot",
)


@pytest.fixture(autouse=True, scope="module")
def promtool() -> Iterator[None]:
    """The promtool of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "PROMTOOL", program("promtool"))
        yield


@pytest.fixture(scope="module")
def fortnight() -> tuple[list[Told], dict[str, int]]:
    """When the incidents were told, and how many healthy bots each alert hit, in ordinary life."""
    chosen = [one for one in INCIDENTS if one.what in SHOWN_AT_ONCE]
    told, others = incidents(chosen, HEALTHY, WEEKS, 1, judged=WEEKS // 2)
    return told, dict(others)


def test_healthy_bots_raise_no_alert(
    fortnight: tuple[list[Told], dict[str, int]],
) -> None:
    _, others = fortnight
    assert others == {}


def test_each_incident_is_told_soon_enough(fortnight: tuple[list[Told], dict[str, int]]) -> None:
    told, _ = fortnight
    assert [one.incident.what for one in told if not one.good] == []
    assert {one.incident.what for one in told} == set(SHOWN_AT_ONCE)


def test_a_query_that_fails_is_no_quiet_month() -> None:
    series = [(f'up{{job="seasalt",instance="{at}"}}', "1x200") for at in range(3)]
    assert alerts.answered(series, 'sum by (alertname) (ALERTS{alertname="none"})', [0]) == []
    with pytest.raises(RuntimeError, match="err:"):
        alerts.answered(series, "up / on () up", [0])


def test_an_alert_from_before_an_incident_does_not_tell_it() -> None:
    incident = INCIDENTS[0]
    assert Told(incident, incident.within, ("SeasaltBotSilent",)).good
    assert not Told(incident, incident.within + 10, ("SeasaltBotSilent",)).good
    assert not Told(incident, -10, ("SeasaltBotSilent",)).good
    assert not Told(incident, None, ()).good
