"""Every trap of the API's documents has a test: which one, and those that are nowhere else.

The numbers are those that the tests name in their comments, `# T53`. The documents contradict
themselves and each other in these places; each test holds the reading that we chose.
"""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from support.api import ANSWERS, pieces
from support.polled import told
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter.config import Workspace
from exporter.errors import Outcome, RequestFailed
from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model import api_paths
from exporter.model.apis import APIS
from exporter.polling.workspace import WorkspacePoller
from exporter.reports.catalogue import of_api
from exporter.upstream.client import Client

TESTS: Final = Path(__file__).parent
CONFIGS: Final = TESTS / "data" / "configs"
MISTAKE: Final = (
    "config/test_validation.py::test_a_mistake_is_told_with_file_line_path_and_what_would_be_right"
)


def bad(name: str) -> str:
    """The test of a configuration that is refused."""
    return f"{MISTAKE}[{name}]"


TREND: Final = "reports/test_activity_trend.py::test_"
VOLUME: Final = "reports/test_communication_volume.py::test_"
BREAKDOWN: Final = "reports/test_conversation_breakdown.py::test_"
OVERVIEW: Final = "reports/test_conversation_overview.py::test_"
YEARLY: Final = "reports/test_conversation_overview_yearly.py::test_"
CSAT: Final = "reports/test_csat.py::test_"
LABELS: Final = "reports/test_label_overview.py::test_"
RELATION: Final = "reports/test_label_relation.py::test_"
USAGE: Final = "reports/test_label_usage.py::test_"
TOTAL: Final = "reports/test_total_usage.py::test_"
AGENTS: Final = "reports/test_agent_activity.py::test_"
CATALOGUE: Final = "reports/test_catalogue.py::test_"
CLIENT: Final = "upstream/test_client.py::test_"
POLLER: Final = "polling/test_poller.py::test_"
PLAN: Final = "polling/test_plan.py::test_"
BOTS: Final = "polling/test_known_bots.py::test_"
LISTING: Final = "polling/test_discovery.py::test_"
FUZZ: Final = "fuzz/test_mutations.py::test_"
HERE: Final = "test_traps.py::test_"

