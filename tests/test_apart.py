"""No two entries that a configuration may have write the same series."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from support.entries import KNOWN, Documented
from support.workspaces import workspace

from exporter.config import Workspace
from exporter.errors import ConfigError
from exporter.model.report import Windows
from exporter.polling.plan import planned_calls
from exporter.reports.catalogue import of_api

Item = dict[str, Any]
Series = tuple[object, ...]

CHOICES: dict[str, tuple[object, ...]] = {
    "year": (None, "current", "previous", "2025", "2026", "2027"),
    "message_type": (None, "calls"),
    "time_unit": (None, "month"),
    "handling_status": (None, "RESOLVED", "PENDING"),
    "exclude_empty_response": (None, "true"),
    "agent_labels": (None, "true"),
    "agents": (None, ["a"], ["b"]),
}
LABELS = {
    "label_usage": (None, ["sales"], ["sales ", "x"], ["support"], ["s\u200bupport"]),
    "label_relation": (["sales", "x"], ["x", "sales"], ["sales ", "x"], ["sales", "y"]),
}
WINDOWS = {
    Windows.NONE: (None,),
    Windows.TODAY: (None, "today"),
    Windows.RANGES: (None, "last_7_days", "last_30_days"),
    Windows.DATES: (None, "today", "this_month", "last_60_days"),
    Windows.DATES_OR_ALL: (None, "today", "last_60_days", "all"),
}
INSTANTS = [
    datetime(2026, 11, 21, 12, tzinfo=UTC),
    datetime(2026, 12, 31, 12, tzinfo=UTC),
    datetime(2027, 1, 1, 12, tzinfo=UTC),
]


@cache
def items(api: str, metric: str) -> list[Item]:
    """Every way in which a metric can be asked for, with few values of each option."""
    report, form = of_api(api)[metric]
    own = report.options.model_fields.keys() - report.foreign(form)
    wide = {name: CHOICES[name] for name in CHOICES if name in own}
    if "labels" in own:
        wide["labels"] = LABELS[report.name]
    wide["window"] = WINDOWS[form.windows]
    if api == "seachat":
        wide["scope"] = (None, "bots", "workspace")
    return [
        {"metric": metric}
        | {name: value for name, value in zip(wide, values, strict=True) if value is not None}
        for values in product(*wide.values())
    ]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Documented, Item, Item]:
    """A sample and two items of its metric that differ in one option, or in any."""
    sample = draw(st.sampled_from(KNOWN))
    known = items(sample.api, sample.metric)
    one, other = (draw(st.sampled_from(known)) for _ in range(2))
    differing = sorted(
        name for name in one.keys() | other.keys() if one.get(name) != other.get(name)
    )
    if not differing or draw(st.booleans()):
        return sample, one, other
    name = draw(st.sampled_from(differing))
    two = {key: value for key, value in one.items() if key != name}
    return sample, one, two | ({name: other[name]} if name in other else {})


def answer(sample: Documented) -> object:
    """What the API answers, without the names that a pair of labels is echoed with: to any pair."""
    part = sample.part
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if not name.endswith("_label")}


def accepted(sample: Documented, *items: Item) -> Workspace | None:
    """The workspace that asks for all of these, None where that is a mistake."""
    bots = 1 if sample.api == "seachat" else 0
    wanted = [deepcopy(item) for item in items]  # what is one object would be an anchor in YAML
    try:
        return workspace(wanted, api=sample.api, bots=bots)
    except ConfigError:
        return None


def written(one: Workspace, reply: object, at: datetime) -> Iterator[set[Series]]:
    """The series of each entry, when this is what it gets."""
    for call in planned_calls(one, one.bots):
        for entry in call.entries:
            samples = entry.report.read(reply, entry.reading(at))
            yield {(call.target, made.family.name, made.labels) for made in samples}


def apart(one: Item, two: Item) -> bool:
    """Whether two entries ask for labels of which none is in both.

    Whoever answers well keeps to them; where the API does not, the exposition keeps the first.
    """
    if one["metric"] != "label_usage" or not (one.get("labels") and two.get("labels")):
        return False
    seen = [
        {"".join(filter(str.isprintable, label)).strip() for label in item["labels"]}
        for item in (one, two)
    ]
    return seen[0].isdisjoint(seen[1])


@settings(max_examples=600, deadline=None)
@given(pairs())
def test_no_two_entries_that_are_accepted_write_the_same_series(
    pair: tuple[Documented, Item, Item],
) -> None:
    sample, one, two = pair
    config = accepted(sample, one, two | {"name": "other"})
    if config is None or apart(one, two):
        return
    for at in (*INSTANTS, sample.at):
        first, *others = written(config, answer(sample), at)
        for other in others:
            assert first.isdisjoint(other)


@pytest.mark.parametrize("sample", KNOWN, ids=str)
def test_the_same_entry_under_two_names_is_a_mistake(sample: Documented) -> None:
    for item in items(sample.api, sample.metric):
        if accepted(sample, item):
            assert accepted(sample, item, item | {"name": "other"}) is None


@pytest.mark.parametrize("sample", KNOWN, ids=str)
def test_what_differs_in_its_window_alone_is_accepted(sample: Documented) -> None:
    for window in WINDOWS[of_api(sample.api)[sample.metric][1].windows]:
        (item, *_) = items(sample.api, sample.metric)
        if window and accepted(sample, item):
            default = of_api(sample.api)[sample.metric][1].window
            both = accepted(sample, item, item | {"window": window, "name": "other"})
            assert (both is None) == (window == default)
