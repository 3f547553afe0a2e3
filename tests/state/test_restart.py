"""A process that ends and another that goes on: with a state, nobody can tell from the API's side."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import httpx
import pytest
from hypothesis import given, settings, strategies as st
from support.api import FakeApi, in_pieces
from support.polled import polling
from support.states import unpacked
from support.virtual import START, World
from support.workspaces import workspace

from exporter.config import Workspace
from exporter.metrics.exposition import rendered
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.model.report import Options, Reading
from exporter.model.samples import Sample
from exporter.model.windows import begins, local_day
from exporter.polling.workspace import WorkspacePoller
from exporter.state.encoding import State, decoded, encoded
from exporter.state.workspace_memory import Memory

HOUR = timedelta(hours=1)
FAST = {"requests_per_minute": 600}
ZONES = ("UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland", "America/Havana")


class WithBots(FakeApi):
    """The API with a list of two bots."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer the list, or leave it to the analytics."""
        if request.url.path != api_paths.BOTS:
            return await super().__call__(request)
        self.journal.append((self.now(), {"metrics": ["the list"]}))
        rows = [{"id": "b1", "name": "One"}, {"id": "b2", "name": "+1 206 555 0100"}]
        return httpx.Response(200, content=in_pieces({"data": rows, "total": len(rows)}))


class Lives:
    """Processes one after the other, with one state.

    Attributes:
        now: When the next one starts.
        api: What they ask.
        state: What the last one left.
        store: What it knew.
        telemetry: What it counted.
        world: Its clock.
        journal: What the API was asked by all of them.
        page: What the last one showed at its end.
        first_page: What it showed at its beginning.
        ready: Whether it was ready then.
    """

    def __init__(self, now: datetime = START, api: type[FakeApi] = WithBots) -> None:
        self.now, self.api = now, api
        self.state, self.store, self.telemetry = State(), Store(), Telemetry()
        self.journal: list[tuple[datetime, Mapping[str, Any]]] = []
        self.page = self.first_page = ""
        self.ready = False

    def live(
        self,
        one: Workspace,
        lasting: timedelta,
        *then: Callable[[], object],
        down: timedelta = timedelta(),
        killed: bool = False,
        seconds: float = 0.2,
    ) -> "Lives":
        """Let a process live for so long, after none did for a while.

        Args:
            one: What it polls.
            lasting: How long it lives.
            then: What happens between equal parts of that.
            down: How long there was none.
            killed: Whether it is killed: what it had not written down by then is lost.
            seconds: How long the API takes to answer.
        """
        world, store, telemetry = World(self.now + down), Store(), Telemetry()
        self.world, self.store, self.telemetry = world, store, telemetry
        api = self.api(world.now, seconds=seconds)
        for key, record in self.state.records.items():
            store.put(key, record)
        memory = next(iter(self.state.memories), Memory())

        async def go() -> None:
            def left() -> State:
                return decoded(encoded(State((poller.memory,), store.generation())))

            async def noted() -> None:
                self.state = left()

            poller = WorkspacePoller(
                *(one, store, telemetry, world.now),
                noted=noted,
                transport=api.transport,
                memory=memory,
            )
            async with poller:
                self.first_page, self.ready = self.shown(), poller.answered
                await polling(poller, lasting, *then)
                self.page = self.shown()
                if not killed:
                    self.state = left()

        world.run(go)
        self.now = world.start + lasting
        self.journal += api.journal
        return self

    def shown(self) -> str:
        """The page as the last process would show it now."""
        return rendered(self.store, self.world.now())

    def sent(self, metric: str) -> list[datetime]:
        """When a metric was asked for."""
        return [at for at, body in self.journal if metric in body["metrics"]]


def values(page: str) -> set[str]:
    """What a page says of the API's numbers."""
    return {line for line in page.splitlines() if line and line[0] != "#"}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(5, 120), min_size=1, max_size=4))
