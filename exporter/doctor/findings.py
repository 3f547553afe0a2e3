"""From the answers of an examination to what the API does where the documents leave it open. Pure.

Each function answers one question. A question that the evidence does not answer has a finding too:
it says what was missing. No finding contains a part of an answer other than numbers and times.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from exporter.config import Workspace
from exporter.doctor.questions import (
    RANGE,
    RANGE_DAYS,
    Evidence,
    Questions,
    Reply,
    hours,
    last_hour,
    offset_matters,
    shared_hours,
)
from exporter.errors import Cause, Outcome, RequestFailed
from exporter.model.windows import DAY, begins
from exporter.reports import (
    activity_trend,
    communication_volume,
    conversation_breakdown,
    conversation_overview,
    csat,
    label_overview,
    total_usage,
)

NOTHING_TO_DO: Final = "nothing to do"


class Verdict(StrEnum):
    """What a finding asks of the operator."""

    OK = "ok"
    CONSIDER = "consider"
    MEND = "mend"
    UNKNOWN = "unknown"


ASKED: Final = {
    "connection": "does the API answer",
    "key": "key of the reports",
    "bots_key": "key of the list of bots",
    "rate_limit": "rate limit",
    "path": "path of the API",
    "clock": "difference of the clocks",
    "duration": "time per report",
    "requests": "requests a day",
    "bots": "configured bots",
    "discovery": "discovered bots",
    "labels": "configured labels",
    "range_type": "meaning of range_type",
    "range_with_dates": "range_type with dates",
    "naive_dates": "dates without an offset",
    "end_date": "end_date within a day",
    "batch": "a batch with a bad metric",
    "zeros": "what stands for zero",
    "satisfaction_rate": "scale of satisfaction_rate",
    "change_percent": "scale of change_percent",
    "created_at": "time zone of created_at",
    "missing_bot": "a bot that is missing",
    "bot_labels": "labels of one bot",
}
"""Every question, in the order in which the findings are shown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes:
        question: A key of `ASKED`.
        verdict: What it asks of the operator.
        answer: A word of a closed set, for machines; `unknown` without an answer.
        found: The same in words.
        setting: What to set, or that nothing has to be done.
    """

    question: str
    verdict: Verdict
    answer: str
    found: str
    setting: str = NOTHING_TO_DO


def fine(question: str, answer: str, found: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(question, Verdict.OK, answer, found)


def unknown(question: str, why: str, setting: str = NOTHING_TO_DO) -> Finding:
    """A question without an answer."""
    return Finding(question, Verdict.UNKNOWN, "unknown", why, setting)


_NO_TRAFFIC: Final = "there were too few messages yesterday to tell"


def _missing(evidence: Evidence, name: str, report: str) -> str:
    """Why there is no answer to a request."""
    failure = evidence.failure(name, report)
    if evidence.answered(name, report):
        return "the answer cannot be read"
    return f"no answer: {failure}" if failure else f"not asked: {evidence.skipped(name)}"


def range_type(workspace: Workspace, evidence: Evidence) -> Finding:
    """Which time a range covers."""
    question = "range_type"
    reply = evidence.reply("first", "conversation_overview")
    if reply is None:
        return unknown(question, _missing(evidence, "first", "conversation_overview"))
    start, end = (
        _current(reply, conversation_overview.START),
        _current(reply, conversation_overview.END),
    )
    if start is None or end is None:
        return unknown(question, "the answer does not say which period it is about")
    length, whole = end - start, timedelta(days=RANGE_DAYS)
    if abs(end - reply.sent) < timedelta(minutes=10) and abs(length - whole) <= timedelta(hours=1):
        return fine(question, "rolling", f"{RANGE} is {RANGE_DAYS} times 24 hours up to now")
    for answer, zone, words in (
        ("local_days", workspace.zone, "whole days of the time zone"),
        ("utc_days", UTC, "whole days of UTC"),
    ):
        if _midnight(start, zone):
            return fine(
                question, answer, f"{RANGE} is {words}, from {_shown(start)} to {_shown(end)}"
            )
    return Finding(
        question,
        Verdict.CONSIDER,
        "other",
        f"{RANGE} is from {_shown(start)} to {_shown(end)}",
        "nothing to set; the period is in seasalt_conversation_overview_period_*_timestamp_seconds",
    )


def range_with_dates(workspace: Workspace, questions: Questions, evidence: Evidence) -> Finding:
    """Whether the range or the dates count if a request has both."""
    question, name = "range_with_dates", "range_and_dates"
    failure = evidence.failure(name, "conversation_overview")
    if failure and failure.refused:
        return fine(question, "refused", "refused; the exporter never sends both")
    reply = evidence.reply(name, "conversation_overview")
    alone = evidence.reply("first", "conversation_overview")
    if reply is None or alone is None:
        return unknown(question, _missing(evidence, name, "conversation_overview"))
    start, other = (_current(one, conversation_overview.START) for one in (reply, alone))
    if start is None or other is None:
        return unknown(question, "the answer does not say which period it is about")
    asked = begins(questions.yesterday - DAY, workspace.zone)
    if abs(start - other) < timedelta(hours=1):
        return fine(question, "range_type", "range_type counts; the exporter never sends both")
    if abs(start - asked) <= DAY:
        return fine(question, "dates", "the dates count; the exporter never sends both")
    return unknown(question, f"neither: the period begins at {_shown(start)}")


def naive_dates(workspace: Workspace, questions: Questions, evidence: Evidence) -> Finding:
    """Whether a date without an offset is local time in `timezone`."""
    question = "naive_dates"
    if not offset_matters(workspace.zone, questions.yesterday):
        return fine(
            question, "no_difference", "the time zone had UTC's offset yesterday: no difference"
        )
    naive = evidence.reply("whole_day", "conversation_breakdown")
    aware = evidence.reply("offsets", "conversation_breakdown")
    if naive is None or aware is None:
        name = "offsets" if naive else "whole_day"
        return unknown(question, _missing(evidence, name, "conversation_breakdown"))
    one, two = (_by_hour(reply) for reply in (naive, aware))
    if not sum(two.values()) and not sum(one.values()):
        return unknown(question, _NO_TRAFFIC)
    if one == two and not _rows_beyond(evidence):
        return fine(question, "local", "local time in timezone")
    noon = datetime.combine(questions.yesterday, time(12), workspace.zone)
    ahead = noon.utcoffset() or timedelta()
    # The two days overlap; the API may count the hours in either time zone.
    if any(_differ_outside(one, two, shared_hours(offset)) for offset in (ahead, -ahead)):
        return Finding(
            question,
            Verdict.MEND,
            "utc",
            "UTC, whatever timezone says: the hours are those of a day of UTC",
            "timezone: UTC, so that every day begins where the API lets it begin",
        )
    found = "neither local time nor UTC: the same day with its offset has other numbers"
    return Finding(question, Verdict.UNKNOWN, "unclear", found)


def _differ_outside(one: Mapping[int, float], two: Mapping[int, float], shared: range) -> bool:
    """Whether two days by hour have the shared hours in common, and only these."""
    hours = one.keys() | two.keys()
    equal = {hour for hour in hours if one.get(hour, 0) == two.get(hour, 0)}
    used = {hour for hour in hours if one.get(hour, 0)}
    return bool(used & equal) and hours & {*shared} <= equal and not hours <= equal


def _rows_beyond(evidence: Evidence) -> bool:
    """Whether the answer about yesterday had rows of other days."""
    reply = evidence.reply("whole_day", "activity_trend")
    if reply is None:
        return False
    inside, given = (
        reply.total(activity_trend.MESSAGES, beyond=beyond) for beyond in (False, True)
    )
    return (given or 0) > (inside or 0)


def end_date(evidence: Evidence) -> Finding:
    """Whether a window can end within a day."""
    question = "end_date"
    whole = evidence.reply("whole_day", "conversation_breakdown")
    part = evidence.reply("part_day", "conversation_breakdown")
    if whole is None:
        return unknown(question, _missing(evidence, "whole_day", "conversation_breakdown"))
    by_hour = _by_hour(whole)
    hour = last_hour(by_hour)
    if hour is None:
        return unknown(question, _NO_TRAFFIC)
    if part is None:
        return unknown(question, _missing(evidence, "part_day", "conversation_breakdown"))
    got, everything = sum(_by_hour(part).values()), sum(by_hour.values())
    if got == sum(value for one, value in by_hour.items() if one <= hour):
        return fine(question, "cuts", "cuts the day")
    if got == everything:
        return fine(question, "whole_day", "counts as the whole day, as the exporter sends it")
    return Finding(
        question,
        Verdict.UNKNOWN,
        "unclear",
        "neither cuts the day nor counts as the whole day",
        "nothing to set; the exporter ends every window at 23:59:59",
    )


def batch(evidence: Evidence) -> Finding:
    """What becomes of a request with one metric that cannot be computed."""
    question = "batch"
    failure = evidence.failure("undated", "label_overview")
    if failure and failure.refused:
        return fine(question, "whole", "fails whole; the exporter then asks one by one")
    reply = evidence.answered("undated", "label_overview")
    if reply is None:
        return unknown(question, _missing(evidence, "undated", "label_overview"))
    if "communication_volume" in reply.samples:
        found = "answered: dates are not required, and left out they mean another window"
        return fine(question, "optional_dates", f"{found}; the exporter always sends them")
    if "label_overview" in reply.samples:
        return fine(
            question, "partial", "the other metrics are answered, and the bad one is missing"
        )
    return unknown(question, "answered, but with nothing that can be read")


_PLAIN: Final = (
    ("nothing", "total_usage", total_usage.CHAT),
    ("nothing", "communication_volume", communication_volume.NON_VOICE),
    ("nothing_of_a_bot", "csat", csat.RESPONSES),
)
"""Figures that a window without events must have: request, report, family."""

_FAILS: Final = "nothing to set; seasalt_report_success is 0 for such reports of an idle bot"


def zeros(evidence: Evidence) -> Finding:
    """Whether nothing is 0, has no value, or is an error."""
    question = "zeros"
    failure = evidence.failure("nothing", "total_usage")
    if failure is None and evidence.reply("ratings", "csat"):
        failure = evidence.failure("nothing_of_a_bot", "csat")
    if failure and not _unasked(failure):
        found = f"an error for a window without events: {failure}"
        return Finding(question, Verdict.CONSIDER, "error", found, _FAILS)
    answered = [one for one in _PLAIN if evidence.answered(*one[:2])]
    if not answered:
        return unknown(question, _missing(evidence, "nothing", "total_usage"))
    replies = [(evidence.reply(name, report), family) for name, report, family in answered]
    if None in [reply for reply, _ in replies]:
        found = "left out, so that a report without figures cannot be read"
        return Finding(question, Verdict.CONSIDER, "unreadable", found, _FAILS)
    plain = [reply.total(family) for reply, family in replies if reply]
    if any(plain):
        return unknown(question, "the API has figures for the year 2000")
    if None not in plain:
        return fine(question, "zero", "0, and periods without events have no row")
    answer = "mixed" if 0 in plain else "absent"
    return Finding(
        question,
        Verdict.CONSIDER,
        answer,
        "a figure of 0 is null or left out" + " in some reports" * (answer == "mixed"),
        "nothing to set; an idle bot has no series, so write `or vector(0)` where a query needs a 0",
    )


_NEAR: Final = 0.02


def satisfaction_rate(evidence: Evidence) -> Finding:
    """Whether the satisfaction rate is a percentage."""
    question = "satisfaction_rate"
    reply = evidence.reply("ratings", "csat")
    if reply is None:
        return unknown(question, _missing(evidence, "ratings", "csat"))
    counts = {int(labels[-1]): value for labels, value in reply.of(csat.RATINGS).items()}
    read, total = reply.total(csat.SATISFACTION), sum(counts.values())
    if read is None or not total or max(rating for rating, many in counts.items() if many) > 5:
        return unknown(
            question, "the bot that was asked has no ratings from 1 to 5 to compare with"
        )
    real = (counts.get(4, 0) + counts.get(5, 0)) / total
    return scale(question, read, real, "leave csat out of metrics, or multiply by 100 in queries")


def change_percent(evidence: Evidence) -> Finding:
    """Whether a change is a percentage."""
    question = "change_percent"
    now = evidence.reply("whole_day", "activity_trend")
    then = evidence.reply("range_and_dates", "activity_trend")
    if now is None or then is None:
        name = "range_and_dates" if now else "whole_day"
        return unknown(question, _missing(evidence, name, "activity_trend"))
    read = now.total(activity_trend.CHANGE)
    messages, before = (reply.total(activity_trend.MESSAGES) for reply in (now, then))
    if read is None or not messages or not before:
        return unknown(question, "no change, or too few messages to compare with")
    return scale(
        question,
        read,
        (messages - before) / before,
        "multiply seasalt_*_change_ratio by 100 in queries",
    )


def scale(question: str, read: float, real: float, setting: str) -> Finding:
    """Compare a ratio, read as a percentage of the API, with the computed one."""
    percent, ratio = (
        abs(value - real) <= max(0.002, abs(real) * _NEAR) for value in (read, read * 100)
    )
    if percent == ratio:
        why = "too small to tell" if percent else "fits neither a percentage nor a ratio"
        return unknown(question, why)
    if percent:
        return fine(question, "percent", "a percentage, as documented")
    return Finding(
        question,
        Verdict.MEND,
        "ratio",
        "a ratio: the exporter's value is 100 times too low",
        setting,
    )


def created_at(workspace: Workspace, questions: Questions, evidence: Evidence) -> Finding:
    """Whether the naive time of a rating is in UTC."""
    question = "created_at"
    reply = evidence.reply("ratings", "csat")
    if reply is None or not reply.ratings:
        none = "the bot that was asked has no ratings"
        return unknown(question, none if reply else _missing(evidence, "ratings", "csat"))
    if latest_naive(reply) is None:
        return fine(question, "with_offset", "has an offset from UTC")
    around = evidence.reply("around", "csat")
    if around is None:
        return unknown(question, _missing(evidence, "around", "csat"))
    if around.total(csat.RESPONSES) == 0:
        return Finding(
            question,
            Verdict.CONSIDER,
            "not_utc",
            "not UTC: two minutes around a rating do not contain it",
            "nothing to set; do not backfill csat, the ratings would be shifted by hours",
        )
    if end_date(evidence).answer != "cuts":
        return unknown(question, "times within a day could not be told apart")
    same = not offset_matters(workspace.zone, questions.yesterday)
    return fine(question, "utc", "UTC" + ", which is the time zone's local time" * same)


def latest_naive(reply: Reply) -> datetime | None:
    """The latest naive time of a rating; None if there is none."""
    return max((rating for rating in reply.ratings if rating.tzinfo is None), default=None)


def missing_bot(evidence: Evidence) -> Finding:
    """What the API answers about a bot that does not exist."""
    question = "missing_bot"
    failure = evidence.failure("missing_bot", "total_usage")
    reply = evidence.reply("missing_bot", "total_usage")
    if failure and failure.missing:
        return fine(question, "not_found", "404: the exporter removes it after two polls")
    if reply and reply.total(total_usage.CHAT):
        answer, found = "ignored", "the numbers of the whole workspace: a wrong id is not noticed"
    elif reply:
        answer, found = "zeros", "zeros, or no values: a deleted bot looks idle"
    elif failure and failure.outcome is Outcome.UNAUTHORIZED:
        answer, found = "rejected", f"HTTP {failure.status}, as for a rejected key"
    elif failure and failure.refused:
        answer, found = "refused", f"HTTP {failure.status}: the reports of a deleted bot fail"
    else:
        return unknown(question, _missing(evidence, "missing_bot", "total_usage"))
    setting = "discover_bots instead of bots, so that a deleted bot leaves the metrics page"
    return Finding(question, Verdict.CONSIDER, answer, found, setting)


def bot_labels(workspace: Workspace, evidence: Evidence, bots: int) -> Finding:
    """Whether the labels of one bot are counted apart from the workspace's."""
    question = "bot_labels"
    whole = evidence.reply("first", "label_overview")
    reply = evidence.reply("ratings", "label_overview")
    if whole is None or reply is None:
        name = "ratings" if whole else "first"
        return unknown(question, _missing(evidence, name, "label_overview"))
    if bots < 2:
        return unknown(question, "it takes two bots in the list to tell")
    everywhere, of_bot = (one.total(label_overview.CONVERSATIONS) for one in (whole, reply))
    if not everywhere:
        return unknown(question, "no label has been used yet")
    if of_bot is not None and of_bot >= everywhere:
        names = {
            entry.name
            for entry in workspace.entries
            if entry.scope == "bots" and entry.report is label_overview.REPORT
        }
        found = "the workspace's, whatever bot is named"
        if names:
            return Finding(
                question, Verdict.MEND, "workspace", found, "scope: workspace for label_overview"
            )
        return fine(question, "workspace", found)
    return fine(question, "bot", "the bot's own")


