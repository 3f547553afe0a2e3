"""The requests of a backfill, sent to a sandbox that can be told to misbehave."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx
import pytest
from support.virtual import START, World
from support.workspaces import workspace

from exporter.backfill import asking as module
from exporter.backfill.asking import Asking, Stopped
from exporter.backfill.journal import Journal
from exporter.backfill.plan import Plan, Range, Request
from exporter.config import Bot
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.model.history import Span
from exporter.reports import csat
from exporter.sandbox import Sandbox
from exporter.upstream.client import Client
from exporter.upstream.sender import Sender

DAY: Final = timedelta(days=1)
LAST: Final = START.date() - DAY
METRICS: Final[list[Any]] = [
    "activity_trend",
    {"metric": "activity_trend", "message_type": "calls"},
    "label_usage",
    {"metric": "csat", "window": "last_7_days"},
    "communication_volume",
    "total_usage",
    "conversation_breakdown",
]

Fault = Callable[[dict[str, Any]], httpx.Response | None]
"""What is answered instead of the sandbox's answer to a body, if anything."""


def reply(
    status: int, content: object, headers: Mapping[str, str] = MappingProxyType({})
) -> httpx.Response:
    """An answer as it comes from the network."""
    stream = httpx.ByteStream(json.dumps(content).encode())
    kind = {"Content-Type": "application/json"}
    return httpx.Response(status, headers={**kind, **headers}, stream=stream)


@dataclass
class Api(httpx.AsyncBaseTransport):
    """A sandbox that notes every request, and may answer otherwise.

    Attributes:
        sandbox: Answers.
        fault: Answers instead.
        asked: The bodies, in order.
    """

    sandbox: Sandbox
    fault: Fault = lambda _: None
    asked: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Note it, and have it answered."""
        body = request.content.decode()
        self.asked.append(body)
        await asyncio.sleep(0.1)
        answer = self.fault(json.loads(body))
        return answer or await httpx.ASGITransport(self.sandbox).handle_async_request(request)

    @property
    def twice(self) -> list[str]:
        """The bodies that came more than once."""
        return [body for body, times in Counter(self.asked).items() if times > 1]


class Silent:
    """Keeps what would be shown."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.notes: list[str] = []

    def done(self, request: Request) -> None:
        """Keep the request."""
        self.requests.append(request)

    def note(self, text: str) -> None:
        """Keep the text."""
        self.notes.append(text)


@dataclass
class Case:
    """A workspace of the sandbox, and where its past goes."""

    api: Api
    folder: Path
    shown: Silent = field(default_factory=Silent)
    waited: timedelta = timedelta(0)

    def plan(self, metrics: list[Any] = METRICS, *, days: int = 10, **others: Any) -> Plan:  # noqa: ANN401 - keys of the file
        """What is asked about the last days."""
        company = self.api.sandbox.workspaces[0]
        one = {
            "api_key": company.seachat_key,
            "requests_per_minute": 6000,
            "base_url": "http://127.0.0.1:1",
            **others,
        }
        named = tuple(Bot(id=bot.id, name=bot.name) for bot in company.bots)
        made = workspace(metrics, bots=len(named), **one).model_copy(update={"bots": named})
        return Plan(made, made.bots, Range(LAST - DAY * (days - 1), LAST))

    def run(self, plan: Plan, after: Callable[[Asking], object] = lambda _: None) -> Asking:
        """Ask, as if time passed only when nobody has anything to do."""
        world = World()

        async def whole() -> Asking:
            client = Client(plan.workspace, transport=self.api, now=world.now)
            sender = Sender(plan.workspace, client, Telemetry(), world.now)
            with Journal(self.folder) as kept:
                made = Asking(plan, sender, kept, self.shown, world.now)
                after(made)
                try:
                    await made.run()
                finally:
                    self.waited = world.now() - START
                    await client.close()
                return made

        return world.run(whole)

    def known(self, plan: Plan, question: str, bot: str) -> dict[tuple[date, int], Any]:
        """What the journal has of a question."""
        with Journal(self.folder) as journal:
            return dict(journal.known(plan.workspace.name, bot, question))


@pytest.fixture(scope="module")
def sandbox() -> Any:  # noqa: ANN401 - an iterator
    with closing(Sandbox.make(now=lambda: START, bots=2, days=60)) as made:
        yield made


