"""The examination of an account: each way in which the API may behave, and each misconfiguration."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import pytest
from doctor.conftest import Account, found

from exporter.commands import doctor
from exporter.doctor import account as account_module
from exporter.doctor.examination import MOST_REQUESTS, Examination
from exporter.doctor.findings import ASKED, Verdict
from exporter.errors import Outcome
from exporter.model import api_paths
from exporter.model.bot_list import ListedBot
from exporter.sandbox import Temperament
from exporter.sandbox.temperaments import MOST_A_MINUTE

Make = Callable[..., Account]

USUAL: Final = {
    "key": "accepted",
    "bots_key": "accepted",
    "path": "documented",
    "clock": "equal",
    "duration": "fast",
    "requests": "allowed",
    "bots": "exist",
    "range_type": "rolling",
    "range_with_dates": "range_type",
    "naive_dates": "local",
    "end_date": "cuts",
    "batch": "whole",
    "zeros": "zero",
    "satisfaction_rate": "percent",
    "change_percent": "percent",
    "created_at": "utc",
    "missing_bot": "not_found",
    "bot_labels": "bot",
}
"""What the sandbox answers by default, as strict as the documents."""

NOT_ASKED: Final = {
    "seachat": set(),
    "portal": {
        *("bots_key", "bots", "range_type", "range_with_dates", "batch", "satisfaction_rate"),
        *("created_at", "missing_bot", "bot_labels"),
    },
    "seax": {
        *("bots_key", "bots", "satisfaction_rate", "change_percent", "created_at", "missing_bot"),
        "bot_labels",
    },
}
"""What is no question of an API."""

TEMPERS: Final = [
    ("portal", Temperament.OLD_PATH, {"path": "samples"}),
    ("seachat", Temperament.DATES_WIN, {"range_with_dates": "dates"}),
    ("seax", Temperament.DATES_WIN, {"range_with_dates": "dates"}),
    (
        "seachat",
        Temperament.RANGE_OR_DATES,
        {"range_with_dates": "refused", "change_percent": "unknown"},
    ),
    ("seachat", Temperament.CALENDAR_RANGES, {"range_type": "local_days"}),
    ("seachat", Temperament.PARTIAL_BATCHES, {"batch": "partial"}),
    ("seax", Temperament.PARTIAL_BATCHES, {"batch": "partial"}),
    ("seachat", Temperament.OPTIONAL_DATES, {"batch": "optional_dates"}),
    ("seachat", Temperament.NULL_FOR_ZERO, {"zeros": "absent"}),
    ("seachat", Temperament.NOTHING_FOR_ZERO, {"zeros": "unreadable"}),
    ("portal", Temperament.NOTHING_FOR_ZERO, {"zeros": "unreadable"}),
    ("seachat", Temperament.SATISFACTION_RATIO, {"satisfaction_rate": "ratio"}),
    ("seachat", Temperament.CHANGE_RATIO, {"change_percent": "ratio"}),
    ("portal", Temperament.CHANGE_RATIO, {"change_percent": "ratio"}),
    ("seachat", Temperament.LOCAL_RATING_TIMES, {"created_at": "not_utc"}),
    ("seachat", Temperament.WHOLE_DAYS, {"end_date": "whole_day", "created_at": "unknown"}),
    ("portal", Temperament.WHOLE_DAYS, {"end_date": "whole_day"}),
    (
        "seachat",
        Temperament.UTC_DATES,
        {
            "naive_dates": "utc",
            "end_date": "unclear",
            "change_percent": "unknown",
            "created_at": "unknown",
        },
    ),
    ("seachat", Temperament.SILENT_MISSING_BOT, {"missing_bot": "zeros"}),
    ("seachat", Temperament.FORBIDDEN_MISSING_BOT, {"missing_bot": "rejected"}),
    ("seachat", Temperament.IGNORED_BOT, {"missing_bot": "ignored"}),
    ("seachat", Temperament.WORKSPACE_LABELS, {"bot_labels": "workspace"}),
    (
        "seachat",
        Temperament.BOTS_SCOPE,
        {"bots_key": "rejected", "bots": "unknown", "bot_labels": "unknown"},
    ),
    ("seachat", Temperament.FAST_CLOCK, {"clock": "different"}),
    ("seachat", Temperament.SLOW, {"duration": "slow"}),
]
"""API, temperament, and how the answers differ from the usual ones."""


def answers(examination: Examination) -> dict[str, str]:
    """The answer to each question."""
    return {finding.question: finding.answer for finding in examination.findings}


def usual(api: str) -> dict[str, str]:
    return {name: answer for name, answer in USUAL.items() if name not in NOT_ASKED[api]}


@pytest.mark.parametrize("api", NOT_ASKED)
def test_an_account_that_is_as_documented_has_nothing_to_mend(account: Make, api: str) -> None:
    examination = account().examined(api)

    assert answers(examination) == usual(api)
    assert {finding.verdict for finding in examination.findings} == {Verdict.OK}
    assert examination.sent <= MOST_REQUESTS


@pytest.mark.parametrize(
    ("api", "temperament", "others"), TEMPERS, ids=[f"{api}, {t}" for api, t, _ in TEMPERS]
)
def test_each_temperament_is_found_and_changes_no_other_answer(
    account: Make, api: str, temperament: Temperament, others: dict[str, str]
) -> None:
    one = account(temperament)

    assert answers(one.examined(api)) == usual(api) | others
    assert len(one.arrivals) <= MOST_REQUESTS


def test_every_temperament_is_tried() -> None:
    assert {temperament for _, temperament, _ in TEMPERS} == {*Temperament} - {
        Temperament.RATE_LIMIT
    }


def test_all_questions_have_an_answer_in_the_order_of_the_table(account: Make) -> None:
    order = list(ASKED)
    asked = [finding.question for finding in account().examined().findings]

    assert asked == sorted(asked, key=order.index)


# The configuration against the account.

LABELS: Final = {"metric": "label_usage", "window": "last_7_days"}
WRONG: Final[list[tuple[str, Temperament | None, dict[str, Any], str, str, str]]] = [
    ("seachat", None, {"bots": [{"id": "b9"}]}, "bots", "missing", "bots: "),
    ("seachat", None, {"bots": "SWITCHED OFF"}, "bots", "disabled", "bots: "),
    ("seachat", None, {"workspace_id": "ws-elsewhere"}, "bots", "none", "workspace_id: "),
    ("seachat", None, {"workspace_id": None}, "bots", "unknown", "workspace_id: "),
    (
        "seachat",
        None,
        {"discover_bots": {"include": ["prod-*"]}},
        "discovery",
        "none",
        "discover_bots.include: ",
    ),
    (
        "seachat",
        None,
        {"bots": None, "discover_bots": {"max_bots": 5}},
        "discovery",
        "too_many",
        "discover_bots.max_bots: 8",
    ),
    (
        "seachat",
        None,
        {"metrics": [LABELS | {"labels": ["No such label"]}]},
        "labels",
        "missing",
        "metrics[].labels: remove or correct it",
    ),
    (
        "seachat",
        None,
        {"metrics": [{"metric": "label_relation", "labels": ["Support", "sales"]}]},
        "labels",
        "spelling",
        "metrics[].labels: write it as the account does",
    ),
    (
        "portal",
        None,
        {"metrics": [LABELS | {"labels": ["No such label"]}]},
        "labels",
        "unused",
        "metrics[].labels: ",
    ),
    (
        "seachat",
        None,
        {"api_key": "sk-of-somebody-else"},
        "key",
        "rejected",
        "api_key: a key with the scope SeaChat API Access",
    ),
    ("seachat", None, {"api_key": "PORTAL"}, "key", "rejected", "SeaChat API Access"),
    ("portal", None, {"api_key": "SEACHAT"}, "key", "rejected", "SeaContact"),
    (
        "seachat",
        None,
        {"bots_api_key": "sk-of-somebody-else", "discover_bots": {}},
        "bots_key",
        "rejected",
        "bots_api_key: ",
    ),
    ("portal", None, {"path": "/portal-api/v2"}, "path", "none", "path: "),
    ("seax", None, {"base_url": "http://127.0.0.1:1/proxy"}, "path", "none", "base_url: "),
    (
        "seachat",
        None,
        {"requests_per_day": 500},
        "requests",
        "too_many",
        "requests_per_day: ",
    ),
    (
        "seachat",
        None,
        {"requests_per_minute": 60, "interval": "1s", "allow_fast_polling": True},
        "requests",
        "too_many",
        "requests_per_minute: ",
    ),
    ("seachat", Temperament.SLOW, {"timeout": "20s"}, "connection", "timeout", "timeout: "),
    (
        "seachat",
        Temperament.SLOW,
        {"concurrency": 1, "timeout": "5m", "interval": "2m", "allow_fast_polling": True},
        "duration",
        "busy",
        "concurrency: ",
    ),
    (
        "seachat",
        Temperament.WORKSPACE_LABELS,
        {"metrics": [{"metric": "label_overview", "scope": "bots"}]},
        "bot_labels",
        "workspace",
        "scope: workspace for label_overview",
    ),
    ("seachat", None, {"timezone": "UTC"}, "naive_dates", "no_difference", "nothing to do"),
]
"""API, temperament, keys of the configuration, and the finding that follows."""


@pytest.mark.parametrize(
    ("api", "temperament", "given", "question", "answer", "setting"),
    WRONG,
    ids=[f"{api}, {question} {answer}, {setting}" for api, *_, question, answer, setting in WRONG],
)
def test_each_misconfiguration_is_found_with_the_setting_that_mends_it(
    account: Make,
    api: str,
    temperament: Temperament | None,
    given: dict[str, Any],
    question: str,
    answer: str,
    setting: str,
) -> None:
    one = account(*filter(None, [temperament]))
    named = {
        "PORTAL": one.owner.portal_key,
        "SEACHAT": one.owner.seachat_key,
        "SWITCHED OFF": [{"id": bot.id} for bot in one.owner.bots if not bot.is_enabled],
    }
    given = {
        key: named.get(value, value) if isinstance(value, str) else value
        for key, value in given.items()
    }

    finding = found(one.examined(api, **given), question)

    assert (finding.question, finding.answer) == (question, answer)
    assert setting in finding.setting
    harmless = {"disabled", "unused", "unknown", "no_difference"}
    assert (finding.verdict is Verdict.MEND) == (answer not in harmless)


def test_a_label_that_exists_and_was_never_used_is_told(account: Make) -> None:
    long_ago = datetime(2026, 8, 16, 4, 30, tzinfo=UTC)  # before anybody used a label
    one = account(start=long_ago)
    finding = found(one.examined(metrics=[LABELS | {"labels": ["Complaint"]}]), "labels")

    assert (finding.verdict, finding.answer) == (Verdict.CONSIDER, "unused")


def test_many_mistakes_of_a_kind_are_summed_up(account: Make) -> None:
    bots = [{"id": f"b{number}"} for number in range(12)]

    told = [one.found for one in account().examined(bots=bots).findings if one.question == "bots"]

    assert len(told) == 11
    assert told[-1] == "2 more do not exist"


def test_the_requests_a_day_are_those_of_the_plan_with_the_bots_that_are_discovered(
    account: Make,
) -> None:
    metrics = ["total_usage"]
    few = account().examined(metrics=metrics, bots=[{"id": "b9"}])
    many = account().examined(metrics=metrics, bots=None, discover_bots={})

    assert found(few, "requests").found == "144 a day, 6 an hour"
    # Eight bots every ten minutes, and the list every hour.
    assert found(many, "requests").found == "1176 a day, 49 an hour"


def test_the_discovered_bots_keep_the_requests_busy_too(account: Make) -> None:
    one = account()
    timed = [account_module.Timed("first", ("total_usage",), Outcome.SUCCESS, 14.0)]
    given: dict[str, Any] = {"metrics": ["total_usage"], "interval": "10m", "concurrency": 1}
    bots = {f"b{number}": ListedBot(id=f"b{number}") for number in range(100)}
    listed = account_module.Bots(1000, found=bots)

    told = account_module.durations(
        one.workspace(bots=None, discover_bots={}, **given), listed, timed
    )

    assert told.answer == "busy"
    # A hundred of 14 seconds every ten minutes are 2.3 at a time.
    assert told.setting == "concurrency: 5"


# Never too many requests.


@pytest.mark.parametrize("api", NOT_ASKED)
@pytest.mark.parametrize("status", [500, 503, 429, 404, 401, 403, 400, 422, 302, 200])
def test_whatever_fails_a_dozen_requests_are_the_most(account: Make, api: str, status: int) -> None:
    every_other = account()
    every_other.fails = lambda number: status if number % 2 else None
    always = account()
    always.fails = lambda _: status

    for one in (every_other, always):
        examination = one.examined(api, discover_bots={} if api == "seachat" else None)
        assert len(one.arrivals) == examination.sent <= MOST_REQUESTS
        assert examination.findings


def with_a_long_list(account: Account, bots: int) -> None:
    """Let the account have more bots, after those that it has."""
    pages = 0

    def long(answer: object) -> object:
        nonlocal pages
        if not (isinstance(answer, dict) and "total" in answer):
            return answer
        own = answer["data"] if pages == 0 else []
        first, pages = pages * 100 + len(own), pages + 1
        rows = [
            {"id": f"b{one}", "name": f"Bot {one}"} for one in range(first, min(bots, pages * 100))
        ]
        return {"data": [*own, *rows], "total": bots}

    account.changes = long


def test_a_list_of_bots_with_two_pages_costs_no_other_question_and_no_thirteenth_request(
    account: Make,
) -> None:
    one = account()
    with_a_long_list(one, 101)

    assert answers(one.examined()) == usual("seachat")
    assert len(one.arrivals) == MOST_REQUESTS == 12


def test_the_requests_that_no_question_needs_read_more_of_the_list(account: Make) -> None:
    one = account()
    with_a_long_list(one, 150)
    given: dict[str, Any] = {"bots": [{"id": "b149"}], "discover_bots": {}, "metrics": ["csat"]}

    told = one.examined(timezone="UTC", **given)  # which need not be told from local time

    assert len(one.arrivals) == MOST_REQUESTS
    assert found(told, "bots").answer == "exist"
    assert found(told, "discovery").found == "149 of 150 bots in the list"
    assert found(told, "requests").verdict is Verdict.OK


def test_what_is_told_of_a_list_that_is_too_long_names_the_part_that_was_read(
    account: Make,
) -> None:
    one = account()
    with_a_long_list(one, 1001)
    given: dict[str, Any] = {"bots": [{"id": "b1000"}], "discover_bots": {}, "metrics": ["csat"]}

    told = one.examined(**given)

    assert len(one.arrivals) == MOST_REQUESTS
    about = {one.question: one for one in told.findings}
    read = "the first 100 bots of the list, which has more"
    assert about["bots"].found == f"1 of 1 are not among {read}"
    assert about["discovery"].found == f"100 of {read}"
    assert about["requests"].found.endswith("an hour: the list of bots was not read to its end")
    assert about["requests"].found.startswith("at least ")
    for question in ("bots", "discovery", "requests"):
        assert about[question].verdict is Verdict.UNKNOWN


def test_a_refused_first_request_is_split_as_the_poller_splits_it(account: Make) -> None:
    one = account()
    one.fails = lambda number: 400 if number == 0 else None

    told = answers(one.examined("seax"))

    assert told == usual("seax")
    assert len(one.arrivals) == 9


def test_a_dozen_are_the_most_over_midnight_too(account: Make) -> None:
    one = account(start=datetime(2026, 11, 20, 4, 59, 55, tzinfo=UTC))  # of New York
    one.fails = lambda number: 503 if number % 3 else None

    one.examined()

    assert len(one.arrivals) == MOST_REQUESTS


def test_midnight_during_the_examination_changes_no_answer(account: Make) -> None:
    one = account(start=datetime(2026, 11, 20, 4, 59, 55, tzinfo=UTC))

    assert answers(one.examined()) == usual("seachat")


def test_what_retries_leave_unasked_is_nothing_to_mend(account: Make) -> None:
    one = account()
    one.fails = lambda number: 503 if number % 2 else None

    examination = one.examined()

    assert len(one.arrivals) == MOST_REQUESTS
    assert found(examination, "connection").verdict is Verdict.UNKNOWN
    assert found(examination, "connection").found.startswith("retries have used up the 12")
    assert Verdict.MEND not in {finding.verdict for finding in examination.findings}


def test_a_key_that_is_rejected_in_the_middle_is_told_once(account: Make) -> None:
    one = account()
    one.fails = lambda number: 401 if number > 2 else None

    told = [finding for finding in one.examined().findings if finding.question == "key"]

    assert [finding.answer for finding in told] == ["rejected"]
    assert len(one.arrivals) == 5  # the second rejection blames the key


def test_after_the_first_request_that_is_too_many_there_is_no_other(account: Make) -> None:
    one = account(Temperament.RATE_LIMIT)

    examination = one.examined()

    assert len(one.arrivals) == MOST_A_MINUTE + 1
    finding = found(examination, "rate_limit")
    assert (finding.verdict, finding.answer) == (Verdict.MEND, "reached")
    assert "request 6, and to wait 120 s" in finding.found
    assert finding.setting.startswith("requests_per_minute: 30")
    assert "not asked: HTTP 429" in found(examination, "batch").found


def test_a_rejected_key_is_sent_once(account: Make) -> None:
    one = account()
    examination = one.examined(api_key="sk-of-somebody-else")

    assert len(one.arrivals) == 1
    assert "): 1 request in " in doctor.text(examination)
    assert {finding.question for finding in examination.findings} == {"key", "requests"}


def test_the_configured_rate_is_kept(account: Make) -> None:
    one = account()

    one.examined(requests_per_minute=6)

    assert len(one.arrivals) == 12
    assert all(
        later - earlier >= 10
        for earlier, later in zip(one.arrivals, one.arrivals[1:], strict=False)
    )


def test_the_budget_of_the_day_is_kept(account: Make) -> None:
    one = account()

    examination = one.examined(requests_per_day=4, metrics=[{"metric": "csat", "interval": "1d"}])

    assert len(one.arrivals) == 4
    finding = found(examination, "rate_limit")
    assert (finding.answer, finding.setting) == ("budget", "requests_per_day: at least 12")


# Nothing leaks.


def texts(answer: object) -> Iterator[str]:
    """Every text of an answer."""
    if isinstance(answer, dict):
        for value in answer.values():
            yield from texts(value)
        for name in answer.get("channel_summary", ()):
            yield str(name)
    elif isinstance(answer, list):
        for item in answer:
            yield from texts(item)
    elif isinstance(answer, str):
        yield answer


@pytest.mark.parametrize("api", NOT_ASKED)
@pytest.mark.parametrize("key", ["right", "wrong"])
def test_neither_a_key_nor_a_text_of_an_answer_is_printed(
    account: Make, api: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    one = account()
    wrong = {"api_key": "sk-canary-0123456789", "bots_api_key": None}
    examination = one.examined(api, **(wrong if key == "wrong" else {}))

    told = doctor.text(examination) + json.dumps(doctor.as_json([examination])) + caplog.text

    secret = {"sk-canary-0123456789", one.owner.seachat_key, one.owner.portal_key}
    said = {text for _, answer in one.answers for text in texts(answer) if len(text) > 4}
    assert said
    configured = {*ASKED, *(bot.id for bot in one.owner.bots), one.owner.timezone, one.owner.id}
    metrics = {metric for timed in examination.timed for metric in timed.metrics}
    for text in said | secret - configured - metrics:
        assert text in configured | metrics or text not in told


# Whatever comes.

ODD: Final[tuple[object, ...]] = (
    *(None, True, -1, 0, 1e300, 2**70, 10.5, "", "x", [], {}, [1], {"a": 1}, "9" * 30),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "2026-11-18", "4", [{}], {"detail": 1}),
)


def mutated(answer: object, rng: Random, share: float) -> object:
    """An answer with some of its parts replaced."""
    if rng.random() < share:
        return rng.choice(ODD)
    if isinstance(answer, dict):
        return {name: mutated(value, rng, share) for name, value in answer.items()}
    if isinstance(answer, list):
        return [mutated(item, rng, share) for item in answer]
    return answer


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("api", NOT_ASKED)
def test_whatever_the_answers_hold_there_are_findings(account: Make, api: str, seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - no secrets
    one = account()
    one.changes = lambda answer: mutated(answer, rng, 0.02 if seed % 2 else 0.2)

    examination = one.examined(api)

    assert examination.findings
    assert {finding.question for finding in examination.findings} <= ASKED.keys()
    assert doctor.text(examination).isascii()
    assert len(one.arrivals) == examination.sent <= MOST_REQUESTS
    assert "bug" not in doctor.text(examination)


# What is printed.


def test_each_finding_is_a_line_and_what_to_set_is_below_it(account: Make) -> None:
    one = account(Temperament.FAST_CLOCK)

    lines = doctor.text(one.examined(bots=[{"id": "b9"}])).splitlines()

    assert lines[0].startswith("workspace acme (SeaChat, America/New_York): 12 requests in ")
    (at,) = [number for number, line in enumerate(lines) if "b9 does not exist" in line]
    assert lines[at].split(maxsplit=3)[:3] == ["mend", "configured", "bots"]
    assert lines[at + 1].strip().startswith("-> bots: remove or correct it")
    assert lines[-1] == "  16 ok, 0 consider, 2 mend, 0 unknown"
    columns = {
        line.index(finding)
        for line in lines
        for finding in ("accepted", "b9 does")
        if finding in line
    }
    assert len(columns) == 1
    assert all(line.isascii() and line == line.rstrip() for line in lines)


def test_the_json_has_its_documented_shape(account: Make) -> None:
    one = account(Temperament.OLD_PATH)

    told = json.loads(json.dumps(doctor.as_json([one.examined("portal")])))

    assert told.keys() == {"version", "workspaces"}
    assert told["version"] == doctor.VERSION
    (workspace,) = told["workspaces"]
    assert workspace.keys() == {"workspace", "api", "requests", "seconds", "findings", "asked"}
    assert workspace["requests"] == len(one.arrivals)
    assert {tuple(finding) for finding in workspace["findings"]} == {
        ("question", "asked", "verdict", "answer", "found", "setting")
    }
    assert {tuple(asked) for asked in workspace["asked"]} == {
        ("about", "metrics", "outcome", "seconds")
    }
    (path,) = [finding for finding in workspace["findings"] if finding["question"] == "path"]
    assert path["answer"] == "samples"
    assert path["setting"].startswith(f"path: {api_paths.PORTAL_REPORT_OLD}")
    assert {asked["outcome"] for asked in workspace["asked"]} == {Outcome.SUCCESS}
