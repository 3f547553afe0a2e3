"""The state file on a real disk: whole or not there, one owner, and never in the way."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from support.polled import told
from support.states import real, unpacked
from support.virtual import START, World

from exporter.errors import StartError
from exporter.metrics.telemetry import Telemetry
from exporter.state.encoding import LARGEST, Encoder, State, encoded
from exporter.state.file import LONGEST_WAIT, WRITE_EVERY, StateFile

KILLS: Final = int(os.environ.get("SEASALT_TEST_KILLS", "30"))
"""How often the writer is killed; a long run sets more."""


class Kept:
    """A state file, and what is said of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "seasalt.state"
        self.telemetry = Telemetry()
        self.file = StateFile(self.path, self.telemetry, lambda: START)

    def read(self) -> State:
        """What a new process finds."""
        with self.file as file:
            return file.read()

    def own(self, family: str) -> float:
        """The value of a family of the exporter's own."""
        return told(self.telemetry, family)

    @property
    def files(self) -> set[str]:
        """What is in the folder."""
        return {path.name for path in self.path.parent.iterdir()}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_what_is_written_is_read_again_by_its_owner_alone(kept: Kept) -> None:
    with kept.file as file:
        file.write(real())
        assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
        assert kept.files == {"seasalt.state", "seasalt.state.lock"}
    assert Kept(kept.path.parent).read() == real()


def test_a_mode_that_was_wider_is_narrowed(kept: Kept) -> None:
    kept.path.write_bytes(encoded(State()))
    kept.path.chmod(0o644)
    with kept.file as file:
        file.write(real())
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_a_file_that_is_not_there_yet_is_an_empty_state(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.read() == State()
    assert caplog.records == []


def _owned_by_another(path: Path) -> None:
    path.write_bytes(encoded(real()))
    os.chown(path, 12345, 12345)


def _too_large(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(LARGEST + 1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(encoded(real())[:-1]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is no state file"),
        (lambda path: path.write_bytes(b"\0" * 100_000), "is no state file"),
        (_too_large, "is too large"),
        (_owned_by_another, "is another user's"),
    ],
    ids=["cut", "empty", "zeros", "too large", "another user's"],
)
def test_a_file_that_cannot_be_believed_is_put_aside_and_told(
    kept: Kept, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], says: str
) -> None:
    if "another" in says and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    spoil(kept.path)

    assert kept.read() == State()

    assert kept.files == {"seasalt.state.lock", "seasalt.state.corrupt"}
    assert [vars(record)["reason"] for record in caplog.records] == [says]
    assert kept.own("seasalt_exporter_state_quarantined_total") == 1


def test_only_the_last_damaged_file_is_kept(kept: Kept) -> None:
    for content in (b"one", b"two"):
        kept.path.write_bytes(content)
        assert kept.read() == State()
    assert (kept.path.with_name("seasalt.state.corrupt")).read_bytes() == b"two"


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("elsewhere"),
    ],
    ids=["folder", "pipe", "link"],
)
def test_what_is_no_file_at_all_is_a_mistake_and_is_left_alone(
    kept: Kept, make: Callable[[Path], object]
) -> None:
    make(kept.path)
    before = kept.path.lstat()

    with pytest.raises(StartError, match="must be a regular file") as caught:
        kept.read()

    assert str(kept.path) in str(caught.value)
    assert kept.path.lstat() == before
    assert kept.files == {"seasalt.state"}  # nor is a lock left beside it


