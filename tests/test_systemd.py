"""What systemd is told, over a real socket: by the notifier alone, and by the program as it is shipped."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from e2e.programs import LISTENING, LOOPBACK, SMALL
from support.processes import answered, get, started, wait_for

from exporter import systemd
from exporter.systemd import Notifier

Tell = Callable[[Notifier], Coroutine[Any, Any, None]]
USEC: Final = 1_000_000


class Manager:
    """The end of the socket that is systemd's.

    Attributes:
        environment: What a service gets from it.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(0)
        self.environment = {"NOTIFY_SOCKET": address}
        self.heard: list[dict[str, str]] = []

    def hear(self) -> list[dict[str, str]]:
        """All messages so far, each as its assignments."""
        while True:
            try:
                message = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in message.splitlines()))

    def first(self, name: str, after: int = 0) -> int:
        """The place of the first message that assigns a name, as soon as there is one."""

        def look() -> int | None:
            places = (number for number, each in enumerate(self.hear()) if name in each)
            return next((place + 1 for place in places if place >= after), None)

        return wait_for(look, f"no {name}", more=lambda: self.heard) - 1


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    with closing(made.socket):
        yield made


def told(environment: Mapping[str, str], *words: Tell, at: int = 0) -> None:
    """Tell a manager something, one word after the other."""

    async def all_of_it() -> None:
        async with asyncio.timeout(20):
            await one_by_one()

    async def one_by_one() -> None:
        with Notifier(environment, lambda: at) as notifier:
            for word in words:
                await word(notifier)

    asyncio.run(all_of_it())


# The notifier.


def test_it_says_when_it_is_ready_and_when_it_stops(manager: Manager) -> None:
    told(manager.environment, Notifier.started, Notifier.stopping)
    assert manager.hear() == [{"READY": "1"}, {"STOPPING": "1"}]


def test_a_reload_tells_its_time_in_microseconds_and_ends_ready(manager: Manager) -> None:
    told(
        *(manager.environment, Notifier.started, Notifier.reloading),
        lambda notifier: notifier.reloaded(successful=True),
        at=1_234_567_890,
    )
    _, begin, end = manager.hear()
    assert begin == {"RELOADING": "1", "MONOTONIC_USEC": "1234567"}
    assert end == {"READY": "1", "STATUS": ""}


def test_a_failed_reload_shows_in_the_status(manager: Manager) -> None:
    told(
        *(manager.environment, Notifier.started, Notifier.reloading),
        lambda notifier: notifier.reloaded(successful=False),
    )
    assert manager.hear()[-1]["READY"] == "1"
    assert "rejected" in manager.hear()[-1]["STATUS"]


def test_a_reload_during_the_start_does_not_say_that_the_start_is_over(manager: Manager) -> None:
    told(
        *(manager.environment, Notifier.reloading),
        lambda notifier: notifier.reloaded(successful=True),
    )
    assert manager.hear() == []


