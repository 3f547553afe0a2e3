"""The sandbox's numbers agree with each other and with a plain recount of its rows."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.sandbox import Sandbox

Ask = Callable[..., Any]
NOW = int(datetime(2025, 11, 5, 15, 0, tzinfo=UTC).timestamp())
SENDERS = ("CUSTOMER", "AGENT", "BOT", "SYSTEM")

# The clocks of New York go back by an hour in the first window, those of Lord Howe forward by
# half an hour in the second; Kolkata is five and a half hours ahead of UTC.
WINDOWS = [
    (zone, start, end)
    for zone in ("America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")
    for start, end in (
        ("2025-10-20T00:00:00", "2025-11-03T23:59:59"),
        ("2025-10-01T00:00:00", "2025-10-31T23:59:59"),
        ("2025-03-01T00:00:00", "2025-03-31T23:59:59"),
    )
]
every_window = pytest.mark.parametrize(("zone", "start", "end"), WINDOWS)


def between(zone: str, start: str, end: str) -> dict[str, str]:
    return {"timezone": zone, "start_date": start, "end_date": end}


def portal_between(zone: str, start: str, end: str) -> dict[str, str]:
    return {"timezone": zone, "from_date": start, "to_date": end}


def edges(zone: str, start: str, end: str) -> tuple[int, int]:
    clock = ZoneInfo(zone)
    since, last = (
        int(datetime.fromisoformat(text).replace(tzinfo=clock).timestamp()) for text in (start, end)
    )
    return since, min(last + 1, NOW)


def messages(sandbox: Sandbox, since: int, until: int) -> Iterator[tuple[int, str, str, int]]:
    """(instant, sender, channel, user) of the first workspace."""
    rows = sandbox.connection.execute(
        "SELECT m.at, m.sender, c.channel, c.user FROM message m"
        " JOIN conversation c ON c.number = m.conversation JOIN bot b ON b.number = c.bot"
        " WHERE b.workspace = 0"
    )
    return (row for row in rows if since <= row[0] < until)


def wall(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at, ZoneInfo(zone))


def counts(row: dict[str, Any], *names: str) -> int:
    return sum(row[name] for name in names)


@every_window
def test_breakdown_is_what_a_recount_finds(
    sandbox: Sandbox, seachat: Ask, zone: str, start: str, end: str
) -> None:
    rows = list(messages(sandbox, *edges(zone, start, end)))
    inbound = [row for row in rows if row[1] == "CUSTOMER"]
    found = seachat("conversation_breakdown", **between(zone, start, end))
    hours = Counter(str(wall(at, zone).hour) for at, *_ in inbound)
    days = Counter(f"{wall(at, zone):%A}" for at, *_ in inbound)
    assert {hour: often for hour, often in found["messages_by_hour"].items() if often} == hours
    assert {day: often for day, often in found["messages_by_day"].items() if often} == days
    for name, channel in found["channel_summary"].items():
        of_channel = [user for *_, where, user in inbound if where == name]
        assert channel["user_count"] == len(set(of_channel))
        assert channel["inbound_message_count"] == len(of_channel)
    volume = seachat("communication_volume", **between(zone, start, end))
    assert volume["inbound_non_voice_count"] == len(inbound) > 0


@every_window
def test_message_trend_is_what_a_recount_finds_day_by_day(
    sandbox: Sandbox, seachat: Ask, zone: str, start: str, end: str
) -> None:
    recount: dict[str, Counter[str]] = {}
    for at, sender, *_ in messages(sandbox, *edges(zone, start, end)):
        recount.setdefault(wall(at, zone).date().isoformat(), Counter())[sender] += 1
    found = seachat("activity_trend", time_unit="day", **between(zone, start, end))
    assert found["data"] == [
        {"period": day} | {sender: recount[day][sender] for sender in SENDERS}
        for day in sorted(recount)
    ]


@every_window
@pytest.mark.parametrize("kind", ["messages", "calls"])
def test_days_add_up_to_months_and_years(
    seachat: Ask, zone: str, start: str, end: str, kind: str
) -> None:
    asked = between(zone, start, end) | {"message_type": kind}
    by_unit = {
        unit: seachat("activity_trend", time_unit=unit, **asked)["data"]
        for unit in ("day", "month", "year")
    }
    for unit, width in (("month", 7), ("year", 4)):
        folded: dict[str, Counter[str]] = {}
        for row in by_unit["day"]:
            names = {name: often for name, often in row.items() if name != "period"}
            folded.setdefault(row["period"][:width], Counter()).update(names)
        assert by_unit[unit] == [{"period": name, **row} for name, row in folded.items()]


@every_window
def test_label_days_add_up_to_months(seachat: Ask, zone: str, start: str, end: str) -> None:
    def fold(unit: str) -> Counter[tuple[str, str]]:
        asked = between(zone, start, end) | {"time_unit": unit}
        found: Counter[tuple[str, str]] = Counter()
        for row in seachat("label_usage", **asked):
            for label in row["labels"]:
                found[row["period"][:7], label["name"]] += label["count"]
        return found

    assert fold("day") == fold("month")
    assert fold("day")


def test_overview_equals_the_trend_and_the_volume_of_the_same_hours(
    sandbox: Sandbox, seachat: Ask
) -> None:
    found = seachat("conversation_overview", range_type="last_30_days")
    exactly = {"start_date": "2025-10-06T15:00:00Z", "end_date": "2025-11-05T14:59:59Z"}
    trend = seachat("activity_trend", **exactly)
    assert found["messages"] == sum(counts(row, *SENDERS) for row in trend["data"])
    assert found["messages_change_percentage"] == trend["change_percent"]
    assert found["bot_messages"] == sum(row["BOT"] for row in trend["data"])
    assert found["agent_messages"] == sum(row["AGENT"] for row in trend["data"])
    usage = seachat("total_usage", **exactly)
    assert usage["total_chat_responses"] == found["bot_messages"] + found["agent_messages"]
    [(conversations, users)] = sandbox.connection.execute(
        "SELECT count(*), count(DISTINCT user) FROM conversation JOIN bot ON bot.number = bot"
        " WHERE workspace = 0 AND started_at >= ? AND started_at < ?",
        (NOW - 30 * 86_400, NOW),
    )
    assert (found["conversations"], found["distinct_user_count"]) == (conversations, users)
    assert 0 < found["live_agent_requests"] < found["conversations"]


@pytest.mark.parametrize(
    ("range_type", "days"),
    [
        ("last_day", 1),
        ("last_7_days", 7),
        ("last_30_days", 30),
        ("last_90_days", 90),
        ("last_180_days", 180),
    ],
)
def test_ranges_are_so_many_times_24_hours_and_follow_each_other(
    seachat: Ask, range_type: str, days: int
) -> None:
    found = seachat("conversation_overview", range_type=range_type, timezone="America/New_York")
    assert all(
        found[f"{which}_period_{edge}"].endswith("Z")
        for which in ("current", "previous")
        for edge in ("start", "end")
    )
    start, end, before, until = (
        datetime.fromisoformat(found[name]).timestamp()
        for name in (
            "current_period_start",
            "current_period_end",
            "previous_period_start",
            "previous_period_end",
        )
    )
    assert (end, end - start, until, start - before) == (NOW, days * 86_400, start, days * 86_400)


def test_change_is_against_the_window_before(seachat: Ask) -> None:
    week = seachat(
        "activity_trend", start_date="2025-10-08T00:00:00", end_date="2025-10-14T23:59:59"
    )
    before = seachat(
        "activity_trend", start_date="2025-10-01T00:00:00", end_date="2025-10-07T23:59:59"
    )
    now, then = (sum(counts(row, *SENDERS) for row in found["data"]) for found in (week, before))
    assert week["change_percent"] == pytest.approx(100 * (now - then) / then, abs=0.005)


def test_change_from_nothing_to_something_is_a_hundred_percent(seachat: Ask) -> None:
    ever = {"start_date": "2000-01-01T00:00:00", "end_date": "2025-12-31T23:59:59"}
    assert seachat("activity_trend", **ever)["change_percent"] == 100.0


def test_bots_add_up_to_their_workspace(sandbox: Sandbox, seachat: Ask) -> None:
    def ask(**fields: str) -> Counter[str]:
        found = seachat("conversation_overview", range_type="last_90_days", **fields)
        return Counter(
            {
                name: found[name]
                for name in ("conversations", "messages", "bot_messages", "live_agent_requests")
            }
        )

    total: Counter[str] = Counter()
    for bot in sandbox.workspaces[0].bots:
        total.update(ask(gptbot_id=bot.id))
    assert total == ask()


def test_excluded_conversations_are_those_without_a_reply(
    sandbox: Sandbox, seachat: Ask, seax: Ask
) -> None:
    senders: dict[int, set[str]] = {}
    started: set[int] = set()
    for number, started_at, at, sender in sandbox.connection.execute(
        "SELECT c.number, c.started_at, m.at, m.sender FROM conversation c"
        " JOIN message m ON m.conversation = c.number JOIN bot b ON b.number = c.bot"
        " WHERE b.workspace = 0"
    ):
        if at < NOW:
            senders.setdefault(number, set()).add(sender)
        if NOW - 180 * 86_400 <= started_at < NOW:
            started.add(number)
    asked = {"range_type": "last_180_days", "exclude_empty_response": True}
    replied = {number for number in started if senders[number] & {"BOT", "AGENT"}}
    inbound = {number for number in started if "CUSTOMER" in senders[number]}
    assert len(started) > len(replied)
    assert len(started) > len(inbound)
    assert seachat("conversation_overview", **asked)["conversations"] == len(replied)
    assert seax("conversation_overview", **asked)["conversations"] == len(inbound)


def test_excluded_conversations_take_their_messages_with_them(seachat: Ask) -> None:
    found, kept = (
        seachat("conversation_overview", range_type="last_180_days", exclude_empty_response=empty)
        for empty in (False, True)
    )
    assert kept["messages"] < found["messages"]
    assert kept["bot_messages"] == found["bot_messages"]
    assert kept["agent_messages"] == found["agent_messages"]


def test_label_overview_holds_at_least_what_label_usage_finds(seachat: Ask) -> None:
    overview = {label["name"]: label["total_count"] for label in seachat("label_overview")}
    dates = {"start_date": "2025-09-01T00:00:00", "end_date": "2025-10-31T23:59:59"}
    used: Counter[str] = Counter()
    for row in seachat("label_usage", **dates):
        used.update({label["name"]: label["count"] for label in row["labels"]})
    assert used
    assert all(overview[name] > often for name, often in used.items())
    ever = {"start_date": "2000-01-01T00:00:00", "end_date": "2030-12-31T23:59:59"}
    in_all: Counter[str] = Counter()
    for row in seachat("label_usage", time_unit="year", **ever):
        in_all.update({label["name"]: label["count"] for label in row["labels"]})
    assert in_all == overview


def test_labels_of_a_bot_are_fewer_than_those_of_its_workspace(
    sandbox: Sandbox, seachat: Ask
) -> None:
    bots = [
        {
            label["name"]: label["total_count"]
            for label in seachat("label_overview", gptbot_id=bot.id)
        }
        for bot in sandbox.workspaces[0].bots
    ]
    for label in seachat("label_overview"):
        assert sum(bot[label["name"]] for bot in bots) == label["total_count"]


def test_label_relation_counts_conversations_with_one_and_with_both(
    sandbox: Sandbox, seachat: Ask
) -> None:
    dates = {"start_date": "2025-05-01T00:00:00", "end_date": "2025-10-31T23:59:59"}
    since, until = edges("UTC", dates["start_date"], dates["end_date"])
    labelled: dict[str, set[int]] = {"Sales": set(), "Support": set()}
    for name, conversation in sandbox.connection.execute(
        "SELECT name, conversation FROM label_application a JOIN label l ON l.number = a.label"
        " WHERE l.workspace = 0 AND a.at >= ? AND a.at < ?",
        (since, until),
    ):
        if name in labelled:
            labelled[name].add(conversation)
    both = labelled["Sales"] & labelled["Support"]
    found = seachat("label_relation", labels=["Support", "Sales"], **dates)
    assert both
    assert found == {
        "base_label": "Support",
        "base_count": len(labelled["Support"]),
        "comparison_label": "Sales",
        "both_labels_count": len(both),
        "ratio": round(len(both) / len(labelled["Support"]), 4),
        "date_range": dates,
    }
    usage = seachat("label_usage", time_unit="year", labels=["Support"], **dates)
    assert usage[0]["labels"] == [{"name": "Support", "count": len(labelled["Support"])}]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC"])
def test_months_of_a_year_add_up_to_it(seachat: Ask, seax: Ask, portal: Ask, zone: str) -> None:
    year = seachat("conversation_overview_yearly", year="2025", timezone=zone)
    months = year["monthly_messages"]
    assert sum(months.values()) == year["total_messages"]
    assert year["average_messages_per_conversation"] == round(
        year["total_messages"] / year["total_conversations"], 2
    )
    dates = between(zone, "2025-01-01T00:00:00", "2025-12-31T23:59:59")
    trend = seachat("activity_trend", time_unit="month", **dates)["data"]
    assert [counts(row, *SENDERS) for row in trend] == [often for often in months.values() if often]
    # The other two leave out the months without a message.
    partial = year | {"monthly_messages": {name: often for name, often in months.items() if often}}
    assert list(partial["monthly_messages"])[-1] == "November"
    assert seax("conversation_overview_yearly", year="2025", timezone=zone) == partial
    assert portal("conversation_overview_yearly", timezone=zone) == {
        "metric": "conversation_overview_yearly",
        **partial,
    }


@every_window
def test_apis_agree_about_their_workspace(
    seachat: Ask, seax: Ask, portal: Ask, zone: str, start: str, end: str
) -> None:
    dates, portal_dates = between(zone, start, end), portal_between(zone, start, end)
    trend = seachat("activity_trend", time_unit="day", **dates)["data"]
    on_seax = seax("activity_trend", time_unit="day", **dates)["data"]
    on_portal = portal("activity_trend", type="messages", time_unit="day", **portal_dates)["data"]
    assert on_seax == [{"period": row["period"], "count": counts(row, *SENDERS)} for row in trend]
    assert [{name.upper(): value for name, value in row.items()} for row in on_portal] == [
        {"DATE": row["period"]} | {name: row[name] for name in SENDERS[:3]}
        for row in reversed(trend)
    ]
    breakdown = seachat("conversation_breakdown", **dates)
    portals = portal("conversation_breakdown", **portal_dates)
    for counted in ("messages_by_hour", "messages_by_day"):
        assert portals[counted] == breakdown[counted]
    seaxs = seax("conversation_breakdown", **dates)["channel_summary"]
    assert {name: channel["message_count"] for name, channel in seaxs.items()} == {
        name: channel["total_message_count"]
        for name, channel in breakdown["channel_summary"].items()
    }
    usage = seachat("total_usage", **dates)
    assert seax("total_usage", **dates) == usage
    assert portal("total_usage", **portal_dates)["data"] == [usage]
    assert usage["total_chat_responses"] == sum(counts(row, "AGENT", "BOT") for row in trend)


def test_handling_statuses_add_up_to_all_conversations(portal: Ask) -> None:
    def ask(**fields: object) -> Counter[str]:
        dates = portal_between("America/New_York", "2025-10-01T00:00:00", "2025-11-04T23:59:59")
        rows = portal("conversation_overview", time_unit="day", **dates, **fields)["data"]
        return Counter({row["date"]: row["count"] for row in rows})

    parts = [ask(handling_status=status) for status in ("RESOLVED", "PENDING", "FOLLOW_UP")]
    assert sum(parts, Counter()) == ask()
    assert all(parts)
    assert 0 < ask(exclude_empty_response=True).total() < ask().total()


# Three in the afternoon, ten in the morning and eleven at night of that day.
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Taipei"])
def test_portals_dates_are_today_when_left_out(portal: Ask, seachat: Ask, zone: str) -> None:
    today = between(zone, "2025-11-05T00:00:00", "2025-11-05T23:59:59")
    volume = portal("today_communication_volume", timezone=zone)
    assert volume["data"] == [seachat("communication_volume", **today)]
    usage = portal("total_usage", timezone=zone)
    assert usage["data"] == [seachat("total_usage", **today)]


def test_calls_count_by_direction_and_last_as_long_as_they_do(
    sandbox: Sandbox, seachat: Ask
) -> None:
    dates = {"start_date": "2025-09-01T00:00:00", "end_date": "2025-10-31T23:59:59"}
    since, until = edges("UTC", *dates.values())
    rows = sandbox.connection.execute(
        "SELECT direction, seconds FROM call JOIN bot ON bot.number = bot"
        " WHERE workspace = 0 AND started_at >= ? AND started_at < ?",
        (since, until),
    ).fetchall()
    directions = Counter(direction for direction, _ in rows)
    volume = seachat("communication_volume", **dates)
    assert volume["inbound_voice_count"] == directions["inbound"] > 0
    assert volume["outbound_voice_count"] == directions["outbound"] > 0
    trend = seachat("activity_trend", message_type="calls", time_unit="year", **dates)["data"]
    assert trend == [{"period": "2025", **directions}]
    minutes = round(sum(seconds for _, seconds in rows) / 60, 2)
    assert seachat("total_usage", **dates)["total_voice_minutes"] == minutes


def test_usage_without_dates_is_all_that_ever_happened(sandbox: Sandbox, seachat: Ask) -> None:
    responses = [
        sender for _, sender, *_ in messages(sandbox, 0, NOW) if sender in {"AGENT", "BOT"}
    ]
    assert seachat("total_usage")["total_chat_responses"] == len(responses)


def test_ratings_add_up_to_the_responses(sandbox: Sandbox, seachat: Ask) -> None:
    for bot in sandbox.workspaces[0].bots:
        found = seachat("csat", gptbot_id=bot.id)
        given = [response["rating"] for response in found["responses"]]
        recount = {str(rating): given.count(rating) for rating in range(1, 6)}
        satisfied = given.count(4) + given.count(5)
        assert found["total_responses"] == len(given) > 0
        assert found["rating_counts"] == recount
        assert found["average_rating"] == round(sum(given) / len(given), 2)
        assert found["satisfaction_rate"] == round(100 * satisfied / len(given), 2)


def test_months_of_ratings_add_up(sandbox: Sandbox, seachat: Ask) -> None:
    bot = sandbox.workspaces[0].bots[0].id

    def ask(start: str, end: str) -> int:
        dates = between("America/New_York", f"{start}T00:00:00", f"{end}T23:59:59")
        total: int = seachat("csat", gptbot_id=bot, **dates)["total_responses"]
        return total

    parts = ask("2025-09-01", "2025-09-30") + ask("2025-10-01", "2025-10-31")
    assert parts == ask("2025-09-01", "2025-10-31") > 0


def test_spellings_of_one_window_give_the_same_numbers(seachat: Ask) -> None:
    spellings = [
        between("America/New_York", "2025-10-01T00:00:00", "2025-10-31T23:59:59"),
        between("America/New_York", "2025-10-01T04:00:00Z", "2025-11-01T03:59:59Z"),
        between("America/New_York", "2025-10-01T09:30:00+05:30", "2025-10-31T23:59:59-04:00"),
        between("America/New_York", "2025-10-01T00:00:00.5", "2025-10-31T23:59:59.999"),
    ]
    found = [seachat("activity_trend", time_unit="day", **dates) for dates in spellings]
    assert found == [found[0]] * len(found)


def test_the_last_second_of_a_window_belongs_to_it(sandbox: Sandbox, seachat: Ask) -> None:
    [(at, often)] = sandbox.connection.execute(
        "SELECT at, count(*) FROM message WHERE bot IN (SELECT number FROM bot WHERE workspace = 0)"
        " AND at > 1760000000 GROUP BY at ORDER BY at LIMIT 1"
    )
    second = datetime.fromtimestamp(at, UTC).isoformat()
    [row] = seachat("activity_trend", start_date=second, end_date=second)["data"]
    assert counts(row, *SENDERS) == often


def test_agents_sessions_follow_each_other(seax: Ask) -> None:
    found = seax("agent_activity", range_type="last_90_days")["agents"]
    assert len({session["agent_id"] for session in found}) > 3
    open_sessions = 0
    for session, following in zip(found, [*found[1:], None], strict=True):
        start = datetime.fromisoformat(session["start_time"])
        if following is None or following["agent_id"] != session["agent_id"]:
            assert session["end_time"] is None
            assert session["duration_seconds"] is None
            open_sessions += 1
            continue
        lasted = datetime.fromisoformat(session["end_time"]) - start
        assert session["end_time"] == following["start_time"]
        assert session["duration_seconds"] == lasted.total_seconds() > 0
    assert open_sessions == len({session["agent_id"] for session in found})


def test_agents_are_asked_by_account_and_by_dates(seax: Ask) -> None:
    week = {"start_date": "2025-10-06T00:00:00", "end_date": "2025-10-12T23:59:59"}
    found = seax("agent_activity", **week)["agents"]
    one = seax("agent_activity", agents=["agent_user_2", "nobody"], **week)["agents"]
    assert one == [session for session in found if session["agent_id"] == "agent_user_2"]
    assert one
    assert {session["start_time"][:10] for session in found} <= {
        f"2025-10-{day:02}" for day in range(6, 13)
    }


def test_windows_far_from_all_data_are_empty(seachat: Ask, seax: Ask, portal: Ask) -> None:
    # All data is in the equally long window before the second one.
    for start, end, change in (
        ("0001-01-01T00:00:00+14:00", "1999-12-31T23:59:59", 0.0),
        ("2030-01-01T00:00:00", "9999-12-31T23:59:59-12:00", -100.0),
    ):
        dates = between("Asia/Kolkata", start, end)
        assert seachat("activity_trend", **dates)["data"] == []
        assert seachat("activity_trend", **dates)["change_percent"] == change
        assert seachat("label_usage", **dates) == []
        assert seachat("conversation_breakdown", **dates)["channel_summary"] == {}
        assert seachat("total_usage", **dates)["total_voice_minutes"] == 0
        assert seax("total_usage", **dates) == {
            "total_voice_minutes": None,
            "total_chat_responses": 0,
        }
        found = portal("label_usage", time_unit="day", **portal_between("UTC", start, end))
        assert found["data"] == []
    year = seachat("conversation_overview_yearly", year="0001")
    assert year["average_messages_per_conversation"] == 0
