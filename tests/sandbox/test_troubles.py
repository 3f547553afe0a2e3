"""The faults of the stand-in API: on a schedule, in the API's form, and strict as ever."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
from support.polled import told
from support.virtual import World

from exporter.commands import demo
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.polling.workspace import WorkspacePoller
from exporter.sandbox import Sandbox, SandboxBot, SandboxWorkspace, Trouble
from exporter.sandbox.companies import make_workspaces
from exporter.sandbox.troubles import Spell

START: Final = datetime(2025, 7, 16, 15, 30, tzinfo=UTC)
SEEDS: Final = range(20)
KEY: Final = 'seasalt_api_key_valid{api="seachat",workspace="harbor"}'
GOOD: Final = {"metrics": ["label_overview"]}
WRONG: Final = {"metrics": ["label_overview"], "unheard_of": 1}
Call = Callable[..., httpx.Response]


class Api:
    """A sandbox and its clock.

    Attributes:
        sandbox: Is asked.
        at: What its clock shows.
    """

    def __init__(self, call: Call, workspaces: int, *, trouble: bool) -> None:
        self.at = START
        self.sandbox = Sandbox.make(
            now=lambda: self.at, workspaces=workspaces, days=2, trouble=trouble
        )
        self._call = call

    @property
    def trouble(self) -> Trouble:
        """The faults of the sandbox."""
        assert self.sandbox.trouble
        return self.sandbox.trouble

    def ask(
        self, workspace: SandboxWorkspace, body: object = GOOD, bot: SandboxBot | None = None
    ) -> httpx.Response:
        """Ask SeaChat for a report."""
        json = {**body, "gptbot_id": bot.id} if bot and isinstance(body, dict) else body
        headers = {"X-API-KEY": workspace.seachat_key}
        return self._call(
            self.sandbox, "POST", api_paths.SEACHAT_REPORT, headers=headers, json=json
        )

    def list_bots(self, workspace: SandboxWorkspace) -> httpx.Response:
        """Ask for the list of bots."""
        headers = {"Authorization": f"Bearer {workspace.seachat_key}"}
        return self._call(self.sandbox, "GET", api_paths.BOTS, headers=headers)

    def during(self, spell: Spell) -> None:
        """Set the clock into the second time that something happens."""
        self.at = START + timedelta(seconds=spell.first + spell.every + spell.lasts / 2)


@pytest.fixture(scope="module")
def troubled(call: Call) -> Iterator[Api]:
    """Three workspaces, of which the last is rejected and the one before it limited."""
    api = Api(call, 3, trouble=True)
    with closing(api.sandbox):
        yield api


@pytest.fixture
def api(troubled: Api) -> Api:
    """The same, at its start."""
    troubled.at = START
    return troubled


def rejected(trouble: Trouble, workspace: SandboxWorkspace, seconds: int) -> list[bool]:
    """Whether the workspace's key is rejected, second by second."""
    return [
        trouble.rejects(workspace, START + timedelta(seconds=after)) for after in range(seconds)
    ]


def test_a_spell_begins_and_ends_again_and_again() -> None:
    spell = Spell(first=10, lasts=3, every=20)
    for elapsed in (10, 12.9, 30, 32, 1_000_012):
        assert spell.on(elapsed)
    for elapsed in (-9, -5, 0, 9.9, 13, 29, 33, 1_000_013):
        assert not spell.on(elapsed)


def test_faults_follow_from_the_seed_and_the_start_alone() -> None:
    workspaces = make_workspaces(1, 2, 4)
    one, same, other = (Trouble(seed, START, workspaces) for seed in (1, 1, 2))
    assert one.rejections == same.rejections != other.rejections
    assert one.limits == same.limits != other.limits
    assert one.slowness == same.slowness != other.slowness


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_starts_with_the_sandbox_gets_its_first_values(seed: int) -> None:
    trouble = Trouble(seed, START, make_workspaces(seed, 4, 4))
    spells = (trouble.rejections, trouble.limits, trouble.slowness)
    assert min(spell.first for spell in spells) >= 30
    # Within five minutes there is something to look at.
    assert max(spell.first for spell in spells) < 300


@pytest.mark.parametrize("seed", SEEDS)
def test_a_key_is_rejected_for_half_of_each_hour(seed: int) -> None:
    workspaces = make_workspaces(seed, 4, 4)
    trouble = Trouble(seed, START, workspaces)
    for workspace in workspaces:
        seconds = 1800 if workspace is trouble.rejected else 0
        assert sum(rejected(trouble, workspace, 3600)) == pytest.approx(seconds, abs=1)
    assert trouble.rejected is not trouble.limited
    assert trouble.failing in workspaces[0].bots


