"""How the exporter grows: 10 to 10,000 bots, 1.5 million series, an API that takes 200 ms.

Each size is filled as fast as the API answers, and then polled at about the same rate, that of
10,000 bots in ten minutes, so that little but the size differs: the interval is in whole seconds.
What came due while it was filled is asked for at once after that, and is part of no round.
From the start its page is scraped every few seconds; once it is filled, and until half of a round is
over, the server is asked 20 times a second whether it is healthy, which tells how long its loop is
held. The stand-in API is asked as often: what it shows is the machine's own noise. In the other
half nothing is asked, and what a report costs is measured.

All limits are out of the way there. So each size is measured a second time as users have it: at the
default `max_series`, over which 1,000 bots are, and for a minute with nothing but defaults, at whose
rate more than 600 bots are more than can be polled.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final, Self

from benchmarks import results
from benchmarks.api import SERIES, configuration, defaults, requests
from benchmarks.goals import Figures
from benchmarks.machine import (
    OF_A_BOT,
    ROOT,
    Scraper,
    cpu_seconds,
    ends_its_programs,
    free_port,
    installed,
    page,
    patiently,
    resident_megabytes,
    runtime,
    started,
    told,
)

SIZES: Final = (10, 100, 1000, 10_000)
SECONDS: Final = 590
"""For a round of 10,000 bots; shorter ones are for a trial."""

LATENCY: Final = 0.2
_IN_FLIGHT: Final = 64
_FRESH: Final = 25
_PROBES: Final = 20
_SCRAPE_EVERY: Final = 5.0
_SHORTEST: Final = 59
_STEADY: Final = 5.0
_MINUTE: Final = 60.0
_NO_LIMIT: Final = 10_000_000
_SERIES: Final = re.compile(r"(?m)^seasalt_series\{.*\} (\S+)$")


class Probe(threading.Thread):
    """Asks for a page again and again, at a steady pace, and notes how long that took.

    Attributes:
        seconds: Of each answer.
        failed: How many there were not.
    """

    def __init__(self, port: int, path: str, pause: float) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.failed = 0
        self._scraper = Scraper(port, path)
        self._pause = pause
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until it is over."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic())
            try:
                self.seconds.append(self._scraper.scrape())
            except (OSError, RuntimeError):
                self.failed += 1
                self._scraper.close()

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it be over."""
        self._over.set()
        self.join()

    def late(self, share: float) -> float:
        """The milliseconds within which so large a share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


@dataclass
class Size:
    """What was seen at a size.

    Attributes:
        bots: How many.
        filled: Seconds until every bot was polled, as fast as could be.
        round: Seconds that a round was given then.
        requests: How many came in that time.
        planned: How many the plan has.
        report_ms: CPU milliseconds of a report, its share of the page included.
        scrape_ms: CPU milliseconds of a scrape after 25 bots changed.
        megabytes: Resident memory after it.
        most_megabytes: At its largest.
        answered: Per cent of the scrapes and probes that were.
        held_ms: The longest that an answer to a probe took.
        late_ms: And 99 of 100.
        noise_ms: The longest that the stand-in API took.
        noise_late_ms: And 99 of 100.
        series: Values from the API on the page.
    """

    bots: int
    filled: float
    round: float
    requests: int
    planned: int
    report_ms: float
    scrape_ms: float
    megabytes: float
    most_megabytes: float
    answered: float
    held_ms: float
    late_ms: float
    noise_ms: float
    noise_late_ms: float
    series: int = 0

    def row(self) -> str:
        """It in Markdown."""
        return (
            f"| {self.bots:,} | {self.filled:.0f} | {self.report_ms:.2f} | {self.scrape_ms:.1f}"
            f" | {self.megabytes:.0f} | {self.most_megabytes:.0f} | {self.late_ms:.1f}"
            f" | {self.held_ms:.0f} | {self.noise_late_ms:.1f} | {self.noise_ms:.0f} |"
        )


@dataclass
class Minute:
    """What was seen in a minute with nothing but defaults.

    Attributes:
        requests: How many came.
        held_ms: The longest that an answer to a probe took.
    """

    requests: int
    held_ms: float

    def row(self, size: Size) -> str:
        """It in Markdown, and what was seen of the same bots at the default `max_series`."""
        return (
            f"| {size.bots:,} | {size.filled:.0f} | {size.report_ms:.2f} | {size.series:,}"
            f" | {size.most_megabytes:.0f} | {size.late_ms:.1f} | {size.held_ms:.0f}"
            f" | {self.requests} | {self.held_ms:.0f} |"
        )


def minute(python: str, bots: int) -> Minute:
    """Poll so many bots for a minute with nothing but defaults."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api, port, file = free_port(), free_port(), folder / "seasalt.yml"
        file.write_text(defaults(f"http://127.0.0.1:{api}", bots), encoding="utf-8")
        it, exporter = _both(stack, python, api, port, file)
        patiently(it, lambda: requests(api) is not None, pause=0.05)
        patiently(exporter, lambda: page(port), pause=0.05)
        before = requests(api).total()
        loop = stack.enter_context(Probe(port, "/-/healthy", 1 / _PROBES))
        time.sleep(_MINUTE)
        return Minute(requests(api).total() - before, loop.late(1))


