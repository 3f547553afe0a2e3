"""What an answer's bytes are taken for, and what they can cost."""

import asyncio
import base64
import gzip
import json
import time
import tracemalloc
import zlib
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st
from support.api import pieces
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.metrics.exposition import rendered as page
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.label_values import label_value
from exporter.polling.workspace import WorkspacePoller
from exporter.upstream.answer import DEEPEST, TooMuch, Unfit, Unfolding, holds, read, small

UNREADABLE = {
    "lone-high": b"\\ud83d",
    "lone-low": b"\\ude00",
    "wrong-order": b"\\ude00\\ud83d",
    "tab": b"\t",
    "new-line": b"\n",
    "null": b"\0",
    "latin-1": b"\xe9",
    "cut-character": b"\xf0\x9f\x98",
    "surrogate-in-utf-8": b"\xed\xa0\xbd",
    "escaped-byte": b"\\\xff",
    "escaped-new-line": b"\\\n",
    "escaped-surrogate": b"\\\xed\xa0\xbd",
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize(
    "before", [b"", b"\\n", b'\\"', b"\\\\", "é😀".encode(), b"\\ud83d\\ude00"]
)
def test_an_unreadable_text_spoils_nothing_but_itself(kind: str, before: bytes) -> None:
    content = b'{"a":["' + before + UNREADABLE[kind] + b'",1.5],"b":"\\u00e9 \\ud83d\\ude00"}'

    found: Any = read(content)

    assert found["b"] == "é 😀"
    assert found["a"][1] == 1.5
    sound = json.loads(b'"' + before + b'"')
    assert found["a"][0].startswith(sound)
    assert label_value("x" + found["a"][0]) == label_value("x" + sound)


def test_white_space_between_texts_is_no_part_of_them() -> None:
    assert read(b'{"a"\n\t:\r\n"\t"\n,"b"\t: 1}') == {"a": read(b'["\t"]')[0], "b": 1}  # type: ignore[index]


def test_what_only_looks_like_half_a_character_is_left_alone() -> None:
    assert read(b'["\\\\ud83d", "\t"]') == ["\\ud83d", read(b'["\t"]')[0]]  # type: ignore[index]


@given(
    st.lists(st.sampled_from(sorted(UNREADABLE.values())), min_size=2, max_size=2, unique=True),
    st.text(st.characters(categories=("L", "N")), max_size=5),
)
def test_two_names_that_differ_in_what_is_unreadable_are_two_names(
    pair: list[bytes], name: str
) -> None:
    one, two = (name.encode() + unreadable for unreadable in pair)

    found: Any = read(b'{"' + one + b'":1,"' + two + b'":2,"x\xff":0}')

    assert sorted(found.values()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("metric", "part", "field", "label"),
    [
        ("label_overview", b'[{"name":"VIP%s","count":1}]', "name", 'label="VIP"'),
        ("label_usage", b'[{"period":"%d","labels":[{"name":"VIP%s","count":1}]}]', "name", 'label="VIP"'),
        ("conversation_breakdown", b'{"channel_summary":{"SMS%s":{"user_count":1}}}', "channel_summary", 'channel="SMS"'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_name_that_cannot_be_read_is_cleaned_and_drift(
    metric: str, part: bytes, field: str, label: str, kind: str
) -> None:
    part = part.replace(b"%d", f"{datetime.now(UTC):%Y-%m-%d}".encode())
    content = b'{"' + metric.encode() + b'":' + part.replace(b"%s", UNREADABLE[kind]) + b"}"
    store, telemetry = Store(), Telemetry()

    async def go() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=pieces(content)))
        one = workspace([metric], requests_per_minute=6000)
        now = lambda: datetime.now(UTC)  # noqa: E731
        async with WorkspacePoller(one, store, telemetry, now, transport=transport) as poller:
            assert not await poller.once()

    asyncio.run(go())

    assert label in page(store, datetime.now(UTC))
    labels = f'api="seachat",field="{field}",metric="{metric}",workspace="acme"'
    assert (
        f"seasalt_schema_drift_total{{{labels}}} 1.0\n"
        in telemetry.text(openmetrics=False).decode()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.sampled_from(sorted(UNREADABLE.values())))
def test_the_rest_of_an_answer_is_what_it_is_without_the_unreadable_text(
    value: object, ascii_only: bool, unreadable: bytes
) -> None:
    whole = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        whole.decode()
    except UnicodeDecodeError:
        return

    found: Any = read(b'["' + unreadable + b'",' + whole + b"]")

    if "\\ud" not in whole.decode().lower():
        assert found[1] == value
    assert json.dumps(found)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        ('{"a":1}'.encode("utf-16"), "not in UTF-8 but UTF-16 or UTF-32"),
        ('{"a":1}'.encode("utf-16-le"), "not in UTF-8 but UTF-16 or UTF-32"),
        ('{"a":1}'.encode("utf-32-be"), "not in UTF-8 but UTF-16 or UTF-32"),
        (b'{"a":1\xe9}', "not in UTF-8"),
        (b'{"a":1', "truncated JSON"),
        (b'{"a":"\t', "truncated JSON"),
        (b'{"a":"\xe9', "truncated JSON"),
        (b"<html></html>", "not JSON"),
        (b"<html>caf\xe9</html>", "not in UTF-8"),
        (b'{"a":NaN,"b":"\t"}', "not JSON"),
        (b'{"a":Infinity,"b":"\xe9"}', "not JSON"),
        (b'{"a":01,"b":"\\ud83d"}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":1}{"a":2}', "not JSON"),
        (b'{"a":"\t"} x', "not JSON"),
        (b"{'a':1}", "not JSON"),
    ],
    ids=ascii,
)
def test_what_cannot_be_read_is_told_for_what_it_is(content: bytes, says: str) -> None:
    with pytest.raises(Unfit) as told:
        read(content)
    assert str(told.value) == says


