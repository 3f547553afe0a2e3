"""The promises of every report: a new one joins them by being in the catalogue.

The pages in `data/exposition` are written anew by `tests/rewrite`, or alone by

    REWRITE=1 pytest tests/reports/test_catalogue.py
"""

import copy
import json
import os
import pkgutil
import re
import traceback
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings, strategies as st
from pydantic_core import from_json
from support.entries import DATA, DOCUMENTED, KNOWN, Documented, Read, read, read_as
from support.places import Place, found_at, places

from exporter import reports
from exporter.errors import ReplyError
from exporter.metrics import exposition
from exporter.metrics.store import Record, Store
from exporter.model.apis import APIS
from exporter.model.report import AnyReport
from exporter.model.samples import Family, Sample
from exporter.model.targets import Key, Target
from exporter.reports.catalogue import REPORTS, of_api

OVERVIEW: Final = ("window", "handling_status", "exclude_empty_response")
PERIOD: Final = ("window", "period", "exclude_empty_response")
RELATION: Final = ("window", "base_label", "comparison_label")

PROMISED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "conversation_overview": {
        "conversation_overview_conversations": OVERVIEW,
        "conversation_overview_messages": OVERVIEW,
        "conversation_overview_bot_messages": OVERVIEW,
        "conversation_overview_agent_messages": OVERVIEW,
        "conversation_overview_live_agent_requests": OVERVIEW,
        "conversation_overview_users": OVERVIEW,
        "conversation_overview_change_ratio": ("window", "of", "exclude_empty_response"),
        "conversation_overview_period_start_timestamp_seconds": PERIOD,
        "conversation_overview_period_end_timestamp_seconds": PERIOD,
    },
    "communication_volume": {
        "communication_volume_calls": ("window", "direction"),
        "communication_volume_non_voice_messages": ("window", "direction"),
    },
    "activity_trend": {
        "activity_trend_messages": ("window", "sender"),
        "activity_trend_calls": ("window", "direction"),
        "activity_trend_change_ratio": ("window", "of"),
    },
    "label_usage": {"label_usage_uses": ("window", "label")},
    "label_overview": {"label_overview_conversations": ("label_id", "label", "system")},
    "label_relation": {
        "label_relation_base_conversations": RELATION,
        "label_relation_both_conversations": RELATION,
        "label_relation_ratio": RELATION,
    },
    "csat": {
        "csat_responses": ("window",),
        "csat_average_rating": ("window",),
        "csat_satisfaction_ratio": ("window",),
        "csat_rating_responses": ("window", "rating"),
    },
    "total_usage": {
        "total_usage_voice_seconds": ("window",),
        "total_usage_chat_responses": ("window",),
    },
    "conversation_breakdown": {
        "conversation_breakdown_channel_users": ("window", "channel"),
        "conversation_breakdown_channel_messages": ("window", "channel", "direction"),
        "conversation_breakdown_weekday_messages": ("window", "weekday"),
        "conversation_breakdown_hour_messages": ("window", "hour"),
    },
    "conversation_overview_yearly": {
        "conversation_overview_yearly_conversations": ("year",),
        "conversation_overview_yearly_messages": ("year",),
        "conversation_overview_yearly_messages_per_conversation": ("year",),
        "conversation_overview_yearly_month_messages": ("year", "month"),
    },
    "agent_activity": {
        "agent_activity_seconds": ("window", "agent", "status"),
        "agent_activity_sessions": ("window", "agent", "status"),
        "agent_activity_agents": ("window", "status"),
    },
}
"""Every family's labels: what dashboards, rules and queries rely on."""

APIS_OF: Final = {
    "conversation_overview": {"seachat", "portal", "seax"},
    "communication_volume": {"seachat", "portal", "seax"},
    "activity_trend": {"seachat", "portal", "seax"},
    "label_usage": {"seachat", "portal", "seax"},
    "label_overview": {"seachat", "seax"},
    "label_relation": {"seachat"},
    "csat": {"seachat"},
    "total_usage": {"seachat", "portal", "seax"},
    "conversation_breakdown": {"seachat", "portal", "seax"},
    "conversation_overview_yearly": {"seachat", "portal", "seax"},
    "agent_activity": {"seax"},
}

