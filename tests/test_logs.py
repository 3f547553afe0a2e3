import io
import json
import logging
import sys

import pytest

from exporter.logs import Formatter


def written(kind: str, message: str = "report failed", **fields: object) -> str:
    record = logging.makeLogRecord(
        {"name": "exporter.poller", "levelno": logging.WARNING, "msg": message, "created": 0.5}
    )
    record.__dict__.update(fields)
    return Formatter(kind).format(record)


def test_a_logfmt_line_has_time_level_logger_message_and_fields() -> None:
    assert written("logfmt", report="csat", reason="HTTP 500") == (
        "ts=1970-01-01T00:00:00.500+00:00 level=warn logger=exporter.poller"
        ' msg="report failed" report=csat reason="HTTP 500"'
    )


def test_a_json_line_has_the_same() -> None:
    assert json.loads(written("json", report="csat")) == {
        "ts": "1970-01-01T00:00:00.500+00:00",
        "level": "warn",
        "logger": "exporter.poller",
        "msg": "report failed",
        "report": "csat",
    }


@pytest.mark.parametrize("kind", ["logfmt", "json"])
def test_an_event_is_one_line_whatever_is_in_it(kind: str) -> None:
    line = written(kind, 'a "quoted"\nmessage=x', report="new\nline\r\x1b[31m")

    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


@pytest.mark.parametrize("kind", ["logfmt", "json"])
def test_a_traceback_is_in_the_same_line(kind: str) -> None:
    try:
        int("boom")
    except ValueError:
        line = written(kind, exc_info=sys.exc_info())

    assert len(line.splitlines()) == 1
    assert "ValueError: invalid literal" in line


def test_an_empty_field_is_left_out() -> None:
    assert "bot_id" not in written("logfmt", bot_id="")


def test_the_libraries_log_nothing_below_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from exporter import logs  # noqa: PLC0415

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.start("debug", "logfmt")
        logging.getLogger("httpx").info("HTTP Request: POST https://chat.seasalt.ai")
        logging.getLogger("exporter.poller").debug("polled")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("exporter").setLevel(logging.NOTSET)

    assert "HTTP Request" not in stream.getvalue()
    assert "msg=polled" in stream.getvalue()