def test_an_abstract_address_is_reached() -> None:
    with closing(Manager(f"@seasalt-{os.getpid()}").socket) as listening:
        told({"NOTIFY_SOCKET": f"@seasalt-{os.getpid()}"}, Notifier.started)
        assert listening.recv(99) == b"READY=1"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/nobody/is/here", "No such file or directory"),
        ("vsock:2:1234", "must be a Unix socket"),
        ("notify", "must be a Unix socket"),
        ("/" + "x" * 200, "OSError"),
    ],
)
def test_a_manager_that_cannot_be_reached_is_one_warning_and_no_failure(
    address: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    told({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, Notifier.started, Notifier.keep_alive)
    (record,) = caplog.records
    assert said in vars(record)["reason"]


def test_without_a_manager_nothing_is_opened_and_nothing_said() -> None:
    told({"WATCHDOG_USEC": "1000"}, Notifier.started, Notifier.keep_alive, Notifier.stopping)


def test_a_manager_that_is_gone_is_one_warning_and_no_failure(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave(_: Notifier) -> None:
        manager.socket.close()

    told(manager.environment, Notifier.started, leave, Notifier.stopping, Notifier.stopping)
    (record,) = caplog.records
    assert vars(record)["reason"] == "Connection refused"


def test_a_manager_that_does_not_read_never_blocks_the_event_loop(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(systemd, "PATIENCE", 0.3)
    longest = 0.0

    async def watch_the_loop() -> None:
        nonlocal longest
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - begun)

    async def fill(notifier: Notifier) -> None:
        watching = asyncio.ensure_future(watch_the_loop())
        while not caplog.records:  # until the socket's queue is full
            await notifier.stopping()
        watching.cancel()

    told(manager.environment, fill)
    assert vars(caplog.records[0])["reason"] == "TimeoutError"
    assert len(manager.hear()) > 5
    assert longest < 0.25


def test_a_message_waits_for_a_manager_that_is_busy(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    async def fill_and_go_on(notifier: Notifier) -> None:
        sent = 0
        while not (waiting := asyncio.ensure_future(notifier.stopping())).done():
            sent += 1
            assert not caplog.records  # nothing was dropped
            await asyncio.sleep(0)
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            if not done:
                break
        assert len(manager.hear()) == sent - 1
        await waiting
        assert len(manager.hear()) == sent

    told(manager.environment, fill_and_go_on)


# The watchdog.


def test_the_watchdog_is_answered_twice_in_its_interval(manager: Manager) -> None:
    async def for_a_second(notifier: Notifier) -> None:
        assert notifier.ping_every == 0.1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(notifier.keep_alive(), 1)

    told({**manager.environment, "WATCHDOG_USEC": str(USEC // 5)}, for_a_second)
    pings = manager.hear()
    assert all(ping == {"WATCHDOG": "1"} for ping in pings)
    assert 3 <= len(pings) <= 11


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "1e6"},
        {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_answered(
    given: dict[str, str], manager: Manager
) -> None:
    told({**manager.environment, **given}, Notifier.keep_alive)
    assert manager.hear() == []


def test_our_own_watchdog_is_known_by_the_number_of_the_process(manager: Manager) -> None:
    given = {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": str(os.getpid())}
    with Notifier({**manager.environment, **given}) as notifier:
        assert notifier.ping_every == 0.5


def test_an_event_loop_that_hangs_does_not_answer_the_watchdog(manager: Manager) -> None:
    async def hang(notifier: Notifier) -> None:
        alive = asyncio.ensure_future(notifier.keep_alive())
        await asyncio.sleep(0.1)
        before = len(manager.hear())
        time.sleep(0.5)  # noqa: ASYNC251 - that is the fault
        assert len(manager.hear()) == before
        await asyncio.sleep(0.1)
        assert len(manager.hear()) > before
        alive.cancel()

    told({**manager.environment, "WATCHDOG_USEC": str(USEC // 10)}, hang)


# The program.


def test_the_program_tells_its_start_its_reloads_and_its_end(
    manager: Manager, tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(SMALL)
    environment = {
        **manager.environment,
        "WATCHDOG_USEC": str(USEC),
        "SANDBOX_URL": "http://127.0.0.1:9",
        "SEACHAT_API_KEY": "key",
    }
    command = (sys.executable, "-m", "exporter", "serve", f"--config.file={file}")
    with started([*command, f"--web.listen-address={LOOPBACK}"], environment) as process:
        ready = manager.first("READY")
        assert get(f"http://{process.said(LISTENING)}/-/healthy").status == 200

        def reload(after: int) -> tuple[int, int]:
            begun = time.monotonic_ns() // 1000
            process.send(signal.SIGHUP)
            began = manager.first("RELOADING", after)
            assert begun <= int(manager.heard[began]["MONOTONIC_USEC"]) < begun + 60 * USEC
            return began, manager.first("READY", began)

        began, ended = reload(ready)
        assert ready < began < ended
        assert manager.heard[ended]["STATUS"] == ""
        file.write_text("interval: soon\n")
        _, failed = reload(ended)
        assert "rejected" in manager.heard[failed]["STATUS"]
        assert answered(f"http://{process.said(LISTENING)}/metrics").status == 200
        manager.first("WATCHDOG", failed)
        assert process.end().status == 0
    assert manager.hear()[-1] == {"STOPPING": "1"}


def test_a_program_that_cannot_start_never_says_that_it_is_ready(
    manager: Manager, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "exporter", f"--config.file={tmp_path / 'none.yml'}")
    with started(command, manager.environment) as process:
        assert process.wait().status == 1
    assert manager.hear() == []