IN_NO_SAMPLE: Final = {"seasalt_activity_trend_calls"}
"""Described in the documents, but all their samples of activity_trend are of messages."""

MAPS: Final = {
    "channel_summary",
    "messages_by_day",
    "messages_by_hour",
    "monthly_messages",
    "rating_counts",
}
"""Objects of the replies whose keys are data."""

FAMILIES: Final = [
    pytest.param(report, family, id=family.name) for report in REPORTS for family in report.families
]
SAMPLES: Final = [pytest.param(sample, id=str(sample)) for sample in KNOWN]
SPOKEN: Final = [pytest.param(sample, id=str(sample)) for sample in KNOWN if sample.api in APIS]
ERRORS: Final = [
    pytest.param(path, id=path.stem) for path in sorted((DATA / "errors").glob("*.json"))
]
SEVERAL: Final = DATA / "replies" / "seachat" / "several.json"

every_report = pytest.mark.parametrize(
    "report", [pytest.param(report, id=report.name) for report in REPORTS]
)
every_family = pytest.mark.parametrize(("report", "family"), FAMILIES)
every_sample = pytest.mark.parametrize("sample", SAMPLES)
# The numbers of agent_activity are not in the answer: they come of the sessions' times.
every_sample_of_numbers = pytest.mark.parametrize(
    "sample",
    [pytest.param(sample, id=str(sample)) for sample in KNOWN if sample.metric != "agent_activity"],
)

DELETED: Final = object()


# What is declared


def test_every_file_of_the_reports_is_in_the_catalogue() -> None:
    files = {module.name for module in pkgutil.iter_modules(reports.__path__)} - {"catalogue"}
    assert files == {report.name for report in REPORTS}


@pytest.mark.parametrize("name", PROMISED)
def test_a_report_declares_the_families_that_are_promised(name: str) -> None:
    (report,) = [report for report in REPORTS if report.name == name]
    declared = {family.name: family.labels for family in report.families}
    assert declared == {f"seasalt_{name}": of for name, of in PROMISED[name].items()}


@pytest.mark.parametrize("name", APIS_OF)
def test_a_report_is_one_of_the_apis_that_document_it(name: str) -> None:
    (report,) = [report for report in REPORTS if report.name == name]
    assert set(report.apis) == APIS_OF[name]


def test_no_family_is_declared_twice() -> None:
    names = [family.name for report in REPORTS for family in report.families]
    assert len(set(names)) == len(names)


@every_family
def test_a_family_is_named_as_prometheus_names_gauges(report: AnyReport, family: Family) -> None:
    assert re.fullmatch(r"seasalt(_[a-z]+)+", family.name)
    assert family.name.startswith(f"seasalt_{report.name}_")
    reserved = r"_(total|count|sum|bucket|info|created|gauge)"
    assert not re.search(rf"{reserved}$", family.name)
    assert not re.search(r"_(minutes|hours|days|ms|millis\w*|percent\w*|pct)(_|$)", family.name)


@every_family
def test_a_familys_help_is_a_sentence(report: AnyReport, family: Family) -> None:
    assert re.fullmatch(r"[A-Z][^\"\\\n]+[^ ]\.", family.help), report.name


@every_family
def test_a_familys_labels_are_its_own(report: AnyReport, family: Family) -> None:
    taken = {"api", "workspace", "bot_id", "bot", "report", "le", "quantile", "job", "instance"}
    assert not taken & set(family.labels), report.name
    assert len(set(family.labels)) == len(family.labels)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in family.labels)
    assert family.labels.index("window") == 0 if "window" in family.labels else True


@every_family
def test_a_sample_has_a_value_for_each_label(report: AnyReport, family: Family) -> None:
    assert family.sample(1, *family.labels).labels == family.labels, report.name
    with pytest.raises(TypeError, match=family.name):
        family.sample(1, *family.labels, "one too many")


# What the documents show


