import asyncio
import gc
import logging
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from support.sharded import Shards
from support.talk import CONVERSATION, HOURS, RIGHT, Bot, Probed, message, reply
from support.virtual import START
from support.workspaces import KEY

from exporter.model import api_paths
from exporter.polling.plan import target
from exporter.polling.workspace import WorkspacePoller
from exporter.probing.conversation import SUB_CHANNEL, most_requests
from exporter.probing.exchange import LAST_READ
from exporter.probing.prober import RETRY, GivenUp, NotKnown, NotProbed, Prober, UnderWay
from exporter.probing.result import Phase, Reason, Result, discovery, page
from exporter.upstream.client import MOST_PROBES

MINUTES = 60.0
HANDED_OVER = reply(
    message(2, "OUTBOUND_MESSAGE", "One moment. nine canary-in-an-answer"),
    message(3, "TRANSFERRING", speaker="SYSTEM"),
)
NOTHING = reply()


def after(*seconds: float) -> Any:  # noqa: ANN401 - a coroutine function
    """Probes of the first bot, so many seconds after each other."""

    async def probe(prober: Prober) -> list[Result]:
        found = []
        for wait in seconds:
            await asyncio.sleep(wait)
            found.append(await prober.probe("acme", "b0", "hours"))
        return found

    return probe


def test_a_probe_opens_the_conversation_of_its_user_asks_and_reads_the_answer() -> None:
    run = Probed(Bot())
    result = run.once()
    opened, asked = run.api.asked
    assert opened == (
        "POST",
        api_paths.CONVERSATION,
        {
            "user": {
                "id": "seasalt-exporter-probe",
                "first_name": "Monitoring",
                "last_name": "Probe",
            },
            "with_reply": False,
        },
    )
    assert asked == (
        "POST",
        f"conversations/{CONVERSATION}/messages",
        {
            "message": {
                "text": "When are you open?",
                "data": {},
                "event": "INBOUND_MESSAGE",
                "sub_channel": SUB_CHANNEL,
            },
            "with_reply": True,
        },
    )
    assert (result.reason, result.matches, result.failures) == (None, True, 0)
    assert result.phases[Phase.CONVERSATION] == pytest.approx(0.2)
    assert result.phases[Phase.ANSWER] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("bot", "reason"),
    [
        (Bot(replies=reply(message(2, "OUTBOUND_MESSAGE", "Bananas"))), Reason.WRONG_ANSWER),
        (Bot(seconds=999), Reason.NO_ANSWER),
        (Bot(replies=NOTHING), Reason.NO_ANSWER),
        (Bot(replies=reply(message(1, "OUTBOUND_MESSAGE", RIGHT))), Reason.NO_ANSWER),
        (Bot(replies=HANDED_OVER), Reason.HANDOVER),
        (Bot(status=422), Reason.REFUSED),
        (Bot(opens=404), Reason.REFUSED),
        (Bot(status=500), Reason.API_ERROR),
        (Bot(opens=503), Reason.API_ERROR),
        (Bot(conversation="../../bots"), Reason.API_ERROR),
        (Bot(conversation=".."), Reason.API_ERROR),
        (Bot(replies={"messages": "none"}), Reason.API_ERROR),
        (Bot(replies={**NOTHING, "messages": "none"}), Reason.API_ERROR),
        (Bot(replies={"messages": []}), Reason.API_ERROR),
        (Bot(replies=NOTHING, reads=429), Reason.HELD_BACK),
        (Bot(replies=NOTHING, reads=403, headers={"Retry-After": "9"}), Reason.HELD_BACK),
        (Bot(replies=NOTHING, reads=401), Reason.KEY_REJECTED),
        (Bot(replies=NOTHING, reads=500), Reason.API_ERROR),
        (Bot(replies=NOTHING, reading=999), Reason.API_ERROR),
        (Bot(opening=999), Reason.API_ERROR),
        (Bot(broken=httpx.ConnectTimeout("canary")), Reason.API_ERROR),
        (Bot(broken=httpx.ConnectError("canary")), Reason.API_ERROR),
        (Bot(replies=reply(message(2, "OUTBOUND_MESSAGE", RIGHT, "agent-7"))), Reason.HANDOVER),
        (Bot(replies=reply(message(2, "OUTBOUND_MESSAGE", RIGHT), sequence=-1)), Reason.API_ERROR),
        (Bot(status=401), Reason.KEY_REJECTED),
        (Bot(opens=429), Reason.HELD_BACK),
        (Bot(status=429), Reason.HELD_BACK),
    ],
    ids=lambda one: str(one) if isinstance(one, Reason) else None,
)
def test_what_a_bot_does_is_told_apart(bot: Bot, reason: Reason) -> None:
    assert Probed(bot).once().reason is reason


