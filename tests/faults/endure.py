"""The long run, and the table that it makes: a line for each goal with its figure."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from statistics import linear_regression, median
from typing import Final

from faults import campaign, judges, processes
from faults.campaign import Figures, Plan
from faults.kinds import KINDS
from faults.processes import STATES, Deaths

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: begin -->\n"
END: Final = "<!-- figures: end -->\n"

_WORKERS: Final = 2
_A_DAY: Final = 2500  # about as many faults come of a virtual day at the share below
_SHARE: Final = 0.7
_KILLS_AT_ONCE: Final = 25
_RETRIED_ROWS: Final = tuple(
    name for name in KINDS if name.startswith(("U06 reset b", "U18 server"))
)


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of a goal.

    Attributes:
        goal: Its number.
        what: What is promised.
        figure: What was measured.
        met: Whether it holds.
    """

    goal: str
    what: str
    figure: str
    met: bool

    def __str__(self) -> str:
        """As a row of the table."""
        return f"| {self.goal} | {self.what} | {self.figure} | {'yes' if self.met else '**no**'} |"


@dataclass(frozen=True, slots=True)
class Found:
    """What all of it brought.

    Attributes:
        days: Of faults for everybody.
        victim: Of faults for one bot.
        soak: Of a few faults, for weeks.
        planned: Requests of some hours without a fault.
        storms: The same hours by the share that failed.
        kills: By the condition of the state file.
        terms: Of clean ends.
    """

    days: Figures
    victim: Figures
    soak: Figures
    planned: int
    storms: dict[float, int]
    kills: dict[str, Deaths]
    terms: Deaths