def test_every_report_of_every_api_has_a_sample() -> None:
    shown = {(sample.api, sample.metric) for sample in DOCUMENTED}
    assert {(api, metric) for api in ("seachat", "portal", "seax") for metric in of_api(api)} <= (
        shown
    )


@pytest.mark.parametrize("sample", SPOKEN)
def test_the_page_says_what_the_documents_sample_says(sample: Documented) -> None:
    path = DATA / "exposition" / sample.api / f"{sample.metric}.txt"
    text = page(sample)
    if os.environ.get("REWRITE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_samples_of_the_documents_use_every_family() -> None:
    used = {found.family.name for sample in KNOWN for found in understood(sample).samples}
    declared = {family.name for report in REPORTS for family in report.families}
    assert declared - used == IN_NO_SAMPLE


@every_sample
def test_the_samples_of_the_documents_hold_nothing_that_they_do_not_know(
    sample: Documented,
) -> None:
    assert understood(sample).drift == {}


@every_sample
def test_a_sample_makes_sound_series_of_the_asked_window(sample: Documented) -> None:
    found = understood(sample).samples
    assert found
    sound(sample.entry.report, found)
    for family, labels, _ in found:
        if "window" in family.labels:
            assert labels[0] == sample.entry.window


def test_the_sample_of_several_metrics_is_taken_apart() -> None:
    answer = json.loads(SEVERAL.read_text(encoding="utf-8"))
    single = {sample.metric: sample for sample in KNOWN if sample.api == "seachat"}
    assert len(answer) == 3
    for metric in answer:
        sample = single[metric]
        part = APIS["seachat"].part(answer, metric)
        assert read_as(sample.entry, part, sample.at) == understood(sample)


def test_portals_sample_with_a_comma_too_many_is_no_answer() -> None:  # T55
    folder = DATA / "replies" / "portal"
    printed = (folder / "activity_trend.not-json.txt").read_text(encoding="utf-8")
    mended = (folder / "activity_trend.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="trailing comma"):
        from_json(printed)
    assert printed.replace('"BOT": 15,\n', '"BOT": 15\n') == mended


# Whatever the answer looks like


@every_sample
def test_every_documented_envelope_is_the_same_to_a_report(sample: Documented) -> None:  # T50
    part, metric = sample.part, sample.metric
    flat = part if isinstance(part, dict) else {"data": part}
    # A list in `data` is Portal's periods to conversation_overview, so that its totals stay flat.
    listed = "data" in flat or metric == "conversation_overview"
    wrapped = flat if listed else {"data": [part]}
    for answer in ({metric: part}, flat | {"metric": metric}, wrapped | {"metric": metric}):
        unwrapped = APIS[sample.api].part(answer, metric)
        assert read_as(sample.entry, unwrapped, sample.at) == understood(sample)


@every_sample
def test_an_answer_without_the_metric_is_a_failure(sample: Documented) -> None:
    answers: list[object] = [{}, [], None, {"metric": "another"}, {"another": 1}, "text"]
    for answer in answers:
        with pytest.raises(ReplyError):
            APIS[sample.api].part(answer, sample.metric)


def test_each_report_of_an_answer_is_judged_alone() -> None:  # T29
    answer = {
        "conversation_overview": {"conversations": 1},
        "csat": {"detail": "No CSAT form"},
        "label_overview": None,
        "communication_volume": "error",
    }
    parts = {metric: APIS["seachat"].part(answer, metric) for metric in answer}
    good = read("seachat", "conversation_overview", parts.pop("conversation_overview"))
    assert good.series == {"conversation_overview_conversations": 1}
    for metric, part in parts.items():
        with pytest.raises(ReplyError, match=f"^{metric}: "):
            read("seachat", metric, part)


@pytest.mark.parametrize("path", ERRORS)
def test_an_error_body_in_a_good_answer_is_a_failure_that_does_not_repeat_it(path: Path) -> None:
    answer = json.loads(path.read_text(encoding="utf-8"))  # T88
    for sample in KNOWN:
        with pytest.raises(ReplyError) as caught:
            APIS[sample.api].part(answer, sample.metric)
        assert not repeats(said(caught.value), answer)
        with pytest.raises(ReplyError) as caught:
            understood(sample, answer)
        assert not repeats(said(caught.value), answer)


@every_sample
def test_an_empty_list_is_success_without_series(sample: Documented) -> None:  # R-ZERO
    assert understood(sample, {"data": []}) == Read((), {})


@every_sample
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(None, id="null"),
        pytest.param(0, id="number"),
        pytest.param(True, id="boolean"),
        pytest.param("CANARY", id="text"),
        pytest.param({}, id="empty-object"),
        pytest.param({"detail": "CANARY"}, id="error"),
        pytest.param({"CANARY": 1}, id="unknown-field"),
        pytest.param(["CANARY"], id="list-of-text"),
        pytest.param({"data": "CANARY"}, id="data-is-text"),
        pytest.param({"data": ["CANARY"]}, id="data-of-text"),
    ],
)
def test_another_shape_is_a_failure_that_names_the_report_alone(
    sample: Documented, part: object
) -> None:
    report = sample.entry.report
    with pytest.raises(ReplyError) as caught:
        understood(sample, part)
    assert str(caught.value).startswith((f"{report.name}: ", "data holds more"))
    assert "CANARY" not in said(caught.value)


