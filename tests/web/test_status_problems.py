from dataclasses import replace
from datetime import timedelta

import pytest
from support.statuses import NOW, failing, ok, status, troubled, workspace

from exporter.errors import Cause
from exporter.metrics.store import Record
from exporter.model import bot_list
from exporter.model.targets import Key, Target
from exporter.polling.status import Status, WorkspaceStatus, targets
from exporter.web.status_problems import ADVICE, HELD, MOST_ERRORS, Problem
from exporter.web.status_survey import survey
from exporter.web.status_view import KINDS, Level, View


def problems(*found: WorkspaceStatus) -> list[Problem]:
    return problems_of(status(*found))


def problems_of(found: Status) -> list[Problem]:
    return survey(found, View(), lambda: None).problems


def bot(number: int, workspace: str = "acme") -> Target:
    return Target("seachat", workspace, f"b{number}", f"Bot {number}")


def test_there_is_advice_for_every_kind_of_problem() -> None:
    assert {*ADVICE} == KINDS
    assert {*HELD} <= KINDS


def test_one_cause_is_one_problem_however_many_reports_it_hits() -> None:
    rejected = [failing(Cause.KEY_REJECTED)] * 20
    one = workspace("acme", [(bot(n), rejected) for n in range(10)], key_valid=False)
    other = workspace("globex", [(bot(n, "globex"), rejected) for n in range(5)], key_valid=False)

    [problem] = problems(one, other)

    assert problem.title == "SeaChat rejects the key"
    assert problem.extent.reports == 300
    assert {name: hit.bots for name, hit in problem.hits.items()} == {"acme": 10, "globex": 5}


def test_different_causes_and_different_apis_are_different_problems() -> None:
    one = workspace("acme", [(bot(1), [failing(Cause.TIMEOUT), failing(Cause.SERVER_ERROR)])])
    portal = [(Target("portal", "p"), [failing(Cause.TIMEOUT)])]

    found = problems(one, workspace("p", portal, api="portal"))

    assert {(problem.kind, problem.api) for problem in found} == {
        ("timeout", "seachat"),
        ("server_error", "seachat"),
        ("timeout", "portal"),
    }


def test_gone_values_come_before_a_poll_that_failed_and_more_reports_before_fewer() -> None:
    blip, gone = failing(Cause.TIMEOUT), failing(Cause.SERVER_ERROR, 7200)
    rows: list[tuple[Target, list[Record | None]]] = [
        (bot(1), [blip] * 9),
        (bot(2), [gone]),
        (bot(3), [failing(Cause.INVALID)] * 5),
        (bot(4), [ok(1000)] * 20),
        (bot(5), [None] * 22),
        (bot(6), [failing(Cause.REFUSED, None)] * 2),
    ]

    found = problems(workspace("acme", rows))

    assert [problem.kind for problem in found] == [
        *("refused", "server_error", "timeout", "invalid", "late", "waiting")
    ]


def test_the_extent_says_since_when_what_is_lost_and_until_when_the_rest_is_there() -> None:
    rows = [(bot(1), [failing(Cause.TIMEOUT, 7200), failing(Cause.TIMEOUT, 900)])]

    [problem] = problems(workspace("acme", rows))
    whole = problem.extent

    assert (whole.reports, whole.lost, whole.never) == (2, 1, 0)
    assert whole.since == NOW - timedelta(seconds=6600)
    assert whole.gone == NOW - timedelta(seconds=5400)
    assert whole.until == NOW + timedelta(seconds=900)
    assert whole.retry == NOW + timedelta(seconds=60)


def test_what_never_succeeded_does_not_claim_to_have_begun_to_fail() -> None:
    [problem] = problems(workspace("acme", [(bot(1), [failing(Cause.TIMEOUT, None)])]))

    assert problem.extent.since is None
    assert problem.extent.tried == NOW - timedelta(seconds=300)
    assert problem.extent.gone is None
    assert problem.level is Level.LOST


def test_a_key_that_is_rejected_for_one_bot_alone_is_another_problem_than_a_rejected_key() -> None:
    rows = [(bot(1), [failing(Cause.KEY_REJECTED)] * 3), (bot(2), [ok()] * 3)]

    [problem] = problems(workspace("acme", rows, key_valid=True))

    assert problem.kind == "forbidden"
    assert "works for other bots" in problem.to_do


@pytest.mark.parametrize(
    ("setting", "then"),
    [
        ("api_key_file", "The exporter reads the file again at the next request."),
        (
            "api_key",
            "if the key comes from an environment variable, restart the exporter instead.",
        ),
    ],
)
def test_for_a_rejected_key_it_says_where_it_is_configured_and_how_it_is_taken_up(
    setting: str, then: str
) -> None:
    rows = [(bot(1), [failing(Cause.KEY_REJECTED)])]

    [problem] = problems(workspace("acme", rows, key_valid=False, key_settings=(setting, setting)))

    assert f"into `{setting}` of workspace acme." in problem.to_do
    assert "scope “SeaChat API Access”" in problem.to_do
    assert problem.to_do.endswith(then)


def test_if_the_bot_list_alone_is_rejected_its_own_key_is_to_blame() -> None:
    key = Key(Target("seachat", "acme"), bot_list.REPORT, "")
    found = targets({key: (600.0, NOW)}, {key: failing(Cause.KEY_REJECTED)}, NOW)
    one = workspace("acme", [], key_settings=("api_key", "bots_api_key_file"))

    [problem] = problems(replace(one, targets=found))

    assert problem.kind == "key_rejected"
    assert "`bots_api_key_file`" in problem.to_do


def test_reports_that_are_late_are_the_plans_fault_only_if_it_does_not_fit() -> None:
    rows = [(bot(1), [ok(1000)])]

    [behind] = problems(workspace("acme", rows, load=0.9))
    [too_much] = problems(workspace("acme", rows, load=1.34))

    assert (behind.title, behind.advice.whose) == ("Reports are late", "Passes by itself")
    assert (too_much.title, too_much.advice.whose) == (
        "The plan does not fit the rate",
        "Yours to fix",
    )


def test_what_an_earlier_version_kept_without_a_cause_is_no_guess() -> None:
    known = Record(600.0, error="HTTP 500")

    [problem] = problems(workspace("acme", [(bot(1), [known])]))

    assert problem.kind == "unknown"
    assert problem.extent.since is problem.extent.tried is None


def test_errors_that_name_an_instant_do_not_fill_the_memory() -> None:
    rows = [(bot(n), [failing(Cause.TIMEOUT, error=f"at {n}")]) for n in range(5 * MOST_ERRORS)]

    [problem] = problems(workspace("acme", rows))

    assert len(problem.errors) == MOST_ERRORS


def test_every_cause_is_among_the_problems_of_a_fleet_in_trouble() -> None:
    assert {problem.kind for problem in problems_of(troubled())} == KINDS - {"unknown"}