HELD: Final[dict[str, tuple[str, ...]]] = {
    "T01": (
        "upstream/test_sender.py::test_portals_other_path_is_tried_once_and_remembered",
        "upstream/test_sender.py::test_portals_other_path_is_not_tried_for_any_other_reason",
    ),
    "T02": (f"{HERE}nothing_but_what_is_documented_leaves_the_process",),
    "T03": (bad("url-placeholder"), bad("url-example"), bad("url-insecure")),
    "T04": (
        f"{CSAT}nothing_of_the_single_answers_is_read",
        f"{HERE}nothing_but_what_is_documented_leaves_the_process",
    ),
    "T05": (bad("key-with-its-header"), bad("key-bearer"), bad("key-with-white-space")),
    "T06": (
        f"{CLIENT}the_request_carries_the_key_in_its_header_and_json_in_its_body",
        f"{LISTING}the_list_is_asked_with_the_bearer_key_and_the_documented_parameters_alone",
    ),
    "T07": (f"{HERE}a_rejected_key_is_that_apis_alone_and_its_scope_is_named",),
    "T08": (
        "upstream/test_sender.py::test_a_new_key_is_sent_as_soon_as_it_is_there",
        f"{POLLER}a_rotated_key_brings_everything_back_with_the_next_request",
    ),
    "T09": (
        "upstream/test_request_budget.py::test_the_bucket_starts_empty",
        f"{CLIENT}a_status_has_its_outcome",
    ),
    "T10": (f"{HERE}an_error_is_told_by_its_status_and_nothing_of_it_is_repeated",),
    "T11": (
        f"{POLLER}under_overload_no_report_starves_and_the_real_interval_is_as_told",
        f"{POLLER}no_report_is_ever_polled_twice_at_once",
        f"{POLLER}no_more_requests_are_in_flight_than_allowed",
    ),
    "T12": (
        f"{POLLER}the_yearly_report_is_asked_four_times_a_day_and_last_at_the_start",
        f"{YEARLY}a_year_goes_alone_and_seldom",
    ),
    "T13": (
        f"{BOTS}a_page_that_repeats_itself_ends_the_list",
        f"{BOTS}pages_are_read_until_the_total_is_reached",
        f"{BOTS}without_a_total_pages_are_read_until_one_adds_nothing",
        f"{BOTS}a_bot_is_gone_after_two_complete_lists_without_it",
    ),
    "T14": (f"{LISTING}the_list_is_asked_with_the_bearer_key_and_the_documented_parameters_alone",),
    "T15": (f"{BOTS}a_bot_has_its_documented_fields_and_no_more",),
    "T16": (
        f"{HERE}nothing_but_what_is_documented_leaves_the_process",
        f"{CLIENT}below_a_bot_only_what_the_configuration_has_a_use_for_is_asked",
    ),
    "T18": (f"{HERE}an_error_is_told_by_its_status_and_nothing_of_it_is_repeated",),
    "T19": (
        f"{AGENTS}a_status_comes_in_any_case",
        f"{AGENTS}agents_are_no_label_unless_asked_for",
        f"{AGENTS}an_open_session_lasts_until_the_poll",
    ),
    "T20": (
        f"{TREND}a_row_outside_the_asked_window_is_dropped_and_counted",
        f"{PLAN}portal_is_asked_in_its_own_words",
    ),
    "T21": (
        f"{OVERVIEW}portals_periods_are_added_up",
        f"{VOLUME}portals_volume_of_today_is_the_same_report",
    ),
    "T22": (bad("same-name-and-window"),),
    "T23": (bad("range-type-on-portal"), f"{OVERVIEW}portal_is_never_sent_a_range"),
    "T24": (f"{TOTAL}dates_are_sent_and_a_time_unit_never",),
    "T25": (
        f"{CSAT}it_is_asked_for_one_bot_with_dates",
        f"{CLIENT}an_answer_is_read_up_to_its_bound_and_no_further",
    ),
    "T26": (f"{TOTAL}minutes_become_seconds_and_the_time_unit_no_label",),
    "T27": (
        f"{OVERVIEW}a_range_never_travels_with_dates",
        f"{OVERVIEW}the_window_that_the_api_means_is_shown_beside_the_one_that_was_asked",
    ),
    "T28": (
        f"{POLLER}a_refused_request_is_asked_report_by_report_in_the_same_round",
        f"{POLLER}the_culprit_is_left_out_for_a_day_and_then_asked_again",
    ),
    "T29": (f"{CATALOGUE}each_report_of_an_answer_is_judged_alone",),
    "T30": (bad("label-relation-three-labels"), f"{RELATION}it_takes_exactly_two_labels"),
    "T31": (f"{USAGE}labels_are_shown_by_their_own_name_whatever_was_asked",),
    "T32": (f"{LABELS}it_takes_neither_dates_nor_a_zone_and_has_no_window",),
    "T33": (
        f"{PLAN}every_parameter_is_sent_and_no_other",
        f"{OVERVIEW}what_is_told_without_empty_conversations_has_a_label",
    ),
    "T34": (f"{YEARLY}the_label_is_the_year_that_was_sent",),
    "T35": ("fuzz/test_configurations.py::test_a_damaged_configuration_is_told_or_obeyed",),
    "T36": (f"{PLAN}every_parameter_is_sent_and_no_other",),
    "T37": (f"{TREND}every_field_is_sent_and_nothing_is_left_to_the_api",),
    "T38": tuple(
        bad(f"timezone-{name}")
        for name in ("of-the-documents", "a-folder", "a-path", "lower-case", "with-leap-seconds")
    ),
    "T39": (f"{USAGE}the_edge_months_of_a_window_are_part_of_the_sum",),
    "T40": (f"{CATALOGUE}the_page_says_what_the_documents_sample_says", bad("bots-on-portal")),
    "T41": (f"{OVERVIEW}each_handling_status_is_an_entry_of_its_own",),
    "T42": (
        f"{TREND}calls_come_by_direction_and_without_senders",
        f"{TREND}a_row_that_holds_nothing_of_what_was_asked_is_drift",
    ),
    "T43": (f"{PLAN}the_number_of_requests_is_the_least_that_the_rules_allow",),
    "T50": (f"{CATALOGUE}every_documented_envelope_is_the_same_to_a_report",),
    "T51": (f"{USAGE}periods_in_an_object_are_the_same_as_a_bare_list",),
    "T52": (f"{TREND}the_key_of_a_period_may_be_date",),
    "T53": (
        f"{TREND}senders_come_in_either_case_and_the_documented_one_wins",
        f"{FUZZ}of_two_undocumented_spellings_none_is_believed_whichever_comes_first",
    ),
    "T54": (f"{TREND}an_absent_sender_has_no_series",),
    "T55": (f"{CATALOGUE}portals_sample_with_a_comma_too_many_is_no_answer",),
    "T56": (f"{CLIENT}the_request_carries_the_key_in_its_header_and_json_in_its_body",),
    "T57": (
        f"{CATALOGUE}order_means_nothing",
        f"{FUZZ}a_reply_in_another_order_and_spelling_is_the_same_page",
    ),
    "T58": (f"{USAGE}periods_that_cannot_be_read_are_left_out_and_counted",),
    "T59": (f"{TREND}a_change_that_is_null_has_no_series",),
    "T60": (f"{OVERVIEW}a_change_that_is_not_documented_is_welcome",),
    "T61": (f"{OVERVIEW}messages_of_customers_are_not_made_up",),
    "T62": (f"{BREAKDOWN}sums_that_contradict_each_other_are_shown_as_they_are",),
    "T63": (f"{YEARLY}months_come_in_several_spellings_and_others_are_counted",),
    "T64": (f"{BREAKDOWN}hours_and_weekdays_come_in_several_spellings_and_others_are_counted",),
    "T65": (f"{BREAKDOWN}a_channel_keeps_the_apis_spelling_and_a_phone_number_is_none",),
    "T66": (f"{BREAKDOWN}a_bare_message_count_is_the_channels_total",),
    "T67": (f"{LABELS}a_label_may_have_a_name_and_a_count_alone",),
    "T68": (f"{LABELS}a_systems_label_says_so",),
    "T69": (f"{LABELS}labels_that_cannot_be_told_apart_are_one_series_and_drift",),
    "T70": (f"{LABELS}a_name_of_anything_is_fit_for_the_page",),
    "T71": (
        f"{CSAT}a_satisfaction_rate_is_percent_whatever_its_size",
        f"{RELATION}a_ratio_is_a_ratio_and_not_percent",
    ),
    "T72": (f"{RELATION}there_is_no_ratio_where_the_base_is_zero",),
    "T73": (f"{CSAT}without_answers_there_is_no_mean_of_them",),
    "T74": (f"{CSAT}ratings_are_whole_numbers_of_any_scale_up_to_ten",),
    "T75": (
        f"{CSAT}nothing_of_the_single_answers_is_read",
        "fuzz/test_leaks.py::test_nothing_of_a_reply_comes_out_but_names_that_may_be_labels",
    ),
    "T76": (f"{CSAT}single_answers_of_any_shape_do_not_matter",),
    "T77": (bad("bot-id-a-path"),),
    "T78": (f"{TOTAL}null_minutes_have_no_series",),
    "T79": (f"{VOLUME}two_objects_are_a_failure_and_never_the_first_of_them",),
    "T80": (f"{VOLUME}outbound_messages_are_not_made_up",),
    "T81": (f"{HERE}the_help_says_what_each_api_counts",),
    "T82": (f"{TOTAL}todays_usage_is_withdrawn_at_midnight",),
    "T83": (f"{BREAKDOWN}the_users_of_a_channel_say_that_they_do_not_add_up",),
    "T84": (f"{RELATION}the_range_of_dates_that_the_api_used_is_not_read",),
    "T85": (f"{VOLUME}only_numbers_that_can_be_believed_are_shown",),
    "T86": (
        f"{VOLUME}a_constant_that_is_not_json_is_no_answer",
        f"{VOLUME}a_number_that_overflows_is_absent_and_counted",
    ),
    "T87": (
        f"{CLIENT}a_byte_order_mark_is_passed_over",
        f"{CLIENT}what_is_not_strict_json_is_a_failed_request",
    ),
    "T88": (
        f"{CATALOGUE}an_error_body_in_a_good_answer_is_a_failure_that_does_not_repeat_it",
        f"{CLIENT}the_apis_own_code_for_a_bad_key_counts_at_any_status",
    ),
    **dict.fromkeys(
        ("T90", "T91", "T92", "T93", "T94", "T95", "T98"),
        (f"{HERE}an_error_is_told_by_its_status_and_nothing_of_it_is_repeated",),
    ),
    "T96": (f"{POLLER}a_bot_that_is_gone_leaves_the_page_after_two_turns_and_is_asked_hourly",),
    "T97": (f"{POLLER}a_failed_report_is_asked_again_at_its_next_turn_and_not_before",),
    "T99": ("upstream/test_network.py::test_no_redirect_is_followed",),
}
"""By trap: the tests that hold its reading."""

