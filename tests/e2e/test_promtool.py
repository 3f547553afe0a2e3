"""What Prometheus's own checker, ours and curl say of a real page."""

import shutil
import zlib
from typing import Final

import pytest
from e2e.programs import Demo, missing
from support.pagecheck import problems, series
from support.processes import Answer, finished, get

OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0"
FORMATS: Final = {
    "text/plain;version=0.0.4": "text/plain; version=0.0.4; charset=utf-8",
    OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
}

each_format = pytest.mark.parametrize("accept", FORMATS)
each_encoding = pytest.mark.parametrize("encoding", ["identity", "gzip"])


def plain(answer: Answer) -> bytes:
    """The page of an answer, out of exactly one gzip member if it is compressed."""
    if answer.headers.get("content-encoding") != "gzip":
        return answer.body
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    page = member.decompress(answer.body)
    assert member.eof
    assert member.unused_data == b""
    return page


def names(page: bytes) -> set[str]:
    return {name for name, _ in series(page)}


def test_promtool_has_nothing_to_say(promtool: str, demo: Demo) -> None:
    checked = finished([promtool, "check", "metrics"], stdin=get(demo.page).body)
    assert (checked.status, checked.stdout, checked.stderr) == (0, "", "")


@each_format
@each_encoding
def test_the_page_has_no_problem(demo: Demo, accept: str, encoding: str) -> None:
    answer = get(demo.page, {"Accept": accept, "Accept-Encoding": encoding})
    assert answer.status == 200
    assert answer.headers["content-type"] == FORMATS[accept]
    assert answer.headers.get("content-encoding", "identity") == encoding
    assert answer.headers["content-length"] == str(len(answer.body))
    page = plain(answer)
    assert problems(page, openmetrics=accept == OPENMETRICS) == []
    assert len(series(page)) > 500


@each_format
def test_compressed_or_not_the_series_are_the_same(demo: Demo, accept: str) -> None:
    bare, compressed = (
        series(plain(get(demo.page, {"Accept": accept, "Accept-Encoding": encoding})))
        for encoding in ("identity", "gzip")
    )
    assert bare.keys() == compressed.keys()


def test_gzip_is_at_least_ten_times_smaller(demo: Demo) -> None:
    answer = get(demo.page, {"Accept-Encoding": "gzip"})
    assert 10 * len(answer.body) < len(plain(answer))


def test_curl_reads_the_page_whole(demo: Demo) -> None:
    curl = shutil.which("curl") or missing("no curl")
    got = finished([curl, "--silent", "--fail", "--compressed", "--noproxy", "*", demo.page])
    assert got.status == 0, got.stderr
    assert names(got.stdout.encode()) == names(get(demo.page).body)
