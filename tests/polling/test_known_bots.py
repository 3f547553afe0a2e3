from collections.abc import Iterable
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exporter.config import Bot, Discovery
from exporter.errors import ReplyError
from exporter.model.bot_list import LONGEST_LIST, ListedBot, Listing, page
from exporter.model.reply_values import Drift
from exporter.polling.known_bots import KnownBots


def bot(number: int, **others: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of the API
    return {
        "id": f"b{number}",
        "workspace_id": "w",
        "name": f"Bot {number}",
        "description": "CANARY description",
        "model_config": {"model": "CANARY"},
        **others,
    }


def listing(*bots: dict[str, Any]) -> Listing:
    made, drift = Listing(), Drift()
    made.add(page({"data": list(bots)}, drift), drift)
    return made


def ids(known_bots: KnownBots) -> list[str]:
    return [found.id for found in known_bots.bots]


def known(*lists: Listing) -> KnownBots:
    """The bots of a workspace that names none itself, after some lists."""
    return reduce(KnownBots.after, lists, KnownBots((), Discovery()))


def test_a_bot_has_its_documented_fields_and_no_more() -> None:
    """T15: `model_config` is a field of the API's and a reserved word of the model's."""
    (found,) = listing(bot(1, use_case="FAQ")).bots.values()

    assert (found.id, found.name, found.use_case) == ("b1", "Bot 1", "FAQ")
    assert "CANARY" not in repr(found)


def test_what_is_told_of_a_bot() -> None:
    told = {
        "use_case": "Sales",
        "default_response_language": "en-US",
        "live_agent_transfer": True,
        "is_enabled": False,
    }

    assert [
        (found.id, found.shown_name, sample.family.name, sample.labels, sample.value)
        for found, samples in known(listing(bot(1, **told), bot(2))).facts()
        for sample in samples
    ] == [
        ("b1", "Bot 1", "seasalt_bot_info", ("Sales", "en-US", "true"), 1),
        ("b1", "Bot 1", "seasalt_bot_enabled", (), 0.0),
        ("b2", "Bot 2", "seasalt_bot_info", ("", "", ""), 1),
    ]


def test_a_bot_named_like_a_telephone_number_is_redacted() -> None:
    known_bots = known(listing(bot(1, name="+1 206 123 4567")))

    assert known_bots.bots[0].shown_name == "redacted"
    assert [found.shown_name for found, _ in known_bots.facts()] == ["redacted"]


def test_nothing_of_a_page_is_kept_that_is_longer_than_what_is_shown() -> None:
    made = Listing()
    long = "x" * 80_000
    texts = {"name": long, "use_case": long, "default_response_language": long}
    add(made, {"data": [bot(1, **texts), bot(2, id=long), bot(3, id=10**200)]})

    assert list(made.bots) == ["b1"]
    assert len(made.bots["b1"].model_dump_json()) < 600


@pytest.mark.parametrize("name", ["test@corp.io", "redacted", "a\u200bb", "x" * 200, "", " "])
@pytest.mark.parametrize("pattern", ["*@corp.io", "redacted", "ab", "x" * 120, "", "?*"])
def test_patterns_choose_the_same_bots_before_and_after_a_restart(name: str, pattern: str) -> None:
    discovery = Discovery(exclude=(pattern,))
    before = KnownBots((), discovery).after(listing(bot(1, name=name), bot(2)))
    again = [
        (ListedBot.model_validate_json(one.model_dump_json()), n) for one, n in before.remembered
    ]

    assert ids(KnownBots((), discovery, again)) == ids(before)
    assert KnownBots((), discovery, again).remembered == before.remembered


def add(made: Listing, answer: object) -> bool:
    drift = Drift()
    return made.add(page(answer, drift), drift)


@pytest.mark.parametrize(
    "odd",
    [
        {"name": None},
        {"name": 5},
        {"use_case": ["x"]},
        {"live_agent_transfer": {}},
        {"is_enabled": "maybe"},
        {"default_response_language": 7},
    ],
    ids=str,
)
def test_an_odd_field_does_not_keep_a_bot_from_being_polled(odd: dict[str, Any]) -> None:
    assert ids(known(listing(bot(12345678, **odd)))) == ["b12345678"]


def test_a_bot_without_a_name_is_shown_by_its_id() -> None:
    (found,) = known(listing(bot(1, id="12345678", name=""))).bots

    assert found.shown_name == "12345678"


def test_a_page_that_cannot_be_read_is_not_the_end_of_the_list() -> None:
    made, drift = Listing(), Drift()

    assert made.add(page({"data": ["x", {"id": None}]}, drift), drift)
    assert sum(drift.values()) == 2


def test_page_after_page_that_cannot_be_read_is_a_failure_before_it_costs_the_budget() -> None:
    made = Listing()

    assert add(made, {"data": [{"bot_id": "b1"}]})
    assert add(made, {"data": [{"bot_id": "b1"}]})
    with pytest.raises(ReplyError, match="page after page"):
        add(made, {"data": [{"bot_id": "b1"}]})


def test_pages_are_read_until_the_total_is_reached() -> None:
    made = Listing()

    assert add(made, {"data": [bot(1), bot(2)], "total": 3})
    assert made.rows == 2
    assert not add(made, {"data": [bot(3)], "total": 3})
    assert list(made.bots) == ["b1", "b2", "b3"]


def test_without_a_total_pages_are_read_until_one_adds_nothing() -> None:
    made = Listing()

    assert add(made, {"data": [bot(1)]})
    assert add(made, {"data": [bot(2)]})
    assert not add(made, {"data": []})


def test_a_page_that_repeats_itself_ends_the_list() -> None:
    """T13: paging over a list that changes skips or repeats."""
    made = Listing()

    assert add(made, {"data": [bot(1), bot(1)]})
    assert not add(made, {"data": [bot(1), bot(1)]})
    assert list(made.bots) == ["b1"]


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([[]], id="nothing-at-all"),
        pytest.param([range(10), []], id="then-empty"),
        pytest.param([range(10), range(10)], id="then-the-same"),
        pytest.param([range(12), range(12)], id="then-the-same-up-to-the-total"),
        pytest.param([range(10), range(5, 15), range(5, 15)], id="then-most-of-the-same"),
    ],
)
def test_a_list_that_ends_before_its_total_is_a_failure(pages: list[Iterable[int]]) -> None:
    made = Listing()
    *before, last = pages

    for numbers in before:
        assert add(made, {"data": [bot(n) for n in numbers], "total": 23})
    with pytest.raises(ReplyError, match=r"bots: the list ends after \d+ of 23"):
        add(made, {"data": [bot(n) for n in last], "total": 23})


