"""Signals while the process starts, at any moment: none is lost, and none ends it that should not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from support.processes import Ended, Running, finished, free_port, inherited, started, wait_for

MOMENTS: Final = (0, 10, 20, 30, 50, 80, 120, 170, 230, 300, 400, 500, 700)
"""Milliseconds after the program is there."""

BLOCKED: Final = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}


@contextmanager
def blocked() -> Iterator[None]:
    """Let what is started begin with the signals blocked, so that Python itself loses none.

    As `env --block-signal=TERM,HUP,INT` does where somebody wants that of a container.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serving(folder: Path) -> list[str]:
    config = folder / "seasalt.yml"
    one = f"{{name: a, api: seachat, api_key: k, base_url: 'http://127.0.0.1:{free_port()}'}}"
    config.write_text(f"workspaces: [{one}]\n", encoding="utf-8")
    command = [sys.executable, "-m", "exporter", f"--config.file={config}"]
    return [*command, "--web.listen-address=127.0.0.1:0"]


@contextmanager
def at(command: list[str], moment: int, number: signal.Signals) -> Iterator[Running]:
    """A program that gets a signal so many milliseconds after its start."""
    with ExitStack() as stack:
        with blocked():
            process = stack.enter_context(started(command))
        time.sleep(moment / 1000)
        process.send(number)
        yield process


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sigterm_at_any_moment_of_the_start_ends_it_within_a_second(
    moment: int, tmp_path: Path
) -> None:
    with at(serving(tmp_path), moment, signal.SIGTERM) as process:
        ended = process.wait(10)
    assert ended.status in {0, -signal.SIGTERM}
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sighup_at_any_moment_of_the_start_ends_nothing_and_is_heard(
    moment: int, tmp_path: Path
) -> None:
    with at(serving(tmp_path), moment, signal.SIGHUP) as process:
        process.said("(configuration in force)")
        assert process.end().status == 0


def first_process(command: list[str], moment: int) -> Ended:
    """How a program ends that is the first of its namespace and gets SIGTERM at a moment."""
    program = ["unshare", "--pid", "--fork", "--kill-child", *command]
    pipe = subprocess.PIPE
    with blocked():
        outside = subprocess.Popen(program, env=inherited(), stdout=pipe, stderr=pipe, text=True)
    with outside:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
        child = int(
            wait_for(lambda: children.read_text(encoding="utf-8").split()[:1], "no child")[0]
        )
        time.sleep(moment / 1000)
        os.kill(child, signal.SIGTERM)
        try:
            said = outside.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            outside.kill()
            pytest.fail(f"SIGTERM after {moment} ms is lost")
    return Ended(outside.returncode, *said)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_first_process_of_a_container_loses_no_sigterm(moment: int, tmp_path: Path) -> None:
    if finished(["unshare", "--pid", "--fork", "true"]).status:
        pytest.skip("no process namespace of our own here")
    ended = first_process(serving(tmp_path), moment)
    assert ended.status in {0, 128 + signal.SIGTERM}
    assert "Traceback" not in ended.stderr


def test_signals_are_heard_before_anything_else_is_imported() -> None:
    program = """
import signal, sys
class Look:
    def find_spec(self, name, *_):
        if name in {"exporter.commands.cli", "logging", "argparse", "typing", "asyncio"}:
            assert callable(signal.getsignal(signal.SIGTERM)), name
            assert callable(signal.getsignal(signal.SIGHUP)), name
            print(name)
sys.meta_path.insert(0, Look())
sys.argv[1:] = ["--version"]
from exporter.__main__ import main
main()
"""
    done = finished([sys.executable, "-c", program])
    assert done.status == 0, done.stderr
    assert "exporter.commands.cli" in done.stdout


def test_a_sighup_ends_what_reads_nothing_again_as_ever() -> None:
    command = [sys.executable, "-m", "exporter", "sandbox", "--sandbox.listen-address=127.0.0.1:0"]
    for moment in (0, 200):
        with at(command, moment, signal.SIGHUP) as process:
            assert process.wait(10).status == -signal.SIGHUP


def test_a_sighup_that_nohup_has_switched_off_stays_so_until_somebody_serves() -> None:
    program = (
        "import signal; from exporter import startup_signals; startup_signals.listen(); startup_signals.usual();"
        " print(signal.getsignal(signal.SIGHUP).name)"
    )
    done = finished(["nohup", sys.executable, "-c", program])
    assert done.stdout.strip() == "SIG_IGN"
