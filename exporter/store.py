"""The latest values of each report of each target, and how long they may be shown. Pure."""

from collections import Counter
from collections.abc import Iterator, Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from exporter.contract import Entry
from exporter.plan import Target
from exporter.samples import Sample


class Key(NamedTuple):
    """What is kept: one report of one target, or facts about the target itself.

    Attributes:
        target: The workspace or bot.
        report: The value of the label `report`; empty where it is no report's.
        window: The value of the label `window`.
    """

    target: Target
    report: str
    window: str

    @classmethod
    def of(cls, target: Target, entry: Entry) -> "Key":
        """The key of an entry of a target."""
        return cls(target, entry.name, entry.window)


@dataclass(slots=True)
class Record:
    """What is known of one report of one target.

    Attributes:
        interval_seconds: The interval in force.
        success: Whether the last try brought values.
        duration_seconds: How long the last try's request took.
        last_success: When values last came, None if never.
        samples: Those values.
        expires: From when on they must not be shown, None if there are none.
        error: Why the last try brought nothing, in words of ours; empty if it did.
    """

    interval_seconds: float
    success: bool = False
    duration_seconds: float = 0.0
    last_success: datetime | None = None
    samples: tuple[Sample, ...] = ()
    expires: datetime | None = None
    error: str = ""

    def shown(self, now: datetime) -> tuple[Sample, ...]:
        """The values that are still true at an instant."""
        return self.samples if self.expires and now < self.expires else ()


class Store:
    """Records by key, in the order in which they first came."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        self._sizes: Counter[str] = Counter()

    def succeed(self, key: Key, record: Record) -> None:
        """Replace a report's values, so that what the answer no longer names is gone."""
        self._forget_values(key)
        self._records[key] = record
        if key.report:
            self._sizes[key.target.workspace] += len(record.samples)

    def fail(
        self, key: Key, error: str, *, duration_seconds: float, interval_seconds: float
    ) -> None:
        """Note a try that brought nothing; values from before stay until they expire."""
        record = self._records.setdefault(key, Record(interval_seconds))
        record.success = False
        record.error = error
        record.duration_seconds = duration_seconds
        record.interval_seconds = interval_seconds

    def keep(self, keys: AbstractSet[Key], workspace: str) -> None:
        """Forget every record of a workspace but these."""
        for key in [key for key in self._records if key.target.workspace == workspace]:
            if key not in keys:
                self._forget_values(key)
                del self._records[key]

    def withdraw(self, key: Key) -> None:
        """Forget a report's values; when they last came is still known."""
        self._forget_values(key)

    def expire(self, now: datetime) -> None:
        """Forget the values that must no longer be shown."""
        for key, record in self._records.items():
            if record.samples and not record.shown(now):
                self._forget_values(key)

    def series(self, workspace: str, but: Key) -> int:
        """How many values of a workspace's reports are kept, without those of one key."""
        record = self._records.get(but)
        return self._sizes[workspace] - (len(record.samples) if record else 0)

    def _forget_values(self, key: Key) -> None:
        record = self._records.get(key)
        if record:
            if key.report:
                self._sizes[key.target.workspace] -= len(record.samples)
            record.samples = ()

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        """Every record with its key."""
        return iter(self._records.items())

    def next_expiry(self, now: datetime) -> datetime | None:
        """The first instant after this one at which a value must go."""
        return min(
            (
                record.expires
                for record in self._records.values()
                if record.expires and record.samples and record.expires > now
            ),
            default=None,
        )
