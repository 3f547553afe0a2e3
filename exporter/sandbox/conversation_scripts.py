"""Scripts of conversations, from which the database generates all messages.

The database multiplies the times of a script's lines by a conversation's pace. So generating a
message needs no Python code.
"""

from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """The lines of a conversation: (quarters of a pace since the start, sender), in order."""

    number: int
    kind: str
    lines: tuple[tuple[int, str], ...]

    def first(self, *senders: str) -> int | None:
        """The time at which one of `senders` first speaks, in quarters of a pace; None if never."""
        return next((after for after, sender in self.lines if sender in senders), None)


def _talk(rng: Random, turns: int) -> list[str]:
    senders = []
    for _ in range(turns):
        senders += ["CUSTOMER"] * rng.choice((1, 1, 1, 2)) + ["BOT"]
    return senders


def _live(rng: Random, turns: int) -> list[str]:
    senders = [*_talk(rng, rng.randint(1, 3)), "CUSTOMER", "SYSTEM"]
    for _ in range(turns):
        senders += ["AGENT"] * rng.choice((1, 1, 2)) + ["CUSTOMER"]
    return [*senders, "AGENT", "SYSTEM"]


def _script(rng: Random, number: int, kind: str, senders: list[str]) -> Script:
    after, lines = 0, []
    for sender in senders:
        lines.append((after, sender))
        after += rng.randint(1, 3) if sender == "CUSTOMER" else rng.randint(2, 9)
    return Script(number, kind, tuple(lines))


def _stock() -> dict[str, list[Script]]:
    rng = Random("scripts")  # noqa: S311 - made-up data, no secrets
    senders = {
        "talk": [_talk(rng, turns) for turns in (1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 9)],
        "live": [_live(rng, turns) for turns in (1, 2, 2, 3, 3, 4, 5, 6)],
        "unanswered": [["CUSTOMER"], ["CUSTOMER", "CUSTOMER"], ["CUSTOMER", "SYSTEM"]],
        "notice": [["BOT"], ["AGENT", "BOT"]],
    }
    numbers = count()
    return {
        kind: [_script(rng, next(numbers), kind, play) for play in plays]
        for kind, plays in senders.items()
    }


STOCK: Final = _stock()
"""The scripts by kind: a bot answers, an agent takes over, nobody answers, nobody asks."""