@pytest.mark.parametrize("total", [0, 1, 9, "3"])
def test_a_total_that_the_rows_contradict_is_drift_and_the_list_is_read_on(total: object) -> None:
    made, drift = Listing(), Drift()

    assert made.add(page({"data": [bot(n) for n in range(10)], "total": total}, drift), drift)
    assert made.add(page({"data": [bot(n) for n in range(10, 14)], "total": total}, drift), drift)
    assert not made.add(page({"data": [], "total": total}, drift), drift)
    assert len(made.bots) == 14
    assert drift == {"total": 1}
    assert not made.proves


def test_a_total_that_is_said_once_holds_for_the_pages_that_say_none() -> None:
    made = Listing()

    assert add(made, {"data": [bot(1)], "total": 3})
    assert add(made, {"data": [bot(2)]})
    with pytest.raises(ReplyError, match="after 2 of 3"):
        add(made, {"data": []})


def test_a_total_that_cannot_be_read_is_none_and_drift() -> None:
    made, drift = Listing(), Drift()

    assert made.add(page({"data": [bot(1)], "total": "many"}, drift), drift)
    assert not made.add(page({"data": []}, drift), drift)
    assert drift == {"total": 1}
    assert not made.proves


def doubtful() -> Iterable[tuple[str, list[dict[str, Any]]]]:
    one, two = bot(1), bot(3)
    yield "a row that cannot be read", [{"data": [one, two, {"bot_id": "b2"}], "total": 3}]
    yield "an id that cannot be asked", [{"data": [one, two, bot(2, id="../x")], "total": 3}]
    yield "another total", [{"data": [one], "total": 3}, {"data": [two], "total": 2}]
    yield "too low a total", [{"data": [one, two], "total": 1}, {"data": [], "total": 1}]
    yield "an unreadable total", [{"data": [one, two], "total": "n/a"}, {"data": []}]
    yield "no total, and no end", [{"data": [one, two]}, {"data": [one, two]}]


