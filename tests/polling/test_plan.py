from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from support.entries import entry
from support.workspaces import TODAY, workspace

from exporter.model.entry import Entry
from exporter.model.report import ABSENT, Edge
from exporter.model.windows import window
from exporter.polling.plan import agree, group, merged, planned_calls

LABELS = [["a", "b"], ["b", "a"], ["c"]]
WINDOWS = ["today", "this_month"]


def metrics() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Items of `metrics:` that a person could want together."""
    windows = st.sampled_from(WINDOWS)
    unit = st.sampled_from(["day", "month"])
    interval = st.sampled_from(["10m", "30m"])
    item = st.one_of(
        st.fixed_dictionaries(
            {
                "metric": st.just("activity_trend"),
                "window": windows,
                "time_unit": unit,
                "message_type": st.sampled_from(["messages", "calls"]),
                "interval": interval,
            }
        ),
        st.fixed_dictionaries(
            {
                "metric": st.just("label_usage"),
                "window": windows,
                "time_unit": unit,
                "labels": st.sampled_from([None, *LABELS]),
            }
        ),
        st.fixed_dictionaries(
            {
                "metric": st.just("label_relation"),
                "window": windows,
                "labels": st.sampled_from(LABELS[:2]),
            }
        ),
        st.fixed_dictionaries(
            {
                "metric": st.just("conversation_overview"),
                "window": st.sampled_from(["last_7_days", "last_30_days"]),
                "exclude_empty_response": st.booleans(),
            }
        ),
        st.fixed_dictionaries(
            {
                "metric": st.sampled_from(["csat", "total_usage"]),
                "window": st.sampled_from([*WINDOWS, "all"]),
            }
        ),
        st.fixed_dictionaries(
            {
                "metric": st.sampled_from(["communication_volume", "conversation_breakdown"]),
                "window": windows,
                "interval": interval,
            }
        ),
        st.just({"metric": "label_overview", "scope": "bots"}),
        st.fixed_dictionaries(
            {
                "metric": st.just("conversation_overview_yearly"),
                "year": st.sampled_from(["2023", "2024"]),
                "interval": interval,
            }
        ),
    )
    return st.lists(item, min_size=1, max_size=7)


def entries(wanted: Iterable[dict[str, Any]]) -> tuple[Entry, ...]:
    """Entries as the configuration would make them, without its objections to doubles."""
    given_ = [{key: value for key, value in item.items() if value is not None} for item in wanted]
    return tuple(entry("seachat", **item) for item in given_)


def partitions(items: list[Entry]) -> Iterator[list[list[Entry]]]:
    """Every way to put some things into groups."""
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        yield [[first], *partition]
        for index, group_ in enumerate(partition):
            yield [*partition[:index], [first, *group_], *partition[index + 1 :]]


def allowed(sharing: list[Entry]) -> bool:
    """Whether the interface's rules let these share a request; written anew from its words."""
    if len(sharing) == 1:
        return True
    if any(entry.report.name == "conversation_overview_yearly" for entry in sharing):
        return False
    if len({entry.interval for entry in sharing}) > 1:
        return False
    if len({entry.report.name for entry in sharing}) < len(sharing):
        return False
    names = {name for entry in sharing for name in entry.fields}
    return all(
        len({entry.fields[name] for entry in sharing if name in entry.fields}) == 1
        for name in names
    )


@given(metrics())
@settings(max_examples=300, deadline=None)
def test_every_entry_is_in_exactly_one_group(wanted: list[dict[str, Any]]) -> None:
    given_ = entries(wanted)

    grouped = [entry for sharing in group(given_) for entry in sharing]

    assert sorted(map(id, grouped)) == sorted(map(id, given_))


@given(metrics())
@settings(max_examples=300, deadline=None)
def test_a_request_carries_exactly_what_each_of_its_reports_asked_for(
    wanted: list[dict[str, Any]],
) -> None:
    for sharing in group(entries(wanted)):
        fields = merged(sharing)
        for one in sharing:
            assert agree(one.fields, fields)
            assert one.fields.items() <= fields.items()
        assert set(fields) == {name for one in sharing for name in one.fields}
        assert allowed(list(sharing))


@given(metrics())
@settings(max_examples=400, deadline=None)
def test_the_number_of_requests_is_the_least_that_the_rules_allow(
    wanted: list[dict[str, Any]],
) -> None:
    given_ = entries(wanted)

    least = min(
        len(partition)
        for partition in partitions(list(given_))
        if all(allowed(sharing) for sharing in partition)
    )

    assert len(group(given_)) == least


def test_the_documents_most_common_reports_need_these_requests() -> None:
    one = workspace(
        [
            "conversation_overview",
            "communication_volume",
            "activity_trend",
            "label_usage",
            "csat",
            "total_usage",
            "conversation_breakdown",
            "conversation_overview_yearly",
            "label_overview",
        ],
        bots=1,
    )

    assert [
        (call.target.bot_id, [entry.name for entry in call.entries])
        for call in planned_calls(one, one.bots)
    ] == [
        ("", ["label_overview"]),
        ("b0", ["conversation_overview"]),
        (
            "b0",
            [
                "communication_volume",
                "activity_trend",
                "label_usage",
                "total_usage",
                "conversation_breakdown",
            ],
        ),
        ("b0", ["csat"]),
        ("b0", ["conversation_overview_yearly"]),
    ]


