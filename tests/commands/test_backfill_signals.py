"""What a backfill keeps when it is told to end, or killed, while answers are in flight."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from support.loopback import Listening, listening
from support.processes import finished, started, wait_for
from support.workspaces import workspace

from exporter.backfill.journal import Journal
from exporter.backfill.plan import account
from exporter.shutdown import LAST_SECONDS

ANSWER: Final = {"total_usage": {"total_chat_responses": 5, "total_voice_minutes": 1.0}}
DAYS: Final = 11
ENTRY: Final[dict[str, Any]] = {"metric": "total_usage", "window": "yesterday"}


class Case:
    """An API whose answers take their time, and a folder."""

    def __init__(self, folder: Path, api: Listening, **others: Any) -> None:  # noqa: ANN401 - keys of the file
        self.api = api
        given = {"base_url": api.url(), "requests_per_minute": 60_000, **others}
        company = {"name": "acme", "api": "seachat", "api_key": "k", "bots": [{"id": "b0"}]}
        file = folder / "seasalt.yml"
        document = {"workspaces": [{**company, "metrics": [ENTRY], **given}]}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        self.folder = folder / "out"
        self.command = [
            *(sys.executable, "-m", "exporter", "backfill", f"--config.file={file}"),
            *("--from=2026-01-10", "--to=2026-01-20", "--step=1d", f"--output={self.folder}"),
        ]
        self.account = account(workspace([ENTRY], base_url=api.url()))

    @property
    def spent(self) -> int:
        """The day's count in the journal."""
        with Journal(self.folder) as journal:
            return journal.standing(self.account).spent


@contextmanager
def answering(seconds: Callable[[int], float]) -> Iterator[Listening]:
    """An API that takes some seconds for an answer, by how many have been asked for."""
    over = threading.Event()

    def answer(_: str) -> tuple[int, object]:
        over.wait(seconds(len(api.asked)))
        return 200, ANSWER

    with listening(answer) as api:
        try:
            yield api
        finally:
            over.set()
            hung = [one for one in threading.enumerate() if "process_request" in one.name]
            for thread in hung:
                thread.join(10)


def test_a_signal_leaves_the_answers_in_flight_the_time_that_they_may_take(tmp_path: Path) -> None:
    slow = [LAST_SECONDS + 1.5]
    with answering(lambda _: slow[0]) as api:
        case = Case(tmp_path, api, timeout="30s")
        with started(case.command) as process:
            wait_for(lambda: len(api.asked) >= 1, "no requests")
            time.sleep(1)
            asked = len(api.asked)
            ended = process.end(30)
        assert ended.status == 1
        assert "interrupted" in ended.stderr
        assert len(api.asked) == asked < DAYS
        assert case.spent == asked
        slow[0] = 0
        assert finished(case.command).status == 0
        assert len(api.asked) == DAYS


def test_answers_that_never_come_end_it_with_a_status_that_says_so(tmp_path: Path) -> None:
    with answering(lambda number: 0 if number <= 2 else 60) as api:
        case = Case(tmp_path, api, timeout="2s", concurrency=1)
        with started(case.command) as process:
            wait_for(lambda: len(api.asked) > 2, "no requests")
            begun = time.monotonic()
            ended = process.end(20)
    assert ended.status == 1
    assert "run the same command again to go on" in ended.stderr
    assert time.monotonic() - begun < 2 + 2 + LAST_SECONDS
    assert case.spent == len(api.asked)


def test_a_kill_leaves_the_days_count_with_the_answers(tmp_path: Path) -> None:
    hanging = [True]
    with answering(lambda number: 60 if hanging[0] and number > 4 else 0) as api:
        case = Case(tmp_path, api, timeout="90s", requests_per_day=8, concurrency=1)
        with started(case.command) as process:
            wait_for(lambda: len(api.asked) > 4, "no requests")
            process.send(signal.SIGKILL)
            process.wait()
        assert case.spent == 4
        hanging[0] = False
        ended = finished(case.command)
        assert "daily request limit reached" in ended.stderr
        # The one in flight at the kill is the only one that nobody has counted.
        assert len(api.asked) == 8 + 1
