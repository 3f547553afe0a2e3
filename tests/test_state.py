"""What a state file holds: read back it is what was kept, and any other bytes are no state."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given, settings, strategies as st
from support.states import real
from support.workspaces import KEY

from exporter.errors import StateError
from exporter.exposition import API_FAMILIES, text
from exporter.memory import Listed, Memory, Origin, Turns
from exporter.plan import Key, Target
from exporter.samples import Family, Sample
from exporter.standing import Standing
from exporter.state import State, decoded, encoded
from exporter.store import Record

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
FLIPS = 2_000


def shown(state: State, now: datetime) -> str:
    return text(state.records, now)


def test_a_state_that_is_read_back_is_what_was_kept() -> None:
    before = real()

    after = decoded(encoded(before))

    assert after == before
    at = max(record.last_success for _, record in before.records if record.last_success)
    assert "seasalt_total_usage" in shown(before, at)
    assert shown(after, at) == shown(before, at)


def test_nothing_secret_is_kept() -> None:
    assert KEY.encode() not in encoded(real())


@pytest.mark.parametrize("fraction", range(10), ids=lambda tenth: f"tenth {tenth}")
def test_a_part_of_a_state_is_none(fraction: int) -> None:
    content = encoded(real())
    step = len(content) // 10
    for length in range(fraction * step, min(len(content), (fraction + 1) * step + 10)):
        if length < len(content):
            with pytest.raises(StateError):
                decoded(content[:length])


def test_a_state_with_a_bit_turned_over_is_none() -> None:
    content, chance = encoded(real()), random.Random(1)  # noqa: S311 - no secret
    for _ in range(FLIPS):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        with pytest.raises(StateError):
            decoded(bytes(damaged))


def _odd() -> Iterator[tuple[bytes, str]]:
    content = encoded(real())
    first, _, payload = content.partition(b"\n")
    words = first.split(b" ")
    yield b"", "is no state file"
    yield b"\0" * 4096, "is no state file"
    yield b"# HELP x y\n", "is no state file"
    yield content.replace(b"state 1 ", b"state 2 ", 1), "is of another version"
    yield content + b"\n", "is damaged"
    yield content.replace(b"12", b"13"), "is damaged"
    yield b" ".join(words[:4]) + b"\n" + payload, "is of another shape"
    yield b" ".join((*words[:4], b"9999999")) + b"\n" + payload, "is of another shape"
    yield b" ".join((*words[:4], b"0")) + b"\n" + payload, "is of another shape"


@pytest.mark.parametrize(("content", "says"), list(_odd()))
def test_what_is_wrong_with_a_state_is_said_without_a_part_of_it(content: bytes, says: str) -> None:
    with pytest.raises(StateError, match=f"^{says}$"):
        decoded(content)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
instants = st.integers(1_577_836_800_000_000, 4_102_444_800_000_000).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    family: Family = draw(st.sampled_from(API_FAMILIES))
    labels = draw(st.tuples(*(names for _ in family.labels)))
    return Sample(family, labels, draw(numbers))


records = st.builds(
    Record,
    interval_seconds=st.floats(1, 1e6),
    success=st.booleans(),
    duration_seconds=st.floats(0, 60),
    last_success=instants,
    samples=st.lists(samples(), max_size=5).map(tuple),
    expires=instants,
    error=names,
    withdrawn=st.none() | instants,
    question=names,
)
keys = st.builds(
    Key,
    st.builds(
        Target,
        *(names, names, names, names),
        st.lists(st.tuples(names, names), max_size=2).map(tuple),
    ),
    *(names, names),
)
memories = st.builds(
    Memory,
    origin=st.builds(Origin, *(names, names, names, names)),
    standing=st.builds(
        Standing, st.none() | instants, st.none() | instants, st.none(), st.integers(0, 2**40)
    ),
    turns=st.builds(
        Turns,
        st.dictionaries(names, instants, max_size=3),
        st.lists(st.tuples(keys, instants), max_size=2).map(tuple),
        st.dictionaries(names, instants, max_size=3),
    ),
    listed=st.builds(Listed, due=st.none() | instants),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(memories, max_size=3), st.lists(st.tuples(keys, records), max_size=5), instants)
def test_whatever_is_kept_gives_the_same_page_again(
    some: list[Memory], rows: list[tuple[Key, Record]], now: datetime
) -> None:
    state = State(tuple(some), tuple(rows))

    again = decoded(encoded(state))

    assert again == state
    assert shown(again, now) == shown(state, now)


def test_values_of_a_family_that_is_no_longer_known_are_left_out() -> None:
    known = API_FAMILIES[0]
    gone = Family("seasalt_gone", "Of an earlier version.")
    fewer = replace(known, labels=(*known.labels, "further"))
    labels = tuple("x" for _ in known.labels)
    record = Record(
        *(600, True, 0.1, NOW),
        (gone.sample(1), Sample(fewer, (*labels, "y"), 2), known.sample(3, *labels)),
        NOW + timedelta(hours=1),
    )
    key = Key(Target("seachat", "acme"), "report", "today")

    [(_, again)] = decoded(encoded(State((), ((key, record),)))).records

    assert again.samples == (known.sample(3, *labels),)


def test_what_an_earlier_version_kept_is_read() -> None:
    memory = Memory(Origin("seachat", "acme", "https://chat.seasalt.ai"), Standing(spent=3))
    plain = json.loads(encoded(State((memory,))).split(b"\n")[1])
    plain["origin"] = plain["origin"][:4]
    for added in ("paused_key", "resting", "owed"):
        del plain["standing"][added]
    line = json.dumps(plain).encode() + b"\n"
    head = b"seasalt-exporter-state 1 %s %d 1\n" % (sha256(line).hexdigest().encode(), len(line))

    [again] = decoded(head + line).memories

    assert again == memory
    assert again.origin.same(Origin("seachat", "acme", "https://chat.seasalt.ai", key="x"))
