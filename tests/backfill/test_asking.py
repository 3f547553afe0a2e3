"""The requests of a backfill, sent to a sandbox that can be told to misbehave."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
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

    def plan(
        self,
        metrics: list[Any] = METRICS,
        *,
        days: int = 10,
        last: date = LAST,
        **others: Any,  # noqa: ANN401 - keys of the file
    ) -> Plan:
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
        return Plan(made, made.bots, Range(last - DAY * (days - 1), last))

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
            return dict(journal.known(plan.account, bot, question))


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
    shown, wanted = (
        Counter((one.part, one.target, one.days) for one in some)
        for some in (case.shown.requests, planned)
    )
    assert shown == wanted


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


def test_the_run_of_the_next_day_asks_for_the_day_that_is_new(case: Case) -> None:
    case.run(case.plan(days=40, last=LAST - DAY))
    asked = len(case.api.asked)
    case.run(case.plan(days=41))
    new = [json.loads(body) for body in case.api.asked[asked:]]
    # For each of two bots: rows of messages, rows of calls, and the totals.
    assert len(new) == 2 * (2 + 1)
    assert {body["start_date"] for body in new} == {f"{LAST}T00:00:00"}


def test_another_metric_asks_for_itself_alone(case: Case) -> None:
    case.run(case.plan([one for one in METRICS if one not in ["label_usage", "total_usage"]]))
    asked = len(case.api.asked)
    case.run(case.plan())
    new = [json.loads(body)["metrics"] for body in case.api.asked[asked:]]
    assert new == [["label_usage"]] * 2 + [["total_usage"]] * 20


def test_what_was_refused_is_asked_again_by_the_next_run(case: Case) -> None:
    plan = case.plan(["total_usage"])
    case.api.fault = lambda _: reply(400, {"detail": "no"})
    assert case.run(plan).problems
    case.api.fault = lambda _: None
    assert case.run(plan).problems == {}
    [question] = plan.questions("bots", Span.DAY)
    assert all(len(case.known(plan, question.question, bot.id)) == 10 for bot in plan.bots)


@pytest.mark.parametrize("answer", [{}, {"status": "maintenance"}, {"total_usage": "soon"}])
def test_what_could_not_be_read_is_told_by_every_run_until_it_can(
    case: Case, answer: dict[str, Any]
) -> None:
    plan = case.plan(["total_usage"])
    case.api.fault = lambda _: reply(200, answer)
    assert case.run(plan).problems
    assert case.run(plan).problems
    case.api.fault = lambda _: None
    assert case.run(plan).problems == {}
    [question] = plan.questions("bots", Span.DAY)
    assert all(len(case.known(plan, question.question, bot.id)) == 10 for bot in plan.bots)


def test_a_day_that_is_known_to_be_empty_is_not_missing_in_the_next_run(case: Case) -> None:
    plan = case.plan()

    def nothing(body: dict[str, Any]) -> httpx.Response:
        answer = answered(case.api.sandbox, body)
        for name in {"activity_trend", "label_usage"} & answer.keys():
            (answer[name]["data"] if name == "activity_trend" else answer[name]).clear()
        if "csat" in answer:
            answer["csat"] |= {"total_responses": 0, "responses": []}
        return reply(200, answer)

    case.api.fault = nothing
    assert case.run(plan).skipped["B"] == 20
    with Journal(case.folder) as journal:
        assert [one for one in plan.requests() if journal.missing(plan.account, one)] == []


def test_answers_to_a_divided_request_are_kept_one_by_one(case: Case) -> None:
    plan = case.plan(concurrency=1)

    def refused_and_then_lost(body: dict[str, Any]) -> httpx.Response | None:
        if len(body["metrics"]) > 1 and "total_usage" in body["metrics"]:
            return reply(400, {"detail": "Unsupported metric"})
        return reply(401, {"detail": "no"}) if body["metrics"] == ["total_usage"] else None

    case.api.fault = refused_and_then_lost
    with pytest.raises(Stopped):
        case.run(plan)
    days = {one.report.name: one.question for one in plan.questions("bots", Span.DAY)}
    bot = plan.bots[0].id
    assert len(case.known(plan, days["communication_volume"], bot)) == 1
    assert case.known(plan, days["total_usage"], bot) == {}


def test_the_days_count_is_kept_with_each_answer_and_each_failure(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, counts = case.plan(concurrency=1), list[int]()
    add = Journal.add

    def kept(journal: Journal, *given: Any) -> None:  # noqa: ANN401 - handed on
        add(journal, *given)
        counts.append(journal.standing(plan.account).spent)

    monkeypatch.setattr(Journal, "add", kept)
    late = [3, 4, 5]
    case.api.fault = lambda _: reply(500, {"detail": "no"}) if len(case.api.asked) in late else None
    case.run(plan)
    # The sender's own tries are one failure here, so the count may rise by more than one.
    assert counts == sorted(counts)
    assert counts[-1] == len(case.api.asked)
    assert counts[0] == 1


def test_the_months_of_a_year_that_were_not_over_are_asked_again_when_they_are(
    case: Case,
) -> None:
    metrics = ["conversation_overview_yearly"]
    early = case.plan(metrics)
    case.run(early)
    [question] = early.questions("bots", Span.YEAR)
    [samples] = case.known(early, question.question, early.bots[0].id).values()
    month = f"{START.month:02}"
    assert samples
    assert all(sample.labels[1:] < (month,) and len(sample.labels) == 2 for sample in samples)
    with Journal(case.folder) as journal:

        def missing(last: date) -> int:
            later = case.plan(metrics, last=last)
            return sum(journal.missing(later.account, one) is not None for one in later.requests())

        after = (LAST.replace(day=1) + 32 * DAY).replace(day=1)
        assert missing(after - 2 * DAY) == 0
        assert missing(after - DAY) == 2  # the month's last day: the month is over then


def test_a_rating_that_cannot_be_read_leaves_out_its_day_alone(case: Case) -> None:
    plan = case.plan([{"metric": "csat", "window": "yesterday"}], days=45)
    days: dict[str, date] = {}

    def unrated(body: dict[str, Any]) -> httpx.Response:
        answer = answered(case.api.sandbox, body)
        answer["csat"]["responses"][0]["rating"] = None
        at = answer["csat"]["responses"][0]["created_at"]
        days[body["gptbot_id"]] = datetime.fromisoformat(at).date()
        return reply(200, answer)

    case.api.fault = unrated
    made = case.run(plan)
    [question] = plan.questions("bots", Span.DAYS)
    for bot in plan.bots:
        known = case.known(plan, question.question, bot.id)
        [days_asked] = {one.days for one in plan.part("A")}
        assert len(known) == (days_asked.last - days_asked.first).days
        assert (days[bot.id], 24) not in known
    assert len(made.problems) == len(set(days.values()))


def test_two_workers_that_ask_about_two_bots_do_not_mix_up_their_empty_days(
    case: Case,
) -> None:
    plan = case.plan()
    one, other = (
        next(request for request in plan.part("B") if request.target.bot_id == bot.id)
        for bot in plan.bots
    )
    world = World()

    async def both() -> bool:
        client = Client(plan.workspace, transport=case.api, now=world.now)
        sender = Sender(plan.workspace, client, Telemetry(), world.now)
        with Journal(case.folder) as journal:
            made = Asking(plan, sender, journal, case.shown, world.now)
            empty = {one.target.bot_id: frozenset[int](), other.target.bot_id: {LAST.toordinal()}}

            class Raced(tuple[str, frozenset[int]]):
                """Another thread replaces what is kept right after it was read."""

                __slots__ = ()

                def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - an index
                    if place == 0:
                        made._empty = (  # noqa: SLF001 - the race
                            other.target.bot_id,
                            frozenset({one.days.first.toordinal()}),
                        )
                    return super().__getitem__(place)

            made._empty = Raced((one.target.bot_id, frozenset(empty[one.target.bot_id])))  # noqa: SLF001
            found = made._is_empty(one)  # noqa: SLF001 - the race
            await client.close()
            return found

    assert world.run(both) is False
