"""Shards as a user starts them: real processes beside a sandbox."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import LISTENING, LOOPBACK, SMALL, Command, ServedSandbox, served
from support.pagecheck import problems, series
from support.processes import Ended, finished, get, started, wait_for

from exporter.metrics.exposition import API_FAMILIES
from exporter.sandbox import Sandbox

CONFIGURATION: Final = f"""\
concurrency: 12
{SMALL}\
    workspace_id: ${{WORKSPACE_ID}}
    discover_bots: {{}}
    metrics: [label_overview, {{metric: total_usage, window: last_month}}]
"""
OF_THE_API: Final = {family.name for family in API_FAMILIES}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The flag that names a configuration."""
    file = tmp_path / "seasalt.yml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    return f"--config.file={file}"


def values(page: str) -> list[tuple[object, float]]:
    """What a page says of the API."""
    assert problems(page.encode()) == []
    return [one for one in series(page.encode()).items() if one[0][0] in OF_THE_API]


def test_the_union_of_the_pages_of_real_shards_is_the_page_of_one(
    exporter: Command, config: str
) -> None:
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=12, days=60, conversations_per_day=1)
    with served(made) as sandbox:

        def once(*flags: str) -> list[tuple[object, float]]:
            done = finished([*exporter, "once", config, *flags], sandbox.environment)
            assert done.status == 0, done.stderr
            return values(done.stdout)

        whole, parts = once(), [once(f"--shard={index}/3") for index in range(3)]
    assert sorted(map(str, whole)) == sorted(str(one) for part in parts for one in part)
    assert all(parts)


def test_a_shard_says_which_it_is_and_is_ready_before_its_first_turn(
    exporter: Command, config: str, small_sandbox: ServedSandbox
) -> None:
    command = [*exporter, "serve", config, "--shard=3/4", f"--web.listen-address={LOOPBACK}"]
    with started(command, small_sandbox.environment) as process:
        url = f"http://{process.said(LISTENING)}"
        wait_for(lambda: get(f"{url}/-/ready").status == 200, "not ready")
        page = get(f"{url}/metrics").body.decode()
        assert 'seasalt_exporter_shard_info{shard="3",shards="4"} 1.0' in page
        assert " shard=3/4 " in process.stderr
        assert process.end(within=10).status == 0


@pytest.mark.parametrize(
    ("shard", "told"),
    [("3/3", "--shard must be i/n"), ("0/13", "concurrency 12 is too low for 13 shards")],
)
def test_a_shard_that_cannot_be_is_refused(
    exporter: Command, config: str, small_sandbox: ServedSandbox, shard: str, told: str
) -> None:
    for command in ("serve", "plan", "--config.check"):
        done: Ended = finished(
            [*exporter, command, config, f"--shard={shard}"], small_sandbox.environment
        )
        assert (done.status, done.stdout) == (1, "")
        assert told in done.stderr
        assert "Traceback" not in done.stderr