@pytest.mark.parametrize("case", [pytest.param(pages, id=name) for name, pages in doubtful()])
def test_what_a_doubtful_list_does_not_have_is_not_gone(case: list[dict[str, Any]]) -> None:
    known_bots = known(listing(bot(1), bot(2)))

    for _ in range(5):
        made = Listing()
        more = [add(made, one) for one in case]
        assert more[-1] is False
        known_bots = known_bots.after(made)

    assert ids(known_bots) == ["b1", "b2", "b3"]  # what it has is believed


def test_a_page_of_more_rows_than_were_asked_for_is_refused() -> None:
    assert len(page({"data": [bot(n) for n in range(100)]}, Drift()).data) == 100
    with pytest.raises(ReplyError, match="a page of more than the 100 rows"):
        page({"data": [bot(n) for n in range(101)]}, Drift())


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=8),
    st.none() | st.integers(0, 40),
    st.integers(1, 20),
)
def test_whatever_the_pages_hold_no_bot_of_a_list_that_ends_is_made_up_or_lost(
    pages: list[list[int]], total: int | None, most: int
) -> None:
    made = Listing(most)
    told = {} if total is None else {"total": total}
    ended = False
    for numbers in (*pages, []):
        try:
            ended = not add(made, {"data": [bot(n) for n in numbers], **told})
        except ReplyError:
            return
        if ended:
            break

    seen = [f"b{n}" for numbers in pages for n in numbers]
    assert len(made.bots) <= most
    assert list(made.bots) == list(dict.fromkeys(seen))[: len(made.bots)]
    assert made.left_out <= LONGEST_LIST
    if ended and not made.left_out and made.proves and total is not None:
        assert made.rows >= total >= len(made.bots)


def test_of_a_list_that_is_too_long_the_first_are_taken_and_the_rest_is_counted() -> None:
    made = Listing(150)

    assert add(made, {"data": [bot(n) for n in range(100)], "total": 450_000})
    assert not add(made, {"data": [bot(n) for n in range(100, 200)], "total": 450_000})
    assert len(made.bots) == 150
    assert made.left_out == LONGEST_LIST - 150


def test_a_total_that_no_list_can_have_is_not_counted() -> None:
    made = Listing(50)
    assert not add(made, {"data": [bot(n) for n in range(100)], "total": 2**53 - 1})
    assert made.left_out == LONGEST_LIST - 50


def lists_of(numbers: Iterable[int], known_bots: KnownBots, most: int) -> tuple[Listing, int]:
    """A list of so many bots, read as far as is needed, and how many of its pages are."""
    rows = [bot(n) for n in numbers]
    made = Listing(most, known_bots.known)
    for index in range(0, len(rows) + 1, 100):
        if not add(made, {"data": rows[index : index + 100], "total": len(rows)}):
            return made, index // 100 + 1
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("later", "pages"),
    [
        (range(249, -1, -1), 3),
        ((999, *range(250)), 2),
        ((*range(1000, 1200), *range(250)), 4),
        (range(250), 2),
    ],
    ids=["another-order", "a-new-one-first", "many-new-ones-first", "the-same"],
)
def test_a_bot_of_a_list_that_is_too_long_stays_wherever_it_comes_to_stand(
    later: Iterable[int], pages: int
) -> None:
    known_bots = known(lists_of(range(250), known(), 150)[0])

    for _ in range(3):
        made, read = lists_of(later, known_bots, 150)
        known_bots = known_bots.after(made)
        assert ids(known_bots) == [f"b{n}" for n in range(150)]
        assert read == pages
        assert known_bots.left_out == len(list(later)) - 150


def test_a_bot_that_a_list_that_is_too_long_has_no_more_makes_room() -> None:
    known_bots = known(lists_of(range(250), known(), 150)[0])

    for _ in range(2):
        made, read = lists_of(range(1, 250), known_bots, 150)
        assert read == 3  # to the end, as nothing else proves it
        known_bots = known_bots.after(made)
    assert ids(known_bots) == [f"b{n}" for n in range(1, 151)]