def test_an_answer_that_comes_later_is_found_among_the_messages() -> None:
    earlier = message(1, "OUTBOUND_MESSAGE", "nine")
    late = message(6, "OUTBOUND_MESSAGE", RIGHT)
    question = message(5, "INBOUND_MESSAGE", "When are you open?", "user")
    run = Probed(Bot(replies=reply(sequence=5), later=[late, question, earlier]))
    result = run.once()
    assert result.reason is None
    assert run.api.questions == 1
    assert result.phases[Phase.ANSWER] == pytest.approx(0.2 + 1.0 + 0.2)
    assert run.api.asked[-1][2]["sequence"] == "1"


def test_the_messages_are_read_a_few_times_and_not_beyond_the_timeout() -> None:
    run = Probed(Bot(replies=NOTHING))
    result = run.once()
    reads = [below for method, below, _ in run.api.asked if method == "GET"]
    assert 3 <= len(reads) <= 6
    assert HOURS.timeout.total_seconds() <= result.phases[Phase.ANSWER] < 31


def test_a_conversation_that_a_person_took_over_earlier_is_still_a_persons() -> None:
    before = [message(3, "TRANSFERRING", speaker="SYSTEM"), message(4, "OUTBOUND_MESSAGE", "Hello")]
    taken = Bot(replies=reply(sequence=9), later=before)
    assert Probed(taken).once().reason is Reason.HANDOVER
    back = Bot(replies=reply(sequence=9), later=[*before, message(5, "EXITED")])
    assert Probed(back).once().reason is Reason.NO_ANSWER


def test_a_hand_over_is_known_until_the_bot_answers_again_however_long_ago_it_was() -> None:
    run = Probed(Bot(replies=HANDED_OVER))

    async def probe(prober: Prober) -> list[Reason | None]:
        found = []
        # The event is among the messages that are read only at first.
        silent = Bot(replies=reply(sequence=40))
        answers = Bot(replies=reply(message(51, "OUTBOUND_MESSAGE", RIGHT), sequence=50))
        ended = Bot(replies=reply(sequence=40), later=[message(39, "EXITED", speaker="SYSTEM")])
        for bot in (run.api.bots["b0"], silent, silent, answers, silent, run.api.bots["b0"], ended):
            run.api.bots["b0"] = bot
            found.append((await prober.probe("acme", "b0", "hours")).reason)
            await asyncio.sleep(11 * MINUTES)
        return found

    assert run.during(probe) == [
        *(Reason.HANDOVER, Reason.HANDOVER, Reason.HANDOVER),
        *(None, Reason.NO_ANSWER, Reason.HANDOVER, Reason.NO_ANSWER),
    ]


def test_what_cannot_be_read_is_counted_as_drift() -> None:
    run = Probed(Bot(replies={**NOTHING, "messages": "none"}))
    run.once()
    labels = 'api="seachat",field="messages",metric="probe",workspace="acme"'
    assert run.told(f"seasalt_schema_drift_total{{{labels}}}") == 1


def test_a_probe_ends_soon_after_the_bots_time_however_slowly_its_messages_are_read() -> None:
    run = Probed(Bot(replies=NOTHING, seconds=28.0, reading=999))
    took = run.once().phases[Phase.ANSWER]
    assert took <= HOURS.timeout.total_seconds() + LAST_READ


def test_a_probe_sends_no_more_requests_than_the_plan_says() -> None:
    for seconds in (1, 2, 30, 240):
        module = HOURS.model_copy(update={"timeout": timedelta(seconds=seconds)})
        run = Probed(Bot(replies=NOTHING), modules={"hours": module})
        run.api.seconds = 0.0
        run.once()
        assert len(run.api.asked) == most_requests(module)


