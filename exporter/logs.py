"""Structured logging: one event a line, as logfmt or JSON, on standard error.

Logging never blocks the event loop. `Writer.emit` puts a line into a short queue, and a thread
writes it: standard error may be a pipe whose reader is slow or gone. A rate limiter bounds what
is written, so that a permanent fault cannot fill a disk. If the queue is full, the oldest line is
dropped. `lost` counts every line that was not written, by reason.

A fault usually logs the same event for every bot and report, at every poll. `Repeats` folds these
lines. An event is a record without its time, bot, report and window. It is logged once within
`FOLDED_FOR` seconds; repetitions are counted, and the next line that is logged carries their
number. There is one exception. If the same subject (a report, a file) has had another outcome
meanwhile, the event is logged again. Otherwise the log of a report that fails, recovers and fails
again would end with the recovery.

Log lines must not leak secrets. The exporter's own messages are logged in full. Exceptions and
messages of libraries are logged as type and location, because their texts may contain keys.
"""

import errno
import json
import logging
import os
import re
import select
import sys
import threading
import time
import warnings
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from traceback import walk_tb
from typing import Any, Final, TextIO

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN: Final = re.compile(r"[\w.:/+@%*,-]+", re.ASCII)
_WHICH: Final = frozenset({"bot_id", "report", "window"})
"""Fields that do not distinguish events: a repetition may differ in them."""

_ABOUT: Final = ("workspace", *sorted(_WHICH), "file")
"""Fields that identify the subject of an event."""

_STDERR: Final = 2
_LONGEST_VALUE: Final = 2000
_DEEPEST: Final = 5
_FRAMES: Final = 20
_WORDS: Final = re.compile(r"(?:[A-Za-z ,.!_]|\(\))*")

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS: Final = ("logfmt", "json")

FOLDED_FOR: Final = 60.0
"""Seconds in which an event is logged once, however often it occurs."""

REMEMBERED: Final = 1000
"""Maximum number of events, and of subjects, whose last line is remembered."""

LINES_A_SECOND: Final = 10
BYTES_AN_HOUR: Final = 1024 * 1024
"""The limits of the rate limiter, for any second and any hour."""

WAITING: Final = 100
"""Capacity of the queue in lines; if it is full, the oldest line is dropped."""

LAST_WORDS: Final = 2.0
"""Maximum seconds for which shutdown waits until the queued lines are written."""

REASONS: Final = ("repeated", "overrun", "unwritable")
"""Why a line was not written: a repetition, the queue was full, or the write failed."""

lost: Final = Counter(dict.fromkeys(REASONS, 0))
"""How many lines of this process were not written, by reason."""


class Formatter(logging.Formatter):
    """Formats a record as `ts`, `level`, `logger`, `msg` and its extra fields."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._json = kind == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return self.line(fields(record))

    def line(self, given: dict[str, Any]) -> str:
        """The fields as one line."""
        if self._json:
            return json.dumps(given, default=str)
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in given.items())


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record that are logged, in order."""
    given: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage() if _ours(record.name) else _harmless(record),
    }
    if _ours(record.name):
        given |= {
            name: value
            for name, value in vars(record).items()
            if name not in _STANDARD and value is not None and value != ""
        }
    if record.exc_info and record.exc_info[1]:
        given["error"] = described(record.exc_info[1])
    return {
        name: value[:_LONGEST_VALUE] if isinstance(value, str) else value
        for name, value in given.items()
    }


