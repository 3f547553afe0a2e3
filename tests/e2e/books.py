"""What every series should be, counted in the sandbox's tables and nowhere else."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar, Final, NamedTuple
from zoneinfo import ZoneInfo

from support.pagecheck import Series

from exporter.sandbox import Sandbox, SandboxBot

Entry = Mapping[str, Any]
"""One item of `metrics:` in a configuration, its window written out."""

DAY: Final = timedelta(days=1)
WEEKDAYS: Final = tuple(f"{date(2024, 1, day):%A}" for day in range(1, 8))
HOURS: Final = tuple(f"{hour:02}" for hour in range(24))
MONTHS: Final = tuple(f"{month:02}" for month in range(1, 13))
WORKSPACE: Final = 0
"""The database key of the sandbox's first workspace, which is the one that is asked."""

WITH_LABEL: Final = "label_application JOIN label ON label.number = label_application.label"
WITH_CONVERSATION: Final = "message JOIN conversation ON conversation.number = message.conversation"


class Truth(NamedTuple):
    """What a series should be.

    Attributes:
        value: Where the sandbox's clock stands.
        growing: How much it grows with each second by the exporter's own clock.
    """

    value: float
    growing: int = 0


Truths = Iterator[tuple[Series, Truth]]


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant up to another one, in Unix time."""

    since: int
    until: int

    @property
    def before(self) -> "Span":
        """The equally long one that ends where this one begins."""
        return Span(2 * self.since - self.until, self.since)


def change(current: int, previous: int) -> float:
    """The ratio that follows from the API's percents, which have two decimals."""
    if not previous:
        return 1.0 if current else 0.0
    return round(100 * (current - previous) / previous, 2) / 100


class Books:
    """The sandbox's tables, and the calendar of a zone at one instant."""

    def __init__(self, sandbox: Sandbox, now: int, zone: ZoneInfo) -> None:
        self.now = now
        self.zone = zone
        self.today = datetime.fromtimestamp(now, zone).date()
        self.bots = sandbox.workspaces[WORKSPACE].bots
        self.connection: sqlite3.Connection = sandbox.connection
        self.connection.create_function("wall", 2, self.wall, deterministic=True)

    def wall(self, at: int, form: str) -> str:
        """An instant by the clocks of the zone."""
        return datetime.fromtimestamp(at, self.zone).strftime(form)

    def midnight(self, day: date) -> int:
        """Where a day begins."""
        return int(datetime.combine(day, time(), self.zone).timestamp())

    def days(self, first: date, after: date) -> Span:
        """From the first midnight of a day to that of a later one."""
        return Span(self.midnight(first), self.midnight(after))

    def range(self, window: str) -> Span:
        """The API's own range of that name: so many times 24 hours that end now."""
        days = 1 if window == "last_day" else int(re.sub(r"\D", "", window))
        return Span(self.now - days * 86_400, self.now)

    def span(self, window: str) -> Span:
        """The days of a window, whole, up to the midnight after the last one."""
        today, tomorrow = self.today, self.today + DAY
        if window == "all":
            return Span(0, self.now)
        if found := re.fullmatch(r"last_(\d+)_days", window):
            return self.days(tomorrow - int(found[1]) * DAY, tomorrow)
        monday, first = today - DAY * today.weekday(), today.replace(day=1)
        return {
            "today": self.days(today, tomorrow),
            "yesterday": self.days(today - DAY, today),
            "last_week": self.days(monday - 7 * DAY, monday),
            "this_month": self.days(first, tomorrow),
            "last_month": self.days((first - DAY).replace(day=1), first),
            "this_year": self.days(first.replace(month=1), tomorrow),
        }[window]


