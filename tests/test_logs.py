"""What is logged, how fast, and what never is, whatever happens to whoever reads it."""

import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, strategies as st
from support.loopback import listening
from support.processes import Ended, answered, finished, free_port, inherited, started, wait_for

from exporter import logs
from exporter.errors import Outcome, RequestFailed
from exporter.logs import BYTES_AN_HOUR, FOLDED_FOR, LINES_A_SECOND, Formatter, Pace, Repeats

CANARY: Final = "CNRYq7w3e9r1t5y8u2"
EXPORTER: Final = (sys.executable, "-m", "exporter")


def written(kind: str, message: str = "report failed", **fields: object) -> str:
    record = logging.makeLogRecord(
        {
            "name": "exporter.polling.poller",
            "levelno": logging.WARNING,
            "msg": message,
            "created": 0.5,
        }
    )
    record.__dict__.update(fields)
    return Formatter(kind).format(record)


def script(body: str, *options: str, **environment: str) -> Ended:
    """Run some Python that logs as the exporter does."""
    text = f"""
import asyncio, logging, sys, threading, time, warnings
from exporter import logs
KEY = "{CANARY}"
log = logging.getLogger("exporter.test")
with logs.started("debug", "json"):
{textwrap.indent(textwrap.dedent(body), "    ")}
"""
    return finished([sys.executable, *options, "-c", text], environment)


def told(ended: Ended) -> list[dict[str, Any]]:
    """Every line of a log in JSON."""
    return [json.loads(line) for line in ended.stderr.splitlines()]


def holds_no_canary(text: str) -> None:
    """Nor any ten characters of it."""
    for start in range(len(CANARY) - 9):
        assert CANARY[start : start + 10].lower() not in text.lower()


def test_a_logfmt_line_has_time_level_logger_message_and_fields() -> None:
    assert written("logfmt", report="csat", reason="HTTP 500") == (
        "ts=1970-01-01T00:00:00.500+00:00 level=warn logger=exporter.polling.poller"
        ' msg="report failed" report=csat reason="HTTP 500"'
    )


def test_a_json_line_has_the_same() -> None:
    assert json.loads(written("json", report="csat")) == {
        "ts": "1970-01-01T00:00:00.500+00:00",
        "level": "warn",
        "logger": "exporter.polling.poller",
        "msg": "report failed",
        "report": "csat",
    }


@given(st.sampled_from(["logfmt", "json"]), st.text(), st.text())
def test_an_event_is_one_line_whatever_is_in_it(kind: str, message: str, name: str) -> None:
    line = written(kind, f"{message}\n\x1b[31m", report=f"{name}\u2028\x9b")

    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_a_value_has_at_most_2000_characters() -> None:
    assert len(written("logfmt", reason="x" * 1_000_000)) < 2200


def test_an_empty_field_is_left_out() -> None:
    assert "bot_id" not in written("logfmt", bot_id="")


def raised(error: BaseException) -> BaseException:
    """The same, raised."""
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("kind", ["logfmt", "json"])
def test_an_exception_is_in_the_same_line_with_its_place_and_without_its_text(kind: str) -> None:
    error = raised(ValueError(f"Illegal header value {CANARY}"))

    line = written(kind, exc_info=(type(error), error, error.__traceback__))

    assert len(line.splitlines()) == 1
    assert "ValueError [tests/test_logs.py:" in line
    assert " raised]" in line
    assert CANARY not in line


def test_what_an_exception_of_our_own_says_is_told() -> None:
    error = raised(RequestFailed(Outcome.TIMEOUT, "no answer in time"))

    assert "RequestFailed: no answer in time [" in logs.described(error)


def test_an_error_of_the_system_is_told_by_its_name() -> None:
    assert logs.described(OSError(28, f"No space left on {CANARY}")) == "OSError ENOSPC"


def test_the_causes_of_an_exception_are_told_and_those_of_a_group() -> None:
    inner = KeyError(CANARY)
    inner.__cause__ = TypeError(CANARY)
    group = ExceptionGroup(CANARY, [ValueError(CANARY), inner])
    loop = RuntimeError(CANARY)
    loop.__context__ = loop

    assert logs.described(group) == ("ExceptionGroup of (ValueError; KeyError after TypeError)")
    assert CANARY not in logs.described(loop)