def test_a_sandbox_with_one_workspace_has_all_faults_in_it() -> None:
    (only,) = workspaces = make_workspaces(1, 1, 4)
    trouble = Trouble(1, START, workspaces)
    assert trouble.rejected is trouble.limited is only
    assert trouble.failing in only.bots


def test_a_rejected_key_is_told_as_the_api_tells_it(api: Api) -> None:
    lost = api.trouble.rejected
    for ask in (api.ask, api.list_bots):
        api.at = START
        assert ask(lost).status_code == 200
        api.during(api.trouble.rejections)
        rejected = ask(lost)
        assert (rejected.status_code, rejected.headers.get("retry-after")) == (401, None)
        for workspace in api.sandbox.workspaces[:-1]:
            assert ask(workspace).status_code == 200
    assert api.ask(lost).json() == {"detail": "Invalid API key"}
    assert api.list_bots(lost).json()["code"] == 40007


def test_the_keys_of_portal_and_seax_are_never_rejected(api: Api, call: Call) -> None:
    api.during(api.trouble.rejections)
    lost = api.trouble.rejected
    for path, key, body in (
        (api_paths.PORTAL_REPORT, lost.portal_key, {"metric": "today_communication_volume"}),
        (api_paths.SEAX_REPORT, lost.seax_key, GOOD),
    ):
        reply = call(api.sandbox, "POST", path, headers={"X-API-KEY": key}, json=body)
        assert reply.status_code == 200


def test_too_many_requests_come_with_the_time_to_wait(api: Api) -> None:
    first, limited, _ = api.sandbox.workspaces
    assert api.ask(limited).status_code == 200
    api.during(api.trouble.limits)
    refused = api.ask(limited)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "15")
    assert api.ask(first).status_code == 200


def test_one_bot_always_fails_and_the_others_never_do(api: Api) -> None:
    first = api.sandbox.workspaces[0]
    for _ in range(2):
        for bot in first.bots:
            expected = 500 if bot == api.trouble.failing else 200
            assert api.ask(first, bot=bot).status_code == expected
        api.during(api.trouble.rejections)
    assert api.ask(first).status_code == 200


def test_in_trouble_what_is_wrong_is_refused_as_ever(api: Api) -> None:
    first, limited, lost = api.sandbox.workspaces
    assert api.ask(first, WRONG, api.trouble.failing).status_code == 422
    api.during(api.trouble.limits)
    assert api.ask(limited, WRONG).status_code == 422
    api.during(api.trouble.rejections)
    assert api.ask(lost, WRONG).status_code == 401


def answered_after(sandbox: Sandbox, world: World) -> float:
    """How many seconds an answer takes."""

    async def ask() -> float:
        before = world.now()
        transport = httpx.ASGITransport(sandbox)
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
            await client.get(api_paths.BOTS)
        return (world.now() - before).total_seconds()

    return world.run(ask)


def test_now_and_then_an_answer_is_slow(make_sandbox: Callable[..., Sandbox]) -> None:
    begun = Trouble(1, START, make_workspaces(1, 1, 4)).slowness.first
    for after, seconds in ((0, 0), (begun - 1, 0), (begun + 1, Trouble.SLOW), (begun + 61, 4)):
        worlds = [World(START)]
        sandbox = make_sandbox(now=lambda at=worlds: at[0].now(), days=1, trouble=True)
        worlds[0] = World(START + timedelta(seconds=after))
        assert answered_after(sandbox, worlds[0]) == pytest.approx(seconds, abs=0.01)


def test_without_trouble_nothing_ever_fails(call: Call) -> None:
    api = Api(call, 2, trouble=False)
    with closing(api.sandbox):
        for minutes in range(0, 40, 4):
            api.at = START + timedelta(minutes=minutes)
            for workspace in api.sandbox.workspaces:
                for bot in workspace.bots:
                    assert api.ask(workspace, bot=bot).status_code == 200


def test_the_exporter_sees_the_key_rejected_and_accepted_again() -> None:
    world = World(START)
    sandbox = Sandbox.make(now=world.now, bots=2, days=2, trouble=True)
    (workspace, *_) = demo.configuration(sandbox, "http://127.0.0.1:1", at=START).workspaces
    telemetry, keys = Telemetry(), list[float]()

    async def poll() -> None:
        transport = httpx.ASGITransport(sandbox)
        async with WorkspacePoller(
            workspace, Store(), telemetry, world.now, transport=transport
        ) as poller:
            task = asyncio.ensure_future(poller.run())
            for _ in range(40):
                await asyncio.sleep(60)
                keys.append(told(telemetry, KEY))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with closing(sandbox):
        world.run(poll)

    rejected = [minute for minute, valid in enumerate(keys, start=1) if not valid]
    assert set(keys) == {0.0, 1.0}
    assert rejected == list(range(rejected[0], rejected[-1] + 1))
    assert 29 <= len(rejected) <= 31
    assert keys[-1] == 1
