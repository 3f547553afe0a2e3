import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from support.api import FakeApi, in_pieces
from support.polled import Polled, polling
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter.config import Bot
from exporter.model import api_paths
from exporter.model.bot_list import PAGE_SIZE
from exporter.polling.knowledge_bases import KnowledgeBases
from exporter.polling.workload import Workload
from exporter.polling.workspace import WorkspacePoller

AVAILABLE = 'seasalt_knowledge_base_available{api="seachat",workspace="acme"}'
HOUR = timedelta(hours=1)
NOT_FOUND: dict[str, Any] = {"detail": "Not Found"}


class Filed(FakeApi):
    """The API with a knowledge base of each bot.

    Attributes:
        files: How many files each bot has.
        refuses: The status and the body of what is no page, by bot; empty for a page.
        change: Changes a page.
        amid: Called while a page is made.
        asked: The bot of each request.
    """

    files: dict[str, int]
    refuses: dict[str, tuple[int, object]]
    change: Callable[[dict[str, Any]], object]
    amid: Callable[[], object]
    asked: list[str]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a page of files, or leave it to the analytics."""
        if not request.url.path.endswith(api_paths.KNOWLEDGE_BASE_FILES):
            return await super().__call__(request)
        assert request.method == "GET"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert set(request.url.params) == {"offset", "limit", "order_by"}
        bot = request.url.path.split("/")[-3]
        self.asked.append(bot)
        await asyncio.sleep(self.seconds)
        self.amid()
        if bot in self.refuses:
            status, body = self.refuses[bot]
            return httpx.Response(status, content=in_pieces(body))
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        rows = [{"id": f"f/{n}", "name": "canary"} for n in range(self.files[bot])]
        page = {"data": rows[offset : offset + limit], "total": len(rows)}
        return httpx.Response(200, content=in_pieces(self.change(page)))


class Run(Polled):
    """A workspace whose knowledge bases are counted."""

    api: Filed

    def __init__(self, *files: int, **others: Any) -> None:  # noqa: ANN401 - keys of the file
        given = {
            "knowledge_base": True,
            "metrics": ["label_overview"],
            "requests_per_minute": 6000,
            **others,
        }
        world = World()
        super().__init__(workspace(bots=len(files), **given), world, Filed(world.now))
        self.api.files = {f"b{place}": number for place, number in enumerate(files)}
        self.api.refuses, self.api.change, self.api.asked = {}, lambda page: page, []
        self.api.amid = lambda: None

    def renames(self, name: str | None) -> None:
        """Give the first bot another name, or drop it if there is none, as a list of bots does."""
        first, *others = self.one.bots
        bots = [first.model_copy(update={"name": name})] if name else []
        self.poller.reports.assign(Workload.of(self.one, [*bots, *others]))

    def shown(self, bot: str) -> float | None:
        """The number of files on the page."""
        for line in self.page().splitlines():
            if line.startswith("seasalt_knowledge_base_files{") and f'bot_id="{bot}"' in line:
                return float(line.rpartition(" ")[2])
        return None


def test_the_files_of_each_bot_are_counted_once_an_hour_over_all_pages() -> None:
    run = Run(3, 2 * PAGE_SIZE, 0).lasts(HOUR * 5)
    assert [run.shown(bot) for bot in ("b0", "b1", "b2")] == [3, 2 * PAGE_SIZE, 0]
    assert run.told(AVAILABLE) == 1
    for bot, pages in (("b0", 1), ("b1", 2), ("b2", 1)):
        assert 5 * pages <= run.api.asked.count(bot) <= 6 * pages


def test_a_count_costs_no_look_at_all_other_bots(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, turn = [], KnowledgeBases._turn  # noqa: SLF001 - nothing else shows it

    def looked(counts: KnowledgeBases, bot: Bot) -> datetime:
        looks.append(bot.id)
        return turn(counts, bot)

    monkeypatch.setattr(KnowledgeBases, "_turn", looked)
    run = Run(*[1] * 60).lasts(HOUR * 3)
    assert len(run.api.asked) >= 3 * 60
    assert len(looks) <= 2 * 60


def test_nothing_is_asked_without_the_setting() -> None:
    run = Run(3, knowledge_base=False).lasts(HOUR)
    assert run.api.asked == []
    assert run.page().count("knowledge_base") == 0


def test_a_404_ends_it_with_one_line_and_a_metric(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(3, 4)
    run.api.refuses = dict.fromkeys(("b0", "b1"), (404, NOT_FOUND))
    run.lasts(HOUR * 5)
    assert len(run.api.asked) == 1
    lines = [record for record in caplog.records if "knowledge_base" in record.message]
    assert len(lines) == 1
    assert run.told(AVAILABLE) == 0
    assert "knowledge_base" not in run.page()


def test_a_404_of_a_bot_that_does_not_exist_ends_nothing() -> None:
    run = Run(3, 4)
    gone = {
        "detail": "The entry: BOT, id: b0 does not exist.",
        "code": 20006,
        "parameters": {"entry_name": "BOT", "id": "b0"},
    }
    run.api.refuses = {"b0": (404, gone)}
    run.lasts(HOUR * 3)
    assert run.shown("b1") == 4
    assert run.told(AVAILABLE) == 1


def test_a_404_of_one_bot_ends_nothing_once_another_was_counted() -> None:
    run = Run(3, 4)
    run.lasts(timedelta(minutes=1))
    run.api.refuses = {"b1": (404, NOT_FOUND)}

    async def again() -> None:
        async with run.start() as poller:
            await poller.once()
            run.api.refuses = {"b0": (404, NOT_FOUND)}
            failures = await poller.once()
            assert [failure.key.report for failure in failures] == ["knowledge_base"]

    run.api.refuses = {}
    run.world.run(again)
    assert run.told(AVAILABLE) == 1
    assert run.shown("b0") == 3


def test_a_404_after_a_restart_ends_nothing_if_files_were_counted_before() -> None:
    run = Run(3, 4)

    async def again() -> None:
        async with run.start() as poller:
            await poller.once()
            memory = poller.memory
        run.api.refuses = {"b0": (404, NOT_FOUND)}
        restarted = WorkspacePoller(
            *(run.one, run.store, run.telemetry, run.world.now),
            transport=run.api.transport,
            memory=memory,
        )
        async with restarted as poller:
            failures = await poller.once()
            assert [failure.key.report for failure in failures] == ["knowledge_base"]

    run.world.run(again)
    assert run.told(AVAILABLE) == 1
    assert run.shown("b1") == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda page: {**page, "total": page["total"] + 1},
        lambda page: {**page, "total": 0},
        lambda page: {**page, "data": [*page["data"], {"name": "no id"}]},
        lambda page: {**page, "data": [*page["data"], {"id": ""}]},
        lambda page: {"files": page["data"]},
        lambda page: [page],
    ],
    ids=["too few rows", "too many rows", "no id", "an empty id", "another name", "a list"],
)
def test_a_list_that_is_not_whole_is_no_count(change: Callable[[Any], object]) -> None:
    run = Run(3)
    run.api.change = change
    run.lasts(timedelta(minutes=5))
    assert run.shown("b0") is None
    assert 'report="knowledge_base"} 0' in run.page()


def test_a_list_without_a_total_is_read_until_nothing_new_comes() -> None:
    run = Run(PAGE_SIZE + 5)
    run.api.change = lambda page: {"data": page["data"]}
    run.lasts(timedelta(minutes=5))
    assert run.shown("b0") == PAGE_SIZE + 5


def test_a_list_without_a_total_that_starts_over_is_no_count() -> None:
    run = Run(PAGE_SIZE + 5)
    first = [{"id": f"f/{number}"} for number in range(PAGE_SIZE)]
    run.api.change = lambda _: {"data": first}  # whatever the offset
    run.lasts(timedelta(minutes=5))
    assert run.shown("b0") is None
    assert 'report="knowledge_base"} 0' in run.page()


def test_a_renamed_bots_files_are_counted_soon_under_its_new_name() -> None:
    run = Run(3, 4)
    run.lasts(timedelta(minutes=10), lambda: run.renames("New"))
    assert run.shown("b0") == 3
    assert run.api.asked.count("b0") == 2
    assert run.api.asked.count("b1") == 1


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("name", ["New", None])
def test_a_bot_that_is_renamed_or_leaves_amid_a_count_has_nothing_under_its_old_name(
    name: str | None, refused: bool
) -> None:
    run = Run(3, 4)

    def amid() -> None:
        if run.api.asked == ["b0"]:
            run.renames(name)

    run.api.amid = amid
    if refused:
        run.api.refuses = {"b0": (500, {"detail": "no"})}
    run.lasts(timedelta(minutes=5))
    reports = [key.target for key, _ in run.store if key.report == "knowledge_base"]
    assert {target.bot for target in reports if target.bot_id == "b0"} == {name} - {None}
    assert run.shown("b1") == 4


def test_nothing_of_a_file_but_that_it_is_there_is_kept() -> None:
    run = Run(3).lasts(timedelta(minutes=5))
    assert "canary" not in run.page()
    assert "canary" not in repr(list(run.store))


def test_a_restart_counts_again_only_what_is_due() -> None:
    run = Run(3, 4)

    async def twice() -> None:
        async with run.start() as poller:
            await polling(poller, timedelta(seconds=30))
            memory = poller.memory
        again = WorkspacePoller(
            *(run.one, run.store, run.telemetry, run.world.now),
            transport=run.api.transport,
            memory=memory,
        )
        async with again:
            await polling(again, timedelta(seconds=30))

    run.world.run(twice)
    assert sorted(run.api.asked) == ["b0", "b1"]
    assert run.shown("b0") == 3


def test_the_counts_are_in_the_load_and_in_the_status() -> None:
    without, counted = (
        Workload.of(one, one.bots).requests_per_minute
        for one in (workspace(bots=60), workspace(bots=60, knowledge_base=True))
    )
    assert counted - without == pytest.approx(1)
    run = Run(3, 4).lasts(timedelta(minutes=1))
    reports = [report.report for one in run.poller.status().targets for report in one.reports]
    assert reports.count("knowledge_base") == 2


def test_a_key_that_may_not_list_files_is_no_reason_to_stop_the_reports() -> None:
    run = Run(3, 4)
    run.api.refuses = dict.fromkeys(("b0", "b1"), (403, {"detail": "no"}))
    run.lasts(timedelta(minutes=5))
    assert run.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 1
    assert "seasalt_label_overview_conversations" in run.page()
