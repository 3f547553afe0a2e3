"""A new configuration: what it changes, and above all what it leaves alone."""

import asyncio
import gc
import re
import shutil
import threading
import time
import types
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import certifi
import httpx
import pytest
from pydantic import SecretStr
from support.fleets import HOUR, Run
from support.threads import made_on_the_loop
from support.workspaces import workspace

import exporter.polling.fleet as adopting
from exporter.config import Config, Workspace
from exporter.errors import Ending, StartError
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.discovery import BotDiscovery
from exporter.polling.poller import ReportPoller
from exporter.polling.workload import Workload
from exporter.polling.workspace import WorkspacePoller
from exporter.state.workspace_memory import Memory, Origin
from exporter.upstream.client import Client
from exporter.upstream.limiter import SenderState
from exporter.upstream.sender import Sender

AUTHORITIES = certifi.where()
FAST = {"requests_per_minute": 600}


def acme(metrics: object = ("total_usage", "label_usage"), **others: Any) -> Workspace:  # noqa: ANN401 - keys of the file
    return workspace(list(metrics), **{**FAST, **others})  # type: ignore[call-overload]  # a list of items


def test_what_polls_is_gone_with_its_configuration() -> None:
    def collected() -> None:
        gc.collect()
        alive.append([poller() is not None for poller in run.pollers])

    run, alive = Run(), list[list[bool]]()
    run.through(config(acme()), config(acme(["label_usage"])), collected)

    assert alive == [[False, True]]


def config(*workspaces: Workspace) -> Config:
    return Config(workspaces)


def test_a_workspace_that_is_as_it_was_goes_on_undisturbed() -> None:
    alone = Run().through(config(acme()), lambda: None)
    reloaded = Run().through(config(acme()), config(acme()))

    assert reloaded.api.journal == alone.api.journal


def test_another_workspace_that_changes_does_not_disturb_it() -> None:
    alone = Run().through(config(acme(["total_usage"])), lambda: None, lambda: None)
    beside = Run().through(
        config(acme(["total_usage"]), acme(["csat"], name="other", bots=1)),
        config(acme(["total_usage"]), acme(["label_overview"], name="other", bots=1)),
        config(acme(["total_usage"])),
    )

    assert beside.api.sent("total_usage") == alone.api.sent("total_usage")
    assert beside.api.sent("csat")
    assert beside.api.sent("label_overview")


def test_a_workspace_that_is_gone_leaves_the_next_page_and_is_asked_no_more() -> None:
    run = Run().through(config(acme(), acme(["csat"], name="other", bots=1)), config(acme()))

    assert 'workspace="other"' in run.shown[1]
    assert 'workspace="other"' not in run.shown[2]
    assert 'workspace="acme"' in run.shown[2]
    assert max(run.api.sent("csat")) < run.world.start + HOUR