def measure(python: str, bots: int, seconds: float, *, capped: bool = False) -> Size:
    """Fill a size, poll it at the rate of all sizes, and see what that costs.

    Args:
        python: One that has what the exporter needs.
        bots: How many.
        seconds: In which 10,000 bots would be polled.
        capped: Whether `max_series` is the default, and not out of the way.
    """
    interval = max(1, round(bots * seconds / 10_000))
    rounds = math.ceil(min(_SHORTEST, seconds) / interval)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api, port, file = free_port(), free_port(), folder / "seasalt.yml"
        url = f"http://127.0.0.1:{api}"
        text = configuration(
            url,
            bots,
            interval=f"{interval}s",
            concurrency=_IN_FLIGHT,
            max_series=None if capped else _NO_LIMIT,
        )
        file.write_text(text, encoding="utf-8")
        with ExitStack() as running, ExitStack() as probing:
            it, exporter = _both(running, python, api, port, file)
            patiently(it, lambda: requests(api) is not None, pause=0.05)
            patiently(exporter, lambda: page(port), pause=0.05)
            begun = time.monotonic()
            scrapes = probing.enter_context(Probe(port, "/metrics", _SCRAPE_EVERY))
            patiently(exporter, lambda: requests(api).total() >= bots, pause=0.5)
            filled = time.monotonic() - begun
            if not capped:
                patiently(exporter, lambda: page(port).count(OF_A_BOT) == bots * SERIES, pause=2)
            patiently(exporter, _steady(api, bots / interval), pause=_STEADY)
            loop, noise = (
                probing.enter_context(Probe(*where, 1 / _PROBES))
                for where in ((port, "/-/healthy"), (api, "/count"))
            )
            before, end = requests(api).total(), time.monotonic() + interval * rounds
            time.sleep(interval * rounds / 2)
            probing.close()  # in the other half nothing is asked, as that would count as reports
            middle, cpu = requests(api).total(), cpu_seconds(exporter.pid)
            time.sleep(max(0.0, end - time.monotonic()))
            after, cpu = requests(api).total(), cpu_seconds(exporter.pid) - cpu
            megabytes = [resident_megabytes(exporter.pid, peak=peak) for peak in (False, True)]
            series = sum(float(number) for number in _SERIES.findall(page(port)))
        refreshing = stack.enter_context(
            started([python, "-m", "benchmarks.refresh", str(file)], talks=True)
        )
        fresh = str(min(_FRESH, bots))
        told(refreshing, fresh)
        scrape = median(told(refreshing, fresh) for _ in range(5))
    asked = len(loop.seconds) + len(scrapes.seconds)
    return Size(
        bots=bots,
        filled=filled,
        round=interval * rounds * bots / max(1, after - before),
        requests=after - before,
        planned=bots * rounds,
        report_ms=cpu / max(1, after - middle) * 1000,
        scrape_ms=scrape * 1000,
        megabytes=megabytes[0],
        most_megabytes=megabytes[1],
        answered=100 * asked / (asked + loop.failed + scrapes.failed),
        held_ms=loop.late(1),
        late_ms=loop.late(0.99),
        noise_ms=noise.late(1),
        noise_late_ms=noise.late(0.99),
        series=round(series),
    )


