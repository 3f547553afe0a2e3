"""When each call is sent: at a stable place of its interval, and once more before midnight. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

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


def requests_per_hour(calls: Iterable[Call]) -> float:
    """How many requests an hour takes, without those before midnight and those after failures."""
    return sum(timedelta(hours=1) / call.interval for call in calls)
