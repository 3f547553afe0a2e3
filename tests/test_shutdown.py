"""The end, whatever is in flight: real processes, real signals."""

import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest
from support.processes import Running, started
from support.serving import LIMITS, LOOPBACK, program, rest

TIMES: Final = int(os.environ.get("SERVING_ENDS", "3"))
"""How often the process is ended at a random moment."""

GET: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def port_of(process: Running) -> int:
    return int(process.said(r"^127\.0\.0\.1:(\d+)$"))


def held(stack: ExitStack, port: int, sent: bytes, host: int = 1) -> socket.socket:
    """A connection that has sent something and waits."""
    connection = stack.enter_context(
        closing(socket.create_connection((LOOPBACK, port), 5, (f"127.0.0.{host}", 0)))
    )
    connection.sendall(sent)
    return connection


def ended(process: Running) -> float:
    """How many seconds it takes to end well, which is never as many as ten."""
    begun = time.monotonic()
    found = process.end(10)
    assert found.status == 0, found.stderr
    assert "Traceback" not in found.stderr
    assert "ERROR" not in found.stderr
    return time.monotonic() - begun


@pytest.mark.parametrize("hang", ["no", "names"])
def test_it_ends_in_time_whatever_is_in_flight(
    hang: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(program(20_000_000, hang=hang)) as process, ExitStack() as stack:
        port = port_of(process)
        for host in range(2, 52):  # 50 readers that never read
            held(stack, port, GET, host)
        for sent in (b"", GET[:20], b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"):
            for host in range(60, 70):
                held(stack, port, sent, host)
        time.sleep(0.3)
        took = ended(process)
    with capsys.disabled():
        print(f" [{took:.1f} s]", end="")


@pytest.mark.parametrize("hang", ["loop", "lock"])
def test_it_ends_in_time_where_the_event_loop_hangs(hang: str) -> None:
    with started(program(hang=hang)) as process:
        port_of(process)
        time.sleep(0.5)  # the loop hangs by then
        assert ended(process) > 5


def test_what_is_in_flight_is_answered_to_its_end() -> None:
    with started(program(5_000_000)) as process, ExitStack() as stack:
        reader = held(stack, port_of(process), GET)
        assert reader.recv(1_000).startswith(b"HTTP/1.1 200")
        process.send(signal.SIGTERM)
        time.sleep(0.3)
        assert len(rest(reader)) > 4_900_000
        assert process.wait(10).status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with started(program(20_000_000, hang="names")) as process, ExitStack() as stack:
        held(stack, port_of(process), GET)
        process.send(signal.SIGTERM)
        time.sleep(0.5)
        begun = time.monotonic()
        process.send(number)
        assert process.wait(10).status == -number
        assert time.monotonic() - begun < LIMITS.grace_seconds - 1


def test_two_signals_at_once_end_it_at_once_and_quietly() -> None:
    for _ in range(5):
        with started(program()) as process:
            port_of(process)
            # It stands still meanwhile, so that both are there when it goes on.
            for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
                process.send(number)
            found = process.wait(10)
            assert found.status in {-signal.SIGTERM, -signal.SIGINT}
            assert found.stderr == ""


def test_a_signal_ends_a_process_whose_event_loop_has_ended_by_itself() -> None:
    code = """
import asyncio, time
from exporter.shutdown import signalled

async def main():
    signalled()

asyncio.run(main())
print("ended by itself", flush=True)
time.sleep(3600)
"""
    with started([sys.executable, "-c", code]) as process:
        process.said("^(ended by itself)$")
        assert process.end(5).status == -signal.SIGTERM


def test_an_end_that_was_in_time_is_a_good_one_however_long_the_interpreter_takes_to_go() -> None:
    code = """
import asyncio, os, signal, time
from exporter import shutdown

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(2.5)

async def main():
    stop = shutdown.signalled()
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()

shutdown.LAST_SECONDS = 1
slow = Slow()
asyncio.run(main())
"""
    with started([sys.executable, "-c", code]) as process:
        assert process.wait(10).status == 0


@pytest.mark.parametrize("number", range(TIMES))
def test_it_ends_well_at_any_moment(number: int, tmp_path: Path) -> None:
    random = Random(number)  # noqa: S311 - moments, not secrets
    with closing(socket.create_server((LOOPBACK, 0))) as hung:
        # An API that takes every request and answers none.
        config = tmp_path / "seasalt.yml"
        config.write_text(
            "requests_per_minute: 60000\nworkspaces:\n"
            f"  - {{name: a, api: seachat, api_key: k, base_url: 'http://{LOOPBACK}:"
            f"{hung.getsockname()[1]}', metrics: [total_usage]}}\n",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "exporter", f"--config.file={config}"]
        with (
            started([*command, f"--web.listen-address={LOOPBACK}:0"]) as process,
            ExitStack() as stack,
        ):
            port = int(process.said(r"msg=listening address=127\.0\.0\.1:(\d+)$"))
            for _ in range(random.randrange(20)):
                with suppress(OSError):  # not listened to yet
                    held(stack, port, random.choice([b"", GET[:9], GET, GET * 50]))
            time.sleep(random.random())
            ended(process)
