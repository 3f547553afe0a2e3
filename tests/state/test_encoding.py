"""What a state file holds: read back it is what was kept, and any other bytes are no state."""

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import pytest
from hypothesis import given, settings, strategies as st
from support.api import FakeApi
from support.places import found_at, places
from support.polled import polling
from support.states import real, unpacked
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Cause, StateError
from exporter.metrics.exposition import API_FAMILIES, rendered
from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Generation, Record, Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.samples import Family, Sample
from exporter.model.targets import Key, Target
from exporter.polling.workspace import WorkspacePoller
from exporter.state.encoding import Encoder, State, decoded, encoded
from exporter.state.workspace_memory import Memory, Origin, RememberedBots, RememberedTurns
from exporter.upstream.limiter import SenderState

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
FLIPS = 2_000


def shown(state: State, now: datetime) -> str:
    return rendered(state.records.items(), now)


def test_a_state_that_is_read_back_is_what_was_kept() -> None:
    before = real()

    after = decoded(encoded(before))

    assert after == before
    at = max(record.last_success for record in before.records.values() if record.last_success)
    assert "seasalt_total_usage" in shown(before, at)
    assert shown(after, at) == shown(before, at)


def test_nothing_secret_is_kept() -> None:
    said = unpacked(encoded(real()))
    assert b"seasalt_total_usage" in said
    assert KEY.encode() not in said


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
    yield content.replace(b"state 2 ", b"state 3 ", 1), "is of another version"
    yield content.replace(b"state 2 ", b"state 1 ", 1), "is of another shape"
    yield content + b"\n", "is damaged"
    yield content[:-1] + bytes([content[-1] ^ 1]), "is damaged"
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
    fields=st.lists(st.lists(names, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple),
    failing_since=st.none() | instants,
    cause=st.none() | st.sampled_from(Cause),
)
keys = st.builds(
    Key,
    st.builds(
        Target,
        *(names, names, names, names),
        st.lists(
            st.tuples(st.sampled_from(["team", "tier", "owner"]), names),
            max_size=2,
            unique_by=lambda label: label[0],
        ).map(tuple),
    ),
    *(names, names),
)
memories = st.builds(
    Memory,
    origin=st.builds(Origin, *(names, names, names, names)),
    standing=st.builds(
        SenderState, st.none() | instants, st.none() | instants, st.none(), st.integers(0, 2**40)
    ),
    turns=st.builds(
        RememberedTurns,
        st.dictionaries(names, instants, max_size=3),
        st.lists(st.tuples(keys, instants), max_size=2).map(tuple),
        st.dictionaries(names, instants, max_size=3),
    ),
    listed=st.builds(RememberedBots, due=st.none() | instants),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(memories, max_size=3), st.lists(st.tuples(keys, records), max_size=5), instants)
def test_whatever_is_kept_gives_the_same_page_again(
    some: list[Memory], rows: list[tuple[Key, Record]], now: datetime
) -> None:
    state = State(tuple(some), Generation((dict(rows),)))

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

    [again] = decoded(encoded(State((), Generation(({key: record},))))).records.values()

    assert again.samples == (known.sample(3, *labels),)


# Files with the right digest, whatever they say.


def sealed(memories: list[bytes], rows: list[bytes], version: int = 2) -> bytes:
    """A file of these lines whose first line is right."""
    payload = b"".join(line + b"\n" for line in (*memories, *rows))
    if version > 1:
        payload = gzip.compress(payload)
    digest = sha256(payload).hexdigest().encode()
    first = (version, digest, len(payload), len(memories))
    return b"seasalt-exporter-state %d %s %d %d\n" % first + payload


def of_version_1(rows: list[Any]) -> list[Any]:
    """Rows as version 1 had them: with each value beside its series."""
    known: list[Any] = []
    plain = []
    for key, record, series, values in rows:
        if not isinstance(series, int):
            known.append(series)
        those = known[series] if isinstance(series, int) else series
        plain.append(
            [key, record, [[*one, value] for one, value in zip(those, values, strict=True)]]
        )
    return plain


WORLD = World()
ONE = workspace(["total_usage", "label_usage"], bots=2, labels={"team": "süd"})
FOUND = workspace(["total_usage"], workspace_id="ws-1", discover_bots={})


def whole(one: Workspace) -> tuple[dict[str, Any], list[Any]]:
    """The lines of a state of a workspace, as values."""
    state = real()
    if one is not ONE:
        state = replace(state, records=Generation((dict([*state.records.items()][:3]),)))
    lines = [json.loads(line) for line in unpacked(encoded(state)).splitlines() if line]
    memory = lines[0]
    memory["origin"] = list(Origin.of(one))
    bot = {"id": "b1", "name": "One", "use_case": "x", "is_enabled": True}
    memory["listed"] = {"bots": [[bot, 0]], "due": "2026-11-21T12:00:00Z"}
    memory["turns"]["refused"] = [[lines[1][0], "2026-11-21T12:00:00Z"]]
    memory["standing"] |= {"not_before": "2026-11-21T12:10:00Z", "day": "2026-11-21"}
    return memory, lines[1:]


