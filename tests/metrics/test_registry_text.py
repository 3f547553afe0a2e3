"""The exporter's own metrics are written as the client library writes them, whatever is kept of it."""

from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest as text_format
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_format
from prometheus_client.registry import Collector

from exporter.metrics.registry_text import EOF, Format, RegistryText

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


@both_formats
def test_what_the_process_tells_is_written_as_the_library_writes_it(written: Format) -> None:
    class Still(Collector):
        """What was told once, as no two looks at a process tell the same."""

        def collect(self) -> Iterable[Metric]:
            return told

    told = [
        family
        for collector in (ProcessCollector, GCCollector)
        for family in collector(registry=CollectorRegistry()).collect()
    ]
    registry = CollectorRegistry()
    registry.register(Still())
    kept = RegistryText(registry, written)

    assert kept.now() == kept.now() == written(registry).removesuffix(EOF)


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
