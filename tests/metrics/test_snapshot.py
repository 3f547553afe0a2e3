"""A large page is made of blocks, and only what changed is made anew: nobody can tell."""

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final

import httpx
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.failures import failed
from support.sizes import INTERVAL, polled, targets
from support.virtual import START

from exporter.metrics import exposition
from exporter.metrics.exposition import API_FAMILIES, FAMILIES, REPORT_FAMILIES, header_piece
from exporter.metrics.gzip_pieces import PORTION, Piece
from exporter.metrics.snapshot import NEVER, Snapshot, snapshot
from exporter.metrics.store import RECORDS_OF_A_PART, Record, Store
from exporter.model.samples import Family
from exporter.model.targets import Key, Target

LARGE: Final = 240
"""Bots of a page of several blocks."""


def series(page: str) -> dict[str, str]:
    """Every series of a page with its value."""
    lines = [line.rpartition(" ") for line in page.splitlines() if line[0] != "#"]
    found = {name: value for name, _, value in lines}
    assert len(found) == len(lines), "a series comes twice"
    return found


def plain(records: Store, at: datetime) -> dict[str, float]:
    """What must be on the page, by the longest way: line by line, nothing kept."""
    found: dict[str, float] = {}
    for key, record in records:
        target = key.target
        common = [("api", target.api), ("workspace", target.workspace), ("bot_id", target.bot_id)]
        common += [("bot", target.bot), *target.labels]

        def name(
            family: Family, labels: Sequence[str], common: list[tuple[str, str]] = common
        ) -> str:
            pairs = [*common, *zip(family.labels, labels, strict=True)]
            shown = ",".join(f'{name}="{value}"' for name, value in pairs if value)
            return f"{family.name}{{{shown}}}"

        if record.expires and at < record.expires:
            for family, labels, value in record.samples:
                found.setdefault(name(family, labels), value)
        if key.report:
            last = record.last_success.timestamp() if record.last_success else None
            told = (float(record.success), last, record.duration_seconds, record.interval_seconds)
            for family, number in zip(REPORT_FAMILIES, told, strict=True):
                if number is not None:
                    found[name(family, (key.report, key.window))] = number
    return found


def whole(page: Piece) -> str:
    """The text of a page, from its gzip member, in one read."""
    member = b"".join(page.member())
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    found = inflate.decompress(member)
    assert (inflate.eof, inflate.unused_data) == (True, b"")
    assert b"".join(page.text()) == found
    return found.decode()


