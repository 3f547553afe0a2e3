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
    """

    not_before: datetime | None = None
    open_until: datetime | None = None
    day: date | None = None
    spent: int = 0
    url: str = ""
