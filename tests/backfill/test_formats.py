"""What is written can be read by programs that are not ours."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.backfill import openmetrics, remote_write
from exporter.backfill.rebuild import Runs
from exporter.errors import StartError
from exporter.metrics.exposition import header, series_text
from exporter.model.samples import Family

TIMES = tuple(range(1_700_000_000, 1_700_000_000 + 300 * 100, 300))
FAMILY = Family("seasalt_made_up", "A family.", ("window",))

Samples = list[tuple[float, float]]


@st.composite
def some_runs(draw: st.DrawFn) -> Runs:
    edges = sorted(draw(st.sets(st.integers(0, len(TIMES)), min_size=2, max_size=8)))
    runs = Runs()
    for begin, end in zip(edges[::2], edges[1::2], strict=False):
        runs.add(begin, end, draw(st.floats(allow_nan=False, allow_infinity=False)))
    return runs


def expanded(runs: Runs) -> Samples:
    return [(TIMES[place], value) for begin, end, value in runs for place in range(begin, end)]


def unfolded(body: bytes) -> bytes:
    """Snappy's block format, read as its description says."""
    length, at = varint(body, 0)
    found = b""
    while at < len(body):
        tag = body[at]
        assert tag & 3 == 0, "no literal"
        size, at = tag >> 2, at + 1
        if size >= 60:
            more = size - 59
            size, at = int.from_bytes(body[at : at + more], "little"), at + more
        found += body[at : at + size + 1]
        at += size + 1
    assert len(found) == length
    return found


def varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(content: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """The fields of a protocol buffer message."""
    at = 0
    while at < len(content):
        key, at = varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(content, at)
            yield key >> 3, value
        elif kind == 1:
            yield key >> 3, struct.unpack("<d", content[at : at + 8])[0]
            at += 8
        else:
            assert kind == 2
            size, at = varint(content, at)
            yield key >> 3, content[at : at + size]
            at += size


def received(bodies: list[bytes]) -> dict[frozenset[tuple[str, str]], Samples]:
    """The samples of each series, as a store would read them."""
    found: dict[frozenset[tuple[str, str]], Samples] = {}
    for body in bodies:
        for number, content in fields(unfolded(body)):
            assert number == 1
            assert isinstance(content, bytes)
            names, samples = [], []
            for part, inner in fields(content):
                assert isinstance(inner, bytes)
                values = dict(fields(inner))
                if part == 1:
                    names.append(tuple(values[one].decode() for one in (1, 2)))  # type: ignore[union-attr]  # text
                else:
                    samples.append((int(values[2]) / 1000, float(values[1])))
            assert names == sorted(names)
            found.setdefault(frozenset(names), []).extend(samples)  # type: ignore[arg-type]  # pairs
    return found


@given(st.lists(some_runs(), min_size=1, max_size=4))
def test_what_is_pushed_is_what_a_store_reads(given_runs: list[Runs]) -> None:
    times, batch, bodies = remote_write.Times(TIMES), remote_write.Batch(), []
    for number, runs in enumerate(given_runs):
        labels = [("window", "today"), ("__name__", "x"), ("bot", f"Zoë {number}")]
        bodies += [*batch.add(labels, runs, times)]
    bodies.append(batch.taken())
    wanted = {
        frozenset({("window", "today"), ("__name__", "x"), ("bot", f"Zoë {number}")}): expanded(
            runs
        )
        for number, runs in enumerate(given_runs)
        if len(runs)
    }
    assert received(bodies) == wanted


def test_a_request_never_has_more_samples_than_a_store_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_write, "MOST_SAMPLES", 30)
    runs = Runs()
    runs.add(0, 100, 1.0)
    batch = remote_write.Batch()
    bodies = [*batch.add([("__name__", "x")], runs, remote_write.Times(TIMES)), batch.taken()]
    sizes = [len(samples) for body in bodies for samples in received([body]).values()]
    assert sizes == [30, 30, 30, 10]


@given(some_runs())
def test_what_is_written_is_open_metrics(runs: Runs) -> None:
    labels = [("window", 'a "b" \\ \n c')]
    lines = openmetrics.Times(TIMES).lines(series_text(FAMILY.name, labels), runs)
    text = header(FAMILY) + "".join(lines) + "# EOF\n"
    [family] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    assert family.type == "gauge"
    assert [(float(one.timestamp or 0), one.value) for one in family.samples] == expanded(runs)
    assert all(one.labels == dict(labels) for one in family.samples)


def test_a_file_that_cannot_be_written_whole_is_not_there_and_an_earlier_one_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.om"
    path.write_text("earlier")
    runs = Runs()
    runs.add(0, 100, 1.0)

    def write() -> None:
        with openmetrics.writing(path) as writer:
            writer.family(header(FAMILY))
            writer.series("x{}", runs, openmetrics.Times(TIMES))
            raise OSError(28, "No space left on device")

    with pytest.raises(StartError, match="No space left on device; the answers are kept"):
        write()
    assert [one.name for one in tmp_path.iterdir()] == ["history.om"]
    assert path.read_text() == "earlier"
