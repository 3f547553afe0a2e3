"""The exporter with a state file, killed and started again."""

import signal
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from e2e.programs import LISTENING, LOOPBACK, SMALL, Command, ServedSandbox, served
from support.pagecheck import problems, series
from support.processes import PATIENCE, Running, get, started, wait_for

from exporter.metrics.exposition import rendered
from exporter.sandbox import Sandbox
from exporter.state.encoding import decoded
from exporter.state.file import WRITE_EVERY

CONFIGURATION: Final = f"""\
interval: 1d  # no turn of it comes by chance
{SMALL}\
    workspace_id: ${{WORKSPACE_ID}}
    discover_bots: {{interval: 1d}}
    metrics: [label_overview, total_usage]
"""
RATED: Final = f"""\
interval: 1s
allow_fast_polling: true
{SMALL}\
    bots: [{{id: "${{BOT_ID}}"}}]
    metrics: [{{metric: csat, window: all}}]
"""
YEARLY: Final = f"{SMALL}    metrics: [conversation_overview_yearly]\n"


@contextmanager
def serving(
    exporter: Command, sandbox: ServedSandbox, folder: Path, configuration: str = CONFIGURATION
) -> Iterator[tuple[Running, str]]:
    (folder / "seasalt.yml").write_text(configuration, encoding="utf-8")
    command = [
        *(*exporter, "serve", f"--config.file={folder / 'seasalt.yml'}"),
        *(f"--state.file={folder / 'seasalt.state'}", f"--web.listen-address={LOOPBACK}"),
    ]
    with started(command, sandbox.environment) as process:
        yield process, f"http://{process.said(LISTENING)}"


def values(url: str) -> dict[object, float]:
    """What the page says of the API: values and when they came."""
    page = get(f"{url}/metrics").body
    assert problems(page) == []
    return of_the_api(page)


def kept(file: Path) -> dict[object, float]:
    """The same, of what the file holds."""
    return of_the_api(
        rendered(decoded(file.read_bytes()).records.items(), datetime.now(UTC)).encode()
    )


def of_the_api(page: bytes) -> dict[object, float]:
    """Values, and when they came."""
    shown = ("seasalt_label", "seasalt_total", "seasalt_bot", "seasalt_report_last_success")
    return {key: value for key, value in series(page).items() if key[0].startswith(shown)}


def everything(url: str, sandbox: ServedSandbox) -> dict[object, float]:
    """What the page says once every report has brought values: one a bot, the labels, the list."""
    reports = len(sandbox.sandbox.workspaces[0].bots) + 2
    name = "seasalt_report_last_success_timestamp_seconds"

    def all_of_it() -> dict[object, float] | None:
        found = values(url)
        return found if sum(key[0] == name for key in found) == reports else None  # type: ignore[index]  # keys are pairs

    return wait_for(all_of_it, "not every value")


def test_a_killed_exporter_goes_on_where_it_was_and_asks_for_nothing_again(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.state"
    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        before = everything(url, small_sandbox)

        def written() -> bool:
            return file.exists() and kept(file) == before

        wait_for(written, "not written", within=2 * WRITE_EVERY + PATIENCE)
        process.send(signal.SIGKILL)
    asked = len(small_sandbox.requests)

    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        assert get(f"{url}/-/ready").status == 200
        assert values(url) == before
        wait_for(lambda: process.seconds > 2, "no time passes")  # the first life had asked by then
        assert len(small_sandbox.requests) == asked
        assert process.end(within=10).status == 0


def test_a_yearly_report_is_not_asked_again_by_each_life_of_a_crash_loop(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    requests = small_sandbox.requests
    first = len(requests)
    for patience in (30, 3, 3, 3, 3):
        known = len(requests)
        with serving(exporter, small_sandbox, tmp_path, YEARLY) as (process, _):
            # Killed while the answer is on its way, or when it would have asked long ago.
            wait_for(
                partial(
                    lambda known, process, patience: (
                        len(requests) > known or process.seconds > patience
                    ),
                    known,
                    process,
                    patience,
                ),
                "neither",
            )
            process.send(signal.SIGKILL)
    # Its turn may have come meanwhile.
    assert 1 <= len(requests) - first <= 2


def test_an_exporter_that_ended_well_has_kept_everything(
    exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        before = everything(url, small_sandbox)
        assert process.end(within=10).status == 0
    asked = len(small_sandbox.requests)

    with serving(exporter, small_sandbox, tmp_path) as (process, url):
        assert get(f"{url}/-/ready").status == 200
        assert values(url) == before
        assert len(small_sandbox.requests) == asked
        assert process.end(within=10).status == 0


class Renaming(Sandbox):
    """A sandbox that at some time gives a field another name of the same length."""

    renamed = False

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request."""

        async def changed(message: MutableMapping[str, Any]) -> None:
            if self.renamed and "body" in message:
                message["body"] = message["body"].replace(b"average_rating", b"average_number")
            await send(message)

        await super().__call__(scope, receive, changed)


def test_a_renamed_field_is_missed_at_every_poll_also_by_the_next_process(
    exporter: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> dict[str, float]:
        return {
            name: value
            for (name, labels), value in series(get(f"{url}/metrics").body).items()
            if name == "seasalt_csat_average_rating" or ("field", "average_rating") in labels
        }

    def missed_twice() -> bool:
        return look().get("seasalt_schema_drift_total", 0) >= 2

    with served(Renaming.make(now=lambda: datetime.now(UTC), bots=1, days=60)) as sandbox:
        with serving(exporter, sandbox, tmp_path, RATED) as (process, url):
            wait_for(look, "no rating")
            assert look().keys() == {"seasalt_csat_average_rating"}
            monkeypatch.setattr(Renaming, "renamed", True)
            wait_for(missed_twice, "not missed")
            assert look().keys() == {"seasalt_schema_drift_total"}
            assert process.end(within=10).status == 0
        with serving(exporter, sandbox, tmp_path, RATED) as (process, url):
            wait_for(missed_twice, "not missed")
            monkeypatch.setattr(Renaming, "renamed", False)
            wait_for(lambda: "seasalt_csat_average_rating" in look(), "not back")
            assert process.end(within=10).status == 0