def test_every_answer_that_is_cut_is_told_so() -> None:
    for whole in (b'{"a":["x\\n\\u00e9",true],"b":{"c":"d\tx\\ud83d"}}', '{"é":"😀"}'.encode()):
        for length in range(1, len(whole)):
            with pytest.raises(Unfit, match="truncated JSON"):
                read(whole[:length])


MIB = 1024 * 1024


def attacks() -> dict[str, bytes]:
    """Answers within every limit of size that would cost far more than they are worth."""
    rows = 8 * MIB // 3 - 20
    return {
        "empty-labels": b'{"label_usage":{"data":[' + b"{}," * rows + b"{}]}}",
        "empty-trend": b'{"activity_trend":{"data":[' + b"{}," * rows + b"{}]}}",
        "empty-lists": b'{"csat":[' + b"[]," * rows + b"[]]}",
        "numbers": b"[" + b"0," * (rows) + b"0]",
        "long-names": b'{"conversation_breakdown":{"channel_summary":{'
        + b",".join(b'"%080d":1' % number for number in range(96_000))
        + b"}}}",
        "labels": b'{"label_overview":['
        + b",".join(b'{"name":"l%d","count":1}' % number for number in range(293_000))
        + b"]}",
        "channels": b'{"conversation_breakdown":{"channel_summary":{'
        + b",".join(b'"c%d":{"user_count":1}' % number for number in range(314_000))
        + b"}}}",
        "names-in-rows": b"[" + b",".join(b'{"n%d":1}' % number for number in range(79_000)) + b"]",
        "names": b"{" + b",".join(b'"n%d":1' % number for number in range(30_000)) + b"}",
        "rows": b"[" + b"0," * 70_000 + b"0]",
        "quotes": b'"' * (8 * MIB),
        "escaped-quotes": b'["' + b'\\"' * (4 * MIB - 4) + b'"]',
        "back-slashes": b'"' + b"\\" * (8 * MIB - 1),
        "unreadable": b'{"a":"' + b"\t" * MIB + b'"}',
        "unreadable-texts": b"[" + b'"\t",' * 60_000 + b"1]",
        "long-text": b'["' + b"a" * (8 * MIB - 10) + b'"]',
        "levels": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    }


@pytest.mark.parametrize("kind", attacks())
def test_what_would_cost_too_much_is_refused_before_anything_is_made_of_it(kind: str) -> None:
    content = attacks()[kind]
    assert len(content) <= 8 * MIB
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(TooMuch):
            read(content)
        spent = time.process_time() - begun
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert spent < 4
    assert peak < 24 * MIB


