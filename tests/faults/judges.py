"""What can be said of an exporter from outside: from the stub's journal and from its pages. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from faults.kinds import Values
from faults.stub import Asked
from support.pagecheck import Series

BUCKET: Final = 10
"""Requests that an exporter may have saved up."""

_NOT_FROM_REPLIES: Final = (
    *("seasalt_report_", "seasalt_api_", "seasalt_exporter_", "seasalt_schema_drift"),
    *("seasalt_series", "seasalt_up", "seasalt_workspace_", "seasalt_bot_"),
)


def from_replies(name: str) -> bool:
    """Whether the series of a name say what an API has answered."""
    return name.startswith("seasalt_") and not name.startswith(_NOT_FROM_REPLIES)


def burst(times: Iterable[float], per_second: float) -> float:
    """The most requests that came in any window beyond those that the rate allows in it.

    Over every window of w seconds: requests - rate * w. The bucket is what it may be at most.
    """
    worst, lowest = 0.0, 0.0
    for number, at in enumerate(times):
        height = number - per_second * at
        lowest = min(lowest, height) if number else height
        worst = max(worst, height - lowest + 1)
    return worst


@dataclass(frozen=True, slots=True)
class Parked:
    """A wish of the API to be left alone.

    Attributes:
        at: When it was told.
        until: Until when.
        key: Whose requests it is about.
    """

    at: float
    until: float
    key: str


def early(journal: Sequence[Asked], parked: Iterable[Parked], grace: float = 0.0) -> list[Asked]:
    """Requests that came although the API had asked to be left alone.

    Args:
        journal: In order.
        parked: The wishes.
        grace: Seconds that a wish may be on its way, and a request.
    """
    by_key: dict[str, list[Asked]] = {}
    for asked in journal:
        by_key.setdefault(asked.key, []).append(asked)
    found: dict[int, Asked] = {}
    for wish in parked:
        mine = by_key.get(wish.key, [])
        times = [asked.at for asked in mine]
        first = bisect_right(times, wish.at + grace)
        last = bisect_right(times, wish.until - grace)
        found.update((id(asked), asked) for asked in mine[first:last])
    return list(found.values())


def strangers(journal: Iterable[Asked], keys: Mapping[str, Collection[str]]) -> list[Asked]:
    """Requests with a key at a host that it was not given for, or with more than they need.

    Args:
        journal: Of any server.
        keys: The hosts that may see each key, by its digest.
    """
    allowed = {
        *("host", "x-api-key", "authorization", "user-agent", "accept", "accept-encoding"),
        *("content-type", "content-length", "connection"),
    }
    return [
        asked
        for asked in journal
        if (asked.key and asked.host not in keys.get(asked.key, ())) or set(asked.names) - allowed
    ]


def too_many(calls: int, scheduled: float) -> float:
    """How many calls there were beyond 1.10 times those that were planned, and 10."""
    return max(0.0, calls - (1.10 * scheduled + 10))


@dataclass(slots=True)
class _Report:
    """What was served for one metric of one target.

    Attributes:
        served: When, whether all of it must be exported, its series, when asked; in order.
        loose: Numbers that may stand under any label, with the time.
    """

    served: list[tuple[float, bool, Mapping[Series, float], float]] = field(default_factory=list)
    loose: list[tuple[float, frozenset[float]]] = field(default_factory=list)


@dataclass(slots=True)
class Books:
    """Everything that was ever served, as long as it may still be on a page.

    Attributes:
        keep: Seconds for which a value of a metric may be shown.
        reports: By (key, bot, metric).
    """

    keep: Callable[[str], float]
    reports: dict[tuple[str, str, str], _Report] = field(default_factory=dict)
    _where: dict[tuple[str, str, str], _Report] = field(default_factory=dict)

    def serve(
        self, asked: Asked, at: float, values: Values, loose: frozenset[float], *, good: bool
    ) -> None:
        """Note an answer that went out at an instant."""
        for metric in asked.metrics:
            report = self.reports.setdefault((asked.key, asked.bot, metric), _Report())
            one = values.get(metric)
            if one is not None:
                report.served.append((at, good, one, asked.at))
                for name, labels in one:
                    pairs = dict(labels)
                    place = (name, pairs["workspace"], pairs.get("bot_id", ""))
                    self._where[place] = report
            if loose:
                report.loose.append((at, loose))
            for kept in (report.served, report.loose):
                while kept and kept[0][0] < at - 2 * self.keep(metric):
                    del kept[0]

    def forget(self, now: float) -> None:
        """Forget what may be on no page any more, as that of bots that are gone."""
        for place, report in tuple(self.reports.items()):
            last = max([kept[-1][0] for kept in (report.served, report.loose) if kept], default=now)
            if last < now - 2 * self.keep(place[2]):
                del self.reports[place]
        known = set(map(id, self.reports.values()))
        self._where = {
            place: report for place, report in self._where.items() if id(report) in known
        }

    def verdict(
        self,
        values: Mapping[Series, float],
        now: float,
        midnights: Mapping[str, float],
        grace: float,
    ) -> Iterator[str]:
        """What is wrong with the values of a page.

        Args:
            values: All series of the page.
            now: When it was taken.
            midnights: When each workspace's day began: what is about it was asked for since.
            grace: Seconds that an answer takes from the wire to the page.
        """
        for (name, labels), value in values.items():
            if not from_replies(name):
                continue
            pairs = dict(labels)
            place = (name, pairs["workspace"], pairs.get("bot_id", ""))
            report = self._where.get(place)
            if report is None:
                yield f"{name} {sorted(pairs.items())}: {value} was never served"
                continue
            oldest = now - self.keep(name) - grace
            came = _came(report, (name, labels), value)
            if came is None:
                loose = (numbers for at, numbers in report.loose if at >= oldest)
                if not any(value in numbers for numbers in loose):
                    yield f"{name} {sorted(pairs.items())}: {value} was never served"
                continue
            sent, wanted = came
            what = f"{name} {sorted(pairs.items())}: {value}"
            if sent < oldest:
                yield f"{what} is {now - sent:.0f} s old"
            if pairs.get("window") == "today" and wanted < midnights[pairs["workspace"]]:
                yield f"{what} is yesterday's, shown as today's"
            newer = [at for at, good, *_ in report.served if good and at < now - grace]
            if newer and sent < max(newer):
                yield f"{what} although a newer answer has come"


def _came(report: _Report, series: Series, value: float) -> tuple[float, float] | None:
    """When a value was last served, and when it was asked for."""
    return next(
        ((at, asked) for at, _, one, asked in reversed(report.served) if one.get(series) == value),
        None,
    )
