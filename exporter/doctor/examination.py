"""The examination of one workspace: sends its requests in order, and collects the findings.

The requests take the same way as those of `serve`: rate limit, budget of the day, pauses that the
API asks for, retries, circuit breaker, and the rest of a rejected key. Beyond that, a client that
counts sends no more than `MOST_REQUESTS` of them, retries included. The examination stops at the first
request that the API finds too many, and at the first that it does not answer.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from exporter.config import Workspace
from exporter.doctor import account, findings
from exporter.doctor.account import Bots, Timed
from exporter.doctor.findings import ASKED, Finding
from exporter.doctor.questions import (
    Evidence,
    Questions,
    Reply,
    Request,
    hours,
    last_hour,
    offset_matters,
    read,
)
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.telemetry import Telemetry
from exporter.model.bot_list import DEFAULT_MOST, page
from exporter.model.reply_values import Drift
from exporter.model.windows import local_day
from exporter.reports import conversation_breakdown
from exporter.upstream.answer import Answer
from exporter.upstream.client import Client, Transport
from exporter.upstream.sender import Sender
from exporter.upstream.shared_keys import SharedKeys

MOST_REQUESTS: Final = 12
"""Requests of one examination, retries included."""

_FINAL: Final = frozenset({Outcome.RATE_LIMITED, Outcome.TIMEOUT, Outcome.CONNECT})
"""How a request ends after which no other is sent."""

_SPENT: Final = f"retries have used up the {MOST_REQUESTS} requests of an examination"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about a workspace.

    Attributes:
        workspace: The workspace.
        findings: In the order of `ASKED`.
        timed: The requests, without retries.
        sent: How many were sent, with retries.
        seconds: How long it took, waiting included.
    """

    workspace: Workspace
    findings: tuple[Finding, ...]
    timed: tuple[Timed, ...]
    sent: int
    seconds: float


async def examined(
    workspace: Workspace,
    now: Callable[[], datetime],
    *,
    transport: Transport | None = None,
    shared_keys: SharedKeys | None = None,
) -> Examination:
    """Examine a workspace.

    Args:
        workspace: The workspace.
        now: The present as an aware instant.
        transport: Replaces the network in tests.
        shared_keys: What is known of each key, shared with the examinations of other workspaces.

    Raises:
        StartError: If the workspace's certificates or URLs cannot be used.
    """
    time = asyncio.get_running_loop().time
    begun = time()
    client = _FewRequests(workspace, transport, now)
    try:
        examiner = _Examiner(workspace, client, now, shared_keys)
        await examiner.ask()
    finally:
        await client.close()
    order = list(ASKED)
    found = sorted(examiner.findings(), key=lambda finding: order.index(finding.question))
    timed = tuple(examiner.timed)
    return Examination(workspace, tuple(found), timed, client.sent, time() - begun)


class _Spent(NotSent):
    """A request was not sent, because retries have used up those of an examination."""


class _FewRequests(Client):
    """A client that sends at most `MOST_REQUESTS` requests, whoever asks for them.

    Attributes:
        sent: The requests so far.
    """

    sent = 0

    async def report(self, url: str, body: Mapping[str, object], key: str) -> Answer:
        self._count()
        return await super().report(url, body, key)

    async def bots(self, offset: int, key: str) -> Answer:
        self._count()
        return await super().bots(offset, key)

    def _count(self) -> None:
        if self.sent >= MOST_REQUESTS:
            raise _Spent(Outcome.CLIENT_ERROR, _SPENT)
        self.sent += 1