class Overtaken(Run):
    """A fleet that is given another configuration while the answers of the first are on their way."""

    found: Final = {"data": [{"id": "b0", "name": "Bot 0", "is_enabled": True}], "total": 1}

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status
        self.held = asyncio.Event()
        self.asked: set[str] = set()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer what was asked before the reload as soon as that has come so far, and no more."""
        held = self.held
        self.asked.add(request.method)
        await held.wait()
        if request.method == "GET":
            content: object = self.found
        else:
            content = {"label_usage": []}
        return httpx.Response(self.status, json=content if self.status == 200 else {"detail": "no"})

    @property
    def transport(self) -> httpx.MockTransport:
        """Our own answers."""
        return httpx.MockTransport(self.answer)

    def reloads(self, before: Config, after: Config, early: int, late: int) -> None:
        """Let the answers come so many steps of the loop before or after the new ones begin.

        What the new ones have begun with is all that there is once the old ones have ended.
        """

        async def go() -> None:
            async with self.fleet() as fleet:
                await fleet.adopt(before)
                await asyncio.sleep(30)
                wanted, begun = fleet._wanted, fleet._begun  # noqa: SLF001 - the steps
                told: list[Any] = []

                def come() -> None:
                    self.held.set()
                    self.held = asyncio.Event()

                async def last(one: Workspace) -> Any:  # noqa: ANN401 - what is asked of it
                    found = await wanted(one)
                    if early and one is after.workspaces[-1]:
                        come()
                        for _ in range(early):
                            await asyncio.sleep(0)
                    return found

                def come_after(steps: int) -> None:
                    if steps:
                        asyncio.get_running_loop().call_soon(come_after, steps - 1)
                    else:
                        come()

                def all_begun(some: Any) -> Any:  # noqa: ANN401
                    found = begun(some)
                    told[:] = [dict(self.store), self.own()]
                    if not early:
                        come_after(late)
                    return found

                fleet._wanted, fleet._begun = last, all_begun  # type: ignore[assignment, method-assign]  # noqa: SLF001
                await fleet.adopt(after)
                records, own = told
                assert dict(self.store) == records
                names = [f'workspace="{one.name}"' for one in after.workspaces]
                assert self.own() == [line for line in own if any(name in line for name in names)]

        self.world.run(go)

    def own(self) -> list[str]:
        """What is told of the workspaces themselves."""
        return [line for line in self.values() if 'workspace="' in line and line[0] != "#"]


@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize(
    "found", [{}, {"discover_bots": {}, "workspace_id": "ws-1"}], ids=["given", "listed"]
)
@pytest.mark.parametrize(
    "changed",
    [
        None,
        {"labels": {"team": "b"}},
        {"api_key": "sk-of-another-customer", "workspace_id": "ws-2"},
        {"name": "renamed"},
    ],
    ids=["removed", "label", "key", "name"],
)
def test_an_answer_that_comes_while_its_workspace_is_replaced_is_nobodys(
    changed: dict[str, Any] | None, status: int, found: dict[str, Any]
) -> None:
    before = config(acme(["label_usage"], **found), acme(["label_usage"], name="gone"))
    others = [] if changed is None else [acme(["label_usage"], **(found | changed))]
    after = config(*others, acme(["label_usage"], name="new"))
    for early, late in [*((early, 0) for early in range(12, 0, -1)), *((0, n) for n in range(6))]:
        run = Overtaken(status)
        run.reloads(before, after, early, late)
        assert run.asked == ({"GET", "POST"} if found else {"POST"})


def test_a_workspace_that_is_named_again_still_keeps_the_pause_that_the_api_asked_for() -> None:
    run, other = Run(), acme(["total_usage"], name="other")
    run.api.answer = lambda _: (429, {"retry_after": 10 * HOUR.total_seconds()})
    run.through(config(other), config(acme(["label_usage"])), config(acme(["label_usage"]), other))

    assert len(run.api.sent("total_usage")) == 1


def ten(**others: Any) -> Config:  # noqa: ANN401 - keys of the file
    return config(*(acme(["total_usage"], name=f"w{number}", **others) for number in range(10)))


def test_ten_workspaces_of_one_key_hear_of_a_pause_once_and_a_reload_changes_nothing() -> None:
    run = Run()
    run.api.answer = lambda _: (429, {"retry_after": 5 * HOUR.total_seconds()})
    run.through(ten(), ten(labels={"team": "support"}), lambda: None)

    assert len(run.api.journal) == 1
    paused = re.findall(r"^seasalt_api_paused_until_\S+ (\S+)$", run.shown[-1], re.MULTILINE)
    assert len(paused) == 10
    assert all(float(until) > run.world.start.timestamp() + 5 * 3600 for until in paused)


def test_after_a_pause_one_workspace_goes_first() -> None:
    run = Run()
    run.api.answer = lambda _: (429, {"retry_after": 600})
    run.through(ten(), lambda: None, lambda: None)

    # Every 600 to 660 seconds, and at the places of their intervals.
    assert 3 * 3600 / 1260 <= len(run.api.journal) <= 3 * 3600 / 600 + 1


@pytest.mark.parametrize("ahead", [-HOUR, HOUR / 2], ids=["over", "under way"])
def test_after_a_restart_one_workspace_goes_first_whatever_pause_is_remembered(
    ahead: timedelta,
) -> None:
    run = Run()
    for number, one in enumerate(ten().workspaces):
        until = run.world.start + ahead - timedelta(seconds=number)
        run.remembered[one.name] = Memory(Origin.of(one), SenderState(not_before=until))
    run.api.answer = lambda _: (429, {"retry_after": 5 * HOUR.total_seconds()})
    run.through(ten())

    assert len(run.api.journal) == 1


def test_ten_workspaces_of_one_rejected_key_send_it_once_a_minute_in_all() -> None:
    run = Run()
    run.api.answer = lambda _: (401, {"detail": "Invalid API key"})
    run.through(ten(), *[ten(labels={"number": str(n)}) for n in range(5)])

    times = [at for at, _ in run.api.journal]
    assert len(times) >= 6
    assert all(later - earlier >= timedelta(seconds=56) for earlier, later in pairwise(times))


def test_a_pause_of_one_key_is_no_other_keys_and_no_other_hosts() -> None:
    one, other = acme(["total_usage"]), acme(["label_overview"], name="other", api_key="sk-other")
    elsewhere = acme(["csat"], name="elsewhere", bots=1, base_url="https://seachat.internal")
    run = Run()
    run.api.answer = lambda body: (
        (429, {"retry_after": 36000}) if "total_usage" in body["metrics"] else None
    )
    run.through(config(one, other, elsewhere))

    assert len(run.api.sent("total_usage")) == 1
    assert len(run.api.sent("label_overview")) >= 6
    assert len(run.api.sent("csat")) >= 6


def test_a_workspace_whose_first_request_hangs_holds_up_those_of_its_key_for_seconds() -> None:
    run = Run()
    run.api.seconds = 50
    run.through(ten())

    first = sorted(at - run.world.start for at, _ in run.api.journal)[:10]
    assert timedelta(seconds=10) <= first[1] <= timedelta(seconds=15)
    assert first[9] <= timedelta(seconds=100)


SHOWN: Final = 'seasalt_total_usage_chat_responses{api="seachat",workspace="acme"'


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        pytest.param({}, {"api_key": "sk-other"}, False, id="another-key"),
        pytest.param(
            {"workspace_id": "w1"}, {"workspace_id": "w1", "api_key": "sk-other"}, True, id="one-id"
        ),
        pytest.param(
            {"workspace_id": "w1"}, {"workspace_id": "w2"}, False, id="another-id-and-one-key"
        ),
        pytest.param({}, {"workspace_id": "w1"}, True, id="an-id-that-was-not-given"),
        pytest.param({"bots": 2}, {"bots": 1, "api_key": "sk-other"}, True, id="a-bot-in-common"),
        pytest.param({}, {"base_url": "https://seachat.internal"}, False, id="another-host"),
        pytest.param({}, {"concurrency": 5}, True, id="the-same"),
    ],
)
def test_another_customers_key_under_the_same_name_forgets_the_values_at_once_a_rotated_one_none(
    before: dict[str, Any], after: dict[str, Any], *, kept: bool
) -> None:
    run = Run().through(config(acme(**before)), config(acme(**after)))

    assert (SHOWN.split(",")[0] in run.shown[2]) is kept
    assert SHOWN.split(",")[0] in run.shown[3]


def test_a_key_that_is_rotated_in_its_file_keeps_the_values(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1", encoding="utf-8")
    given = {"api_key": None, "api_key_file": str(file)}

    def rotated() -> None:
        file.write_text("sk-2", encoding="utf-8")

    run = Run().through(
        config(acme(**given)),
        rotated,
        config(acme(**given, concurrency=5)),
    )

    assert all(SHOWN.split(",")[0] in page for page in run.shown[1:])


def test_a_new_workspace_is_polled_and_its_counters_start_at_0() -> None:
    run = Run().through(config(acme()), config(acme(), acme(["csat"], name="other", bots=1)))

    assert (
        'seasalt_api_requests_total{api="seachat",outcome="timeout",workspace="other"} 0.0'
        in run.shown[2]
    )
    assert 'seasalt_csat_responses{api="seachat",workspace="other",bot_id="b0"' in run.shown[3]


def test_a_report_that_is_gone_leaves_the_next_page_and_its_neighbours_stay() -> None:
    run = Run().through(config(acme()), config(acme(["total_usage"])))

    assert 'report="label_usage"' in run.shown[1]
    assert 'report="label_usage"' not in run.shown[2]
    assert (
        'seasalt_total_usage_chat_responses{api="seachat",workspace="acme",window="today"} 7'
        in (run.shown[2])
    )


def test_counters_grow_on_through_a_change() -> None:
    run = Run().through(config(acme()), config(acme(["total_usage"])))
    requests = [
        line
        for page in run.shown
        for line in page.splitlines()
        if line.startswith("seasalt_api_requests_total{") and 'outcome="success"' in line
    ]

    counts = [float(line.split()[-1]) for line in requests]
    assert counts == sorted(counts)
    assert counts[-1] == len(run.api.journal)


def test_a_field_that_is_gone_is_missed_through_a_change() -> None:
    run = Run()

    def renamed() -> None:
        run.api.answer = lambda _: (200, {"csat": {"total_responses": 2, "mean_rating": 3.5}})

    run.through(
        config(acme(["csat"], bots=1)), renamed, config(acme(["csat"], bots=1, concurrency=5))
    )

    labels = 'api="seachat",field="average_rating",metric="csat",workspace="acme"'
    counts = [
        float(page.partition(f"seasalt_schema_drift_total{{{labels}}} ")[2].partition("\n")[0] or 0)
        for page in run.shown
    ]
    assert counts == [0, 0, 6, 6, 12]


def test_a_rejected_key_is_told_through_a_change_until_an_answer_says_otherwise() -> None:
    run = Run()
    run.api.answer = lambda _: (401, {"detail": "x"})
    run.through(config(acme()), config(acme(labels={"team": "support"})))

    invalid = 'seasalt_api_key_valid{api="seachat",workspace="acme"} 0.0'
    # After each adoption and an hour later; the first is before anything was asked.
    assert [invalid in page for page in run.shown] == [False, True, True, True]


@pytest.mark.parametrize("unreadable", [False, True])
def test_certificates_that_cannot_be_used_change_nothing(
    tmp_path: Path,
    unreadable: bool,
) -> None:
    broken = tmp_path / "ca.pem"
    if unreadable:  # for root as well, who may read anything that can be
        broken.symlink_to("/proc/self/mem")
    else:
        broken.write_text("no certificate", encoding="utf-8")
    bad = config(acme(["csat"], name="other", bots=1), acme(http={"ca_file": str(broken)}))

    async def go() -> None:
        async with run.fleet() as fleet:
            await fleet.adopt(config(acme()))
            await asyncio.sleep(HOUR.total_seconds())
            with pytest.raises(StartError, match="workspace acme: its certificates"):
                await fleet.adopt(bad)
            await asyncio.sleep(HOUR.total_seconds())

    run = Run()
    run.world.run(go)
    alone = Run().through(config(acme()), lambda: None)
    assert run.api.journal == alone.api.journal
    assert 'workspace="other"' not in run.page()


def test_what_is_adopted_after_the_end_is_not_polled() -> None:
    async def go() -> None:
        async with run.fleet() as fleet:
            await fleet.close()
            with pytest.raises(Ending):
                await fleet.adopt(config(acme()))
            assert list(fleet) == []

    run = Run()
    run.world.run(go)
    assert run.api.journal == []


def test_a_certificate_that_was_replaced_in_its_file_is_taken_up(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    shutil.copy(AUTHORITIES, ca)
    one = acme(http={"ca_file": str(ca)})

    def replaced() -> None:
        with ca.open("a", encoding="utf-8") as stream:
            stream.write("# another remark\n")

    run = Run().through(config(one), config(one), replaced, config(one))

    assert len(run.pollers) == 2


def test_what_follows_from_a_configuration_is_worked_out_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = made_on_the_loop(monkeypatch)
    Run().through(config(acme()), config(acme(["total_usage"])))

    assert threads == [False, False]


def test_an_origin_is_worked_out_once_and_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_loop: list[bool] = []
    usual = Origin.of

    def seen(one: Workspace) -> Origin:
        on_the_loop.append(threading.current_thread() is threading.main_thread())
        return usual(one)

    monkeypatch.setattr(Origin, "of", seen)
    Run().through(config(acme()), config(acme()), config(acme(["total_usage"])))

    assert on_the_loop == [False, False]


def test_the_origins_of_a_thousand_workspaces_keep_no_start_waiting() -> None:
    one = acme()
    begun = time.process_time()
    for _ in range(1000):
        Origin.of(one.model_copy(update={"api_key": SecretStr(f"sk-{time.monotonic_ns()}")}))
    assert time.process_time() - begun < 5


def test_a_reload_that_is_under_way_at_the_end_starts_nothing() -> None:
    run = Run()

    async def go() -> None:
        async with run.fleet() as fleet:  # had one been started, it would never end
            await fleet.adopt(config(acme(["total_usage"])))
            await asyncio.sleep(HOUR.total_seconds())
            reloading = asyncio.ensure_future(fleet.adopt(config(acme(["csat"], bots=1))))
            await asyncio.sleep(0)
            await fleet.close()
            with pytest.raises(Ending):
                await reloading
            await asyncio.sleep(HOUR.total_seconds())

    run.world.run(go)
    assert run.api.sent("total_usage")
    assert run.api.sent("csat") == []


class Harm(Exception):
    """What nobody expects."""


STEPS: tuple[tuple[object, str], ...] = (
    *((adopting, name) for name in ("trust", "ahead")),
    *((owner, "__init__") for owner in (Client, Sender, ReportPoller, BotDiscovery)),
    *((owner, "begin") for owner in (Sender, BotDiscovery, WorkspacePoller)),
    *((ReportPoller, name) for name in ("recall", "assign", "report_load")),
    *((Store, name) for name in ("keep", "adjust")),
    *((Telemetry, name) for name in ("begin", "follow", "set", "count")),
    (Workload, "of"),
    (Memory, "standing_alone"),
)


def _harm(owner: object, name: str, time: int, patch: pytest.MonkeyPatch) -> None:
    """Let one call of something fail, the so-manieth from now on."""
    calls, usual = [0], getattr(owner, name)

    def harmed(*args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - whatever it takes
        calls[0] += 1
        if calls[0] == time:
            raise Harm("canary")
        return usual(*args, **keywords)

    static = isinstance(usual, types.MethodType)  # of a class
    patch.setattr(owner, name, staticmethod(harmed) if static else harmed)


class Reloaded(Run):
    """A fleet that is given a configuration in which everything is another."""

    before = config(*(acme(["total_usage"], name=name) for name in ("one", "two", "gone")))
    changed = config(
        acme(["label_usage", "csat"], name="one", bots=2),
        acme(["total_usage"], name="two", labels={"team": "x"}),
        acme(["label_usage"], name="new"),
        acme(["total_usage"], name="found", workspace_id="ws-1", discover_bots={}),
    )

    def fails(self, owner: object, name: str, time: int) -> bool:
        """Whether adopting it fails where some call of a step does; an hour on either side."""

        async def go() -> bool:
            failed = False
            async with self.fleet() as fleet:
                await fleet.adopt(self.before)
                await asyncio.sleep(HOUR.total_seconds())
                shown = self.values()
                with pytest.MonkeyPatch.context() as patch:
                    _harm(owner, name, time, patch)
                    try:
                        await fleet.adopt(self.changed)
                    except Harm:
                        failed = True
                if failed:
                    assert self.values() == shown
                    await asyncio.sleep(2 * HOUR.total_seconds())
            return failed

        return self.world.run(go)


@pytest.mark.parametrize(
    ("owner", "name"),
    STEPS,
    ids=[f"{getattr(owner, '__name__', '')}.{name}" for owner, name in STEPS],
)
def test_whatever_step_of_a_reload_fails_the_old_fleet_polls_on_and_nothing_is_left_of_the_new(
    owner: object, name: str
) -> None:
    alone = Run().through(Reloaded.before, lambda: None, lambda: None)
    tried = 0
    while (run := Reloaded()).fails(owner, name, tried + 1) and tried < 5:
        tried += 1
        assert run.api.journal == alone.api.journal
        assert run.values() == alone.values()
    assert tried