def _both(
    stack: ExitStack, python: str, api: int, port: int, file: Path
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """The stand-in API and the exporter that polls it, until the stack ends."""
    stand_in = [python, "-m", "benchmarks.api", f"--port={api}", f"--seconds={LATENCY}"]
    exporter = [
        *(python, "-m", "exporter", "serve", "--log.level=error"),
        *(f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"),
        f"--state.file={file.with_name('seasalt.state')}",
    ]
    return stack.enter_context(started(stand_in)), stack.enter_context(started(exporter))


def _steady(api: int, rate: float) -> Callable[[], bool]:
    """Whether about as many came since the last look as are due in that time."""
    last, at = requests(api).total(), time.monotonic()

    def steady() -> bool:
        nonlocal last, at
        now, number = time.monotonic(), requests(api).total()
        since, last, passed, at = number - last, number, now - at, now
        due = rate * passed
        return passed > _STEADY / 2 and 0.7 * due - 1 <= since <= 1.3 * due + 1

    return steady


def figures(sizes: Sequence[Size]) -> Figures:
    """What the goals ask of the sizes."""
    # Ten bots are left out: all that is theirs fits into the processor's caches.
    grown = [size.report_ms for size in sizes if size.bots >= 100] or [1.0]
    found = {"scale/cpu": max(grown) / min(grown)}
    by_bots = {size.bots: size for size in sizes}
    if largest := by_bots.get(10_000):
        found |= {
            "scale/round": largest.round,
            "scale/requests": largest.requests / largest.planned,
            "scale/memory": largest.most_megabytes,
            "scale/answered": largest.answered,
            "scale/held": largest.held_ms,
        }
        if {100, 1000} <= by_bots.keys():
            small, middle = by_bots[100], by_bots[1000]
            first = (middle.megabytes - small.megabytes) / (middle.bots - small.bots)
            then = (largest.megabytes - middle.megabytes) / (largest.bots - middle.bots)
            found["scale/linear"] = then / first
            found["scale/scrape"] = largest.scrape_ms / middle.scrape_ms
    return found


def draw(sizes: Sequence[Size], note: str) -> bool:
    """Draw cost against size; whether there was something to draw with."""
    plotting = installed("plotting", ["matplotlib"])
    if plotting:
        told_on = json.dumps({"note": note, "sizes": [asdict(size) for size in sizes]})
        subprocess.run(
            [plotting / "python", "-m", "benchmarks.picture", results.PICTURE],
            input=told_on,
            cwd=ROOT,
            text=True,
            check=True,
        )
    return plotting is not None


def main() -> None:
    """Measure every size, print, and write down if asked to."""
    parser = argparse.ArgumentParser(prog="benchmarks/scale", description=__doc__)
    parser.add_argument(
        "--bots", default=",".join(map(str, SIZES)), metavar="N,...", help="the sizes"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="in which 10,000 bots are polled"
    )
    parser.add_argument(
        "--write", action="store_true", help="put tables and picture into docs/performance.md"
    )
    given = parser.parse_args()
    bots = [int(number) for number in given.bots.split(",") if number.isdigit()]
    if not bots or given.seconds < 10 or not all(1 <= number <= 99_999 for number in bots):
        parser.error("--bots must be numbers up to 99,999, and --seconds at least 10")
    ends_its_programs()
    python, sizes, second = runtime(), list[Size](), list[str]()
    print(results.HEADS["scale"])
    for number in bots:
        sizes.append(measure(python, number, given.seconds))
        print(sizes[-1].row(), flush=True)
    print(results.HEADS["defaults"])
    for number in bots:
        capped = measure(python, number, given.seconds, capped=True)
        second.append(minute(python, number).row(capped))
        print(second[-1], flush=True)
    command = " ".join(["benchmarks/scale", *sys.argv[1:]])
    rows = [size.row() for size in sizes]
    run = results.Run.now(command, figures(sizes), {"scale": rows, "defaults": second})
    results.save("scale", run)
    print("\n".join(results.document()))
    if given.write:
        draw(sizes, run.told().replace("`", ""))
        results.write()


if __name__ == "__main__":
    main()