FIELDS: Final = sorted(
    {key for sample in DOCUMENTED for key in re.findall(r'"(\w+)": ', json.dumps(sample.reply))}
)
PERSONAL: Final = (
    "+1206123456789",
    "(206) 123-4567 89",
    "1206123456789",
    "+1 206 123 4567 (mobile)",
    "+1\u2011206\u2011123\u20114567",
    "someone@example.com",
    "Some One <someone@example.com>",
    "someone\uff20example.com",
)
NASTY: Final = ("a\x00b", "\ud800", "\u202eabc", "\ufeff", "", " ", "1" * 120 + "x", "0" * 5000)
texts = st.text(max_size=20) | st.sampled_from(FIELDS) | st.sampled_from(PERSONAL + NASTY)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 2**53 + 1, "12", "-1", "1e3", "NaN", "٣"])
    | texts
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.fixed_dictionaries({"data": st.lists(inner, max_size=3)})
    ),
    max_leaves=12,
)


@every_sample
@settings(max_examples=40, deadline=None)
@given(part=anything)
def test_any_json_gives_sound_samples_or_a_failure(sample: Documented, part: object) -> None:
    survives(sample, part)


@every_sample
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_anything_in_the_place_of_a_field_gives_sound_samples_or_a_failure(
    sample: Documented, data: st.DataObject
) -> None:
    place = data.draw(st.sampled_from(list(places(sample.part))))
    survives(sample, changed(sample.part, place, data.draw(anything)))


@every_sample
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_anything_in_the_place_of_a_key_gives_sound_samples_or_a_failure(
    sample: Documented, data: st.DataObject
) -> None:
    keyed = [place for place in places(sample.part) if isinstance(place[-1], str)]
    place = data.draw(st.sampled_from(keyed))
    kept = found_at(sample.part, place)
    part = changed(sample.part, place, DELETED)
    survives(sample, changed(part, (*place[:-1], data.draw(texts)), kept))


@every_sample
@settings(max_examples=10, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_order_means_nothing(sample: Documented, random: Random) -> None:  # T57
    found = understood(sample, shuffled(sample.part, random))
    assert set(found.samples) == set(understood(sample).samples)
    assert found.drift == understood(sample).drift


@every_sample
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param(7, id="number"),
        pytest.param("+1206123456789", id="phone"),
        pytest.param({"count": 7, "name": "x"}, id="object"),
        pytest.param([{"period": "2024-01", "count": 7}], id="list"),
    ],
)
def test_an_unknown_field_changes_nothing(sample: Documented, value: object) -> None:
    objects = [place for place in ((), *places(sample.part)) if an_object(sample.part, place)]
    for place in objects:
        for field in ("comment", "total", "new_field", "model_config", "workspace_id"):
            part = changed(sample.part, (*place, field), value)
            assert understood(sample, part) == understood(sample)


