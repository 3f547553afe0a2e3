import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from support.talk import CONVERSATION, HOURS, RIGHT, Bot, Probed, message, reply
from support.virtual import START
from support.workspaces import KEY

from exporter.model import api_paths
from exporter.probing.conversation import SUB_CHANNEL
from exporter.probing.prober import RETRY, GivenUp, NotProbed, Prober
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
        (Bot(replies={"messages": "none"}), Reason.NO_ANSWER),
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


def test_what_cost_no_message_is_tried_again_after_a_minute_and_not_at_once() -> None:
    run = Probed(Bot(opens=500))
    run.during(after(0, 1, 1, RETRY))
    assert len(run.api.asked) == 2


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
    most, flying = 0, 0

    async def probe(prober: Prober) -> None:
        nonlocal most
        tasks = [
            asyncio.ensure_future(prober.probe("acme", f"b{one}", "hours"))
            for one in range(2 * MOST_PROBES)
        ]
        await asyncio.sleep(10)
        most = run.api.questions
        await asyncio.gather(*tasks)

    run.during(probe)
    assert (most, flying) == (MOST_PROBES, 0)


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


def test_as_long_as_the_list_of_bots_is_not_known_nobody_is_told_that_there_is_none() -> None:
    run = Probed(workspace_id="ws-1", discover_bots={})

    async def targets(prober: Prober) -> None:
        with pytest.raises(NotProbed):
            prober.targets()

    run.during(targets)


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
