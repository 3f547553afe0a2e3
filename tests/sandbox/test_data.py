"""The made-up data: the same for the same seed, hidden until its time, believable."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from zoneinfo import ZoneInfo

import httpx
import pytest

from exporter.sandbox import Sandbox

START = datetime(2025, 7, 16, 15, 30, tzinfo=UTC)
Call = Callable[..., httpx.Response]
Make = Callable[..., Sandbox]


@pytest.fixture
def small(make_sandbox: Make) -> Make:
    def make(*, seed: int = 1, start: datetime = START, days: int = 5) -> Sandbox:
        return make_sandbox(
            seed=seed, now=lambda: start, bots=2, days=days, conversations_per_day=6.0, workspaces=2
        )

    return make


def dump(sandbox: Sandbox) -> list[str]:
    return list(sandbox.connection.iterdump())


def events(sandbox: Sandbox, since: datetime, until: datetime) -> list[list[tuple[Any, ...]]]:
    """All that happens in a stretch of time, table by table."""
    times = {
        "conversation": "started_at",
        "message": "at",
        "call": "started_at",
        "label_application": "at",
        "survey_answer": "created_at",
        "status_change": "at",
    }
    edges = (since.timestamp(), until.timestamp())
    return [
        sandbox.connection.execute(
            f"SELECT * FROM {table} WHERE {at} >= ? AND {at} < ? ORDER BY 1, 2, 3",  # noqa: S608 - names from above
            edges,
        ).fetchall()
        for table, at in times.items()
    ]


def test_same_seed_and_start_make_the_same_sandbox(small: Make) -> None:
    one, other = small(), small()
    assert one.workspaces == other.workspaces
    assert dump(one) == dump(other)


def test_another_seed_makes_other_keys_and_other_numbers(small: Make) -> None:
    one, other = small(), small(seed=2)
    assert {one.workspaces[0].seachat_key, one.workspaces[0].id}.isdisjoint(
        {other.workspaces[0].seachat_key, other.workspaces[0].id}
    )
    assert dump(one) != dump(other)


def test_sandboxes_made_at_different_instants_agree_about_the_days_they_share(small: Make) -> None:
    one, other = small(days=8), small(start=START + timedelta(days=3, hours=7), days=8)
    since, until = START - timedelta(days=3), START + timedelta(days=2)
    found = events(one, since, until)
    assert one.workspaces == other.workspaces
    assert all(found)
    assert found == events(other, since, until)


def test_more_workspaces_and_bots_leave_the_first_ones_as_they_were(make_sandbox: Make) -> None:
    few = make_sandbox(now=lambda: START, bots=1, days=2)
    many = make_sandbox(now=lambda: START, bots=3, days=2, workspaces=2)
    bot = few.workspaces[0].bots[0]
    assert many.workspaces[0].bots[0] == bot
    sql = "SELECT * FROM conversation WHERE bot = ? ORDER BY number"
    found, again = (
        sandbox.connection.execute(sql, (bot.number,)).fetchall() for sandbox in (few, many)
    )
    assert found == again != []


def test_identifiers_and_keys_are_all_different(make_sandbox: Make) -> None:
    sandbox = make_sandbox(now=lambda: START, workspaces=8, bots=30, days=0, ahead_days=0)
    names = [
        name
        for workspace in sandbox.workspaces
        for name in (
            workspace.id,
            workspace.name,
            workspace.seachat_key,
            workspace.portal_key,
            workspace.seax_key,
            *(bot.id for bot in workspace.bots),
        )
    ]
    assert len(set(names)) == len(names)
    for workspace in sandbox.workspaces:
        assert len({bot.name for bot in workspace.bots}) == 30
        ZoneInfo(workspace.timezone)


def test_events_after_now_stay_invisible_until_their_time_comes(
    post: Call, make_sandbox: Make
) -> None:
    clock = [START]
    sandbox = make_sandbox(now=lambda: clock[0], days=4, bots=2)

    def ask(api: str, *metrics: str, **fields: object) -> Any:  # noqa: ANN401 - JSON
        reply = post(api, {"metrics": metrics} | fields, sandbox)
        assert reply.status_code == 200, reply.text
        return reply.json()

    for hours in (0, 1, 5, 30, 60):
        clock[0] = START + timedelta(hours=hours)
        now = int(clock[0].timestamp())
        dates = {"start_date": "2025-01-01T00:00:00", "end_date": "2026-12-31T23:59:59"}
        metrics = ("activity_trend", "total_usage", "label_overview")
        found = ask("seachat", *metrics, time_unit="year", **dates)
        [row] = found["activity_trend"]["data"]
        [(happened,)] = sandbox.connection.execute(
            "SELECT count(*) FROM message WHERE at < ?", (now,)
        )
        [(applied,)] = sandbox.connection.execute(
            "SELECT count(*) FROM label_application WHERE at < ?", (now,)
        )
        [(seconds,)] = sandbox.connection.execute(
            "SELECT sum(min(seconds, ? - started_at)) FROM call WHERE started_at < ?", (now, now)
        )
        assert row["CUSTOMER"] + row["AGENT"] + row["BOT"] + row["SYSTEM"] == happened
        assert sum(label["total_count"] for label in found["label_overview"]) == applied
        assert found["total_usage"]["total_voice_minutes"] == round(seconds / 60, 2)
        sessions = ask("seax", "agent_activity", **dates)
        ends = [
            session[edge]
            for session in sessions["agent_activity"]["agents"]
            for edge in ("start_time", "end_time")
            if session[edge]
        ]
        assert max(ends) < clock[0].isoformat().replace("+00:00", "Z")
    [(in_all,)] = sandbox.connection.execute("SELECT count(*) FROM message")
    assert in_all > happened


def test_a_reply_that_is_still_to_come_does_not_keep_its_conversation(
    post: Call, make_sandbox: Make
) -> None:
    clock = [START]
    sandbox = make_sandbox(now=lambda: clock[0], days=2, bots=2)
    [(started_at, replied_at)] = sandbox.connection.execute(
        "SELECT started_at, first_reply_at FROM conversation"
        " WHERE first_reply_at > started_at + 30 AND started_at > ? LIMIT 1",
        (START.timestamp(),),
    )

    def conversations(at: int) -> int:
        clock[0] = datetime.fromtimestamp(at, UTC)
        body = {
            "metric": "conversation_overview",
            "time_unit": "day",
            "exclude_empty_response": True,
            "from_date": datetime.fromtimestamp(started_at, UTC).isoformat(),
            "to_date": datetime.fromtimestamp(started_at, UTC).isoformat(),
        }
        return sum(row["count"] for row in post("portal", body, sandbox).json()["data"])

    assert conversations(replied_at + 1) == conversations(replied_at) + 1


def test_a_call_that_is_going_on_counts_its_minutes_so_far(post: Call, make_sandbox: Make) -> None:
    clock = [START]
    sandbox = make_sandbox(now=lambda: clock[0], days=6, bots=3)
    [(started_at, seconds)] = sandbox.connection.execute(
        "SELECT started_at, seconds FROM call WHERE seconds > 120 AND started_at < ?"
        " ORDER BY started_at LIMIT 1",
        (START.timestamp(),),
    )
    second = datetime.fromtimestamp(started_at, UTC).isoformat()
    body = {"metrics": ["total_usage"], "start_date": second, "end_date": second}
    found = []
    for after in (0, 60, seconds, seconds + 600):
        clock[0] = datetime.fromtimestamp(started_at + after, UTC)
        found.append(post("seax", body, sandbox).json()["total_usage"]["total_voice_minutes"])
    assert found == [None, 1.0, round(seconds / 60, 2), round(seconds / 60, 2)]


def test_a_live_agent_is_counted_from_when_one_is_asked_for(post: Call, make_sandbox: Make) -> None:
    clock = [START]
    sandbox = make_sandbox(now=lambda: clock[0], days=4, bots=2)
    body = {"metrics": ["conversation_overview"], "range_type": "last_180_days"}
    [(asked_at,)] = sandbox.connection.execute(
        "SELECT min(live_agent_at) FROM conversation WHERE live_agent_at > ?",
        (START.timestamp() - 86_400,),
    )
    found = []
    for after in (0, 1):
        clock[0] = datetime.fromtimestamp(asked_at + after, UTC)
        overview = post("seachat", body, sandbox).json()["conversation_overview"]
        found.append(overview["live_agent_requests"])
    assert found[1] == found[0] + 1


def test_a_naive_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Sandbox.make(now=lambda: START.replace(tzinfo=None))


def test_only_http_is_spoken(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="lifespan"):
        asyncio.run(sandbox({"type": "lifespan"}, AsyncMock(), AsyncMock()))


def test_a_sandbox_can_live_in_a_file_and_overwrites_none(
    tmp_path: Path, make_sandbox: Make
) -> None:
    path = str(tmp_path / "sandbox.db")
    made = make_sandbox(now=lambda: START, days=1, path=path)
    expected = dump(made)
    made.close()
    connection = sqlite3.connect(path)
    assert list(connection.iterdump()) == expected
    connection.close()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        make_sandbox(now=lambda: START, days=1, path=path)


def test_a_sandbox_that_cannot_be_made_leaves_no_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = str(tmp_path / "sandbox.db"), list[sqlite3.Connection]()
    connect = sqlite3.connect

    def noted(*given: Any, **more: Any) -> sqlite3.Connection:  # noqa: ANN401 - sqlite3's
        opened.append(connect(*given, **more))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    Sandbox.make(now=lambda: START, days=1, path=path).close()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Sandbox.make(now=lambda: START, days=1, path=path)

    assert len(opened) == 2
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_office_hours_are_busy_nights_quiet_and_weekends_weak(sandbox: Sandbox) -> None:
    zone = ZoneInfo(sandbox.workspaces[0].timezone)
    hours: Counter[int] = Counter()
    days: Counter[int] = Counter()
    for (at,) in sandbox.connection.execute(
        "SELECT started_at FROM conversation JOIN bot ON bot.number = bot WHERE workspace = 0"
    ):
        local = datetime.fromtimestamp(at, zone)
        hours[local.hour] += 1
        days[local.weekday()] += 1
    night, office = sum(hours[hour] for hour in range(6)), sum(hours[hour] for hour in range(9, 15))
    assert 0 < 10 * night < office
    assert max(days[5], days[6]) < min(days[weekday] for weekday in range(5))


def test_bots_differ_in_volume_and_in_ratings(sandbox: Sandbox) -> None:
    volumes = sandbox.connection.execute(
        "SELECT count(*) FROM conversation GROUP BY bot"
    ).fetchall()
    assert len(set(volumes)) == len(volumes) == 8
    means = [
        mean
        for (mean,) in sandbox.connection.execute(
            "SELECT avg(rating) FROM survey_answer GROUP BY bot"
        )
    ]
    assert len(set(means)) == len(means) == 8
    assert all(3.2 < mean < 4.8 for mean in means)


def test_all_channels_senders_statuses_and_labels_are_used(sandbox: Sandbox) -> None:
    def values(sql: str) -> set[str]:
        return {value for (value,) in sandbox.connection.execute(sql)}

    assert values("SELECT DISTINCT channel FROM conversation") == {
        "WebChat",
        "WhatsApp",
        "SMS",
        "Messenger",
        "Line",
    }
    assert values("SELECT DISTINCT sender FROM message") == {"CUSTOMER", "AGENT", "BOT", "SYSTEM"}
    assert values("SELECT DISTINCT handling_status FROM conversation") == {
        "RESOLVED",
        "PENDING",
        "FOLLOW_UP",
    }
    assert values("SELECT DISTINCT status FROM status_change") == {
        "AVAILABLE",
        "OFFLINE",
        "ON_THE_CALL",
        "CALL_RINGING",
        "OUTBOUND",
        "WRAP_UP",
        "MEAL",
        "BREAK",
    }
    assert values("SELECT number FROM label") == values("SELECT label FROM label_application")
    assert any("@" in account for account in values("SELECT account FROM agent"))


def test_a_user_is_known_by_one_bot_on_one_channel(sandbox: Sandbox) -> None:
    strays = sandbox.connection.execute(
        "SELECT c.number FROM conversation c LEFT JOIN user u ON u.number = c.user"
        " WHERE u.number IS NULL OR u.bot != c.bot OR u.channel != c.channel"
    ).fetchall()
    assert strays == []


def test_first_instants_of_a_conversation_are_those_of_its_messages(sandbox: Sandbox) -> None:
    wrong = sandbox.connection.execute(
        "SELECT c.number FROM conversation c JOIN message m ON m.conversation = c.number"
        " GROUP BY c.number HAVING min(m.at) != c.started_at OR min(m.bot) != c.bot"
        " OR min(m.at) FILTER (WHERE sender = 'CUSTOMER') IS NOT c.first_inbound_at"
        " OR min(m.at) FILTER (WHERE sender IN ('AGENT', 'BOT')) IS NOT c.first_reply_at"
    ).fetchall()
    [(silent,)] = sandbox.connection.execute(
        "SELECT count(*) FROM conversation WHERE first_reply_at IS NULL"
    )
    [(unasked,)] = sandbox.connection.execute(
        "SELECT count(*) FROM conversation WHERE first_inbound_at IS NULL"
    )
    assert wrong == []
    assert silent > 0
    assert unasked > 0


def test_a_disabled_bot_has_no_conversations(make_sandbox: Make) -> None:
    sandbox = make_sandbox(now=lambda: START, bots=10, days=3)
    disabled = [bot.number for bot in sandbox.workspaces[0].bots if not bot.is_enabled]
    [(often,)] = sandbox.connection.execute(
        "SELECT count(*) FROM conversation WHERE bot = ?", disabled
    )
    assert len(disabled) == 1
    assert often == 0
