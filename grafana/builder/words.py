"""What the panels say of time, and the numbers that alerts and panels share."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]

_ZONE: Final = "in each workspace's time zone"
TODAY: Final = f"Window: today, since local midnight {_ZONE}."
YESTERDAY: Final = f"Window: yesterday, the whole day, {_ZONE}."
LAST_7_DAYS: Final = f"Window: the last 7 days with today, {_ZONE}."
FOUR_WEEKS: Final = f"Window: four whole weeks up to yesterday, {_ZONE}: the last 29 days without today, which is unfinished."
LAST_29_DAYS: Final = f"Window: the last 29 days with today, {_ZONE}."
LAST_30_DAYS: Final = f"Window: the last 30 days with today, {_ZONE}."
THIS_MONTH: Final = f"Window: this month so far, {_ZONE}."
THIS_YEAR: Final = f"Window: this year so far, {_ZONE}."
ALL_TIME: Final = "Window: all time, whatever the time zone."
RANGE_DAY: Final = f"Window: the API's own last_day, asked for {_ZONE}."
RANGE_7_DAYS: Final = f"Window: the API's own last_7_days, asked for {_ZONE}."
RANGE_30_DAYS: Final = f"Window: the API's own last_30_days, asked for {_ZONE}."
NOW: Final = "Window: the last scrape, so the same in every time zone."
SHOWN: Final = "Window: the time range above, in your browser's time zone."

AXIS: Final = "The time axis is in your browser's time zone."
NEEDS_RULES: Final = "Needs the recording rules and two weeks of history"


def _thresholds() -> dict[str, float]:
    """The numbers of the file in which an operator changes them."""
    file = ROOT / "config" / "prometheus" / "rules" / "thresholds.yml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    rules = [rule for group in content["groups"] for rule in group["rules"]]
    found = ((rule["record"], re.fullmatch(r"vector\(([\d.]+)\)", rule["expr"])) for rule in rules)
    return {name.rpartition(":")[2]: float(number[1]) for name, number in found if number}


THRESHOLDS: Final = _thresholds()
CSAT_LOW: Final = THRESHOLDS["csat_low"]
CSAT_CRITICAL: Final = THRESHOLDS["csat_critical"]
SATISFACTION_LOW: Final = THRESHOLDS["satisfaction_low"]
VOLUME_DROPPED: Final = THRESHOLDS["volume_dropped"]
VOLUME_SPIKED: Final = THRESHOLDS["volume_spiked"]
RATING_STDDEV: Final = THRESHOLDS["rating_stddev"]
BLIND: Final = THRESHOLDS["blind_seconds"]
USAGE_OF_CONTRACT: Final = THRESHOLDS["usage_of_contract"]
LEAST_REQUESTS: Final = THRESHOLDS["agent_requests_least"]
LEAST_ANSWERS: Final = THRESHOLDS["csat_least_responses"]
LEAST_EXPECTED: Final = THRESHOLDS["ratio_least_expected"]
LATE: Final = THRESHOLDS["age_intervals"]

NOBODY_STEPS: Final = ((None, "text"), (0.0, "red"), (1.0, "text"))
SHARE_STEPS: Final = ((None, "text"), (0.0, "red"), (1.0, "text"))
"""All, or too few."""
AGE_STEPS: Final = ((None, "text"), (BLIND, "red"))
# What is missing has the colour of the first step, which so never means anything.
RATING_STEPS: Final = ((None, "text"), (0.0, "red"), (CSAT_CRITICAL, "orange"), (CSAT_LOW, "text"))
SATISFIED_STEPS: Final = ((None, "text"), (0.0, "orange"), (SATISFACTION_LOW, "text"))
ANY_STEPS: Final = ((None, "text"), (1.0, "red"))
"""One is too many."""
