import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exporter.metrics.store import Record
from exporter.model.samples import Family
from exporter.model.targets import Key, Target
from exporter.polling.status import ReportState, Status, TargetStatus, WorkspaceStatus, targets
from exporter.web.status_page import MANY, SHOWN, page

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BOT = Target("seachat", "acme", "b1", "Support")
CSAT = Key(BOT, "csat", "last_30_days")
FAMILY = Family("seasalt_x", "X.")


def record(age: float = 60, *, error: str = "", values: int = 2) -> Record:
    return Record(
        600.0,
        success=not error,
        last_success=NOW - timedelta(seconds=age),
        samples=tuple(FAMILY.sample(1) for _ in range(values)),
        expires=NOW + timedelta(minutes=5),
        error=error,
    )


def shown(known: Record | None, turn: datetime | None = NOW + timedelta(seconds=90)) -> Any:  # noqa: ANN401 - the one report
    ((target),) = targets({CSAT: (600.0, turn)}, {CSAT: known} if known else {}, NOW)
    return target.reports[0]


def status(*found: TargetStatus, **others: Any) -> Status:  # noqa: ANN401 - fields
    given: dict[str, Any] = {
        "name": "acme",
        "api": "seachat",
        "timezone": "UTC",
        "answered": True,
        "requests_today": 1234,
        "requests_per_day": None,
        "requests_per_minute": 60,
        "targets": found,
    }
    return Status("0.1.0", NOW, (WorkspaceStatus(**(given | others)),))


def text(shown: Status, query: str = "") -> str:
    return "".join(page(shown, metrics="/metrics", api="/api/v1/status", query=query))


@pytest.mark.parametrize(
    ("known", "state"),
    [
        pytest.param(None, ReportState.WAITING, id="never-tried"),
        pytest.param(record(600), ReportState.OK, id="one-interval"),
        pytest.param(record(901), ReportState.LATE, id="one-and-a-half"),
        pytest.param(record(60, error="HTTP 500"), ReportState.FAILING, id="failed"),
        pytest.param(
            Record(600.0, error="HTTP 401"), ReportState.FAILING, id="failed-from-the-start"
        ),
    ],
)
def test_a_reports_state_is_one_word(known: Record | None, state: ReportState) -> None:
    assert shown(known).state is state


def test_a_report_says_age_interval_next_poll_values_and_error() -> None:
    found = shown(record(300, error="HTTP 500", values=3))

    assert (found.age_seconds, found.interval_seconds, found.values) == (300, 600, 3)
    assert found.next_poll == NOW + timedelta(seconds=90)
    assert found.error == "HTTP 500"


def test_a_target_and_a_workspace_are_as_bad_as_their_worst_report() -> None:
    other = Key(BOT, "total_usage", "today")
    found = targets(
        {CSAT: (600.0, None), other: (600.0, None)},
        {CSAT: record(), other: record(error="HTTP 500")},
        NOW,
    )

    assert found[0].state is ReportState.FAILING
    assert status(*found).workspaces[0].state is ReportState.FAILING
    assert status().workspaces[0].state is ReportState.WAITING


def test_the_json_has_instants_in_iso_8601_and_states_in_words() -> None:
    found = status(*targets({CSAT: (600.0, None)}, {CSAT: record()}, NOW))
    plain = json.loads("".join(found.json()))

    assert plain["at"] == "2026-11-21T12:00:00+00:00"
    (target,) = plain["workspaces"][0]["targets"]
    assert (plain["workspaces"][0]["state"], target["state"]) == ("ok", "ok")
    assert target["reports"][0] == {
        "report": "csat",
        "window": "last_30_days",
        "state": "ok",
        "last_success": "2026-11-21T11:59:00+00:00",
        "age_seconds": 60.0,
        "interval_seconds": 600.0,
        "next_poll": None,
        "values": 2,
        "error": "",
    }


def test_the_page_says_in_words_what_a_person_wants_to_know() -> None:
    found = targets(
        {CSAT: (600.0, NOW + timedelta(seconds=90))},
        {CSAT: record(3725, error="HTTP 500")},
        NOW,
    )
    html = text(status(*found, requests_per_day=5000, answered=False))

    for said in (
        "acme",
        "1,234 of 5,000 requests today, 60 a minute allowed; days in UTC.",
        "The API has not answered yet.",
        "Support",
        "csat",
        "last_30_days",
        "failing",
        "HTTP 500",
        ">1h 2m <",
        ">10m<",
        ">in 1m 30s<",
        'title="2026-11-21 10:57:55 UTC"',
    ):
        assert said in html


def many(number: int, error: str = "") -> tuple[TargetStatus, ...]:
    keys = [
        Key(Target("seachat", "acme", f"b{n}", f"Bot {n:04}"), "csat", "") for n in range(number)
    ]
    records = {key: record(error=error if n == number - 1 else "") for n, key in enumerate(keys)}
    return targets(dict.fromkeys(keys, (600.0, None)), records, NOW)