def test_fifty_who_ask_at_once_share_one_message_and_one_result() -> None:
    run = Probed(Bot(seconds=5))

    async def probe(prober: Prober) -> list[Result]:
        return await asyncio.gather(*(prober.probe("acme", "b0", "hours") for _ in range(50)))

    found = run.during(probe)
    assert run.api.questions == 1
    assert len({id(result) for result in found}) == 1


def test_a_result_is_served_again_until_its_interval_is_over() -> None:
    run = Probed(Bot())
    first, again, last, new = run.during(after(0, 60, 9 * MINUTES - 2, 3))
    assert first is again is last
    assert new is not first
    assert run.api.questions == 2
    assert new.at - first.at >= HOURS.interval


def test_a_scrape_that_goes_away_costs_nothing_more_and_its_probe_is_not_lost() -> None:
    run = Probed(Bot(seconds=10))

    async def probe(prober: Prober) -> Result:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await prober.probe("acme", "b0", "hours")
        return await prober.probe("acme", "b0", "hours")

    assert run.during(probe).reason is None
    assert run.api.questions == 1


def test_failures_in_a_row_are_counted_once_for_each_probe() -> None:
    run = Probed(Bot(replies=reply(message(2, "OUTBOUND_MESSAGE", "Bananas"))))

    async def probe(prober: Prober) -> list[int]:
        found = []
        for number in range(9):
            if number == 6:
                run.api.bots["b0"] = Bot()
            await asyncio.sleep(5 * MINUTES + 1)
            found.append((await prober.probe("acme", "b0", "hours")).failures)
        return found

    assert run.during(probe) == [1, 1, 2, 2, 3, 3, 0, 0, 0]


def test_no_request_of_a_probe_is_sent_again() -> None:
    for bot in (Bot(status=500), Bot(seconds=999)):
        run = Probed(bot)
        run.once()
        assert run.api.questions == 1
    run = Probed(Bot(opens=500))
    run.once()
    assert len(run.api.asked) == 1


@pytest.mark.parametrize(
    "bot",
    [
        Bot(opens=429),
        Bot(status=429),
        Bot(broken=httpx.ConnectError("canary")),
        Bot(broken=httpx.ConnectTimeout("canary")),
    ],
    ids=["conversation refused", "question refused", "no connection", "no connection in time"],
)
def test_what_the_api_did_nothing_for_is_tried_again_after_a_minute_and_not_at_once(
    bot: Bot,
) -> None:
    run = Probed(bot)
    run.once()
    once = len(run.api.asked)
    run = Probed(bot)
    run.during(after(0, 1, 1))
    assert len(run.api.asked) == once
    run = Probed(bot)
    results = run.during(after(0, 1, 1, RETRY + 1, RETRY + 1))
    assert once < len(run.api.asked) <= 3 * once
    assert {result.failures for result in results} <= {0, 1}


@pytest.mark.parametrize(
    "bot",
    [
        Bot(opens=500),
        Bot(opens=404),
        Bot(opening=999),
        Bot(opens=401),
        Bot(conversation=".."),
        Bot(status=500),
        Bot(replies=NOTHING, reads=429),
        Bot(replies=NOTHING, reads=401),
        Bot(replies=NOTHING, reads=403, headers={"Retry-After": "9"}),
        Bot(replies=NOTHING, reads=500),
        Bot(replies=NOTHING, reading=999),
        Bot(broken=httpx.ReadError("canary")),
    ],
    ids=[
        *("conversation 500", "conversation 404", "conversation hangs", "conversation 401"),
        *("no conversation", "question 500"),
        *("reading 429", "reading 401", "reading 403", "reading 500", "reading hangs"),
        "connection breaks",
    ],
)
def test_what_may_have_cost_a_message_is_asked_and_counted_once_in_an_interval(bot: Bot) -> None:
    run = Probed(bot)
    results = run.during(after(0, *[60.0] * 8))
    assert len({result.at for result in results}) == 1
    assert results[-1].failures <= 1
    assert run.api.questions <= 1
    assert sum(below == api_paths.CONVERSATION for _, below, _ in run.api.asked) == 1