class Account:
    """The series of one bot or of a whole workspace through one API.

    Where the APIs tell the same in the same way it is here, under the metric's own name.

    Attributes:
        api: The API's name.
        senders: Whose messages `activity_trend` tells.
        empty_without: What a conversation lacks that `exclude_empty_response` leaves out.
        whole: Whether weekdays, hours and months without a message are told.
    """

    api: ClassVar[str]
    senders: ClassVar[tuple[str, ...]] = ("CUSTOMER", "AGENT", "BOT", "SYSTEM")
    empty_without: ClassVar[str] = "first_reply_at"
    whole: ClassVar[bool] = True

    def __init__(self, books: Books, bots: Sequence[SandboxBot], **labels: str) -> None:
        self.books = books
        self.labels = {"api": self.api} | labels
        self.among = f"IN ({', '.join(str(bot.number) for bot in bots)})"

    def everything(self, entries: Iterable[Entry]) -> Truths:
        """Each series that the entries lead to."""
        for entry in entries:
            yield from getattr(self, entry["metric"])(entry)

    def one(self, name: str, value: float, growing: int = 0, **labels: str) -> tuple[Series, Truth]:
        """A series with the labels that all have; an empty label is none."""
        pairs = frozenset(pair for pair in (self.labels | labels).items() if pair[1])
        return (f"seasalt_{name}", pairs), Truth(value, growing)

    def rows(self, what: str, table: str, at: str, span: Span, end: str = "") -> list[Any]:
        """What a query finds among what happened to the bots in a span, up to now."""
        return self.books.connection.execute(
            f"SELECT {what} FROM {table} WHERE {table.split(maxsplit=1)[0]}.bot {self.among}"  # noqa: S608
            f" AND {at} >= ? AND {at} < ? {end}",
            (span.since, min(span.until, self.books.now)),
        ).fetchall()

    def count(self, table: str, at: str, span: Span, end: str = "", what: str = "count(*)") -> int:
        """One number of a span."""
        return int(self.rows(what, table, at, span, end)[0][0] or 0)

    def messages(self, span: Span, *senders: str, kept: str = "") -> int:
        """Messages of some senders, or of all; of the kept conversations, or of all."""
        end = kept + (f" AND sender IN {listed(senders)}" if senders else "")
        return self.count(WITH_CONVERSATION if kept else "message", "at", span, end)

    def calls(self, span: Span, *directions: str) -> int:
        """Calls of some directions, or of all."""
        end = f"AND direction IN {listed(directions)}" if directions else ""
        return self.count("call", "started_at", span, end)

    def conversations(self, span: Span, end: str, what: str = "count(*)") -> int:
        """Conversations that started in a span."""
        return self.count("conversation", "started_at", span, end, what)

    def kept(self, entry: Entry) -> str:
        """The condition that keeps the conversations that an entry is about."""
        empty = entry.get("exclude_empty_response")
        return f"AND {self.empty_without} < {self.books.now}" if empty else ""

    def asked(self, entry: Entry) -> dict[str, Any]:
        """The labels that say what a conversation_overview is about."""
        excluded = "true" if entry.get("exclude_empty_response") else ""
        return {"window": entry["window"], "exclude_empty_response": excluded}

    def conversation_overview(self, entry: Entry) -> Truths:
        """Conversations by their start, messages of all senders, and the same of the span before."""
        name, asked, kept = "conversation_overview", self.asked(entry), self.kept(entry)
        live = f"{kept} AND live_agent_at < {self.books.now}"

        def numbers(of: Span) -> dict[str, int]:
            return {
                "conversations": self.conversations(of, kept),
                "messages": self.messages(of, kept=kept),
                "bot_messages": self.messages(of, "BOT", kept=kept),
                "agent_messages": self.messages(of, "AGENT", kept=kept),
                "live_agent_requests": self.conversations(of, live),
            }

        span = self.books.range(entry["window"])
        before = numbers(span.before)
        for of, value in numbers(span).items():
            yield self.one(f"{name}_{of}", value, **asked)
            yield self.one(f"{name}_change_ratio", change(value, before[of]), of=of, **asked)
        users = self.conversations(span, kept, "count(DISTINCT user)")
        yield self.one(f"{name}_users", users, **asked)
        for period, edges in (("current", span), ("previous", span.before)):
            for edge, at in (("start", edges.since), ("end", edges.until)):
                family = f"{name}_period_{edge}_timestamp_seconds"
                yield self.one(family, at, period=period, **asked)

    def communication_volume(self, entry: Entry) -> Truths:
        """Calls by direction, and messages from customers."""
        name, window = "communication_volume", entry["window"]
        span = self.books.span(window)
        for direction in ("inbound", "outbound"):
            calls = self.calls(span, direction)
            yield self.one(f"{name}_calls", calls, window=window, direction=direction)
        inbound = self.messages(span, "CUSTOMER")
        yield self.one(f"{name}_non_voice_messages", inbound, window=window, direction="inbound")

    def activity_trend(self, entry: Entry) -> Truths:
        """Messages by sender or calls by direction; none of a span in which nothing happened."""
        window, of = entry["window"], entry.get("message_type", "messages")
        span = self.books.span(window)
        number, label, names = (
            (self.calls, "direction", ("inbound", "outbound"))
            if of == "calls"
            else (self.messages, "sender", self.senders)
        )
        if number(span):
            for name in names:
                labels = {"window": window, label: name.lower()}
                yield self.one(f"activity_trend_{of}", number(span, name), **labels)
        ratio = change(number(span, *names), number(span.before, *names))
        yield self.one("activity_trend_change_ratio", ratio, window=window, of=of)

    def label_usage(self, entry: Entry) -> Truths:
        """Labels that were applied in the window, those asked for or all."""
        window, wanted = entry["window"], entry.get("labels")
        span = self.books.span(window)
        end = f"AND name IN {listed(wanted)} " if wanted else ""
        for label, uses in self.rows(
            "name, count(*)", WITH_LABEL, "at", span, f"{end}GROUP BY name"
        ):
            yield self.one("label_usage_uses", uses, window=window, label=label)

    def total_usage(self, entry: Entry) -> Truths:
        """Minutes of calls, which the API gives with two decimals, and messages of ours."""
        window = entry["window"]
        span = self.books.span(window)
        so_far = f"sum(min(seconds, {self.books.now} - started_at))"
        minutes = round(self.count("call", "started_at", span, what=so_far) / 60, 2)
        yield self.one("total_usage_voice_seconds", minutes * 60, window=window)
        responses = self.messages(span, "AGENT", "BOT")
        yield self.one("total_usage_chat_responses", responses, window=window)

    def conversation_breakdown(self, entry: Entry) -> Truths:
        """Users and messages by channel, messages from customers by weekday and hour."""
        name, window = "conversation_breakdown", entry["window"]
        span = self.books.span(window)
        what = (
            "channel, count(DISTINCT CASE sender WHEN 'CUSTOMER' THEN user END),"
            " sum(sender = 'CUSTOMER'), sum(sender IN ('AGENT', 'BOT'))"
        )
        end = "AND sender <> 'SYSTEM' GROUP BY channel"
        for channel, users, *counts in self.rows(what, WITH_CONVERSATION, "at", span, end):
            labels = {"window": window, "channel": channel}
            yield self.one(f"{name}_channel_users", users, **labels)
            for direction, value in self.by_direction(*counts).items():
                yield self.one(f"{name}_channel_messages", value, **labels, direction=direction)
        customers = "AND sender = 'CUSTOMER'"
        for label, form, names in (("weekday", "%A", WEEKDAYS), ("hour", "%H", HOURS)):
            for place, value in self.by_time(form, names, span, customers):
                labels = {"window": window, label: place}
                yield self.one(f"{name}_{label}_messages", value, **labels)

    def by_direction(self, inbound: int, outbound: int) -> dict[str, int]:
        """What is told of a channel's messages."""
        return {"inbound": inbound, "outbound": outbound}

    def by_time(
        self, form: str, names: Iterable[str], span: Span, end: str = ""
    ) -> Iterator[tuple[str, int]]:
        """Messages by what the zone's clocks show in a form, those without any if they are told."""
        what = f"wall(at, '{form}'), count(*)"
        found = dict(self.rows(what, "message", "at", span, f"{end} GROUP BY 1"))
        return ((name, found.get(name, 0)) for name in names if self.whole or name in found)

    def conversation_overview_yearly(self, entry: Entry) -> Truths:
        """This year or the one before, in total and by month."""
        name = "conversation_overview_yearly"
        number = self.books.today.year - (entry.get("year") == "previous")
        span = self.books.days(date(number, 1, 1), date(number + 1, 1, 1))
        conversations, messages = self.conversations(span, ""), self.messages(span)
        mean = round(messages / max(conversations, 1), 2)
        year = str(number)
        yield self.one(f"{name}_conversations", conversations, year=year)
        yield self.one(f"{name}_messages", messages, year=year)
        yield self.one(f"{name}_messages_per_conversation", mean, year=year)
        for month, value in self.by_time("%m", MONTHS, span):
            yield self.one(f"{name}_month_messages", value, year=year, month=month)

    def labels_of_all_time(self) -> list[Any]:
        """Id, name, whether it is the system's, and uses of every label that there is."""
        return self.books.connection.execute(
            "SELECT id, name, is_system, (SELECT count(*) FROM label_application a JOIN bot b"
            "  ON b.number = a.bot WHERE a.label = label.number AND b.workspace = ?1 AND a.at < ?2)"
            " FROM label WHERE workspace = ?1 OR workspace IS NULL",
            (WORKSPACE, self.books.now),
        ).fetchall()


