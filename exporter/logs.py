"""Log lines for machines and for people: one event a line, as logfmt or JSON, on standard error.

Whoever logs never waits: a thread writes, at a pace that no fault quickens. Our own messages are
told in full; of everybody else's, and of every exception that is not ours, only what cannot hold
a secret: kind and place.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from traceback import walk_tb
from typing import Any, Final, TextIO, TypeVar

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+@%*,"
)
_WHICH: Final = frozenset({"bot_id", "report", "window"})
"""Fields in which an event may differ from another and still be its repetition."""

_ABOUT: Final = ("workspace", *sorted(_WHICH), "file")
"""Fields that say what an event is about."""

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
"""Seconds in which an event is told once, however often it happens."""

LINES_A_SECOND: Final = 10
BYTES_AN_HOUR: Final = 1024 * 1024
"""What is written at most, in any second and in any hour."""

WAITING: Final = 100
"""Lines that wait to be written at most; of more, the oldest go."""

LAST_WORDS: Final = 2.0
"""Seconds that the end of the process waits at most for its last lines to be written."""

REASONS: Final = ("repeated", "overrun", "unwritable")
"""Why a line was not written: told already, too many at a time, nowhere to write."""

lost: Final = Counter(dict.fromkeys(REASONS, 0))
"""Lines of this process that were not written, by reason."""


KeptT = TypeVar("KeptT")


class Formatter(logging.Formatter):
    """Formats a record as `ts`, `level`, `logger`, `msg` and its extra fields."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._json = kind == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        return self.line(fields(record))

    def line(self, given: dict[str, Any]) -> str:
        """Some fields in one line."""
        if self._json:
            return json.dumps(given, default=str)
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in given.items())


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What is told of a record, in order."""
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
    """An exception in one line: its kind and where it was raised, and so on for its causes.

    What it says is repeated only where it is one of ours: the texts of HTTP, YAML and validation
    libraries hold what they were given, keys included.
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
    """The words of somebody else's message; of the values in it, numbers alone."""
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
    if value and set(value) <= _PLAIN:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


class Repeats:
    """Which events were told a short while ago, and how often they have happened since. Pure.

    What a subject's last line says is never out of date: an event that one of the same subject with
    another outcome has overtaken is news again. Of several mistakes, none overtakes the others.

    Args:
        remembered: How many different events, and how many subjects, at most.
    """

    def __init__(self, remembered: int = 1000) -> None:
        self._remembered = remembered
        self._told: OrderedDict[object, tuple[float, int]] = OrderedDict()
        self._last: OrderedDict[object, tuple[object, float, float]] = OrderedDict()

    def since(
        self, event: object, at: float, about: object = None, outcome: object = None
    ) -> int | None:
        """How often an event was left out since it was last told; None if it is to be left out.

        Args:
            event: What happened.
            at: The present on the monotonic clock, in seconds.
            about: To what; None where that cannot be said.
            outcome: How that ended; the event itself where left out.
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
            self._heard(about, outcome, at)
        return told

    def _heard(self, about: object, outcome: object, at: float) -> None:
        """Note since when a subject's outcome is what it is."""
        last, since, _ = self._last.get(about, (None, at, at))
        self._keep(self._last, about, (outcome, since if last == outcome else at, at))

    def _overtaken(self, outcome: object, when: float, about: object) -> bool:
        """Whether something has ended otherwise for a subject since an event was told."""
        last, since, at = self._last.get(about, (outcome, -FOLDED_FOR, -FOLDED_FOR))
        return since > when if last == outcome else at >= when

    def _keep(self, kept: OrderedDict[object, KeptT], key: object, value: KeptT) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._remembered:
            kept.popitem(last=False)


