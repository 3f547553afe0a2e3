"""When a workspace may ask the API: its budget, the pause that the API asked for, the breaker. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from exporter.config import Workspace
from exporter.errors import NotSent, Outcome
from exporter.upstream.budget import RequestBudget
from exporter.upstream.circuit_breaker import PROBE_EVERY, CircuitBreaker
from exporter.upstream.retries import Uniform
from exporter.upstream.retry_after import LONGEST, RequestedPause
from exporter.upstream.shared_keys import SharedPause


@dataclass(frozen=True, slots=True)
class SenderState:
    """What the gate of one workspace remembers over a restart or a reload.

    Attributes:
        not_before: Nothing is sent before this instant, as the API asked; None for no such wish.
        open_until: The breaker lets nothing through before this instant; None while it is closed.
        day: The local day whose requests are counted; None before the first.
        spent: How many were sent on it.
        url: The address that answered, where it is not the usual one; else empty.
        paused_key: The mark of the key that was sent before the pause, see `SharedKeys.mark`.
        resting: The uses of rejected keys, their marks, and until when each is not sent. Of the
            keys themselves nothing is kept, not even what would tell them apart another day.
        owed: How much of the credit for requests beyond the schedule is spent.
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
    """Says when the next request of a workspace may be sent, and learns from how each ends.

    Durations are of the monotonic clock, so that no setting of the other changes them; instants
    are for people and for the next process.

    Args:
        workspace: What it may spend.
        standing: What is known from before.
        time: The monotonic clock, in seconds.
        now: The present as an aware instant.
        uniform: The source of randomness.

    Attributes:
        budget: What is spent.
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
        self.budget = RequestBudget(
            workspace.requests_per_minute,
            workspace.requests_per_day,
            workspace.zone,
            time(),
            standing.day,
            standing.spent,
        )
        parked = self._ahead(standing.not_before, LONGEST)
        self._parking = RequestedPause(time() if parked is None else parked, uniform)
        self._breaker = CircuitBreaker(self._timeout, self._ahead(standing.open_until, PROBE_EVERY))
        self._name = workspace.name
        self._shared = SharedPause()

    def share(self, pause: SharedPause) -> None:
        """Let the next request heed what others were told of its key."""
        self._shared = pause
        self._parking.heed(pause.until)

    def take(self, *, behind: bool) -> float:
        """Spend one request if that is allowed; else how many seconds until it may be.

        Args:
            behind: Whether another was before it in the line.

        Raises:
            NotSent: If the API wants or brings nothing for longer than a request may take, or may
                not be asked for so long.
        """
        refusal = self.refusal(behind=behind)
        if refusal:
            raise refusal
        at = self._time()
        wait = max(
            self._parking.wait(at), self._breaker.wait(at), self._shared.wait(self._name, at)
        ) or self.budget.take(at, self._now())
        if not wait:
            self._breaker.sent(at)
            self._shared.sent(self._name, at)
        return wait

    def refusal(self, *, behind: bool = True) -> NotSent | None:
        """Why a request is not to wait for its turn, None where it is.

        Who waits in a line looks healthy: whatever would wait for long has failed. One request
        waits to be the next probe, so that none of a few is never it.
        """
        at = self._time()
        if self._parking.wait(at) > self._timeout:
            text = f"paused until {self._shown(self._parking.until)} as the API asked"
            return NotSent(Outcome.RATE_LIMITED, text)
        now = self._now()
        tomorrow = self.budget.until_tomorrow(now)
        if tomorrow > self._timeout:
            until = now + timedelta(seconds=tomorrow)
            text = f"the day's budget is spent; asked again at {until:%Y-%m-%d %H:%M:%S} UTC"
            return NotSent(Outcome.RATE_LIMITED, text)
        if behind and self._breaker.wait(at):
            text = f"the API fails; asked again at {self._shown(self._breaker.probe_at)}"
            return NotSent(Outcome.SERVER_ERROR, text)
        return None

    def learn(self, outcome: Outcome, wish: float | None, *, fault: bool = False) -> None:
        """Let the end of a request decide how the next are sent.

        Args:
            outcome: How it ended.
            wish: The seconds for which the API asks to be left alone, None if it does not.
            fault: Whether the breaker counts it, whatever the outcome.
        """
        at = self._time()
        self._breaker.ended(at, failed=fault or outcome in _BROKEN)
        if outcome is Outcome.SUCCESS:
            self._parking.succeeded()
            self.budget.speed_up(at)
        elif outcome is Outcome.RATE_LIMITED:
            self.budget.slow_down(at)
            self._parking.park(at, wish)
        elif wish is not None:
            self._parking.park(at, wish)

    @property
    def waits(self) -> tuple[float, float | None]:
        """Until when the API wants nothing, and when it is probed: another value is other news.

        On the monotonic clock: the instants of `standing` differ a little whenever they are asked
        for, as two clocks are read for each.
        """
        return self._parking.until, self._breaker.probe_at

    @property
    def parked_until(self) -> float:
        """Until when the API wants nothing, on the monotonic clock."""
        return self._parking.until

    @property
    def pause(self) -> float:
        """Seconds until the API is asked again; 0 where nothing keeps it from being asked."""
        at, probe = self._time(), self._breaker.probe_at
        return max(self._parking.wait(at), probe - at if probe else 0.0, 0.0)

    def standing(self, url: str) -> SenderState:
        """What the next process must know; `url` is the address that answered, if unusual."""
        spent, parked = self.budget.spent(self._now()), self._parking.wait(self._time()) > 0
        return SenderState(
            not_before=self._instant(self._parking.until) if parked else None,
            open_until=self._instant(self._breaker.probe_at),
            day=self.budget.day,
            spent=spent,
            url=url,
        )

    def _ahead(self, instant: datetime | None, most: float) -> float | None:
        """An instant on the monotonic clock, no further ahead than some seconds."""
        if instant is None:
            return None
        return self._time() + min(max((instant - self._now()).total_seconds(), 0.0), most)

    def resting(self, until: datetime) -> float:
        """Until when a key rests that was rejected in an earlier life, on the monotonic clock."""
        return self._ahead(until, PROBE_EVERY) or 0.0

    def instant(self, at: float) -> datetime:
        """A time of the monotonic clock as an instant."""
        return self._now() + timedelta(seconds=at - self._time())

    def _instant(self, at: float | None) -> datetime | None:
        return None if at is None else self.instant(at)

    def _shown(self, at: float | None) -> str:
        return f"{self._instant(at):%Y-%m-%d %H:%M:%S} UTC"