def test_the_interval_begins_when_the_question_is_sent() -> None:
    # The conversation takes long, and only at first.
    run = Probed(Bot(opening=25.0))

    async def probe(prober: Prober) -> None:
        await prober.probe("acme", "b0", "hours")
        run.api.bots["b0"] = Bot()
        for _ in range(80):
            await asyncio.sleep(10)
            await prober.probe("acme", "b0", "hours")

    run.during(probe)
    pairs = zip(run.api.times, run.api.asked, strict=True)
    asked = [at for at, (_, below, _) in pairs if below.endswith(api_paths.MESSAGES)]
    assert len(asked) == 2
    assert asked[1] - asked[0] >= HOURS.interval


def test_a_budget_that_ends_between_question_and_answer_says_nothing_about_the_bot() -> None:
    run = Probed(Bot(replies=NOTHING), requests_per_day=2)
    result = run.once()
    assert (result.reason, result.asked, result.failures) == (Reason.HELD_BACK, True, 0)
    assert "\nprobe_success" not in page(result).decode()


def test_what_may_have_cost_a_message_is_not_tried_again_within_the_interval() -> None:
    run = Probed(Bot(seconds=999))
    run.during(after(0, *[60.0] * 9))
    assert run.api.questions == 1


def test_the_days_budget_holds_for_probes_and_a_probe_that_it_holds_back_says_nothing() -> None:
    run = Probed(Bot(), requests_per_day=4)
    results = run.during(after(0, 11 * MINUTES, 11 * MINUTES))
    assert [result.reason for result in results] == [None, None, Reason.HELD_BACK]
    assert len(run.api.asked) == 4
    text = page(results[-1]).decode()
    assert "\nprobe_success" not in text
    assert 'seasalt_probe_failure{reason="held_back"} 1\n' in text
    assert "seasalt_probe_consecutive_failures 0\n" in text


def test_a_pause_of_the_api_holds_for_probes() -> None:
    run = Probed(Bot(opens=429), Bot())

    async def probe(prober: Prober) -> Reason | None:
        await prober.probe("acme", "b0", "hours")
        return (await prober.probe("acme", "b1", "hours")).reason

    assert run.during(probe) is Reason.HELD_BACK
    assert len(run.api.asked) == 1


def test_a_rejected_key_is_not_sent_for_another_probe_and_the_reports_do_not_suffer() -> None:
    run = Probed(Bot(opens=401), Bot())

    async def probe(prober: Prober) -> Reason | None:
        await prober.probe("acme", "b0", "hours")
        return (await prober.probe("acme", "b1", "hours")).reason

    assert run.during(probe) is Reason.KEY_REJECTED
    assert len(run.api.asked) == 1
    assert run.told('seasalt_api_key_valid{api="seachat",workspace="acme"}') == 1


def test_bots_that_hang_do_not_open_the_breaker_for_the_reports() -> None:
    run = Probed(*(Bot(seconds=999) for _ in range(MOST_PROBES)))

    async def probe(prober: Prober) -> None:
        bots = (prober.probe("acme", f"b{one}", "hours") for one in range(MOST_PROBES))
        await asyncio.gather(*bots)
        assert run.poller.status().probe_at is None
        assert await run.poller.reports.once() == ()

    run.during(probe)
    assert run.counted("timeout") == MOST_PROBES
    assert run.told('seasalt_up{api="seachat",workspace="acme"}') == 1


def test_an_api_that_cannot_be_reached_with_a_question_opens_the_breaker() -> None:
    # Most conversations can be opened, so that it takes the questions to have half of all fail.
    broken = httpx.ConnectTimeout("canary")
    run = Probed(*(Bot(broken=broken, opens=200 if one % 3 else 500) for one in range(30)))

    async def probe(prober: Prober) -> bool:
        opened = False
        for one in range(30):
            await prober.probe("acme", f"b{one}", "hours")
            opened = opened or run.poller.status().probe_at is not None
        return opened

    assert run.during(probe)
    run.api.bots = {bot: Bot(opens=one.opens, seconds=999) for bot, one in run.api.bots.items()}
    assert not run.during(probe)  # the same with bots that hang


def test_an_api_that_is_down_opens_the_breaker_for_probes() -> None:
    run = Probed(*(Bot(opens=500) for _ in range(30)))

    async def probe(prober: Prober) -> None:
        for one in range(30):
            await prober.probe("acme", f"b{one}", "hours")

    run.during(probe)
    # From the twentieth failure on one a minute.
    assert run.api.times[19] - START < timedelta(minutes=1)
    assert run.api.times[29] - run.api.times[20] >= timedelta(minutes=9)