@pytest.mark.parametrize(
    ("api", "metrics", "together"),
    [
        pytest.param(
            "portal",
            ["activity_trend", "label_usage", "total_usage"],
            [1, 1, 1],
            id="an API of one metric a call",
        ),
        pytest.param(
            "seachat",
            [{"metric": "total_usage", "window": "all"}, "communication_volume"],
            [1, 1],
            id="usage of all time and a report that sets dates",
        ),
        pytest.param(
            "seachat",
            ["label_usage", {"metric": "label_relation", "labels": ["a", "b"]}],
            [1, 1],
            id="all labels and a report that filters them",
        ),
        pytest.param(
            "seachat",
            ["conversation_overview", {"metric": "label_overview", "scope": "bots"}],
            [2],
            id="the overview of labels and whatever goes",
        ),
    ],
)
def test_reports_ride_together_where_the_rules_allow_it(
    api: str, metrics: list[object], together: list[int]
) -> None:
    one = workspace(metrics, api=api, bots=int(api == "seachat"))

    assert [len(call.entries) for call in planned_calls(one, one.bots)] == together


@pytest.mark.parametrize(
    ("metric", "body"),
    [
        pytest.param(
            "conversation_overview",
            {"range_type": "last_30_days", "exclude_empty_response": False},
            id="range",
        ),
        pytest.param(
            {"metric": "label_usage", "window": "last_7_days"},
            {
                "start_date": "2026-11-15T00:00:00",
                "end_date": "2026-11-21T23:59:59",
                "time_unit": "day",
            },
            id="dates-without-a-filter",
        ),
        pytest.param(
            {"metric": "label_relation", "labels": ["x", "y"], "window": "last_month"},
            {
                "start_date": "2026-10-01T00:00:00",
                "end_date": "2026-10-31T23:59:59",
                "labels": ("x", "y"),
            },
            id="labels-in-their-order",
        ),
        pytest.param({"metric": "total_usage", "window": "all"}, {}, id="all-time-has-no-dates"),
        pytest.param(
            {"metric": "conversation_overview_yearly", "year": "previous"},
            {"year": "2025"},
            id="year",
        ),
    ],
)
def test_every_parameter_is_sent_and_no_other(metric: object, body: dict[str, object]) -> None:
    one = workspace([metric], bots=1)
    (call,) = planned_calls(one, one.bots)

    name = call.entries[0].report.name
    assert call.body(TODAY) == {
        "metrics": [name],
        "timezone": "UTC",
        "gptbot_id": "b0",
        **body,
    }


def test_label_overview_takes_no_parameter_at_all() -> None:
    one = workspace(["label_overview"], bots=0)

    assert [call.body(TODAY) for call in planned_calls(one, ())] == [
        {"metrics": ["label_overview"]}
    ]


def test_portal_is_asked_in_its_own_words() -> None:
    one = workspace(
        [
            {"metric": "activity_trend", "message_type": "calls"},
            {"metric": "conversation_overview", "handling_status": "PENDING"},
            "today_communication_volume",
            "conversation_overview_yearly",
        ],
        api="portal",
    )
    dates = {
        "timezone": "UTC",
        "from_date": "2026-11-21T00:00:00",
        "to_date": "2026-11-21T23:59:59",
        "time_unit": "day",
    }

    assert [call.body(TODAY) for call in planned_calls(one, ())] == [
        {"metric": "activity_trend", "type": "calls", **dates},
        {
            "metric": "conversation_overview",
            "handling_status": "PENDING",
            "exclude_empty_response": False,
            **dates,
        },
        {"metric": "today_communication_volume", "timezone": "UTC"},
        {"metric": "conversation_overview_yearly", "timezone": "UTC", "year": "2026"},
    ]


def test_the_same_plan_holds_on_another_day() -> None:
    """On the first of a month, two windows have the same dates and still their own requests."""
    one = workspace(
        ["communication_volume", {"metric": "communication_volume", "window": "this_month"}],
        bots=1,
    )
    first = date(2026, 11, 1)

    bodies = [call.body(first) for call in planned_calls(one, one.bots)]

    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


def test_calls_have_identities_of_their_own() -> None:
    one = workspace(None, bots=50)
    identities = [call.identity for call in planned_calls(one, one.bots)]

    assert len(set(identities)) == len(identities)
    assert [call.identity for call in planned_calls(one, one.bots)] == identities


def test_a_field_left_out_on_purpose_is_a_value_of_its_own() -> None:
    assert not agree({"labels": ABSENT}, {"labels": ("a",)})
    assert agree({"labels": ABSENT}, {"labels": ABSENT})
    assert agree({"labels": ABSENT}, {"year": "2024"})


def test_edges_of_different_windows_are_different_values() -> None:
    one, two = (Edge(window(name), "first") for name in WINDOWS)

    assert not agree({"start_date": one}, {"start_date": two})
