import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from support.statuses import (
    NOW,
    REPORTS,
    bots,
    failing,
    fine,
    night,
    ok,
    shown,
    status,
    troubled,
    workspace,
)

from exporter.errors import Cause
from exporter.metrics.store import Record
from exporter.model.targets import Key, Target
from exporter.polling.status import Status, WorkspaceStatus, targets
from exporter.web.status_page import page
from exporter.web.status_problems import ADVICE
from exporter.web.status_sections import HITS, MANY, SHOWN, WORKSPACES
from exporter.web.status_view import STATES, Links, View
from exporter.web.status_words import SIGNS

ROOT = Path(__file__).parents[2]
LINKED = Links("metrics", "api/v1/status", "https://docs.example/runbooks", "https://g.example")


class Parsed(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and where it leads."""
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "action"}
        ]


def words(html: str) -> str:
    """What a person reads, without the style sheet."""
    text = re.sub("<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]+>", " ", text)))


def acme(*rows: list[Record | None], **others: object) -> WorkspaceStatus:
    named = [
        (Target("seachat", "acme", *bot), row) for bot, row in zip(bots(99), rows, strict=False)
    ]
    return workspace("acme", named, **others)


def many(number: int) -> Status:
    """So many bots of one workspace, named by their number, of which the last fails."""
    rows: list[tuple[Target, list[Record | None]]] = [
        (Target("seachat", "acme", f"b{n}", f"Bot {n:05}"), [ok()]) for n in range(number)
    ]
    rows[-1] = (rows[-1][0], [failing(Cause.SERVER_ERROR, error="timed out")])
    return status(workspace("acme", rows))


# Problems.


def test_a_problem_says_what_since_when_whose_side_what_is_lost_and_what_to_do() -> None:
    text = words(shown(status(acme([failing(Cause.SERVER_ERROR, 7200)] * 3))))

    for said in (
        "1 problem",
        "SeaChat answers with server errors Seasalt's side",
        "3 reports of Returns Desk in acme",
        "since 00:56 UTC (1h 50m ago)",
        "Values gone since 01:16 UTC (1h 30m ago)",
        "HTTP 500",
        "To do: Nothing to change here: the exporter keeps trying.",
        "Runbook: SeasaltApiFailing",
        "next try in 1m",
    ):
        assert said in text


def test_one_poll_that_failed_while_its_values_are_fresh_does_not_read_like_values_gone() -> None:
    blip = shown(status(acme([ok(), failing(Cause.TIMEOUT, 660)])))
    gone = shown(status(acme([ok(), failing(Cause.TIMEOUT, 7200)])))

    fresh = "The last values are still on the metrics page, at least until 03:05 UTC (in 19m)"
    assert fresh in words(blip)
    assert "Values gone" not in blip
    assert '<article class="f">' in blip
    assert "Values gone since" in gone
    assert '<article class="x">' in gone


def test_the_values_of_a_bot_that_is_gone_went_when_they_were_withdrawn() -> None:
    deleted = failing(Cause.NOT_FOUND, 660).withdrawn_at(NOW - timedelta(seconds=90))
    text = words(shown(status(acme([ok()], [deleted] * 3))))

    assert "Values gone since 02:44 UTC (1m 30s ago)" in text
    assert not re.search(r"gone since [^(]*\(in ", words(shown(troubled())))


def test_what_never_succeeded_has_no_values_yet_and_no_beginning_of_its_failure() -> None:
    text = words(shown(status(acme([failing(Cause.REFUSED, None)]))))

    assert "never succeeded, tried since 02:41 UTC (5m ago)" in text
    assert "No values yet" in text
    assert "gone" not in text


def test_of_what_began_to_fail_nobody_knows_when_nothing_is_said() -> None:
    kept = replace(failing(Cause.TIMEOUT), failing_since=None, cause=None)

    assert not re.search(r"since \d", words(shown(status(acme([kept])))))


def test_a_cause_that_hits_many_workspaces_is_one_problem_with_a_line_for_the_worst_of_them() -> (
    None
):
    rejected = [failing(Cause.KEY_REJECTED, 7200)]
    found = [
        workspace(
            f"w{n:02}", [(Target("seachat", f"w{n:02}", "b"), rejected * (n + 1))], key_valid=False
        )
        for n in range(HITS + 5)
    ]
    text = words(shown(status(*found)))

    assert "1 problem" in text
    assert "120 reports of 15 bots in 15 workspaces" in text
    assert "15 reports of b in w14" in text
    assert "5 more workspaces" in text
    assert "1 report of b in w00" not in text


def test_what_a_workspace_waits_for_is_told_where_it_matters() -> None:
    paused = {"paused_until": NOW + timedelta(minutes=14)}
    pause = "paused until 03:00 UTC (in 14m)"

    limited = words(shown(status(acme([failing(Cause.RATE_LIMITED)], **paused))))
    refused = words(shown(status(acme([failing(Cause.REFUSED)], **paused))))
    broken = words(
        shown(status(acme([failing(Cause.CONNECT)], probe_at=NOW + timedelta(seconds=40))))
    )

    assert limited.count(pause) == 2  # with the problem and with the workspace
    assert "next try" not in limited
    assert refused.count(pause) == 1
    assert "circuit breaker open, next request at 02:46 UTC (in 40s)" in broken


def test_a_plan_that_does_not_fit_says_by_how_much() -> None:
    text = words(shown(status(acme([ok(1000)], load=1.34))))

    assert "The plan does not fit the rate Yours to fix" in text
    assert "acme needs 134% of what is allowed." in text


def test_the_runbook_of_a_problem_is_a_link_if_it_is_known_where_the_runbooks_are() -> None:
    found = status(acme([failing(Cause.SERVER_ERROR)]))

    assert 'href="https://docs.example/runbooks/SeasaltApiFailing.md"' in shown(found, LINKED)
    assert "Runbook: SeasaltApiFailing<" in shown(found)


def test_every_runbook_that_the_page_names_exists() -> None:
    named = {advice.runbook for advice in ADVICE.values()} - {""}

    assert len(named) > 4
    for runbook in named:
        assert (ROOT / f"docs/runbooks/{runbook}.md").is_file()


@pytest.mark.parametrize(
    ("view", "uid"), [({}, "seasalt-exporter"), ({"bot": "b1"}, "seasalt-bot")]
)
def test_a_workspace_and_a_bot_lead_to_a_dashboard_that_exists_with_these_variables(
    view: dict[str, str], uid: str
) -> None:
    bot = Target("seachat", "acme", "b1", "Support & more")
    html = shown(status(workspace("acme", [(bot, [ok()])])), LINKED, workspace="acme", **view)

    [(address, query)] = re.findall(r'href="https://g\.example/d/([\w-]+)\?([^"]+)"', html)
    assert address == uid
    dashboards = [json.loads(file.read_text()) for file in (ROOT / "grafana").rglob("*.json")]
    [dashboard] = [one for one in dashboards if one.get("uid") == uid]
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    assert {name.removeprefix("var-") for name in re.findall(r"var-\w+", query)} <= variables
    told = {one["name"]: one.get("regex", "") for one in dashboard["templating"]["list"]}
    if view:  # the dashboard knows a bot by its id, as several may have one name
        assert "var-bot=b1" in query
        assert told["bot"].startswith("/bot_id=")


# The whole.


def test_the_title_says_how_things_stand_so_that_a_tab_does() -> None:
    waiting: list[Record | None] = [None] * 3

    for found, title in (
        (fine(), "Everything is up to date"),
        (status(acme([failing(Cause.TIMEOUT)])), "1 problem"),
        (troubled(), "14 problems"),
        (status(acme(waiting)), "Starting: 3 reports not polled yet"),
        (status(), "Nothing is polled"),
    ):
        html = shown(found)
        assert f"<title>{title} · seasalt-exporter</title>" in html
        assert f"<h1>{title}</h1>" in html


def test_every_number_of_a_state_is_a_link_to_as_many_as_it_says() -> None:
    html = shown(troubled())
    filters = re.findall(r'href="\?(state=\w+)">(\d+) ([\w ]+)</a>', html)

    assert [(state, int(number)) for state, number, _ in filters] == [
        *(("state=lost", 17), ("state=failing", 8), ("state=late", 1)),
        *(("state=waiting", 1), ("state=ok", 28)),
    ]
    for state, number, _ in filters:
        found = "".join(page(troubled(), View.parsed(state), LINKED))
        assert f"<h1>{number} of 55 bots and workspaces</h1>" in found
        assert found.count('role="img"') == int(number)


def twice() -> Status:
    """Two APIs with the same fault, at bots and at whole workspaces."""
    found = []
    for name, api in (("a", "seachat"), ("b", "seachat"), ("c", "portal"), ("d", "portal")):
        whole = [(Target(api, name), [failing(Cause.TIMEOUT), ok()])]
        those = [(Target(api, name, *bot), [failing(Cause.TIMEOUT)]) for bot in bots(5)]
        found.append(workspace(name, [*whole, *(those if api == "seachat" else [])], api=api))
    return status(*found)


@pytest.mark.parametrize("found", [troubled(), night(), twice()], ids=["all", "night", "twice"])
def test_every_number_of_bots_of_a_problem_is_a_link_to_as_many_as_it_says(found: Status) -> None:
    html = shown(found)
    cards = html[html.index("What needs a look") : html.index("<h2>Workspaces")]
    number = r"[\d,]+ (?:bots?|whole workspaces?)"
    links = re.findall(
        rf'<a href="\?([^"]+)">({number}(?: and (?:{number}|the whole .*?))?)</a>', cards
    )

    assert links
    assert re.findall(number, re.sub(r"<a .*?</a>", "", cards)) == []
    for link, text in links:
        said = sum(int(one) for one in re.findall(r"\d+", text)) + ("and the whole" in text)
        there = "".join(page(found, View.parsed(unescape(link)), LINKED))
        assert re.search(rf"<h1>{said} of \d+ bots and workspaces</h1>", there), (link, text)
        assert there.count('role="img"') == said
        assert there.count("<article") == 1  # and the same problem


def test_every_link_to_a_view_shows_something() -> None:
    seen, waiting = set[str](), ["?"]
    while waiting:
        link = waiting.pop()
        html = "".join(page(troubled(), View.parsed(link.removeprefix("?")), LINKED))
        assert "Nothing matches" not in html
        assert "Not polled here" not in html
        seen.add(link)
        further = {one for one in Parsed(html).addresses if one.startswith("?")}
        waiting += [one for one in further - seen if "refresh" not in one and one not in waiting]
    assert len(seen) > 60


def test_the_worst_workspace_comes_first_whatever_the_order_of_the_file() -> None:
    good = workspace("a-good", [(Target("seachat", "a-good", "b"), [ok()])])
    half = workspace("b-half", [(Target("seachat", "b-half", "b"), [ok(), failing(Cause.TIMEOUT)])])
    blip = workspace("c-blip", [(Target("seachat", "c-blip", "b"), [failing(Cause.TIMEOUT)])])
    gone = workspace("d-gone", [(Target("seachat", "d-gone", "b"), [failing(Cause.TIMEOUT, 7200)])])

    for order in ((good, half, blip, gone), (gone, blip, half, good)):
        html = shown(status(*order))
        table = html[html.index("<h2>Workspaces") : html.index("A to Z")]
        names = re.findall(r'">([\w-]+)</a> <small>SeaChat', table)
        assert names == ["d-gone", "c-blip", "b-half", "a-good"]


def test_a_workspace_says_its_budget_its_load_its_key_and_its_pause() -> None:
    found = acme(
        [ok()],
        requests_per_day=5000,
        load=0.45,
        key_valid=False,
        answered=False,
        paused_until=NOW + timedelta(hours=1),
    )
    text = words(shown(status(found)))

    for said in (
        "1,234 of 5,000 3,766 left",
        "45% at most 60/min",
        "rejected",
        "paused until 03:46 UTC (in 1h)",
        "The API has not answered yet.",
    ):
        assert said in text
    assert "SeaChat 1 ok 1,234 45% at most 60/min accepted none" in words(
        shown(status(acme([ok()], requests_per_day=None)))
    )


def test_targets_are_listed_from_a_to_z_with_a_sign_for_each_report() -> None:
    rows: list[list[Record | None]] = [
        [ok(), failing(Cause.TIMEOUT), failing(Cause.TIMEOUT, 7200), ok(1000), None],
        [ok()] * 5,
    ]
    html = shown(status(acme(*rows)))

    assert html.index(">Order Desk</a>") < html.index(">Returns Desk</a>", html.index("A to Z"))
    told = "5 reports: 1 without values, 1 failing, 1 late, 1 not polled yet, 1 ok"
    cells = '<i>✓</i><i class="f">!</i><i class="x">✗</i><i class="l">~</i><i class="w">·</i>'
    assert f'<span role="img" aria-label="{told}">{cells}</span>' in html
    assert f'aria-label="5 reports: 5 ok">{"<i>✓</i>" * 5}</span>' in html


def test_a_row_says_which_reports_are_not_ok_and_why() -> None:
    rows: list[list[Record | None]] = [
        [*[ok()] * 2, *[failing(Cause.TIMEOUT)] * 5],
        [failing(Cause.KEY_REJECTED, 7200)] * 3,
        [ok(240), ok(500)],
    ]
    text = words(shown(status(acme(*rows, key_valid=False))))

    assert "timeout : agent_activity today, conversation_breakdown today, " in text
    assert "conversation_breakdown last_7_days and 2 more, since 02:41 UTC (5m ago)" in text
    assert "key rejected : all, since 00:56 UTC" in text
    assert "oldest values 8m 20s" in text


def test_a_bot_has_a_page_with_all_that_is_known_of_its_reports() -> None:
    rows: list[list[Record | None]] = [
        [ok(), failing(Cause.TIMEOUT, error="no answer in time"), None]
    ]
    found = status(acme(*rows))
    text = words(shown(found, workspace="acme", bot="bot-000-2839e65f9ca7"))

    for said in (
        "Returns Desk",
        "bot-000-2839e65f9ca7 · bot of acme",
        "SeaChat · days begin in Europe/Berlin",
        "activity_trend today ✓ ok 4m 02:42 UTC 10m in 1m 12",
        "activity_trend last_28_days ! timeout · no answer in time · since 02:41 UTC (5m ago)",
        "agent_activity today · not polled yet never 10m in 1m 2s 0",
    ):
        assert said in text


def test_a_workspace_has_a_page_with_its_own_reports_in_full_and_its_bots() -> None:
    html = shown(troubled(), workspace="harbor")

    assert "<h1>harbor</h1>" in html
    assert "Reports of the whole workspace" in html
    assert "globex" not in html
    assert html.count('role="img"') == 13


def test_what_is_not_polled_has_a_page_that_says_so() -> None:
    views: list[dict[str, Any]] = [{"workspace": "gone"}, {"workspace": "harbor", "bot": "gone"}]
    for view in views:
        assert "<h1>Not polled here</h1>" in shown(troubled(), **view)


# At any size.


def test_with_many_bots_there_is_a_search_that_needs_no_script() -> None:
    assert "<form" not in shown(many(MANY - 1))
    html = shown(many(MANY), q="bot 00007")

    assert "<form" in html
    assert 'value="bot 00007"' in html
    assert "Bot 00007" in html
    assert "Bot 00008" not in html


def test_a_search_stays_in_the_workspace_and_goes_on_refreshing() -> None:
    html = shown(many(MANY), workspace="acme", refresh=30)

    assert '<input type="hidden" name="workspace" value="acme">' in html
    assert '<input type="hidden" name="refresh" value="30">' in html


@pytest.mark.parametrize(
    "query", ["timed out", "b29", "00029", "BOT 00029", "failing", "server error", "server_error"]
)
def test_the_search_looks_at_names_ids_states_causes_and_errors(query: str) -> None:
    html = shown(many(30), q=query)

    assert "Bot 00029" in html
    assert "<h1>1 of 30 bots and workspaces</h1>" in html


@pytest.mark.parametrize("state", STATES)
def test_the_search_finds_each_state_by_the_words_that_the_page_and_its_address_have_for_it(
    state: str,
) -> None:
    gone, blip = failing(Cause.TIMEOUT, 7200, "x"), failing(Cause.TIMEOUT, 660, "x")
    found = status(acme([gone], [blip], [ok(1000)], [None], [ok()]))
    [row] = re.findall(r'<th scope="row"><a [^>]+>[^<]+</a> <small>bot', shown(found, state=state))

    for query in (state, SIGNS[STATES[state]].short):
        assert row in shown(found, q=query)
    assert "<h1>1 of 5 bots and workspaces</h1>" in shown(found, q="without values")


def test_a_search_that_finds_nothing_says_so_and_leads_back() -> None:
    html = shown(many(30), q="<zzz>", refresh=30)

    assert 'Nothing matches. <a href="?refresh=30">Show everything</a>' in html
    assert "search: “&lt;zzz&gt;”" in html
    assert "<table" not in html


def test_each_of_very_many_bots_is_on_one_of_the_pages() -> None:
    number = 2 * SHOWN + 1
    named: list[str] = []
    for place in (1, 2, 3):
        html = shown(many(number), page=place)
        names = re.findall(r">(Bot \d+)</a> <small>", html)
        assert f"Page {place} of 3" in html
        assert len(names) <= SHOWN
        named += names

    assert named == [f"Bot {n:05}" for n in range(number)]
    assert "Page 3 of 3" in shown(many(number), page=99)


def test_of_very_many_workspaces_the_worst_are_shown_and_the_rest_counted() -> None:
    found = [
        workspace(f"w{n:04}", [(Target("seachat", f"w{n:04}", "b"), [ok()])])
        for n in range(WORKSPACES + 50)
    ]
    found.append(workspace("zz", [(Target("seachat", "zz", "b"), [failing(Cause.TIMEOUT)])]))
    html = shown(status(*found))

    assert html.count('class="r"') == WORKSPACES
    assert html.index(">zz</a> <small>") < html.index(">w0000</a> <small>")
    assert "And 51 more workspaces" in html


def test_fifty_bots_in_trouble_are_a_page_below_100_kb() -> None:
    rejected = [failing(Cause.KEY_REJECTED, 9000)] * len(REPORTS)
    rows = [(Target("seachat", "globex", *bot), rejected) for bot in bots(54)]
    everywhere = status(workspace("globex", rows, key_valid=False))

    for found in (troubled(), everywhere):
        assert len(shown(found, LINKED).encode()) < 100_000


def test_the_page_rests_after_each_target_whatever_it_shows() -> None:
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    for view in (View(), View(q="zzz"), View(workspace="gone"), View(state="ok")):
        rests = 0
        for _ in page(many(500), view, LINKED, rest):
            pass
        assert rests >= 500


# For everybody.


def test_the_page_is_not_loaded_again_unless_somebody_wants_it() -> None:
    assert "http-equiv" not in shown(troubled())
    html = shown(troubled(), refresh=30, workspace="harbor")

    assert '<meta http-equiv="refresh" content="30">' in html
    assert "<b>every 30s</b>" in html
    assert '<a href="?workspace=harbor">off</a>' in html
    assert '<a href="?workspace=harbor&amp;refresh=300">every 5m</a>' in html


@pytest.mark.parametrize("view", [{}, {"workspace": "harbor"}, {"q": "csat"}, {"state": "lost"}])
def test_the_page_has_one_main_part_one_title_and_headings_in_order(view: dict[str, Any]) -> None:
    tags = Parsed(shown(troubled(), **view)).tags

    assert tags.count("main") == tags.count("h1") == tags.count("header") == 1
    headings = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_the_page_runs_nothing_and_fetches_nothing_from_elsewhere() -> None:
    parsed = Parsed(shown(troubled()))

    assert not {*parsed.tags} & {"script", "img", "link", "iframe", "object", "svg"}
    assert not any(name.startswith("on") for name in parsed.names)
    assert all(
        one.startswith("?") or one in {"metrics", "api/v1/status"} for one in parsed.addresses
    )


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_whatever_the_names_are_nothing_of_them_becomes_a_part_of_the_page(
    name: str, error: str, query: str
) -> None:
    bad = "\"><script>'`{0}"  # what a text of chance hardly ever is
    plain = Parsed(shown(troubled(), LINKED)), Parsed(shown(troubled(), LINKED, workspace="harbor"))
    tags = {tag for one in plain for tag in one.tags} | {"nav"}
    names = {found for one in plain for found in one.names} | {"rel"}
    key = Key(Target("seachat", f"{bad}{name}", f"b{bad}", f"{bad}{name}"), f"csat{bad}", bad)
    record = failing(Cause.KEY_REJECTED, error=f"{bad}{error}")
    one = workspace(f"{bad}{name}", [], key_valid=False, timezone=bad, api=f"x{bad}")
    found = targets({key: (600.0, None)}, {key: record}, NOW)
    hostile = status(replace(one, targets=found), *troubled().workspaces)

    for view in (
        View(),
        View(q=f"{bad}{query}"),
        View(q=bad),
        View(workspace=one.name),
        View(workspace=one.name, bot=f"b{bad}"),
        View(workspace=bad, bot=query),
    ):
        parsed = Parsed("".join(page(hostile, view, LINKED)))
        assert {*parsed.tags} <= tags
        assert parsed.names <= names
        for address in parsed.addresses:
            assert address.startswith(("?", "metrics", "api/v1", "https://docs.", "https://g."))