@pytest.mark.parametrize(
    ("name", "message", "arguments", "says"),
    [
        ("asyncio", "Executing %s took %.3f seconds", (CANARY, 0.5), "Executing str took 0.500 seconds"),
        ("asyncio", f"Exception in callback x('{CANARY}')\nhandle: <{CANARY}>", (), "Exception in callback x"),
        ("asyncio", "socket.accept() out of system resource\nsocket: <x>", (), "socket.accept() out of system resource"),
        ("asyncio", "Exception in callback\n", (), "Exception in callback"),
        ("httpx", "%d is no %s", ("x", CANARY), ""),
        ("exportery", f"{{{CANARY}}}", (), ""),
    ],
)  # fmt: skip
def test_of_a_librarys_message_only_words_and_numbers_are_told(
    name: str, message: str, arguments: tuple[object, ...], says: str
) -> None:
    record = logging.makeLogRecord({"name": name, "msg": message, "args": arguments, "x": CANARY})

    assert logs.fields(record)["msg"] == says
    assert CANARY not in Formatter("json").format(record)


NOISES: Final = {
    "a thread": """
        def work(): raise ValueError(KEY)
        thread = threading.Thread(target=work); thread.start(); thread.join()
    """,
    "a finalizer": """
        class Last:
            def __del__(self): raise ValueError(KEY)
        Last()
    """,
    "a task that nobody awaits": """
        async def work(): raise ValueError(KEY)
        async def main():
            asyncio.create_task(work(), name=KEY)
            await asyncio.sleep(0.01)
        asyncio.run(main())
    """,
    "a callback": """
        def work(key): raise ValueError(key)
        async def main():
            asyncio.get_running_loop().call_soon(work, KEY)
            await asyncio.sleep(0.01)
        asyncio.run(main())
    """,
    "a warning": "warnings.warn(f'Unexpected value {KEY}', UserWarning)",
    "a slow callback": """
        def work(key): time.sleep(0.2)
        async def main():
            asyncio.get_running_loop().call_soon(work, KEY)
            await asyncio.sleep(0.3)
        asyncio.run(main())
    """,
    "an exception of ours": """
        try: raise ValueError(KEY)
        except ValueError: log.exception("failed")
    """,
    "the end": "sys.excepthook(ValueError, ValueError(KEY), None)",
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_whatever_python_would_print_itself_is_a_line_without_what_it_says(noise: str) -> None:
    ended = script(noise, "-X", "dev", "-W", "always", PYTHONASYNCIODEBUG="1")

    assert ended.status == 0
    assert told(ended)
    holds_no_canary(ended.stdout + ended.stderr)


def test_the_libraries_log_nothing_below_a_warning() -> None:
    ended = script("""
        for name in ("httpx", "httpcore.http11", "asyncio"):
            logging.getLogger(name).info("HTTP Request: POST https://chat.seasalt.ai")
        log.debug("polled")
    """)

    assert [line["msg"] for line in told(ended)] == ["polled"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_the_level_decides_what_is_told(level: str, lines: int) -> None:
    ended = script(f"""
        logging.getLogger("exporter").setLevel(logs.LEVELS["{level}"])
        log.debug("1"); log.info("2"); log.warning("3"); log.error("4")
    """)

    assert len(told(ended)) == lines


TIMES = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50_000)), max_size=300)


@given(TIMES)
@example([(0.0, 1)] * 30)  # all at once, which chance does not find
def test_no_second_has_more_than_10_lines_and_no_hour_more_than_a_mebibyte(
    wishes: list[tuple[float, int]],
) -> None:
    pace, at = Pace(0), 0.0
    spent: list[tuple[float, int]] = []
    for pause, size in wishes:
        at += pause / 10 if size % 2 else pause * 100
        while wait := pace.wait(size, at):
            at += wait
        spent.append((at, size))

    for begin, _ in spent:
        assert sum(begin <= when < begin + 1 for when, _ in spent) <= LINES_A_SECOND
        hour = sum(size for when, size in spent if begin <= when < begin + 3600)
        assert hour <= BYTES_AN_HOUR + 1


def test_an_event_is_told_once_a_minute_and_says_how_often_it_happened() -> None:
    repeats = Repeats()

    assert repeats.since("a", 0) == 0
    assert repeats.since("b", 1) == 0
    assert [repeats.since("a", at) for at in range(1, 60)] == [None] * 59
    assert repeats.since("a", FOLDED_FOR) == 59
    assert repeats.since("a", FOLDED_FOR + 1) is None