def in_order(page: str) -> bool:
    """Whether each family comes once, in the catalogue's order, with one header."""
    order = [family.name for family in (*API_FAMILIES, *REPORT_FAMILIES)]
    headers = [line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE")]
    names = [line.split("{")[0] for line in page.splitlines() if line[0] != "#"]
    seen = list(dict.fromkeys(names))
    return headers == seen == sorted(seen, key=order.index) and names == sorted(
        names, key=order.index
    )


def filled(bots: int) -> Store:
    """A store with so many bots."""
    store = Store()
    for target in targets(bots):
        for key, record in polled(target, START):
            store.put(key, record)
    return store


class Life(RuleBasedStateMachine):
    """A store to which everything happens that can, and the page that is kept of it."""

    bots = st.integers(0, 11)
    reports = st.integers(0, 9)

    size = RECORDS_OF_A_PART

    def __init__(self) -> None:
        super().__init__()
        self.now, self.seed = START, 0
        self.store, self.targets = Store(self.size), targets(12)
        self.made = Snapshot()

    def _key(self, bot: int, report: int) -> Key:
        return [key for key, _ in polled(self.targets[bot], self.now)][report]

    @rule(bot=bots, some=st.sets(reports, min_size=1))
    def poll(self, bot: int, some: set[int]) -> None:
        """Some reports of a bot bring values."""
        self.seed += 1
        for number, (key, record) in enumerate(polled(self.targets[bot], self.now, self.seed)):
            if number in some:
                self.store.put(key, record)

    @rule(bot=bots, report=reports, left=st.integers(0, 3))
    def shrink(self, bot: int, report: int, left: int) -> None:
        """A report brings but a few of its series."""
        key = self._key(bot, report)
        record = dict(polled(self.targets[bot], self.now))[key]
        self.store.put(key, replace(record, samples=tuple(record.samples)[:left]))

    @rule(bot=bots, report=reports)
    def fail(self, bot: int, report: int) -> None:
        """A poll brings nothing."""
        self.store.fail(self._key(bot, report), failed(), now=self.now, interval_seconds=600.0)

    @rule(bot=bots, report=reports)
    def withdraw(self, bot: int, report: int) -> None:
        """A bot is gone."""
        self.store.withdraw(self._key(bot, report), self.now)

    @rule(kept=st.sets(bots))
    def reload(self, kept: set[int]) -> None:
        """The configuration names other bots than before."""
        wanted = {self.targets[bot] for bot in kept}
        self.store.keep({key for key, _ in self.store if key.target in wanted}, "acme")

    @rule(bot=bots)
    def rename(self, bot: int) -> None:
        """A bot is called something else, and its values are to come."""
        old = self.targets[bot]
        self.targets[bot] = replace(old, bot=f"{old.bot}'")
        self.store.keep({key for key, _ in self.store if key.target != old}, "acme")

    @rule(minutes=st.integers(1, 25))
    def wait(self, minutes: int) -> None:
        """Time passes, and values with it."""
        self.now += timedelta(minutes=minutes)

    @rule()
    def forget(self) -> None:
        """What expired leaves the store."""
        self.store.expire(self.made.hidden, self.made.at)

    @rule()
    def scrape(self) -> None:
        """The page is made anew and read."""
        self.made = snapshot(self.store.generation(), self.now, self.made)
        page = whole(self.made.page)
        truth = plain(self.store, self.now)
        assert {name: float(value) for name, value in series(page).items()} == truth
        assert in_order(page)
        assert sum(self.made.series.values()) == sum(
            not name.startswith("seasalt_report") for name in truth
        )
        expiries = [record.expires for _, record in self.store if record.shown(self.now)]
        assert self.made.until == min(filter(None, expiries), default=NEVER)

    @invariant()
    def never_too_long(self) -> None:
        """The page knows until when it holds."""
        if self.made.holds(self.now):
            assert self.now < self.made.until


class InBlocks(Life):
    """The same in many blocks, which take more bots otherwise."""

    size = 5


@pytest.mark.parametrize("life", [Life, InBlocks], ids=["one block", "many"])
def test_a_page_that_is_made_anew_in_parts_is_that_of_a_plain_renderer(life: type[Life]) -> None:
    run_state_machine_as_test(
        life, settings=settings(max_examples=12, stateful_step_count=30, deadline=None)
    )


def test_a_large_page_is_read_whole_by_every_client() -> None:
    store = filled(LARGE)
    made = snapshot(store.generation(), START)
    page, own = made.page, b"own 1\n"
    assert len(page.parts) > 100

    member = b"".join(Piece.joined((page, Piece.of(own))).member())

    expected = b"".join(page.text()) + own
    assert gzip.decompress(member) == expected
    headers = {"content-encoding": "gzip"}
    assert httpx.Response(200, headers=headers, content=member).content == expected
    assert len(member) < len(snapshot_of_one_block(store)) * 1.3


def test_a_page_is_prepared_for_sending_without_a_copy_of_it() -> None:
    """A slow reader holds an old page: then what it shares with later ones costs nothing."""
    store = filled(LARGE)
    before = snapshot(store.generation(), START)
    key, record = next(polled(targets(1)[0], START, seed=7))
    store.put(key, record)
    after = snapshot(store.generation(), START, before)

    for page in (before.page, after.page):
        sizes = [len(part) for part in page.parts]
        begin = 0
        for held in page.groups:
            portion = sum(sizes[begin : begin + held])
            begin += held
            assert portion <= PORTION < portion + sizes[begin] + len(b"the header")
        assert sum(sizes[begin:]) <= PORTION
        assert page.compressed == sum(sizes)
    assert before.page.groups
    pieces = {
        id(part) for block in after.blocks for one in block.pieces.values() for part in one.parts
    }
    headers = {id(part) for family in FAMILIES for part in header_piece(family).parts}
    assert {id(part) for part in after.page.parts} <= pieces | headers


def test_a_part_larger_than_a_portion_is_sent_as_well() -> None:
    small, large = Piece.of(b"small\n"), Piece.of(os.urandom(2 * PORTION))
    for order in ([large], [small, large], [large, small], [small] * 3 + [large] * 2):
        page = Piece.joined(order).grouped()
        member = b"".join(Piece.joined((page, small)).member())
        assert len(member) == Piece.joined((page, small)).member_size
        assert gzip.decompress(member) == b"".join(Piece.joined((*order, small)).text())


def snapshot_of_one_block(store: Store) -> bytes:
    """The same page in one piece."""
    return b"".join(Piece.of(exposition.rendered(store, START).encode()).member())


def test_a_page_in_blocks_has_the_series_of_the_page_in_one() -> None:
    store = filled(LARGE)

    assert series(whole(snapshot(store.generation(), START).page)) == series(
        exposition.rendered(store, START)
    )


def changed(before: Snapshot, after: Snapshot) -> int:
    """How many pieces of a page were made anew."""
    old = set(map(id, before.page.parts))
    return sum(id(part) not in old for part in after.page.parts)


def test_what_one_poll_costs_does_not_grow_with_the_number_of_bots() -> None:
    one = targets(1)[0]
    families = {family for _, record in polled(one, START) for family, _, _ in record.samples}
    for bots in (LARGE, 4 * LARGE):
        store = filled(bots)
        before = snapshot(store.generation(), START)
        for key, record in polled(one, START, seed=7):
            store.put(key, record)

        after = snapshot(store.generation(), START, before)

        assert 0 < changed(before, after) <= len(families) + len(REPORT_FAMILIES)
        assert changed(before, after) < len(after.page.parts) / 5


def test_bots_that_are_polled_after_each_other_are_neighbours_on_the_page() -> None:
    store = filled(LARGE)
    before = snapshot(store.generation(), START)
    fortieth = sorted(targets(LARGE), key=lambda target: target.place)[: LARGE // 40]
    for target in fortieth:
        for key, record in polled(target, START, seed=7):
            store.put(key, record)

    after = snapshot(store.generation(), START, before)

    assert changed(before, after) <= 2 * len(before.page.parts) / len(before.blocks)


def test_an_answer_that_says_what_the_last_one_said_is_not_written_again() -> None:
    store = filled(LARGE)
    before = snapshot(store.generation(), START)
    key, record = next(polled(targets(1)[0], START))
    store.put(key, replace(record, duration_seconds=9.0))

    assert changed(before, snapshot(store.generation(), START, before)) == 1


def test_nothing_new_costs_nothing() -> None:
    store = filled(LARGE)
    before = snapshot(store.generation(), START)

    assert snapshot(store.generation(), START + INTERVAL, before).page is before.page


names = st.sampled_from(["", "", "a"]) | st.text(st.sampled_from('ab",=\\{}'), max_size=4)
bots = st.builds(
    Target,
    *(st.just("seachat"), st.sampled_from(["acme", "b"]), names, names),
    st.lists(
        st.tuples(st.sampled_from(["team", "floor"]), names),
        max_size=2,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
)


@given(st.lists(bots, min_size=2, max_size=6))
def test_only_neighbours_could_write_the_same_series(some: list[Target]) -> None:
    """Those whose labels are the same on the page are in one block, where the first one wins."""
    for one, two in combinations(some, 2):
        if series_of(one) & series_of(two):
            assert one.place == two.place


def series_of(target: Target) -> set[str]:
    """The series that a bot has on a page of its own."""
    family = next(family for family in API_FAMILIES if family.labels == ("window",))
    samples = (family.sample(1, "today"),)
    record = Record(600.0, success=True, samples=samples, expires=START + INTERVAL)
    page = exposition.rendered([(Key(target, "x", "today"), record)], START)
    return set(series(page))


@given(st.lists(st.binary(max_size=2000) | st.integers(0, 2**20).map(bytes), max_size=5))
@settings(max_examples=50)
def test_the_checksum_of_what_is_joined_is_that_of_the_whole(texts: list[bytes]) -> None:
    pieces, whole = [Piece.of(text) for text in texts], b"".join(texts)
    for page in (
        Piece.joined(pieces),
        Piece.joined((Piece.joined(pieces[:2]), *pieces[2:])),
        Piece.joined((*pieces[:1], Piece.joined(pieces[1:]))),
    ):
        assert gzip.decompress(b"".join(page.member())) == whole
        assert (page.crc, page.size) == (zlib.crc32(whole), len(whole))
