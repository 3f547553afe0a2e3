"""Files that somebody else writes: bounded, never waited for, and no change of one is missed."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import files
from exporter.files import Followed, Unfit, read, reason

LATER = 10**10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "file"
    found.write_bytes(b"one")
    return found


def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was written a moment ago be old."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + LATER)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each reading asks for from now on."""
    asked: list[int] = []
    real = os.read

    def counted(descriptor: int, size: int) -> bytes:
        asked.append(size)
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", counted)
    return asked


def test_a_file_of_2_gib_is_refused_without_reading_any_of_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(file, 2 * 1024**3)
    asked = reads(monkeypatch)

    with pytest.raises(Unfit, match="larger than 1000 bytes"):
        read(file, 1000)
    assert Followed(file, 1000).digest() == b""
    assert asked == []


def test_a_file_that_grows_while_it_is_read_is_read_no_further_than_its_bound(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def growing(descriptor: int, size: int) -> bytes:
        with file.open("ab") as stream:
            stream.write(b"x" * 600)
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    with pytest.raises(Unfit, match="larger than 1000 bytes"):
        read(file, 1000)


def test_a_file_of_just_its_bound_is_read(file: Path) -> None:
    assert read(file, 3) == b"one"


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "folder", "device"],
)
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    odd = tmp_path / "odd"
    make(odd)

    with pytest.raises(Unfit) as caught:
        read(odd, 1000)
    assert reason(caught.value) == "must be a regular file"


def test_a_file_that_is_swapped_for_a_pipe_when_it_is_opened_is_not_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def swapped(path: Path, flags: int) -> int:
        file.unlink()
        os.mkfifo(file)
        return real(path, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(Unfit):
        read(file, 1000)


def test_a_change_between_stamp_and_reading_or_after_it_is_seen_by_the_next_look(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(monkeypatch)
    followed, real = Followed(file, 1000), os.read
    changes = iter([b"two", b"three"])

    def late(descriptor: int, size: int) -> bytes:
        found = real(descriptor, size)
        if found and (change := next(changes, b"")):
            other = file.with_name("other")
            other.write_bytes(change)
            other.replace(file)
        return found

    monkeypatch.setattr(os, "read", late)
    assert followed.read() == b"one"
    assert followed.changed()  # two
    assert followed.changed()  # three
    assert not followed.changed()


def test_two_writes_within_a_tick_of_the_clock_are_two_changes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second leaves size and times as the first did, where the disk's clock is a coarse one."""
    monkeypatch.setattr(files, "_stamp", lambda status: (status.st_ino, status.st_size))
    followed = Followed(file, 1000)
    for number in range(50):
        file.write_bytes(b"%03d" % number)
        assert followed.read() == b"%03d" % number
        file.write_bytes(b"x%02d" % number)
        assert followed.changed()


def test_a_file_that_rests_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(monkeypatch)
    followed = Followed(file, 1000)
    followed.read()
    asked = reads(monkeypatch)
    assert not followed.changed()
    assert asked == []


def test_the_same_content_in_another_file_is_no_change(file: Path) -> None:
    followed = Followed(file, 1000)
    followed.read()
    other = file.with_name("other")
    other.write_bytes(b"one")
    other.replace(file)
    assert not followed.changed()


def test_a_file_that_goes_and_comes_back_has_changed_twice(file: Path) -> None:
    followed = Followed(file, 1000)
    followed.read()
    file.unlink()
    assert followed.changed()
    assert not followed.changed()
    file.write_bytes(b"one")
    assert followed.changed()
