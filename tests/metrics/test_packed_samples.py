"""Samples as they are kept: like a tuple to whoever reads them, and small."""

import gc
import tracemalloc

from hypothesis import given, strategies as st
from support.sizes import LABELS, polled, targets
from support.virtual import START

from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.packed_samples import Samples, Shape
from exporter.metrics.snapshot import snapshot
from exporter.metrics.store import Store
from exporter.model.samples import Sample

BYTES_OF_A_SERIES = 60
"""What a series more may take, in the store and on the page together."""


@st.composite
def one(draw: st.DrawFn) -> Sample:
    family = draw(st.sampled_from(API_FAMILIES))
    labels = draw(st.tuples(*(st.sampled_from(["", "a", "b"]) for _ in family.labels)))
    return Sample(family, labels, draw(st.floats(allow_nan=False)))


@given(st.lists(one(), max_size=4), st.lists(one(), max_size=2))
def test_kept_samples_are_the_samples_that_were_given(
    given: list[Sample], more: list[Sample]
) -> None:
    kept = Samples(given)

    assert tuple(kept) == tuple(given) == kept
    assert len(kept) == len(given)
    assert list(reversed(kept)) == given[::-1]
    assert [kept[index] for index in range(len(given))] == given
    assert kept[1:3] == tuple(given[1:3])
    assert kept == Samples(iter(given))
    assert (kept == Samples(given + more)) == (not more)
    assert hash(kept) == hash(tuple(given))
    assert Samples.of(kept) is kept


def test_series_that_are_the_same_are_kept_once_and_gone_with_the_last_who_has_them() -> None:
    first, second = (
        Samples(sample for _, record in polled(bot, START) for sample in record.samples)
        for bot in targets(2)
    )
    assert first.shape is second.shape

    known = len(Shape.known)
    del first
    assert len(Shape.known) == known
    del second
    assert len(Shape.known) == known - 1


def test_a_series_more_takes_tens_of_bytes_in_the_store_and_on_the_page() -> None:
    def taken(bots: int) -> tuple[int, int]:
        gc.collect()
        tracemalloc.start()
        store = Store()
        for target in targets(bots):
            for key, record in polled(target, START):
                store.put(key, record)
        made = snapshot(store.generation(), START)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size, sum(made.series.values()) + 4 * len(made.blocks[0].part)

    few, many = taken(20), taken(120)

    assert len(LABELS) > 10
    assert (many[0] - few[0]) / (many[1] - few[1]) <= BYTES_OF_A_SERIES
