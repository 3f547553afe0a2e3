"""What the exporter says of itself, from the first scrape on."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from support.virtual import START
from support.workspaces import workspace

from exporter import __version__, logs
from exporter.errors import Outcome
from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.telemetry import PAUSED_UNTIL, RELOAD_SUCCESSFUL, Telemetry
from exporter.model.reply_values import Drift

PLACE = 'api="seachat"'


def page(telemetry: Telemetry) -> list[str]:
    return telemetry.text(openmetrics=False).decode().splitlines()


def begun(now: datetime = START, timezone: str = "UTC") -> Telemetry:
    telemetry = Telemetry()
    telemetry.begin(workspace(timezone=timezone), lambda: now)
    return telemetry


@pytest.mark.parametrize(
    ("family", "label", "values"),
    [
        ("api_requests", "outcome", Outcome),
        ("api_retries", "outcome", Outcome),
        ("series_dropped", "reason", ["max_labels", "max_series", "max_bots"]),
    ],
)
def test_requests_retries_and_dropped_series_are_counted_from_0_by_every_cause(
    family: str, label: str, values: Iterable[str]
) -> None:
    for value in values:
        line = f'seasalt_{family}_total{{{PLACE},{label}="{value}",workspace="acme"}} 0.0'
        assert line in page(begun())


@pytest.mark.parametrize(
    "line",
    [
        f'seasalt_api_key_valid{{{PLACE},workspace="acme"}} 1.0',
        f'seasalt_series{{{PLACE},workspace="acme"}} 0.0',
        f"seasalt_api_request_duration_seconds_count{{{PLACE}}} 0.0",
    ],
    ids=["key", "series", "durations"],
)
def test_what_can_be_said_of_a_workspace_is_said_before_its_first_request(line: str) -> None:
    assert line in page(begun())


def test_what_answers_have_beyond_the_documents_is_told_and_forgotten_by_workspace() -> None:
    telemetry = Telemetry()
    for name in ("acme", "other"):
        telemetry.drifted("seachat", name, "csat", Drift(average_rating=2))
    line = f'seasalt_schema_drift_total{{{PLACE},field="average_rating",metric="csat",workspace='

    assert {f'{line}"acme"}} 2.0', f'{line}"other"}} 2.0'} < set(page(telemetry))
    telemetry.forget("seachat", "acme")
    assert [told for told in page(telemetry) if told.startswith(line)] == [f'{line}"other"}} 2.0']


@pytest.mark.usefixtures("_our_zones")
def test_the_utc_offset_follows_daylight_saving() -> None:
    now = [datetime(2026, 11, 1, 8, 59, 59, tzinfo=UTC)]
    telemetry = Telemetry()
    telemetry.begin(workspace(timezone="America/Los_Angeles"), lambda: now[0])
    line = f'seasalt_workspace_utc_offset_seconds{{{PLACE},workspace="acme"}}'

    assert f"{line} {-7 * 3600:.1f}" in page(telemetry)
    now[0] += timedelta(seconds=1)
    assert f"{line} {-8 * 3600:.1f}" in page(telemetry)


def test_the_time_of_the_last_right_configuration_stays_when_a_wrong_one_is_read() -> None:
    telemetry = Telemetry()
    telemetry.reloaded(datetime.fromtimestamp(1_700_000_000, UTC))
    telemetry.set(RELOAD_SUCCESSFUL, 0)

    assert "seasalt_exporter_config_last_reload_success_timestamp_seconds 1.7e+09" in page(
        telemetry
    )
    assert "seasalt_exporter_config_last_reload_successful 0.0" in page(telemetry)
    telemetry.reloaded(START)
    assert "seasalt_exporter_config_last_reload_successful 1.0" in page(telemetry)


@pytest.mark.parametrize("revision", ["", "0123abc"])
def test_what_is_running_is_told_with_its_revision(revision: str) -> None:
    (line,) = [
        line for line in page(Telemetry(revision)) if line.startswith("seasalt_exporter_build_info")
    ]

    assert f'revision="{revision}"' in line
    assert f'version="{__version__}"' in line
    assert line.endswith("} 1.0")


def test_no_counter_has_a_series_for_its_creation() -> None:
    assert not [line for line in page(begun()) if "_created" in line]


def test_log_lines_that_were_not_written_are_counted_from_0_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "lost", Counter(dict.fromkeys(logs.REASONS, 0)))
    telemetry = Telemetry()

    for reason in logs.REASONS:
        line = f'seasalt_exporter_log_lines_dropped_total{{reason="{reason}"}}'
        assert f"{line} 0.0" in page(telemetry)
        logs.lost[reason] += 3
        assert f"{line} 3.0" in page(telemetry)
        assert f"{line} 3.0" in page(telemetry)


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_what_is_counted_is_written_again_when_a_count_has_changed_and_only_then(
    openmetrics: bool,
) -> None:
    telemetry, ahead = Telemetry(), [0.0]
    telemetry.begin(workspace(), lambda: START)
    telemetry.follow(PAUSED_UNTIL, lambda: ahead[0], "seachat", "acme")
    line = 'seasalt_api_paused_until_timestamp_seconds{api="seachat",workspace="acme"}'

    def counted() -> Piece:
        return telemetry.pieces(openmetrics=openmetrics)[0]

    def said() -> str:
        return b"".join(counted().text()).decode()

    first = counted()
    assert counted() is first
    assert f"{line} 0.0\n" in said()

    ahead[0] = 7.0
    assert f"{line} 7.0\n" in said()
    telemetry.requested("seachat", "acme", Outcome.SUCCESS, 0.2)
    assert 'outcome="success",workspace="acme"} 1.0\n' in said()
    assert 'seasalt_api_request_duration_seconds_count{api="seachat"} 1.0\n' in said()
    telemetry.forget("seachat", "acme")
    assert "acme" not in said()
    telemetry.begin(workspace(), lambda: START)
    telemetry.follow(PAUSED_UNTIL, lambda: ahead[0], "seachat", "acme")
    assert f"{line} 7.0\n" in said()
    assert counted() is counted()


def test_what_the_process_says_of_itself_is_asked_for_at_each_scrape() -> None:
    telemetry = Telemetry()

    def seconds() -> float:
        page = telemetry.text(openmetrics=False).decode()
        return float(page.split("\nprocess_cpu_seconds_total ")[1].split("\n")[0])

    before, end = seconds(), time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert seconds() > before


def test_openmetrics_ends_once_and_at_the_end() -> None:
    page = Telemetry().text(openmetrics=True)

    assert page.endswith(b"# EOF\n")
    assert page.count(b"# EOF") == 1
