import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings, strategies as st
from support.api import pieces
from support.polled import Told
from support.virtual import START, World
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Cause, NotSent, ReplyError, RequestFailed
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.upstream.client import Client
from exporter.upstream.limiter import SenderState
from exporter.upstream.request_budget import CAPACITY
from exporter.upstream.retries import SHARE, SPARE
from exporter.upstream.sender import Sender
from exporter.upstream.shared_keys import SharedKeys


class Asked(Told):
    """A sender before an API that answers with a row of statuses.

    Attributes:
        paths: Which were asked.
        times: When, in seconds from the beginning.
        keys: With which keys.
        headers: What every answer says.
        answer: The body of an answer.
        refusal: The body of one that is none.
    """

    def __init__(
        self,
        one: Workspace,
        statuses: Callable[[str, int], int],
        seconds: float = 0.1,
        standing: SenderState | None = None,
    ) -> None:
        self.one, self.statuses, self.seconds = one, statuses, seconds
        self.standing = standing or SenderState()
        self.world, self.telemetry = World(), Telemetry()
        self.shared_keys = SharedKeys(secrets.token_bytes(32))
        self.headers: dict[str, str] = {}
        self.answer, self.refusal = b"{}", b'{"detail": "no"}'
        self.paths: list[str] = []
        self.times: list[float] = []
        self.keys: list[str] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer by path and number."""
        self.paths.append(request.url.path)
        self.times.append((self.world.now() - self.world.start).total_seconds())
        self.keys.append(request.headers.get("x-api-key", ""))
        status = self.statuses(request.url.path, len(self.paths))
        await asyncio.sleep(self.seconds)
        content = pieces(self.answer if status < 400 else self.refusal)
        return httpx.Response(status, content=content, headers=self.headers)

    def run(self, *steps: Callable[[Sender], Any]) -> list[object]:
        """What each step brings, one after the other: None, or what it raised."""

        async def go() -> list[object]:
            client = Client(self.one, httpx.MockTransport(self.handle))
            sender = Sender(
                *(self.one, client, self.telemetry, self.world.now, self.standing),
                shared_keys=self.shared_keys,
            )
            sender.begin()
            found: list[object] = []
            for step in steps:
                try:
                    found.append(await step(sender))
                except (RequestFailed, ReplyError) as error:
                    found.append(error)
            await client.close()
            return found

        return self.world.run(go)


async def report(sender: Sender, *, readable: bool = True) -> None:
    with await sender.report(lambda _: {}) as received:
        received.readable = readable


async def bots(sender: Sender) -> None:
    with await sender.bots(0):
        pass


async def standing_of(sender: Sender) -> SenderState:
    return sender.standing


async def later(_: Sender, seconds: float = 0) -> None:
    for _slice in range(24):
        await asyncio.sleep(seconds / 24)  # the virtual clock does not jump a day at once


def busy(**others: Any) -> Workspace:  # noqa: ANN401 - keys of the file
    return workspace(["total_usage"], requests_per_minute=6000, **others)


def portal(**others: Any) -> Workspace:  # noqa: ANN401 - keys of the file
    return workspace(["total_usage"], api="portal", requests_per_minute=600, **others)


def only(path: str, missing: int = 404) -> Callable[[str, int], int]:
    return lambda asked, _: 200 if asked == path else missing


@pytest.mark.parametrize("status", [404, 405])
def test_portals_other_path_is_tried_once_and_remembered(status: int) -> None:
    asked = Asked(portal(), only(api_paths.PORTAL_REPORT_OLD, status))

    assert asked.run(report, report, report) == [None] * 3
    assert asked.paths == [api_paths.PORTAL_REPORT, *[api_paths.PORTAL_REPORT_OLD] * 3]
    assert (asked.counted("client_error"), asked.counted("success")) == (1, 3)


def test_calls_at_the_same_time_all_find_the_other_path() -> None:
    asked = Asked(portal(), only(api_paths.PORTAL_REPORT_OLD))

    async def together(sender: Sender) -> None:
        await asyncio.gather(*(report(sender) for _ in range(4)))

    assert asked.run(together) == [None]
    assert asked.paths == [api_paths.PORTAL_REPORT, *[api_paths.PORTAL_REPORT_OLD] * 4]


def test_where_neither_path_is_found_the_other_one_is_tried_once_in_the_life_of_the_process() -> (
    None
):
    asked = Asked(portal(), lambda *_: 404)
    asked.run(*[report] * 3)

    assert asked.paths == [
        api_paths.PORTAL_REPORT,
        api_paths.PORTAL_REPORT_OLD,
        *[api_paths.PORTAL_REPORT] * 2,
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(404, b"404 page not found", id="a load balancer knows no path"),
        pytest.param(404, b'{"message": "no Route matched"}', id="a gateway knows no route"),
        pytest.param(404, b"", id="nothing is said"),
        pytest.param(500, b'{"detail": "no"}', id="it fails"),
    ],
)
def test_a_try_of_the_other_path_that_shows_nothing_is_not_the_last(
    status: int, body: bytes
) -> None:
    answers = [404, status, 404, 200]
    asked = Asked(portal(), lambda _, number: answers[number - 1])
    asked.refusal = body

    (failure, ok) = asked.run(report, report)

    assert isinstance(failure, RequestFailed)
    assert ok is None
    assert asked.paths == [api_paths.PORTAL_REPORT, api_paths.PORTAL_REPORT_OLD] * 2


def test_the_path_that_answered_is_remembered_over_a_restart() -> None:
    first = Asked(portal(), only(api_paths.PORTAL_REPORT_OLD))

    (_, standing) = first.run(report, standing_of)
    assert isinstance(standing, SenderState)
    assert standing.url == portal().other_url
    second = Asked(portal(), only(api_paths.PORTAL_REPORT_OLD), standing=standing)
    assert second.run(report) == [None]
    assert second.paths == [api_paths.PORTAL_REPORT_OLD]


def test_a_remembered_path_that_is_gone_gives_way_to_the_documented_one() -> None:
    standing = SenderState(url=portal().other_url)
    asked = Asked(portal(), only(api_paths.PORTAL_REPORT), standing=standing)

    found = asked.run(report, standing_of)

    assert found[0] is None
    assert found[1] == SenderState(day=START.date(), spent=2, owed=1)  # the try of the other path


@pytest.mark.parametrize("url", ["https://evil.invalid/x", "junk", portal().bots_url])
def test_a_remembered_address_that_is_not_the_workspaces_is_passed_over(url: str) -> None:
    asked = Asked(portal(), lambda *_: 200, standing=SenderState(url=url))

    assert asked.run(report) == [None]
    assert asked.paths == [api_paths.PORTAL_REPORT]


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 502, 503])
def test_portals_other_path_is_not_tried_for_any_other_reason(status: int) -> None:
    asked = Asked(portal(), lambda *_: status)
    asked.run(report)

    assert set(asked.paths) == {api_paths.PORTAL_REPORT}


@pytest.mark.parametrize(
    ("one", "path"),
    [
        pytest.param(portal(path="/elsewhere"), "/elsewhere", id="it is configured"),
        pytest.param(workspace(["total_usage"]), api_paths.SEACHAT_REPORT, id="of SeaChat"),
    ],
)
def test_where_there_is_one_path_no_other_is_tried(one: Workspace, path: str) -> None:
    asked = Asked(one, lambda *_: 404)
    asked.run(report)

    assert asked.paths == [path]


def test_an_answer_without_anything_readable_is_invalid_and_not_up() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200)
    asked.run(lambda sender: report(sender, readable=False))

    assert asked.counted("invalid") == 1
    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == 0


@pytest.mark.parametrize(("status", "up"), [(200, 1), (401, 0), (429, 0), (500, 0)])
def test_up_is_whether_the_last_request_for_reports_succeeded(status: int, up: int) -> None:
    asked = Asked(busy(), lambda _, n: 200 if n == 1 else status)
    asked.run(report, report)

    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == up


def test_a_server_error_says_nothing_of_the_key() -> None:
    statuses = [200, 401, 500, 500, 500]
    asked = Asked(busy(), lambda _, number: statuses[number - 1])
    asked.run(report, report, report)

    assert asked.counted("server_error") == 3
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 0


@pytest.mark.parametrize(("key", "valid"), [("sk-bots", 1), (None, 0)], ids=["its-own", "the-same"])
def test_a_key_that_the_list_rejects_is_the_reports_only_if_it_is_the_same(
    key: str | None, valid: int
) -> None:
    one = workspace(["total_usage"], requests_per_minute=600, bots_api_key=key)
    asked = Asked(one, lambda _, number: [200, 401][number - 1])
    asked.run(report, bots)

    assert asked.counted("unauthorized") == 1
    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == valid
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == valid


def test_without_a_key_nothing_is_sent_and_nothing_said_of_what_the_api_makes_of_it(
    tmp_path: Path,
) -> None:
    one, file = keyed(tmp_path)
    asked = Asked(one, lambda *_: 200)
    file.unlink()

    (failure,) = asked.run(report)

    assert isinstance(failure, RequestFailed)
    assert asked.paths == []
    assert asked.counted("unauthorized") == 0
    assert asked.told('seasalt_up{api="seachat",workspace="acme"}') == 0
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 1


def test_what_is_left_of_the_days_budget_is_told_from_the_start() -> None:
    asked = Asked(workspace(["total_usage"], requests_per_day=7), lambda *_: 200)
    line = 'seasalt_api_requests_budget_remaining{api="seachat",workspace="acme"}'

    asked.run()
    assert asked.told(line) == 7
    asked.run(report)
    assert asked.told(line) == 6


def test_who_is_a_minute_early_waits_for_the_new_days_budget() -> None:
    asked = Asked(workspace(["total_usage"], requests_per_day=1, timezone="UTC"), lambda *_: 200)

    found = asked.run(report, lambda sender: later(sender, 12 * 3600 - 30), report)

    assert found[2] is None
    assert asked.times[1] >= 12 * 3600


def test_a_request_that_is_called_off_is_not_counted() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200, seconds=30)

    async def give_up(sender: Sender) -> None:
        task = asyncio.ensure_future(report(sender))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asked.run(give_up)

    assert len(asked.paths) == 1
    assert asked.counted("invalid") == asked.counted("success") == 0
    # Nor does it say anything to those that share the key: one of them goes first.
    pause = asked.shared_keys.pause(urlsplit(asked.one.url).netloc, KEY)
    assert pause.wait("one", 5.0) == 0
    pause.sent("one", 5.0)
    assert pause.wait("another", 5.0) > 0


# Repetitions.


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failing_api_is_asked_three_times_within_seconds(status: int) -> None:
    asked = Asked(busy(), lambda *_: status)
    asked.run(report)

    assert len(asked.times) == 3
    assert asked.times[2] - asked.times[0] < 2 + 4 + 1
    assert asked.counted("server_error") == 3
    assert asked.retried("server_error") == 2


def test_a_failure_that_is_over_in_a_moment_is_none() -> None:
    asked = Asked(busy(), lambda _, number: [500, 200][number - 1])

    assert asked.run(report) == [None]
    assert (asked.counted("server_error"), asked.counted("success")) == (1, 1)


def test_an_api_that_does_not_answer_is_asked_once_more() -> None:
    asked = Asked(busy(timeout="5s"), lambda *_: 200, seconds=10)
    asked.run(report)

    assert len(asked.times) == 2
    assert asked.retried("timeout") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 204, 302])
def test_what_the_api_has_decided_is_not_asked_again(status: int) -> None:
    asked = Asked(busy(), lambda *_: status)
    asked.run(report)

    assert len(asked.times) == 1


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0]),
    st.lists(st.floats(0, 1), min_size=64, max_size=64),
    st.integers(20, 400),
    st.sampled_from([0.5, 10.0, 120.0]),
)
def test_at_any_rate_of_failures_the_total_is_a_tenth_above_the_schedule_and_ten(
    rate: float, luck: list[float], scheduled: int, every: float
) -> None:
    asked = Asked(busy(), lambda _, number: 500 if luck[number % 64] < rate else 200)

    async def step(sender: Sender) -> None:
        await asyncio.sleep(every)
        await report(sender)

    asked.run(*[step] * scheduled)

    assert len(asked.times) <= (1 + SHARE) * scheduled + SPARE


# Wishes.


@pytest.mark.parametrize("status", [429, 503])
def test_while_the_api_wants_a_pause_nothing_is_sent_and_requests_fail_at_once(status: int) -> None:
    asked = Asked(busy(), lambda _, number: status if number == 1 else 200)
    asked.headers = {"retry-after": "120"}
    line = 'seasalt_api_paused_until_timestamp_seconds{api="seachat",workspace="acme"}'
    told: list[float] = []

    async def look(_: Sender) -> None:
        told.append(asked.told(line) - START.timestamp())

    found = asked.run(
        *(look, report, look, report, bots),
        *(lambda sender: later(sender, 140), report, look),
    )

    refused = [error for error in found if isinstance(error, RequestFailed)]
    assert [error.status for error in refused] == [status, None, None]
    assert "paused until 2026-11-21 12:02:" in str(refused[1])
    assert found[-2] is None
    assert len(asked.times) == 2
    assert told[0] == told[2] == -START.timestamp()
    assert 120 <= told[1] <= 133
    assert asked.counted("rate_limited") + asked.counted("server_error") == 1


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([429, 503]),
    st.floats(0, 1e5).map(int),
    st.lists(st.integers(0, 4000), min_size=1, max_size=12),
)
def test_nothing_is_ever_sent_before_the_api_wants_it(
    status: int, wish: int, pauses: list[int]
) -> None:
    asked = Asked(busy(), lambda *_: status)
    asked.headers = {"retry-after": str(wish)}

    async def step(sender: Sender, pause: int) -> None:
        await asyncio.sleep(pause)
        await report(sender)

    asked.run(*(partial(step, pause=pause) for pause in pauses))

    answered = [time + asked.seconds for time in asked.times]
    for before, after in zip(answered, asked.times[1:], strict=False):
        assert after >= before + min(wish, 86400) - 1e-6


def test_a_rejected_key_is_sent_once_a_minute_however_often_the_process_starts() -> None:
    one, times, at = busy(), list[float](), 0.0
    standing = SenderState()

    async def thrice(sender: Sender) -> None:
        for _ in range(3):
            await asyncio.gather(report(sender), return_exceptions=True)
            await asyncio.sleep(1)

    for _ in range(60):  # three seconds each
        asked = Asked(one, lambda *_: 401, standing=standing)
        asked.world.start += timedelta(seconds=at)
        (_, standing) = asked.run(thrice, standing_of)  # type: ignore[assignment]  # it is one
        times += [at + time for time in asked.times]
        at += 3
        assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 0

    assert 3 <= len(times) <= 4
    assert all(later - earlier >= 56 for earlier, later in pairwise(times))


def test_a_rejected_key_lets_no_other_workspaces_key_rest_in_a_later_life() -> None:
    good, bad = busy(), workspace(["total_usage"], name="other", api_key="sk-rejected-canary")

    async def go() -> tuple[SenderState, SenderState]:
        ring = SharedKeys(b"one process")
        world, telemetry = World(), Telemetry()
        asked = {one.name: Asked(one, lambda *_: 200) for one in (good, bad)}
        asked[bad.name].statuses = lambda *_: 401
        senders = [
            Sender(
                one,
                Client(one, httpx.MockTransport(asked[one.name].handle)),
                telemetry,
                world.now,
                shared_keys=ring,
            )
            for one in (good, bad)
        ]
        await report(senders[0])
        with pytest.raises(RequestFailed):
            await report(senders[1])
        return senders[0].standing, senders[1].standing

    of_good, of_bad = World().run(go)
    assert of_good.resting == ()
    assert [use for use, *_ in of_bad.resting] == ["reports"]
    (answered,) = Asked(good, lambda *_: 200, standing=of_good).run(report)
    assert answered is None


def test_nothing_of_a_rejected_key_is_kept_that_another_life_could_compare() -> None:
    kept = []
    for _ in range(2):
        (_, standing) = Asked(busy(), lambda *_: 401).run(report, standing_of)
        assert isinstance(standing, SenderState)
        kept.append(standing.resting)

    [[(use, one, _)], [(_, two, _)]] = kept
    assert use == "reports"
    assert one.partition(".")[2] != two.partition(".")[2]
    assert KEY not in repr(kept)


def test_a_key_that_was_rotated_rests_no_longer_than_the_one_before_and_then_is_sent(
    tmp_path: Path,
) -> None:
    one, file = keyed(tmp_path)
    (_, standing) = Asked(one, lambda *_: 401).run(report, standing_of)
    assert isinstance(standing, SenderState)

    file.write_text("sk-new", encoding="utf-8")
    asked = Asked(one, lambda *_: 200, standing=standing)
    (refused, *_, ok) = asked.run(report, lambda sender: later(sender, 60), report)
    assert isinstance(refused, NotSent)
    assert ok is None
    # And another that comes while that one rests is sent at once.
    asked = Asked(one, lambda *_: 200, standing=standing)

    async def rotate(_: Sender) -> None:
        file.write_text("sk-newer", encoding="utf-8")

    (_, _, ok) = asked.run(report, rotate, report)
    assert ok is None


def test_the_credit_for_requests_beyond_the_schedule_is_spent_once_over_restarts() -> None:
    standing, sent = SenderState(), 0
    for _ in range(30):
        asked = Asked(busy(), lambda *_: 500, standing=standing)
        (_, standing) = asked.run(report, standing_of)  # type: ignore[assignment]  # it is one
        sent += len(asked.times)

    assert sent <= 30 * (1 + SHARE) + SPARE


def test_a_short_pause_is_waited_for() -> None:
    asked = Asked(busy(), lambda _, number: 503 if number == 1 else 200)
    asked.headers = {"retry-after": "30"}

    assert asked.run(report) == [None]
    assert asked.times[1] - asked.times[0] >= 30


def test_what_the_api_wants_is_remembered_over_a_restart() -> None:
    first = Asked(busy(), lambda *_: 429)
    first.headers = {"retry-after": "600"}
    (_, standing) = first.run(report, standing_of)
    assert isinstance(standing, SenderState)
    assert standing.not_before
    assert 600 <= (standing.not_before - START).total_seconds() <= 661

    second = Asked(busy(), lambda *_: 200, standing=standing)
    (failure, *_, ok) = second.run(report, lambda sender: later(sender, 661), report)
    assert isinstance(failure, RequestFailed)
    assert ok is None
    assert second.times[0] >= 600


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=20_000)])
def test_a_clock_that_was_wrong_parks_for_a_day_at_most(ahead: timedelta) -> None:
    standing = SenderState(not_before=START + ahead, open_until=START + ahead)
    asked = Asked(busy(), lambda *_: 200, standing=standing)

    (failure, _, ok) = asked.run(report, lambda sender: later(sender, 86_400), report)
    assert isinstance(failure, RequestFailed)
    assert ok is None


def test_a_pause_is_news_once_though_two_clocks_never_agree() -> None:
    asked = Asked(busy(), lambda *_: 429)
    asked.headers = {"retry-after": "3600"}

    async def waits(sender: Sender) -> object:
        asked.world.start += timedelta(microseconds=1)
        return sender.waits

    found = asked.run(waits, report, waits, lambda sender: later(sender, 60), waits)
    assert found[0] != found[2]
    assert found[2] == found[4]


@pytest.mark.parametrize("days", [-20_000, -1, 1])
def test_setting_the_clock_changes_no_pause(days: int) -> None:
    asked = Asked(busy(), lambda _, number: 429 if number == 1 else 200)
    asked.headers = {"retry-after": "600"}

    async def set_clock(_: Sender) -> None:
        asked.world.start += timedelta(days=days)

    found = asked.run(report, set_clock, report, lambda sender: later(sender, 661), report)
    assert isinstance(found[2], RequestFailed)
    assert found[4] is None


def test_a_days_requests_are_remembered_over_a_restart() -> None:
    one = busy(requests_per_day=7)
    (_, standing) = Asked(one, lambda *_: 200).run(report, standing_of)
    assert standing == SenderState(day=START.date(), spent=1)

    asked = Asked(one, lambda *_: 200, standing=standing)
    asked.run()
    line = 'seasalt_api_requests_budget_remaining{api="seachat",workspace="acme"}'
    assert asked.told(line) == 6


@pytest.mark.parametrize("wish", [{}, {"retry-after": "0"}, {"retry-after": "5"}], ids=str)
def test_an_api_that_always_says_too_many_is_asked_ever_less_and_never_never(
    wish: dict[str, str],
) -> None:
    asked = Asked(busy(), lambda *_: 429)
    asked.headers = wish

    async def day(sender: Sender) -> None:
        while (asked.world.now() - START) < timedelta(days=1):
            await asyncio.sleep(10)
            await asyncio.gather(report(sender), return_exceptions=True)

    asked.run(day)

    late = [time for time in asked.times if time > 12 * 3600]
    assert 12 * 5 <= len(late) <= 12 * 6 + CAPACITY + 1
    assert len(asked.times) <= 24 * 6 + 100  # at first the rate halves once a minute


# An outage.


def test_an_api_that_is_down_is_probed_once_a_minute_and_everything_else_fails_at_once() -> None:
    asked = Asked(busy(), lambda *_: 500)

    async def step(sender: Sender) -> None:
        await asyncio.sleep(1)
        await asyncio.gather(*(report(sender) for _ in range(4)), return_exceptions=True)

    asked.run(*[step] * 360)
    opened = asked.times[20] if len(asked.times) > 20 else 0.0
    probes = [time for time in asked.times if time > opened + 10]
    assert len(probes) >= 5
    assert all(b - a >= 60 for a, b in pairwise(probes))


def test_no_answer_that_is_a_refusal_opens_the_breaker() -> None:
    for status in (400, 404, 409, 422):
        asked = Asked(busy(), lambda *_, status=status: status)
        asked.run(*[report] * 60)
        assert len(asked.times) == 60


def test_after_the_outage_no_more_is_sent_at_once_than_the_bucket_holds() -> None:
    down = [True]
    asked = Asked(workspace(["total_usage"]), lambda *_: 500 if down else 200)

    async def outage(sender: Sender) -> None:
        for _ in range(60):
            await asyncio.gather(report(sender), later(sender, 60), return_exceptions=True)
        down.clear()

    async def all_at_once(sender: Sender) -> None:
        await asyncio.sleep(61)
        await report(sender)
        await asyncio.gather(*(report(sender) for _ in range(100)))

    assert asked.run(outage, all_at_once) == [None, None]
    times = asked.times
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= times[last] - begin + 10 + 1e-6


def test_a_probe_that_is_called_off_does_not_wedge_the_breaker() -> None:
    down = [True]
    asked = Asked(busy(), lambda *_: 500 if down else 200)

    async def open_it(sender: Sender) -> None:
        for _ in range(30):
            await asyncio.gather(report(sender), return_exceptions=True)
        assert sender.standing.open_until

    async def hang(sender: Sender) -> None:
        asked.seconds = 3600
        task = asyncio.ensure_future(report(sender))
        await asyncio.sleep(65)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        asked.seconds = 0.1
        down.clear()

    found = asked.run(open_it, hang, lambda sender: later(sender, 61), report)
    assert found == [None] * 4


def test_an_open_breaker_is_remembered_over_a_restart() -> None:
    standing = SenderState(open_until=START + timedelta(seconds=40))
    asked = Asked(busy(), lambda *_: 200, standing=standing)

    found = asked.run(report, standing_of)

    assert asked.times[0] >= 40
    assert found == [None, SenderState(day=START.date(), spent=1)]


def test_a_breaker_that_waits_for_its_next_probe_alone_is_told_as_no_pause() -> None:
    standing = SenderState(open_until=START + timedelta(seconds=40))
    asked = Asked(busy(), lambda *_: 200, standing=standing)
    line = 'seasalt_api_paused_until_timestamp_seconds{api="seachat",workspace="acme"}'
    told: list[float] = []

    async def look(_: Sender) -> None:
        told.append(asked.told(line))

    asked.run(look, lambda sender: later(sender, 41), look)
    assert told == [standing.open_until.timestamp() if standing.open_until else None, 0]


# Why a request failed.


@pytest.mark.parametrize(
    ("status", "body", "headers", "cause"),
    [
        (401, b'{"detail": "no"}', {}, Cause.KEY_REJECTED),
        (403, b"<html>", {}, Cause.BLOCKED),
        (403, b'{"detail": "no"}', {"retry-after": "600"}, Cause.BLOCKED),
        (404, b'{"detail": "no"}', {}, Cause.NOT_FOUND),
        (404, b"<html>", {}, Cause.REFUSED),
        (407, b"", {}, Cause.CONNECT),
        (422, b'{"detail": "no"}', {}, Cause.REFUSED),
        (429, b"", {}, Cause.RATE_LIMITED),
        (500, b"", {}, Cause.SERVER_ERROR),
        (302, b"", {}, Cause.INVALID),
    ],
)
def test_a_failure_says_who_can_act_on_it(
    status: int, body: bytes, headers: dict[str, str], cause: Cause
) -> None:
    asked = Asked(busy(), lambda *_: status)
    asked.refusal, asked.headers = body, headers

    [failure] = asked.run(report)

    assert isinstance(failure, RequestFailed)
    assert failure.cause is cause


@pytest.mark.parametrize(
    ("status", "cause"),
    [(429, Cause.RATE_LIMITED), (503, Cause.SERVER_ERROR), (403, Cause.BLOCKED)],
)
def test_what_waits_for_the_end_of_a_pause_has_the_cause_of_the_pause(
    status: int, cause: Cause
) -> None:
    asked = Asked(busy(), lambda *_: status)
    asked.headers = {"retry-after": "600"}

    failures = asked.run(report, report)

    assert [one.cause for one in failures if isinstance(one, RequestFailed)] == [cause] * 2
    assert isinstance(failures[1], NotSent)


def test_after_a_success_an_earlier_pause_explains_no_later_one() -> None:
    asked = Asked(busy(), lambda _, number: {1: 403, 3: 429}.get(number, 200))
    asked.headers = {"retry-after": "600"}
    asked.answer = b"{}"

    failures = asked.run(
        *(report, lambda sender: later(sender, 700), report, report, report),
    )

    causes = [one.cause for one in failures if isinstance(one, RequestFailed)]
    assert causes == [Cause.BLOCKED, Cause.RATE_LIMITED, Cause.RATE_LIMITED]


def test_what_an_open_breaker_holds_back_has_the_cause_that_opened_it() -> None:
    asked = Asked(busy(), lambda *_: 200, seconds=100.0)

    async def together(sender: Sender) -> tuple[object, ...]:
        found = await asyncio.gather(*(report(sender) for _ in range(25)), return_exceptions=True)
        return tuple(found)

    _, after = asked.run(together, together)

    assert isinstance(after, tuple)
    held_back = [one for one in after if isinstance(one, NotSent)]
    assert held_back
    assert {one.cause for one in held_back} == {Cause.TIMEOUT}


def test_what_the_day_has_no_budget_for_says_so() -> None:
    asked = Asked(busy(requests_per_day=1), lambda *_: 200)

    _, failure = asked.run(report, report)

    assert isinstance(failure, NotSent)
    assert failure.cause is Cause.BUDGET_SPENT


def test_whoever_looks_sees_until_when_nothing_is_sent_and_what_the_api_makes_of_the_key() -> None:
    asked = Asked(busy(), lambda _, number: {2: 429}.get(number, 200))
    asked.headers = {"retry-after": "600"}
    seen: list[tuple[bool, bool, bool | None]] = []

    async def look(sender: Sender) -> None:
        paused_until, probe_at = sender.held_back
        seen.append((bool(paused_until), bool(probe_at), sender.key_valid))

    asked.run(look, report, look, report, look, lambda sender: later(sender, 700), look)

    assert seen == [
        (False, False, None),
        (False, False, True),
        (True, False, True),
        (False, False, True),
    ]


def test_a_key_is_not_valid_once_it_is_rejected_and_unknown_while_one_rejection_may_be_chance() -> (
    None
):
    asked = Asked(busy(), lambda _, number: 200 if number == 1 else 401)
    seen: list[bool | None] = []

    async def look(sender: Sender) -> None:
        seen.append(sender.key_valid)

    asked.run(report, look, report, look, report, look)

    assert seen == [True, None, False]


# Keys.


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_not_sent_again_before_its_next_turn(status: int) -> None:
    asked = Asked(busy(), lambda *_: status)

    found = asked.run(*[report] * 20, lambda sender: later(sender, 600), report)

    assert len(asked.times) == 2
    assert asked.counted("unauthorized") == 2
    assert f"HTTP {status}: the key is not accepted" in str(found[1])
    assert "until it changes, it is sent at most once a minute" in str(found[1])


def keyed(tmp_path: Path, **others: Any) -> tuple[Workspace, Path]:  # noqa: ANN401 - keys of the file
    file = tmp_path / "key"
    file.write_text("sk-old", encoding="utf-8")
    return busy(api_key=None, api_key_file=str(file), **others), file


def test_a_key_that_changes_while_it_is_rejected_is_tried_at_once(tmp_path: Path) -> None:
    one, file = keyed(tmp_path)

    def statuses(_: str, number: int) -> int:
        file.write_text("sk-new", encoding="utf-8")
        return 401 if number == 1 else 200

    asked = Asked(one, statuses)
    assert asked.run(report) == [None]
    assert asked.keys == ["sk-old", "sk-new"]
    assert asked.retried("unauthorized") == 1


def test_what_waits_in_line_when_the_key_is_rejected_is_not_sent() -> None:
    asked = Asked(workspace(["total_usage"], requests_per_minute=60), lambda *_: 401)

    async def together(sender: Sender) -> None:
        await asyncio.gather(*(report(sender) for _ in range(8)), return_exceptions=True)

    asked.run(together)
    assert len(asked.times) == 1


def test_what_waits_in_line_when_the_key_is_rotated_is_sent_with_the_new_one(
    tmp_path: Path,
) -> None:
    one, file = keyed(tmp_path)
    asked = Asked(one, lambda _, number: 503 if number == 1 else 200)
    asked.headers = {"retry-after": "30"}

    async def rotate_meanwhile(sender: Sender) -> None:
        waiting = asyncio.ensure_future(report(sender))
        await asyncio.sleep(15)
        file.write_text("sk-new", encoding="utf-8")
        await waiting

    assert asked.run(rotate_meanwhile) == [None]
    assert asked.keys == ["sk-old", "sk-new"]


def test_a_forbidden_key_is_not_read_again_for_the_same_request(tmp_path: Path) -> None:
    one, file = keyed(tmp_path)

    def statuses(_: str, number: int) -> int:
        file.write_text("sk-new", encoding="utf-8")
        return 403 if number == 1 else 200

    asked = Asked(one, statuses)
    (failure, ok) = asked.run(report, report)
    assert isinstance(failure, RequestFailed)
    assert ok is None
    assert asked.keys == ["sk-old", "sk-new"]


def test_a_new_key_is_sent_as_soon_as_it_is_there(tmp_path: Path) -> None:
    one, file = keyed(tmp_path)
    asked = Asked(one, lambda *_: 401 if asked.keys[-1] == "sk-old" else 200)

    async def rotate(_: Sender) -> None:
        file.write_text("sk-new", encoding="utf-8")

    found = asked.run(report, report, rotate, report)
    assert found[-1] is None
    assert asked.keys == ["sk-old", "sk-new"]


def test_a_rejected_key_of_the_list_of_bots_does_not_stop_the_reports() -> None:
    asked = Asked(
        busy(bots_api_key="sk-bots"), lambda path, _: 401 if path == api_paths.BOTS else 200
    )

    found = asked.run(bots, bots, report)
    assert [type(one) for one in found] == [RequestFailed, NotSent, type(None)]
    assert asked.paths == [api_paths.BOTS, api_paths.SEACHAT_REPORT]


@pytest.mark.parametrize("status", [408, 425])
def test_what_says_nothing_but_not_now_is_sent_again_within_the_credit(status: int) -> None:
    asked = Asked(
        busy(),
        lambda _, number: status if number < 3 else 200,
    )

    assert asked.run(report) == [None]
    assert len(asked.paths) == 3
    assert asked.retried("client_error") == 2


def test_a_page_from_before_the_api_pauses_and_leaves_the_key_valid() -> None:
    asked = Asked(
        busy(),
        lambda _, number: 403 if number == 2 else 200,
    )
    asked.headers = {"retry-after": "600"}

    found = asked.run(report, report, report)

    assert [str(one)[:27] for one in found] == [
        "None",
        "HTTP 403 from something bef",
        "paused until 2026-11-21 12:",  # 10 to 11 minutes later
    ]
    assert asked.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 1
    assert asked.counted("rate_limited") == 1
    assert len(asked.paths) == 2


def test_answers_that_cost_too_much_open_the_breaker() -> None:
    asked = Asked(busy(), lambda *_: 200)
    asked.answer = b"[" + b"{}," * 200_000 + b"{}]"

    *found, standing = asked.run(*[report] * 20, standing_of)

    assert {str(one) for one in found} == {"HTTP 200, too many brackets, commas or quotes"}
    assert isinstance(standing, SenderState)
    assert standing.open_until


def test_json_of_another_media_type_is_counted_as_drift() -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200)
    asked.headers = {"content-type": "text/plain"}

    assert asked.run(report) == [None]
    labels = 'api="seachat",field="other",metric="answer",workspace="acme"'
    assert asked.told(f"seasalt_schema_drift_total{{{labels}}}") == 1


def read_in_real_time(
    rows: int, telemetry: Telemetry, what: Callable[[Sender], Awaitable[None]]
) -> None:
    """Do something with a sender before an API whose answer has so many rows; threads may run."""
    one, content = workspace(["total_usage"]), b"[" + b"{}," * rows + b"{}]"

    async def go() -> None:
        client = Client(
            one, httpx.MockTransport(lambda _: httpx.Response(200, content=pieces(content)))
        )
        sender = Sender(one, client, telemetry, lambda: START)
        sender.begin()
        await what(sender)
        await client.close()

    asyncio.run(go())


@pytest.mark.parametrize("rows", [1, 10_000], ids=["small", "large"])
def test_a_large_answer_is_prepared_beside_the_loop(rows: int) -> None:
    threads: list[threading.Thread] = []

    def prepare(answer: object) -> object:
        threads.append(threading.current_thread())
        return answer

    async def read(sender: Sender) -> None:
        with await sender.report(lambda _: {}) as received:
            assert await received.made(prepare) == [{}] * (rows + 1)

    read_in_real_time(rows, Telemetry(), read)

    assert (threads == [threading.main_thread()]) is (rows == 1)


def test_an_answer_whose_reading_is_called_off_is_not_counted() -> None:
    telemetry, begun, free = Telemetry(), threading.Event(), threading.Event()

    def prepare(answer: object) -> object:
        begun.set()
        free.wait(20)
        return answer

    async def read(sender: Sender) -> None:
        with await sender.report(lambda _: {}) as received:
            await received.made(prepare)

    async def call_off(sender: Sender) -> None:
        task = asyncio.ensure_future(read(sender))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        free.set()

    read_in_real_time(10_000, telemetry, call_off)

    lines = telemetry.text(openmetrics=False).decode().splitlines()
    counts = [line for line in lines if line.startswith("seasalt_api_requests_total{")]
    assert counts
    assert all(line.endswith(" 0.0") for line in counts)


@pytest.mark.parametrize(
    "error", [ValueError("canary"), RecursionError(), KeyError("x"), MemoryError()], ids=repr
)
def test_whatever_an_answer_leads_to_the_process_goes_on(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(workspace(["total_usage"]), lambda *_: 200)

    async def raising(sender: Sender) -> None:
        with await sender.report(lambda _: {}):
            raise error

    told, after = asked.run(raising, report)

    assert isinstance(told, RequestFailed)
    assert str(told) == "rejected because of a bug in the exporter"
    assert after is None
    assert asked.told('seasalt_exporter_bugs_total{where="answer"}') == 1
    assert asked.counted("invalid") == 1
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