def described(error: BaseException, depth: int = 0) -> str:
    """An exception in one line: its type and location, followed by those of its causes.

    Only the exporter's own exceptions are logged with their message. Messages of HTTP, YAML and
    validation libraries quote their input, which may contain keys.
    """
    kind = type(error)
    text = kind.__qualname__
    if _ours(kind.__module__):
        text += f": {error}"
    elif isinstance(error, OSError):
        text = f"{text} {errno.errorcode.get(error.errno or 0, '')}".rstrip()
    frames = [
        f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    if frames:
        text += f" [{' > '.join(frames[-_FRAMES:])}]"
    if depth < _DEEPEST:
        if isinstance(error, BaseExceptionGroup):
            inner = (described(each, depth + 1) for each in error.exceptions[:_DEEPEST])
            text += f" of ({'; '.join(inner)})"
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before:
            text += f" after {described(before, depth + 1)}"
    return text


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "exporter"


def _harmless(record: logging.LogRecord) -> str:
    """A library's message without its values, except for numbers."""
    text = str(record.msg)
    if isinstance(record.args, tuple) and record.args:
        numbers = tuple(
            value if isinstance(value, int | float) else type(value).__name__
            for value in record.args
        )
        with suppress(TypeError, ValueError):
            return text.split("\n", maxsplit=1)[0] % numbers
    found = _WORDS.match(text)
    return found[0].strip() if found else ""


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


class Repeats:
    """Which events were logged recently, and how often they have occurred since. Pure.

    The last line about a subject always states its current outcome. An event is logged again if
    its subject has had another outcome since. `Writer` gives all failures the same outcome, so
    several mistakes of one subject do not cause each other to be logged again.
    """

    def __init__(self) -> None:
        # When each event was logged last, and how often it has occurred since.
        self._told: OrderedDict[object, tuple[float, int]] = OrderedDict()
        # Each subject's outcome, since when it has lasted, and when it was last heard of.
        self._last: OrderedDict[object, tuple[object, float, float]] = OrderedDict()

    def since(
        self, event: object, at: float, about: object = None, outcome: object = None
    ) -> int | None:
        """How many repetitions were suppressed since the last line; None to suppress this one too.

        Args:
            event: What happened.
            at: The current time of the monotonic clock, in seconds.
            about: The subject; None if there is none.
            outcome: The subject's outcome; by default the event itself.
        """
        outcome = event if outcome is None else outcome
        when, times = self._told.get(event, (-FOLDED_FOR, 0))
        if at - when < FOLDED_FOR and not self._overtaken(outcome, when, about):
            self._told[event] = when, times + 1
            told = None
        else:
            self._keep(self._told, event, (at, 0))
            told = times
        if about is not None:
            last, since, _ = self._last.get(about, (None, at, at))
            self._keep(self._last, about, (outcome, since if last == outcome else at, at))
        return told

    def _overtaken(self, outcome: object, when: float, about: object) -> bool:
        """Whether the subject has had another outcome since the event was logged at `when`."""
        last, since, at = self._last.get(about, (outcome, -FOLDED_FOR, -FOLDED_FOR))
        return since > when if last == outcome else at >= when

    def _keep(self, kept: OrderedDict[object, Any], key: object, value: object) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > REMEMBERED:
            kept.popitem(last=False)


class Pace:
    """The rate limiter of the log: a token bucket for a second and one for an hour. Pure.

    A bucket holds half of its limit and refills with the other half over the period. So no second
    and no hour exceeds its limit, wherever it begins.

    Args:
        at: The current time of the monotonic clock, in seconds.
    """

    def __init__(self, at: float) -> None:
        # Tokens are integers, so that rounding never makes an exact wait too short.
        self._limits = ((LINES_A_SECOND, 1_000_000), (BYTES_AN_HOUR, 3_600_000_000))
        self._saved = [limit * microseconds for limit, microseconds in self._limits]
        self._at = round(at * 1_000_000)

    def wait(self, size: int, at: float) -> float:
        """Take the tokens for a line of `size` bytes and return 0, or return the seconds to wait.

        A line that has to wait takes no tokens.
        """
        before, self._at = self._at, round(at * 1_000_000)
        passed = max(0, self._at - before)
        wait, after = 0, list[int]()
        needs = (1, min(size, BYTES_AN_HOUR // 2))
        for index, (limit, microseconds) in enumerate(self._limits):
            saved = min(limit * microseconds, self._saved[index] + passed * limit)
            self._saved[index] = saved
            after.append(saved - 2 * needs[index] * microseconds)
            wait = max(wait, -(after[index] // limit))
        if wait:
            return wait / 1_000_000
        self._saved = after
        return 0.0


class Writer(logging.Handler):
    """A handler that queues lines for a thread to write, and never blocks.

    The standard library's QueueListener waits forever for a reader that is gone, and its
    QueueHandler writes to standard error if the queue is full. Neither is acceptable here.
    """

    def __init__(self, formatter: Formatter) -> None:
        self._lines = formatter
        self._repeats = Repeats()
        self._pace = Pace(time.monotonic())
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._news = threading.Condition()
        self._ending = False
        self._torn = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()
        super().__init__()  # registers the handler for closing at exit, so the thread must run

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, unless it repeats a recent one."""
        try:
            given = fields(record)
            event = tuple(
                (name, str(value))
                for name, value in given.items()
                if name != "ts" and name not in _WHICH
            )
            about = (record.name, *(str(given.get(name, "")) for name in _ABOUT))
            # A warning is not an outcome: another record states how its subject ended.
            ends = _ours(record.name) and record.levelno != logging.WARNING
            outcome = "failed" if record.levelno > logging.WARNING else event
            at = time.monotonic()
            repeated = self._repeats.since(event, at, about if ends else None, outcome)
            if repeated is None:
                lost["repeated"] += 1
                return
            if repeated:
                given["repeated"] = repeated
            line = utf_8(self._lines.line(given)) + b"\n"
        except Exception:  # noqa: BLE001 - a failure to log must not affect the caller
            lost["unwritable"] += 1
            return
        with self._news:
            if len(self._waiting) == WAITING:
                lost["overrun"] += 1
            self._waiting.append(line)
            self._news.notify()

    def close(self) -> None:
        """Write the queued lines without rate limit, and wait up to `LAST_WORDS` seconds."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(LAST_WORDS)
        super().close()

    def _write_all(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                wait = self._pace.wait(len(self._waiting[0]), time.monotonic())
                if wait and not self._ending:
                    self._news.wait_for(lambda: self._ending, wait)
                    continue
                line = self._waiting.popleft()
            self._write(line)

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: a blocked write would hold its lock and crash the interpreter
        # at exit.
        rest = b"\n" + line if self._torn else line
        while rest:
            try:
                rest = rest[os.write(_STDERR, rest) :]
                self._torn = bool(rest)
            except BlockingIOError:  # another process has made the shared descriptor non-blocking
                select.select([], [_STDERR], [])
            except OSError:  # a full disk, or a reader that is gone
                lost["unwritable"] += 1
                return


@contextmanager
def started(level: str, kind: str) -> Iterator[None]:
    """Log to standard error inside the context, and write the queued lines at its end.

    Uncaught exceptions and Python's warnings are logged too, instead of being printed.

    Args:
        level: One of `LEVELS`. Loggers of libraries stay at warn or above, because they log
            addresses.
        kind: One of `FORMATS`.
    """
    _keep_descriptors()
    root, ours = logging.getLogger(), logging.getLogger("exporter")
    levels = root.level, ours.level
    writer = Writer(Formatter(kind))
    logging.basicConfig(level=max(logging.WARNING, LEVELS[level]), handlers=[writer], force=True)
    ours.setLevel(LEVELS[level])
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    sys.excepthook = lambda _, error, __: _uncaught("uncaught exception", error)
    sys.unraisablehook = lambda caught: _uncaught("exception in a finalizer", caught.exc_value)
    threading.excepthook = lambda caught: _uncaught("exception in a thread", caught.exc_value)
    warnings.showwarning = _warned
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
        root.removeHandler(writer)
        for logger, before in zip((root, ours), levels, strict=True):
            logger.setLevel(before)
        writer.close()


def _uncaught(text: str, error: BaseException | None) -> None:
    logging.getLogger(__name__).critical(text, exc_info=error)


def _warned(
    message: Warning | str,  # noqa: ARG001 - its text may contain a value
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Log a warning as type and location."""
    at = f"{'/'.join(filename.split('/')[-2:])}:{lineno}"
    logging.getLogger(__name__).warning("warning", extra={"kind": category.__name__, "at": at})


def say(text: object) -> None:
    """Print a message for the operator on standard error, and ignore a failure to do so."""
    with suppress(OSError):
        deliver(sys.stderr, utf_8(f"{text}\n"))


def utf_8(text: str) -> bytes:
    """The text as UTF-8; bytes of a file name that the locale could not decode are restored."""
    try:
        content = text.encode(errors="surrogateescape")
        content.decode()
    except UnicodeError:
        return text.encode(errors="backslashreplace")
    return content


def deliver(stream: TextIO | None, content: bytes) -> None:
    """Write bytes to a standard stream, unbuffered and without encoding, and wait for the reader.

    Raises:
        OSError: If the write fails. The stream is then redirected to the null device.
    """
    if stream is None:  # closed before the process started
        return
    try:
        rest = content
        while True:
            try:
                # With PYTHONUNBUFFERED, write may be partial, or None if it would block.
                rest = rest[stream.buffer.write(rest) or 0 :]
                stream.buffer.flush()
                if not rest:
                    return
            except BlockingIOError as error:  # another process has made it non-blocking
                rest = rest[error.characters_written :]
            select.select([], [stream.buffer], [])
    except OSError:
        # Otherwise Python flushes again at exit, and the failure changes the exit status.
        with suppress(OSError), _nowhere() as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
            stream.buffer.flush()
        raise


def _keep_descriptors() -> None:
    """Open the null device for closed standard streams, so that no socket takes their numbers."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere())


def _nowhere() -> TextIO:
    return open(os.devnull, "r+", encoding="utf-8")  # noqa: PTH123 - stays open