def listed(texts: Iterable[str]) -> str:
    """Some texts as SQL has them on the right of IN."""
    quoted = ", ".join(f"'{text}'" for text in texts)
    return f"({quoted})"


class SeaChat(Account):
    """A workspace or a bot of SeaChat."""

    api = "seachat"

    def label_overview(self, _: Entry) -> Truths:
        """Every label that the workspace can use."""
        for label_id, name, is_system, uses in self.labels_of_all_time():
            labels = {"label_id": label_id, "label": name, "system": ("false", "true")[is_system]}
            yield self.one("label_overview_conversations", uses, **labels)

    def label_relation(self, entry: Entry) -> Truths:
        """Conversations that got the labels in the window."""
        window, pair = entry["window"], entry["labels"]
        span = self.books.span(window)
        base, other = (
            set(self.rows("conversation", WITH_LABEL, "at", span, f"AND name = '{label}'"))
            for label in pair
        )
        both = len(base & other)
        labels = {"window": window, "base_label": pair[0], "comparison_label": pair[1]}
        yield self.one("label_relation_base_conversations", len(base), **labels)
        yield self.one("label_relation_both_conversations", both, **labels)
        if base:
            yield self.one("label_relation_ratio", round(both / len(base), 4), **labels)

    def csat(self, entry: Entry) -> Truths:
        """Ratings of the window; the API gives averages and percents with two decimals."""
        window = entry["window"]
        span = self.books.span(window)
        rows = self.rows("rating, count(*)", "survey_answer", "created_at", span, "GROUP BY rating")
        by_rating = dict.fromkeys(range(1, 6), 0) | dict(rows)
        total = sum(by_rating.values())
        yield self.one("csat_responses", total, window=window)
        for rating, value in by_rating.items():
            yield self.one("csat_rating_responses", value, window=window, rating=str(rating))
        if total:
            average = sum(rating * value for rating, value in by_rating.items()) / total
            yield self.one("csat_average_rating", round(average, 2), window=window)
            satisfied = round(100 * (by_rating[4] + by_rating[5]) / total, 2) / 100
            yield self.one("csat_satisfaction_ratio", satisfied, window=window)

    def in_the_list(self) -> Truths:
        """What the list says of a bot, polled or not."""
        [(use_case, language, transfer, enabled)] = self.books.connection.execute(
            "SELECT use_case, default_response_language, live_agent_transfer, is_enabled"
            " FROM bot WHERE id = ?",
            (self.labels["bot_id"],),
        )
        about = {"use_case": use_case, "language": language}
        yield self.one("bot_info", 1, **about, live_agent_transfer=("false", "true")[transfer])
        yield self.one("bot_enabled", enabled)


