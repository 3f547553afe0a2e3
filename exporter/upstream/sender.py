"""Sends every request of a workspace to the API.

A request passes through these steps: choose the URL, read the key, wait for the rate limiter, send,
and decide on a retry. All that the sender knows about reports is whether an answer was readable.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from exporter.config import Workspace
from exporter.errors import Cause, NoConnection, NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.telemetry import BUDGET_REMAINING, PAUSED_UNTIL, RETRIES, Telemetry
from exporter.model.reply_values import Drift
from exporter.upstream.answer import Answer
from exporter.upstream.api_key_file import KeyAtHand
from exporter.upstream.circuit_breaker import PROBE_EVERY
from exporter.upstream.client import Client
from exporter.upstream.key_health import KeyHealth
from exporter.upstream.limiter import Limiter, SenderState
from exporter.upstream.retries import ATTEMPTS, SHARE, RetryBudget, Uniform, pause
from exporter.upstream.shared_keys import SharedKeys

LONGEST_SLEEP: Final = 60.0
"""The longest single sleep in seconds, so that a change of the system clock is soon noticed."""

LOOK_AGAIN: Final = 1.0
"""Seconds after which a request in the line reads the key file again."""

_SHORTEST_SLEEP: Final = 0.001
"""The shortest single sleep in seconds; the clock might not advance during a shorter one."""

_OF_BOTS: Final = frozenset({Outcome.TIMEOUT, Outcome.SERVER_ERROR})
"""How a request ends if the bot takes too long to answer, or cannot."""

log = logging.getLogger(__name__)

Ask = Callable[[str, datetime], Awaitable[Answer]]
"""Sends a request with a key; takes the key and the instant of sending."""

AskAProbe = Callable[[Client, str], Awaitable[Answer]]
"""Sends a request of a probe with a client and a key."""

MadeT = TypeVar("MadeT")


@dataclass(slots=True, repr=False)  # an answer may contain a key
class Received:
    """An answer as a context manager: its request's outcome is counted when the caller leaves it.

    The outcome depends on whether the caller can read the answer. An unexpected exception is
    reported as a bug and leaves as a `RequestFailed`, so neither the process nor the values from
    before suffer from it.

    Attributes:
        sent: When the request was sent.
        seconds: The duration of the request.
        readable: Whether any part of the answer was readable; the caller sets it.
        _answer: The answer.
        _ended: Called with the outcome of the request.
        _bug: Reports an unexpected exception, and returns the error to raise instead.
    """

    sent: datetime
    seconds: float
    _answer: Answer
    _ended: Callable[[Outcome], None]
    _bug: Callable[[Exception], RequestFailed]
    readable: bool = True

    async def made(self, prepare: Callable[[object], MadeT]) -> MadeT:
        """The result of a pure function of the answer; a large answer is processed in a thread."""
        content = self._answer.content
        return await asyncio.to_thread(prepare, content) if self._answer.large else prepare(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._ended(Outcome.SUCCESS if self.readable else Outcome.INVALID)
        elif isinstance(error, Exception):  # else it was cancelled: the outcome is unknown
            self._ended(Outcome.INVALID)
            if not isinstance(error, ReplyError):
                raise self._bug(error) from None


class Sender:
    """Sends the requests of one workspace.

    Args:
        workspace: The workspace, with its limits and keys.
        client: The HTTP client.
        telemetry: The exporter's own metrics.
        now: The present as an aware instant; durations come from the event loop's clock.
        standing: The state from before a restart or a reload.
        uniform: Draws a random number between two bounds.
        shared_keys: The pauses and judgements of keys, shared with all workspaces.

    Attributes:
        answered: Whether the API has answered any request yet.
        telemetry: The telemetry in use; another one once the workspace is retired.
    """

    def __init__(
        self,
        workspace: Workspace,
        client: Client,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        standing: SenderState = SenderState(),  # noqa: B008 - immutable
        uniform: Uniform = random.uniform,
        shared_keys: SharedKeys | None = None,
    ) -> None:
        self.answered = False
        self._workspace = workspace
        self._place = (workspace.api, workspace.name)
        self._client = client
        self.telemetry = telemetry
        self._now = now
        self._time = asyncio.get_running_loop().time
        self._uniform = uniform

        self._url, self._other = workspace.url, workspace.other_url
        if self._other and standing.url == self._other:
            self._url, self._other = self._other, self._url
        self._settled = not self._other
        self._finding_out = asyncio.Lock()

        rest = min(workspace.interval.total_seconds(), PROBE_EVERY)
        self._shared_keys = shared_keys or SharedKeys(secrets.token_bytes(32))
        self._host = urlsplit(workspace.url).netloc.lower()
        # One for each use, even if it is the same key: each may need a scope of its own.
        self._keys = {
            use: KeyHealth(
                KeyAtHand(key),
                rest,
                partial(self._shared_keys.judgement, self._host, use),
                workspace.name,
            )
            for use, key in (
                ("reports", workspace.key),
                *((use, workspace.bots_key) for use in ("bots", "knowledge_base", "probes")),
            )
        }
        self._key, self._bots_key = self._keys["reports"], self._keys["bots"]
        self._one_key = workspace.bots_key == workspace.key

        self._line = asyncio.Lock()
        self._limiter = Limiter(workspace, standing, self._time, now, uniform)
        self._retry_budget = RetryBudget(standing.owed)
        self._recalled = standing.not_before is not None
        self._paused_key = standing.paused_key
        for use, mark, until in standing.resting:
            if use in self._keys and not self._shared_keys.knows(mark):
                self._keys[use].rest(self._limiter.resting(until))

    def begin(self) -> None:
        """Create this workspace's metrics."""
        self.telemetry.begin(self._workspace, self._now)
        self.telemetry.follow(PAUSED_UNTIL, self._paused_until, *self._place)
        self._tell_budget()

    @property
    def requests_today(self) -> int:
        """The requests sent on the workspace's current local day."""
        return self._limiter.budget.spent(self._now())

    @property
    def held_back(self) -> tuple[datetime | None, datetime | None]:
        """When the pause that the API requested ends, and when the open breaker sends a probe."""
        return self._limiter.paused_until, self._limiter.probe_at

    @property
    def key_valid(self) -> bool | None:
        """Whether the API accepts the key of the reports; None if it has not said so."""
        return self._key.valid

    @property
    def standing(self) -> SenderState:
        """The state to keep over a restart or a reload."""
        found = self._limiter.standing
        return replace(
            found,
            url="" if self._url == self._workspace.url else self._url,
            paused_key=self._paused_key if found.not_before else "",
            resting=tuple(
                (use, mark, self._limiter.instant(until)) for use, mark, until in self._resting
            ),
            owed=self._retry_budget.owed,
        )

    @property
    def _resting(self) -> Iterator[tuple[str, str, float]]:
        """The use and the mark of each key that rests, and when its rest ends."""
        at = self._time()
        # This workspace's own keys only: after a restart, a mark no longer identifies a key.
        for use, key_health in self._keys.items():
            if until := key_health.rests_until(at):
                yield use, self._mark(key_health), until

    def _mark(self, key_health: KeyHealth) -> str:
        """The mark of a key; empty if no key has been read yet."""
        with suppress(RequestFailed):
            return self._shared_keys.mark(key_health.key.read())
        return ""

    @property
    def waits(self) -> object:
        """A value that changes with the pause, the breaker, a key's rest, and the retry budget.

        Only whole requests of the retry budget count. Each change is written to the state file.
        """
        resting = tuple(until for *_, until in self._resting)
        return (self._limiter.waits, resting, int(self._retry_budget.owed))

    async def report(
        self, body: Callable[[datetime], Mapping[str, object]], about: str = ""
    ) -> Received:
        """Send a request for reports.

        Args:
            body: Makes the request's body for the instant of sending. It is called only when the
                request may be sent, because the date may have changed by then.
            about: The id of the bot that the request is about; empty for the workspace.

        Raises:
            RequestFailed: If no usable answer comes.
        """

        async def ask(url: str, tried: int = 0) -> Received:
            received = await self._ask(
                self._key,
                lambda key, sent: self._client.report(url, body(sent), key),
                about,
                tried,
            )
            self._url, self._settled = url, True
            return received

        # Until the right one of two URLs is known, one request at a time finds out for all.
        async with nullcontext() if self._settled else self._finding_out:
            try:
                return await ask(self._url)
            except RequestFailed as failure:
                other, missing = self._other, failure.status in {404, 405}
                if not (missing and other and self._extra(failure.outcome)):
                    raise
                self._other = ""  # tried once per process
                try:
                    received = await ask(other, tried=ATTEMPTS - 1)
                except RequestFailed as again:
                    if again.status not in {404, 405} or not again.own:
                        self._other = other  # that attempt proved nothing: try it again
                    raise
                log.info(
                    "switched to the other API path",
                    extra={"workspace": self._workspace.name, "url": other},
                )
                return received

    def early(self, outcome: Outcome) -> bool:
        """Pay for an early turn after one that ended so; whether the retry budget was enough."""
        return self._extra(outcome, 1 + SHARE)  # the turn itself will earn a share

    async def bots(self, offset: int) -> Received:
        """Request the page of the bot list that begins at an offset.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        return await self._ask(self._bots_key, lambda key, _sent: self._client.bots(offset, key))

    async def files(self, bot_id: str, offset: int) -> Received:
        """Request the page of a bot's files that begins at an offset.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        return await self._ask(
            self._keys["knowledge_base"],
            lambda key, _sent: self._client.files(bot_id, offset, key),
            bot_id,
        )

    def drifted(self, metric: str, drift: Drift) -> None:
        """Count a reply's deviations from the API's documents."""
        self.telemetry.drifted(*self._place, metric, drift)

    async def probe(self, bot_id: str, ask: AskAProbe, *, replies: bool = False) -> Received:
        """Send a request of a probe, once: each message costs, so none is sent again.

        Args:
            bot_id: The id of the bot that is probed.
            ask: Sends the request.
            replies: Whether the bot's reply is awaited in it. If the bot takes too long, or fails,
                that says nothing about the API, so the circuit breaker does not hear of it.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        return await self._ask(
            self._keys["probes"],
            lambda key, _sent: ask(self._client, key),
            bot_id,
            tried=ATTEMPTS,
            of_a_bot=replies,
        )

    async def _ask(
        self,
        key_health: KeyHealth,
        ask: Ask,
        about: str = "",
        tried: int = 0,
        *,
        of_a_bot: bool = False,
    ) -> Received:
        """Send one request, with retries within their limits.

        Args:
            key_health: The key to send it with.
            ask: Sends it.
            about: The id of the bot that the request is about; empty for the workspace.
            tried: Attempts so far; more than 0 for one that is a retry itself.
            of_a_bot: Whether a failure may be the bot's alone.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        failed: RequestFailed | None = None
        while True:
            try:
                key = await self._leave(key_health)
            except NotSent as refusal:
                raise failed or refusal from None
            if tried == 0:
                self._retry_budget.earn()
            tried += 1
            try:
                # With a key of its own, the bot list says nothing about the reports' key. Nor
                # does the rest, which only some keys may do.
                judged = key_health is self._key or (self._one_key and key_health is self._bots_key)
                sent = self._send(ask, key, judged=judged, of_a_bot=of_a_bot)
                received = await self._told(key, sent)
            except RequestFailed as failure:
                if failure.outcome is Outcome.UNAUTHORIZED:
                    begun = self._time() - failure.seconds
                    key_health.rejected(key, begun, str(failure), about)
                    self._shared_keys.pause(self._host, key).doubt()
                    await key_health.key.look()  # it may have been rotated
                wait = self._pause(failure, tried, key_health, key)
                if wait is None or self._limiter.refusal() or not self._extra(failure.outcome):
                    raise
                failed = failure
            else:
                key_health.accepted(key, about)
                return received
            await asyncio.sleep(wait)

    async def _told(self, key: str, sent: Awaitable[Received]) -> Received:
        """Await one request, and share a pause that follows with all workspaces that use its key.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        pause = self._shared_keys.pause(self._host, key)
        try:
            try:
                return await sent
            finally:
                self._paused_key = self._shared_keys.mark(key)
                pause.ended(self._limiter.parked_until, self._time())
        except asyncio.CancelledError:
            pause.doubt()  # nobody knows how the API would have responded
            raise

    def _usable(self, key_health: KeyHealth) -> str:
        """The key to send; its shared pause now applies to the next request.

        Raises:
            NotSent: If there is no key, or it rests after a rejection.
        """
        try:
            key = key_health.usable(self._time())
        except NotSent as failure:
            if key_health is self._key:
                self.telemetry.judged(*self._place, failure.outcome)
            raise
        pause = self._shared_keys.pause(self._host, key)
        if self._recalled:
            self._recalled = False
            known = self._shared_keys.knows(self._paused_key)
            if not known or self._paused_key == self._shared_keys.mark(key):
                pause.recalled(self._limiter.parked_until, self._time())
        self._limiter.share(pause)
        return key

    async def _leave(self, key_health: KeyHealth) -> str:
        """Wait until a request may be sent, spend it, and return the key to send it with.

        Raises:
            NotSent: If there is no key, it was rejected, or the wait would be too long.
        """
        behind = self._line.locked()
        await key_health.key.look()
        looked = self._time()
        self._usable(key_health)
        refusal = self._limiter.refusal(behind=behind)
        if refusal:
            raise refusal
        async with self._line:  # first come, first served
            while True:
                if self._time() - looked > LOOK_AGAIN:
                    await key_health.key.look()
                    looked = self._time()
                key = self._usable(key_health)  # again: an earlier request may have got it rejected
                wait = self._limiter.take(behind=behind)
                if not wait:
                    break
                await asyncio.sleep(min(max(wait, _SHORTEST_SLEEP), LONGEST_SLEEP))
        self._tell_budget()
        return key

    async def _send(self, ask: Ask, key: str, *, judged: bool, of_a_bot: bool = False) -> Received:
        """Send one request; a failure is counted now, an answer when the caller has read it.

        Args:
            ask: Sends the request.
            key: The key to send.
            judged: Whether the outcome counts for `seasalt_up` and `seasalt_api_key_valid`.
            of_a_bot: Whether a failure may be the bot's alone.

        Raises:
            RequestFailed: If no usable answer comes.
        """
        begun = self._time()

        def ended(outcome: Outcome, failure: RequestFailed | None = None) -> None:
            self.telemetry.requested(*self._place, outcome, self._time() - begun)
            if failure and failure.of_a_kept_connection:
                return
            asked = not isinstance(failure, NoConnection) and (
                failure is None or failure.wish is None
            )
            if not (of_a_bot and outcome in _OF_BOTS and asked):
                self._limiter.learn(outcome, failure)
            if judged:
                self.telemetry.judged(*self._place, outcome)

        sent = self._now()
        try:
            answer = await ask(key, sent)
        except RequestFailed as failure:
            failure.seconds = self._time() - begun
            self.answered = self.answered or failure.status is not None
            ended(failure.outcome, failure)
            raise
        except Exception as error:  # noqa: BLE001 - no failed request ends the process
            ended(Outcome.INVALID)
            raise self._bug(error) from None
        self.answered = True
        if answer.odd:
            self.telemetry.drifted(*self._place, "answer", Drift(other=1))
        return Received(sent, self._time() - begun, answer, ended, self._bug)

    def _bug(self, error: Exception) -> RequestFailed:
        """Report an unexpected exception, and return the error for the caller."""
        self.telemetry.bug("answer", error, log, self._workspace.name)
        text = "rejected because of a bug in the exporter"
        return RequestFailed(Outcome.INVALID, text, cause=Cause.BUG)

    def _pause(
        self, failure: RequestFailed, tried: int, key_health: KeyHealth, key: str
    ) -> float | None:
        """The backoff before the next attempt in seconds; None for no retry.

        A rejected key is retried at once if it has been rotated since it was sent, and so is a
        request on a kept connection that has ended.
        """
        if failure.of_a_kept_connection and tried == 1:
            return 0.0
        if failure.outcome is not Outcome.UNAUTHORIZED:
            return pause(failure.outcome, tried, self._uniform, failure.status)
        rotated = failure.status != 403 and tried == 1 and key_health.changed_since(key)
        return 0.0 if rotated else None

    def _extra(self, outcome: Outcome, cost: Fraction = Fraction(1)) -> bool:
        """Pay for a request beyond the schedule; whether the retry budget was enough."""
        paid = self._retry_budget.spend(cost)
        if paid:
            self.telemetry.count(RETRIES, 1, *self._place, outcome.value)
        return paid

    def _tell_budget(self) -> None:
        remaining = self._limiter.budget.remaining(self._now())
        if remaining is not None:
            self.telemetry.set(BUDGET_REMAINING, remaining, *self._place)

    def _paused_until(self) -> float:
        """When the pause or the open breaker ends, as a Unix timestamp; 0 without either."""
        pause = self._limiter.pause
        return self._now().timestamp() + pause if pause else 0.0
