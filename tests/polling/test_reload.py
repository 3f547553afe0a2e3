"""Reading the configuration again: when, how often, and what a bad one does."""

import asyncio
import logging
import signal
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.virtual import START

from exporter.config import Config
from exporter.errors import ConfigError, Ending, Mistake, StartError
from exporter.metrics.telemetry import Telemetry
from exporter.polling.reload import Reloader, Source

GOOD = Config(())
BAD = ConfigError([Mistake("a.yml", 2, "x", "is wrong"), Mistake("a.yml", 1, "y", "is too")])


@pytest.fixture(autouse=True)
def _signals_are_as_before() -> Iterator[None]:
    """Whoever is asked to reload by a signal listens to it for good, as a process does."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


class Files:
    """A configuration that can be spoilt.

    Attributes:
        error: What reading it says.
        refusal: What adopting it says.
    """

    def __init__(self, *files: str) -> None:
        self.telemetry = Telemetry()
        self.adopted: list[Config] = []
        self.threads: list[int] = []
        self.error: Exception | None = None
        self.refusal: Exception | None = None
        self.reloader = Reloader(
            Source(self.read, files), self.adopt, self.telemetry, lambda: START
        )

    def read(self) -> Config:
        """The configuration, unless it is spoilt."""
        self.threads.append(threading.get_ident())
        if self.error:
            raise self.error
        return GOOD

    async def adopt(self, config: Config) -> None:
        """Put it in force, unless that is refused."""
        await asyncio.sleep(0)
        if self.refusal:
            raise self.refusal
        self.adopted.append(config)

    @property
    def successful(self) -> bool:
        """What the page says of the last reading."""
        page = self.telemetry.text(openmetrics=False)
        return b"seasalt_exporter_config_last_reload_successful 1.0" in page


def run(what: Callable[[Files], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(what(Files()))


def test_a_good_file_is_put_in_force_and_told_so() -> None:
    async def go(files: Files) -> None:
        assert await files.reloader.reload() == ""
        assert files.adopted == [GOOD]
        assert files.successful

    run(go)


@pytest.mark.parametrize("where", ["error", "refusal"])
def test_a_bad_one_changes_nothing_and_says_why(where: str) -> None:
    async def go(files: Files) -> None:
        await files.reloader.reload()
        setattr(files, where, BAD if where == "error" else StartError("its certificates"))
        says = await files.reloader.reload()
        assert says == (
            "a.yml:1: y: is too\na.yml:2: x: is wrong" if where == "error" else "its certificates"
        )
        assert files.adopted == [GOOD]
        assert not files.successful
        setattr(files, where, None)
        assert await files.reloader.reload() == ""
        assert files.successful

    run(go)


def test_an_end_that_overtakes_a_reload_is_no_mistake_of_the_configuration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def go(files: Files) -> None:
        await files.reloader.reload()
        files.refusal = Ending("the exporter is ending")
        assert await files.reloader.reload() == "the exporter is ending"
        assert files.successful

    run(go)
    assert "configuration rejected" not in caplog.text


@pytest.mark.parametrize("where", ["error", "refusal"])
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("canary"), OverflowError("canary"), MemoryError(), KeyError("x")]
)
def test_whatever_a_reload_leads_to_is_refused_told_as_a_bug_counted_and_ends_nothing(
    where: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def go(files: Files) -> None:
        await files.reloader.reload()
        setattr(files, where, error)
        task = asyncio.ensure_future(files.reloader.run())
        files.reloader.ask()
        async with asyncio.timeout(10):
            while b'bugs_total{where="reload"} 1.0' not in files.telemetry.text(openmetrics=False):
                await asyncio.sleep(0.001)
        assert not files.successful
        says = await files.reloader.reload()
        assert "bug" in says
        assert "canary" not in says
        assert files.adopted == [GOOD]
        page = files.telemetry.text(openmetrics=False)
        assert b'seasalt_exporter_bugs_total{where="reload"} 2.0' in page
        setattr(files, where, None)
        assert await files.reloader.reload() == ""
        page = files.telemetry.text(openmetrics=False)
        assert b"seasalt_exporter_config_last_reload_successful 1.0" in page
        task.cancel()

    caplog.set_level(logging.INFO)
    run(go)
    assert {record.levelname for record in caplog.records} == {"INFO", "CRITICAL"}
    # One logger for what is one matter, so that the log folds no change away.
    assert {record.name for record in caplog.records} == {"exporter.polling.reload"}


def test_every_mistake_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def go(files: Files) -> None:
        files.error = BAD
        await files.reloader.reload()

    run(go)
    assert [vars(record)["reason"] for record in caplog.records] == [
        "a.yml:1: y: is too",
        "a.yml:2: x: is wrong",
    ]


def test_a_long_file_is_not_read_on_the_loop() -> None:
    async def go(files: Files) -> None:
        await files.reloader.reload()
        assert threading.get_ident() not in files.threads

    run(go)


def test_asking_a_hundred_times_at_once_reads_it_once_or_twice() -> None:
    async def go(files: Files) -> None:
        task = asyncio.ensure_future(files.reloader.run())
        for _ in range(100):
            files.reloader.ask()
        while not files.adopted:
            await asyncio.sleep(0.001)
        for _ in range(100):
            files.reloader.ask()
        while len(files.adopted) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        task.cancel()
        assert len(files.adopted) == 2

    run(go)


def test_reloads_never_overlap() -> None:
    async def go(files: Files) -> None:
        under_way = most = 0

        async def adopt(_: Config) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

        reloader = Reloader(Source(files.read, []), adopt, files.telemetry, lambda: START)
        await asyncio.gather(*(reloader.reload() for _ in range(5)))
        assert most == 1

    run(go)


class Followed:
    """A file that is looked at as often as the test says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seasalt.yml"
        self.write("one")
        self.files = Files(str(self.file))
        self._looks = asyncio.Semaphore(0)
        self._rests = asyncio.Event()

    def write(self, text: str) -> None:
        """Let the file be another."""
        self.file.write_text(text, encoding="utf-8")

    async def pause(self) -> None:
        """Wait for the next look."""
        self._rests.set()
        await self._looks.acquire()

    async def look(self) -> int:
        """Look once more; how often the file was put in force until now."""
        await self._rests.wait()
        self._rests.clear()
        self._looks.release()
        await self._rests.wait()
        return len(self.files.adopted)


