"""The sandbox's other readings of the documents: named, combined, and strict as ever."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import pytest
from sandbox.conftest import NOW

from exporter.commands import sandbox as command
from exporter.commands.flags import parse
from exporter.errors import StartError
from exporter.model import api_paths
from exporter.sandbox import Sandbox, Temperament
from exporter.sandbox.temperaments import CLOCK_AHEAD, MOST_A_MINUTE, RETRY_AFTER

Call = Callable[..., httpx.Response]
LABELS: Final = {"metrics": ["label_overview"]}
WITHOUT_WAITING: Final = [one for one in Temperament if one is not Temperament.SLOW]

each = pytest.mark.parametrize("temperament", WITHOUT_WAITING)


@pytest.fixture
def tempered(sandbox: Sandbox) -> Callable[..., Sandbox]:
    """The sandbox of all tests, with another temper."""
    since = int((NOW - timedelta(days=402)).timestamp())
    return lambda *temper: Sandbox(
        sandbox.connection, sandbox.workspaces, lambda: NOW, since, temper=temper
    )


@each
def test_what_is_wrong_is_refused_as_ever(
    tempered: Callable[..., Sandbox], call: Call, temperament: Temperament
) -> None:
    one = tempered(temperament)
    for key, body, status in (
        (one.workspaces[0].seachat_key, LABELS | {"unheard_of": 1}, 422),
        (one.workspaces[0].seachat_key, LABELS | {"range_type": "last_8_days"}, 422),
        ("nobody's", LABELS, 401),
    ):
        headers = {"X-API-KEY": key}
        reply = call(one, "POST", api_paths.SEACHAT_REPORT, headers=headers, json=body)
        assert reply.status_code == status


def test_by_default_there_is_no_temper_and_the_clock_is_right(sandbox: Sandbox, call: Call) -> None:
    assert not sandbox.temper
    reply = call(sandbox, "GET", "/")
    assert parsedate_to_datetime(reply.headers["date"]) == NOW


def test_a_clock_that_is_ahead_shows_in_each_answer(
    tempered: Callable[..., Sandbox], call: Call
) -> None:
    reply = call(tempered(Temperament.FAST_CLOCK), "GET", "/")
    ahead = parsedate_to_datetime(reply.headers["date"]) - NOW
    assert ahead.total_seconds() == CLOCK_AHEAD


def test_temperaments_can_be_combined(
    tempered: Callable[..., Sandbox], post: Callable[..., httpx.Response]
) -> None:
    one = tempered(Temperament.PARTIAL_BATCHES, Temperament.NOTHING_FOR_ZERO)
    long_ago = {"start_date": "2000-01-01T00:00:00", "end_date": "2000-01-01T23:59:59"}
    body: dict[str, Any] = {"metrics": ["total_usage", "csat"], **long_ago}

    answer = post("seachat", body, one).json()

    assert answer == {"total_usage": {}, "csat": {"detail": "gptbot_id is required for csat"}}


def test_the_rate_limit_is_the_workspaces_and_says_how_long_to_wait(
    tempered: Callable[..., Sandbox], post: Callable[..., httpx.Response]
) -> None:
    one = tempered(Temperament.RATE_LIMIT)

    replies = [post("seachat", LABELS, one) for _ in range(MOST_A_MINUTE + 1)]

    assert [reply.status_code for reply in replies] == [200] * MOST_A_MINUTE + [429]
    assert replies[-1].headers["retry-after"] == str(RETRY_AFTER)


def made(*flags: str) -> Sandbox:
    """The sandbox that a command line asks for."""
    return command.make(parse(["sandbox", *flags], {}))


def test_the_command_line_names_them() -> None:
    with closing(made("--temperament=old-path", "--temperament", "dates-win")) as one:
        assert one.temper == {Temperament.OLD_PATH, Temperament.DATES_WIN}


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(StartError) as raised:
        made("--temperament=moody")

    assert str(raised.value) == f"--temperament must be one of {', '.join(Temperament)}"