def test_a_workspace_probes_so_many_bots_at_a_time() -> None:
    run = Probed(*(Bot(seconds=20) for _ in range(2 * MOST_PROBES)))

    async def probe(prober: Prober) -> int:
        tasks = [
            asyncio.ensure_future(prober.probe("acme", f"b{one}", "hours"))
            for one in range(2 * MOST_PROBES)
        ]
        await asyncio.sleep(10)
        at_once = run.api.questions
        await asyncio.gather(*tasks)
        return at_once

    assert run.during(probe) == MOST_PROBES
    assert run.api.questions == 2 * MOST_PROBES


def test_who_does_not_wait_begins_a_probe_all_the_same() -> None:
    run = Probed(Bot(seconds=5))

    async def probe(prober: Prober) -> Result:
        for _ in range(2):
            with pytest.raises(UnderWay):
                await prober.probe("acme", "b0", "hours", wait=False)
            await asyncio.sleep(2)
        await asyncio.sleep(5)
        return await prober.probe("acme", "b0", "hours", wait=False)

    assert run.during(probe).reason is None
    assert run.api.questions == 1


def test_nothing_is_kept_for_bots_and_pollers_that_are_probed_no_more() -> None:
    run = Probed(Bot())

    async def probe(prober: Prober) -> tuple[int, int]:
        await prober.probe("acme", "b0", "hours")
        (turn,) = prober._turns.values()  # noqa: SLF001 - nothing else shows it
        return len(prober._turns), len(turn.bots)  # noqa: SLF001

    assert run.during(probe) == (1, 0)
    del run.poller
    gc.collect()
    assert len(run.prober._turns) == 0  # noqa: SLF001


def test_one_bot_is_asked_one_question_at_a_time() -> None:
    days = HOURS.model_copy(update={"question": "And on Sundays?"})
    run = Probed(Bot(seconds=20), modules={"hours": HOURS, "days": days})

    async def probe(prober: Prober) -> None:
        tasks = [
            asyncio.ensure_future(prober.probe("acme", "b0", one)) for one in ("hours", "days")
        ]
        await asyncio.sleep(10)
        assert run.api.questions == 1
        await asyncio.gather(*tasks)

    run.during(probe)
    assert run.api.questions == 2


@pytest.mark.parametrize(
    "place",
    [("acme", "b1", "hours"), ("other", "b0", "hours"), ("acme", "b0", "days"), ("", "", "")],
)
def test_only_what_the_configuration_allows_is_probed(place: tuple[str, str, str]) -> None:
    days = HOURS.model_copy(update={"question": "And on Sundays?"})
    run = Probed(Bot(), modules={"hours": HOURS, "days": days}, probes=["hours"])

    async def probe(prober: Prober) -> None:
        with pytest.raises(NotProbed):
            await prober.probe(*place)

    run.during(probe)
    assert run.api.asked == []


def test_a_bot_may_have_modules_of_its_own_and_a_workspace_none() -> None:
    bots = [{"id": "b0", "probes": []}, {"id": "b1", "labels": {"team": "night"}}]
    run = Probed(Bot(), Bot(), bots=bots)

    async def targets(prober: Prober) -> bytes:
        return discovery(prober.targets())

    assert run.during(targets) == (
        b'[{"targets":["acme/b1"],"labels":{"__param_workspace":"acme","__param_bot_id":"b1",'
        b'"__param_module":"hours","api":"seachat","workspace":"acme","bot_id":"b1","bot":"b1",'
        b'"module":"hours","team":"night"}}]'
    )
    assert Probed(Bot(), probes=[]).during(targets) == b"[]"


def test_what_can_be_probed_is_found_in_a_time_that_grows_with_the_bots_and_off_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Probed(*(Bot() for _ in range(50)))
    looks, threads = [], set()

    def looked(_: object) -> frozenset[str]:
        looks.append(1)
        return frozenset({"b7"})

    def made(*of: Any) -> Any:  # noqa: ANN401 - a target
        threads.add(threading.get_ident())
        return target(*of)

    monkeypatch.setattr(WorkspacePoller, "switched_off", property(looked))
    monkeypatch.setattr("exporter.probing.prober.target", made)

    async def targets(prober: Prober) -> bytes:
        return await asyncio.to_thread(discovery, prober.targets())

    assert run.during(targets).count(b"__param_bot_id") == 49
    assert len(looks) == 1
    assert threads
    assert threading.get_ident() not in threads


