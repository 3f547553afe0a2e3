"""When each call is sent: at a stable place of its interval, and once more before midnight. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil
from typing import Final

from exporter.durations import show
from exporter.plan import Call, fraction
from exporter.windows import DAY, TODAY, begins, local_day

RETRY_AFTER: Final = timedelta(minutes=10)
"""How soon a failed report is asked for again, where its interval is longer."""

DONE_BEFORE_MIDNIGHT: Final = timedelta(seconds=90)
"""When the last of the polls before midnight is sent: early enough to be answered by 23:59."""

USUAL_ANSWER: Final = timedelta(seconds=5)
"""How long an answer is thought to take when the polls before midnight are spread."""

_SHORTEST_LEAD: Final = timedelta(minutes=1)
_LONGEST_LEAD: Final = timedelta(hours=6)
_MARGIN: Final = 1.25


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When one call is due, again and again.

    Attributes:
        interval: Between two turns.
        phase: Its place in the interval, counted from the Unix epoch.
        zone: Where midnight is local.
        before_midnight: How long before local midnight there is one more turn; None for none.
    """

    interval: timedelta
    phase: timedelta
    zone: tzinfo
    before_midnight: timedelta | None = None

    def after(self, now: datetime) -> datetime:
        """The first turn after an instant."""
        since = now - _EPOCH - self.phase
        turn = _EPOCH + self.phase + self.interval * (since // self.interval + 1)
        if self.before_midnight is None:
            return turn
        today = local_day(now, self.zone)
        last = begins(today + DAY, self.zone) - self.before_midnight
        if last <= now:
            last = begins(today + 2 * DAY, self.zone) - self.before_midnight
        return min(turn, last)

    def after_failure(self, now: datetime) -> datetime:
        """The next turn of a call that has just failed."""
        return min(self.after(now), now + RETRY_AFTER)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def phase(identity: str, interval: timedelta) -> timedelta:
    """A place in the interval that is the same in every life of the process."""
    return interval * fraction(identity)


def rhythms(
    calls: Iterable[Call], per_minute: float, concurrency: int, zone: tzinfo
) -> Mapping[Call, Rhythm]:
    """The rhythm of each of a workspace's calls.

    Args:
        calls: All of them, as they share the rate.
        per_minute: The rate that the workspace allows.
        concurrency: How many of its requests may be in flight.
        zone: Where its midnight is.
    """
    given = list(calls)
    last_polls = sorted(
        (call for call in given if any(entry.window == TODAY.name for entry in call.entries)),
        key=lambda call: call.place,
    )
    spare = per_minute - sum(timedelta(minutes=1) / call.interval for call in given)
    pace = min(max(spare, per_minute / 4), concurrency * (timedelta(minutes=1) / USUAL_ANSWER))
    needed = timedelta(minutes=_MARGIN * len(last_polls) / pace)
    lead = min(max(needed, _SHORTEST_LEAD), _LONGEST_LEAD)
    before = {
        call: DONE_BEFORE_MIDNIGHT + lead * (index / len(last_polls))
        for index, call in enumerate(last_polls)
    }
    return {
        call: Rhythm(call.interval, call.interval * call.place, zone, before.get(call))
        for call in given
    }


def real_interval(calls: Iterable[Call], per_minute: float) -> timedelta:
    """How often the calls that come too often for what is allowed can really be sent.

    As the one that has waited longest goes first, these all get the same interval; those that come
    more seldom keep theirs.

    Args:
        calls: All of a workspace, at least one.
        per_minute: How many requests are allowed.
    """
    intervals = sorted(call.interval for call in calls)
    left = per_minute - sum(timedelta(minutes=1) / interval for interval in intervals)
    found = intervals[0]
    for number, interval in enumerate(intervals, 1):
        left += timedelta(minutes=1) / interval
        if left > 0:
            found = timedelta(minutes=number / left)
            if number == len(intervals) or found <= intervals[number]:
                break
    return max(found, intervals[0])


def requests_per_hour(calls: Iterable[Call]) -> float:
    """How many requests an hour takes, without those before midnight and those after failures."""
    return sum(timedelta(hours=1) / call.interval for call in calls)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A setting that allows fewer requests than the intervals ask for.

    Attributes:
        setting: Its name.
        allowed: What it allows.
        needed: The least that would be enough.
        consequence: What happens, in words.
    """

    setting: str
    allowed: int
    needed: int
    consequence: str

    def __str__(self) -> str:
        """The shortage in one line."""
        return (
            f"{self.setting} {self.allowed} is too low for the intervals, which need {self.needed}:"
            f" {self.consequence}"
        )


def load(calls: Iterable[Call], per_minute: int, per_day: int | None) -> float:
    """What the intervals ask for as a share of what is allowed; above 1 they cannot be kept."""
    hourly = requests_per_hour(calls)
    return max(hourly / (60 * per_minute), hourly * 24 / per_day if per_day else 0)


def shortages(calls: Iterable[Call], per_minute: int, per_day: int | None) -> Iterator[Shortage]:
    """The settings of a workspace that its calls are too many for."""
    given = list(calls)
    hourly = requests_per_hour(given)
    if hourly > 60 * per_minute:
        real = show(real_interval(given, per_minute))
        yield Shortage(
            "requests_per_minute",
            per_minute,
            ceil(hourly / 60),
            f"what is to be polled more often is polled every {real}",
        )
    if per_day and hourly * 24 > per_day:
        end = show(timedelta(hours=per_day / hourly))
        yield Shortage(
            "requests_per_day", per_day, ceil(hourly * 24), f"they are spent {end} after midnight"
        )
