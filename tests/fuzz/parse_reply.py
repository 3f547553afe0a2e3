"""Bytes to samples under a coverage-guided fuzzer: a script for a person, no part of the tests.

Install what it needs beside the exporter, then run it for as long as you like:

    .venv/bin/python -m pip install atheris==3.0.0
    .venv/bin/python tests/fuzz/parse_reply.py -max_total_time=300 [folder of seeds]

Whatever it finds is told with the bytes that did it; they become a test.
"""

import math
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # installed by hand

sys.path.insert(0, str(Path(__file__).parent.parent))

with atheris.instrument_imports(include=["exporter"]):
    from pydantic_core import from_json
    from support.entries import KNOWN, Documented

    from exporter.errors import ReplyError
    from exporter.metrics.exposition import rendered
    from exporter.metrics.store import Record, Store
    from exporter.model.apis import APIS
    from exporter.model.bot_list import Listing, page
    from exporter.model.reply_values import Drift
    from exporter.model.targets import Key, Target

ENTRIES = [(sample, sample.entry) for sample in KNOWN]
READABLE = [(sample, entry) for sample, entry in ENTRIES if sample.api in APIS]


def read(sample: Documented, entry: Any, answer: object) -> None:  # noqa: ANN401 - an entry
    """One report of an answer, as far as the page."""
    reading = entry.reading(sample.at)
    samples = entry.report.read(APIS[sample.api].part(answer, entry.metric), reading)
    series = {(one.family, one.labels) for one in samples}
    if len(series) < len(samples) or not all(math.isfinite(one.value) for one in samples):
        raise AssertionError("a series twice, or no number")
    store = Store()
    record = Record(600, samples=samples, expires=sample.at + timedelta(days=1))
    store.put(Key.of(Target(sample.api, "acme"), entry), record)
    rendered(store, sample.at).encode()


def one_input(data: bytes) -> None:
    """An answer of any bytes: its first says which report reads it, or that it is a list of bots."""
    if not data:
        return
    try:
        answer = from_json(data[1:].removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError:
        return
    with suppress(ReplyError):
        if data[0] == 255:
            drift = Drift()
            Listing().add(page(answer, drift), drift)
            return
        sample, entry = READABLE[data[0] % len(READABLE)]
        read(sample, entry, answer)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
