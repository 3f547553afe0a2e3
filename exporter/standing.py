"""How a workspace stands with the API: what must outlive a process, so that the next asks no more. Pure."""

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What the gate of one workspace remembers over a restart or a reload.

    Attributes:
        not_before: Nothing is sent before this instant, as the API asked; None for no such wish.
        open_until: The breaker lets nothing through before this instant; None while it is closed.
        day: The local day whose requests are counted; None before the first.
        spent: How many were sent on it.
        url: The address that answered, where it is not the usual one; else empty.
        paused_key: The mark of the key that was sent before the pause, see `Keyring.mark`.
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