GOOD, BAD = "good", "bad"


@pytest.mark.parametrize("events", [(GOOD, BAD, GOOD), (BAD, GOOD, BAD), (1, 2, 3, 2, 1)])
def test_a_change_of_state_is_told_however_soon_it_comes(events: tuple[object, ...]) -> None:
    repeats = Repeats()

    assert [repeats.since(event, at, "a") for at, event in enumerate(events)] == [0] * len(events)
    assert repeats.since(events[-1], len(events), "a") is None


def test_what_was_left_out_before_a_change_is_counted_after_it() -> None:
    repeats = Repeats()

    told = [repeats.since(event, at, "a") for at, event in enumerate([GOOD, GOOD, BAD, GOOD])]

    assert told == [0, None, 0, 1]


def test_what_happens_to_one_subject_does_not_tell_another_anew() -> None:
    repeats = Repeats()

    assert repeats.since(BAD, 0, "a") == 0
    assert repeats.since(GOOD, 1, "b") == 0
    assert repeats.since(BAD, 2, "c") is None
    assert repeats.since(BAD, 3, "a") is None
    assert repeats.since(BAD, 4, "b") == 2


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 40)), max_size=60
    )
)
def test_the_last_line_of_a_subject_says_what_happened_to_it_last(
    events: list[tuple[str, str, float]],
) -> None:
    """By itself, or by another subject's same line, which stands for both."""
    repeats, at = Repeats(), 0.0
    lines: list[tuple[float, str, str]] = []
    happened: list[tuple[float, str, str]] = []
    for about, event, pause in events:
        at += pause
        happened.append((at, about, event))
        if repeats.since(event, at, about) is None:
            told = max(when for when, _, line in lines if line == event)
            assert at - told < FOLDED_FOR
            assert {each for when, one, each in happened if one == about and when > told} <= {event}
        else:
            lines.append((at, about, event))


def test_of_a_reload_with_two_mistakes_or_a_warning_each_line_is_told_once_until_it_ends_otherwise() -> (
    None
):
    ended = script("""
        reload = logging.getLogger("exporter.polling.reload")
        for _ in range(2):
            for _ in range(60):
                reload.error("configuration rejected", extra={"reason": "one"})
                reload.error("configuration rejected", extra={"reason": "two"})
            for _ in range(60):
                reload.warning("configuration", extra={"reason": "odd"})
                reload.info("configuration in force", extra={"workspaces": 1})
    """)

    lines = [line.get("reason", line["level"]) for line in told(ended)]
    assert lines == ["one", "two", "odd", "info", "one", "two", "info"]


def test_bots_that_fail_for_two_reasons_in_turn_are_two_lines() -> None:
    ended = script("""
        for bot in range(300):
            log.warning("report failed", extra={"workspace": "acme", "bot_id": str(bot), "reason": f"HTTP {500 + bot % 2}"})
    """)

    assert [line["reason"] for line in told(ended)] == ["HTTP 500", "HTTP 501"]


def test_of_events_and_subjects_without_end_a_thousand_are_remembered() -> None:
    repeats = Repeats()
    for number in range(100_000):
        repeats.since(number, 0, number)

    assert repeats.since(99_999, 1, 99_999) is None
    assert repeats.since(0, 1, 0) == 0
    # What the promise is about.
    assert len(repeats._told) == len(repeats._last) == 1000  # noqa: SLF001 - its memory


def test_the_failures_of_a_workspace_for_one_reason_are_one_event() -> None:
    ended = script("""
        for number in range(413):
            log.warning("report failed", extra={"workspace": "acme", "bot_id": str(number), "reason": "HTTP 500"})
        log.warning("report failed", extra={"workspace": "acme", "bot_id": "1", "reason": "HTTP 503"})
        log.warning("report failed", extra={"workspace": "other", "bot_id": "1", "reason": "HTTP 500"})
        print(logs.lost["repeated"])
    """)

    assert ended.stdout == "412\n"
    assert [(line["workspace"], line["reason"]) for line in told(ended)] == [
        ("acme", "HTTP 500"),
        ("acme", "HTTP 503"),
        ("other", "HTTP 500"),
    ]


