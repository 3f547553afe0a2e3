"""The exporter's own metrics are written as the client library writes them, whatever is kept of it."""

import gc
import os
import time
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest as text_format
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_format
from prometheus_client.registry import Collector

from exporter.metrics.registry_text import EOF, Format, ProcessText, RegistryText

LABELS = st.sampled_from(["a", 'b"\\\n', "50 %", "%s", "{}", "\r", "\x0c", "\u2028"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["inc", "set", "observe", "remove"]),
        LABELS,
        st.floats(0, 1e18) | st.sampled_from([0.0, 0.5, 1e9, float("inf")]),
    )
)
both_formats = pytest.mark.parametrize(
    "written", [text_format, openmetrics_format], ids=["text", "OpenMetrics"]
)


@both_formats
@given(steps=STEPS)
def test_after_whatever_happens_it_is_the_text_that_the_library_writes(
    written: Format, steps: list[tuple[str, str, float]]
) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the exporter does
    registry = CollectorRegistry()
    counter = Counter("c_total", "100 % of\nthem.", ["label"], registry=registry)
    gauge = Gauge("g", "What %s is.", ["label"], registry=registry)
    histogram = Histogram("h", "How long.", ["label"], buckets=(0.5, 1), registry=registry)
    kept = RegistryText(registry, written)

    for what, label, number in steps:
        if what == "inc":
            counter.labels(label).inc(number)
        elif what == "set":
            gauge.labels(label).set(number)
        elif what == "observe":
            histogram.labels(label).observe(number)
        else:
            gauge.remove_by_labels({"label": label})
        assert kept.now() == written(registry).removesuffix(EOF)


def of_the_library(written: Format) -> list[str]:
    """What the library's own collectors say of the process now, as lines."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, GCCollector):
        collector(registry=registry)
    return written(registry).removesuffix(EOF).decode().splitlines()


@both_formats
def test_what_the_process_tells_is_what_the_library_would_tell(written: Format) -> None:
    kept = ProcessText(written)

    for _ in range(2):
        ours, theirs = kept.now().decode().splitlines(), of_the_library(written)
        assert [line.rpartition(" ")[0] for line in ours] == [
            line.rpartition(" ")[0] for line in theirs
        ]
        for line, wanted in zip(ours, theirs, strict=True):
            if line.startswith("#"):
                assert line == wanted
            else:  # each look is at another instant, and the library's takes a file itself
                number = pytest.approx(float(wanted.rpartition(" ")[2]), rel=0.01, abs=0.05)
                files = line.startswith("process_open_fds")
                assert float(line.rpartition(" ")[2]) + files == number


@both_formats
def test_every_number_of_the_process_is_fresh(written: Format, tmp_path: Path) -> None:
    kept = ProcessText(written)

    def number(series: str) -> float:
        (line,) = [one for one in kept.now().decode().splitlines() if one.startswith(f"{series} ")]
        return float(line.rpartition(" ")[2])

    moving = (
        *("process_cpu_seconds_total", "process_open_fds", "process_max_fds"),
        *("process_virtual_memory_bytes", "process_resident_memory_bytes"),
        *('python_gc_collections_total{generation="2"}',),
        *('python_gc_objects_collected_total{generation="2"}',),
    )
    before, limits = [number(series) for series in moving], getrlimit(RLIMIT_NOFILE)
    loop: list[object] = []
    loop.append(loop)
    del loop
    gc.collect()
    held, end = b"x" * 50_000_000, time.process_time() + 0.05
    while time.process_time() < end:
        pass
    with open(tmp_path / "file", "wb"):  # noqa: PTH123 - a descriptor
        setrlimit(RLIMIT_NOFILE, (limits[0] - 1, limits[1]))
        after = [number(series) for series in moving]
        setrlimit(RLIMIT_NOFILE, limits)
    del held

    steps = [later - earlier for later, earlier in zip(after, before, strict=True)]
    assert steps[1:3] == [1, -1]
    assert min(steps[3:5]) >= 45_000_000
    assert min(steps[0], *steps[5:]) > 0


@both_formats
def test_without_a_file_descriptor_the_process_still_tells_its_memory(written: Format) -> None:
    kept, limits = ProcessText(written), getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        text = kept.now().decode()
    finally:
        setrlimit(RLIMIT_NOFILE, limits)

    assert "\nprocess_resident_memory_bytes " in text
    assert "\nprocess_cpu_seconds_total " in text
    assert "\nprocess_max_fds 3.0\n" in text


@both_formats
def test_what_cannot_be_counted_has_neither_a_number_nor_a_family(
    written: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ProcessText(written)
    monkeypatch.setattr("exporter.metrics.registry_text._FILES", "/nowhere")

    assert b"process_open_fds" not in kept.now()


def test_where_the_folder_has_no_size_its_files_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = ProcessText(text_format)
    for name in "abc":
        (tmp_path / name).touch()
    monkeypatch.setattr("exporter.metrics.registry_text._FILES", str(tmp_path))
    monkeypatch.setattr("os.stat", lambda _: SimpleNamespace(st_size=0))

    assert b"\nprocess_open_fds 2.0\n" in kept.now()  # without the one that lists them


@both_formats
def test_the_library_writes_once_as_long_as_no_series_comes_or_goes(written: Format) -> None:
    times: list[int] = []

    def counted(collector: Collector) -> bytes:
        times.append(1)
        return written(collector)

    registry = CollectorRegistry()
    gauge = Gauge("g", "A number.", ["label"], registry=registry)
    kept = RegistryText(registry, counted)
    for number in range(5):
        gauge.labels("a").set(number)
        assert f'g{{label="a"}} {number}.0\n'.encode() in kept.now()
    assert len(times) == 1

    gauge.labels("b").set(1)
    kept.now()
    assert len(times) == 2