class Portal(Account):
    """A workspace of Portal: no SYSTEM, no outbound messages of a channel, no empty months."""

    api = "portal"
    senders = ("CUSTOMER", "AGENT", "BOT")

    def conversation_overview(self, entry: Entry) -> Truths:
        """Conversations of the window's days, and of one status; none where there are none."""
        status = entry.get("handling_status", "")
        end = self.kept(entry) + (f" AND handling_status = '{status}'" if status else "")
        value = self.conversations(self.books.span(entry["window"]), end)
        if value:
            labels = self.asked(entry) | {"handling_status": status}
            yield self.one("conversation_overview_conversations", value, **labels)

    def today_communication_volume(self, _: Entry) -> Truths:
        """The communication_volume of today."""
        return self.communication_volume({"window": "today"})

    def by_direction(self, inbound: int, outbound: int) -> dict[str, int]:
        """The inbound ones alone."""
        del outbound
        return {"inbound": inbound}

    def conversation_overview_yearly(self, entry: Entry) -> Truths:
        """The year, without months that have no message."""
        return (
            (series, truth)
            for series, truth in super().conversation_overview_yearly(entry)
            if truth.value or not series[0].endswith("_month_messages")
        )


class SeaX(Account):
    """A workspace of SeaX: totals alone, and nothing of what is empty."""

    api = "seax"
    empty_without = "first_inbound_at"
    whole = False

    def activity_trend(self, entry: Entry) -> Truths:
        """All messages or all calls together, and no change."""
        window, of = entry["window"], entry.get("message_type", "messages")
        span = self.books.span(window)
        total = self.calls(span) if of == "calls" else self.messages(span)
        if total:
            yield self.one(f"activity_trend_{of}", total, window=window)

    def by_direction(self, inbound: int, outbound: int) -> dict[str, int]:
        """Both together, without a direction."""
        return {"": inbound + outbound}

    def total_usage(self, entry: Entry) -> Truths:
        """No minutes where there was no call."""
        silent = not self.calls(self.books.span(entry["window"]))
        return (
            (series, truth)
            for series, truth in super().total_usage(entry)
            if not (silent and series[0].endswith("_voice_seconds"))
        )

    def label_overview(self, _: Entry) -> Truths:
        """Every label that the workspace can use, by name alone."""
        for _id, name, _is_system, uses in self.labels_of_all_time():
            yield self.one("label_overview_conversations", uses, label=name, system="false")

    def agent_activity(self, entry: Entry) -> Truths:
        """Sessions that started in the window, up to its end; those that go on last until now."""
        window, now = entry["window"], self.books.now
        span = self.books.span(window)
        sessions = self.books.connection.execute(
            "WITH change AS ("
            "  SELECT *, lead(at) OVER (PARTITION BY agent ORDER BY at) AS ended"
            "  FROM status_change WHERE at < ?"
            ") SELECT account, lower(status), at, ended"
            " FROM change JOIN agent ON agent.number = change.agent"
            " WHERE workspace = ? AND at >= ? AND at < ? ORDER BY at",
            (now, WORKSPACE, span.since, span.until),
        )
        seconds: dict[tuple[str, str], list[int]] = {}
        going_on: Counter[tuple[str, str]] = Counter()
        latest: dict[str, str] = {}
        for account, status, at, ended in sessions:
            if account not in entry.get("agents", [account]):
                continue
            place = (account if entry.get("agent_labels") else "", status)
            seconds.setdefault(place, []).append(min(ended or now, span.until) - at)
            going_on[place] += ended is None and span.until > now
            latest[account] = status
        for (agent, status), lasted in seconds.items():
            labels = {"window": window, "agent": agent, "status": status}
            growing = going_on[agent, status]
            yield self.one("agent_activity_seconds", sum(lasted), growing, **labels)
            yield self.one("agent_activity_sessions", len(lasted), **labels)
        for status, agents_now in Counter(latest.values()).items():
            yield self.one("agent_activity_agents", agents_now, window=window, status=status)