class _Examiner:
    """Asks the questions of one workspace, each one as the earlier answers allow.

    Attributes:
        timed: The requests so far.
    """

    def __init__(
        self,
        workspace: Workspace,
        client: _FewRequests,
        now: Callable[[], datetime],
        shared_keys: SharedKeys | None,
    ) -> None:
        self.timed: list[Timed] = []
        self._workspace = workspace
        self._client = client
        keys = shared_keys or SharedKeys(secrets.token_bytes(32))
        self._sender = Sender(workspace, client, Telemetry(), now, shared_keys=keys)
        self._questions = Questions(workspace, local_day(now(), workspace.zone))
        self._evidence = Evidence()
        self._listed: Bots | RequestFailed | None = None
        self._differences: list[float] = []
        self._first: RequestFailed | None = None
        self._stopped: RequestFailed | None = None
        self._stopped_at = 0

    async def ask(self) -> None:
        """Send the requests."""
        api, questions = self._workspace.dialect, self._questions
        self._first = await self._report(questions.first())
        if self._first and self._first.refused and api.many:
            # Split the request, as the poller does: one bad report must not hide the others.
            failures = [await self._report(one) for one in questions.first().apart()]
            self._first = None if None in failures else self._first
        if self._first:
            return
        if not api.many and account.configured_labels(self._workspace):
            await self._report(questions.labels())
        if api.per_bot and self._workspace.workspace_id:
            discovery = self._workspace.discover_bots
            known = {bot.id for bot in self._workspace.bots}
            await self._list(Bots(discovery.max_bots if discovery else DEFAULT_MOST, known))
        await self._report(questions.whole_day())
        await self._report(questions.range_and_dates())
        whole = self._evidence.reply("whole_day", conversation_breakdown.REPORT.name)
        by_hour = hours(whole.of(conversation_breakdown.HOURS).items()) if whole else {}
        hour = last_hour(by_hour)
        if hour is not None:
            await self._report(questions.part_day(hour))
        if offset_matters(self._workspace.zone, questions.yesterday):
            await self._report(questions.offsets())
        if api.many:
            await self._report(questions.undated())
        await self._report(questions.nothing())
        if api.per_bot:
            await self._about_bots()
        # Further pages come last: they get the requests that no question needs.
        while isinstance(self._listed, Bots) and self._listed.partial and self._may_send:
            await self._list(self._listed)

    async def _about_bots(self) -> None:
        questions, bot = self._questions, self._bot
        await self._report(questions.missing_bot(self._known))
        if not bot:
            self._evidence.skip("ratings", "no bot is configured or listed")
            return
        await self._report(questions.ratings(bot))
        reply = self._evidence.reply("ratings", "csat")
        latest = findings.latest_naive(reply) if reply else None
        if latest:
            await self._report(questions.around(bot, latest))
        await self._report(questions.nothing_of_a_bot(bot))

    @property
    def _known(self) -> list[str]:
        """The ids of the bots in the list and in the configuration."""
        listed = self._listed.bots if isinstance(self._listed, Bots) else ()
        return [*listed, *(bot.id for bot in self._workspace.bots)]

    @property
    def _bot(self) -> str:
        """The id of the bot to ask about: a configured one, else one from the list, or empty."""
        configured = [bot.id for bot in self._workspace.bots]
        if not isinstance(self._listed, Bots):
            return next(iter(configured), "")
        there = self._listed.bots
        on = [name for name, bot in there.items() if bot.is_enabled is not False]
        return next(iter([*(name for name in configured if name in there), *on, *there]), "")

    async def _report(self, request: Request) -> RequestFailed | None:
        """Send a request for reports; the failure of the last one, if it is several."""
        failure: RequestFailed | None = None
        several = not self._workspace.dialect.many
        for one in request.apart() if several else (request,):
            if self._stopped:
                self._evidence.skip(one.name, str(self._stopped))
                break
            result = await self._result(one)
            failure = result if isinstance(result, RequestFailed) else None
            self._evidence.add(one, result)
            self._note(one.name, tuple(entry.metric for entry in one.entries), result)
        return failure

    async def _result(self, request: Request) -> Reply | RequestFailed:
        try:
            body = partial(request.body, self._workspace)
            with await self._sender.report(body, request.bot) as received:
                reader = partial(read, request, self._workspace, received.sent)
                reply = await received.made(reader)
                received.readable = bool(reply.samples)
        except RequestFailed as failure:
            return failure
        return replace(reply, seconds=received.seconds)

    @property
    def _may_send(self) -> bool:
        return not self._stopped and self._client.sent < MOST_REQUESTS

    async def _list(self, read: Bots) -> None:
        """Read the next page of the list of bots; if that fails, what was read before stays."""
        if self._stopped:
            return
        drift, failure = Drift(), None
        seconds = 0.0
        try:
            with await self._sender.bots(read.rows) as received:
                found = await received.made(lambda answer: page(answer, drift))
                read.partial = read.add(found, drift)
            seconds, self._listed = received.seconds, read
        except RequestFailed as error:
            failure = error
        except ReplyError as error:
            failure = RequestFailed(Outcome.INVALID, str(error), 200)
        if failure:
            self._listed = self._listed or failure
        self._note("bots", (), failure or seconds)

    def _note(
        self, about: str, metrics: tuple[str, ...], result: Reply | RequestFailed | float
    ) -> None:
        """Note how a request ended, and whether it was the last one."""
        outcome = Outcome.SUCCESS
        if isinstance(result, RequestFailed):
            outcome = result.outcome
            if isinstance(result, NotSent) or outcome in _FINAL:
                self._stopped, self._stopped_at = result, self._client.sent
        seconds = result if isinstance(result, float) else result.seconds
        self.timed.append(Timed(about, metrics, outcome, seconds))
        if self._client.clock_ahead is not None:
            self._differences.append(self._client.clock_ahead)
            self._client.clock_ahead = None

    def findings(self) -> Iterator[Finding]:
        """The findings, in no order."""
        workspace, first = self._workspace, self._first
        switched = self._sender.standing.url
        yield from account.requests(workspace, self._listed)
        if first and first.status in {404, 405}:
            yield findings.path(workspace, switched, first)
            return
        if first:
            yield findings.connection(first, workspace, self._client.sent)
            return
        stopped = self._stopped
        if isinstance(stopped, _Spent):
            yield findings.unknown("connection", str(stopped))
        elif stopped:
            yield findings.connection(stopped, workspace, self._stopped_at)
        if stopped is None or stopped.outcome is not Outcome.UNAUTHORIZED:
            yield from account.key(self._listed, workspace)
        yield findings.path(workspace, switched, None)
        yield findings.clock(self._differences)
        yield account.durations(workspace, self._listed, self.timed)
        yield from account.bots(workspace, self._listed)
        yield from account.labels(workspace, self._evidence)
        number = len(self._listed.bots) if isinstance(self._listed, Bots) else 0
        yield from findings.answers(workspace, self._questions, self._evidence, number)
