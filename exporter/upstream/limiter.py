"""The rate limiter of a workspace: it decides when the next request may be sent. Pure.

A request must pass every one of these:

1. the pause that the API requested (Retry-After), for this workspace or for its key;
2. the circuit breaker;
3. the wait for another workspace that tries the same key first;
4. the request budget: the token bucket and the limit per day.

The longest of the first three waits counts. The budget comes last because it alone is spent: a
request that something else holds back must not take a token.

A request either waits or fails at once. It always waits for a token. It waits for the end of a
pause, or for the next day's budget, only if that comes within the request timeout. Otherwise a
workspace whose requests all wait would look healthy.

While the breaker is open, only the first request in the line waits, to become the next probe. Those
behind it fail. If the first one failed too, a workspace with few requests might have none to probe
with.

Each result changes the next decision. Failures count towards the breaker, a 429 slows the bucket
down and starts a pause, and a success speeds the bucket up again.

Durations use the monotonic clock, so a change of the system clock cannot shorten or extend a wait.
Instants of the system clock appear only in messages, in metrics and in the state file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from exporter.config import Workspace
from exporter.errors import Cause, NotSent, Outcome, RequestFailed
from exporter.upstream.circuit_breaker import PROBE_EVERY, CircuitBreaker
from exporter.upstream.request_budget import CAPACITY, RequestBudget
from exporter.upstream.retries import Uniform
from exporter.upstream.retry_after import LONGEST, RequestedPause
from exporter.upstream.shared_keys import SharedPause


@dataclass(frozen=True, slots=True)
class SenderState:
    """The sender's state that survives a restart or a reload.

    Attributes:
        not_before: When the pause that the API requested ends; None without a pause.
        open_until: When the open breaker lets the next probe through; None while it is closed.
        day: The local day whose requests are counted; None before the first request.
        spent: The requests sent on that day.
        url: The URL that answered, if it is not the default one; else empty.
        paused_key: The mark of the key that was sent before the pause, see `SharedKeys.mark`.
        resting: For each rejected key its use, its mark, and when its rest ends. The keys
            themselves are not kept, and a mark says nothing in another process.
        owed: The spent part of the retry budget, in requests.
    """

    not_before: datetime | None = None
    open_until: datetime | None = None
    day: date | None = None
    spent: int = 0
    url: str = ""
    paused_key: str = ""
    resting: tuple[tuple[str, str, datetime], ...] = ()
    owed: float = 0.0


_BROKEN: Final = frozenset({Outcome.CONNECT, Outcome.TIMEOUT, Outcome.SERVER_ERROR})


class Limiter:
    """Decides when the next request of a workspace may be sent, and learns from each result.

    A request is `behind` if another one was in the line when it joined.

    Args:
        workspace: The workspace, with its limits and its request timeout.
        standing: The state from before a restart or a reload.
        time: The monotonic clock, in seconds.
        now: The present as an aware instant.
        uniform: The source of randomness.

    Attributes:
        budget: The request budget.
    """

    def __init__(
        self,
        workspace: Workspace,
        standing: SenderState,
        time: Callable[[], float],
        now: Callable[[], datetime],
        uniform: Uniform,
    ) -> None:
        self._time = time
        self._now = now
        self._timeout = workspace.timeout.total_seconds()
        shard = workspace.shard
        self.budget = RequestBudget(
            shard.pace(workspace.requests_per_minute, workspace.requests_per_day),
            workspace.own_per_day,
            workspace.zone,
            time(),
            standing.day,
            standing.spent,
            max(1, shard.part(CAPACITY)),
            by_day=not shard.alone,
        )
        parked = self._ahead(standing.not_before, LONGEST)
        self._requested_pause = RequestedPause(time() if parked is None else parked, uniform)
        self._breaker = CircuitBreaker(self._timeout, self._ahead(standing.open_until, PROBE_EVERY))
        # A request that is held back has the cause of those that made it so.
        self._parked_by, self._opened_by = Cause.RATE_LIMITED, Cause.SERVER_ERROR
        self._name = workspace.name
        self._shared = SharedPause()

    def share(self, pause: SharedPause) -> None:
        """Apply the pause of the key that the next request uses."""
        self._shared = pause
        self._requested_pause.heed(pause.until)

    def take(self, *, behind: bool) -> float:
        """Spend one request and return 0, or return the seconds to wait if none is allowed yet.

        Raises:
            NotSent: If the request must not wait, see `refusal`.
        """
        refusal = self.refusal(behind=behind)
        if refusal:
            raise refusal
        at = self._time()
        wait = max(
            self._requested_pause.wait(at),
            self._breaker.wait(at),
            self._shared.wait(self._name, at),
        ) or self.budget.take(at, self._now())
        if not wait:
            self._breaker.sent(at)
            self._shared.sent(self._name, at)
        return wait

    def refusal(self, *, behind: bool = True) -> NotSent | None:
        """The reason why a request must fail instead of waiting; None if it may wait."""
        at = self._time()
        if self._requested_pause.wait(at) > self._timeout:
            text = f"paused until {self._shown(self._requested_pause.until)} as the API asked"
            return NotSent(Outcome.RATE_LIMITED, text, cause=self._parked_by)
        now = self._now()
        tomorrow = self.budget.until_tomorrow(now)
        if tomorrow > self._timeout:
            until = now + timedelta(seconds=tomorrow)
            text = f"daily request limit reached; next request at {until:%Y-%m-%d %H:%M:%S} UTC"
            return NotSent(Outcome.RATE_LIMITED, text, cause=Cause.BUDGET_SPENT)
        if behind and self._breaker.wait(at):
            text = f"circuit breaker open; next probe at {self._shown(self._breaker.probe_at)}"
            return NotSent(Outcome.SERVER_ERROR, text, cause=self._opened_by)
        return None

    def learn(self, outcome: Outcome, failure: RequestFailed | None = None) -> None:
        """Adjust breaker, budget and pause to the result of a request.

        Args:
            outcome: How the request ended.
            failure: Its failure, with the pause that the API requested; None if it was answered.
        """
        at, wish = self._time(), failure.wish if failure else None
        failed = outcome in _BROKEN or (failure is not None and failure.fault)
        self._breaker.ended(at, failed=failed)
        if failure and failed:
            self._opened_by = failure.cause
        if failure and (wish is not None or outcome is Outcome.RATE_LIMITED):
            self._parked_by = failure.cause
        if outcome is Outcome.SUCCESS:
            self._parked_by = Cause.RATE_LIMITED
            self._requested_pause.succeeded()
            self.budget.speed_up(at)
        elif outcome is Outcome.RATE_LIMITED:
            self.budget.slow_down(at)
            self._requested_pause.park(at, wish)
        elif wish is not None:
            self._requested_pause.park(at, wish)

    @property
    def waits(self) -> tuple[float, float | None]:
        """When the pause ends and when the next probe is due; changes whenever either changes.

        Both are on the monotonic clock. The instants of `standing` are unfit for this comparison:
        each is computed from two clocks, so it differs slightly at each call.
        """
        return self._requested_pause.until, self._breaker.probe_at

    @property
    def parked_until(self) -> float:
        """When the pause that the API requested ends, on the monotonic clock in seconds."""
        return self._requested_pause.until

    @property
    def paused_until(self) -> datetime | None:
        """When the pause ends that the API requested; None without one."""
        at, until = self._time(), self._requested_pause.until
        return self.instant(until) if self._requested_pause.wait(at) else None

    @property
    def probe_at(self) -> datetime | None:
        """When the open breaker lets the next probe through; None while it is closed."""
        return self._instant(self._breaker.probe_at)

    @property
    def pause(self) -> float:
        """Seconds until the pause and the breaker let a request through; 0 if they do now."""
        at = self._time()
        return max(self._requested_pause.wait(at), self._breaker.wait(at))

    @property
    def standing(self) -> SenderState:
        """The state to keep over a restart or a reload; the sender adds its own fields."""
        spent = self.budget.spent(self._now())
        return SenderState(
            not_before=self.paused_until,
            open_until=self.probe_at,
            day=self.budget.day,
            spent=spent,
        )

    def _ahead(self, instant: datetime | None, most: float) -> float | None:
        """An instant on the monotonic clock, from now to at most `most` seconds ahead."""
        if instant is None:
            return None
        return self._time() + min(max((instant - self._now()).total_seconds(), 0.0), most)

    def resting(self, until: datetime) -> float:
        """When the rest of a key from before a restart ends, on the monotonic clock in seconds."""
        return self._ahead(until, PROBE_EVERY) or 0.0

    def instant(self, at: float) -> datetime:
        """A time of the monotonic clock as an aware instant."""
        return self._now() + timedelta(seconds=at - self._time())

    def _instant(self, at: float | None) -> datetime | None:
        return None if at is None else self.instant(at)

    def _shown(self, at: float | None) -> str:
        return f"{self._instant(at):%Y-%m-%d %H:%M:%S} UTC"
