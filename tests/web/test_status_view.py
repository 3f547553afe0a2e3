from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given, strategies as st
from support.statuses import failing, ok, status, workspace

from exporter.errors import Cause
from exporter.model.apis import APIS
from exporter.model.targets import Target
from exporter.polling.status import TargetStatus, WorkspaceStatus
from exporter.web.status_view import KINDS, REFRESH, STATES, View

stripped = st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace").decode().strip())
views = st.builds(
    View,
    workspace=stripped,
    bot=stripped,
    state=st.sampled_from(["", *STATES]),
    cause=st.sampled_from(["", *sorted(KINDS)]),
    api=st.sampled_from(["", *APIS]),
    q=stripped,
    page=st.integers(1, 10_000),
    refresh=st.just(0) | st.integers(*REFRESH),
)


@given(views)
def test_an_address_leads_to_the_view_that_it_was_made_for(view: View) -> None:
    assert View.parsed(view.link.removeprefix("?")) == view


@given(views, st.integers(*REFRESH))
def test_a_page_that_refreshes_goes_on_refreshing_wherever_one_goes(
    view: View, seconds: int
) -> None:
    here = View.parsed(view.refreshed(seconds).removeprefix("?"))

    for link in (here.at(), here.at(workspace="acme"), here.at(q="x"), here.on_page(2)):
        assert View.parsed(link.removeprefix("?")).refresh == seconds
    assert View.parsed(here.refreshed(0).removeprefix("?")) == View.parsed(
        view.refreshed(0).removeprefix("?")
    )


@given(st.text())
@example("state=nonsense&cause=x&api=x&page=0&refresh=abc&workspace=%ff%00")
@example("page=999999999999&refresh=١٢")
@example("q=" + "a" * 5000)
def test_whatever_an_address_says_it_is_a_view_within_limits(query: str) -> None:
    view = View.parsed(query)

    assert view.state in {"", *STATES}
    assert view.cause in {"", *KINDS}
    assert view.api in {"", *APIS}
    assert len(view.q) <= 100
    assert max(len(view.workspace), len(view.bot)) <= 200
    assert 1 <= view.page <= 10_000
    assert view.refresh == 0 or REFRESH[0] <= view.refresh <= REFRESH[1]


@pytest.mark.parametrize(
    ("asked", "seconds"), [("30", 30), ("1", 5), ("999999", 3600), ("0", 0), ("-1", 0), ("1e9", 0)]
)
def test_a_refresh_is_neither_too_often_nor_never(asked: str, seconds: int) -> None:
    assert View.parsed(f"refresh={asked}").refresh == seconds


def test_nothing_of_the_default_is_in_an_address() -> None:
    assert View().link == "?"
    assert parse_qs(View(q="a b&c").link[1:]) == {"q": ["a b&c"]}


def one(**others: Any) -> tuple[WorkspaceStatus, TargetStatus]:  # noqa: ANN401 - fields
    bot = Target("seachat", "acme", "b1", "Support")
    found = workspace(
        "acme", [(bot, [ok(), failing(Cause.TIMEOUT), failing(Cause.KEY_REJECTED)])], **others
    )
    [target] = status(found).workspaces[0].targets
    return found, target


@pytest.mark.parametrize(
    ("view", "wanted"),
    [
        (View(state="failing"), True),
        (View(state="lost"), False),
        (View(state="ok"), False),
        (View(cause="timeout"), True),
        (View(cause="forbidden"), True),
        (View(cause="key_rejected"), False),
        (View(cause="late"), False),
        (View(api="seachat"), True),
        (View(api="portal"), False),
        (View(api="portal", cause="timeout"), False),
        (View(api="seachat", cause="timeout", state="failing"), True),
        (View(api="seachat", cause="timeout", state="ok"), False),
    ],
)
def test_every_filter_must_let_a_target_through(view: View, wanted: bool) -> None:
    assert view.wants(*one()) is wanted


def test_a_rejection_is_the_keys_unless_the_key_works_for_others() -> None:
    assert View(cause="key_rejected").wants(*one(key_valid=False))
    assert View(cause="key_rejected").wants(*one(key_valid=None))
    assert View(cause="forbidden").wants(*one(key_valid=True))


@pytest.mark.parametrize(
    ("view", "has"),
    [
        (View(), True),
        (View(workspace="acme"), True),
        (View(workspace="acm"), False),
        (View(bot="b1"), True),
        (View(workspace="acme", bot="b2"), False),
    ],
)
def test_a_view_is_of_a_workspace_or_bot_by_its_exact_name(view: View, has: bool) -> None:
    assert view.has(*one()) is has
