import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.virtual import START, World
from support.workspaces import workspace

from exporter import paths
from exporter.client import Client
from exporter.config import Workspace
from exporter.errors import ReplyError, RequestFailed
from exporter.gate import Gate
from exporter.telemetry import Telemetry


class Asked:
    """A gate before an API that answers with a row of statuses.

    Attributes:
        paths: Which were asked.
    """

    def __init__(
        self, one: Workspace, statuses: Callable[[str, int], int], seconds: float = 0.1
    ) -> None:
        self.one, self.statuses, self.seconds = one, statuses, seconds
        self.world, self.telemetry = World(), Telemetry()
        self.paths: list[str] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer by path and number."""
        self.paths.append(request.url.path)
        status = self.statuses(request.url.path, len(self.paths))
        await asyncio.sleep(self.seconds)

        async def body() -> AsyncIterator[bytes]:
            yield b"{}"

        return httpx.Response(status, content=body())

    def run(self, *steps: Callable[[Gate], Any]) -> list[object]:
        """What each step brings, one after the other: None, or what it raised."""

        async def go() -> list[object]:
            client = Client(self.one, httpx.MockTransport(self.handle))
            gate = Gate(self.one, client, self.telemetry, self.world.now)
            found: list[object] = []
            for step in steps:
                try:
                    found.append(await step(gate))
                except (RequestFailed, ReplyError) as error:
                    found.append(error)
            await client.close()
            return found

        return self.world.run(go)

    def told(self, line: str) -> float:
        """The value of one of the exporter's own series."""
        page = self.telemetry.text(openmetrics=False).decode()
        return float(page.split(f"\n{line} ")[1].split("\n")[0])

    def counted(self, outcome: str) -> float:
        """Requests that ended so."""
        api = self.one.api
        return self.told(
            f'seasalt_api_requests_total{{api="{api}",outcome="{outcome}",workspace="acme"}}'
        )


def report(gate: Gate) -> Any:  # noqa: ANN401 - a coroutine
    return gate.report(dict, lambda *_: True)


def portal(**others: Any) -> Workspace:  # noqa: ANN401 - keys of the file
    return workspace(["total_usage"], api="portal", requests_per_minute=600, **others)


def only(path: str, missing: int = 404) -> Callable[[str, int], int]:
    return lambda asked, _: 200 if asked == path else missing


@pytest.mark.parametrize("status", [404, 405])
def test_portals_other_path_is_tried_once_and_remembered(status: int) -> None:
    asked = Asked(portal(), only(paths.PORTAL_REPORT_OLD, status))

    assert asked.run(report, report, report) == [None] * 3
    assert asked.paths == [paths.PORTAL_REPORT, *[paths.PORTAL_REPORT_OLD] * 3]


def test_where_neither_path_is_found_the_documented_one_stays_first() -> None:
    asked = Asked(portal(), lambda _, number: 404 if number < 3 else 200)

    (failure, ok) = asked.run(report, report)

    assert isinstance(failure, RequestFailed)
    assert ok is None
    assert asked.paths == [paths.PORTAL_REPORT, paths.PORTAL_REPORT_OLD, paths.PORTAL_REPORT]


def test_calls_at_the_same_time_all_find_the_other_path() -> None:
    asked = Asked(portal(), only(paths.PORTAL_REPORT_OLD))

    async def together(gate: Gate) -> None:
        await asyncio.gather(*(report(gate) for _ in range(4)))

    assert asked.run(together) == [None]


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 502, 503])
def test_portals_other_path_is_not_tried_for_any_other_reason(status: int) -> None:
    asked = Asked(portal(), lambda *_: status)
    asked.run(report)

    assert set(asked.paths) == {paths.PORTAL_REPORT}


def test_a_configured_path_is_the_only_one() -> None:
    asked = Asked(portal(path="/elsewhere"), lambda *_: 404)
    asked.run(report)

    assert asked.paths == ["/elsewhere"]


def test_seachat_has_one_path() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 404)
    asked.run(report)

    assert asked.paths == [paths.SEACHAT_REPORT]