class Pace:
    """How fast lines may be written. Pure.

    Half of what a second or an hour allows can be saved up, the other half comes with time; so
    no second and no hour has more than all of it.

    Args:
        at: The present on the monotonic clock, in seconds.
    """

    def __init__(self, at: float) -> None:
        # In whole parts of a line and of a byte: a wait of exactly the time is enough.
        self._limits = ((LINES_A_SECOND, 1_000_000), (BYTES_AN_HOUR, 3_600_000_000))
        self._saved = [limit * microseconds for limit, microseconds in self._limits]
        self._at = self._microseconds(at)

    def wait(self, size: int, at: float) -> float:
        """Spend a line of so many bytes and return 0; or how many seconds until that may be."""
        before, self._at = self._at, self._microseconds(at)
        wait, after = 0, list[int]()
        needs = (1, min(size, BYTES_AN_HOUR // 2))
        for index, (limit, microseconds) in enumerate(self._limits):
            most = limit * microseconds
            come = max(0, self._at - before) * limit
            self._saved[index] = min(most, self._saved[index] + come)
            after.append(self._saved[index] - 2 * needs[index] * microseconds)
            wait = max(wait, -(after[index] // limit))
        if wait:
            return wait / 1_000_000
        self._saved = after
        return 0.0

    @staticmethod
    def _microseconds(seconds: float) -> int:
        return round(seconds * 1_000_000)


class Writer(logging.Handler):
    """Hands every line to a thread that writes it, and waits for nothing.

    The standard library's QueueListener waits without end for a reader that is gone, and its
    QueueHandler writes to standard error when there are too many lines; so this is our own.

    Args:
        formatter: Makes the lines.
        descriptor: Where they go.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self, formatter: Formatter, descriptor: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = formatter
        self._descriptor = descriptor
        self._clock = clock
        self._repeats = Repeats()
        self._pace = Pace(clock())
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._news = threading.Condition()
        self._ending = False
        self._torn = False
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()
        super().__init__()  # from now on it is closed at the end, which only one that writes can be

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written, unless it has been told a short while ago."""
        try:
            given = fields(record)
            event = tuple(
                (name, str(value))
                for name, value in given.items()
                if name != "ts" and name not in _WHICH
            )
            about = (record.name, *(str(given.get(name, "")) for name in _ABOUT))
            # A warning ends nothing: it comes beside what says how it ended.
            ends = _ours(record.name) and record.levelno != logging.WARNING
            outcome = "failed" if record.levelno > logging.WARNING else event
            repeated = self._repeats.since(event, self._clock(), about if ends else None, outcome)
            if repeated is None:
                lost["repeated"] += 1
                return
            if repeated:
                given["repeated"] = repeated
            line = utf_8(self._lines.line(given)) + b"\n"
        except Exception:  # noqa: BLE001 - a log line that cannot be made ends nobody's work
            lost["unwritable"] += 1
            return
        with self._news:
            if len(self._waiting) == WAITING:
                lost["overrun"] += 1
            self._waiting.append(line)
            self._news.notify()

    def close(self) -> None:
        """Have what waits written at once, and wait for it, but not for ever."""
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
                wait = self._pace.wait(len(self._waiting[0]), self._clock())
                if wait and not self._ending:
                    self._news.wait_for(lambda: self._ending, wait)
                    continue
                line = self._waiting.popleft()
            self._write(line)

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: its lock, held by a write that does not end, ends the interpreter.
        rest = b"\n" + line if self._torn else line
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
                self._torn = bool(rest)
            except BlockingIOError:  # somebody shares it who wants it so
                select.select([], [self._descriptor], [])
            except OSError:  # a full disk, a reader that is gone
                lost["unwritable"] += 1
                return


@contextmanager
def started(level: str, kind: str) -> Iterator[None]:
    """Log to standard error while entered; then the last lines are written.

    Whatever Python itself would print (exceptions that nobody caught, warnings) goes the same way.

    Args:
        level: One of `LEVELS`; the libraries' own loggers stay at warn, as they name addresses.
        kind: One of `FORMATS`.
    """
    _keep_descriptors()
    root, ours = logging.getLogger(), logging.getLogger("exporter")
    writer = Writer(Formatter(kind), 2)
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
        writer.close()


def _uncaught(text: str, error: BaseException | None) -> None:
    logging.getLogger(__name__).critical(text, exc_info=error)


def _warned(
    message: Warning | str,  # noqa: ARG001 - may hold a value
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Tell a warning by kind and place."""
    at = f"{'/'.join(filename.split('/')[-2:])}:{lineno}"
    logging.getLogger(__name__).warning("warning", extra={"kind": category.__name__, "at": at})


def say(text: object) -> None:
    """Print something for the operator on standard error; where that cannot be, go on."""
    with suppress(OSError):
        deliver(sys.stderr, utf_8(f"{text}\n"))


def utf_8(text: str) -> bytes:
    """A text as UTF-8; what the locale could not read of a file's name is as it was."""
    try:
        content = text.encode(errors="surrogateescape")
        content.decode()
    except UnicodeError:
        return text.encode(errors="backslashreplace")
    return content


def deliver(stream: TextIO | None, content: bytes) -> None:
    """Write some bytes to a standard stream now, past its encoding and however slow the reader is.

    Raises:
        OSError: If that cannot be; what is left, and what comes later, goes nowhere then.
    """
    if stream is None:  # closed before we were started
        return
    try:
        rest = content
        while True:
            try:
                # Less than all of it where PYTHONUNBUFFERED is set; None where it would have to wait.
                rest = rest[stream.buffer.write(rest) or 0 :]
                stream.buffer.flush()
            except BlockingIOError as error:  # somebody shares it who wants it so
                rest = rest[error.characters_written :]
                select.select([], [stream.buffer], [])
            else:
                if not rest:
                    return
                select.select([], [stream.buffer], [])
    except OSError:
        # Or Python tries again at the end, and fails the whole process.
        with suppress(OSError), _nowhere() as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
            stream.buffer.flush()
        raise


def _keep_descriptors() -> None:
    """Let nobody's socket take the number of a standard stream that is closed."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere())


def _nowhere() -> TextIO:
    return open(os.devnull, "r+", encoding="utf-8")  # noqa: PTH123 - to stay open
