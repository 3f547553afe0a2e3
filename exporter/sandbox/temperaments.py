"""Where the documents leave the API's behaviour open: other readings than the sandbox's own. Pure.

By default, the sandbox behaves as the documents say or, where they are silent, in one plausible
way. Each temperament is another plausible way, so that a client can be tried against both.
"""

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final


class Temperament(StrEnum):
    """One deviation from the sandbox's default; any number of them can be combined."""

    OLD_PATH = "old-path"
    """Portal answers under the path of the documents' samples only, not under "Endpoint"."""

    DATES_WIN = "dates-win"
    """If a request has both `range_type` and dates, the dates count; by default, the range does."""

    RANGE_OR_DATES = "range-or-dates"
    """A request with both `range_type` and dates is refused."""

    CALENDAR_RANGES = "calendar-ranges"
    """A range is the last whole local days; by default, so many times 24 hours up to now."""

    PARTIAL_BATCHES = "partial-batches"
    """A metric that cannot be computed has an error in its place, and the others are answered."""

    OPTIONAL_DATES = "optional-dates"
    """A metric that requires dates is computed over all time without them."""

    NULL_FOR_ZERO = "null-for-zero"
    """A figure that would be 0 is null."""

    NOTHING_FOR_ZERO = "nothing-for-zero"
    """A figure that would be 0 is left out."""

    SATISFACTION_RATIO = "satisfaction-ratio"
    """`satisfaction_rate` goes from 0 to 1."""

    CHANGE_RATIO = "change-ratio"
    """Changes against the period before are ratios: 0.1 for ten per cent more."""

    LOCAL_RATING_TIMES = "local-rating-times"
    """`created_at` of a rating is the workspace's local time."""

    WHOLE_DAYS = "whole-days"
    """Dates count as whole days: the time of day in them is ignored."""

    UTC_DATES = "utc-dates"
    """Dates without an offset are in UTC, whatever `timezone` says."""

    SILENT_MISSING_BOT = "silent-missing-bot"
    """A bot that does not exist has zeros."""

    FORBIDDEN_MISSING_BOT = "forbidden-missing-bot"
    """A bot that does not exist is answered like a key without permission."""

    IGNORED_BOT = "ignored-bot"
    """A bot that does not exist is ignored: the figures are the workspace's."""

    WORKSPACE_LABELS = "workspace-labels"
    """`label_overview` is the workspace's, even if a bot is named."""

    BOTS_SCOPE = "bots-scope"
    """The list of bots refuses the keys of the analytics API."""

    FAST_CLOCK = "fast-clock"
    """The header Date is five minutes ahead."""

    SLOW = "slow"
    """Every answer takes 35 seconds, within the 30 to 60 that the documents mention."""

    RATE_LIMIT = "rate-limit"
    """From the sixth request within a minute on, the answer is 429 with Retry-After."""


Temper = AbstractSet[Temperament]

CLOCK_AHEAD: Final = 300.0
DELAY: Final = 35.0
RETRY_AFTER: Final = 120
MOST_A_MINUTE: Final = 5
"""Seconds of `fast-clock`, of `slow` and in the header of `rate-limit`; requests of the last."""

_CHANGES: Final = ("change_percent", "change_percentage")


def tempered(part: object, temper: Temper) -> object:
    """A reply with its figures written as the temperaments have it."""
    if isinstance(part, list):
        return [tempered(item, temper) for item in part]
    if not isinstance(part, dict):
        return part
    found = {}
    for name, value in part.items():
        if isinstance(value, dict | list):
            found[name] = tempered(value, temper)
            continue
        figure = isinstance(value, int | float) and not isinstance(value, bool)
        if figure and value == 0:
            if Temperament.NOTHING_FOR_ZERO in temper:
                continue
            found[name] = None if Temperament.NULL_FOR_ZERO in temper else value
        elif figure and _is_ratio(name, temper):
            found[name] = round(value / 100, 4)
        else:
            found[name] = value
    return found


def _is_ratio(name: str, temper: Temper) -> bool:
    if name.endswith(_CHANGES):
        return Temperament.CHANGE_RATIO in temper
    return name == "satisfaction_rate" and Temperament.SATISFACTION_RATIO in temper