NOT_HELD: Final = {
    "T17": "a page of the documents that is cut off: nothing can be read from what is missing",
}
"""Why a trap has no test."""

NUMBERS: Final = [
    f"T{number:02}"
    for ends in ((1, 19), (20, 43), (50, 88), (90, 99))
    for number in range(ends[0], ends[1] + 1)
]
"""All of them; the numbering has gaps."""


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Every test there is, by file and name."""
    return {
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def test_every_trap_has_a_test_or_a_reason() -> None:
    assert len(NUMBERS) == 92
    assert sorted([*HELD, *NOT_HELD]) == NUMBERS
    assert all(HELD.values())


@pytest.mark.parametrize("trap", HELD)
def test_the_tests_of_a_trap_exist(trap: str, names: set[str]) -> None:
    for named in HELD[trap]:
        test, _, case = named.partition("[")
        assert test in names, test
        if case:
            assert (CONFIGS / f"{case.removesuffix(']')}.bad.yml").exists(), case


def test_a_trap_that_a_test_names_is_one_of_them() -> None:
    for path in TESTS.rglob("test_*.py"):
        for found in re.findall(r"# (T\d\d.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert set(re.findall(r"T\d\d", found)) <= set(NUMBERS), path


# Those that are nowhere else


Handler = Callable[[httpx.Request], tuple[int, bytes]]


def transport(handler: Handler, seen: list[httpx.Request], **headers: str) -> httpx.MockTransport:
    """An API that answers so, and keeps what it was asked."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        status, content = handler(request)
        return httpx.Response(status, content=pieces(content), headers=headers)

    return httpx.MockTransport(answer)


