"""Bots that come and go, in a world where hours take milliseconds."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from support.discovered import Run
from support.polled import polling
from support.threads import made_on_the_loop
from support.virtual import START, World
from support.workspaces import KEY, workspace

from exporter.config import Bot
from exporter.logs import Formatter
from exporter.metrics.poll_results import Results
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.polling import discovery
from exporter.polling.discovery import BotDiscovery
from exporter.polling.known_bots import KnownBots
from exporter.polling.plan import planned_calls
from exporter.polling.poller import ReportPoller
from exporter.polling.workload import Workload
from exporter.polling.workspace import WorkspacePoller
from exporter.sandbox import Sandbox

HOUR = timedelta(hours=1)


def test_the_list_is_asked_with_the_bearer_key_and_the_documented_parameters_alone() -> None:
    run = Run(["b1"]).lasts(timedelta(seconds=5))

    ((_, request),) = run.api.pages
    assert request.method == "GET"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in request.headers
    assert dict(request.url.params) == {
        "workspace_id": "ws-1",
        "offset": "0",
        "limit": "100",
        "order_by": "created_at:asc",
    }


def test_a_key_of_its_own_goes_to_the_list_and_not_to_the_analytics() -> None:
    run = Run(["b1"], bots_api_key="sk-bots").lasts(timedelta(seconds=5))

    assert run.api.pages[0][1].headers["authorization"] == "Bearer sk-bots"


def test_a_new_bot_is_polled_within_the_discovery_interval() -> None:
    run = Run(["b1"])

    run.lasts(4 * HOUR, lambda: run.api.bots.append("b2"))

    first = min(at for at, body in run.api.journal if body["gptbot_id"] == "b2")
    assert START + 2 * HOUR < first < START + 3 * HOUR + timedelta(seconds=5)


def test_a_bot_gone_is_polled_until_the_second_list_without_it() -> None:
    run = Run(["b1", "b2"])

    run.lasts(8 * HOUR, lambda: run.api.bots.remove("b2"))

    last = max(at for at, body in run.api.journal if body["gptbot_id"] == "b2")
    assert START + 5 * HOUR < last < START + 6 * HOUR
    assert 'bot_id="b2"' not in run.page()
    assert run.asked(START + 7 * HOUR)["b1"] >= 6


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({"status": 500}, id="it fails"),
        pytest.param({"bots": []}, id="it is empty"),
        pytest.param({"bots": ["b1"], "more": 2}, id="it ends before its total"),
        pytest.param({"bots": ["b1"], "more": 2, "again": True}, id="a page comes again"),
    ],
)
def test_the_last_good_list_is_kept_if_a_list_cannot_be_believed(spoilt: dict[str, Any]) -> None:
    run = Run(["b1", "b2", "b3"])

    def spoil() -> None:
        for name, value in spoilt.items():
            setattr(run.api, name, value)

    run.lasts(12 * HOUR, spoil)

    assert run.asked(START + 11 * HOUR).keys() == {"b1", "b2", "b3"}
    page = run.page()
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 0' in page
    # What the list said of the bots is three of its intervals old by now.
    assert "seasalt_bot_info" not in page


def test_of_more_bots_than_may_be_the_first_are_polled_and_the_rest_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = Run([f"b{number}" for number in range(350)], discover_bots={"max_bots": 120})
    run.lasts(timedelta(minutes=3))

    assert run.asked().keys() == {f"b{number}" for number in range(120)}
    assert len(run.api.pages) == 2
    assert run.dropped("max_bots") == 230
    [told] = [
        one for one in caplog.records if one.getMessage() == "bots beyond max_bots are not polled"
    ]
    assert "at least 230 more than max_bots 120" in vars(told)["reason"]


def test_a_list_that_is_too_long_to_be_read_proves_nobody_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "MOST_PAGES", 1)
    run = Run([f"b{number}" for number in range(150)], discover_bots={"max_bots": 9})

    run.lasts(8 * HOUR, run.api.bots.reverse)

    assert run.asked(START + 7 * HOUR).keys() == {f"b{number}" for number in range(9)}
    page = run.page()
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 1' in page


def test_a_failed_list_is_asked_again_within_ten_minutes() -> None:
    run = Run(["b1"])
    run.api.status = 503

    def mend() -> None:
        run.api.status = 200

    run.lasts(timedelta(minutes=40), mend)

    assert run.asked()["b1"] >= 1


def test_a_list_that_cannot_be_read_does_not_keep_the_named_bots_from_being_polled() -> None:
    run = Run([])
    run.one = workspace(["total_usage"], bots=1, workspace_id="ws-1", discover_bots={})
    run.api.status = 401

    run.lasts(timedelta(minutes=30))

    assert len(run.api.pages) >= 2
    assert run.asked()["b0"] >= 3


def test_a_renamed_bot_is_asked_about_soon_under_its_new_name() -> None:
    run = Run(["b1"], metrics=["conversation_overview"])

    def rename() -> None:
        run.api.called = "New name of"

    run.lasts(timedelta(minutes=62), rename)

    page = run.page()
    assert 'overview_conversations{api="seachat",workspace="acme",bot_id="b1",bot="New' in page
    assert 'bot="Name of b1"' not in page


def test_a_bot_renamed_while_it_was_asked_about_has_no_values_under_its_old_name() -> None:
    run = Run(["b1"], metrics=["conversation_overview"], discover_bots={"interval": "10m"})
    run.api.seconds = 700  # an answer is on its way whenever the list comes

    def rename() -> None:
        run.api.called = "New name of"

    run.one = run.one.model_copy(update={"timeout": HOUR})
    run.lasts(4 * HOUR, rename)

    page = run.page()
    assert 'bot="Name of b1"' not in page
    assert 'bot="New name of b1"' in page


def test_the_status_knows_every_report_and_the_list_before_and_after_the_first_poll() -> None:
    run = Run(["b1"])
    seen: list[dict[str, str]] = []

    def look() -> None:
        status = run.poller.status()
        assert status.requests_today == len(run.api.pages) + len(run.api.journal)
        seen.append(
            {
                f"{target.bot}/{report.report}": report.state.value
                for target in status.targets
                for report in target.reports
            }
        )

    run.api.seconds = 25
    run.lasts(timedelta(seconds=80), look, look, look)

    assert seen == [
        {"/bots": "waiting"},
        {"/bots": "ok", "Name of b1/total_usage": "waiting"},
        {"/bots": "ok", "Name of b1/total_usage": "ok"},
    ]


def test_what_the_list_says_is_on_the_page() -> None:
    run = Run(["b1"]).lasts(timedelta(seconds=30))

    page = run.page()
    assert 'seasalt_bot_info{api="seachat",workspace="acme",bot_id="b1",bot="Name of b1"} 1' in page
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 1' in page


def test_a_configured_bots_facts_carry_the_name_and_the_labels_of_the_configuration() -> None:
    run = Run(["b1"], labels={"team": "eu"})
    mine = Bot(id="b1", name="Mine", labels={"tier": "gold"})
    run.one = run.one.model_copy(update={"bots": (mine,)})
    run.lasts(timedelta(seconds=30))

    page = run.page()
    assert (
        'seasalt_bot_info{api="seachat",workspace="acme",bot_id="b1",bot="Mine",team="eu",'
        'tier="gold"} 1\n'
    ) in page
    assert "Name of b1" not in page


def test_rows_that_cannot_be_read_are_counted() -> None:
    run = Run(["b1"])
    run.api.odd = ({"id": "../../admin", "name": "x"}, "not a bot")
    run.lasts(timedelta(seconds=30))

    for field in ("id", "data"):
        labels = f'api="seachat",field="{field}",metric="bots",workspace="acme"'
        assert run.told(f"seasalt_schema_drift_total{{{labels}}}") == 1
    assert run.asked() == {"b1": 1}


@pytest.mark.parametrize(
    ("field", "missed"), [("name", True), ("is_enabled", False)], ids=["required", "optional"]
)
def test_a_field_that_every_bot_of_the_list_lacks_is_missed_if_it_is_a_required_one(
    field: str, missed: bool
) -> None:
    run = Run(["b1", "b2"])

    def renamed() -> None:
        run.api.renamed = field

    run.lasts(timedelta(hours=2), renamed)

    labels = f'api="seachat",field="{field}",metric="bots",workspace="acme"'
    page = run.telemetry.text(openmetrics=False).decode()
    assert (f"seasalt_schema_drift_total{{{labels}}}" in page) == missed


def test_a_list_without_an_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.polling.discovery.MOST_PAGES", 7)
    run = Run(["b1"])
    run.api.endless = True
    run.lasts(timedelta(minutes=1))

    assert [request.url.params["offset"] for _, request in run.api.pages] == list("0123456")
    assert run.asked() == {}
    page = run.page()
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 0' in page


def test_a_failed_list_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(["b1"])
    run.api.status = 503
    with caplog.at_level(logging.DEBUG, "exporter"):
        run.lasts(timedelta(minutes=1))

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(run.api.pages) == 3  # twice again within seconds
    assert record.getMessage() == "report failed"
    assert (vars(record)["report"], vars(record)["reason"]) == ("bots", "HTTP 503")
    assert KEY not in caplog.text


def test_a_clock_that_is_set_back_does_not_stop_the_reading_of_the_list() -> None:
    run = Run(["b1"])

    def set_clock() -> None:
        run.world.start -= timedelta(days=7)

    run.lasts(8 * HOUR, set_clock)

    assert 7 <= len(run.api.pages) <= 10


def test_a_clock_that_is_set_forward_has_the_list_read_within_a_minute() -> None:
    run = Run(["b1"], discover_bots={"interval": "1d"})

    def set_clock() -> None:
        run.world.start += timedelta(days=1)

    run.lasts(timedelta(minutes=4), set_clock)

    assert len(run.api.pages) == 2


class Counting(httpx.ASGITransport):
    """The sandbox behind a journal of its requests."""

    def __init__(self, sandbox: Sandbox, now: Callable[[], datetime]) -> None:
        super().__init__(sandbox)
        self.now = now
        self.journal: list[tuple[datetime, str, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Take a request down and hand it on."""
        self.journal.append((self.now(), request.url.path, request.content))
        return await super().handle_async_request(request)