def test_as_long_as_the_list_of_bots_is_not_known_nobody_is_told_that_there_is_none() -> None:
    run = Probed(workspace_id="ws-1", discover_bots={})

    async def targets(prober: Prober) -> None:
        for workspace in ("", "acme"):
            with pytest.raises(NotKnown):
                prober.targets(workspace)
        with pytest.raises(NotProbed):
            prober.targets("other")

    run.during(targets)


def test_a_workspace_without_its_list_of_bots_does_not_hide_those_of_another() -> None:
    run = Probed(Bot())
    unknown = Probed(workspace_id="ws-1", discover_bots={})

    async def targets(_: Prober) -> list[str]:
        unknown.one = unknown.one.model_copy(update={"name": "other"})
        other = unknown.start()
        both = Prober(lambda: [run.poller, other], run.world.now)
        both.adopt(run.modules)
        for workspace in ("", "other"):
            with pytest.raises(NotKnown):
                both.targets(workspace)
        found = [one.bot.bot_id for one in both.targets("acme")]
        await other.close()
        return found

    assert run.during(targets) == ["b0"]


def test_a_reload_keeps_the_result_unless_the_module_has_changed() -> None:
    run = Probed(Bot())

    async def probe(prober: Prober) -> int:
        await prober.probe("acme", "b0", "hours")
        old = run.poller
        run.replaced(labels={"team": "new"})
        await old.close()
        prober.adopt({"hours": HOURS.model_copy()})
        await prober.probe("acme", "b0", "hours")
        asked = run.api.questions
        prober.adopt({"hours": HOURS.model_copy(update={"answer": "ten"})})
        await prober.probe("acme", "b0", "hours")
        await run.poller.close()
        return asked

    assert run.during(probe) == 1
    assert run.api.questions == 2


def test_a_module_that_is_gone_for_a_while_or_differs_in_its_interval_is_not_asked_again() -> None:
    run = Probed(Bot())
    longer = HOURS.model_copy(update={"interval": timedelta(hours=6)})

    async def probe(prober: Prober) -> None:
        first = await prober.probe("acme", "b0", "hours")
        prober.adopt({})
        prober.adopt({"hours": HOURS})
        assert await prober.probe("acme", "b0", "hours") is first
        prober.adopt({"hours": longer})
        await asyncio.sleep(5 * 60 * MINUTES)
        assert await prober.probe("acme", "b0", "hours") is first
        prober.adopt({"hours": HOURS})
        assert await prober.probe("acme", "b0", "hours") is not first

    run.during(probe)
    assert run.api.questions == 2


def test_a_reload_amid_a_probe_does_not_ask_again() -> None:
    run = Probed(Bot(seconds=20))

    async def probe(prober: Prober) -> Result:
        for number in range(5):
            waiting = asyncio.ensure_future(prober.probe("acme", "b0", "hours"))
            await asyncio.sleep(5)
            old = run.poller
            run.replaced(labels={"team": f"n{number}"})
            await old.close()
            prober.adopt(run.modules)
            await asyncio.wait({waiting})
        result = await prober.probe("acme", "b0", "hours")
        await run.poller.close()
        return result

    result = run.during(probe)
    assert (result.reason, result.failures) == (Reason.HELD_BACK, 0)
    assert run.api.questions == 1


def test_a_probe_that_is_given_up_before_its_question_is_begun_again() -> None:
    run = Probed(Bot(opening=20))

    async def probe(prober: Prober) -> Result:
        for wait in (5, 0):  # the second one is given up before its first step
            waiting = asyncio.ensure_future(prober.probe("acme", "b0", "hours"))
            await asyncio.sleep(wait)
            old = run.poller
            run.replaced(labels={"team": f"n{wait}"})
            await old.close()
            with pytest.raises(GivenUp):
                await waiting
        result = await prober.probe("acme", "b0", "hours")
        await run.poller.close()
        return result

    assert run.during(probe).reason is None
    assert run.api.questions == 1


