"""When each call is sent: at a stable phase of its interval, and once more before midnight. Pure.

The phase spreads the calls over the interval. It is computed from digests of the call's target and
entries, so it needs no state and no coordination. It stays the same over restarts and reloads,
whichever other calls come or go. Turns are counted from the Unix epoch and not from the start of
the process, so a restart does not shift them.

Calls with the window `today` have an extra turn before local midnight, so that the last value of
the day is close to the day's total. These turns are spread too: the lower the spare rate and the
concurrency, the earlier they begin. The last one is sent 90 seconds before midnight.

All decisions are computed in exact fractions, because a comparison with a limit is often one of
equal numbers. 600 calls every ten minutes are exactly 60 a minute; a sum of floats might be
slightly more, and report a shortage that does not exist.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from math import ceil
from typing import Final, Protocol

from exporter.model.durations import show
from exporter.model.shards import WHOLE, Shard
from exporter.model.targets import fraction
from exporter.model.windows import DAY, TODAY, begins, local_day
from exporter.polling.plan import Call

RETRY_AFTER: Final = timedelta(minutes=10)
"""How soon a failed report is polled again if its interval is longer."""

DONE_BEFORE_MIDNIGHT: Final = timedelta(seconds=90)
"""How long before midnight the last extra turn is: early enough for an answer by 23:59."""

USUAL_ANSWER: Final = timedelta(seconds=5)
"""The assumed duration of a request when the extra turns before midnight are spread."""

_SHORTEST_LEAD: Final = timedelta(minutes=1)
_LONGEST_LEAD: Final = timedelta(hours=6)
_MARGIN: Final = Fraction(5, 4)

_TICK: Final = timedelta(microseconds=1)
_MINUTE: Final = timedelta(minutes=1)


class Turn(Protocol):
    """A repeated request: a call, or a page of the bot list."""

    @property
    def interval(self) -> timedelta:
        """The time between two turns."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The turns of one call.

    Attributes:
        interval: The time between two turns.
        phase: The place of the turns in the interval, counted from the Unix epoch.
        zone: The time zone of local midnight.
        before_midnight: How long before local midnight the extra turn is; None for no extra turn.
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
        """The next turn after a failure: in `RETRY_AFTER`, or the regular one if it is sooner."""
        return min(self.after(now), now + RETRY_AFTER)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def phase(identity: str, interval: timedelta) -> timedelta:
    """A place in the interval that stays the same over restarts."""
    return interval * fraction(identity)


def rhythms(
    calls: Iterable[Call], per_minute: Fraction | int, concurrency: int, zone: tzinfo
) -> Mapping[Call, Rhythm]:
    """The rhythm of each call of a workspace.

    Args:
        calls: All calls of the workspace, because they share its rate limit.
        per_minute: The rate limit in requests per minute.
        concurrency: The number of requests that may be in flight.
        zone: The workspace's time zone.
    """
    given = list(calls)
    last_polls = sorted(
        (call for call in given if any(entry.window == TODAY.name for entry in call.entries)),
        key=lambda call: call.place,
    )
    spare = per_minute - requests_per_hour(given) / 60
    pace = min(max(spare, Fraction(per_minute, 4)), concurrency * _a_minute(USUAL_ANSWER))
    lead = min(max(_minutes(_MARGIN * len(last_polls) / pace), _SHORTEST_LEAD), _LONGEST_LEAD)
    before = {
        call: DONE_BEFORE_MIDNIGHT + lead * index / len(last_polls)
        for index, call in enumerate(last_polls)
    }
    return {
        call: Rhythm(call.interval, call.interval * call.place, zone, before.get(call))
        for call in given
    }