def test_a_bot_that_is_known_gives_its_place_to_no_newcomer() -> None:
    first, other = Listing(2), Listing(2)
    add(first, {"data": [bot(1), bot(2)], "total": 2})
    add(other, {"data": [bot(3), bot(1)], "total": 3})

    after = known(first, other)
    assert ids(after) == ["b1", "b2"]
    assert after.left_out >= 1
    assert ids(after.after(other)) == ["b1", "b3"]  # two lists without b2


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"name": "no id"}, id="no-id"),
        pytest.param(bot(1, id="../../admin"), id="path"),
        pytest.param(bot(1, id=""), id="empty"),
        pytest.param(bot(1, id=None), id="null"),
        pytest.param("b1", id="text"),
        pytest.param(None, id="row-null"),
    ],
)
def test_a_row_that_cannot_be_read_is_left_out(row: object) -> None:
    made, drift = Listing(), Drift()
    made.add(page({"data": [row, bot(2)]}, drift), drift)

    assert list(made.bots) == ["b2"]


@pytest.mark.parametrize(
    "answer", [[], {}, {"data": None}, {"data": "x"}, "x", None, {"detail": "no"}], ids=repr
)
def test_an_answer_of_another_shape_is_a_failure(answer: object) -> None:
    with pytest.raises(ReplyError, match="bots: not of the documented shape"):
        page(answer, Drift())


def test_a_bot_is_gone_after_two_complete_lists_without_it() -> None:
    both, one = listing(bot(1), bot(2)), listing(bot(1))

    assert ids(known(both, one)) == ["b1", "b2"]
    assert ids(known(both, one, one)) == ["b1"]


def test_a_bot_that_comes_back_starts_anew() -> None:
    both, one = listing(bot(1), bot(2)), listing(bot(1))

    assert ids(known(both, one, both, one)) == ["b1", "b2"]


def test_an_empty_list_after_a_full_one_is_a_failure_and_changes_nothing() -> None:
    known_bots = known(listing(bot(1)))

    for _ in range(5):
        with pytest.raises(ReplyError, match="the list is empty"):
            known_bots = known_bots.after(listing())

    assert ids(known_bots) == ["b1"]


def test_an_empty_list_from_the_start_is_a_workspace_without_bots() -> None:
    assert ids(known(listing())) == []


def test_a_renamed_bot_has_its_new_name() -> None:
    (found,) = known(listing(bot(1)), listing(bot(1, name="New"))).bots

    assert found.name == "New"


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (["*"], [], ["prod-a", "prod-test", "Dev"]),
        (["prod-*"], [], ["prod-a", "prod-test"]),
        (["prod-*"], ["*-test"], ["prod-a"]),
        (["dev"], [], []),
        (["[Dd]ev", "prod-a"], [], ["prod-a", "Dev"]),
    ],
    ids=["all", "include", "exclude", "case", "two"],
)
def test_patterns_choose_by_name(
    include: Iterable[str], exclude: Iterable[str], wanted: list[str]
) -> None:
    discovery = Discovery.model_validate({"include": include, "exclude": exclude})
    known_bots = KnownBots((), discovery)
    names = enumerate(("prod-a", "prod-test", "Dev"))
    known_bots = known_bots.after(listing(*(bot(number, name=name) for number, name in names)))

    assert [found.name for found in known_bots.bots] == wanted


def test_a_configured_bot_stays_with_its_own_name_whatever_the_list_says() -> None:
    configured = (Bot(id="b1", name="Mine", labels={"tier": "gold"}), Bot(id="b9"))
    found = KnownBots(configured, Discovery()).after(listing(bot(1), bot(2))).bots

    assert [(one.id, one.shown_name) for one in found] == [
        ("b1", "Mine"),
        ("b9", "b9"),
        ("b2", "Bot 2"),
    ]


def test_a_shard_remembers_every_bot_and_shows_its_own() -> None:
    of_two = KnownBots((), Discovery(), owns=lambda identity: identity == "b2")
    found = of_two.after(listing(bot(1), bot(2))).after(listing(bot(1), bot(2), bot(3)))

    assert ids(found) == ["b2"]
    assert [shown.id for shown, _ in found.facts()] == ["b2"]
    assert [str(listed.id) for listed, _ in found.remembered] == ["b1", "b2", "b3"]
