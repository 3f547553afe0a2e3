"""The one way out to the API: what every request of a workspace passes through.

Top to bottom: the address, the key, the leave to send, the request, and whether to send it again.
Knows nothing of reports but whether an answer could be read.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from exporter.config import Workspace
from exporter.errors import NotSent, Outcome, ReplyError, RequestFailed
from exporter.metrics.telemetry import BUDGET_REMAINING, PAUSED_UNTIL, RETRIES, Telemetry
from exporter.model.values import Drift
from exporter.upstream.answer import Answer
from exporter.upstream.circuit_breaker import PROBE_EVERY
from exporter.upstream.client import Client
from exporter.upstream.key_file import KeyAtHand
from exporter.upstream.key_health import Credential
from exporter.upstream.limiter import Standing, Terms
from exporter.upstream.retries import ATTEMPTS, SHARE, Credit, Uniform, pause
from exporter.upstream.shared_keys import Keyring

_USES: Final = ("reports", "bots")
"""What keys are used for: each wants a scope of its own, even if the key is the same."""

LONGEST_SLEEP: Final = 60.0
"""Seconds that anything sleeps at most, so that a clock that was set is soon noticed."""

LOOK_AGAIN: Final = 1.0
"""Seconds after which a request that waits for its turn looks at the key file once more."""

_SHORTEST_SLEEP: Final = 0.001
"""And at least: less than a clock can tell apart would be waited for again and again."""

log = logging.getLogger(__name__)

Read = Callable[[Any, float], bool]
"""Takes an answer and the seconds it took; whether anything of it could be read."""

Prepare = Callable[[object], object]
"""Makes of an answer what `Read` takes: pure, as a large one is prepared beside the event loop."""

_ReadAnswer = Callable[[Answer, float], Awaitable[bool]]

Ask = Callable[[str], Awaitable[Answer]]
"""Sends a request with a key."""


def as_it_is(answer: object) -> object:
    """The answer itself."""
    return answer


class Gate:
    """Sends the requests of one workspace.

    Args:
        workspace: What it may spend, and with which keys.
        client: Where to.
        telemetry: Takes the counts.
        now: The present as an aware instant; durations come from the event loop's clock.
        standing: What an earlier life remembered.
        uniform: A random number between two bounds.
        keyring: What is known of the keys, shared with those that may use the same.

    Attributes:
        answered: Whether the API has answered anything yet.
    """

    def __init__(
        self,
        workspace: Workspace,
        client: Client,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        standing: Standing = Standing(),  # noqa: B008 - immutable
        uniform: Uniform = random.uniform,
        keyring: Keyring | None = None,
    ) -> None:
        self.answered = False
        self._workspace = workspace
        self._place = (workspace.api, workspace.name)
        self._client = client
        self._telemetry = telemetry
        self._now = now
        self._time = asyncio.get_running_loop().time
        self._uniform = uniform

        self._url, self._other = workspace.url, workspace.other_url
        if self._other and standing.url == self._other:
            self._url, self._other = self._other, self._url
        self._settled = not self._other
        self._finding_out = asyncio.Lock()

        rest = min(workspace.interval.total_seconds(), PROBE_EVERY)
        self._keyring = keyring or Keyring(secrets.token_bytes(32))
        self._host = urlsplit(workspace.url).netloc.lower()
        known = {use: partial(self._keyring.judgement, self._host, use) for use in _USES}
        keys = KeyAtHand(workspace.key), KeyAtHand(workspace.bots_key)
        self._key = Credential(keys[0], rest, known["reports"], workspace.name)
        # Even if it is the same: the list of bots wants another scope than the reports.
        self._bots_key = Credential(keys[1], rest, known["bots"], workspace.name)
        self._at_hand = dict(zip((self._key, self._bots_key), keys, strict=True))
        self._one_key = workspace.bots_key == workspace.key

        self._line = asyncio.Lock()
        self._terms = Terms(workspace, standing, self._time, now, uniform)
        self._credit = Credit(standing.owed)
        self._recalled = standing.not_before is not None
        self._paused_key = standing.paused_key
        for use, mark, until in standing.resting:
            if use in _USES and not self._keyring.knows(mark):
                credential = self._key if use == "reports" else self._bots_key
                credential.rest(self._terms.resting(until))

    def begin(self) -> None:
        """Let what is told of the workspace be there from the start."""
        self._telemetry.begin(self._workspace, self._now)
        self._telemetry.follow(PAUSED_UNTIL, self._paused_until, *self._place)
        self._tell_budget()

    def retire(self, telemetry: Telemetry) -> None:
        """Tell what still comes elsewhere."""
        self._telemetry = telemetry

    @property
    def requests_today(self) -> int:
        """How many requests were sent on the workspace's day."""
        return self._terms.budget.spent(self._now())

    @property
    def standing(self) -> Standing:
        """What a later life must remember."""
        found = self._terms.standing("" if self._url == self._workspace.url else self._url)
        return replace(
            found,
            paused_key=self._paused_key if found.not_before else "",
            resting=tuple(
                (use, mark, self._terms.instant(until)) for use, mark, until in self._resting
            ),
            owed=self._credit.owed,
        )

    @property
    def _resting(self) -> Iterator[tuple[str, str, float]]:
        """The uses and marks of the keys that rest, and until when."""
        at = self._time()
        # Its own keys alone: a later life can tell none from another's by its mark.
        for use, credential in zip(_USES, (self._key, self._bots_key), strict=True):
            if until := credential.rests_until(at):
                yield use, self._mark(credential), until

    def _mark(self, credential: Credential) -> str:
        """The mark of a key; empty where none could be read yet."""
        with suppress(RequestFailed):
            return self._keyring.mark(self._at_hand[credential].read())
        return ""

    @property
    def waits(self) -> object:
        """Another value whenever the API is to be asked less for another while."""
        resting = tuple(until for *_, until in self._resting)
        return (self._terms.waits, resting, int(self._credit.owed))

    async def report(
        self,
        body: Callable[[], Mapping[str, object]],
        read: Read,
        about: str = "",
        prepare: Prepare = as_it_is,
    ) -> None:
        """Send a request for reports and let its answer be read.

        Args:
            body: What to ask, once the request may be sent: dates may have changed by then.
            read: Reads the answer.
            about: The id of the bot that it is about; empty for the workspace.
            prepare: Makes of the answer what is read.

        Raises:
            RequestFailed: If there is no answer that can be used.
        """

        async def ask(url: str, tried: int = 0) -> None:
            await self._ask(
                self._key,
                lambda key: self._client.report(url, body(), key),
                partial(self._read, read, prepare),
                about,
                tried,
            )
            self._url, self._settled = url, True

        # While nobody knows which of two paths is right, one at a time finds out for all.
        async with nullcontext() if self._settled else self._finding_out:
            try:
                await ask(self._url)
            except RequestFailed as failure:
                other, missing = self._other, failure.status in {404, 405}
                if not (missing and other and self._extra(failure.outcome)):
                    raise
                self._other = ""  # tried once in the life of the process
                try:
                    await ask(other, tried=ATTEMPTS - 1)
                except RequestFailed as again:
                    if again.status not in {404, 405} or not again.own:
                        self._other = other  # but not as long as that has shown nothing
                    raise
                log.info("other path", extra={"workspace": self._workspace.name, "url": other})

    def early(self, outcome: Outcome) -> bool:
        """Pay for a turn before the regular one, as the last ended so; whether there may be one."""
        return self._extra(outcome, 1 + SHARE)  # a turn, so it will earn a share

    async def bots(self, offset: int, read: Read) -> None:
        """Ask for a page of the list of bots and let it be read.

        Raises:
            RequestFailed: If there is no answer that can be used.
            ReplyError: If it cannot be read.
        """
        await self._ask(
            self._bots_key,
            lambda key: self._client.bots(offset, key),
            partial(self._read, read, as_it_is),
        )

    async def _read(self, read: Read, prepare: Prepare, answer: Answer, took: float) -> bool:
        """Whether anything of an answer could be read."""
        if answer.odd:
            self._telemetry.drifted(self._workspace.api, "answer", Drift(other=1))
        content = answer.content
        made = await asyncio.to_thread(prepare, content) if answer.large else prepare(content)
        return read(made, took)

    async def _ask(
        self, credential: Credential, ask: Ask, read: _ReadAnswer, about: str = "", tried: int = 0
    ) -> None:
        """One request, sent again as long as that is of use and within the bounds."""
        failed: RequestFailed | None = None
        while True:
            try:
                key = await self._leave(credential)
            except NotSent as refusal:
                raise failed or refusal from None
            if tried == 0:
                self._credit.earn()
            tried += 1
            try:
                # With a key of its own, the list of bots says nothing of the other one.
                judged = self._one_key or credential is self._key
                await self._told(key, self._send(ask(key), read, judged=judged))
            except RequestFailed as failure:
                if failure.outcome is Outcome.UNAUTHORIZED:
                    sent = self._time() - failure.seconds
                    credential.rejected(key, sent, str(failure), about)
                    self._keyring.pause(self._host, key).doubt()
                    await self._at_hand[credential].look()  # it may have been rotated meanwhile
                wait = self._pause(failure, tried, credential, key)
                if wait is None or self._terms.refusal() or not self._extra(failure.outcome):
                    raise
                failed = failure
            else:
                credential.accepted(key, about)
                return
            await asyncio.sleep(wait)

    async def _told(self, key: str, sent: Awaitable[None]) -> None:
        """One request, of whose end all hear that use its key.

        Raises:
            RequestFailed: If there is no answer that can be used.
        """
        pause = self._keyring.pause(self._host, key)
        try:
            try:
                await sent
            finally:
                self._paused_key = self._keyring.mark(key)
                pause.ended(self._terms.parked_until, self._time())
        except asyncio.CancelledError:
            pause.doubt()  # nobody knows what the API would have said
            raise

    def _usable(self, credential: Credential) -> str:
        """The key to send.

        Raises:
            NotSent: If there is none, or it was rejected.
        """
        try:
            key = credential.usable(self._time())
        except NotSent as failure:
            if credential is self._key:
                self._telemetry.judged(*self._place, failure.outcome)
            raise
        pause = self._keyring.pause(self._host, key)
        if self._recalled:
            self._recalled = False
            known = self._keyring.knows(self._paused_key)
            if not known or self._paused_key == self._keyring.mark(key):
                pause.recalled(self._terms.parked_until, self._time())
        self._terms.share(pause)
        return key

    async def _leave(self, credential: Credential) -> str:
        """Wait until one more request may be sent, and spend it; the key to send it with.

        Raises:
            NotSent: If there is no key, it was rejected, or the wait would be too long.
        """
        behind = self._line.locked()
        await self._at_hand[credential].look()
        looked = self._time()
        self._usable(credential)
        refusal = self._terms.refusal(behind=behind)
        if refusal:
            raise refusal
        async with self._line:  # first come, first served
            while True:
                if self._time() - looked > LOOK_AGAIN:
                    await self._at_hand[credential].look()
                    looked = self._time()
                key = self._usable(credential)  # once more: who is before may have it rejected
                wait = self._terms.take(behind=behind)
                if not wait:
                    break
                await asyncio.sleep(min(max(wait, _SHORTEST_SLEEP), LONGEST_SLEEP))
        self._tell_budget()
        return key

    async def _send(self, answer: Awaitable[Answer], read: _ReadAnswer, *, judged: bool) -> None:
        """One request: sent, read, counted and learned from.

        Args:
            answer: What it brings.
            read: Reads that.
            judged: Whether it says something of the workspace and of the key for reports.
        """
        begun = self._time()
        outcome: Outcome | None = None  # of a request that was called off, nothing is known
        wish, fault = None, False
        try:
            content = await answer
            self.answered = True
            took = self._time() - begun
            outcome = Outcome.SUCCESS if await read(content, took) else Outcome.INVALID
        except RequestFailed as failure:
            failure.seconds = self._time() - begun
            outcome, wish, fault = failure.outcome, failure.wish, failure.fault
            self.answered = self.answered or failure.status is not None
            raise
        except ReplyError:
            outcome = Outcome.INVALID
            raise
        except Exception as error:  # noqa: BLE001
            # Whatever an answer leads to, the process goes on, and so do the values from before.
            outcome = Outcome.INVALID
            self._telemetry.bug("answer", error)
            raise RequestFailed(outcome, "refused because of a bug in the exporter") from None
        finally:
            if outcome:
                self._telemetry.requested(*self._place, outcome, self._time() - begun)
                self._terms.learn(outcome, wish, fault=fault)
            if outcome and judged:
                self._telemetry.judged(*self._place, outcome)

    def _pause(
        self, failure: RequestFailed, tried: int, credential: Credential, key: str
    ) -> float | None:
        """Seconds until the same is asked again, None where that is of no use."""
        if failure.outcome is not Outcome.UNAUTHORIZED:
            return pause(failure.outcome, tried, self._uniform, failure.status)
        rotated = failure.status != 403 and tried == 1 and credential.changed_since(key)
        return 0.0 if rotated else None

    def _extra(self, outcome: Outcome, cost: Fraction = Fraction(1)) -> bool:
        """Pay for a request beyond the schedule; whether there may be one."""
        paid = self._credit.spend(cost)
        if paid:
            self._telemetry.count(RETRIES, 1, *self._place, outcome.value)
        return paid

    def _tell_budget(self) -> None:
        remaining = self._terms.budget.remaining(self._now())
        if remaining is not None:
            self._telemetry.set(BUDGET_REMAINING, remaining, *self._place)

    def _paused_until(self) -> float:
        """When the API is asked again, in Unix time; 0 where nothing keeps it from being asked."""
        pause = self._terms.pause
        return self._now().timestamp() + pause if pause else 0.0