def test_both_requests_of_a_fallback_are_counted_and_wait_for_the_budget() -> None:
    asked = Asked(portal(), only(paths.PORTAL_REPORT_OLD))
    begun = asked.world

    async def timed(gate: Gate) -> float:
        await report(gate)
        return (begun.now() - START).total_seconds()

    (took,) = asked.run(timed)

    assert isinstance(took, float)
    assert took >= 2 * 0.1
    assert (asked.counted("client_error"), asked.counted("success")) == (1, 1)


def test_an_answer_without_anything_readable_is_invalid_and_not_up() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200)
    asked.run(lambda gate: gate.report(dict, lambda *_: False))

    assert asked.counted("invalid") == 1
    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == 0


@pytest.mark.parametrize(("status", "up"), [(200, 1), (401, 0), (429, 0), (500, 0)])
def test_up_is_whether_the_last_request_for_reports_succeeded(status: int, up: int) -> None:
    asked = Asked(
        workspace(["total_usage"], requests_per_minute=600), lambda _, n: 200 if n == 1 else status
    )
    asked.run(report, report)

    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == up


def test_a_server_error_says_nothing_of_the_key() -> None:
    statuses = [200, 401, 500]
    one = workspace(["total_usage"], requests_per_minute=600)
    asked = Asked(one, lambda _, number: statuses[number - 1])
    line = 'seasalt_api_key_valid{api="seachat",workspace="acme"}'

    asked.run(report)
    assert asked.told(line) == 1
    asked = Asked(one, lambda _, number: statuses[number - 1])
    asked.run(report, report, report)
    assert asked.told(line) == 0


@pytest.mark.parametrize(("key", "valid"), [("sk-bots", 1), (None, 0)], ids=["its-own", "the-same"])
def test_a_key_that_the_list_rejects_is_the_reports_only_if_it_is_the_same(
    key: str | None, valid: int
) -> None:
    one = workspace(["total_usage"], requests_per_minute=600, bots_api_key=key)
    asked = Asked(one, lambda _, number: [200, 401][number - 1])
    asked.run(report, lambda gate: gate.bots(0, lambda *_: True))

    assert asked.counted("unauthorized") == 1
    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == valid
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == valid


def test_without_a_key_nothing_is_sent_and_nothing_counted(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1", encoding="utf-8")
    one = workspace(["total_usage"], api_key=None, api_key_file=str(file))
    asked = Asked(one, lambda *_: 200)
    file.unlink()

    (failure,) = asked.run(report)

    assert isinstance(failure, RequestFailed)
    assert asked.paths == []
    assert asked.counted("unauthorized") == 0
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 0


def test_what_is_left_of_the_days_budget_is_told_from_the_start() -> None:
    asked = Asked(workspace(["total_usage"], requests_per_day=7), lambda *_: 200)
    line = 'seasalt_api_requests_budget_remaining{api="seachat",workspace="acme"}'

    asked.run()
    assert asked.told(line) == 7
    asked.run(report)
    assert asked.told(line) == 6


def test_a_clock_that_is_set_to_another_day_has_its_budget_within_a_minute() -> None:
    asked = Asked(workspace(["total_usage"], requests_per_day=1, timezone="UTC"), lambda *_: 200)

    async def set_clock(gate: Gate) -> float:
        task = asyncio.ensure_future(report(gate))
        await asyncio.sleep(90)
        assert len(asked.paths) == 1
        asked.world.start += timedelta(days=1)
        begun = asyncio.get_running_loop().time()
        await task
        return asyncio.get_running_loop().time() - begun

    _, took = asked.run(report, set_clock)

    assert isinstance(took, float)
    assert took < 61


def test_the_utc_offset_is_the_workspaces() -> None:
    asked = Asked(workspace(["total_usage"], timezone="Asia/Kolkata"), lambda *_: 200)
    asked.run()

    line = 'seasalt_workspace_utc_offset_seconds{api="seachat",workspace="acme"}'
    assert asked.told(line) == 5.5 * 3600


def test_a_request_that_is_called_off_is_not_counted() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200, seconds=30)

    async def give_up(gate: Gate) -> None:
        task = asyncio.ensure_future(report(gate))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asked.run(give_up)

    assert len(asked.paths) == 1
    assert asked.counted("invalid") == asked.counted("success") == 0