def test_between_two_pollers_no_probe_begins() -> None:
    run = Probed(Bot())

    async def probe(prober: Prober) -> None:
        await run.poller.close()
        with pytest.raises(GivenUp):
            await prober.probe("acme", "b0", "hours")
        here = asyncio.current_task()
        assert here
        with pytest.raises(RuntimeError):
            run.poller.carry(here)

    run.during(probe)
    assert run.api.asked == []
    assert run.told('seasalt_exporter_bugs_total{where="answer"}') == 0


def test_a_result_of_another_customer_is_dropped() -> None:
    run = Probed(Bot(), workspace_id="ws-1")

    async def probe(prober: Prober) -> list[Result]:
        found = [await prober.probe("acme", "b0", "hours")]
        for change in ({"workspace_id": "ws-2"}, {"labels": {"team": "new"}}):
            old = run.poller
            run.replaced(**change)
            await old.close()
            prober.adopt(run.modules)
            found.append(await prober.probe("acme", "b0", "hours"))
        await run.poller.close()
        return found

    first, foreign, same = run.during(probe)
    assert foreign is not first
    assert same is foreign
    assert run.api.questions == 2


def test_a_probe_under_way_ends_with_its_poller_and_whoever_waits_is_told() -> None:
    run = Probed(Bot(seconds=20))

    async def probe(prober: Prober) -> None:
        waiting = asyncio.ensure_future(prober.probe("acme", "b0", "hours"))
        await asyncio.sleep(5)
        await run.poller.close()
        with pytest.raises(GivenUp):
            await waiting

    run.during(probe)


def test_at_the_end_no_probe_begins() -> None:
    run = Probed(Bot())

    async def probe(prober: Prober) -> None:
        prober.end()
        with pytest.raises(GivenUp):
            await prober.probe("acme", "b0", "hours")

    run.during(probe)
    assert run.api.asked == []


def test_nothing_that_a_bot_says_is_in_a_result_a_page_or_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Bot(replies=reply(message(2, "OUTBOUND_MESSAGE", "canary-in-an-answer")))
    for bot in (Bot(), wrong, Bot(replies=HANDED_OVER), Bot(status=500), Bot(opens=422)):
        run = Probed(bot)
        result = run.once()
        said = [repr(result), page(result).decode(), run.page(), caplog.text]
        said.append(run.telemetry.text(openmetrics=False).decode())
        for text in said:
            assert "canary" not in text
            assert KEY not in text


def test_a_bug_in_a_probe_is_counted_and_its_text_is_told_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Probed(Bot())

    async def broken(*_: object) -> Result:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr("exporter.probing.prober.probed", broken)
    result = run.once()
    assert result.reason is Reason.HELD_BACK
    assert run.told('seasalt_exporter_bugs_total{where="probe"}') == 1


def test_a_bot_that_left_is_forgotten_only_when_its_interval_is_over() -> None:
    run = Probed(Bot(), Bot())

    async def probe(prober: Prober) -> int:
        await prober.probe("acme", "b0", "hours")
        bots, old = run.one.bots, run.poller
        run.replaced(bots=bots[1:])
        await old.close()
        prober.adopt(run.modules)
        old = run.poller
        run.replaced(bots=bots)
        await old.close()
        prober.adopt(run.modules)
        await prober.probe("acme", "b0", "hours")
        asked = run.api.questions
        await asyncio.sleep(timedelta(hours=1).total_seconds())
        prober.targets()
        await run.poller.close()
        return asked

    assert run.during(probe) == 1


def test_the_time_of_a_probe_is_that_of_its_beginning() -> None:
    run = Probed(Bot(seconds=3))
    assert run.once().at == START


# With other shards.


def test_each_bot_is_listed_and_probed_by_exactly_one_shard() -> None:
    listed, allowed = list[str](), list[str]()

    async def story(run: Shards) -> None:
        run.start("0/3", "1/3", "2/3")
        await asyncio.sleep(MINUTES)
        for instance in run.running.values():
            prober = Prober(lambda one=instance: [one.poller], run.world.now)  # type: ignore[misc]  # bound here
            prober.adopt({"hours": HOURS})
            listed.extend(one.bot.bot_id for one in prober.targets())
            allowed.extend(bot for bot in bots if prober.allows("acme", bot, "hours"))

    run = Shards(12, modules={"hours": HOURS.model_dump(mode="json")}, probes=["hours"])
    bots = [bot.id for bot in run.one.bots]
    run.through(story)

    assert sorted(listed) == sorted(allowed) == sorted(bots)