def test_how_often_it_was_left_out_is_on_the_next_line_that_is_written() -> None:
    ended = script("""
        logs.FOLDED_FOR = 0.2
        log.warning("failed"); log.warning("failed"); log.warning("failed")
        time.sleep(0.25)
        log.warning("failed")
    """)

    assert [line.get("repeated") for line in told(ended)] == [None, 2]


def test_a_storm_of_lines_delays_nobody_and_is_written_at_a_walk() -> None:
    ended = script("""
        begun = time.monotonic()
        for number in range(20_000): log.warning(f"event {number}")
        took = time.monotonic() - begun
        time.sleep(1)
        print(took, logs.lost["overrun"])
        sys.stdout.flush()
        import os; os._exit(0)
    """)

    took, overrun = ended.stdout.split()
    assert float(took) < 10
    assert len(told(ended)) <= LINES_A_SECOND * (float(took) + 1.5)
    assert int(overrun) >= 20_000 - logs.WAITING - len(told(ended))


def test_the_last_lines_are_written_however_many_came_before() -> None:
    ended = script("""
        for number in range(1000): log.warning(f"event {number}")
        log.error("the end")
    """)

    assert told(ended)[-1]["msg"] == "the end"
    assert len(told(ended)) >= logs.WAITING


def test_the_first_lines_are_written_however_soon_the_end_comes() -> None:
    ended = script("""
        for number in range(50): log.error(f"event {number}")
        raise SystemExit(1)
    """)

    assert ended.status == 1
    assert [line["msg"] for line in told(ended)] == [f"event {number}" for number in range(50)]


def test_a_line_that_cannot_be_made_ends_nobodys_work() -> None:
    ended = script("""
        class Odd:
            def __str__(self): raise ValueError(KEY)
        log.warning("failed", extra={"reason": Odd()})
        log.warning("%d", "x")
        log.warning("after")
        print(logs.lost["unwritable"])
    """)

    assert ended.stdout == "2\n"
    assert [line["msg"] for line in told(ended)] == ["after"]
    holds_no_canary(ended.stderr)


def test_a_bug_ends_the_process_with_a_status_of_its_own_and_a_line_without_a_secret(
    tmp_path: Path,
) -> None:
    bug = tmp_path / "bug.py"
    bug.write_text(
        "import sys\n\nfrom exporter.commands import cli, docs\n"
        f"def run(_): raise ValueError('{CANARY}')\n"
        "docs.run = run\nsys.exit(cli.main(['docs'], {}))\n"
    )

    ended = finished([sys.executable, str(bug)])

    assert ended.status == 70
    (line,) = ended.stderr.splitlines()
    assert "level=critical" in line
    assert "ValueError" in line
    assert "bug.py:4 run" in line
    holds_no_canary(ended.stderr)


def configuration(folder: Path, **others: object) -> Path:
    """One workspace whose API is not there, so that there is much to say."""
    one = {
        "name": "acme",
        "api": "seachat",
        "api_key": CANARY,
        "base_url": f"http://127.0.0.1:{free_port()}",
        "requests_per_minute": 6000,
        "bots": [{"id": f"b{number}"} for number in range(20)],
    }
    file = folder / "seasalt.yml"
    file.write_text(json.dumps({"workspaces": [one | others]}))
    return file


@contextmanager
def closed(number: int) -> Iterator[Callable[[], object]]:
    yield lambda: os.close(number)


@contextmanager
def full(number: int) -> Iterator[Callable[[], object]]:
    with Path("/dev/full").open("wb") as sink:
        yield lambda: os.dup2(sink.fileno(), number)