def usual(request: httpx.Request) -> tuple[int, bytes]:
    """An answer for whatever is asked, with addresses in it that nobody should follow."""
    if request.method == "GET":
        bots = [{"id": "b1", "name": "One", "link": "http://127.0.0.1:9/x"}]
        return 200, json.dumps({"data": bots, "next": "http://127.0.0.1:9/next"}).encode()
    asked = json.loads(request.content)
    link = {"responses": [{"conversation_link": "http://127.0.0.1:9/x"}]}
    answers = {
        metric: {**answer, **link} if isinstance(answer, dict) else answer
        for metric, answer in ANSWERS.items()
    }
    if "metric" in asked:
        return 200, json.dumps({"metric": asked["metric"], "data": []}).encode()
    return 200, json.dumps({metric: answers.get(metric) for metric in asked["metrics"]}).encode()


class Polled:
    """Workspaces polled side by side.

    Attributes:
        seen: Every request.
        store: What came.
    """

    def __init__(self, handler: Handler, *workspaces: Workspace) -> None:
        self.seen: list[httpx.Request] = []
        self.world, self.store, self.telemetry = World(), Store(), Telemetry()
        self._workspaces = workspaces
        self._transport = transport(handler, self.seen)

    def once(self) -> "Polled":
        """Poll everything once."""

        async def go() -> None:
            pollers = [
                WorkspacePoller(
                    one, self.store, self.telemetry, self.world.now, transport=self._transport
                )
                for one in self._workspaces
            ]
            for poller in pollers:
                poller.begin()
            for poller in pollers:
                await poller.once()

        self.world.run(go)
        return self

    def told(self, line: str) -> float:
        """The value of one of the exporter's own series."""
        return told(self.telemetry, line)


def everything(api: str) -> Workspace:
    """A workspace that asks an API for all that it has."""
    wanted = [
        {"metric": word, "labels": ["a", "b"]} if word == "label_relation" else word
        for word in of_api(api)
    ]
    others: dict[str, Any] = (
        {"discover_bots": {}, "workspace_id": "w", "bots": 1} if api == "seachat" else {}
    )
    return workspace(wanted, api=api, name=f"at {api}", requests_per_minute=600, **others)


def test_nothing_but_what_is_documented_leaves_the_process() -> None:  # T02, T04, T16
    polled = Polled(usual, *(everything(api) for api in APIS)).once()
    left = {(one.method, one.url.scheme, one.url.host, one.url.path) for one in polled.seen}
    assert left == {
        ("POST", "https", "chat.seasalt.ai", api_paths.SEACHAT_REPORT),
        ("GET", "https", "chat.seasalt.ai", api_paths.BOTS),
        ("POST", "https", "portal.seasalt.ai", api_paths.PORTAL_REPORT),
        ("POST", "https", "seax.seasalt.ai", api_paths.SEAX_REPORT),
    }
    for one in polled.seen:
        assert "cookie" not in one.headers
        assert "referer" not in one.headers
        assert ("x-api-key" in one.headers) is (one.method == "POST")
        assert ("authorization" in one.headers) is (one.method == "GET")


