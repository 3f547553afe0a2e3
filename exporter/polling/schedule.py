"""When each call is sent: at a stable place of its interval, and once more before midnight. Pure.

Whatever decides is reckoned in fractions. Rates are sums of quotients, and whether they are allowed
often hangs on equality: 600 calls every ten minutes are exactly 60 a minute.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from math import ceil
from typing import Final, Protocol

from exporter.model.durations import show
from exporter.model.targets import fraction
from exporter.model.windows import DAY, TODAY, begins, local_day
from exporter.polling.plan import Call

RETRY_AFTER: Final = timedelta(minutes=10)
"""How soon a failed report is asked for again, where its interval is longer."""

DONE_BEFORE_MIDNIGHT: Final = timedelta(seconds=90)
"""When the last of the polls before midnight is sent: early enough to be answered by 23:59."""

USUAL_ANSWER: Final = timedelta(seconds=5)
"""How long an answer is thought to take when the polls before midnight are spread."""

_SHORTEST_LEAD: Final = timedelta(minutes=1)
_LONGEST_LEAD: Final = timedelta(hours=6)
_MARGIN: Final = Fraction(5, 4)

_TICK: Final = timedelta(microseconds=1)
_MINUTE: Final = timedelta(minutes=1)


class Turn(Protocol):
    """What is sent again and again: a call, or a page of the list of bots."""

    @property
    def interval(self) -> timedelta:
        """How often."""


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
    calls: Iterable[Call], per_minute: int, concurrency: int, zone: tzinfo
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


def real_interval(calls: Iterable[Turn], per_minute: int) -> timedelta:
    """How often the calls that come too often for what is allowed can really be sent.

    As the one that has waited longest goes first, these all get the same interval; those that come
    more seldom keep theirs. It is the shortest, to the microsecond, at which all are allowed.

    Args:
        calls: All of a workspace, at least one.
        per_minute: How many requests are allowed.
    """
    counted = sorted(Counter(call.interval for call in calls).items())
    left = Fraction(per_minute) - sum(here * _a_minute(interval) for interval, here in counted)
    shortest, number = counted[0][0], 0
    for index, (interval, here) in enumerate(counted, 1):
        number += here
        left += here * _a_minute(interval)
        # As rates: where hardly anything is left, the interval would be longer than any can be.
        if index == len(counted) or number * _a_minute(counted[index][0]) <= left:
            break
    return max(_minutes(number / left), shortest)


def requests_per_hour(calls: Iterable[Turn]) -> Fraction:
    """How many requests an hour takes, without those before midnight and those after failures."""
    counted = Counter(call.interval for call in calls)
    return 60 * sum(
        (number * _a_minute(interval) for interval, number in counted.items()), Fraction()
    )


def _a_minute(interval: timedelta) -> Fraction:
    """How often something comes in a minute."""
    return Fraction(_MINUTE // _TICK, interval // _TICK)


def _minutes(number: Fraction) -> timedelta:
    """The shortest duration of no less than so many minutes."""
    return _TICK * ceil(number * (_MINUTE // _TICK))


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


def load(calls: Iterable[Turn], per_minute: int, per_day: int | None) -> float:
    """What the intervals ask for as a share of what is allowed; above 1 they cannot be kept.

    An alert compares it with 1, so it is rounded but once, at the end.
    """
    hourly = requests_per_hour(calls)
    return float(max(hourly / (60 * per_minute), hourly * 24 / per_day if per_day else 0))


def shortages(calls: Iterable[Turn], per_minute: int, per_day: int | None) -> Iterator[Shortage]:
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
        yield Shortage(
            "requests_per_day", per_day, ceil(hourly * 24), _spent(hourly, per_minute, per_day)
        )


def _spent(hourly: Fraction, per_minute: int, per_day: int) -> str:
    """When a day's requests are spent that the intervals need more of."""
    sent = min(hourly, Fraction(60 * per_minute))
    last = sent * 24 <= per_day  # as the other limit lets too few through
    seconds = int(3600 * per_day / (hourly if last else sent))  # rounded down: no promise
    end = show(timedelta(seconds=seconds)) if seconds else "within a second"
    return f"they are spent {end} after midnight" + " once requests_per_minute is enough" * last