def test_restarts_change_nothing_that_the_api_could_notice(minutes: Iterable[int]) -> None:
    one = workspace(bots=1, **FAST)
    lives, alone = Lives(), Lives()
    for some in minutes:
        lives.live(one, timedelta(minutes=some))
    alone.live(one, lives.now - alone.now)

    # What was on its way when a process ended is asked again by the next.
    assert {minute(at) for at, _ in alone.journal} == {minute(at) for at, _ in lives.journal}
    assert values(lives.page).symmetric_difference(values(alone.page)) <= {
        line for line in values(lives.page) | values(alone.page) if "_seconds" in line
    }


def minute(at: datetime) -> datetime:
    """An instant without its seconds."""
    return at.replace(second=0, microsecond=0)


def test_what_was_shown_is_shown_again_at_once_with_its_age() -> None:
    one = workspace(bots=2, **FAST)
    lives = Lives().live(one, HOUR)
    before = values(lives.page)

    lives.live(one, timedelta(seconds=1))

    assert values(lives.first_page) == before
    assert any("last_success_timestamp_seconds" in line for line in before)
    assert lives.ready


def test_without_a_state_nothing_is_shown_before_it_was_asked() -> None:
    lives = Lives().live(workspace(**FAST), HOUR)
    lives.state = State()

    lives.live(workspace(**FAST), timedelta(seconds=1))

    assert values(lives.first_page) == set()
    assert not lives.ready


def test_a_short_pause_asks_for_nothing_early() -> None:
    one = workspace(["total_usage"], interval="2h", **FAST)
    lives = Lives().live(one, timedelta(hours=3))
    for _ in range(20):
        lives.live(one, timedelta(minutes=1), down=timedelta(seconds=10))
    gaps = [
        two - first
        for first, two in zip(
            lives.sent("total_usage")[1:], lives.sent("total_usage")[2:], strict=False
        )
    ]
    assert all(gap >= timedelta(hours=1, minutes=59) for gap in gaps)


def test_what_became_due_meanwhile_is_asked_at_once() -> None:
    one = workspace(["total_usage"], **FAST)
    lives = Lives().live(one, HOUR)
    lives.live(one, timedelta(seconds=30), down=timedelta(minutes=20))

    assert lives.sent("total_usage")[-1] >= lives.now - timedelta(seconds=30)


def test_values_do_not_outlive_their_time_because_nobody_was_there() -> None:
    one = workspace(["total_usage"], **FAST)  # every 10 minutes, stale after 30
    for down, there in ((20, True), (31, False)):
        lives = Lives().live(one, HOUR).live(one, timedelta(), down=timedelta(minutes=down))
        assert ("seasalt_total_usage_chat_responses{" in lives.first_page) is there
        assert "seasalt_report_last_success_timestamp_seconds" in lives.first_page