def test_a_rejected_key_is_that_apis_alone_and_its_scope_is_named() -> None:  # T07
    def handler(request: httpx.Request) -> tuple[int, bytes]:
        if "portal" in request.url.host:
            return 401, b'{"detail":"Invalid API key"}'
        return usual(request)

    one, two = (workspace(["total_usage"], api=api, name=api) for api in ("portal", "seachat"))
    polled = Polled(handler, one, two).once()
    for api, valid in (("portal", 0), ("seachat", 1)):
        place = f'{{api="{api}",workspace="{api}"}}'
        assert polled.told(f"seasalt_api_key_valid{place}") == valid
        assert polled.told(f"seasalt_up{place}") == valid
    assert len(polled.seen) == 2
    errors = [record.error for _, record in polled.store if record.error]
    assert errors == ["HTTP 401: the key is not accepted; its scope must be SeaContact"]


CANARY: Final = "CANARY-KEY"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        pytest.param(
            429,
            {"error": "Rate Limit Exceeded", "message": CANARY, "retry_after": 60},
            Outcome.RATE_LIMITED,
            id="T10-body-of-the-other-apis",
        ),
        pytest.param(500, {"message": CANARY}, Outcome.SERVER_ERROR, id="T18-message"),
        pytest.param(
            400,
            {"detail": f"Unsupported metric: {CANARY}"},
            Outcome.CLIENT_ERROR,
            id="T90-detail-text",
        ),
        pytest.param(
            422,
            {"detail": [{"loc": ["body", CANARY], "msg": CANARY, "type": "value_error.missing"}]},
            Outcome.CLIENT_ERROR,
            id="T91-detail-list",
        ),
        pytest.param(
            422,
            {
                "detail": [
                    {
                        "type": "missing",
                        "loc": ["body", "metrics"],
                        "msg": "Field required",
                        "input": {"api": CANARY},
                        "url": f"https://errors.invalid/{CANARY}",
                    }
                ]
            },
            Outcome.CLIENT_ERROR,
            id="T92-input-repeated",
        ),
        pytest.param(
            400,
            {
                "detail": f"The token: {CANARY} decoding failed.",
                "code": 40007,
                "parameters": {"token": CANARY},
            },
            Outcome.UNAUTHORIZED,
            id="T93-key-repeated",
        ),
        pytest.param(
            403,
            {"detail": "Forbidden", "code": "403", "parameters": {}},
            Outcome.UNAUTHORIZED,
            id="T94-code-as-text",
        ),
        pytest.param(
            401,
            {"error": "Unauthorized", "message": f"Invalid API key {CANARY}", "status_code": 401},
            Outcome.UNAUTHORIZED,
            id="T95-error-and-message",
        ),
        pytest.param(404, {"detail": CANARY}, Outcome.CLIENT_ERROR, id="T96-not-found"),
        pytest.param(409, {"detail": CANARY}, Outcome.CLIENT_ERROR, id="T97-conflict"),
        pytest.param(
            200,
            f"<!DOCTYPE html><html><title>{CANARY}</title>",
            Outcome.INVALID,
            id="T98-html",
        ),
        pytest.param(503, f"<html>{CANARY}", Outcome.SERVER_ERROR, id="T98-html-of-a-proxy"),
        pytest.param(200, "", Outcome.INVALID, id="T98-empty"),
        pytest.param(204, "", Outcome.INVALID, id="T98-no-content"),
    ],
)
def test_an_error_is_told_by_its_status_and_nothing_of_it_is_repeated(
    status: int, body: object, outcome: Outcome
) -> None:
    one, seen = workspace(["total_usage"]), list[httpx.Request]()
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    async def go() -> RequestFailed:
        client = Client(one, transport(lambda _: (status, content), seen))
        try:
            with pytest.raises(RequestFailed) as caught:
                await client.report(one.url, {"metrics": ["total_usage"]}, KEY)
            return caught.value
        finally:
            await client.close()

    failure = World().run(go)
    assert (failure.outcome, failure.status) == (outcome, status)
    assert "CANARY" not in str(failure) + repr(failure) + repr(vars(failure))
    assert failure.__cause__ is None
    assert len(seen) == 1


def test_the_help_says_what_each_api_counts() -> None:  # T81
    (family,) = (one for one in API_FAMILIES if one.name == "seasalt_total_usage_chat_responses")
    assert "on Portal those sent by bots and agents" in family.help
