"""Whatever becomes of the requests and of the process, a store has every sample in the end."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest
from backfill.test_formats import TIMES, expanded, received, some_runs
from hypothesis import given, strategies as st

from exporter.backfill import push, remote_write
from exporter.backfill.grid import Grid
from exporter.backfill.journal import Journal
from exporter.backfill.output import Rebuilt
from exporter.backfill.rebuild import Runs
from exporter.commands import backfill
from exporter.errors import StartError
from exporter.model.samples import Family

FAMILY: Final = Family("seasalt_made_up", "A family.", ("bot",))
GRID: Final = Grid((), array("q", TIMES), (), {})

Series = frozenset[tuple[str, str]]


class Killed(BaseException):
    """The process ends at once, without a word."""


@dataclass
class Store:
    """A store, and what becomes of each request to write.

    Attributes:
        fates: Of the next requests; the others are stored and answered well.
        clock: Seconds.
        kept: The values of each series by time.
        bodies: Of all requests that it got.
        name: Tells it from others.
    """

    fates: list[str]
    clock: float = 0.0
    kept: dict[Series, dict[float, float]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    name: bytes = field(default_factory=lambda: uuid4().bytes)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.clock += seconds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        body, fate = request.content, self.fates.pop(0) if self.fates else "stored"
        self.bodies.append(body)
        if fate == "killed before":
            raise Killed
        if fate == "broken":
            raise httpx.ConnectError("")
        if fate.isdigit():
            return httpx.Response(int(fate))
        for series, samples in received([body]).items():
            known = self.kept.setdefault(series, {})
            for at, value in samples:
                assert known.setdefault(at, value) == value, "another value for the same moment"
        if fate == "killed after":
            raise Killed
        if fate == "lost":
            raise httpx.ReadError("")
        return httpx.Response(204)


@dataclass(frozen=True)
class Past:
    """Some series, and a journal."""

    journal: Journal
    series: Sequence[Runs]
    plans: tuple[()] = ()

    def __iter__(self) -> Iterator[Rebuilt]:
        for number, runs in enumerate(self.series):
            yield Rebuilt(FAMILY, [("bot", f"Zoë {number}")], runs, GRID)

    def wanted(self) -> dict[Series, dict[float, float]]:
        """What a store should have."""
        return {
            frozenset({("__name__", FAMILY.name), *one.labels}): dict(expanded(one.runs))
            for one in self
        }


def pushed(past: Past, store: Store) -> None:
    """Push into a store."""

    def made(url: str, query: str, headers: dict[str, str]) -> push.Store:
        return push.Store(url, query, headers, store.sleep, lambda: store.clock)

    network = httpx.MockTransport(store)
    client = partial(httpx.Client, transport=network, verify=False)  # to load certificates is slow
    url = "http://store"
    job = backfill.Job(
        first=date.min, step=300, folder=Path(), push=f"{url}/write", query=url, headers={}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backfill, "Store", made)
        patch.setattr(httpx, "Client", client)
        patch.setattr(backfill, "_store", lambda _: store.name)  # takes long
        patch.setattr(push, "READ_BACK", 0)  # it would mend what the notes have wrong
        patch.setattr(remote_write, "MOST_SAMPLES", 30)
        backfill._push(past, job)  # type: ignore[arg-type]  # noqa: SLF001 - a past of series alone


FATES: Final = ("stored", "lost", "broken", "killed before", "killed after", "500", "429", "400")


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """A journal for all tests: to make one, or to wait for the disk, takes longer than a test."""
    with Journal(tmp_path_factory.mktemp("journal")) as made:
        made._connection.execute("PRAGMA synchronous = OFF")  # noqa: SLF001
        yield made


SERIES: Final = st.lists(some_runs().filter(len), min_size=1, max_size=6)


@given(SERIES, st.lists(st.sampled_from(FATES), max_size=12))
def test_nothing_is_lost_and_nothing_that_was_noted_is_pushed_again(
    journal: Journal, series: list[Runs], fates: list[str]
) -> None:
    store, past = Store(fates), Past(journal, series)
    while True:
        try:
            pushed(past, store)
        except (StartError, Killed):
            continue
        break
    assert store.kept == past.wanted()
    before = len(store.bodies)
    pushed(past, store)
    assert len(store.bodies) == before


@given(SERIES)
def test_equal_runs_make_equal_requests_and_each_sample_is_in_one_of_them(
    journal: Journal, series: list[Runs]
) -> None:
    stores, past = [Store([]), Store([])], Past(journal, series)
    for store in stores:
        pushed(past, store)
    one, two = (store.bodies for store in stores)
    assert one == two
    assert {series: dict(samples) for series, samples in received(one).items()} == past.wanted()
    assert sum(map(len, received(one).values())) == sum(map(len, series))


@given(st.lists(st.sampled_from(["lost", "broken", "500", "429"]), max_size=5))
def test_a_request_that_is_repeated_is_the_same_byte_for_byte(
    journal: Journal, fates: list[str]
) -> None:
    runs, store = Runs(), Store([*fates])
    runs.add(0, 10, 1.5)
    pushed(Past(journal, [runs]), store)
    assert len(store.bodies) == len(fates) + 1
    assert len(set(store.bodies)) == 1