@pytest.mark.parametrize("zone", ZONES)
def test_yesterdays_today_is_not_shown_by_a_process_that_starts_after_midnight(zone: str) -> None:
    one = workspace(["total_usage"], timezone=zone, stale_after=100, **FAST)
    midnight = datetime(2026, 11, 22, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    lives = Lives(now=midnight - HOUR).live(one, HOUR - timedelta(seconds=1))
    assert "seasalt_total_usage_chat_responses{" in lives.page

    lives.live(one, timedelta(), down=timedelta(milliseconds=900))
    assert "seasalt_total_usage_chat_responses{" in lives.first_page
    lives.live(one, timedelta(), down=timedelta(seconds=1))
    assert "seasalt_total_usage_chat_responses{" not in lives.first_page


ANSWERED: Final = {
    "metric": "conversation_overview",
    "exclude_empty_response": True,
    "name": "conversation_overview",
}
"""Another question under the name of the first."""


@pytest.mark.parametrize(
    "changed",
    [
        {"metrics": [ANSWERED]},
        {"timezone": "Asia/Tokyo"},
        {"base_url": "https://another.seasalt.ai"},
        {"workspace_id": "ws-2"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_values_are_never_shown_as_the_answer_to_another_question(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "metrics": ["conversation_overview"],
        "interval": "6h",
        "workspace_id": "ws-1",
        **FAST,
    }
    lives = Lives().live(workspace(**given), HOUR)
    assert "seasalt_conversation_overview_conversations{" in lives.page

    lives.live(workspace(**given | changed), timedelta(minutes=1))

    assert "seasalt_conversation_overview_conversations{" not in lives.first_page
    assert len(lives.sent("conversation_overview")) == 2  # the new question is asked at once
    assert "seasalt_conversation_overview_conversations{" in lives.page


def test_after_an_upgrade_that_adds_a_label_a_report_is_asked_for_again_at_once() -> None:
    one = workspace(["conversation_overview"], interval="6h", **FAST)
    (entry,) = one.entries
    report = entry.report
    older = {family: replace(family, labels=family.labels[:-1]) for family in report.families}

    def samples(reply: object, reading: Reading[Options]) -> Iterator[Sample]:
        for family, labels, value in report.samples(reply, reading):
            yield older[family].sample(value, *labels[:-1])

    earlier = replace(report, families=tuple(older.values()), samples=samples)
    lives = Lives().live(one.with_entries((replace(entry, report=earlier),)), HOUR)

    lives.live(one, timedelta(minutes=1))

    assert "seasalt_conversation_overview_conversations{" not in lives.first_page
    assert len(lives.sent("conversation_overview")) == 2
    assert "seasalt_conversation_overview_conversations{" in lives.page


def test_a_report_that_is_no_longer_configured_is_not_shown() -> None:
    lives = Lives().live(workspace(["total_usage", "label_overview"], **FAST), HOUR)
    lives.live(workspace(["label_overview"], **FAST), timedelta())

    assert "total_usage" not in lives.first_page
    assert "label_overview" in lives.first_page


def test_another_interval_makes_another_age_too_old() -> None:
    before = workspace([{"metric": "total_usage", "interval": "1h"}], **FAST)
    after = workspace([{"metric": "total_usage", "interval": "10m"}], **FAST)
    lives = Lives().live(before, timedelta(hours=2))
    last = lives.sent("total_usage")[-1]
    lives.now = last + timedelta(minutes=45)

    lives.live(after, timedelta(minutes=11))

    assert "seasalt_total_usage_chat_responses{" not in lives.first_page
    assert lives.sent("total_usage")[-1] > last


def test_discovered_bots_are_polled_without_reading_their_list_again() -> None:
    one = workspace(["total_usage"], workspace_id="ws-1", discover_bots={"interval": "6h"}, **FAST)
    lives = Lives().live(one, HOUR)
    asked = len(lives.sent("the list"))
    before = values(lives.page)

    lives.live(one, HOUR)

    assert values(lives.first_page) == before
    assert any('bot_id="b1",bot="One"' in line for line in before)
    assert len(lives.sent("the list")) == asked
    assert {body["gptbot_id"] for at, body in lives.journal if at > lives.now - HOUR} == {
        "b1",
        "b2",
    }


class Renaming(WithBots):
    """The API, which at some time renames a field of csat."""

    renamed = False

    def _usual(self, _: dict[str, Any]) -> object:
        rating = "mean_rating" if self.renamed else "average_rating"
        return {"csat": {"total_responses": 2, rating: 3.5}}


def missed(lives: Lives) -> float:
    """How often the last process has missed the field."""
    page = lives.telemetry.text(openmetrics=False).decode()
    labels = 'api="seachat",field="average_rating",metric="csat",workspace="acme"'
    found = re.search(rf"(?m)^seasalt_schema_drift_total\{{{labels}\}} (.*)$", page)
    return float(found[1]) if found else 0


@pytest.mark.parametrize("kept", [True, False], ids=["with a state", "without one"])
def test_a_field_that_went_while_nobody_was_there_is_missed_if_there_is_a_state(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = workspace(["csat"], bots=2, **FAST)
    lives = Lives(api=Renaming).live(one, HOUR)
    assert missed(lives) == 0
    monkeypatch.setattr(Renaming, "renamed", True)
    for _ in range(2):  # and the process after that misses it still
        if not kept:
            lives.state = State()
        lives.live(one, HOUR, down=timedelta(minutes=20))
        assert missed(lives) == (2 * 7 if kept else 0)  # an overdue poll of each bot, and six more
    monkeypatch.setattr(Renaming, "renamed", False)
    assert missed(lives.live(one, HOUR)) == 0


def test_a_field_is_not_missed_in_the_answer_to_another_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lives = Lives(api=Renaming).live(workspace(["csat"], bots=2, **FAST), HOUR)
    monkeypatch.setattr(Renaming, "renamed", True)

    asked = workspace(["csat"], bots=2, timezone="Asia/Tokyo", **FAST)

    assert missed(lives.live(asked, HOUR)) == 0


def test_a_name_that_is_hidden_on_the_page_is_hidden_in_the_state() -> None:
    one = workspace(["total_usage"], workspace_id="ws-1", discover_bots={}, **FAST)
    lives = Lives().live(one, HOUR)

    said = unpacked(encoded(lives.state))
    assert b"redacted" in said
    assert b"555 0100" not in said
    assert "redacted" in lives.live(one, timedelta()).first_page


@pytest.mark.parametrize("seconds", [0.2, 30.0], ids=["answered", "on its way"])
def test_the_yearly_report_is_not_asked_more_often_because_the_process_is_killed(
    seconds: float,
) -> None:
    one = workspace(["total_usage", "conversation_overview_yearly"], **FAST)
    lives, kills = Lives(), 0
    while lives.now < START + timedelta(days=1):
        lives.live(one, timedelta(minutes=20, seconds=kills % 11), killed=True, seconds=seconds)
        for _ in range(4):
            lives.live(one, timedelta(seconds=1 + kills % 11 * 0.2), killed=True, seconds=seconds)
            kills += 1

    assert kills > 250
    assert 3 <= len(lives.sent("conversation_overview_yearly")) <= 5


ALL_ZONES: Final = sorted(available_timezones() - {"Factory", "localtime"})


class Dated(FakeApi):
    """The API in which the number of today is today's own: the day of the year it counted."""

    def _usual(self, body: dict[str, Any]) -> object:
        day = datetime.fromisoformat(body["start_date"]).timetuple().tm_yday
        return {"total_usage": {"total_chat_responses": day}}


@settings(max_examples=25, deadline=None)
@given(
    zone=st.sampled_from(ALL_ZONES),
    day=st.dates(date(2024, 1, 2), date(2035, 12, 30)),
    before=st.integers(1, 1500),
    seconds=st.sampled_from([0.2, 20.0, 55.0]),
    ages=st.lists(st.integers(1, 900), min_size=1, max_size=4),
)
def test_yesterdays_number_is_never_shown_as_todays(
    zone: str, day: date, before: int, seconds: float, ages: list[int]
) -> None:
    one = workspace(
        ["total_usage"], timezone=zone, stale_after=1000, interval="2m", allow_fast_polling=True
    )
    midnight, seen = begins(day, one.zone), 0
    lives = Lives(midnight - timedelta(seconds=before), Dated)

    def check(page: str, now: datetime) -> None:
        nonlocal seen
        told = re.findall(r"^seasalt_total_usage_chat_responses{.*} (\d+)$", page, re.MULTILINE)
        assert set(told) <= {str(local_day(now, one.zone).timetuple().tm_yday)}
        seen += len(told)

    def look() -> None:
        check(lives.shown(), lives.world.now())

    for age in (*ages, 900):  # the last one begins after, or lives across midnight
        begun = lives.now
        lives.live(one, timedelta(seconds=age), *[look] * (age - 1), seconds=seconds)
        check(lives.first_page, begun)
        end = max(lives.now, midnight)
        check(rendered(lives.store, end), end)
    assert seen


@pytest.mark.parametrize("back", [timedelta(minutes=10), timedelta(days=3650)], ids=str)
def test_a_clock_that_was_set_back_shows_nothing_of_unknown_age_and_polls_on(
    back: timedelta,
) -> None:
    one = workspace(["total_usage"], **FAST)
    lives = Lives().live(one, HOUR)
    lives.now -= back

    lives.live(one, timedelta(minutes=11))

    assert "seasalt_total_usage_chat_responses{" not in lives.first_page
    assert "seasalt_total_usage_chat_responses{" in lives.page