@every_sample_of_numbers
@pytest.mark.parametrize(
    "value", [pytest.param(DELETED, id="deleted"), pytest.param(None, id="null")]
)
def test_a_field_that_goes_takes_its_series_along_and_nothing_else(  # R-ZERO, T54
    sample: Documented, value: object
) -> None:
    before = understood(sample).series
    for place in places(sample.part):
        if place[-1] in {"name", "id"}:  # these say which series a number belongs to
            continue
        try:
            after = understood(sample, changed(sample.part, place, value)).series
        except ReplyError:
            continue
        assert after.keys() <= before.keys(), place
        for series, number in after.items():
            if in_a_period(sample.part, place):
                assert 0 < number <= before[series], place
            else:
                assert number == before[series], place


@every_sample
@pytest.mark.parametrize(
    "value", [pytest.param(DELETED, id="deleted"), pytest.param(None, id="null")]
)
def test_a_name_that_goes_takes_no_number_along(sample: Documented, value: object) -> None:
    before = understood(sample).series
    for place in places(sample.part):
        if place[-1] in {"name", "id"}:
            after = understood(sample, changed(sample.part, place, value)).series
            assert sum(after.values()) == sum(before.values())


@every_sample_of_numbers
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(True, id="boolean"),
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param(10**400, id="400-digits"),
        pytest.param("many", id="text"),
        pytest.param("", id="empty"),
        pytest.param({"count": 1}, id="object"),
        pytest.param([1], id="list"),
    ],
)
def test_a_number_that_cannot_be_believed_is_absent_and_counted(  # T85
    sample: Documented, value: object
) -> None:
    before = understood(sample)
    numbers = list(read_numbers(sample))
    assert numbers
    for place in numbers:
        part = changed(sample.part, place, value)
        if len(before.series) == 1:  # then nothing is left that could be read
            with pytest.raises(ReplyError, match="nothing in it can be read"):
                understood(sample, part)
            continue
        found = understood(sample, part)
        assert sum(found.drift.values()) == 1, place
        assert found.series.items() < before.series.items(), place


@every_sample_of_numbers
@pytest.mark.parametrize("value", ["n/a", True, {"value": 1}, -1e30], ids=repr)
def test_an_answer_of_which_no_number_can_be_read_is_a_failure(
    sample: Documented, value: object
) -> None:
    part = sample.part
    for place in read_numbers(sample):
        part = changed(part, place, value)
    nothing = {series: n for series, n in understood(sample).series.items() if "period_" in series}
    if nothing:  # the periods of an overview are no numbers in the answer
        for place in places(sample.part):
            if str(place[-1]).endswith(("_start", "_end")):
                part = changed(part, place, value)
    with pytest.raises(ReplyError, match="nothing in it can be read"):
        understood(sample, part)


@every_sample_of_numbers
def test_an_answer_whose_numbers_are_all_null_is_an_answer(sample: Documented) -> None:  # R-ZERO
    part = sample.part
    for place in read_numbers(sample):
        part = changed(part, place, None)
    assert understood(sample, part).series.keys() <= understood(sample).series.keys() | {
        'conversation_breakdown_channel_messages{channel="SMS"}',
        'conversation_breakdown_channel_messages{channel="WebChat"}',
    }


@pytest.mark.parametrize("personal", [pytest.param(text, id=ascii(text)) for text in PERSONAL])
@every_sample
def test_personal_data_in_a_name_or_a_key_is_not_shown(sample: Documented, personal: str) -> None:
    for place in places(sample.part):
        parts = [changed(sample.part, place, personal)]
        if isinstance(place[-1], str):
            kept = found_at(sample.part, place)
            parts.append(
                changed(changed(sample.part, place, DELETED), (*place[:-1], personal), kept)
            )
        for part in parts:
            assert personal not in shown(sample, part), place


# How it is done


def page(sample: Documented) -> str:
    """The page of a workspace that asks for nothing else."""
    wanted = sample.entry
    reading = wanted.reading(sample.at)
    part = APIS[sample.api].part(sample.reply, sample.metric)
    target = Target(sample.api, "acme", *(("bot_12345", "Support") if sample.bot else ()))
    expires = wanted.withdrawn(sample.at) or sample.at + timedelta(days=1)
    record = Record(
        interval_seconds=wanted.interval.total_seconds(),
        success=True,
        duration_seconds=0.25,
        last_success=sample.at,
        samples=wanted.report.read(part, reading),
        expires=expires,
    )
    store = Store()
    store.put(Key.of(target, wanted), record)
    return exposition.rendered(store, sample.at)


