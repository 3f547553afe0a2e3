"""100,000 bots on ten shards: what each of them asks for, and what the API sees of all together.

usage: python -m benchmarks.shards [--bots 100000] [--shards 10] [--per-minute 0]

Each bot has those reports of config/seasalt.yml that share one request every ten minutes. Which shard owns a bot, its requests, their turns and the
token bucket are the exporter's own; requests, answers and time are made up: an answer takes 200 ms, and
no request fails. After half an hour, a shard is added as docs/shards.md says: the old ones restart
with the new number one after the other, and then the new one starts. The whole takes two hours that are
simulated in a few minutes.
"""

import argparse
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from heapq import heapify, heappop, heappush
from math import ceil
from pathlib import Path
from typing import Final

from exporter.config import Bot, Discovery, Workspace, load
from exporter.model.shards import Shard
from exporter.polling.plan import Call, planned_calls
from exporter.polling.schedule import Rhythm, requests_per_hour, rhythms
from exporter.polling.workload import listings
from exporter.upstream.request_budget import CAPACITY, RequestBudget

START: Final = datetime(2026, 11, 30, 20, 0, tzinfo=UTC)
"""Noon in the workspace's time zone, so no midnight."""
REPORTS: Final = ("communication_volume", "activity_trend", "conversation_breakdown")
LATENCY: Final = 0.2
CHANGE: Final = 1800.0
"""Seconds after the start at which the first shard restarts."""
DOWN: Final = 10.0
EACH: Final = 20.0
"""Seconds for which a shard that restarts is down, and from one restart to the next."""
END: Final = 7200.0


@dataclass
class Life:
    """A process: a shard from a second to another.

    Attributes:
        shard: Which one.
        begins: When it starts.
        ends: When it ends.
        calls: What it owns, with the rhythm of each.
    """

    shard: Shard
    begins: float
    ends: float
    calls: dict[str, Rhythm] = field(default_factory=dict)


def at(seconds: float) -> datetime:
    """A second of the simulation as an instant."""
    return START + timedelta(seconds=seconds)


def workspace(bots: int, per_minute: int) -> Workspace:
    """The workspace of the example, with so many bots."""
    file = Path(__file__).parent.parent / "config" / "seasalt.yml"
    (one,) = load([str(file)], {"SEACHAT_API_KEY": "key"}, START.date()).workspaces
    many = tuple(Bot.model_construct(id=f"bot_{n}", name="", labels={}) for n in range(bots))
    one = one.with_entries(tuple(entry for entry in one.entries if entry.name in REPORTS))
    update = {"bots": many, "requests_per_minute": per_minute, "concurrency": ceil(per_minute / 60)}
    return one.model_copy(update=update)


def owned(one: Workspace, shard: Shard) -> tuple[Workspace, tuple[Call, ...]]:
    """A workspace as a shard polls it, and its requests."""
    part = one.of_shard(shard)
    return part, planned_calls(part, part.bots)


def lived(one: Workspace, life: Life, due: dict[str, float]) -> Iterator[tuple[float, str]]:
    """When a process sends each request; afterwards `due` has what its state file remembers."""
    part = one.of_shard(life.shard)
    budget = RequestBudget(
        part.shard.pace(part.requests_per_minute, part.requests_per_day),
        *(part.own_per_day, UTC, life.begins),
        capacity=max(1, part.shard.part(CAPACITY)),
        by_day=True,
    )

    def turn(call: str, after: float) -> float:
        return (life.calls[call].after(at(after)) - START).total_seconds()

    queue = [(due.get(call) or turn(call, life.begins), call) for call in life.calls]
    free = [life.begins] * part.own_concurrency
    heapify(queue)
    now = life.begins
    while queue and max(queue[0][0], free[0], now) < life.ends:
        when, call = heappop(queue)
        now = max(when, heappop(free), now)
        while wait := budget.take(now, at(now)):
            now += wait
        yield now, call
        heappush(free, now + LATENCY)
        heappush(queue, (turn(call, now + LATENCY), call))
    due.clear()
    due.update({call: when for when, call in queue})