def test_with_many_bots_there_is_a_search_that_needs_no_script() -> None:
    assert "<form" not in text(status(*many(MANY - 1)))
    html = text(status(*many(MANY)), "bot 0007")

    assert "<form" in html
    assert 'value="bot 0007"' in html
    assert "Bot 0007" in html
    assert "Bot 0008" not in html


@pytest.mark.parametrize("query", ["timed out", "b29", "CSAT", "acme", "failing"])
def test_the_search_looks_at_names_ids_reports_states_and_errors(query: str) -> None:
    assert "Bot 0029" in text(status(*many(30, error="timed out")), query)


def test_of_very_many_bots_the_worst_are_shown_and_the_rest_counted() -> None:
    html = text(status(*many(2000, error="HTTP 500")))

    assert html.count("<details") == SHOWN
    assert "Bot 1999" in html
    assert "And 1,800 more" in html


def test_the_search_looks_at_windows() -> None:
    found = targets({CSAT: (600.0, None)}, {CSAT: record()}, NOW)

    assert "Support" in text(status(*found, *many(30)), "last_30")
    assert "Bot 0001" not in text(status(*found, *many(30)), "last_30")


def test_a_search_that_finds_nothing_says_so_and_leads_back() -> None:
    html = text(status(*many(30)), "<zzz>")

    assert 'Nothing matches “&lt;zzz&gt;”. <a href="?">Show everything</a>' in html
    assert "<details" not in html
    assert "Nothing matches" not in text(status(*many(30)), "bot")
    assert "Nothing matches" not in text(status())


def test_a_glance_at_the_top_says_how_many_need_a_look() -> None:
    html = text(status(*many(30, error="HTTP 500")))

    assert "As of 2026-11-21 12:00:00 UTC: 30 targets, 1 failing, 29 ok.</p>" in html
    assert "UTC: 1 target, 1 ok.</p>" in text(status(*many(1)))
    assert "UTC: no target.</p>" in text(status())


def two(first: WorkspaceStatus, second: WorkspaceStatus) -> Status:
    return Status("0.1.0", NOW, (first, second))


def test_the_workspace_that_needs_a_look_comes_first() -> None:
    [good] = status(*many(2), name="good").workspaces
    [bad] = status(*many(2, error="HTTP 500"), name="bad").workspaces

    assert text(two(good, bad)).index("<h2>bad") < text(two(good, bad)).index("<h2>good")


def test_however_many_workspaces_there_are_no_more_are_shown_at_once() -> None:
    [one] = status(*many(150), name="one").workspaces
    [other] = status(*many(150), name="other").workspaces

    html = text(two(one, other))
    assert html.count("<details") == SHOWN
    assert "And 100 more" in html


def test_of_a_bot_that_needs_a_look_what_is_ok_is_folded() -> None:
    other = CSAT._replace(report="total_usage")
    found = targets(
        {CSAT: (600.0, None), other: (600.0, None)},
        {CSAT: record(error="HTTP 500"), other: record()},
        NOW,
    )
    html = text(status(*found))

    assert "2 reports, 1 not ok" in html
    folded = html.index("<details><summary><small>1 more, ok</small>")
    assert html.index("HTTP 500") < folded < html.index("total_usage")


def test_when_values_came_can_be_read_on_a_telephone_that_cannot_point_at_it() -> None:
    found = targets({CSAT: (600.0, None)}, {CSAT: record(3725)}, NOW)

    assert "1h 2m <small>2026-11-21 10:57</small>" in text(status(*found))


class Parsed(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and where it leads."""
        self.tags.add(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "action"}
        ]


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_whatever_the_names_are_nothing_of_them_becomes_a_part_of_the_page(
    name: str, error: str, query: str
) -> None:
    plain = Parsed(text(status(*many(30)), "x")).tags | Parsed(text(status(*many(30)))).tags
    bad = '"><script>'  # what a text of chance hardly ever is
    key = Key(Target("seachat", "acme", f"b{bad}", f"{bad}{name}"), f"csat{bad}", bad)
    found = targets({key: (600.0, None)}, {key: record(error=f"{bad}{error}")}, NOW)
    shown = status(*found, *many(30), name=f"{bad}{name}")

    for asked in ("", f"{bad}{query}", bad):  # all, probably nothing, and those that hold it
        parsed = Parsed(text(shown, asked))
        assert parsed.tags <= plain | {"div"}
        assert "script" not in parsed.tags


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    parsed = Parsed(text(status(*many(30))))

    assert parsed.addresses == ["/metrics", "/api/v1/status"]
    assert not parsed.tags & {"script", "img", "link", "iframe"}