def understood(sample: Documented, *part: object) -> Read:
    """What the report makes of a sample, or of something else in its place."""
    return read_as(sample.entry, part[0] if part else sample.part, sample.at)


def survives(sample: Documented, part: object) -> None:
    """Sound samples and documented names in the drift, or a failure that is told as one."""
    try:
        found = understood(sample, part)
    except ReplyError:
        return
    sound(sample.entry.report, found.samples)
    assert set(found.drift) <= {*FIELDS, *OF_NO_SAMPLE, "other"}
    assert all(number > 0 for number in found.drift.values())


OF_NO_SAMPLE: Final = {"inbound", "outbound", "distinct_user_count_change_percentage"}


def sound(report: AnyReport, samples: tuple[Sample, ...]) -> None:
    """Declared families, no series twice, finite values, counts from 0, labels fit to show."""
    series = [(sample.family, sample.labels) for sample in samples]
    assert len(set(series)) == len(series)
    for family, labels, value in samples:
        assert family in report.families
        assert len(labels) == len(family.labels)
        assert abs(value) < float("inf")
        if not family.name.endswith(("_ratio", "_timestamp_seconds")):
            assert value >= 0
        for label in labels:
            assert showable(label), ascii(label)


def showable(label: str) -> bool:
    """Whether a label is short and clean and neither an address nor a number to call."""
    plain = unicodedata.normalize("NFKC", label)
    digits = re.sub(r"[\s().\u2010-\u2212-]", "", plain)
    return (
        len(label) <= 120
        and label == label.strip()
        and not any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in label)
        and not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]", label)
        and not re.search(r"\S@\S+\.\S", plain)
        and not re.search(r"\+\d{7}", digits)
        and not (plain[:1] in "(0123456789" and digits.isdecimal() and len(digits) >= 7)
    )


def changed(value: object, place: Place, new: object) -> Any:  # noqa: ANN401 - JSON
    """A JSON value with something else at a place, or nothing."""
    result = copy.deepcopy(value)
    inner = found_at(result, place[:-1])
    if new is DELETED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return result


def shuffled(value: object, random: Random) -> object:
    """A JSON value with the items of all its lists and objects in another order."""
    if isinstance(value, list):
        return random.sample([shuffled(item, random) for item in value], len(value))
    if isinstance(value, dict):
        items = random.sample(list(value.items()), len(value))
        return {key: shuffled(item, random) for key, item in items}
    return value


def an_object(part: object, place: Place) -> bool:
    """Whether there is an object whose keys are fields."""
    return isinstance(found_at(part, place), dict) and (not place or place[-1] not in MAPS)


def in_a_period(part: object, place: Place) -> bool:
    """Whether a place is a period of a report over time, or in one."""
    within = (found_at(part, place[:end]) for end in range(1, len(place) + 1))
    return any(isinstance(value, dict) and {"period", "date"} & value.keys() for value in within)


def read_numbers(sample: Documented) -> Iterator[Place]:
    """The places of the numbers that a report makes series of."""
    for place in places(sample.part):
        value = found_at(sample.part, place)
        read = isinstance(value, int | float) and not isinstance(value, bool)
        if read and place[0] != "responses" and place[-1] != "total_message_count":
            yield place


def shown(sample: Documented, part: object) -> str:
    """The words that a page, a drift counter or a log could show of an answer."""
    try:
        found = understood(sample, part)
        return repr((list(found.series), found.drift))  # as a value, digits are a number
    except ReplyError as error:
        return said(error)


def repeats(text: str, answer: object) -> bool:
    """Whether a text holds one of the texts of an answer, other than everyday words."""
    values = [found_at(answer, place) for place in places(answer)]
    return any(value in text for value in values if isinstance(value, str) and len(value) > 8)


def said(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(error))
