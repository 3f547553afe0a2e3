"""The long run, and the table that it makes: a line for each goal with its figure."""

import argparse
import os
import pickle
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from hashlib import sha256
from itertools import pairwise
from operator import add
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

from faults import attacks, campaign, judges, processes
from faults.attacks import ATTACKS, Harm
from faults.campaign import Figures, Plan
from faults.processes import STATES, WAYS, Deaths

ROOT: Final = Path(__file__).parent.parent.parent
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: begin -->\n"
END: Final = "<!-- figures: end -->\n"

_A_DAY: Final = 2500  # about as many faults come of a virtual day at the share below
_SHARE: Final = 0.7
_KILLS_AT_ONCE: Final = 25
_UNDER_ATTACK: Final = 64 * 1024 * 1024
"""Bytes by which an attack may make the exporter grow."""

_STORMS: Final = (0.0, 0.05, 0.3, 0.5, 1.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """A goal that has tests of its own.

    Attributes:
        goal: Its number.
        what: What is promised.
        arguments: pytest's.
        environment: What makes the tests heavier than they are on every change.
    """

    goal: str
    what: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """As it is typed."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join((*variables, ".venv/bin/pytest", shlex.join(self.arguments)))


_LONG: Final = "--hypothesis-profile=long"

HELD: Final = (
    Held(
        "R9",
        "odd answers are read rightly or left out",
        (
            "tests/test_traps.py",
            "tests/model/test_reply_values.py",
            "tests/reports",
            "tests/fuzz/test_mutations.py",
            _LONG,
        ),
    ),
    Held("R11", "days of every time zone, 2024 to 2035", ("tests/fuzz/test_calendar.py", _LONG)),
    Held(
        "R13",
        "no answer is read beyond its bounds",
        ("tests/upstream/test_client.py", "tests/test_logs.py"),
    ),
    Held(
        "R18",
        "abuse of the web side makes no scrape wait",
        ("tests/web/test_connection.py", "tests/web/test_secured.py"),
        {"SERVING_HEAVY": "5"},
    ),
    Held(
        "R19",
        "the exporter-toolkit's cases",
        ("tests/web/test_web_config.py", "tests/web/test_secured.py"),
    ),
    Held(
        "R20",
        "a bad configuration changes nothing",
        ("tests/polling/test_reload.py", "tests/polling/test_fleet.py", "tests/e2e/test_reload.py"),
    ),
    Held("R25", "valid configurations at default limits", ("tests/polling/test_sizes.py",)),
    Held(
        "R26",
        "answers with unreadable text",
        (
            "tests/upstream/test_answer.py",
            "tests/upstream/test_wire.py",
            "-k",
            "unreadable or cannot_be_read or text",
        ),
    ),
    Held(
        "R27",
        "connection faults told apart",
        (
            "tests/upstream/test_wire.py",
            "tests/upstream/test_network.py",
            "-k",
            "told or believed or refuses",
        ),
    ),
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
        spells: Of half hours of faults and half hours without.
        victim: Of faults for one bot.
        soak: Of a few faults, for weeks.
        storms: Requests of the same hours by workspace, by the share that failed.
        kills: By the condition of the state file.
        terms: Of clean ends.
        scraped: Of pages over HTTP while the API and the host are out of order.
        cut_off: Of ways to the API that were wrong for a while.
        crowd: Of more bots and labels than the defaults have room for.
        attacks: By name.
        held: What pytest said, for each of `HELD`.
    """

    days: Figures
    spells: Figures
    victim: Figures
    soak: Figures
    storms: dict[float, Counter[str]]
    kills: dict[str, Deaths]
    terms: Deaths
    scraped: Deaths
    cut_off: Deaths
    crowd: Figures
    attacks: dict[str, Harm]
    held: tuple[tuple[bool, str], ...]

    @property
    def lives(self) -> tuple[Deaths, ...]:
        """All that real processes went through."""
        return *self.kills.values(), self.terms, self.scraped, self.cut_off

    @property
    def campaigns(self) -> Figures:
        """All that passed on virtual time."""
        return self.days + self.spells + self.victim + self.soak + self.crowd


PARTS: Final = ("weeks", "days", "processes", "tests", "attacks")
"""What can be measured by itself: on virtual time for long and not so long, processes, pytest's,
and attacks, which want a machine with nothing else to do."""


def measured(
    faults: int,
    days: int,
    kills: int,
    terms: int,
    attack: float,
    keep: Path,
    workers: int,
    part: str = "",
) -> Found | None:
    """Everything, or a part; what is in the folder already is not measured again."""
    chunks = max(1, round(faults / _A_DAY))
    with ExitStack() as stack:
        pools = {
            # One attack at a time: each has processes of its own.
            name: stack.enter_context(
                ProcessPoolExecutor(1 if name == "attacks" else workers, max_tasks_per_child=1)
            )
            for name in PARTS
        }

        def submit(name: str, call: partial[T]) -> Future[T]:
            return pools[name].submit(_kept, keep, call) if part in {"", name} else Future()

        def passed(plan: Plan, name: str = "days") -> Future[Figures]:
            return submit(name, partial(campaign.run, plan))

        def lived(call: partial[Deaths]) -> Future[Deaths]:
            return submit("processes", call)

        soak = passed(campaign.soak(24.0 * days), "weeks")
        victims = [
            passed(replace(campaign.victim(48.0), seed=seed), "weeks")
            for seed in range(max(1, days // 3))
        ]
        crowd = passed(campaign.crowd(4.0))
        spells = passed(campaign.spells(24.0 * max(1, days // 6)))
        storms = {share: passed(campaign.storm(share)) for share in _STORMS}
        struck = [
            passed(Plan(seed=seed, hours=24, share=_SHARE, reloads=3))
            for seed in range(1, chunks + 1)
        ]
        struck += [
            passed(Plan(seed=seed, hours=24, share=0.3, reloads=6, clocks=6))
            for seed in range(max(1, chunks // 10))
        ]
        dead = {
            how: [
                lived(partial(processes.kills, size, how, state=True, seed=seed))
                for seed, size in enumerate(_shares(kills // len(STATES)))
            ]
            for how in STATES
        }
        ended = [
            lived(partial(processes.terms, size, seed=seed, hang=bool(seed % 2)))
            for seed, size in enumerate(_shares(terms))
        ]
        scraped = [
            lived(partial(processes.scraped, 60, seed=seed, pause=0.02))
            for seed in range(max(1, kills // 50))
        ]
        cut_off = [lived(partial(processes.cut_off, way)) for way in WAYS]
        held = [submit("tests", partial(tested, one)) for one in HELD]
        harmed = {
            name: submit("attacks", partial(attacks.attacked, name, attack * one.share))
            for name, one in ATTACKS.items()
        }
        if part:
            return None
        return Found(
            days=reduce(add, [one.result() for one in struck]),
            spells=spells.result(),
            victim=reduce(add, [one.result() for one in victims]),
            soak=soak.result(),
            storms={share: one.result().requests for share, one in storms.items()},
            kills={how: reduce(add, [one.result() for one in dead[how]]) for how in STATES},
            terms=reduce(add, [one.result() for one in ended]),
            scraped=reduce(add, [one.result() for one in scraped]),
            cut_off=reduce(add, [one.result() for one in cut_off]),
            crowd=crowd.result(),
            attacks={name: one.result() for name, one in harmed.items()},
            held=tuple(one.result() for one in held),
        )


def _kept(keep: Path, call: partial[T]) -> T:
    """What a call brings, or has brought before; each is in a file of the folder."""
    called = f"{call.func.__qualname__} {call.args} {call.keywords}"
    file = keep / sha256(called.encode()).hexdigest()
    if not file.exists():
        begun = time.monotonic()
        made = pickle.dumps(call())
        beside = file.with_suffix(".new")
        beside.write_bytes(made)
        beside.replace(file)
        print(f"{time.monotonic() - begun:.0f} s: {called}", file=sys.stderr, flush=True)
    found: T = pickle.loads(file.read_bytes())  # noqa: S301 - written by the line above
    return found


def tested(held: Held) -> tuple[bool, str]:
    """Whether a goal's tests pass, and what they say: how many, and the figures that they print."""
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *held.arguments)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **held.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"\[([^]]*[a-z][^]]*)\]", done.stdout)
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    said = "; ".join((f"{passed[1]} tests" if passed else done.stdout[-300:], *told))
    return done.returncode == 0, said


def _shares(number: int) -> Iterator[int]:
    """A number in parts that one worker does in a minute."""
    yield from [_KILLS_AT_ONCE] * (number // _KILLS_AT_ONCE)
    if number % _KILLS_AT_ONCE or not number:
        yield max(1, number % _KILLS_AT_ONCE)


def lines(found: Found) -> Iterator[Line]:
    """What is to be said of each goal that is measured here."""
    days, kills, soak, victim = found.days, found.kills, found.soak, found.victim
    all_ = found.campaigns
    wrongs = all_.wrongs
    faults = all_.faults.total() + sum(one.faults for one in found.lives)
    unwell = [*all_.unwell, *found.scraped.wrong, *found.cut_off.wrong]
    yield Line(
        "R1",
        "faults survived",
        f"{faults:,} faults of {len(all_.faults) + len(WAYS)} kinds; "
        f"{len(unwell)} errors or lost tasks",
        not unwell,
    )
    took = sorted(found.scraped.took)
    p99 = took[len(took) * 99 // 100]
    yield Line(
        "R2",
        "`/metrics` answers 200 with a right page",
        f"{all_.scrapes:,} pages on virtual time and {len(took):,} over HTTP, "
        f"99 % of these within {p99 * 1000:.0f} ms; {wrongs + len(found.scraped.wrong)} faulty",
        not wrongs and not found.scraped.wrong,
    )
    back = sorted(found.spells.recovered) or [0.0]
    never = [*days.unrecovered, *found.spells.unrecovered]
    yield Line(
        "R3",
        "fresh within an interval after faults, or after the pause that was asked for",
        f"{len(back):,} recoveries, median {median(back):.2f}, longest "
        f"{back[-1]:.2f} intervals; {len(never)} never",
        back[-1] <= campaign.SOON and not never,
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
        f"at most {all_.burst:.1f} of 10 saved up; {lives} SIGKILLs, "
        f"{sum(one.requests for one in kills.values())} requests, {beyond:.0f} too many",
        all_.burst <= judges.BUCKET and beyond == 0,
    )
    yield Line(
        "R6",
        "nothing before `Retry-After`, no retry of a final answer",
        f"{all_.wishes:,} waits, {all_.early} requests too early; "
        f"{all_.finals:,} final answers, {all_.retried} retries",
        not all_.early and not all_.retried,
    )
    planned = found.storms[0.0]
    extra = [
        (judges.too_many(number, planned[name]), number - 1.1 * planned[name])
        for calls in found.storms.values()
        for name, number in calls.items()
    ]
    yield Line(
        "R7",
        "failures make no storm",
        f"at most 1.10 times a workspace's plan and {max(more for _, more in extra):.0f} of 10 "
        "at 5 to 100 % failures",
        not any(beyond for beyond, _ in extra),
    )
    yield Line(
        "R8", "every value was served so", f"{all_.values:,} values, {wrongs} wrong", not wrongs
    )
    old = sum("old" in text or "yesterday" in text for text in all_.wrong)
    yield Line(
        "R10",
        "nothing too old, no yesterday as today",
        f"{all_.hours / 24:.0f} virtual days in 4 zones, {old} found",
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
        f"{all_.requests.total():,} requests, {all_.strangers} elsewhere",
        all_.strangers == 0,
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
    for goal, what, wanted in (
        ("R23", "a client that never authenticates costs nobody a scrape", True),
        ("R24", "nor does a hostile API, whose answers cost bounded memory", False),
    ):
        harmed = {
            name: harm
            for name, harm in found.attacks.items()
            if bool(ATTACKS[name].client) is wanted
        }
        yield Line(
            goal,
            what,
            "<br>".join(f"{name}: {harm}" for name, harm in harmed.items()),
            all(
                harm.strikes > 0
                and harm.most - harm.before < _UNDER_ATTACK
                and harm.p99 < ATTACKS[name].within
                and not (harm.refused or harm.wrong)
                for name, harm in harmed.items()
            ),
        )
    for held, (passed, said) in zip(HELD, found.held, strict=True):
        yield Line(held.goal, held.what, f"{said} (`{held.command}`)", passed)


def _growth(sizes: Sequence[int]) -> tuple[float, float]:
    """Bytes that the middle one of the days after the second adds, and the peak against the median.

    What is lost day by day shows in every day; what was needed at once, in one.
    """
    later = sizes[2:]
    if len(later) < 3:
        return 0.0, 1.0
    return median(after - before for before, after in pairwise(later)), max(later) / median(later)


def table(found: Found) -> str:
    """The lines as a table."""
    head = "| | promise | figure | met |\n|---|---|---|---|\n"
    made = sorted(lines(found), key=lambda line: int(line.goal[1:]))
    return head + "".join(f"{line}\n" for line in made)


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
    parser.add_argument("--attack", type=float, default=600, help="seconds of the longest attack")
    parser.add_argument("--write", action="store_true", help="put it into docs/reliability.md")
    parser.add_argument("--workers", type=int, default=2, help="processes for each part")
    parser.add_argument("--part", choices=PARTS, default="", help="measure that for --keep alone")
    parser.add_argument(
        "--keep", type=Path, help="a folder of what is measured: a run cut off goes on from it"
    )
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        keep = given.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        found = measured(
            given.faults,
            given.days,
            given.kills,
            given.terms,
            given.attack,
            keep,
            given.workers,
            given.part,
        )
    if found is None:
        return 0
    made = table(found)
    print(made)
    all_ = found.campaigns
    wrong = [text for one in found.lives for text in one.wrong]
    for text in [*all_.wrong, *wrong, *all_.unwell, *all_.hits, *all_.unrecovered][:40]:
        print(text, file=sys.stderr)
    print(f"{(time.monotonic() - begun) / 60:.0f} minutes", file=sys.stderr)
    if given.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    return 0 if all(line.met for line in lines(found)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