def largest() -> dict[str, dict[str, object]]:
    """The largest answers that a customer of some size can get."""
    days = [f"2026-{1 + day // 31:02}-{1 + day % 31:02}" for day in range(366)]
    labels = [f"cust service {number}" for number in range(500)]
    return {
        "labels-of-a-year": {
            "label_usage": [
                {"period": day, "labels": [{"name": name, "count": 7} for name in labels]}
                for day in days
            ]
        },
        "every-label": {
            "label_overview": [
                {"id": f"l{number}", "name": f"label {number}", "color": "#fff",
                 "description": "x, y", "is_system": False, "total_count": number}
                for number in range(10_000)
            ]
        },
        "answers-of-customers": {
            "csat": {
                "total_responses": 10_000,
                "responses": [
                    {"id": f"r{number}", "title": "+12065550142", "rating": 4,
                     "data": {"comment": "All right, thanks. " * 8, "rating": 4},
                     "conversation_link": "https://x/y", "created_time": "2026-11-01T00:00:00Z"}
                    for number in range(10_000)
                ],
            }
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", largest())
def test_the_largest_answers_of_the_documents_are_read(kind: str) -> None:
    content = json.dumps(largest()[kind], separators=(",", ":")).encode()

    assert read(content) == largest()[kind]


def polling(one: Workspace, content: bytes) -> tuple[float, bool]:
    """How long the loop stood still at most, and whether all was read."""
    whole, headers = gzip.compress(content, 1), {"content-encoding": "gzip"}

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=pieces(whole), headers=headers)

    async def go() -> tuple[float, bool]:
        worst, done = 0.0, False

        async def tick() -> None:
            nonlocal worst
            while not done:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                worst = max(worst, time.perf_counter() - before)

        now = lambda: datetime.now(UTC)  # noqa: E731
        store = Store()
        async with WorkspacePoller(
            one, store, Telemetry(), now, transport=httpx.MockTransport(respond)
        ) as poller:
            ticking = asyncio.ensure_future(tick())
            failures = await poller.once()
            done = True
            await ticking
        return worst, not failures

    return asyncio.run(go())


@pytest.mark.parametrize(
    "kind", ["empty-labels", "channels", "labels", "every-label", "labels-of-a-year"]
)
def test_no_answer_holds_the_loop_for_long(kind: str) -> None:
    legal = largest().get(kind)
    content = json.dumps(legal, separators=(",", ":")).encode() if legal else attacks()[kind]
    metric = json.loads(content[: content.index(b":")] + b":0}").popitem()[0]
    one = workspace([metric], requests_per_minute=6000)
    polling(one, b'{"x":1}')  # what is made once

    held, read_all = polling(one, content)

    assert read_all is bool(legal)
    assert held < 3  # on a machine that is busy; on its own it is a sixtieth


def test_a_text_full_of_escapes_may_be_as_long_as_any() -> None:
    text = "a\n" * 340_000

    answer = read(json.dumps([text, "x"]).encode().replace(b'"x"', b'"\xff"'))

    assert isinstance(answer, list)
    assert answer[0] == text


def test_several_members_are_unfolded_and_nothing_goes_on_after_them() -> None:
    whole = b"".join(gzip.compress(part) for part in (b"a" * 1000, b"", b"b" * 300_000))
    for size in (1, 7, 5000, len(whole)):
        unfolding, found = Unfolding("x-gzip"), b""
        for begin in range(0, len(whole), size):
            found += b"".join(unfolding.feed(whole[begin : begin + size]))
        unfolding.end()
        assert found == b"a" * 1000 + b"b" * 300_000


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("garbage", [b"\0", b"x" * 100, b"\x1f\x8c" + b"\0" * 60_000], ids=len)
def test_bytes_after_the_end_of_an_encoding_are_refused_at_once(
    coding: str, garbage: bytes
) -> None:
    whole = gzip.compress(b"1") if coding == "gzip" else zlib.compress(b"1")
    for parts in ([whole + garbage], [whole, garbage]):
        unfolding = Unfolding(coding)
        *before, last = parts
        for part in before:
            list(unfolding.feed(part))
        with pytest.raises(Unfit, match="data after the end of the compressed data"):
            list(unfolding.feed(last))


def test_an_answer_of_many_members_is_refused() -> None:
    with pytest.raises(Unfit, match="data after the end"):
        list(Unfolding("gzip").feed(gzip.compress(b"") * 5000))


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_an_encoding_that_ends_too_soon_is_refused(cut: int) -> None:
    unfolding = Unfolding("gzip")
    whole = gzip.compress(b"1") + gzip.compress(b"2" * 100)
    list(unfolding.feed(whole[:-cut]))
    with pytest.raises(Unfit, match="truncated compressed data"):
        unfolding.end()


@pytest.mark.parametrize(
    ("coding", "says"),
    [("br", "br"), ("ZSTD", "zstd"), ("x-secret", "unknown"), ("gzip, br", "unknown")],
)
def test_an_encoding_that_was_not_asked_for_is_told_by_its_name(coding: str, says: str) -> None:
    with pytest.raises(Unfit, match=f"unrequested Content-Encoding: {says}$"):
        Unfolding(coding)


ECHOES = {
    "verbatim": KEY,
    "within": f"label {KEY}!",
    "escaped": "".join(f"\\u{ord(one):04x}" for one in KEY),
    "some-escaped": KEY.replace("k", "\\u006B"),
    "with-what-is-not-seen": KEY.replace("-", "-\u200b\u2060"),
    "full-width": "".join(chr(ord(one) + 0xFEE0) for one in KEY),
    "mathematical": KEY.replace("a", "\U0001d41a"),
    "with-marks": KEY.replace("a", "\u00e1"),
    "with-control-characters": KEY.replace("-", "-\\u0007"),
    "with-raw-control-characters": KEY.replace("-", "-\t"),
    "base64": "c2stY2FuYXJ5LTAxMjM0NTY3ODlhYmNkZWY=",
    **{
        f"base64-{len(name)}-bytes-behind": base64.b64encode(f"{name}{KEY}{end}".encode()).decode()
        for name, end in (("x:", "!"), ("me:", ""), ("you:", "?!"))
    },
}


@pytest.mark.parametrize("kind", ECHOES)
@pytest.mark.parametrize("shape", ['{{"{}":1}}', '{{"a":[[{{"b":"{}"}}]]}}', '["é","{}"]'])
def test_a_key_in_an_answer_is_found(kind: str, shape: str) -> None:
    content = shape.format(ECHOES[kind]).encode()

    assert holds(content, read(content), ["another-key", KEY])
    assert not holds(content, read(content), ["another-key", "", "1"])


def test_a_key_that_is_composed_where_it_is_shown_is_found() -> None:
    content = json.dumps({"name": "S\u212aEY-0123456789"}, ensure_ascii=False).encode()
    assert label_value("S\u212aEY-0123456789") == "SKEY-0123456789"
    assert holds(content, read(content), ["SKEY-0123456789"])


def test_to_look_for_a_key_takes_no_more_than_the_answer_is_worth() -> None:
    content = json.dumps(["\ufdfa" * 100_000] * 8, ensure_ascii=False).encode()
    answer = read(content)
    tracemalloc.start()
    begun = time.process_time()
    try:
        assert not holds(content, answer, [KEY])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 3
    assert peak < 24 * MIB


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 4000, "0." + "1" * 5000, "1" * 200])
def test_a_number_that_is_too_long_spoils_nothing_but_itself(number: str) -> None:
    content = f'{{"a":{number},"b":"{number}\\"{number}","c":[12.5,{number}]}}'.encode()
    found = read(content)
    assert isinstance(found, dict)
    assert found["b"] == f'{number}"{number}'
    assert found["a"] == found["c"][1] == int("9" * 40)
    assert found["c"][0] == 12.5


def test_a_small_answer_is_read_at_once_and_a_large_one_is_not() -> None:
    assert small(b'{"a":[' + b"1," * 500 + b"1]}")
    assert not small(b"[" + b"{}," * 3000 + b"1]")
    assert not small(b" " * 100_000)
