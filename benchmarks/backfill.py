"""How fast `backfill` writes and pushes, beside promtool's reading and a store's taking.

usage: python -m benchmarks.backfill [--series 200] [--days 365] [--step 1h] [--store]

A year of series, each of which changes once a day, goes through the same code as in `backfill`:

- as OpenMetrics into a file, which promtool then makes blocks of;
- as remote write 1.0, encoded and thrown away;
- with --store, into a Prometheus with an out-of-order window.

The memory is the peak of this process, which holds no more than one series at a time.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import httpx

from benchmarks.machine import TOOLS
from exporter.backfill import openmetrics, remote_write
from exporter.backfill.grid import STEPS, Grid
from exporter.backfill.push import Store
from exporter.backfill.rebuild import Runs
from exporter.metrics.exposition import header, series_text
from exporter.reports.activity_trend import MESSAGES

BIN: Final = TOOLS / "prometheus" / "usr" / "bin"
GOAL: Final = 200_000
"""Samples a second that must be written at least."""
_PORT: Final = 19_391


def made(days: int, step: str) -> Grid:
    """The moments of the last days."""
    last = date(2026, 11, 19)
    first = last - timedelta(days=days - 1)
    every = [first + timedelta(days=number) for number in range(days)]
    return Grid.of(every, ZoneInfo("America/New_York"), STEPS[step])


def series(grid: Grid, number: int) -> Iterator[tuple[list[tuple[str, str]], Runs]]:
    """Series with another value each day."""
    for one in range(number):
        runs = Runs()
        for day, begin in enumerate(grid.begins[:-1]):
            runs.add(begin, grid.begins[day + 1], float(one * 1000 + day * 7 % 991) / 4)
        labels = [("api", "seachat"), ("workspace", "acme"), ("bot_id", f"bot-{one:06}")]
        yield [*labels, ("bot", f"Bot {one}"), ("window", "last_7_days"), ("sender", "bot")], runs


def write(path: Path, grid: Grid, number: int) -> int:
    """Write the file; the number of samples."""
    times = openmetrics.Times(grid.times)
    with openmetrics.writing(path) as writer:
        writer.family(header(MESSAGES))
        for labels, runs in series(grid, number):
            writer.series(series_text(MESSAGES.name, labels), runs, times)
    return writer.samples


def bodies(grid: Grid, number: int) -> Iterator[bytes]:
    """The bodies of remote write."""
    times, batch = remote_write.Times(grid.times), remote_write.Batch()
    for labels, runs in series(grid, number):
        yield from batch.add([("__name__", MESSAGES.name), *labels], runs, times)
    if batch.samples:
        yield batch.taken()


def _wait_until_ready(url: str) -> None:
    """Wait for up to 30 seconds until a server answers well."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(url)
        time.sleep(0.1)


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """A Prometheus that takes what is a year old; its URL."""
    config = folder / "prometheus.yml"
    config.write_text("storage: {tsdb: {out_of_order_time_window: 4000d}}\n")
    command = [
        *(str(BIN / "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data"),
        *("--storage.tsdb.retention.time=50y", "--web.enable-remote-write-receiver"),
        f"--web.listen-address=127.0.0.1:{_PORT}",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(f"http://127.0.0.1:{_PORT}/-/ready")
            yield f"http://127.0.0.1:{_PORT}"
        finally:
            process.terminate()


def told(what: str, samples: int, begun: float) -> float:
    """Print a row, and return its rate."""
    seconds = time.perf_counter() - begun
    print(f"| {what} | {seconds:.2f} s | {samples / seconds:,.0f} samples/s |")
    return samples / seconds


def main() -> int:
    """Measure, print, and return 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--step", choices=STEPS, default="1h")
    parser.add_argument("--store", action="store_true")
    given = parser.parse_args()
    grid = made(given.days, given.step)
    with tempfile.TemporaryDirectory() as name:
        folder, begun = Path(name), time.perf_counter()
        file = folder / openmetrics.NAME
        samples = write(file, grid, given.series)
        good = told("writing OpenMetrics, with fsync", samples, begun) >= GOAL
        size = file.stat().st_size
        begun = time.perf_counter()
        block = ("tsdb", "create-blocks-from", "--max-block-duration=8760h", "openmetrics")
        command = [str(BIN / "promtool"), *block, str(file), str(folder / "data")]
        subprocess.run(command, check=True, capture_output=True)
        told("promtool's reading of it", samples, begun)
        begun = time.perf_counter()
        wire = sum(map(len, bodies(grid, given.series)))
        told("encoding remote write", samples, begun)
        if given.store:
            with prometheus(folder) as url, Store(f"{url}/api/v1/write", url, {}) as store:
                begun = time.perf_counter()
                for body in bodies(grid, given.series):
                    store.push(body)
                told("pushing to Prometheus", samples, begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{samples:,} samples; {size / 1e6:,.0f} MB of text, {wire / 1e6:,.0f} MB of remote write;"
    )
    print(f"peak of memory {peak:.0f} MB")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
