"""Key files on a disk that hangs, and keys that are rotated: the loop waits for neither."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.config import ApiKey
from exporter.errors import RequestFailed
from exporter.upstream import api_key_file
from exporter.upstream.api_key_file import KeyAtHand

FIRST, SECOND = "the-key-before", "the-key-after"


class Disk:
    """Where files are opened, which can hang.

    Attributes:
        opened: How often something was.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = 0
        self._free = threading.Event()
        self._free.set()
        real = os.open

        def slow(*args: object, **others: object) -> int:
            self.opened += 1
            self._free.wait(20)
            return real(*args, **others)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", slow)

    def hang(self, *, on: bool) -> None:
        """Let it hang from now on, or no more."""
        self._free.clear() if on else self._free.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setattr(api_key_file, "PATIENCE", 0.2)
    found = Disk(monkeypatch)
    yield found
    found.hang(on=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "key"
    found.write_text(FIRST, encoding="utf-8")
    return found


def rotate(file: Path, key: str) -> None:
    file.write_text(key, encoding="utf-8")


def gone(file: Path) -> None:
    file.unlink()


async def held_for(what: asyncio.Future[Any]) -> float:
    """The longest that the event loop is held until something is done."""
    worst = 0.0
    while not what.done():
        begun = time.perf_counter()
        await asyncio.sleep(0)
        worst = max(worst, time.perf_counter() - begun)
    await what
    return worst


def test_a_disk_that_hangs_does_not_hold_the_loop_and_the_last_key_is_sent_on(
    disk: Disk, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        key = KeyAtHand(ApiKey(file=file))
        await key.look()
        disk.hang(on=True)
        before = disk.opened
        looks = asyncio.gather(*(key.look() for _ in range(50)))
        assert await held_for(looks) < 0.3
        assert key.read() == FIRST
        for _ in range(50):  # and nobody waits as long again
            begun = time.perf_counter()
            await key.look()
            assert time.perf_counter() - begun < 0.5
        assert disk.opened == before + 1  # nor takes a thread each

        rotate(file, SECOND)
        disk.hang(on=False)
        await asyncio.sleep(0.2)
        await key.look()
        assert key.read() == SECOND

    asyncio.run(go())
    assert len(caplog.records) == 1
    assert FIRST not in str(vars(caplog.records[0]))


def test_where_no_key_was_read_yet_a_disk_that_hangs_is_a_failure_in_words(
    disk: Disk, file: Path
) -> None:
    async def go() -> None:
        key = KeyAtHand(ApiKey(file=file))
        disk.hang(on=True)
        await key.look()
        with pytest.raises(RequestFailed, match="the key file cannot be read in time"):
            key.read()
        disk.hang(on=False)

    asyncio.run(go())


def test_what_was_read_while_the_disk_hung_is_not_taken_for_what_is_there_now(
    disk: Disk, file: Path
) -> None:
    async def go() -> None:
        key = KeyAtHand(ApiKey(file=file))
        await key.look()
        disk.hang(on=True)
        await key.look()
        disk.hang(on=False)
        await asyncio.sleep(0.3)  # the look has ended, and found the old one
        rotate(file, SECOND)
        await key.look()
        assert key.read() == SECOND

    asyncio.run(go())


def test_a_rotated_key_is_there_with_the_next_look_and_a_missing_file_is_no_key(
    disk: Disk, file: Path
) -> None:
    async def go() -> None:
        key = KeyAtHand(ApiKey(file=file))
        for number in range(20):
            rotate(file, f"sk-{number}")
            await key.look()
            assert key.read() == f"sk-{number}"
        assert disk.opened >= 20
        gone(file)
        await key.look()
        with pytest.raises(RequestFailed, match="cannot be read: No such file"):
            key.read()

    asyncio.run(go())


def test_where_no_thread_can_be_started_the_last_key_is_sent_on(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        key = KeyAtHand(ApiKey(file=file))
        await key.look()

        async def none(*_: object) -> object:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(asyncio, "to_thread", none)
        await key.look()
        assert key.read() == FIRST

    asyncio.run(go())
