"""Which of several instances polls what, and how much of each limit it has. Pure.

Shard `index/count` owns a target, a workspace or a bot, if a hash of the target says so. Nothing is
agreed between instances: each computes the same answer from the names alone. The hash is jump
consistent hashing (Lamping and Veach, 2014), which has one law that matters here:

    From `count` to `count + 1`, a target stays where it is or moves to the new shard.

While the count changes, instances with different counts run side by side. Let the rule be that no
instance runs whose index is beyond the count of another one that runs. Then two things follow:

1. No target has two owners. Take two instances that both claim it, the counts `m <= n`. The law says
   that its owner among `n` is its owner among `m`, or has an index of at least `m`, which the rule
   forbids. So both instances have the same index.
2. The shares of a limit add up to no more than the limit. Each index exists once and is below the
   smallest count `m`, so there are at most `m` instances, and each has at most the `m`th part.

So to add shards, restart the old ones with the new count and then start the new ones. To remove some,
stop them and then restart the others. `docs/shards.md` shows who keeps the rule where.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from math import ceil
from typing import Final, Self

MOST: Final = 1000
"""The largest number of shards."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several instances that share the targets and the limits of all workspaces.

    Attributes:
        index: Its number, from 0.
        count: How many shards there are.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The shard that a text like `0/3` means.

        Raises:
            ValueError: If it means none.
        """
        found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not index < count <= MOST:
            raise ValueError("must be i/n")
        return cls(index, count)

    def __str__(self) -> str:
        """The shard as on the command line."""
        return f"{self.index}/{self.count}"

    @property
    def alone(self) -> bool:
        """Whether it is the only one, which owns everything."""
        return self.count == 1

    def owns(self, workspace: str, bot_id: str = "") -> bool:
        """Whether it owns a bot, or with an empty id the reports about the workspace as a whole."""
        if self.alone:
            return True
        # Not the digest of the phases: each shard's targets must be spread over the interval.
        digest = blake2b(f"{bot_id}|{workspace}".encode(), digest_size=8, person=b"shard").digest()
        return _jump(int.from_bytes(digest), self.count) == self.index

    def part(self, whole: int) -> int:
        """Its share of a limit, rounded down."""
        return whole // self.count

    def per_day(self, whole: int) -> int:
        """Its share of a limit per local day.

        It is a 25th smaller than the part, so that it may be spread evenly over the day without
        exceeding the part on a local day of 25 hours; see `pace`.
        """
        return whole if self.alone else 24 * whole // (25 * self.count)

    def whole_day(self, part: int) -> int:
        """The lowest limit per local day of which each shard has at least so large a share."""
        return part if self.alone else ceil(Fraction(25 * self.count * part, 24))

    def pace(self, per_minute: int, per_day: int | None) -> Fraction:
        """Its requests per minute.

        Without other shards, the limit per day is a count that a restart remembers. That is not enough
        when the number of shards changes during a day: a new shard does not know what the others have
        spent. So each shard spreads its share over the day, and rates add up at any instant.
        """
        rate = Fraction(per_minute, self.count)
        if self.alone or per_day is None:
            return rate
        return min(rate, Fraction(self.per_day(per_day), 24 * 60))


WHOLE: Final = Shard()
"""The only shard, without `--shard`."""


def _jump(key: int, count: int) -> int:
    """The bucket of a 64-bit key among so many, by jump consistent hashing in whole numbers."""
    bucket, following = 0, 0
    while following < count:
        bucket = following
        key = (key * 2862933555777941757 + 1) % 2**64
        following = (bucket + 1) * 2**31 // ((key >> 33) + 1)
    return bucket
