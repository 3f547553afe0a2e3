import pytest
from support.entries import JANUARY, entry, read, series

from exporter.metrics.exposition import rendered
from exporter.metrics.store import Record, Store
from exporter.model.targets import Key, Target

METRIC = "label_overview"


def carried(label: str, label_id: str = "", system: str = "false") -> str:
    of = f'label_id="{label_id}",' if label_id else ""
    return f'label_overview_conversations{{{of}label="{label}",system="{system}"}}'


def test_a_label_may_have_a_name_and_a_count_alone() -> None:  # T67
    assert read("seax", METRIC, [{"name": "support", "count": 150}]).series == {
        carried("support"): 150
    }


def test_the_total_is_preferred_to_the_count() -> None:  # T67
    found = read("seachat", METRIC, [{"name": "a", "total_count": 3, "count": 4}])
    assert found.series == {carried("a"): 3}


def test_colours_descriptions_and_times_are_not_shown() -> None:  # T67
    label = {"name": "a", "total_count": 3, "color": "CANARY", "description": "CANARY"}
    times = {"created_time": "CANARY", "created_at": "CANARY", "updated_time": "CANARY"}
    assert "CANARY" not in repr(read("seachat", METRIC, [label | times]))


def test_a_systems_label_says_so() -> None:  # T68
    label = {"id": "l1", "name": "Support", "workspace_id": None, "is_system": True}
    found = read("seachat", METRIC, [label | {"total_count": 1}])
    assert found.series == {carried("Support", "l1", system="true"): 1}
    assert found.drift == {}


def test_an_id_tells_labels_of_one_name_apart() -> None:  # T69
    part = [{"id": "1", "name": "VIP", "total_count": 3}, {"id": "2", "name": "VIP", "count": 4}]
    found = read("seachat", METRIC, part)
    assert found.series == {carried("VIP", "1"): 3, carried("VIP", "2"): 4}
    assert found.drift == {}


def test_labels_that_cannot_be_told_apart_are_one_series_and_drift() -> None:  # T69
    part = [{"name": "VIP", "count": 3}, {"name": " VIP\u200b", "count": 4}]
    found = read("seax", METRIC, part)
    assert found.series == {carried("VIP"): 7}
    assert found.drift == {"other": 1}


def test_case_tells_labels_apart() -> None:  # T69
    part = [{"name": "Support", "count": 3}, {"name": "support", "count": 4}]
    found = read("seax", METRIC, part)
    assert found.series == {carried("Support"): 3, carried("support"): 4}


def test_a_name_of_anything_is_fit_for_the_page() -> None:  # T70
    part = [
        {"name": "", "total_count": 1},
        {"name": None, "total_count": 2},
        {"name": 'a\ud800b\n"\\', "total_count": 3},
    ]
    found = read("seachat", METRIC, part)
    assert found.series == {carried("unnamed"): 3, carried('ab"\\'): 3}
    wanted = entry("seachat", METRIC)
    store = Store()
    record = Record(600, samples=found.samples, expires=JANUARY.replace(hour=23))
    store.put(Key.of(Target("seachat", "acme"), wanted), record)
    page = rendered(store, JANUARY)
    assert r'{api="seachat",workspace="acme",label="ab\"\\",system="false"} 3' in page
    assert page.encode().decode() == page


@pytest.mark.parametrize(
    "value", [pytest.param(None, id="null"), pytest.param("absent", id="absent")]
)
def test_a_label_without_a_count_has_no_series(value: object) -> None:  # R-ZERO
    label = {"name": "a"} if value == "absent" else {"name": "a", "total_count": value}
    assert read("seachat", METRIC, [label, {"name": "b", "total_count": 0}]).series == {
        carried("b"): 0
    }


@pytest.mark.parametrize("api", ["seachat", "seax"])
def test_it_takes_neither_dates_nor_a_zone_and_has_no_window(api: str) -> None:  # T32
    wanted = entry(api, METRIC)
    assert wanted.fields == {}
    assert wanted.window == ""
    assert wanted.withdrawn(JANUARY) is None
    assert wanted.report.workspace_scope


def test_a_label_that_is_gone_has_no_series_in_the_next_answer() -> None:
    wanted, target = entry("seax", METRIC), Target("seax", "acme")
    store = Store()
    for part in (
        [{"name": "a", "count": 1}, {"name": "b", "count": 2}],
        [{"name": "b", "count": 2}],
    ):
        samples = read("seax", METRIC, part).samples
        record = Record(600, samples=samples, expires=JANUARY.replace(hour=23))
        store.put(Key.of(target, wanted), record)
    (_, kept), *_ = store
    assert [series(sample) for sample in kept.shown(JANUARY)] == [carried("b")]