def resealed(memory: dict[str, Any], rows: list[Any], version: int = 2) -> State:
    """What is read of the values of such lines.

    Raises:
        StateError: If they are no state.
    """
    lines = [json.dumps(line).encode() for line in (memory, *rows)]
    return decoded(sealed(lines[:1], lines[1:], version))


def begins(state: State, one: Workspace) -> None:
    """Restore a state, poll from it, show a page, read the status and write it down again."""

    async def go() -> None:
        store, telemetry = Store(), Telemetry()
        for key, record in state.records.items():
            store.put(key, record)
        memory = state.memories[0] if state.memories else Memory()
        now = WORLD.now()
        rendered(store, now)
        poller = WorkspacePoller(
            *(one, store, telemetry, WORLD.now),
            transport=FakeApi(WORLD.now).transport,
            memory=memory,
        )
        async with poller:
            rendered(store, WORLD.now())
            telemetry.text(openmetrics=True)
            poller.status()
            await polling(poller, timedelta(seconds=30))
            rendered(store, WORLD.now())
            SnapshotRefresher(store, telemetry, WORLD.now)
            decoded(encoded(State((poller.memory,), store.generation())))

    WORLD.run(go)


IMPOSSIBLE: Final[list[object]] = [
    *(None, True, 0, -1, 1.5, -0.0, 1e308, -1e308, 10**400, 2**63, -(2**63), 10**18),
    *("", "x", "\x00", "1" * 400, "NaN", "inf", "-inf", [], {}, [[]], [None]),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00"),
    *("2026-11-21T12:00:00", "2026-11-21", "0001-01-01", "9999-12-31", "1969-12-31T23:59:59Z"),
    *(1e18, -1e18, 253402300800, float("nan"), float("inf"), float("-inf")),
    *([["a", "b"]] * 3, [["team", "x"], ["team", "y"]], [["workspace", "other"]], [["__x", "y"]]),
    *([["ä-b", "c"]], [[f"l{number}", "x"] for number in range(1000)]),
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([ONE, FOUND]), st.sampled_from([1, 2]), st.data())
def test_whatever_a_file_with_the_right_digest_says_it_is_begun_with_or_it_is_put_aside(
    one: Workspace, version: int, data: st.DataObject
) -> None:
    memory, rows = whole(one)
    if version == 1:
        rows = of_version_1(rows)
    lines = [memory, *rows]
    containers = [(found_at(lines, place[:-1]), place[-1]) for place in places(lines)]
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(containers))
        container[key] = data.draw(st.sampled_from(IMPOSSIBLE))
    state = None
    with suppress(StateError):
        state = resealed(memory, rows, version)
    if state:
        begins(state, one)


def test_a_state_that_nothing_was_done_to_is_begun_with() -> None:
    for one in (ONE, FOUND):
        begins(resealed(*whole(one)), one)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval_seconds", 0),
        ("interval_seconds", float("nan")),
        ("interval_seconds", -600),
        ("duration_seconds", float("inf")),
        ("last_success", "9999-12-31T23:59:59Z"),
        ("last_success", "2026-11-21T12:00:00"),
        ("expires", "0001-01-01T00:00:00Z"),
        ("withdrawn", "9999-12-31T23:59:59-14:00"),
        ("left_out", -1),
        ("left_out", 2**40),
        ("fields", [[]]),
        ("since", "2026-11-21T12:00:00"),
        ("failing_since", "2026-11-21T12:00:00"),
    ],
)
def test_a_record_that_cannot_be_is_no_state(field: str, value: object) -> None:
    memory, rows = whole(ONE)
    rows[0][1][field] = value
    with pytest.raises(StateError, match="says what cannot be"):
        resealed(memory, rows)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("standing", "not_before", "2026-11-21T12:00:00"),
        ("standing", "open_until", "9999-12-31T23:59:59Z"),
        ("standing", "day", "0001-01-01"),
        ("standing", "spent", -1),
        ("standing", "owed", float("nan")),
        ("standing", "owed", float("inf")),
        ("standing", "resting", [["reports", "", "2026-11-21T12:00:00"]]),
        ("turns", "due", {"x": "2026-11-21T12:00:00"}),
        ("turns", "split_in_vain", {"x": "0001-01-01T00:00:00Z"}),
        ("listed", "due", "2026-11-21T12:00:00"),
        ("listed", "bots", [[{"id": "a b"}, 0]]),
        ("listed", "bots", [[{"id": "b1"}, -1]]),
    ],
)
def test_a_memory_that_cannot_be_is_no_state(part: str, name: str, value: object) -> None:
    memory, rows = whole(ONE)
    memory[part][name] = value
    with pytest.raises(StateError, match="says what cannot be"):
        resealed(memory, rows)


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, -1), (2, 1_000), (2, "0"), (2, []), (3, []), (3, [1.0] * 1_000), (3, ["x"]), (3, None)],
)
def test_values_that_do_not_fit_their_series_are_no_state(place: int, value: object) -> None:
    memory, rows = whole(ONE)
    (row, *_) = (row for row in rows if isinstance(row[2], int) and len(row[3]) > 1)
    row[place] = value
    with pytest.raises(StateError, match="is of another shape"):
        resealed(memory, rows)


