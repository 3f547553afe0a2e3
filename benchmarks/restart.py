"""What a state file costs while the exporter runs, and what a restart from it costs.

Each size is filled as fast as the stand-in API answers, and then polled once in ten minutes. The
bytes that are written and the longest answers of the server are those of some minutes after that.
Then the exporter is started again from its file: how soon its page has every value, what memory it
takes at its largest, and how long its loop is held from the first answer on. The same start without
a file, up to the first answered page, is the peer: it has nothing to read and nothing to show.

At last it reloads: the same file, one with a renamed bot and one less, and one with another interval.
The server is asked all the while, and the longest answer tells how long the loop was held.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import results
from benchmarks.api import SERIES, configuration, requests
from benchmarks.goals import Figures
from benchmarks.machine import (
    OF_A_BOT,
    ends_its_programs,
    free_port,
    page,
    patiently,
    resident_megabytes,
    runtime,
    started,
)
from benchmarks.scale import Probe

SIZES: Final = (1000, 10_000)
_PROBES: Final = 20
_WRITTEN: Final = re.compile(r"(?m)^write_bytes: (\d+)$")
_FULL: Final = 10_000_000
_AFTER: Final = 15.0
"""Seconds after a restart, or a reload, in which its loop is asked whether it is held."""


@dataclass
class Restart:
    """What was seen at a size.

    Attributes:
        bots: How many.
        file: Megabytes of the state file.
        written: Kilobytes a second that the process gave to the disk.
        held_ms: The longest answer of the server meanwhile.
        most: Megabytes of resident memory at its largest, before the restart.
        first: Seconds from the restart to the first page.
        whole: And to the page with every value.
        most_again: Megabytes at its largest, after the restart.
        held_again_ms: The longest answer after the first one.
        bare: Seconds to the first page without a state file.
        reloads: The longest answer in milliseconds while each of the three files was reloaded.
    """

    bots: int
    file: float
    written: float
    held_ms: float
    most: float
    first: float
    whole: float
    most_again: float
    held_again_ms: float
    bare: float
    reloads: tuple[float, float, float]

    def row(self) -> str:
        """It in Markdown."""
        return (
            f"| {self.bots:,} | {self.file:.1f} | {self.written:.0f} | {self.held_ms:.0f}"
            f" | {self.most:.0f} | {self.first:.1f} | {self.whole:.1f} | {self.most_again:.0f}"
            f" | {self.held_again_ms:.0f} | {self.bare:.1f}"
            f" | {' | '.join(f'{held:.0f}' for held in self.reloads)} |"
        )


def _written(pid: int) -> int:
    """The bytes that a process has given to the disk."""
    (found,) = _WRITTEN.findall(Path(f"/proc/{pid}/io").read_text(encoding="ascii"))
    return int(found)


def _reloads(exporter: subprocess.Popen[str], port: int, file: Path) -> tuple[float, float, float]:
    """How long the server was held by three reloads, in milliseconds."""
    text = file.read_text(encoding="utf-8")
    renamed = re.sub(r"name: (\S+ 1)\}", r"name: New \1}", text, count=1)
    held = []
    for new in (
        text,
        renamed.rsplit("\n", 2)[0] + "\n",
        text.replace("interval: 10m", "interval: 11m", 1),
    ):
        file.write_text(new, encoding="utf-8")
        with Probe(port, "/-/healthy", 1 / _PROBES) as loop:
            time.sleep(1)
            exporter.send_signal(signal.SIGHUP)
            time.sleep(_AFTER)
        held.append(loop.late(1))
    return held[0], held[1], held[2]


def measure(python: str, bots: int, seconds: float) -> Restart:
    """Fill a size, watch it for some seconds, and start it again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        api, port = free_port(), free_port()
        file, state = folder / "seasalt.yml", folder / "seasalt.state"
        text = configuration(
            f"http://127.0.0.1:{api}", bots, interval="10m", concurrency=64, max_series=_FULL
        )
        file.write_text(text, encoding="utf-8")
        bare = [
            *(python, "-m", "exporter", "serve", "--log.level=error"),
            *(f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"),
        ]
        command = [*bare, f"--state.file={state}"]
        it = stack.enter_context(started([python, "-m", "benchmarks.api", f"--port={api}"]))
        patiently(it, lambda: requests(api) is not None, pause=0.05)
        with started(command) as exporter:
            patiently(exporter, lambda: page(port).count(OF_A_BOT) == bots * SERIES, pause=2)
            before, begun = _written(exporter.pid), time.monotonic()
            with Probe(port, "/-/healthy", 1 / _PROBES) as loop:
                time.sleep(seconds)
            written = (_written(exporter.pid) - before) / (time.monotonic() - begun)
            most = resident_megabytes(exporter.pid, peak=True)
            exporter.terminate()
            exporter.wait()
        size = state.stat().st_size
        begun = time.monotonic()
        with started(command) as exporter:
            patiently(exporter, lambda: page(port), pause=0.01)
            first = time.monotonic() - begun
            with Probe(port, "/-/healthy", 1 / _PROBES) as again:
                patiently(exporter, lambda: page(port).count(OF_A_BOT) == bots * SERIES, pause=0.2)
                whole = time.monotonic() - begun
                time.sleep(_AFTER)
            most_again = resident_megabytes(exporter.pid, peak=True)
            reloads = _reloads(exporter, port, file)
        begun = time.monotonic()
        with started(bare) as exporter:
            patiently(exporter, lambda: page(port), pause=0.01)
            without = time.monotonic() - begun
    return Restart(
        bots=bots,
        file=size / 1e6,
        written=written / 1e3,
        held_ms=loop.late(1),
        most=most,
        first=first,
        whole=whole,
        most_again=most_again,
        held_again_ms=again.late(1),
        bare=without,
        reloads=reloads,
    )


def figures(found: Restart) -> Figures:
    """What the goals ask of 10,000 bots."""
    return {
        "state/written": found.written / 1000,
        "state/held": found.held_ms,
        "restart/memory": found.most_again,
        "restart/held": found.held_again_ms,
        "reload/unchanged": found.reloads[0],
        "reload/bots": found.reloads[1],
        "reload/interval": found.reloads[2],
    }


def main() -> None:
    """Measure every size and print."""
    parser = argparse.ArgumentParser(prog="benchmarks/restart", description=__doc__)
    parser.add_argument("--bots", default=",".join(map(str, SIZES)), metavar="N,...")
    parser.add_argument("--seconds", type=float, default=120, help="in which it is watched")
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/performance.md"
    )
    given = parser.parse_args()
    ends_its_programs()
    found, python = list[Restart](), runtime()
    print(results.HEADS["restart"])
    for number in given.bots.split(","):
        found.append(measure(python, int(number), given.seconds))
        print(found[-1].row(), flush=True)
    largest = {one.bots: one for one in found}.get(10_000)
    command = " ".join(["benchmarks/restart", *sys.argv[1:]])
    rows = {"restart": [one.row() for one in found]}
    results.save("restart", results.Run.now(command, figures(largest) if largest else {}, rows))
    if given.write:
        results.write()


if __name__ == "__main__":
    main()