def path(workspace: Workspace, url: str, failure: RequestFailed | None) -> Finding:
    """Which path the API has; `url` is the one that answered, empty if it is the configured one."""
    question = "path"
    if failure and failure.status in {404, 405}:
        setting = "path" if workspace.path else "base_url"
        what = (
            "leave it out for the documented path"
            if workspace.path
            else "leave it out for the API's own address"
        )
        return Finding(question, Verdict.MEND, "none", str(failure), f"{setting}: {what}")
    if url:
        return Finding(
            question,
            Verdict.CONSIDER,
            "samples",
            'the path of the documents\' samples, not the one under "Endpoint"',
            f"path: {workspace.dialect.old_path}, which saves a request at each start",
        )
    if workspace.path:
        return fine(question, "configured", "the configured one")
    return fine(question, "documented", "the documented one")


_SKEW: Final = 30.0
"""The difference of the clocks that is tolerated, in seconds."""

_FAR: Final = 1e10
"""Unix time of the year 2286."""


def clock(differences: list[float]) -> Finding:
    """How far the API's clock is ahead, by the median of its answers."""
    question = "clock"
    if not differences:
        return unknown(question, "the answers have no Date")
    # A Date is rounded down to a whole second.
    ahead = sorted(differences)[len(differences) // 2] + 0.5
    if abs(ahead) <= _SKEW:
        return fine(question, "equal", f"{abs(ahead):.0f} s")
    where = "ahead of" if ahead > 0 else "behind"
    return Finding(
        question,
        Verdict.MEND,
        "different",
        f"the API's clock is {abs(ahead):.0f} s {where} this machine's",
        "set this machine's clock (NTP); no setting of the exporter",
    )


def connection(failure: RequestFailed, workspace: Workspace, sent: int) -> Finding:
    """Why a request had no answer, and no other was sent after it; `sent` is its number."""
    if failure.outcome is Outcome.UNAUTHORIZED or failure.cause is Cause.NO_KEY:
        setting = workspace.key_settings[0]
        needed = f"{setting}: a key with the scope {workspace.dialect.key_scope}"
        answer = "none" if failure.cause is Cause.NO_KEY else "rejected"
        return Finding("key", Verdict.MEND, answer, str(failure), needed)
    if failure.cause in {Cause.RATE_LIMITED, Cause.BUDGET_SPENT}:
        return rate_limit(workspace, sent, failure)
    settings = {
        Cause.CONNECT: "base_url, http.proxy_url, http.ca_file",
        Cause.TIMEOUT: "timeout: 2m; base_url, if it is not the API's",
        Cause.INVALID: "base_url: leave it out for the API's own address",
        Cause.BLOCKED: "http.proxy_url, or whatever stands before the API",
        Cause.SERVER_ERROR: "nothing to set; the API fails, run doctor again later",
    }
    setting = settings.get(failure.cause, "nothing to set; run doctor again later")
    return Finding("connection", Verdict.MEND, failure.outcome.value, str(failure), setting)


def rate_limit(workspace: Workspace, sent: int, failure: RequestFailed) -> Finding:
    """That the API asked for fewer requests, or that the day's budget is spent."""
    if failure.cause is Cause.BUDGET_SPENT:
        setting = "requests_per_day: at least 12"
        return Finding("rate_limit", Verdict.MEND, "budget", str(failure), setting)
    wish = f", and to wait {failure.wish:.0f} s" if failure.wish else ""
    lower = max(1, workspace.requests_per_minute // 2)
    return Finding(
        "rate_limit",
        Verdict.MEND,
        "reached",
        f"the API asked for fewer requests at request {sent}{wish}; nothing was sent after it",
        f"requests_per_minute: {lower}, or less",
    )


def _unasked(failure: RequestFailed) -> bool:
    """Whether a failure says nothing about the API's answer."""
    return failure.status is None or failure.outcome is Outcome.RATE_LIMITED


def _by_hour(reply: Reply) -> dict[int, float]:
    return hours(reply.of(conversation_breakdown.HOURS).items())


def _current(reply: Reply, family: object) -> datetime | None:
    """An edge of the current period."""
    for sample in reply.samples.get("conversation_overview", ()):
        if sample.family is family and "current" in sample.labels:
            return _instant(sample.value)
    return None


def _instant(value: float) -> datetime | None:
    """Unix time as an instant; None if it is none of this exporter's times."""
    return datetime.fromtimestamp(value, UTC) if 0 < value < _FAR else None


def _midnight(at: datetime, zone: tzinfo) -> bool:
    local = at.astimezone(zone)
    return begins(local.date(), zone) == at


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def answers(
    workspace: Workspace, questions: Questions, evidence: Evidence, bots: int
) -> Iterator[Finding]:
    """The findings about the open questions that concern the workspace's API."""
    if workspace.dialect.many:
        yield range_type(workspace, evidence)
        yield range_with_dates(workspace, questions, evidence)
        yield batch(evidence)
    yield naive_dates(workspace, questions, evidence)
    yield end_date(evidence)
    yield zeros(evidence)
    if workspace.api != "seax":  # its rows have no change
        yield change_percent(evidence)
    if workspace.dialect.per_bot:
        yield satisfaction_rate(evidence)
        yield created_at(workspace, questions, evidence)
        yield missing_bot(evidence)
        yield bot_labels(workspace, evidence, bots)
