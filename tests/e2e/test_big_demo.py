"""`demo --bots 50 --trouble` as a person starts it: what is special reaches the pages."""

import html
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Final

import pytest
from e2e.conftest import MANY, POLLED, REPORTS
from e2e.programs import Demo
from support.pagecheck import problems, series
from support.processes import get

from exporter.sandbox import SandboxBot, SandboxWorkspace, Trouble
from exporter.sandbox.many_bots import SAME_NAME, make_many

WORKSPACES: Final = make_many(1, MANY, 0.0)
"""As the demo makes them: the same seed makes the same bots."""
BOTS: Final = [bot for workspace in WORKSPACES for bot in workspace.bots]
Page = dict[str, list[tuple[dict[str, str], float]]]
"""By family: labels and value of each series."""


@pytest.fixture(scope="module")
def page(big_demo: Demo) -> Page:
    """The metrics after the first round, by family."""
    body = get(big_demo.page).body
    assert problems(body) == []
    found: Page = {}
    for (name, labels), value in series(body).items():
        found.setdefault(name, []).append((dict(labels), value))
    return found


def of_bots(page: Page, family: str, **labels: str) -> dict[str, float]:
    """The values of a family by bot, for the series with these labels."""
    found = page[family]
    return {
        of["bot_id"]: value
        for of, value in found
        if of.get("bot_id") and labels.items() <= of.items()
    }


def short(workspace: SandboxWorkspace) -> str:
    """What the demo calls a workspace."""
    return workspace.name.split()[0].lower()


def the_one(trait: str) -> SandboxBot:
    """The only bot that is unlike the others in this."""
    usual, *_ = Counter(getattr(bot.traits, trait) for bot in BOTS).most_common(1)[0]
    (found,) = (bot for bot in BOTS if getattr(bot.traits, trait) != usual)
    return found


def test_every_bot_is_there_by_its_id_and_with_its_name_intact(page: Page) -> None:
    # Of these series none goes while a key is rejected, however long the first round has taken.
    shown = {
        (labels["workspace"], labels["bot_id"], labels["bot"])
        for labels, _ in page[POLLED]
        if labels.get("bot_id")
    }
    assert shown == {
        (short(workspace), bot.id, bot.name) for workspace in WORKSPACES for bot in workspace.bots
    }
    assert Counter(name for _, _, name in shown)[SAME_NAME] == 3


def test_the_status_page_shows_every_name_and_four_time_zones(big_demo: Demo) -> None:
    address = big_demo.page.removesuffix("metrics")

    def shown(query: str = "") -> str:
        return html.unescape(re.sub(r"<[^>]*>", " ", get(address + query).body.decode()))

    text = shown()
    for bot in BOTS:
        assert bot.name in text
        assert bot.id in text
    for workspace in WORKSPACES:
        assert workspace.timezone in shown(f"?workspace={short(workspace)}")


def test_all_reports_succeed_but_those_of_the_bot_that_fails(page: Page) -> None:
    trouble = Trouble(1, datetime.now(UTC), WORKSPACES)
    failed: Counter[str] = Counter()
    # Where the first round is slow, other faults of these two have begun.
    passing = {short(trouble.limited), short(trouble.rejected)}
    for labels, value in page[POLLED]:
        if labels["workspace"] not in passing:
            failed[labels.get("bot_id", "")] += not value
    # Its analytics fail; its knowledge base is listed.
    assert +failed == {trouble.failing.id: REPORTS - 1}


def test_the_silent_bot_had_users_this_month_and_none_in_the_last_day(page: Page) -> None:
    silent = the_one("silent_since")
    family = "seasalt_conversation_overview_conversations"
    assert of_bots(page, family, window="last_day")[silent.id] == 0
    assert of_bots(page, family, window="last_30_days")[silent.id] > 1000


def test_the_bot_without_answers_has_no_satisfaction_rather_than_none(page: Page) -> None:
    without = the_one("surveyed")
    assert of_bots(page, "seasalt_csat_responses", window="last_30_days")[without.id] == 0
    shares = of_bots(page, "seasalt_csat_satisfaction_ratio", window="last_30_days")
    assert without.id not in shares
    assert shares[the_one("good").id] < 0.6


def test_bots_differ_in_size_by_two_orders_of_magnitude(page: Page) -> None:
    family = "seasalt_conversation_overview_messages"
    found = sorted(
        number for number in of_bots(page, family, window="last_30_days").values() if number
    )
    assert found[0] / 30 < 50
    assert found[-1] / 30 > 2000
