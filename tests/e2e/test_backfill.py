"""A year is rebuilt from the sandbox, live pages follow, and Prometheus answers across the seam.

The exporter asks for the reports of a page within seconds, in which the sandbox goes on. So an
answer about a page is right if it lies between the tables before and after those seconds.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.programs import served
from e2e.test_dashboards import prometheus_on
from support.backfilled import NOW, ZONE, Past, command, configuration, written
from support.history import LABELS, blocks, polled, write
from support.longterm import thanos, victoria_metrics
from support.pagecheck import Series
from support.processes import finished, get, started, wait_for

from exporter.backfill import openmetrics
from exporter.commands.flags import DONE
from exporter.metrics.exposition import API_FAMILIES
from exporter.model.windows import begins
from exporter.sandbox import Sandbox

pytestmark = pytest.mark.takes_minutes

BOTS: Final = 2
DAYS: Final = 430
"""Of data."""
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
FINEST: Final = timedelta(minutes=5)
CLOCK: Final = ZoneInfo(ZONE)
LAST: Final = date(2026, 11, 19)
FIRST: Final = LAST - 364 * DAY
INTRADAY: Final = 14
ANSWERS: Final = 10_000
ACROSS: Final = 20_000
"""Answers on the live side, or about both sides."""
IN_SECONDS: Final = 0.31
"""What the two decimals of minutes leave open of a day's seconds."""
ROUND: Final = timedelta(seconds=5)
"""Longer than it takes to ask for all reports of a page."""

SEAM: Final = begins(LAST + DAY, CLOCK)
LIVE: Final = tuple(LAST + number * DAY for number in range(1, 5))
"""From Friday to Monday: a week ends."""
GAP: Final = timedelta(minutes=10)
"""From midnight to a day's first page."""


def end_of(day: date) -> datetime:
    """Where the values of a whole day stand."""
    return begins(day + DAY, CLOCK) - FINEST


PAGES: Final = tuple(
    moment
    for day in LIVE
    for moment in (
        begins(day, CLOCK) + GAP,
        *(begins(day, CLOCK) + hour * HOUR for hour in range(1, 24)),
        end_of(day),
    )
)
OVER: Final = "yesterday|last_week|last_month"
"""Windows that ended before the day."""

AGENTS: Final = "seasalt_agent_activity_agents"
FAMILIES: Final = "|".join(family.name for family in API_FAMILIES if "_yearly_" not in family.name)


class Right(NamedTuple):
    """What an answer may be.

    Attributes:
        least: The least value.
        most: The highest.
        sure: Whether there must be an answer.
    """

    least: float
    most: float
    sure: bool = True


Truth = Mapping[Series, Right]


def everything(matchers: str = "") -> str:
    """A selector of all that the API tells, but for years, which have a test of their own."""
    return f'{{__name__=~"{FAMILIES}"{matchers}}}'


def kept(selector: str) -> str:
    """A selector whose series keep their name, as a label, whatever is done with them."""
    return f'label_replace({selector}, "family", "$1", "__name__", "(.+)")'


