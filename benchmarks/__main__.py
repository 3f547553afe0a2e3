"""Measures the exporter beside its peers, and prints the goals with this machine's figures.

Everything runs on loopback and ends by itself. Peers come from Debian and PyPI, into .tools.
"""

import argparse
import sys
import time

from benchmarks import pipeline, results, scrape, start, users
from benchmarks.machine import ends_its_programs, runtime
from benchmarks.peers import peers


def main() -> None:
    """Measure, print, and write down if asked to."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="how many of each measurement"
    )
    parser.add_argument(
        "--bots", default="10,100,1000,6667", metavar="N,...", help="the sizes: 10, 100, 1000, 6667"
    )
    parser.add_argument(
        "--lean", action="store_true", help="without query-exporter's scrapes and Prometheus"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/performance.md"
    )
    given = parser.parse_args()
    sizes = [int(bots) for bots in given.bots.split(",") if bots.isdigit()]
    if given.rounds < 1 or not set(sizes) <= set(scrape.SIZES):
        parser.error("--rounds must be at least 1, and --bots some of 10,100,1000,6667")
    ends_its_programs()
    begun, python = time.monotonic(), runtime()
    found, missing = peers(python)
    figures: dict[str, float] = {}
    tables: dict[str, list[str]] = {}

    def progress(what: str) -> None:
        print(f"{time.monotonic() - begun:4.0f} s  {what}", file=sys.stderr, flush=True)

    progress("start")
    more, tables["start"] = start.measure(python, given.rounds)
    figures |= more
    progress("pipeline")
    figures |= pipeline.requests_of_a_round(python)
    figures |= pipeline.measure(python, max(1, given.rounds // 2))
    tables["scrape"] = []
    for bots in sizes:
        progress(f"{bots * 150:,} series")
        more, rows = scrape.measure(python, bots, given.rounds, lean=given.lean)
        figures |= more
        tables["scrape"] += rows
    progress("fifty scrapers, TLS")
    more, rows = users.measure(python, given.rounds)
    figures |= more
    tables["scrape"] += rows
    if {"memory/10", "memory/1000"} <= figures.keys():
        more_memory = (figures["memory/1000"] - figures["memory/10"]) * 2**20
        figures["memory/series"] = more_memory / (990 * 150)
    progress("done")
    versions = {peer.name: peer.version for peer in found}
    command = " ".join(["benchmarks/run", *sys.argv[1:]])
    results.save("run", results.Run.now(command, figures, tables, versions, missing))
    print("\n".join(results.document()))
    if given.write:
        results.write()


if __name__ == "__main__":
    main()