def test_with_two_thousand_discovered_bots_a_cycle_makes_exactly_the_planned_requests(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    world, cycle = World(), timedelta(minutes=10)
    sandbox = make_sandbox(now=world.now, bots=2000, days=3, conversations_per_day=0.5)
    (company,) = sandbox.workspaces
    one = workspace(
        ["communication_volume", "activity_trend", "csat", "label_overview"],
        api_key=company.seachat_key,
        workspace_id=company.id,
        discover_bots={"interval": "1h"},
        requests_per_minute=6000,
        concurrency=8,
    )
    api = Counting(sandbox, world.now)
    store = Store()

    async def go() -> None:
        async with WorkspacePoller(one, store, Telemetry(), world.now, transport=api) as poller:
            await polling(poller, cycle * 2 + timedelta(seconds=1))

    world.run(go)

    bots = [Bot(id=bot.id, name=bot.name) for bot in company.bots]
    planned = Counter(
        json.dumps(call.body(START.date()), sort_keys=True) for call in planned_calls(one, bots)
    )
    assert len(planned) == 2 * 2000 + 1
    second = Counter(
        json.dumps(json.loads(content), sort_keys=True)
        for at, path, content in api.journal
        if path == api_paths.SEACHAT_REPORT and START + cycle < at <= START + cycle * 2
    )
    assert second == planned
    listed = [at for at, path, _ in api.journal if path == api_paths.BOTS]
    assert len(listed) in {20, 40}
    assert all(record.success for _, record in store)


def test_the_pages_of_the_list_are_taken_from_the_same_budget() -> None:
    run = Run([f"b{number}" for number in range(500)], requests_per_minute=60)
    run.lasts(timedelta(minutes=3))

    sent = sorted([at for at, _ in run.api.pages] + [at for at, _ in run.api.journal])
    assert len(sent) <= 3 * 60
    assert sent[0] >= START + timedelta(seconds=1)


def test_what_follows_from_the_bots_is_worked_out_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, threads = Run(["b1"]), made_on_the_loop(monkeypatch)
    run.lasts(timedelta(hours=2, minutes=30), lambda: run.api.bots.append("b2"))

    assert run.asked().keys() == {"b1", "b2"}
    assert threads == [True, False, False]  # of no bots before anything runs, of one, of two


class Harm(Exception):
    """What nobody expects."""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((discovery, name) for name in ("page", "whole_list")),
        *((KnownBots, name) for name in ("after", "facts")),
        *((BotDiscovery, name) for name in ("_taken", "_take_up", "_assign")),
        *((ReportPoller, name) for name in ("assign", "report_load")),
        (Workload, "of"),
        (Store, "adjust"),
    ],
    ids=lambda one: one if isinstance(one, str) else getattr(one, "__name__", ""),
)
def test_whatever_a_list_leads_to_is_refused_told_as_a_bug_counted_and_the_last_list_stays(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def harm(*_: object, **__: object) -> Any:  # noqa: ANN401 - of any kind
        raise Harm("canary")

    def grow() -> None:
        """Let there be a bot more and other names, which nothing can be made of."""
        run.api.bots.append("b3")
        run.api.called = "New name of"
        monkeypatch.setattr(owner, name, harm)

    def mend() -> None:
        """And again something."""
        shown.append(run.page())
        assert "b3" not in run.asked()
        assert run.asked(run.world.now() - timedelta(minutes=10)) == {"b1": 1, "b2": 1}
        monkeypatch.undo()

    shown: list[str] = []
    run = Run(["b1", "b2"])
    run.lasts(3 * HOUR, grow, mend)

    where = "answer" if name == "page" else "discovery"
    assert run.told(f'seasalt_exporter_bugs_total{{where="{where}"}}') == 1
    assert not any("canary" in Formatter("json").format(record) for record in caplog.records)
    assert "CRITICAL" in {record.levelname for record in caplog.records}
    assert 'bot_id="b3"' not in shown[0]
    assert 'bot_info{api="seachat",workspace="acme",bot_id="b1",bot="Name of b1"' in shown[0]
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 0' in shown[0]
    assert run.asked()["b3"] >= 1  # the next list is taken


def test_a_list_whose_bots_cannot_be_told_on_the_page_is_in_force_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def harm(*_: object) -> None:
        raise Harm("canary")

    run = Run(["b1", "b2"])
    monkeypatch.setattr(Results, "put_all", harm)
    run.lasts(timedelta(minutes=30))

    assert run.asked().keys() == {"b1", "b2"}
    assert run.told('seasalt_exporter_bugs_total{where="discovery"}') > 0