@pytest.fixture
def case(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    async def at_once(work: Callable[..., Any], *given: Any) -> Any:  # noqa: ANN401 - any work
        return work(*given)  # a thread would take no time in this world

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    return Case(Api(sandbox), tmp_path)


def test_every_request_of_the_plan_is_sent_once_and_no_other(case: Case) -> None:
    plan = case.plan()
    case.run(plan)
    planned = list(plan.requests())
    assert len(case.api.asked) == len(planned) == 2 * (2 + 10)
    assert case.api.twice == []
    assert {one.key for one in case.shown.requests} == {one.key for one in planned}


@pytest.mark.parametrize("after", [0, 1, 7, 19])
def test_what_was_interrupted_goes_on_and_makes_no_request_twice(case: Case, after: int) -> None:
    plan = case.plan()

    def interrupt(made: Asking) -> None:
        def fault(_: object) -> None:
            if len(case.api.asked) > after:
                made.end()

        case.api.fault = fault

    with pytest.raises(Stopped, match="interrupted"):
        case.run(plan, interrupt)
    assert len(case.api.asked) < 2 * (2 + 10)
    case.api.fault = lambda _: None
    case.run(plan)
    assert case.api.twice == []
    assert len(case.api.asked) == 2 * (2 + 10)


def test_a_pause_that_the_api_asks_for_is_kept(case: Case) -> None:
    plan = case.plan(concurrency=1)

    def limited(_: object) -> httpx.Response | None:
        late = len(case.api.asked) == 3
        return reply(429, {}, {"Retry-After": "900"}) if late else None

    case.api.fault = limited
    case.run(plan)
    assert case.waited >= timedelta(seconds=900)
    assert len(case.api.asked) == 2 * (2 + 10) + 1


def test_a_rejected_key_ends_it_at_once_and_what_was_answered_is_kept(case: Case) -> None:
    plan = case.plan(concurrency=1)

    def rejected(_: object) -> httpx.Response | None:
        late = len(case.api.asked) > 5
        return reply(401, {"detail": "Invalid API key"}) if late else None

    case.api.fault = rejected
    with pytest.raises(Stopped, match="the key is not accepted"):
        case.run(plan)
    assert len(case.api.asked) == 6
    case.api.fault = lambda _: None
    case.run(plan)
    assert len(case.api.asked) == 2 * (2 + 10) + 1
    assert case.api.twice == [case.api.asked[5]]


def test_an_api_that_fails_is_asked_again_and_then_the_backfill_ends(case: Case) -> None:
    plan = case.plan(concurrency=1)
    case.api.fault = lambda _: reply(500, {"detail": "no"})
    with pytest.raises(Stopped, match="HTTP 500"):
        case.run(plan)
    assert module.TRIES <= len(case.api.asked) <= 3 * module.TRIES
    assert case.waited >= timedelta(minutes=2)


def test_a_spent_budget_ends_it_and_says_when_the_next_day_begins(case: Case) -> None:
    plan = case.plan(requests_per_day=5)
    with pytest.raises(Stopped, match="daily request limit reached; next request at 2026-11-22"):
        case.run(plan)
    assert len(case.api.asked) == 5


def test_a_bot_that_the_api_has_lost_costs_its_own_past_alone(case: Case) -> None:
    plan = case.plan()
    lost, kept = (bot.id for bot in plan.bots)

    def gone(body: dict[str, Any]) -> httpx.Response | None:
        mine = body.get("gptbot_id") == lost
        return reply(404, {"detail": "Bot not found"}) if mine else None

    case.api.fault = gone
    made = case.run(plan)
    assert list(made.problems) == [
        f"workspace acme: bot {lost}: HTTP 404; its past is left out",
    ]
    [question] = [one.question for one in plan.questions("bots", Span.DAY)][:1]
    assert len(case.known(plan, question, kept)) == 10
    assert case.known(plan, question, lost) == {}


def test_a_question_that_the_api_refuses_does_not_take_the_others_along(case: Case) -> None:
    plan = case.plan()

    def refused(body: dict[str, Any]) -> httpx.Response | None:
        odd = "total_usage" in body["metrics"]
        return reply(400, {"detail": "Unsupported metric"}) if odd else None

    case.api.fault = refused
    made = case.run(plan)
    assert list(made.problems) == [
        "workspace acme: total_usage: HTTP 400; it is left out where that happened"
    ]
    # Three refusals are enough: from then on it is not asked any more.
    assert len(case.api.asked) < 2 * (2 + 10) + 4 * (module._REFUSED_FOR_GOOD + 4)  # noqa: SLF001
    days = {one.report.name: one.question for one in plan.questions("bots", Span.DAY)}
    bot = plan.bots[0].id
    assert case.known(plan, days["total_usage"], bot) == {}
    assert len(case.known(plan, days["communication_volume"], bot)) == 10


def test_days_that_part_a_shows_to_be_empty_are_not_requested(case: Case) -> None:
    plan = case.plan(days=30)
    weekend = {LAST - DAY * number for number in range(30) if (LAST - DAY * number).weekday() > 4}

    def without(body: dict[str, Any]) -> httpx.Response | None:
        if "activity_trend" not in body["metrics"]:
            return None
        answer = answered(case.api.sandbox, body)
        for part in ("activity_trend", "label_usage"):
            if part in answer:
                rows = answer[part]["data"] if part == "activity_trend" else answer[part]
                rows[:] = [row for row in rows if date.fromisoformat(row["period"]) not in weekend]
        if "csat" in answer:
            answer["csat"] |= {"total_responses": 0, "responses": []}
        return reply(200, answer)

    case.api.fault = without
    made = case.run(plan)
    assert made.skipped["B"] == 2 * len(weekend)
    assert made.sent["B"] == 2 * (30 - len(weekend))


def answered(sandbox: Sandbox, body: dict[str, Any]) -> dict[str, Any]:
    """What the sandbox answers, beside the way of the requests."""
    key = sandbox.workspaces[0].seachat_key.encode()
    scope = {
        "path": api_paths.SEACHAT_REPORT,
        "method": "POST",
        "headers": [(b"x-api-key", key), (b"content-type", b"application/json")],
    }
    status, _, found = sandbox._answer(scope, json.dumps(body).encode())  # noqa: SLF001 - without a loop
    assert status == 200, found
    answer: dict[str, Any] = json.loads(json.dumps(found))
    return answer


def test_ratings_by_day_equal_those_of_a_request_for_each_day(case: Case) -> None:
    plan = case.plan([{"metric": "csat", "window": "yesterday"}], days=45)
    case.run(plan)
    [question] = plan.questions("bots", Span.DAYS)
    for bot in plan.bots:
        known = case.known(plan, question.question, bot.id)
        for number in range(45):
            day = LAST - DAY * number
            body = {
                "metrics": ["csat"],
                "gptbot_id": bot.id,
                "timezone": "UTC",
                "start_date": f"{day}T00:00:00",
                "end_date": f"{day}T23:59:59",
            }
            part = answered(case.api.sandbox, body)["csat"]
            reading = question.reading(START)
            asked = set(csat.REPORT.read(part, reading))
            rebuilt = {(one.family, one.labels[1:], one.value) for one in known[day, 24]}
            assert rebuilt == {(one.family, one.labels[1:], one.value) for one in asked}


def test_of_a_response_nothing_but_its_rating_and_time_is_read_and_neither_is_kept(
    case: Case, tmp_path: Path
) -> None:
    plan = case.plan([{"metric": "csat", "window": "yesterday"}], days=45)
    case.run(plan)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for text in (b"+1206", b"example.com", b"conv-", b"comment", b"created_at", b"T0"):
        assert text not in kept, text
    assert set(csat.Answer.model_fields) == {"rating", "created_at"}


def test_responses_that_are_fewer_than_their_total_are_no_history(case: Case) -> None:
    plan = case.plan([{"metric": "csat", "window": "yesterday"}])

    def cut(body: dict[str, Any]) -> httpx.Response:
        answer = answered(case.api.sandbox, body)
        answer["csat"]["responses"].pop()
        return reply(200, answer)

    case.api.fault = cut
    made = case.run(plan)
    assert list(made.problems) == [
        "workspace acme: csat: the list of responses is not complete; it is left out where that happened"
    ]
    [question] = plan.questions("bots", Span.DAYS)
    assert all(case.known(plan, question.question, bot.id) == {} for bot in plan.bots)