def real_interval(calls: Iterable[Turn], per_minute: Fraction | int) -> timedelta:
    """The interval that the most frequent calls really get if the rate limit is too low.

    The call that has waited longest goes first. So all calls that are too frequent get the same
    interval, and less frequent ones keep theirs. The result is the shortest such interval that the
    rate limit per minute allows, rounded up to a microsecond.
    """
    counted = sorted(Counter(call.interval for call in calls).items())
    left = Fraction(per_minute) - sum(here * _a_minute(interval) for interval, here in counted)
    shortest, number = counted[0][0], 0
    for index, (interval, here) in enumerate(counted, 1):
        number += here
        left += here * _a_minute(interval)
        # Compare rates: with hardly any rate left, the interval would overflow a timedelta.
        if index == len(counted) or number * _a_minute(counted[index][0]) <= left:
            break
    return max(_minutes(number / left), shortest)


def requests_per_hour(calls: Iterable[Turn]) -> Fraction:
    """The requests per hour, without the extra turns before midnight and without retries."""
    counted = Counter(call.interval for call in calls)
    return 60 * sum(
        (number * _a_minute(interval) for interval, number in counted.items()), Fraction()
    )


def _a_minute(interval: timedelta) -> Fraction:
    """How often an interval fits into a minute."""
    return Fraction(_MINUTE // _TICK, interval // _TICK)


def _minutes(number: Fraction) -> timedelta:
    """A number of minutes as a duration, rounded up to a microsecond."""
    return _TICK * ceil(number * (_MINUTE // _TICK))


@dataclass(frozen=True, slots=True)
class Shortage:
    """A setting that allows fewer requests than the intervals need.

    Attributes:
        setting: The name of the setting.
        allowed: Its value.
        needed: The lowest value that would be enough.
        consequence: What happens, in words.
        shards: How many shards share it.
    """

    setting: str
    allowed: int
    needed: int
    consequence: str
    shards: int = 1

    def __str__(self) -> str:
        """The shortage in one line."""
        among = f" among {self.shards} shards" if self.shards > 1 else ""
        return (
            f"{self.setting} {self.allowed}{among} is too low for the intervals, which need"
            f" {self.needed}: {self.consequence}"
        )


def load(calls: Iterable[Turn], per_minute: Fraction | int, per_day: int | None) -> float:
    """The requests that the intervals of all calls need, as a share of the allowed ones.

    Above 1, the intervals cannot be kept. An alert compares the share with 1, so it is rounded only
    once, at the end.
    """
    hourly = requests_per_hour(calls)
    return float(max(hourly / (60 * per_minute), hourly * 24 / per_day if per_day else 0))


def shortages(
    calls: Iterable[Turn], per_minute: int, per_day: int | None, shard: Shard = WHOLE
) -> Iterator[Shortage]:
    """The settings of a workspace that allow too few requests for its calls.

    Args:
        calls: The calls, of one shard alone.
        per_minute: The limit per minute of all shards together.
        per_day: The limit per day of all shards together; None for no limit.
        shard: The shard.
    """
    given = list(calls)
    hourly = requests_per_hour(given)
    if hourly * shard.count > 60 * per_minute:
        yield Shortage(
            "requests_per_minute",
            per_minute,
            ceil(hourly * shard.count / 60),
            _slower(given, Fraction(per_minute, shard.count)),
            shard.count,
        )
    if per_day and hourly * 24 > shard.per_day(per_day):
        yield Shortage(
            "requests_per_day",
            per_day,
            shard.whole_day(ceil(hourly * 24)),
            _spent(hourly, per_minute, per_day)
            if shard.alone
            else _slower(given, shard.pace(per_minute, per_day)),
            shard.count,
        )


def _slower(calls: list[Turn], per_minute: Fraction) -> str:
    """How often the most frequent calls are really polled, in words."""
    return (
        f"what is to be polled more often is polled every {show(real_interval(calls, per_minute))}"
    )


def _spent(hourly: Fraction, per_minute: int, per_day: int) -> str:
    """How long after midnight the limit per day is reached, in words."""
    sent = min(hourly, Fraction(60 * per_minute))
    last = sent * 24 <= per_day  # the rate limit keeps the day's limit from being reached
    seconds = int(3600 * per_day / (hourly if last else sent))  # rounded down: at least this long
    end = show(timedelta(seconds=seconds)) if seconds else "within a second"
    return f"they are spent {end} after midnight" + " once requests_per_minute is enough" * last
