"""A Debian in a folder, whose systemd runs in namespaces of its own."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
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


def made(suite: str, folder: Path) -> Path:
    """A root of Debian, kept in the folder.

    Raises:
        Lacking: If it cannot be made.
    """
    root = folder / f"debian-{suite}"
    if (root / "complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PARTS}", suite, str(root)]
    command += filter(None, [os.environ.get("DEBIAN_MIRROR")])  # otherwise debootstrap's own
    done = finished(command, within=_LONGEST)
    if done.status != 0:
        raise Lacking(f"debootstrap: {done.stdout.strip().splitlines()[-1:] or done.stderr}")
    (root / "complete").touch()
    return root


@contextmanager
def booted(suite: str, folder: Path) -> Iterator[Machine]:
    """A machine over a root that stays as it is; afterwards it is gone.

    Raises:
        Lacking: If it cannot be had here.
    """
    lower = made(suite, folder)
    with tempfile.TemporaryDirectory() as name:
        upper, work, merged = (Path(name, part) for part in ("upper", "work", "merged"))
        for each in (upper, work, merged):
            each.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        if (mounted := finished(command)).status != 0:
            raise Lacking(f"no overlay file system: {mounted.stderr.strip()}")
        try:
            with _started(merged) as pid:
                machine = Machine(merged, pid, suite)
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

    wait_for(up, "systemd is not up", 300.0)
