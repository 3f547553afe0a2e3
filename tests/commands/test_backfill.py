"""What `backfill` says, refuses and leaves behind."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from e2e.programs import ServedSandbox, served
from support.backfilled import NOW, command, configuration, written

from exporter.backfill import openmetrics
from exporter.backfill.journal import NAME, Journal
from exporter.backfill.plan import account
from exporter.commands.flags import DONE, MENDABLE, parse
from exporter.config import load
from exporter.errors import StartError
from exporter.sandbox import Sandbox

Run = Callable[..., int]


@pytest.fixture(scope="module")
def api() -> Iterator[ServedSandbox]:
    with served(Sandbox.make(now=lambda: NOW, bots=2, days=90)) as found:
        yield found


@pytest.fixture
def run(api: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs it in a folder of its own, against the sandbox."""
    file = written(tmp_path, configuration(api, bots=2))
    api.requests.clear()

    def at(*flags: str) -> int:
        return command(file, f"--output={tmp_path / 'out'}", *flags, patch=monkeypatch)

    return at


def test_a_dry_run_requests_nothing_and_writes_nothing(
    run: Run, api: ServedSandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--from=2026-10-21", "--dry-run", "--intraday=14d") == DONE
    assert api.requests == []
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert "2026-10-21 to 2026-11-19, 30 days, 2 bots" in said
    assert re.search(r"  B        60 requests +0.0 min", said)
    assert re.search(r"  D       280 requests", said)
    assert "csat last_7_days" not in said
    assert "conversation_breakdown last_5_days: without distinct users over several days" in said


@pytest.mark.parametrize("calls", [True, False])
def test_fewer_requests_are_promised_only_where_part_a_sees_calls_too(
    calls: bool,
    api: ServedSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = configuration(api, bots=2)
    metrics = settings["workspaces"][0]["metrics"]
    if not calls:
        metrics[:] = [entry for entry in metrics if entry.get("message_type") != "calls"]
    file = written(tmp_path, settings)
    command(file, "--from=2026-10-21", "--workspace=acme", "--dry-run", patch=monkeypatch)
    assert ("fewer if part A shows days without anything" in capsys.readouterr().out) is calls


@pytest.mark.parametrize("line", ["X Scope: 1", "Authorization: Bearer \x01", "X-Y:", "Zoë: 1"])
def test_a_header_that_http_does_not_allow_is_told_at_once_and_not_quoted(
    line: str, run: Run, tmp_path: Path
) -> None:
    headers = tmp_path / "headers"
    headers.write_text(f"X-Scope-OrgID: 1\n{line}\n")
    with pytest.raises(StartError, match=r"headers:2: must be `Name: value`") as told:
        run(
            "--from=2026-10-21",
            f"--push.headers-file={headers}",
            "--push=http://127.0.0.1:9/api/v1/write",
        )
    assert line not in str(told.value)


def test_the_sandbox_counts_as_many_requests_as_the_dry_run_says(
    run: Run, api: ServedSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--from=2026-11-01", "--intraday=2d", "--step=1d")
    assert run(*flags, "--dry-run") == DONE
    said = sum(map(int, re.findall(r"in all (\d+) requests", capsys.readouterr().out)))
    assert run(*flags) == DONE
    assert len(api.requests) == said > 100
    again = len(api.requests)
    assert run(*flags) == DONE
    assert len(api.requests) == again
    told = capsys.readouterr().out
    assert sum(map(int, re.findall(r"(\d+) of them answered already", told))) == said


def test_what_is_asked_for_can_be_narrowed_to_a_workspace_and_a_bot(
    run: Run, tmp_path: Path
) -> None:
    flags = ("--from=2026-11-18", "--step=1d", "--workspace=acme", "--bot=Order Desk")
    assert run(*flags, "--label=job=seasalt") == DONE
    lines = (tmp_path / "out" / openmetrics.NAME).read_text().splitlines()
    series = [line for line in lines if not line.startswith("#") and "utc_offset" not in line]
    assert series
    assert all('workspace="acme"' in line and 'bot="Order Desk"' in line for line in series)
    assert all('{job="seasalt",api="seachat",' in line for line in series)
    assert lines[-1] == "# EOF"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "--from is missing: the first day to rebuild, like --from=2025-01-01"),
        (["--from=2027-01-01"], "--from must be 2026-11-19 or earlier, the last day to rebuild"),
        (
            ["--from=2026-11-01", "--to=2026-11-20"],
            "--to must be 2026-11-19 or earlier: later days",
        ),
        (["--from=2026-11-19", "--to=2026-11-18"], "--from must be 2026-11-18 or earlier"),
        (["--from=2026-11-01", "--workspace=acmee"], "called 'acmee', did you mean acme?"),
        (["--from=2026-11-01", "--bot=nobody"], "no bot has the id or name 'nobody'"),
        (["--from=2026-11-19", "--label=workspace=x"], "--label: workspace is a label of the exp"),
        (["--from=2026-11-19", "--label=le=x"], "--label: le is a label of the exporter's own"),
        (["--from=2026-11-19", "--label=team=x"], "--label: team is in `labels:` of the config"),
        (["--from=2026-11-19", "--label=a=1", "--label=a=2"], "--label: a is given 2 times"),
        (["--from=2025-12-01"], "requests are more than 1,000: add --yes, or take fewer days"),
        (["--from=2026-11-19", "--push=http://store/x"], "--push.query-url is missing"),
        (
            ["--from=2026-11-19", "--push=http://s/api/v1/write", "--push.headers-file=/none"],
            "--push.headers-file: /none: cannot be read: No such file",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_requested(
    run: Run, api: ServedSandbox, flags: list[str], text: str
) -> None:
    with pytest.raises(StartError, match=re.escape(text)):
        run(*flags)
    assert api.requests == []


@pytest.mark.parametrize(
    "flag",
    [
        *("--from=2026-13-01", "--from=yesterday", "--from=0001-01-01", "--to=2009-12-31"),
        *("--intraday=0d", "--label=no", "--label=__name__=x", "--push=ftp://x"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(flag: str) -> None:
    with pytest.raises(StartError, match=r"^--\w+ must (not )?be"):
        parse(["backfill", flag], {})


def test_blocks_that_would_end_within_prometheus_head_are_warned_of(
    api: ServedSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, early = written(tmp_path, configuration(api, bots=1)), NOW.replace(hour=6, minute=30)
    flags = ("--from=2026-11-19", f"--output={tmp_path}", "--step=1d", "--bot=Order Desk")
    # An hour and a half past midnight, where the workspace is.
    with pytest.raises(StartError):
        command(file, *flags, "--workspace=acme", patch=monkeypatch, now=early)
    flags = (*flags[:3], "--workspace=acme")
    assert command(file, *flags, patch=monkeypatch, now=early) == DONE
    assert "before 2026-11-20 07:55 UTC, three hours after their end" in capsys.readouterr().err
    assert command(file, *flags, patch=monkeypatch) == DONE
    assert "three hours after" not in capsys.readouterr().err


def test_no_key_and_no_header_is_in_anything_that_is_kept_or_said(
    run: Run, api: ServedSandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer canary-1\nno header, but canary-2\n")
    store = ("--push=http://127.0.0.1:1/api/v1/write", f"--push.headers-file={headers}")
    with pytest.raises(StartError) as told:
        run("--from=2026-11-19", *store)
    assert "canary" not in str(told.value)
    assert run("--from=2026-11-19", "--step=1d") == DONE
    kept = b"".join(one.read_bytes() for one in (tmp_path / "out").iterdir())
    said = capsys.readouterr()
    for secret in (api.sandbox.workspaces[0].seachat_key, "canary"):
        assert secret.encode() not in kept
        assert secret not in said.out + said.err


def test_a_disk_that_fills_loses_no_answer(
    run: Run, api: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(openmetrics.Writer):
        def series(self, *given: object) -> None:
            super().series(*given)  # type: ignore[arg-type]  # handed on
            if self.samples > 100:
                raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(openmetrics, "Writer", Full)
        with pytest.raises(StartError, match="No space left on device; the answers are kept"):
            run("--from=2026-11-18")
    asked = len(api.requests)
    assert [one.name for one in (tmp_path / "out").iterdir()] == [NAME]
    assert run("--from=2026-11-18") == DONE
    assert len(api.requests) == asked


def test_the_list_of_bots_counts_as_a_request_and_is_read_again_for_another_filter(
    api: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = configuration(api, bots=1)
    [one, *_] = document["workspaces"]
    document["workspaces"] = [one]
    one |= {"workspace_id": api.sandbox.workspaces[0].id, "metrics": ["total_usage"]}
    del one["bots"]
    flags = ("--from=2026-11-19", "--step=1d", f"--output={tmp_path}", "--yes")
    api.requests.clear()
    lists = []
    for filtered in ({}, {}, {"exclude": ["Order *"]}):
        one["discover_bots"] = filtered
        file = written(tmp_path, document)
        assert command(file, *flags, patch=monkeypatch) == DONE
        lists.append(sum("bots" in path for path in api.requests))
        [workspace] = load([str(file)], {}, NOW.date()).workspaces
        with Journal(tmp_path) as journal:
            assert journal.standing(account(workspace)).spent == len(api.requests)
    assert lists == [1, 1, 2]
    # The next day's run sees bots that are new.
    assert command(file, *flags, patch=monkeypatch, now=NOW + timedelta(days=2)) == DONE
    assert sum("bots" in path for path in api.requests) == 3


def test_what_could_not_be_had_is_told_once_by_every_run(
    api: ServedSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = configuration(api, bots=1)
    document["workspaces"] = document["workspaces"][:1]
    document["workspaces"][0]["bots"].append({"id": "nobody", "name": "Nobody"})
    flags = ("--from=2026-11-18", "--step=1d", f"--output={tmp_path}")
    for _ in range(2):
        assert command(written(tmp_path, document), *flags, patch=monkeypatch) == MENDABLE
        assert capsys.readouterr().err.count("bot nobody") == 1


def test_the_budget_of_a_day_holds_over_several_runs(
    api: ServedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, configuration(api, bots=1, requests_per_day=7))
    api.requests.clear()
    flags = ("--from=2026-11-01", f"--output={tmp_path}", "--workspace=acme")
    for _ in range(2):
        with pytest.raises(StartError, match="daily request limit reached"):
            command(file, *flags, patch=monkeypatch)
        assert len(api.requests) == 7
    with pytest.raises(StartError, match="daily request limit reached"):
        command(file, *flags, patch=monkeypatch, now=NOW + timedelta(days=1))
    assert len(api.requests) == 14