@dataclass(frozen=True)
class Year:
    """A year and some live days in a Prometheus, and what is right.

    Attributes:
        url: Prometheus.
        past: The truth.
        rebuilt: What is right at the end of a day.
        live: What is right on a page.
        push: Pushes the rebuilt year to a store, given its URL and more flags; the exit status.
    """

    url: str
    past: Past
    rebuilt: Callable[[date], Truth]
    live: Callable[[datetime], Truth]
    push: Callable[..., int]

    def ask(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        """What Prometheus finds, with all labels."""
        given = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        found = json.loads(get(f"{self.url}/api/v1/{path}?{given}").body)
        assert found["status"] == "success", found
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def answer(self, at: datetime, query: str = everything()) -> dict[Series, float]:
        """What Prometheus answers at an instant, without what scraping adds."""
        result = self.ask("query", query=query, time=at.timestamp())
        found = {named(series["metric"]): float(series["value"][1]) for series in result}
        assert len(found) == len(result), "two series differ in what scraping adds alone"
        return found

    def at_the_end_of(self, day: date) -> Truth:
        """What is right at 23:55 of any day."""
        return self.rebuilt(day) if day <= LAST else self.live(end_of(day))


def named(labels: dict[str, Any]) -> Series:
    own = {name: value for name, value in labels.items() if name not in LABELS}
    name = own.pop("__name__", "") or own.pop("family")
    return name, frozenset(own.items())


@pytest.fixture(scope="module")
def year(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Year]:
    """A year of two bots over SeaChat, and of their company over Portal and SeaX; live days."""
    folder = tmp_path_factory.mktemp("year")
    data, pages = folder / "data", folder / "pages.txt"
    made = Sandbox.make(now=lambda: NOW, bots=BOTS, days=DAYS, ahead_days=len(LIVE))
    with served(made) as api, pytest.MonkeyPatch.context() as patch:
        settings = configuration(api, bots=BOTS)
        flags = (f"--from={FIRST}", "--step=1h", f"--intraday={INTRADAY}d", "--yes")
        labels = (f"--label={name}={value}" for name, value in LABELS.items())
        file, given = written(folder, settings), (*flags, *labels, f"--output={folder}")
        assert command(file, *given, patch=patch) == 0
        blocks(promtool, folder / openmetrics.NAME, data, {})
        write(pages, PAGES, configuration=settings, bots=BOTS, days=DAYS)
        blocks(promtool, pages, data)
        past = Past(made, CLOCK, BOTS)

        @cache
        def rebuilt(day: date) -> Truth:
            return exactly(past.at_the_end_of(day))

        @cache
        def live(page: datetime) -> Truth:
            at = polled(PAGES.index(page), page)
            return between(past.live(at), past.live(at + ROUND))

        def push(url: str, *more: str) -> int:
            asked = len(api.requests)
            ended = command(file, *given, f"--push={url}", *more, patch=patch)
            assert len(api.requests) == asked, "what is in the journal was asked for again"
            return ended

        with prometheus_on(prometheus, data, {}) as url:
            yield Year(url, past, rebuilt, live, push)


def rounded(series: Series) -> float:
    """By how much the API's own rounding may change a value."""
    if "voice_seconds" not in series[0]:
        return 0.0
    return IN_SECONDS * (7 if dict(series[1])["window"] == "last_week" else 1)


def exactly(found: Mapping[Series, float]) -> Truth:
    return {
        series: Right(value - rounded(series), value + rounded(series))
        for series, value in found.items()
    }


def between(before: Mapping[Series, float], after: Mapping[Series, float]) -> Truth:
    """What is right at some time between two instants."""
    found = {}
    for series, value in after.items():
        pair = before.get(series, value), value
        off = rounded(series)
        found[series] = Right(min(pair) - off, max(pair) + off, series in before)
    return found


def less(now: Truth, then: Truth) -> Truth:
    """The differences of what is there at both times."""
    return {
        series: Right(
            now[series].least - then[series].most,
            now[series].most - then[series].least,
            now[series].sure and then[series].sure,
        )
        for series in now.keys() & then.keys()
    }


def added(parts: Iterable[Truth]) -> Truth:
    """The sums over what is there."""
    sums: dict[Series, Right] = {}
    for part in parts:
        for series, (least, most, sure) in part.items():
            has = sums.get(series, Right(0, 0, sure=False))
            sums[series] = Right(
                has.least + (least if sure else min(0, least)), has.most + most, has.sure or sure
            )
    return sums


def of_windows(windows: str, truth: Truth) -> Truth:
    return {
        series: right
        for series, right in truth.items()
        if re.fullmatch(windows, dict(series[1])["window"])
    }


def differences(
    told: Mapping[Series, float], truth: Truth
) -> list[tuple[Series, float | None, Right | None]]:
    """The answers that are wrong, those that are missing, and those that are too many."""
    return [
        (series, told.get(series), truth.get(series))
        for series in sorted(told.keys() | truth.keys(), key=str)
        if not (
            series in truth
            and (near(told[series], truth[series]) if series in told else not truth[series].sure)
        )
    ]


def near(told: float, right: Right) -> bool:
    return right.least - 1e-9 <= told <= right.most + 1e-9


def test_ten_thousand_answers_are_what_the_sandboxs_tables_say(year: Year) -> None:
    ten_thousand_answers_are_right(year)


def test_victoria_metrics_answers_the_same_after_a_push(year: Year, tmp_path: Path) -> None:
    with victoria_metrics(tmp_path, "-retentionPeriod=2y") as url:
        assert year.push(f"{url}/api/v1/write") == DONE
        ten_thousand_answers_are_right(replace(year, url=url))


def test_thanos_answers_the_same_after_a_push(year: Year, tmp_path: Path) -> None:
    old = ("--tsdb.out-of-order.time-window=400d", "--tsdb.retention=400d")
    with thanos(tmp_path, *old) as (url, query):
        assert year.push(url, f"--push.query-url={query}") == DONE
        ten_thousand_answers_are_right(replace(year, url=query))


def ten_thousand_answers_are_right(year: Year) -> None:
    compared, wrong = 0, []
    # Each window needs its days: a month and two days after the first one, all of them are there.
    for day in (FIRST + DAY * number for number in range(62, 365, 8)):
        told = year.answer(end_of(day))
        compared += len(told)
        wrong += [(day, *one) for one in differences(told, year.rebuilt(day))]
    assert wrong == []
    assert compared >= ANSWERS, compared


def test_twenty_thousand_at_and_across_the_seam_are_too(year: Year) -> None:
    compared, wrong = 0, []
    for what, told, truth in across(year):
        assert told, what
        compared += len(told)
        wrong += [(what, *one) for one in differences(told, truth)]
    assert wrong == []
    assert compared >= ACROSS, compared


def across(year: Year) -> Iterator[tuple[str, Mapping[Series, float], Truth]]:
    """Answers at and after the seam and about both sides: what they are, and what is right."""
    yield "last rebuilt", year.answer(end_of(LAST)), year.rebuilt(LAST)
    for page in sorted({*PAGES[::6], PAGES[0], *map(end_of, LIVE)}):
        yield f"page {page}", year.answer(page), year.live(page)
    # Agents leave a status again, so its last number may be from an earlier page.
    lasting = everything(f',__name__!="{AGENTS}"')
    for page in PAGES[:13:4]:
        told = year.answer(page, f"last_over_time({lasting}[1d])")
        right = {**year.rebuilt(LAST), **year.live(page)}
        yield (
            f"last of a day {page}",
            told,
            {series: one for series, one in right.items() if series[0] != AGENTS},
        )
    for day in LIVE:
        for days in (1, 2, 3, 7):
            query = f"{kept(everything())} - {kept(f'{everything()} offset {days}d')}"
            truth = less(year.at_the_end_of(day), year.at_the_end_of(day - days * DAY))
            yield f"{day} less {days} days", year.answer(end_of(day), query), truth
        week = [day - number * DAY for number in range(7)]
        yield f"sum of todays to {day}", *sum_of_todays(year, day, week)
        yield f"sum of yesterdays to {day}", *sum_of_yesterdays(year, day, week)
    yield from over_all_day_long(year)


def sum_of_todays(
    year: Year, day: date, days: Iterable[date]
) -> tuple[Mapping[Series, float], Truth]:
    # A subquery's steps are midnights of UTC; at 4:55 UTC the day ends.
    todays = kept(everything(',window="today"') + " offset -4h55m")
    told = year.answer(end_of(day), f"sum_over_time({todays}[7d:1d])")
    return told, added(of_windows("today", year.at_the_end_of(one)) for one in days)


def sum_of_yesterdays(
    year: Year, day: date, days: Iterable[date]
) -> tuple[Mapping[Series, float], Truth]:
    yesterdays = kept(everything(',window="yesterday"'))
    told = year.answer(end_of(day), f"sum_over_time({yesterdays}[7d:1d])")
    return told, added(of_windows("yesterday", year.at_the_end_of(one)) for one in days)


def over_all_day_long(year: Year) -> Iterator[tuple[str, Mapping[Series, float], Truth]]:
    """Windows that ended before the day: one range, from days before the seam to the last page."""
    found: dict[float, dict[Series, float]] = {}
    for series in year.ask(
        "query_range",
        query=everything(f',window=~"{OVER}"'),
        start=(SEAM - 2 * DAY + HOUR).timestamp(),
        end=PAGES[-1].timestamp(),
        step=4 * 3600,
    ):
        for at, value in series["values"]:
            found.setdefault(at, {})[named(series["metric"])] = float(value)
    for at, told in found.items():
        moment = datetime.fromtimestamp(at, CLOCK)
        yield f"range {moment}", told, of_windows(OVER, year.at_the_end_of(moment.date()))
    assert len(found) == 6 * 6


def test_between_the_last_rebuilt_value_and_the_first_page_there_is_nothing(year: Year) -> None:
    assert year.answer(SEAM - timedelta(seconds=1)) == year.answer(end_of(LAST)) != {}
    assert year.answer(SEAM) == year.answer(PAGES[0] - timedelta(seconds=1)) == {}
    assert year.answer(PAGES[0]) != {}


def test_no_series_is_there_twice(year: Year) -> None:
    both = year.rebuilt(LAST).keys() | year.live(PAGES[0]).keys()
    offset = "seasalt_workspace_utc_offset_seconds"
    for query, right in (
        (everything(), Counter(name for name, _ in both)),
        (offset, {offset: len(year.answer(PAGES[0], offset))}),
    ):
        counted = f"count by (__name__) (last_over_time({query}[20m]))"
        told = {name: number for (name, _), number in year.answer(PAGES[0], counted).items()}
        assert told == right


def test_no_gap_is_longer_than_documented(year: Year) -> None:
    """An hour with this step, and at the seam up to the first page."""
    days = (LAST - 20 * DAY, LAST - DAY, LAST, *LIVE)
    always = set.intersection(*(set(year.at_the_end_of(day)) for day in days))
    gaps = Counter[float]()
    for series in year.ask(
        "query",
        query=everything(',window=~"last_.*"') + "[25d]",
        time=PAGES[-1].timestamp(),
    ):
        if named(series["metric"]) in always:
            times = [at for at, _ in series["values"]]
            assert (end_of(LAST).timestamp(), PAGES[0].timestamp()) in pairwise(times)
            gaps.update(after - at for at, after in pairwise(times))
    assert sum(gaps.values()) > 100_000
    assert max(gaps) == HOUR.total_seconds()


RATIOS: Final = {
    "seasalt_csat_satisfaction_ratio": (
        'sum without (rating) (seasalt_csat_rating_responses{rating=~"4|5"})'
        " / sum without (rating) (seasalt_csat_rating_responses)"
    ),
    "seasalt_csat_average_rating": (
        "("
        + " + ignoring (rating) ".join(
            f'{rating} * seasalt_csat_rating_responses{{rating="{rating}"}}'
            for rating in range(1, 6)
        )
        + ") / ignoring (rating) sum without (rating) (seasalt_csat_rating_responses)"
    ),
    "seasalt_label_relation_ratio": (
        "seasalt_label_relation_both_conversations / seasalt_label_relation_base_conversations"
    ),
}
"""What a ratio follows from."""


@pytest.mark.parametrize("name", RATIOS)
def test_a_ratio_is_that_of_its_counts_on_both_sides(year: Year, name: str) -> None:
    rounded = 0.005 if "average" in name else 0.00005
    for day in (LAST - 2 * DAY, LAST - DAY, LAST, *LIVE):
        ratios = year.answer(end_of(day), name)
        assert ratios.keys() == {one for one in year.at_the_end_of(day) if one[0] == name}
        query, at = f"abs({name} - ({RATIOS[name]}))", end_of(day).timestamp()
        off = [float(one["value"][1]) for one in year.ask("query", query=query, time=at)]
        assert len(off) == len(ratios) >= BOTS
        assert max(off) <= rounded + 1e-9


def test_a_month_that_is_over_does_not_change_at_the_seam(year: Year) -> None:
    over = kept(everything(',window="last_month"'))
    told = year.answer(PAGES[-1], f"changes({over}[6d:1h])")
    assert told.keys() == of_windows("last_month", year.live(PAGES[-1])).keys()
    assert any("ratio" in name for name, _ in told)
    assert set(told.values()) == {0}


def test_a_window_that_is_over_has_its_value_all_day_long(year: Year) -> None:
    day = FIRST + 200 * DAY
    right = of_windows(OVER, year.rebuilt(day))
    assert len(right) > 20
    for hour in (0, 7, 13, 23):
        told = year.answer(begins(day, CLOCK) + hour * HOUR, everything(f',window=~"{OVER}"'))
        assert differences(told, right) == []


def test_the_hours_of_the_last_days_are_what_they_were(year: Year) -> None:
    for day, hour in ((LAST, 9), (LAST, 13), (LAST - 13 * DAY, 18)):
        at = begins(day, CLOCK) + timedelta(hours=hour)
        right = {
            series: value
            for series, value in year.past.at_the_hour(at).items()
            if not re.search("agent_activity|conversation_overview|trend_calls", series[0])
        }
        told = year.answer(at, everything(',window="today"'))
        assert differences(told, exactly(right)) == []
        assert len(right) > 100
        shortly_before = year.answer(at + timedelta(minutes=55))
        assert {one: shortly_before[one] for one in told} == told


def test_of_the_year_the_months_that_were_over_are_known(year: Year) -> None:
    noon = datetime(2026, 8, 20, 16, tzinfo=UTC)
    told = year.answer(noon, '{__name__=~".*_yearly_.*"}')
    months = sorted({dict(labels)["month"] for _, labels in told})
    assert months == [f"{month:02}" for month in range(1, 8)]
    assert len(told) == 7 * BOTS


def test_the_clock_changes_of_the_year_are_known(year: Year) -> None:
    query = "seasalt_workspace_utc_offset_seconds"
    for at, offset in (
        (datetime(2026, 3, 8, 6, 0, tzinfo=UTC), -18_000.0),
        (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), -14_400.0),
        (datetime(2026, 11, 1, 6, 0, tzinfo=UTC), -18_000.0),
    ):
        assert set(year.answer(at, query).values()) == {offset}


def test_a_process_that_is_told_to_end_goes_on_later_and_asks_nothing_twice(
    exporter: tuple[str, ...], tmp_path: Path
) -> None:
    with served(Sandbox.make(now=lambda: datetime.now(UTC), bots=1, days=40)) as api:
        settings = configuration(api, bots=1)
        for one in settings["workspaces"]:
            one["requests_per_minute"] = 600
        file, first = written(tmp_path, settings), datetime.now(UTC).date() - 21 * DAY
        command = [
            *(*exporter, "backfill", f"--config.file={file}", f"--from={first}"),
            *(f"--output={tmp_path}", "--step=1d"),
        ]
        plan = finished([*command, "--dry-run"])
        planned = sum(map(int, re.findall(r"in all (\d+) requests", plan.stdout)))
        with started(command) as process:
            wait_for(lambda: len(api.requests) > 5, "no requests")
            ended = process.end()
        assert ended.status == 1
        assert "interrupted" in ended.stderr
        assert "run the same command again to go on" in ended.stderr
        assert 5 < len(api.requests) < planned
        assert finished(command, within=120).status == 0
        assert len(api.requests) == planned