def test_two_processes_never_use_one_file(kept: Kept) -> None:
    with kept.file, pytest.raises(StartError, match="another process uses it") as caught:
        Kept(kept.path.parent).read()
    assert str(kept.path) in str(caught.value)
    assert Kept(kept.path.parent).read() == State()  # afterwards it is free


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away and is somebody else")
def test_a_lock_that_another_user_has_left_is_told_with_its_name_and_what_to_do() -> None:
    program = """
import logging, os, sys
from datetime import datetime, UTC
from pathlib import Path
sys.path[:0] = {path!r}
from exporter.state.encoding import State
from exporter.state.file import StateFile
from exporter.metrics.telemetry import Telemetry
os.setgroups([]); os.setgid(54321); os.setuid(54321)
logging.basicConfig(handlers=[handler := logging.Handler()])
handler.emit = lambda record: print(record.file, record.reason)
with StateFile(Path(sys.argv[1]), Telemetry(), lambda: datetime.now(UTC)) as file:
    file.read()
"""
    with tempfile.TemporaryDirectory() as name:  # one that others may enter
        folder = Path(name)
        folder.chmod(0o777)
        lock = folder / "seasalt.state.lock"
        lock.touch(0o600)
        os.chown(lock, 12345, 12345)
        command = [sys.executable, "-c", program.format(path=sys.path), f"{folder}/seasalt.state"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == (
        f"{lock} cannot be locked: Permission denied;"
        " it belongs to user 12345, and this is user 54321: remove the file\n"
    )


def test_a_state_that_nobody_would_read_again_is_not_written_and_the_one_before_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = State(real().memories)
    most = len(unpacked(encoded(before)))
    limited = Encoder(most).encoded
    monkeypatch.setattr(Encoder, "encoded", lambda _, state: limited(state))

    async def go() -> None:
        with kept.file as file:
            await file.keep(before)
            for _ in range(3):
                await file.keep(real())
            assert file.read() == before

    asyncio.run(go())
    assert kept.own("seasalt_exporter_state_last_write_successful") == 0
    assert kept.own("seasalt_exporter_state_write_failures_total") == 3
    (record,) = caplog.records
    assert "not written, as it is larger than" in vars(record)["reason"]
    assert kept.files == {"seasalt.state", "seasalt.state.lock"}


def test_an_error_of_our_own_while_it_is_written_ends_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(*_: object) -> bytes:
        raise RecursionError

    monkeypatch.setattr(Encoder, "encoded", harm)

    async def go() -> None:
        with kept.file as file:
            for _ in range(3):
                await file.keep(real())

    asyncio.run(go())
    assert kept.own("seasalt_exporter_state_write_failures_total") == 3
    assert kept.own('seasalt_exporter_bugs_total{where="state"}') == 1  # told once


def test_a_folder_that_cannot_be_written_is_told_once_and_used_once_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file in the place of the folder", encoding="utf-8")
    kept = Kept(folder)

    async def go() -> None:
        with kept.file as file:
            assert file.read() == State()
            for _ in range(5):
                await file.keep(real())
            assert kept.own("seasalt_exporter_state_last_write_successful") == 0
            assert kept.own("seasalt_exporter_state_write_failures_total") == 5
            folder.unlink()
            folder.mkdir()
            await file.keep(real())
            assert kept.own("seasalt_exporter_state_last_write_successful") == 1
            assert kept.own(
                "seasalt_exporter_state_last_write_success_timestamp_seconds"
            ) == pytest.approx(START.timestamp())

    asyncio.run(go())
    assert Kept(folder).read() == real()
    assert len(caplog.records) <= 3


FULL: Final = """
import asyncio, random, sys
from pathlib import Path
sys.path[:0] = {path!r}
from exporter.state.encoding import State
from exporter.state.workspace_memory import Memory, Origin
from exporter.state.file import StateFile
from exporter.metrics.telemetry import Telemetry
from datetime import datetime, UTC

small = State((Memory(Origin("seachat", "acme")),))
large = State(tuple(Memory(Origin("seachat", random.randbytes(50).hex())) for _ in range(400)))
path = Path(sys.argv[1], "seasalt.state")

async def go():
    with StateFile(path, Telemetry(), lambda: datetime.now(UTC)) as file:
        await file.keep(small)
        await file.keep(large)
        assert file.read() == small, "the state before is lost"
    print(sorted(one.name for one in path.parent.iterdir()))

asyncio.run(go())
"""


def test_a_full_disk_costs_the_new_state_and_not_the_old_one(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=16k none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    command = ["unshare", "-m", "sh", "-c", mount, sys.executable, FULL.format(path=sys.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip("no mount of our own here")
    assert done.stdout.strip() == "['seasalt.state', 'seasalt.state.lock']", done.stderr


WRITERS: Final = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from exporter.state.encoding import decoded
from exporter.state.file import StateFile
from exporter.metrics.telemetry import Telemetry
from datetime import datetime, UTC

path = Path(sys.argv[1])
state = decoded(path.read_bytes())
for _ in sys.stdin:  # a line for each writer
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    with StateFile(path, Telemetry(), lambda: datetime.now(UTC)) as file:
        print(os.getpid(), flush=True)
        while True:
            file.write(state)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    kept, state = Kept(tmp_path), real()
    with kept.file as file:
        file.write(state)
    command = [sys.executable, "-c", WRITERS.format(path=sys.path), str(kept.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writers:
        assert writers.stdin
        assert writers.stdout
        for kill in range(KILLS):
            print(file=writers.stdin, flush=True)
            writer = int(writers.stdout.readline())
            time.sleep((kill % 20) * 0.0004)  # somewhere in one of its writes
            os.kill(writer, signal.SIGKILL)
            assert kept.path.read_bytes() == encoded(state)
        writers.stdin.close()
    assert kept.read() == state
    with kept.file as file:
        file.write(state)
    assert kept.files == {"seasalt.state", "seasalt.state.lock"}


class Writes:
    """A state file whose writes are counted, not made."""

    def __init__(self, tmp_path: Path) -> None:
        self.world = World()
        self.at: list[float] = []
        self.pressing = 0

        class Counted(StateFile):
            async def keep(one, _: State) -> None:  # noqa: N805 - self is the outer one
                self.at.append(asyncio.get_running_loop().time())
                one._changed = False

        self.file = Counted(tmp_path / "state", Telemetry(), self.world.now)

    def during(self, *steps: tuple[float, Callable[[], None]]) -> list[float]:
        """When something was written, in seconds, if this happens at those times."""

        async def go() -> None:
            task = asyncio.ensure_future(self.file.run(State, lambda: self.pressing))
            loop = asyncio.get_running_loop()
            for at, step in steps:
                await asyncio.sleep(at - loop.time())
                step()
            await asyncio.sleep(timedelta(hours=1).total_seconds())
            task.cancel()

        self.world.run(go)
        return self.at

    def press(self) -> None:
        """Let there be something that must not be forgotten."""
        self.pressing += 1


def test_whoever_waits_for_it_to_be_written_waits_for_a_write_that_began_later(
    tmp_path: Path,
) -> None:
    writes = Writes(tmp_path)
    waited: list[float] = []

    async def wait() -> None:
        await writes.file.noted()
        waited.append(asyncio.get_running_loop().time())

    tasks: list[asyncio.Task[None]] = []

    def one_more() -> None:
        tasks.append(asyncio.ensure_future(wait()))

    at = writes.during((10.5, one_more), (10.6, one_more), (11.2, one_more))

    assert at == pytest.approx([11, 12], abs=0.1)  # those that wait together, together
    assert waited == [at[0], at[0], at[1]]


def test_nobody_waits_for_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file in the place of the folder", encoding="utf-8")

    async def go() -> None:
        with Kept(folder).file as file:
            task = asyncio.ensure_future(file.run(real, lambda: 0))
            await asyncio.wait_for(file.noted(), 30)
            task.cancel()

    asyncio.run(go())


def test_nobody_waits_for_ever_for_a_disk_that_hangs(tmp_path: Path) -> None:
    class Hanging(StateFile):
        async def keep(self, _: State) -> None:
            await asyncio.Event().wait()

    async def go() -> None:
        task = asyncio.ensure_future(file.run(State, lambda: 0))
        await asyncio.wait_for(file.noted(), LONGEST_WAIT + 1)
        task.cancel()

    world = World()
    file = Hanging(tmp_path / "state", Telemetry(), world.now)
    world.run(go)


def test_the_first_change_is_written_soon_and_the_next_ones_now_and_then(tmp_path: Path) -> None:
    writes = Writes(tmp_path)
    change = writes.file.changed
    at = writes.during(*((second + 0.5, change) for second in range(10, 100)))

    assert at[0] == pytest.approx(11, abs=0.6)
    assert [round(two - one) for one, two in pairwise(at)] == [WRITE_EVERY] * 3


def test_nothing_new_is_nothing_written(tmp_path: Path) -> None:
    assert Writes(tmp_path).during() == []


def test_what_must_not_be_forgotten_is_written_at_once(tmp_path: Path) -> None:
    writes = Writes(tmp_path)
    at = writes.during((10.5, writes.file.changed), (12.5, writes.press), (13.7, writes.press))

    assert at == pytest.approx([11, 13, 14], abs=0.6)
