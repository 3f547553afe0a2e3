"""The figures of all reports, computed in SQL.

Each figure counts exactly one of these populations:

- conversations, by the instant at which they started;
- messages, by their own instant; CUSTOMER is inbound, AGENT and BOT are outbound, SYSTEM is
  neither. Weekdays and hours count the inbound ones, as the documents' samples add up;
- calls, by the instant at which they started; an ongoing call counts its minutes so far;
- label applications, by their own instant, at most one per label and conversation;
- survey answers, by the instant at which they were given;
- agents' status sessions, by the instant at which they started.

A window excludes its `until`, and nothing at or after the scope's `now` is ever counted. If nothing
happened, counts are 0 and lists are empty.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from exporter.sandbox.companies import SandboxWorkspace
from exporter.sandbox.temperaments import Temper

Kept = Literal["all", "replied", "inbound"]
"""Which conversations count: all, those with a reply (bot or agent), or with an inbound message."""

_DAY: Final = 86_400
_FORMS: Final = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


@dataclass(frozen=True, slots=True)
class Scope:
    """The workspace or bot whose figures are requested, and the time for which data exists.

    Times are in UTC epoch seconds; data exists from `since` up to, but excluding, `now`. `temper`
    has the temperaments of the sandbox.
    """

    connection: sqlite3.Connection
    workspace: SandboxWorkspace
    bot: int | None
    since: int
    now: int
    temper: Temper = frozenset()

    @property
    def everything(self) -> "Window":
        """The window that contains all data."""
        return Window(self.since, self.now)


@dataclass(frozen=True, slots=True)
class Window:
    """A time range in UTC epoch seconds, excluding `until`."""

    since: int
    until: int

    def before(self) -> "Window":
        """The window of the same length that ends where this one begins."""
        return Window(2 * self.since - self.until, self.since)


@dataclass(frozen=True, slots=True)
class Periods:
    """A window divided into local days, months or years (`time_unit`) of a time zone."""

    window: Window
    zone: ZoneInfo
    time_unit: str

    def before(self) -> "Periods":
        """The same periods for the preceding window."""
        return replace(self, window=self.window.before())


def _offset(zone: ZoneInfo, at: int) -> int:
    return int((datetime.fromtimestamp(at, zone).utcoffset() or timedelta()).total_seconds())


def stretches(window: Window, zone: ZoneInfo) -> list[tuple[int, int, int]]:
    """The window divided at changes of the UTC offset: (since, until, offset in seconds)."""
    cut: list[tuple[int, int, int]] = []
    since, ahead, at = window.since, _offset(zone, window.since), window.since
    while at < window.until:
        step = min(at + _DAY, window.until)
        if (changed := _offset(zone, step)) != ahead:
            low, high = at, step
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == ahead else (low, middle)
            cut.append((since, high, ahead))
            since, ahead = high, changed
        at = step
    return [*cut, (since, window.until, ahead)] if since < window.until else cut


_ASKED: Final = """
WITH
-- The pieces of the window and the asked bots; with both outermost, what has happened in a piece
-- to a bot is one range of a key.
stretch (since, until, ahead) AS MATERIALIZED (
  SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
  FROM json_each(:stretches)
), asked (bot) AS MATERIALIZED (
  SELECT number FROM bot WHERE workspace = :workspace AND (:bot IS NULL OR number = :bot)
), conversations AS (
  SELECT conversation.*, started_at + ahead AS local
  FROM stretch CROSS JOIN asked CROSS JOIN conversation USING (bot)
  WHERE started_at >= since AND started_at < until
), messages AS (
  SELECT message.*, at + ahead AS local
  FROM stretch CROSS JOIN asked CROSS JOIN message USING (bot) WHERE at >= since AND at < until
), calls AS (
  SELECT call.*, started_at + ahead AS local
  FROM stretch CROSS JOIN asked CROSS JOIN call USING (bot)
  WHERE started_at >= since AND started_at < until
), applications AS (
  SELECT label_application.*, at + ahead AS local
  FROM stretch CROSS JOIN asked CROSS JOIN label_application USING (bot)
  WHERE at >= since AND at < until
), answers AS (
  SELECT survey_answer.*
  FROM stretch CROSS JOIN asked CROSS JOIN survey_answer USING (bot)
  WHERE created_at >= since AND created_at < until
), judged AS NOT MATERIALIZED (
  -- A reply or an inbound message that is still to come does not keep its conversation.
  SELECT number, CASE :kept
    WHEN 'replied' THEN coalesce(first_reply_at < :now, 0)
    WHEN 'inbound' THEN coalesce(first_inbound_at < :now, 0)
    ELSE 1 END AS kept
  FROM conversation
)
"""
"""The beginning of every query: the events of the requested bots within the window.