def measured(faults: int, days: int, kills: int, terms: int) -> Found:
    """Everything, on two processors."""
    chunks = max(1, round(faults / _A_DAY))
    storm = {
        share: Plan(hours=4, share=share, only=_RETRIED_ROWS, scrape=3600, outages=0, leaks=False)
        for share in (0.0, 0.05, 0.3, 0.5, 1.0)
    }
    with ProcessPoolExecutor(_WORKERS, max_tasks_per_child=1) as pool:
        soak = pool.submit(
            campaign.run,
            Plan(hours=24.0 * days, share=0.05, scrape=600, most=2000, leaks=False),
        )
        victim = pool.submit(
            campaign.run,
            Plan(hours=24.0 * days, share=1.0, victim="b0", scrape=600, leaks=False),
        )
        struck = [
            pool.submit(campaign.run, Plan(seed=seed, hours=24, share=_SHARE))
            for seed in range(1, chunks + 1)
        ]
        storms = {share: pool.submit(campaign.run, plan) for share, plan in storm.items()}
        dead = {
            how: [
                pool.submit(processes.kills, size, how, state=True, seed=seed)
                for seed, size in enumerate(_shares(kills // len(STATES)))
            ]
            for how in STATES
        }
        ended = [
            pool.submit(processes.terms, size, seed=seed, hang=bool(seed % 2))
            for seed, size in enumerate(_shares(terms))
        ]
        requests = {share: one.result().requests for share, one in storms.items()}
        return Found(
            days=reduce(add, [one.result() for one in struck]),
            victim=victim.result(),
            soak=soak.result(),
            planned=requests.pop(0.0),
            storms=requests,
            kills={how: reduce(add, [one.result() for one in dead[how]]) for how in STATES},
            terms=reduce(add, [one.result() for one in ended]),
        )


def _shares(number: int) -> Iterator[int]:
    """A number in parts that one worker does in a minute."""
    yield from [_KILLS_AT_ONCE] * (number // _KILLS_AT_ONCE)
    if number % _KILLS_AT_ONCE or not number:
        yield max(1, number % _KILLS_AT_ONCE)


def lines(found: Found) -> Iterator[Line]:
    """What is to be said of each goal that is measured here."""
    days, kills, soak, victim = found.days, found.kills, found.soak, found.victim
    total = days.faults.total() + victim.faults.total() + soak.faults.total()
    unwell = [*days.unwell, *victim.unwell, *soak.unwell]
    wrongs = days.wrongs + victim.wrongs + soak.wrongs
    values = days.values + victim.values + soak.values
    scrapes = days.scrapes + victim.scrapes + soak.scrapes
    yield Line(
        "R1",
        "faults survived",
        f"{total:,} faults of {len(days.faults)} kinds; {len(unwell)} errors or lost tasks",
        not unwell,
    )
    yield Line(
        "R2",
        "`/metrics` answers 200 with a right page",
        f"{scrapes:,} pages, slowest {days.slow * 1000:.0f} ms; {wrongs} faulty",
        not wrongs,
    )
    back = sorted(days.recovered) or [0.0]
    within = sum(one <= 1.25 for one in back) / len(back)
    yield Line(
        "R3",
        "fresh within an interval after a fault",
        f"{len(back):,} recoveries, median {median(back):.2f}, 99 % within "
        f"{back[len(back) * 99 // 100]:.2f} intervals; {len(days.unrecovered)} never",
        within >= 0.99 and not days.unrecovered,
    )
    yield Line(
        "R4",
        "a fault of one bot touches no other",
        f"{victim.faults.total():,} faults, {len(victim.delayed)} others late",
        not victim.delayed,
    )
    lives = sum(one.lives for one in kills.values())
    beyond = max(one.beyond for one in kills.values())
    yield Line(
        "R5",
        "requests within the budget",
        f"at most {days.burst:.1f} of 10 saved up; {lives} SIGKILLs, {beyond:.0f} requests too many",
        days.burst <= judges.BUCKET and beyond == 0,
    )
    yield Line(
        "R6",
        "nothing before `Retry-After`, no retry of a final answer",
        f"{days.wishes:,} waits, {days.early} requests too early; "
        f"{days.finals:,} final answers, {days.retried} retries",
        not days.early and not days.retried,
    )
    worst = max(judges.too_many(calls, found.planned) for calls in found.storms.values())
    most = max(found.storms.values()) / found.planned
    yield Line(
        "R7",
        "failures make no storm",
        f"at most {most:.2f} of the plan at 5 to 100 % failures",
        worst == 0,
    )
    yield Line("R8", "every value was served so", f"{values:,} values, {wrongs} wrong", not wrongs)
    old = sum("old" in text or "yesterday" in text for text in days.wrong + soak.wrong)
    yield Line(
        "R10",
        "nothing too old, no yesterday as today",
        f"{(days.hours + soak.hours + victim.hours) / 24:.0f} virtual days in 4 zones, {old} found",
        not old,
    )
    slope, ratio = _growth(soak.rss)
    yield Line(
        "R12",
        "memory stays",
        f"{soak.hours / 24:.0f} virtual days: {slope / 1024:+.0f} KiB a day, "
        f"peak {ratio:.2f} of the median, {min(soak.tasks)} to {max(soak.tasks)} tasks",
        slope <= 64 * 1024 and ratio <= 1.1,
    )
    logged = days.log_bytes / days.hours / 1024
    yield Line("R13", "logs stay small", f"{logged:.0f} KiB an hour at debug", logged <= 1024)
    hits = len(days.hits)
    yield Line(
        "R14",
        "nothing private anywhere",
        f"{days.answers:,} answers, {days.scanned / 1e6:.1f} MB of pages and logs, {hits} hits",
        not hits,
    )
    yield Line(
        "R15",
        "the key goes to its host alone",
        f"{days.requests + victim.requests:,} requests, {days.strangers} elsewhere",
        days.strangers + victim.strangers == 0,
    )
    ends = found.terms
    yield Line(
        "R16",
        "ends within 10 s on SIGTERM",
        f"{ends.lives} ends, slowest {ends.slowest:.1f} s, {len(ends.wrong)} unclean",
        not ends.wrong and not ends.unready,
    )
    torn = {how: len(one.wrong) for how, one in kills.items()}
    yield Line(
        "R17",
        "starts from any state file",
        "; ".join(f"{how}: {kills[how].lives} lives, {bad} wrong" for how, bad in torn.items()),
        not any(torn.values()),
    )


def _growth(sizes: Sequence[int]) -> tuple[float, float]:
    """Bytes a day after the second, and the peak against the median."""
    later = sizes[2:]
    if len(later) < 3:
        return 0.0, 1.0
    return linear_regression(range(len(later)), later).slope, max(later) / median(later)


def table(found: Found) -> str:
    """The lines as a table."""
    head = "| | promise | figure | met |\n|---|---|---|---|\n"
    return head + "".join(f"{line}\n" for line in lines(found))


def written(text: str, made: str) -> str:
    """A document with its table replaced."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{made}{END}{tail}"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write if asked to; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="tests/endure", description=__doc__)
    parser.add_argument("--faults", type=int, default=50_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--terms", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="put it into docs/reliability.md")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    found = measured(given.faults, given.days, given.kills, given.terms)
    made = table(found)
    print(made)
    wrong = [*found.days.wrong, *found.victim.wrong, *found.soak.wrong]
    wrong += [text for one in found.kills.values() for text in one.wrong] + found.terms.wrong
    for text in [*wrong, *found.days.unwell, *found.days.hits][:40]:
        print(text, file=sys.stderr)
    print(f"{(time.monotonic() - begun) / 60:.0f} minutes", file=sys.stderr)
    if given.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    return 0 if all(line.met for line in lines(found)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
