"""What the tests hold themselves to: no order, no neighbour, no machine, no Python matters."""

import logging
import os
import re
import signal
import socket
import threading
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml
from support import leftovers, zones
from support.processes import free_port

ROOT: Final = Path(__file__).parents[1]


def thread(stack: ExitStack) -> None:
    over = threading.Event()
    one = threading.Thread(target=over.wait, name="left over")
    one.start()
    stack.callback(one.join)
    stack.callback(over.set)


def listening(stack: ExitStack) -> None:
    stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))


def handler(stack: ExitStack) -> None:
    stack.callback(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def variable(stack: ExitStack) -> None:
    stack.callback(os.environ.pop, "LEFT_OVER")
    os.environ["LEFT_OVER"] = "1"


def log_level(stack: ExitStack) -> None:
    stack.callback(logging.getLogger("exporter").setLevel, logging.getLogger("exporter").level)
    logging.getLogger("exporter").setLevel(logging.ERROR)


def folder(stack: ExitStack) -> None:
    stack.callback(os.chdir, Path.cwd())
    os.chdir("/")


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        (thread, "threads: .*left over"),
        (listening, r"descriptors: socket:\[\d+\]"),
        (handler, "signal handlers: "),
        (variable, "environment: LEFT_OVER"),
        (folder, "working directory: .* became /"),
        (log_level, r"log levels: .* became \[\d+, 40\]"),
    ],
)
def test_what_a_test_leaves_behind_is_told(
    leave: Callable[[ExitStack], None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.05)
    before = leftovers.look()
    assert leftovers.since(before) == []

    with ExitStack() as stack:
        leave(stack)
        (line,) = leftovers.since(before)

    assert re.fullmatch(f"left behind: {told}.*", line)
    assert leftovers.since(before) == []


@pytest.fixture
def _a_machine_without_daylight_saving(tmp_path: Path) -> Iterator[None]:
    """Where every zone's clock stands as UTC's does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zones, "RULES", dict.fromkeys(zones.RULES, "UTC0"))
        zones.write(tmp_path)
    with zones.ours(tmp_path):
        yield


def length(zone: str, year: int, month: int, day: int) -> timedelta:
    place = zoneinfo.ZoneInfo(zone)
    first = datetime(year, month, day, tzinfo=place)
    after = first + timedelta(days=1)
    return timedelta(seconds=after.timestamp() - first.timestamp())


@pytest.mark.usefixtures("_a_machine_without_daylight_saving")
def test_our_zones_hold_whatever_the_machine_says_of_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    written = tmp_path_factory.mktemp("ours")
    zones.write(written)
    assert length("America/Havana", 2026, 11, 1) == timedelta(hours=24)
    with zones.ours(written):
        assert length("America/Havana", 2026, 11, 1) == timedelta(hours=25)
        assert length("Africa/Cairo", 2026, 4, 24) == timedelta(hours=23)
    assert length("America/Havana", 2026, 11, 1) == timedelta(hours=24)


def test_a_free_port_is_none_that_the_kernel_gives_to_somebody_else() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = [free_port() for _ in range(20)]

    assert max(found) < first
    assert len(set(found)) == len(found)


def test_each_python_that_is_promised_is_one_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    jobs = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())["jobs"]

    assert jobs["checks"]["strategy"]["matrix"]["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"


def test_the_order_is_a_random_one(pytestconfig: pytest.Config) -> None:
    if pytestconfig.pluginmanager.is_blocked("randomly"):
        pytest.skip("switched off by hand")
    assert pytestconfig.getoption("randomly_reorganize")
    assert isinstance(pytestconfig.getoption("randomly_seed"), int)


def test_the_other_pythons_run_the_tests_of_every_package() -> None:
    script = (ROOT / "tests/pythons").read_text()
    (named,) = re.findall(r"tests/\{([a-z,]+)\}/test_\*\.py", script)
    packages = {path.parent.name for path in (ROOT / "exporter").glob("*/__init__.py")}
    assert {*named.split(",")} == packages - {"sandbox"}  # whose data take long to make