def follow(folder: Path, what: Callable[[Followed], Awaitable[None]]) -> None:
    """Let something happen to a file that is followed, and was looked at once."""

    async def go() -> None:
        followed = Followed(folder)
        task = asyncio.ensure_future(followed.files.reloader.follow(followed.pause))
        assert await followed.look() == 0
        await what(followed)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_a_changed_file_is_taken_up_once_it_rests(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        for text in ("t", "tw", "two"):
            followed.write(text)
            assert await followed.look() == 0  # it may still be being written
        assert [await followed.look() for _ in range(2)] == [1, 1]

    follow(tmp_path, go)


def test_a_file_that_was_touched_or_set_back_is_no_change(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        followed.file.touch()
        assert await followed.look() == 0
        followed.write("two")
        assert await followed.look() == 0
        followed.write("one")
        assert [await followed.look() for _ in range(2)] == [0, 0]

    follow(tmp_path, go)


def test_a_file_that_vanishes_is_told_once_and_taken_up_when_it_is_back(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        followed.files.error = BAD
        followed.file.unlink()
        for _ in range(3):
            assert await followed.look() == 0
        assert len(followed.files.threads) == 1
        followed.files.error = None
        followed.write("two")
        await followed.look()
        assert await followed.look() == 1

    follow(tmp_path, go)


def test_what_a_signal_has_had_read_is_not_read_again(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        followed.write("two")
        await followed.files.reloader.reload()
        assert [await followed.look() for _ in range(3)] == [1, 1, 1]
        followed.write("three")
        assert [await followed.look() for _ in range(3)] == [1, 2, 2]

    follow(tmp_path, go)


def test_a_change_while_a_signal_has_it_read_is_taken_up(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        followed.write("two")
        read = followed.files.read

        def late() -> Config:
            found = read()
            followed.write("three")
            followed.files.reloader._source.read = read  # noqa: SLF001 - just once
            return found

        followed.files.reloader._source.read = late  # noqa: SLF001
        await followed.files.reloader.reload()
        assert [await followed.look() for _ in range(3)] == [1, 2, 2]

    follow(tmp_path, go)


def test_what_is_set_back_while_it_is_read_does_not_stay_in_force(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"

    def put(text: str) -> None:
        (tmp_path / "new").write_text(text, encoding="utf-8")
        (tmp_path / "new").replace(file)

    put("A")
    read: list[str] = []

    def reading() -> Config:
        if not read:
            put("B")
        read.append(file.read_text(encoding="utf-8"))
        if len(read) == 1:
            put("A")
        return GOOD

    async def go(files: Files) -> None:
        source = Source(reading, [str(file)])
        reloader = Reloader(source, files.adopt, files.telemetry, lambda: START)
        await reloader.reload()
        looks = iter(range(5))

        async def pause() -> None:
            if next(looks, None) is None:
                raise EOFError

        with pytest.raises(EOFError):
            await reloader.follow(pause)

    run(go)
    assert read == ["B", "A"]


def test_a_file_of_2_gib_is_looked_at_in_no_time_and_memory(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    with file.open("wb") as stream:
        stream.truncate(2 * 1024**3)
    source = Source(lambda: GOOD, [str(file)])
    begun = time.process_time()
    tracemalloc.start()
    for _ in range(10):
        assert source.content() == [b""]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert time.process_time() - begun < 1


def test_files_are_followed_through_a_link_that_is_pointed_elsewhere(tmp_path: Path) -> None:
    async def go(followed: Followed) -> None:
        other = tmp_path / "..data"
        other.write_text("two", encoding="utf-8")
        followed.file.unlink()
        followed.file.symlink_to(other)
        await followed.look()
        assert await followed.look() == 1

    follow(tmp_path, go)


def test_a_change_while_the_process_starts_is_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text("one", encoding="utf-8")
    files = Files(str(file))
    file.write_text("two", encoding="utf-8")

    looks = iter(range(2))

    async def pause() -> None:
        if next(looks, None) is None:
            raise EOFError

    with pytest.raises(EOFError):
        asyncio.run(files.reloader.follow(pause))
    assert files.adopted == [GOOD]


def test_a_signal_while_the_process_starts_is_heard() -> None:
    files = Files()
    signal.raise_signal(signal.SIGHUP)

    async def go() -> None:
        task = asyncio.ensure_future(files.reloader.run())
        while not files.adopted:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(go())