def lives(one: Workspace, count: int) -> list[Life]:
    """The processes: so many shards, and one more after the change, each in its own order."""
    found = []
    for index in range(count):
        change = CHANGE + index * EACH
        found.append(Life(Shard(index, count), 0.0, change))
        found.append(Life(Shard(index, count + 1), change + DOWN, END))
    found.append(Life(Shard(count, count + 1), CHANGE + count * EACH, END))
    for life in found:
        part, calls = owned(one, life.shard)
        rhythm = rhythms(calls, part.own_per_minute, part.own_concurrency, part.zone)
        life.calls = {call.identity: rhythm[call] for call in calls}
    return found


def plan(one: Workspace, count: int) -> None:
    """Print what each shard has on paper."""
    whole = planned_calls(one, one.bots)
    print(f"{len(one.bots):,} bots, {one.requests_per_minute:,} requests a minute are allowed")
    print("| shard | bots | requests an hour | of them for the list of bots | load |")
    print("|---|---|---|---|---|")
    found = one.model_copy(update={"discover_bots": Discovery(max_bots=len(one.bots))})
    for shard in (Shard(), *(Shard(index, count) for index in range(count))):
        part, calls = (found, whole) if shard.alone else owned(found, shard)
        lists = requests_per_hour(listings(part, len(part.bots)))
        hourly = requests_per_hour(calls) + lists
        load = float(hourly / 60 / part.own_per_minute)
        print(f"| {shard} | {len(part.bots):,} | {ceil(hourly):,} | {ceil(lists):,} | {load:.3f} |")


def summary(requests: list[tuple[float, str]], one: Workspace, short: Iterable[str]) -> None:
    """Print what the API saw."""
    requests.sort()
    times = [when for when, _ in requests]
    most = max(bisect_right(times, when + 60) - number for number, when in enumerate(times))
    print(f"requests in two hours: {len(times):,}; most in any minute: {most:,}")
    rate, lowest, beyond = Fraction(one.requests_per_minute, 60), 0.0, 0.0
    for number, when in enumerate(times):
        saved = number - float(rate) * (when - times[0])
        lowest = min(lowest, saved)
        beyond = max(beyond, saved + 1 - lowest)
    print(f"most beyond the rate in any period, which a bucket has to hold: {beyond:.1f}")
    wanted, before, gaps = set(short), dict[str, float](), list[float]()
    for when, call in requests:
        if call in wanted:
            if call in before:
                gaps.append(when - before[call])
            before[call] = when
    gaps.sort()
    missed = sum(gap > 900 for gap in gaps)
    print(f"polled by anybody: {len(before):,} of {len(wanted):,} requests of every ten minutes")
    print(f"between two polls of one: {gaps[0]:.1f} s to {gaps[-1]:.1f} s")
    print(f"turns that came while nobody owned the bot: {missed:,} of {len(gaps):,}")


def main() -> None:
    """Plan, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bots", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--per-minute", type=int, default=0)
    given = parser.parse_args()
    begun = time.perf_counter()
    one = workspace(given.bots, given.per_minute or 1)
    needed = requests_per_hour(planned_calls(one, one.bots)) / 60
    one = workspace(given.bots, given.per_minute or ceil(needed * Fraction(21, 20)))
    plan(one, given.shards)
    processes = lives(one, given.shards)
    moved = sum(
        not Shard(index, given.shards + 1).owns(one.name, bot.id)
        for index in range(given.shards)
        for bot in one.of_shard(Shard(index, given.shards)).bots
    )
    print(f"bots that move to shard {given.shards}: {moved:,}, and no other bot moves")
    requests, states = list[tuple[float, str]](), dict[int, dict[str, float]]()
    for life in processes:
        state = states.setdefault(life.shard.index, {})
        requests += lived(one, life, state)
    ten = timedelta(minutes=10)
    short = {
        call for life in processes for call, rhythm in life.calls.items() if rhythm.interval == ten
    }
    summary(requests, one, short)
    print(f"planned and simulated in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
