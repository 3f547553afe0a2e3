"""What is kept of each report, and how much of it a workspace has."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st
from support.failures import failed
from support.virtual import START

from exporter.errors import Cause
from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.series_limits import Room
from exporter.metrics.store import Record, Store
from exporter.model.targets import Key, Target

CALLS = next(f for f in API_FAMILIES if f.name == "seasalt_communication_volume_calls")
HOUR = timedelta(hours=1)
ACME, OTHER = Target("seachat", "acme"), Target("seachat", "other")
ONE, TWO = Key(ACME, "one", "today"), Key(ACME, "two", "today")
NOBODY = Key(ACME, "nobody", "today")
ELSEWHERE = Key(OTHER, "one", "today")
FACTS = Key(Target("seachat", "acme", "b1", "Bot"), "", "")


def record(number: int, lasts: timedelta = HOUR) -> Record:
    samples = tuple(CALLS.sample(1, "today", f"d{n}") for n in range(number))
    return Record(600.0, success=True, last_success=START, samples=samples, expires=START + lasts)


@pytest.fixture
def store() -> Store:
    made = Store()
    for key, number in ((ONE, 3), (TWO, 5), (ELSEWHERE, 7), (FACTS, 2)):
        made.put(key, record(number))
    return made


def kept(store: Store) -> set[Key]:
    return {key for key, _ in store}


def test_a_workspaces_values_are_counted_those_that_are_told_of_its_bots_as_well(
    store: Store,
) -> None:
    assert store.shares("acme").kept == 3 + 5 + 2
    assert store.shares("other").kept == 7


def test_values_that_are_replaced_are_counted_once(store: Store) -> None:
    store.put(ONE, record(4))
    store.put(FACTS, record(9))

    assert store.shares("acme").kept == 4 + 5 + 9


def test_values_that_expire_are_forgotten_and_no_longer_counted(store: Store) -> None:
    store.put(TWO, record(5, 2 * HOUR))

    store.expire(kept(store), START + HOUR - timedelta(seconds=1))
    assert store.shares("acme").kept == 3 + 5 + 2

    store.expire(kept(store), START + HOUR)
    assert store.shares("acme").kept == 5
    assert dict(store)[ONE].samples == ()
    assert dict(store)[ONE].success
    assert len(dict(store)[TWO].samples) == 5


def test_values_that_expired_are_not_counted_off_again_when_new_ones_come(store: Store) -> None:
    store.expire(kept(store), START + HOUR)
    store.expire(kept(store), START + 2 * HOUR)
    store.put(ONE, record(4, 3 * HOUR))

    assert store.shares("acme").kept == 4


@pytest.mark.parametrize("how", ["withdrawn", "expired", "not kept", "of another question"])
def test_what_is_gone_claims_no_room_for_what_was_left_out_of_it(how: str) -> None:
    store, limit = Store(), 12
    store.put(ONE, replace(record(6), left_out=100))
    store.put(TWO, replace(record(6), left_out=4))
    store.put(ELSEWHERE, record(limit))  # another workspace's
    assert store.shares("acme").room(store.held(TWO), 10, limit) == Room(level=6, share=6, above=0)

    if how == "withdrawn":
        store.withdraw(ONE, START)
    elif how == "expired":
        store.expire([ONE], START + HOUR)
    elif how == "not kept":
        store.keep({TWO}, "acme")
    else:
        store.adjust(ONE, "another", HOUR, 3)

    assert store.shares("acme").room(store.held(TWO), 10, limit) is None


def test_what_fails_still_claims_the_room_of_the_values_that_stay() -> None:
    store = Store()
    store.put(ONE, replace(record(6), left_out=100))

    store.fail(ONE, failed(), now=START, interval_seconds=600)

    assert store.shares("acme").room(store.held(TWO), 10, 12) == Room(level=6, share=6, above=0)


def test_a_report_fails_since_the_first_failure_after_its_last_success(store: Store) -> None:
    store.put(ONE, record(1))
    for minutes in (1, 2, 3):
        store.fail(ONE, failed(), now=START + timedelta(minutes=minutes), interval_seconds=600)
    found = dict(store)[ONE]
    assert (found.failing_since, found.cause) == (
        START + timedelta(minutes=1),
        Cause.SERVER_ERROR,
    )

    store.put(ONE, record(1))

    assert (dict(store)[ONE].failing_since, dict(store)[ONE].cause) == (None, None)


def test_since_when_a_report_fails_stays_unknown_if_that_was_not_kept(store: Store) -> None:
    store.put(ONE, replace(record(1), success=False, error="HTTP 500"))

    store.fail(ONE, failed(), now=START, interval_seconds=600)

    assert dict(store)[ONE].failing_since is None


@pytest.mark.parametrize("at", [datetime.max, datetime.min, datetime(9000, 1, 1)])  # noqa: DTZ001, DTZ901
def test_a_record_of_any_time_can_be_adjusted(store: Store, at: datetime) -> None:
    store.put(ONE, replace(record(3), last_success=at.replace(tzinfo=UTC)))

    store.adjust(ONE, "", timedelta(days=366), 1000)

    assert not dict(store)[ONE].valid(START)


def test_values_that_were_withdrawn_stay_gone_since_then_whatever_comes_of_the_interval(
    store: Store,
) -> None:
    store.withdraw(ONE, START + timedelta(minutes=5))
    store.withdraw(ONE, START + timedelta(minutes=65))  # it is looked for every hour

    store.adjust(ONE, "", timedelta(days=1), 3)

    found = dict(store)[ONE]
    assert (found.samples, found.last_success) == ((), START)
    assert found.expires == START + timedelta(minutes=5)


def test_what_is_no_longer_wanted_is_gone_and_no_longer_counted(store: Store) -> None:
    store.keep({ONE}, "acme")

    assert kept(store) == {ONE, ELSEWHERE}
    assert (store.shares("acme").kept, store.shares("other").kept) == (3, 7)


def test_of_the_parts_of_a_generation_only_those_are_others_in_which_something_changed() -> None:
    store = Store(size=4)
    keys = [Key(Target("seachat", "acme", f"b{bot}"), "csat", "today") for bot in range(100)]
    for key in keys:
        store.put(key, record(1))
    before = store.generation()
    assert len(before.parts) == 16

    store.put(keys[0], record(2))
    store.fail(keys[1], failed(), now=START, interval_seconds=600)
    after = store.generation()

    places = {int(key.target.place * 16) for key in keys[:2]}
    others = [one is not two for one, two in zip(before.parts, after.parts, strict=True)]
    assert {place for place, other in enumerate(others) if other} == places
    assert (len(before[keys[0]].samples), len(after[keys[0]].samples)) == (1, 2)
    assert {*after} == {*keys}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["succeed", "fail", "withdraw", "keep", "given"]), st.integers(0, 40)
        )
    )
)
def test_in_parts_a_store_holds_what_it_holds_as_a_whole(steps: list[tuple[str, int]]) -> None:
    stores = whole, parted = Store(), Store(size=1)
    for step, bot in [*(("succeed", bot) for bot in range(10)), *steps]:
        key = Key(Target("seachat", "acme", f"b{bot}"), "csat", "today")
        kept = {other for other, _ in whole if other != key}
        for store in stores:
            if step == "succeed":
                store.put(key, record(bot))
            elif step == "fail":
                store.fail(key, failed(seconds=bot), now=START, interval_seconds=600)
            elif step == "withdraw":
                store.withdraw(key, START)
            elif step == "keep":
                store.keep(kept, "acme")
            else:
                assert {**store.generation()} == dict(store)
        assert dict(parted) == dict(whole)
        assert {other: parted.samples(other) for other, _ in whole} == {
            other: one.samples for other, one in whole
        }
        assert parted.shares("acme").kept == whole.shares("acme").kept


def test_a_generation_stays_as_it_was_whatever_comes_later(store: Store) -> None:
    before = store.generation()

    store.put(ONE, record(9))
    store.withdraw(TWO, START)
    store.keep({ONE}, "other")
    store.put(NOBODY, record(1))

    assert {key: len(one.samples) for key, one in before.items()} == {
        ONE: 3,
        TWO: 5,
        ELSEWHERE: 7,
        FACTS: 2,
    }
