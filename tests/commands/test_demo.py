"""What the demo polls: one company over all APIs, or four companies in their time zones."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from exporter.commands import demo
from exporter.commands.backfill import Job
from exporter.commands.flags import FEW_BOTS, MANY_BOTS, parse
from exporter.commands.sandbox import make, troubles
from exporter.config import Config
from exporter.sandbox import Sandbox
from exporter.sandbox.many_bots import FEWEST, MOST

NOW: Final = datetime(2025, 7, 16, 15, 30, tzinfo=UTC)
URL: Final = "http://127.0.0.1:1"


def polled(config: Config) -> list[tuple[str, str, str]]:
    return [(one.name, one.api, one.timezone) for one in config.workspaces]


def test_without_flags_one_company_of_four_bots_is_polled_over_all_apis(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    config = demo.configuration(make_sandbox(now=lambda: NOW, days=1), URL)
    zone = "America/New_York"
    assert polled(config) == [
        ("harbor", "seachat", zone),
        ("harbor-portal", "portal", zone),
        ("harbor-seax", "seax", zone),
    ]
    assert {one.interval for one in config.workspaces} == {timedelta(seconds=15)}


def test_with_many_bots_each_company_is_polled_in_its_time_zone_and_with_its_key() -> None:
    sandbox = Sandbox.make_big(now=lambda: NOW, bots=FEWEST, days=1)
    with closing(sandbox):
        config = demo.configuration(sandbox, URL)
    assert polled(config) == [
        ("harbor", "seachat", "America/New_York"),
        ("harbor-portal", "portal", "America/New_York"),
        ("harbor-seax", "seax", "America/New_York"),
        ("lantern", "seachat", "Asia/Taipei"),
        ("northwind", "seachat", "Europe/Berlin"),
        ("orchard", "seachat", "Asia/Kolkata"),
    ]
    assert {one.interval for one in config.workspaces} == {timedelta(minutes=1)}
    of_seachat = [one for one in config.workspaces if one.api == "seachat"]
    for one, company in zip(of_seachat, sandbox.workspaces, strict=True):
        assert one.discover_bots
        assert (one.workspace_id, one.key.read()) == (company.id, company.seachat_key)


def test_the_history_of_a_demo_begins_on_a_local_day_and_its_answers_are_for_it_alone(
    make_sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def rebuild(_: object, job: Job, **_switches: bool) -> int:
        assert job.journal is not None
        assert job.journal.is_dir()
        jobs.append(job)
        return 0

    early = NOW.replace(hour=1)  # of the day before, in New York
    monkeypatch.setattr(demo, "now", lambda: early)
    monkeypatch.setattr(demo, "rebuild", rebuild)
    config = demo.configuration(make_sandbox(now=lambda: early, days=1), URL, at=early)
    flags = parse(["demo", "--history=2d", f"--output={tmp_path}"], {})
    for _ in range(2):
        demo.begin_with_history(config, flags)
    one, two = jobs
    assert one.first == date(2025, 7, 13)
    assert one.journal != two.journal
    assert tmp_path not in (one.journal, two.journal)
    assert not any(job.journal.exists() for job in jobs if job.journal)


def test_the_flags_take_as_many_bots_as_the_sandbox_does() -> None:
    assert MANY_BOTS == (FEWEST, MOST)
    with closing(make(parse(["demo", f"--bots={FEWEST}"], {}))) as sandbox:
        assert sum(len(workspace.bots) for workspace in sandbox.workspaces) == FEWEST
        assert sandbox.trouble is None
    with closing(make(parse(["sandbox", "--trouble"], {}))) as sandbox:
        assert [len(workspace.bots) for workspace in sandbox.workspaces] == [FEW_BOTS]
        assert sandbox.trouble


def test_what_will_go_wrong_is_told_without_any_key(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(now=lambda: NOW, workspaces=2, days=1, trouble=True)
    assert sandbox.trouble
    told = "\n".join(troubles(sandbox.trouble))
    for part in ("Lantern Books", "is rejected", "HTTP 429", "answers take 4 s", "HTTP 500"):
        assert part in told
    assert not any(workspace.seachat_key in told for workspace in sandbox.workspaces)
