"""Where no thread can be started: one line at the start, and nothing that ends what runs."""

import asyncio
import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

import pytest
from support.processes import answered, finished, get, started

from exporter.threads import LEAST, Loop, Workers, considerate

FROM: Final = """
import sys, threading
start, left = threading.Thread.start, [{left}]
def limited(thread):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = limited
sys.argv[1:] = {arguments!r}
from exporter.__main__ import main
sys.exit(main())
"""


def configured(folder: Path) -> list[str]:
    file = folder / "seasalt.yml"
    one = "{name: a, api: seachat, api_key: k, base_url: 'http://127.0.0.1:9'}"
    file.write_text(f"workspaces: [{one}]\n", encoding="utf-8")
    return [f"--config.file={file}", "--web.listen-address=127.0.0.1:0"]


@pytest.mark.parametrize("left", [0, 1])
def test_a_start_without_threads_ends_with_one_line_and_status_1(left: int, tmp_path: Path) -> None:
    program = FROM.format(left=left, arguments=configured(tmp_path))
    done = finished([sys.executable, "-c", program])
    assert done.status == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert "no thread can be started here" in line


@pytest.mark.parametrize("left", [2, 5])
def test_with_a_few_threads_it_serves_and_ends(left: int, tmp_path: Path) -> None:
    program = FROM.format(left=left, arguments=configured(tmp_path))
    with started([sys.executable, "-c", program]) as process:
        port = process.said(r"msg=listening address=127\.0\.0\.1:(\d+)$")
        page = answered(f"http://127.0.0.1:{port}/metrics").body
        assert b"seasalt_exporter_build_info" in page
        time.sleep(1)
        assert get(f"http://127.0.0.1:{port}/-/healthy").status == 200
        ended = process.end()
    assert ended.status == 0, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes a user without processes")
def test_a_limit_on_processes_that_is_reached_is_told_in_one_line() -> None:
    # Whoever measures coverage would write files at the end, which this user may not.
    program = """
import atexit, os, resource, sys
atexit._clear()
from exporter.__main__ import main
import exporter.commands.cli
exporter.commands.cli.parse([], {})  # what that imports is out of reach afterwards
os.setgroups([]); os.setgid(54321); os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
sys.argv[1:] = ["plan", "--config.file=/dev/null"]
sys.exit(main())
"""
    done = finished([sys.executable, "-c", program])
    assert done.status == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "no thread can be started here" in done.stderr


def test_what_is_to_be_done_waits_for_the_threads_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def go() -> list[int]:
        asyncio.get_running_loop().set_default_executor(Workers())

        def none(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", none)
        return await asyncio.gather(*(asyncio.to_thread(int, n) for n in range(20 * LEAST)))

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(go()) == list(range(20 * LEAST))
    monkeypatch.undo()


def test_a_thread_that_works_leaves_the_loop_its_turns_whatever_the_c_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = sys.getswitchinterval()
    try:
        considerate()
        assert sys.getswitchinterval() <= 0.001
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
        considerate()
    finally:
        sys.setswitchinterval(before)