@contextmanager
def unread(number: int) -> Iterator[Callable[[], object]]:
    """A pipe that is full and that nobody reads."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        for size in (65_536, 4096, 1):
            while True:
                try:
                    os.write(writing, b"x" * size)
                except BlockingIOError:
                    break
        os.set_blocking(writing, True)
        yield lambda: os.dup2(writing, number)
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def left(number: int) -> Iterator[Callable[[], object]]:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield lambda: os.dup2(writing, number)
    finally:
        os.close(writing)


@pytest.mark.parametrize("number", [1, 2], ids=["stdout", "stderr"])
@pytest.mark.parametrize("sink", [closed, full, unread, left])
def test_the_exporter_goes_on_and_ends_cleanly_whatever_becomes_of_its_log(
    tmp_path: Path, sink: Callable[[int], Any], number: int
) -> None:
    port = free_port()
    with sink(number) as spoil:
        process = subprocess.Popen(
            [*EXPORTER, f"--config.file={configuration(tmp_path)}",
             f"--web.listen-address=127.0.0.1:{port}"],
            env=inherited(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(),
            preexec_fn=spoil,  # noqa: PLW1509 - nothing of ours runs in a thread
        )  # fmt: skip
        try:
            page = answered(f"http://127.0.0.1:{port}/metrics").body.decode()
            assert "seasalt_exporter_log_lines_dropped_total" in page
            if number == 2 and sink in {full, left}:
                wait_for(
                    lambda: (
                        'dropped_total{reason="unwritable"} 0.0'
                        not in answered(f"http://127.0.0.1:{port}/metrics").body.decode()
                    ),
                    "no line was counted",
                )
            begun = time.monotonic()
            process.terminate()
            assert process.wait(10) == 0
            assert time.monotonic() - begun < logs.LAST_WORDS + 5
        finally:
            process.kill()
            process.wait()


def test_no_connection_takes_the_place_of_a_closed_standard_error(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [*EXPORTER, f"--config.file={configuration(tmp_path)}",
         f"--web.listen-address=127.0.0.1:{port}"],
        env=inherited(),
        preexec_fn=lambda: os.closerange(0, 3),  # noqa: PLW1509
    )  # fmt: skip
    try:
        answered(f"http://127.0.0.1:{port}/metrics")
        taken = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
        assert taken == [Path("/dev/null")] * 3
    finally:
        process.terminate()
        process.wait(10)


def test_a_warning_of_the_configuration_keeps_nobody_from_starting_on_a_full_disk(
    tmp_path: Path,
) -> None:
    file = configuration(tmp_path, metrics=[{"metric": "total_usage", "window": "last_120_days"}])
    with Path("/dev/full").open("wb") as sink:
        done = subprocess.run(
            [*EXPORTER, "plan", f"--config.file={file}"],
            env=inherited(), stdout=subprocess.PIPE, stderr=sink, check=False,
        )  # fmt: skip

    assert done.returncode == 0
    assert b"total_usage" in done.stdout


def test_no_log_of_any_level_has_a_key_whatever_the_api_answers(tmp_path: Path) -> None:
    # A rejected key comes last, as it is not sent again.
    answers = iter([500, 302, 400, 200] * 6 + [401, 403] * 500)

    def answer(_: str) -> tuple[int, object]:
        echo = {"detail": f"the token {CANARY} is wrong", CANARY: [CANARY]}
        return next(answers), echo

    key = tmp_path / "key"
    key.write_text(f"{CANARY}\n")
    with listening(answer) as api:
        file = configuration(
            tmp_path,
            base_url=api.url(),
            api_key=None,
            api_key_file=str(key),
            workspace_id="w",
            discover_bots={},
        )
        command = [sys.executable, "-X", "dev", "-m", "exporter", f"--config.file={file}"]
        environment = {"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "always"}
        flags = ["--log.level=debug", "--web.listen-address=127.0.0.1:0"]
        with started([*command, *flags], environment) as process:
            address = process.said(r"msg=listening address=(\S+)")
            wait_for(lambda: len(api.asked) > 20, "too few requests")
            key.write_text(f"two {CANARY}\nlines\n")  # what a rotation may leave for a moment
            process.said(r"(the key file)")
            page = answered(f"http://{address}/metrics").body.decode()
            status = answered(f"http://{address}/api/v1/status").body.decode()
            flagged = Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")
            ended = process.end()

    assert ended.status == 0
    assert all(CANARY in asked.headers["x-api-key"] for asked in api.asked if "POST" in asked.line)
    holds_no_canary(ended.stdout + ended.stderr + flagged + page + status)


def test_a_million_lines_an_hour_take_no_memory_that_grows() -> None:

    ended = script("""
        import resource
        for number in range(2000): log.warning(f"event {number} " + "x" * 1000)
        first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(2000, 12_000): log.warning(f"event {number} " + "x" * 1000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first)
    """)

    assert int(ended.stdout) < 4 * 1024  # KiB
