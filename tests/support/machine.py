"""A Debian in a folder, whose systemd runs in namespaces of its own."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.processes import Ended, finished, wait_for

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = "systemd,systemd-sysv,dbus,python3,ca-certificates,init-system-helpers,rpm"
_CONTROL: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_LONGEST: Final = 900.0


class Lacking(Exception):
    """Something that this machine does not have; the text says what."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A running one.

    Attributes:
        root: Its folder, seen from outside.
        pid: The number of its systemd.
        suite: Debian's word for its version.
    """

    root: Path
    pid: int
    suite: str

    def tried(self, *command: str, within: float = _LONGEST) -> Ended:
        """Run a command in it."""
        entered = ("nsenter", f"--target={self.pid}", "--all", "--root", "env", "-C", "/")
        return finished([*entered, *command], {"DEBIAN_FRONTEND": "noninteractive"}, b"", within)

    def online(self, *command: str, within: float = _LONGEST) -> str:
        """What a command prints that sees the files and processes in it, and this machine's network.

        Raises:
            AssertionError: If it fails.
        """
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root")
        entered = ("nsenter", f"--target={self.pid}", *spaces, "env", "-C", "/")
        return succeeded([*entered, *command], within)

    def run(self, *command: str, within: float = _LONGEST) -> str:
        """What a command prints.

        Raises:
            AssertionError: If it fails.
        """
        done = self.tried(*command, within=within)
        assert done.status == 0, f"{' '.join(command)}: {done.status}\n{done.stdout}{done.stderr}"
        return done.stdout

    def shown(self, name: str, unit: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def file(self, path: str) -> Path:
        """A file in it, seen from outside; not one below /run or /tmp."""
        return self.root / path.lstrip("/")


def unavailable() -> str:
    """Why no machine can be had here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("debootstrap", "unshare", "nsenter", "ip"):
        if not shutil.which(program):
            return f"needs {program}"
    return "" if _CONTROL.exists() or _hybrid() else "needs cgroup v2"


def _hybrid() -> bool:
    return "cgroup2" in Path("/proc/mounts").read_text(encoding="utf-8")


def succeeded(command: Sequence[str], within: float = _LONGEST) -> str:
    """What a command prints.

    Raises:
        AssertionError: If it fails.
    """
    done = finished(command, {"DEBIAN_FRONTEND": "noninteractive"}, within=within)
    assert done.status == 0, f"{' '.join(command)}: {done.status}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of root.

    Attributes:
        suite: Debian's word for its version.
        name: What tells it from other roots of the suite; empty for one with systemd alone.
        parts: The packages that debootstrap puts into it.
        more: The packages that its own apt adds, which chooses better where there is a choice.
    """

    suite: str
    name: str = ""
    parts: str = PARTS
    more: tuple[str, ...] = ()


def made(kind: Kind, folder: Path) -> Path:
    """A root of Debian, kept in the folder.

    Raises:
        Lacking: If it cannot be made.
    """
    root = folder / f"debian-{kind.suite}{kind.name and f'-{kind.name}'}"
    if (root / "complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={kind.parts}", kind.suite, str(root)]
    command += filter(None, [os.environ.get("DEBIAN_MIRROR")])  # otherwise debootstrap's own
    done = finished(command, within=_LONGEST)
    if done.status != 0:
        raise Lacking(f"debootstrap: {done.stdout.strip().splitlines()[-1:] or done.stderr}")
    if kind.more:
        # A mirror may be a copy of an earlier day.
        apt = ("chroot", str(root), "apt-get", "-q", "-o", "Acquire::Check-Valid-Until=false")
        try:
            succeeded([*apt, "update"])
            succeeded([*apt, "install", "--yes", "--no-install-recommends", *kind.more])
            succeeded([*apt, "clean"])
        except AssertionError as error:
            raise Lacking(f"apt-get: {str(error).splitlines()[-1]}") from None
    (root / "complete").touch()
    return root


@contextmanager
def booted(kind: Kind, folder: Path, apart: Sequence[str] = ()) -> Iterator[Machine]:
    """A machine over a root that stays as it is; afterwards it is gone.

    Args:
        kind: Of the root.
        folder: Where roots are kept.
        apart: Folders in it that are no overlay, for who makes overlays of his own.

    Raises:
        Lacking: If it cannot be had here.
    """
    lower = made(kind, folder)
    with tempfile.TemporaryDirectory() as name:
        upper, work, merged = (Path(name, part) for part in ("upper", "work", "merged"))
        for each in (upper, work, merged):
            each.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        if (mounted := finished(command)).status != 0:
            raise Lacking(f"no overlay file system: {mounted.stderr.strip()}")
        try:
            for number, path in enumerate(apart):
                plain, place = Path(name, f"apart-{number}"), merged / path.lstrip("/")
                plain.mkdir()
                place.mkdir(parents=True, exist_ok=True)
                succeeded(["mount", "--bind", str(plain), str(place)])
            with _started(merged) as pid:
                machine = Machine(merged, pid, kind.suite)
                _wait_until_up(machine)
                yield machine
        finally:
            finished(["umount", "--lazy", str(merged)])


@contextmanager
def _started(root: Path) -> Iterator[int]:
    """The number of the systemd of a root, while it runs."""
    with (root.parent / "console").open("wb") as console:
        process = subprocess.Popen(
            [str(ROOT / "tests/support/boot-systemd"), str(root)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            yield int(wait_for(lambda: children.read_text().split()[:1], "nothing boots")[0])
        finally:
            process.kill()  # and with it, as unshare is asked to, all of the machine
            process.wait()
            time.sleep(0.5)


def _wait_until_up(machine: Machine) -> None:
    def up() -> bool:
        state = ""
        with suppress(subprocess.TimeoutExpired):
            state = machine.tried("systemctl", "is-system-running", within=20).stdout.strip()
        return state in {"running", "degraded"}

    def waits() -> str:
        return machine.tried("systemctl", "list-jobs", "--no-pager").stdout

    wait_for(up, "systemd is not up", 300.0, waits)
