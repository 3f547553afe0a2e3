from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as textformat
from support.failures import failed

from exporter.config.validation import RESERVED_LABELS
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES, rendered
from exporter.metrics.snapshot import snapshot
from exporter.metrics.store import Record, Store
from exporter.model.bot_list import ENABLED
from exporter.model.label_values import label_value as clean
from exporter.model.samples import Sample
from exporter.model.targets import Key, Target

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CALLS = next(f for f in API_FAMILIES if f.name == "seasalt_communication_volume_calls")
LABELS = next(f for f in API_FAMILIES if f.name == "seasalt_label_usage_uses")


def record(*samples: Sample, expires: timedelta = timedelta(minutes=30)) -> Record:
    return Record(600.0, True, 0.25, NOW, samples, NOW + expires)  # noqa: FBT003


def store(*records: tuple[Key, Record]) -> Store:
    made = Store()
    for key, value in records:
        made.put(key, value)
    return made


ACME = Target("seachat", "acme", "b1", "Support", (("team", "eu"),))
VOLUME = Key(ACME, "communication_volume", "today")


def parsed(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in textformat(page)
        for sample in family.samples
    }


def test_a_page_is_written_as_promised() -> None:
    page = rendered(store((VOLUME, record(CALLS.sample(25, "today", "inbound")))), NOW)

    assert (
        page
        == """\
# HELP seasalt_communication_volume_calls Voice calls in the window, by direction. Polled at the report's interval, not at the scrape.
# TYPE seasalt_communication_volume_calls gauge
seasalt_communication_volume_calls{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu",window="today",direction="inbound"} 25
# HELP seasalt_report_success Whether the last try of the report brought values.
# TYPE seasalt_report_success gauge
seasalt_report_success{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu",report="communication_volume",window="today"} 1
# HELP seasalt_report_last_success_timestamp_seconds When the report last brought values, in Unix time.
# TYPE seasalt_report_last_success_timestamp_seconds gauge
seasalt_report_last_success_timestamp_seconds{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu",report="communication_volume",window="today"} 1795262400
# HELP seasalt_report_duration_seconds How long the request of the report's last try took.
# TYPE seasalt_report_duration_seconds gauge
seasalt_report_duration_seconds{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu",report="communication_volume",window="today"} 0.25
# HELP seasalt_report_interval_seconds How often the report is polled.
# TYPE seasalt_report_interval_seconds gauge
seasalt_report_interval_seconds{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu",report="communication_volume",window="today"} 600
"""
    )


def test_an_empty_label_value_is_the_labels_absence() -> None:
    key = Key(Target("seachat", "acme"), "communication_volume", "")

    page = rendered(store((key, record(CALLS.sample(1, "", "inbound")))), NOW)

    assert (
        'seasalt_communication_volume_calls{api="seachat",workspace="acme",direction="inbound"} 1\n'
        in page
    )


def test_an_expired_value_is_not_shown_but_its_report_is() -> None:
    expired = record(CALLS.sample(1, "today", "inbound"), expires=timedelta())

    page = rendered(store((VOLUME, expired)), NOW)

    assert "communication_volume_calls" not in page
    assert "seasalt_report_last_success_timestamp_seconds{" in page


def test_a_report_that_never_brought_values_has_no_time_of_success() -> None:
    made = Store()
    made.fail(VOLUME, failed(), now=NOW, interval_seconds=600.0)

    page = rendered(made, NOW)

    assert "last_success" not in page
    assert 'report="communication_volume",window="today"} 0\n' in page


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
label_values = st.text().map(clean)


@given(st.dictionaries(label_values, numbers, max_size=8), st.text().map(clean))
def test_what_the_official_parser_reads_back_is_what_was_stored(
    labels: dict[str, float], bot: str
) -> None:
    target = Target("seachat", "acme", "b1", bot)
    samples = [LABELS.sample(value, "today", label) for label, value in labels.items()]
    page = rendered(store((Key(target, "label_usage", "today"), record(*samples))), NOW)

    found = {
        dict(labels_)["label"]: value
        for (name, labels_), value in parsed(page).items()
        if name == LABELS.name
    }
    assert found == labels
    assert {dict(labels_)["bot"] for _, labels_ in parsed(page)} == {bot}


def test_the_snapshot_reads_the_same_as_openmetrics() -> None:
    page = rendered(store((VOLUME, record(CALLS.sample(2.5, "today", "inbound")))), NOW)

    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics(page + "# EOF\n")  # type: ignore[no-untyped-call]  # its own gap
        for sample in family.samples
    }

    assert found == parsed(page)


def test_the_number_of_values_from_the_api_is_known_by_workspace() -> None:
    other = Key(Target("portal", "other"), "communication_volume", "today")
    made = store(
        (VOLUME, record(CALLS.sample(1, "today", "inbound"), CALLS.sample(2, "today", "outbound"))),
        (other, record()),
    )

    assert snapshot(made.generation(), NOW).series == {
        ("seachat", "acme"): 2,
        ("portal", "other"): 0,
    }


def test_what_is_told_of_a_bot_has_no_report_of_its_own() -> None:
    page = rendered(store((Key(ACME, "", ""), record(ENABLED.sample(1)))), NOW)

    assert page.splitlines()[-1] == (
        'seasalt_bot_enabled{api="seachat",workspace="acme",bot_id="b1",bot="Support",team="eu"} 1'
    )
    assert "seasalt_report" not in page


def test_a_series_comes_once_whatever_the_api_answers() -> None:
    one, two = (Key(ACME, report, "today") for report in ("label_usage", "again"))
    made = store(
        (one, record(LABELS.sample(1, "today", "x"))), (two, record(LABELS.sample(2, "today", "x")))
    )

    found = [line for line in rendered(made, NOW).splitlines() if line.startswith(LABELS.name)]

    assert [line.split("} ")[1] for line in found] == ["1"]


def test_what_is_told_of_a_report_comes_once_though_a_label_of_its_bot_is_empty() -> None:
    one, two = (replace(ACME, labels=labels) for labels in ((), (("team", ""),)))
    made = store(*((Key(target, "csat", "today"), record()) for target in (one, two)))

    found = rendered(made, NOW).splitlines()

    assert len(found) == len(set(found))


def test_an_identity_page_comes_in_pieces() -> None:
    samples = (LABELS.sample(n, "today", f"label {n} " + "x" * 80) for n in range(3000))
    snap = snapshot(store((VOLUME, record(*samples))).generation(), NOW).page

    pieces = list(snap.text())

    assert len(pieces) > 5
    assert max(map(len, pieces)) <= 65_536


def test_no_label_of_ours_can_be_given_again_by_an_operator() -> None:
    ours = {label for family in (*API_FAMILIES, *REPORT_FAMILIES) for label in family.labels}

    assert ours | {"api", "workspace", "bot_id", "bot"} <= RESERVED_LABELS