def test_series_are_held_once_and_numbered_anew_in_each_part() -> None:
    records = [*real().records.items()]
    halves = dict(records[::2]), dict(records[1::2])

    texts = [
        unpacked(encoded(State((), Generation(parts)))) for parts in ((dict(records),), halves)
    ]

    name = b'["seasalt_total_usage_chat_responses",'
    assert [text.count(name) for text in texts] == [1, 2]
    for text in texts:
        assert decoded(sealed([], text.splitlines())).records == real().records


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(keys, records, st.booleans()), min_size=1, max_size=20))
def test_what_is_written_is_what_the_store_has_then_whatever_was_written_before(
    changes: list[tuple[Key, Record, bool]],
) -> None:
    store, encoder = Store(size=1), Encoder()
    for key, record, written in changes:
        store.put(key, record)
        if written:
            records = store.generation()
            assert decoded(encoder.encoded(State((), records))).records == records


def test_a_part_that_takes_the_place_of_another_in_memory_is_not_taken_for_it() -> None:
    store, encoder = Store(size=1), Encoder()
    record = next(iter(real().records.values()))
    bots = [Key(Target("seachat", "acme", f"bot-{number}"), "csat", "all") for number in range(64)]
    for number in range(10):
        for bot in bots:
            store.put(bot, replace(record, left_out=number))
        assert decoded(encoder.encoded(State((), store.generation()))).records == dict(store)


def test_a_part_of_the_store_that_did_not_change_is_not_encoded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compressed: list[int] = []

    def counting(text: bytes) -> Piece:
        compressed.append(len(text))
        return of(text)

    of = Piece.of
    monkeypatch.setattr(Piece, "of", counting)
    store, encoder = Store(size=1), Encoder()
    record = next(iter(real().records.values()))
    for number in range(64):
        store.put(Key(Target("seachat", "acme", f"bot-{number}"), "csat", "all"), record)
    encoder.encoded(State((), store.generation()))
    all_of_it = sum(compressed)
    compressed.clear()

    store.put(Key(Target("seachat", "acme", "bot-7"), "csat", "all"), replace(record, left_out=1))
    encoder.encoded(State((), store.generation()))

    assert 0 < sum(compressed) < all_of_it / 10


def test_nothing_is_written_that_would_not_be_read_again() -> None:
    state = real()
    content = encoded(state)
    size = len(unpacked(content))
    assert decoded(encoded(state, size), size) == state
    with pytest.raises(StateError, match="is larger than"):
        encoded(state, size - 1)
    with pytest.raises(StateError, match="is too large"):
        decoded(content, size - 1)


def test_a_file_that_unpacks_to_more_than_a_state_is_none_and_takes_no_memory() -> None:
    content = sealed([], [b" " * 50_000_000])
    tracemalloc.start()
    try:
        with pytest.raises(StateError, match="is too large"):
            decoded(content, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_what_an_earlier_version_kept_is_read() -> None:
    memory = Memory(Origin("seachat", "acme", "https://chat.seasalt.ai"), SenderState(spent=3))
    plain = json.loads(unpacked(encoded(State((memory,)))).splitlines()[0])
    plain["origin"] = plain["origin"][:4]
    for added in ("paused_key", "resting", "owed"):
        del plain["standing"][added]
    rows = of_version_1(whole(ONE)[1])
    for _, record, _ in rows:
        del record["failing_since"], record["cause"]

    state = resealed(plain, rows, version=1)

    [again] = state.memories
    assert again == memory
    assert state.records == {
        key: replace(record, failing_since=None, cause=None)
        for key, record in real().records.items()
    }
    assert again.origin.same(Origin("seachat", "acme", "https://chat.seasalt.ai", key="x"))


def test_a_record_of_an_earlier_version_has_no_fields() -> None:
    memory, rows = whole(ONE)
    for row in rows:
        assert row[1].pop("fields")

    assert [record.fields for record in resealed(memory, rows).records.values()] == [()] * len(rows)


def test_the_fields_of_many_bots_are_read_as_one_object() -> None:
    state = decoded(encoded(real()))
    known = {record.fields for record in state.records.values()}
    assert len({id(record.fields) for record in state.records.values()}) == len(known)
