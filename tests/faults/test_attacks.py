"""What an attacker costs everybody else: a few seconds of each attack.

`tests/endure` lets each go on for minutes, and looks at how long a scrape takes: here that would
measure the machine.
"""

from typing import Final

import pytest
from faults.attacks import ATTACKS, attacked

pytestmark = pytest.mark.takes_minutes

MOST: Final = 64 * 1024 * 1024
"""Bytes by which the exporter may grow."""


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_little_memory_and_nobody_a_scrape_or_a_right_value(name: str) -> None:
    harm = attacked(name, seconds=3, most_bots=200)
    assert harm.strikes > 0
    assert harm.refused == 0
    assert harm.wrong == []
    assert harm.most - harm.before < MOST