`local` is an instant in the zone's local time, in seconds.
"""
UTC: Final = ZoneInfo("UTC")


def _ask(
    scope: Scope, window: Window, sql: str, zone: ZoneInfo = UTC, **more: object
) -> list[sqlite3.Row]:
    """The rows of a query over the tables of `_ASKED`."""
    happened = Window(max(window.since, scope.since), min(window.until, scope.now))
    pieces = stretches(happened, zone) if happened.since < happened.until else []
    asked = {
        "workspace": scope.workspace.number,
        "bot": scope.bot,
        "now": scope.now,
        "kept": "all",
        "stretches": json.dumps(pieces),
    }
    cursor = scope.connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(_ASKED + sql, asked | more).fetchall()


def _by_period(scope: Scope, periods: Periods, sql: str, **more: object) -> list[sqlite3.Row]:
    """The rows of a query that formats `local` with its parameter `form`."""
    form = _FORMS[periods.time_unit]
    return _ask(scope, periods.window, sql, periods.zone, form=form, **more)


def overview(scope: Scope, window: Window, kept: Kept) -> dict[str, int]:
    """Conversations of the window, and messages of all four senders.

    Live-agent requests and distinct users are those of the counted conversations.
    """
    [totals] = _ask(
        scope,
        window,
        """
        SELECT conversations, messages, bot_messages, agent_messages, live_agent_requests,
          distinct_user_count
        FROM (
          SELECT count(*) AS conversations, count(DISTINCT user) AS distinct_user_count,
            count(*) FILTER (WHERE live_agent_at < :now) AS live_agent_requests
          FROM conversations JOIN judged USING (number) WHERE kept
        ), (
          SELECT count(*) AS messages, count(*) FILTER (WHERE sender = 'BOT') AS bot_messages,
            count(*) FILTER (WHERE sender = 'AGENT') AS agent_messages
          FROM messages
          WHERE :kept = 'all' OR (SELECT kept FROM judged WHERE number = messages.conversation)
        )
        """,
        kept=kept,
    )
    return dict(totals)


def conversations_by_period(
    scope: Scope, periods: Periods, kept: Kept, handling_status: str | None
) -> list[sqlite3.Row]:
    """(period, conversations) of each period that has one, oldest first."""
    return _by_period(
        scope,
        periods,
        """
        SELECT strftime(:form, local, 'unixepoch') AS period, count(*)
        FROM conversations JOIN judged USING (number)
        WHERE kept AND (:handling_status IS NULL OR handling_status = :handling_status)
        GROUP BY period ORDER BY period
        """,
        kept=kept,
        handling_status=handling_status,
    )


def messages_by_period(scope: Scope, periods: Periods) -> list[tuple[str, dict[str, int]]]:
    """Messages by sender, all four, of each period that has one, oldest first."""
    rows = _by_period(
        scope,
        periods,
        # Group by day number first, which is cheaper than by formatted date.
        """
        SELECT strftime(:form, day * 86400, 'unixepoch') AS period,
          sum(customer), sum(agent), sum(bot), sum(system)
        FROM (
          SELECT local / 86400 AS day, sum(sender = 'CUSTOMER') AS customer,
            sum(sender = 'AGENT') AS agent, sum(sender = 'BOT') AS bot,
            sum(sender = 'SYSTEM') AS system
          FROM messages GROUP BY day
        ) GROUP BY period ORDER BY period
        """,
    )
    senders = ("CUSTOMER", "AGENT", "BOT", "SYSTEM")
    return [(period, dict(zip(senders, counts, strict=True))) for period, *counts in rows]


def calls_by_period(scope: Scope, periods: Periods) -> list[tuple[str, dict[str, int]]]:
    """Calls by direction, both, of each period that has one, oldest first."""
    rows = _by_period(
        scope,
        periods,
        """
        SELECT strftime(:form, local, 'unixepoch') AS period,
          sum(direction = 'inbound'), sum(direction = 'outbound')
        FROM calls GROUP BY period ORDER BY period
        """,
    )
    return [(period, {"inbound": inbound, "outbound": out}) for period, inbound, out in rows]


def labels_by_period(scope: Scope, periods: Periods, labels: Sequence[str]) -> list[sqlite3.Row]:
    """(period, label, applications) of applied labels, oldest period and most frequent first.

    `labels` contains names or ids; if it is empty, all labels count.
    """
    return _by_period(
        scope,
        periods,
        """
        SELECT strftime(:form, local, 'unixepoch') AS period, name, count(*) AS often
        FROM applications JOIN label ON label.number = applications.label
        WHERE :labels = '[]' OR name IN (SELECT value FROM json_each(:labels))
          OR label.id IN (SELECT value FROM json_each(:labels))
        GROUP BY period, name ORDER BY period, often DESC, name
        """,
        labels=json.dumps(labels),
    )


def label_totals(scope: Scope) -> list[sqlite3.Row]:
    """All labels that the workspace can use, its own first, with their total applications."""
    return _ask(
        scope,
        scope.everything,
        """
        SELECT label.*, coalesce(often, 0) AS total_count
        FROM label LEFT JOIN (
          SELECT label AS number, count(*) AS often FROM applications GROUP BY label
        ) USING (number)
        WHERE workspace IS NULL OR workspace = :workspace ORDER BY is_system, number
        """,
    )


def label_relation(scope: Scope, window: Window, base: str, comparison: str) -> sqlite3.Row:
    """Conversations that got the base label in the window, and those that got both labels in it."""
    [counts] = _ask(
        scope,
        window,
        """
        SELECT count(*) FILTER (WHERE base), count(*) FILTER (WHERE base AND comparison)
        FROM (
          SELECT max(name = :base) AS base, max(name = :comparison) AS comparison
          FROM applications JOIN label ON label.number = applications.label GROUP BY conversation
        )
        """,
        base=base,
        comparison=comparison,
    )
    return counts


def volume(scope: Scope, window: Window) -> dict[str, int]:
    """Calls and inbound messages; conversations are never voice, so all their messages count."""
    [counts] = _ask(
        scope,
        window,
        """
        SELECT
          (SELECT count(*) FROM calls WHERE direction = 'inbound') AS inbound_voice_count,
          (SELECT count(*) FROM calls WHERE direction = 'outbound') AS outbound_voice_count,
          (SELECT count(*) FROM messages WHERE sender = 'CUSTOMER') AS inbound_non_voice_count
        """,
    )
    return dict(counts)


def usage(scope: Scope, window: Window) -> tuple[float | None, int]:
    """Minutes of the window's calls (None without calls), and its outbound messages."""
    [(seconds, responses)] = _ask(
        scope,
        window,
        """
        SELECT (SELECT sum(min(seconds, :now - started_at)) FROM calls),
          (SELECT count(*) FROM messages WHERE sender IN ('AGENT', 'BOT'))
        """,
    )
    return None if seconds is None else round(seconds / 60, 2), responses


