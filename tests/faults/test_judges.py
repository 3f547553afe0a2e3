"""The judges see what they are there to see; else nothing that they say is worth anything."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from faults import judges
from faults.judges import Books, Parked
from faults.leaks import Scanner
from faults.stub import Asked, digest

KEY = "sk-CNRY1234abcd"
HEADERS = ("host", "x-api-key", "accept")


def asked(at: float, *, host: str = "api", names: tuple[str, ...] = HEADERS, **more: Any) -> Asked:  # noqa: ANN401 - of Asked
    given: dict[str, Any] = {
        "method": "POST",
        "path": "/",
        "key": digest(KEY),
        "api": "seachat",
        "metrics": ("total_usage",),
        "bot": "",
        "body": {},
        "secret": KEY,
    }
    return Asked(at=at, host=host, names=names, **(given | more))


@pytest.mark.parametrize(
    ("times", "worst"),
    [
        ([], 0),
        ([0.0], 1),
        ([0.0] * 10, 10),
        ([0.0, 1.0, 2.0, 3.0], 1),
        ([0.0, 100.0, 100.0, 100.0], 3),
        ([0.0, 0.5, 1.0, 1.5, 2.0], 3),
    ],
)
def test_a_burst_is_what_came_beyond_the_rate(times: list[float], worst: float) -> None:
    assert judges.burst(times, 1.0) == pytest.approx(worst)


def test_a_request_during_a_wish_is_early_and_no_other() -> None:
    journal = [asked(at) for at in (0.0, 10.0, 11.0, 19.9, 20.0)]
    wish = [Parked(10.0, 20.0, digest(KEY))]
    assert [one.at for one in judges.early(journal, wish)] == [11.0, 19.9, 20.0]
    assert [one.at for one in judges.early(journal, wish, grace=0.5)] == [11.0]
    assert judges.early(journal, [Parked(10.0, 20.0, "another")]) == []


def test_a_key_at_another_host_is_seen() -> None:
    known = {digest(KEY): {"api"}}
    assert judges.strangers([asked(0)], known) == []
    assert judges.strangers([asked(0, host="elsewhere")], known) != []
    assert judges.strangers([asked(0, names=(*HEADERS, "cookie"))], known) != []
    assert judges.strangers([asked(0)], {}) != []


def test_what_is_more_than_a_tenth_is_too_many() -> None:
    assert judges.too_many(120, 100) == 0
    assert judges.too_many(125, 100) == pytest.approx(5)


SERIES = (
    "seasalt_total_usage_chat_responses",
    frozenset({("workspace", "acme"), ("window", "today")}),
)


def said(value: float, now: float, *, midnight: float = 0.0) -> list[str]:
    """What is wrong with a value, where 7 was served at 100 and 8 at 1000, both in order."""
    books = Books(lambda _: 1800.0)
    for at, number in ((100.0, 7.0), (1000.0, 8.0)):
        values: Mapping[str, Any] = {"total_usage": {SERIES: number}}
        books.serve(asked(at), at, values, frozenset({70.0}), good=True)
    return list(books.verdict({SERIES: value}, now, {"acme": midnight}, 10.0))


def test_the_newest_value_is_right() -> None:
    assert said(8, 1500) == []


@pytest.mark.parametrize(
    ("value", "now", "midnight", "why"),
    [
        (9, 1500, 0, "was never served"),
        (0, 1500, 0, "was never served"),
        (8, 2900, 0, "s old"),
        (8, 1500, 1200, "yesterday's"),
        (7, 1500, 0, "newer answer"),
    ],
)
def test_any_other_value_is_not(value: float, now: float, midnight: float, why: str) -> None:
    assert why in "".join(said(value, now, midnight=midnight))


def test_the_one_before_is_right_while_the_newest_is_on_its_way() -> None:
    assert said(7, 1005) == []


def test_a_series_that_nobody_served_is_wrong() -> None:
    books = Books(lambda _: 1800.0)
    assert list(books.verdict({SERIES: 1.0}, 0.0, {"acme": 0.0}, 0.0)) != []
    own = ("seasalt_api_requests_total", frozenset[tuple[str, str]]())
    assert list(books.verdict({own: 1.0}, 0.0, {}, 0.0)) == []


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.upper(),
        KEY[2:12],
        f"b'{KEY}\\n'",
        quote(f'"{KEY}"'),
        KEY.encode().hex(),
        *(base64.b64encode(b"x" * shift + KEY.encode() + b"yy").decode() for shift in range(3)),
    ],
)
def test_a_secret_is_found_in_any_spelling(text: str) -> None:
    assert Scanner([KEY]).hits(f"before {text} after")


def test_nine_characters_of_a_secret_are_none() -> None:
    assert Scanner([KEY]).hits(KEY[:9]) == []
    assert Scanner([KEY], [KEY]).hits(KEY) == []