def channels(scope: Scope, window: Window) -> list[sqlite3.Row]:
    """The channels with an inbound or outbound message, by name.

    Each has its distinct inbound users, and its messages by direction and in total (which the
    APIs spell in two ways).
    """
    return _ask(
        scope,
        window,
        """
        SELECT channel, count(DISTINCT user) FILTER (WHERE sender = 'CUSTOMER') AS user_count,
          sum(sender = 'CUSTOMER') AS inbound_message_count,
          sum(sender IN ('AGENT', 'BOT')) AS outbound_message_count,
          sum(sender != 'SYSTEM') AS message_count, sum(sender != 'SYSTEM') AS total_message_count
        FROM messages CROSS JOIN conversation ON conversation.number = messages.conversation
        GROUP BY channel HAVING message_count > 0 ORDER BY channel
        """,
    )


def weekday_hours(scope: Scope, window: Window, zone: ZoneInfo) -> list[sqlite3.Row]:
    """(weekday from Monday = 0, hour, inbound messages) in local time, if there are any."""
    return _ask(
        scope,
        window,
        # Hours since 1970-01-01, which was a Thursday.
        """
        SELECT (hours / 24 + 3) % 7 AS weekday, hours % 24 AS hour, sum(often)
        FROM (
          SELECT local / 3600 AS hours, count(*) AS often
          FROM messages WHERE sender = 'CUSTOMER' GROUP BY hours
        ) GROUP BY weekday, hour
        """,
        zone,
    )


def survey_answers(scope: Scope, window: Window) -> list[sqlite3.Row]:
    """The window's survey answers, each with its bot's id and its user's name, newest first."""
    return _ask(
        scope,
        window,
        """
        SELECT answers.*, bot.id AS bot_id, title
        FROM answers
        JOIN conversation ON conversation.number = answers.conversation
        JOIN user ON user.number = conversation.user
        JOIN bot ON bot.number = answers.bot
        ORDER BY answers.created_at DESC, conversation.number
        """,
    )


def agent_sessions(scope: Scope, window: Window, accounts: Sequence[str]) -> list[sqlite3.Row]:
    """(account, status, start, end) of the sessions that started in the window.

    They are in the order of agent and time, and not clipped to the window; the end of an open
    session is None. No accounts means all agents.
    """
    return _ask(
        scope,
        window,
        """
        SELECT account, status, at, (
          SELECT min(later.at) FROM status_change AS later
          WHERE later.agent = change.agent AND later.at > change.at AND later.at < :now
        )
        FROM stretch CROSS JOIN agent ON agent.workspace = :workspace
        CROSS JOIN status_change AS change
          ON change.agent = agent.number AND change.at >= since AND change.at < until
        WHERE :accounts = '[]' OR account IN (SELECT value FROM json_each(:accounts))
        ORDER BY agent.number, at
        """,
        accounts=json.dumps(accounts),
    )
