"""What a file that should hold a key may hold, and what becomes of one that holds something else."""

import tracemalloc
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.config.api_keys import LARGEST_KEY, ApiKey
from exporter.errors import Outcome, RequestFailed

KEY = "sk-canary-0123456789"


def read(path: Path, content: bytes) -> str:
    file = path / "key"
    file.write_bytes(content)
    return ApiKey(file=file).read()


def refused(key: ApiKey) -> str:
    """Why a key is refused; never with the key in it."""
    with pytest.raises(RequestFailed) as caught:
        key.read()
    assert caught.value.outcome is Outcome.CLIENT_ERROR
    assert caught.value.__cause__ is None
    assert "canary" not in repr(caught.value) + str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(KEY.encode(), id="alone"),
        pytest.param(f"  {KEY}\r\n\n".encode(), id="white-space"),
        pytest.param(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n", id="byte-order-mark"),
    ],
)
def test_a_key_file_holds_the_key_and_nothing_that_is_seen(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == KEY


def test_a_key_has_at_most_4096_characters(tmp_path: Path) -> None:
    assert len(read(tmp_path, b"k" * LARGEST_KEY)) == 4096

    (tmp_path / "key").write_bytes(b"k" * (LARGEST_KEY + 1))
    assert "must be ASCII letters" in refused(ApiKey(file=tmp_path / "key"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"\xff\xfe" + KEY.encode("utf-16-le"), "a text file", id="utf-16"),
        pytest.param(b"\x80" + KEY.encode(), "a text file", id="binary"),
        pytest.param(f"{KEY}\n{KEY}".encode(), "without white space", id="two-keys"),
        pytest.param(f"{KEY}\0".encode(), "without white space", id="nul"),
        pytest.param(f"key={KEY}é".encode(), "must be ASCII", id="not-ascii"),
        pytest.param(f"Authorization: {KEY}".encode(), "without the name of a header", id="header"),
        pytest.param(b" \n", "must not be empty", id="blank"),
        pytest.param(b"\xef\xbb\xbf", "must not be empty", id="nothing-but-a-mark"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)

    assert why in refused(ApiKey(file=file))


def test_a_huge_key_file_is_not_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with file.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)

    tracemalloc.start()
    try:
        refused(ApiKey(file=file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1024 * 1024


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "must be a regular file" in refused(ApiKey(file=tmp_path))


def test_a_file_that_cannot_even_be_looked_for_is_refused(tmp_path: Path) -> None:
    # As in a folder that is closed to us; this one is refused to root as well.
    assert "cannot be read" in refused(ApiKey(file=tmp_path / ("x" * 300)))


@pytest.mark.parametrize("key", ["env:CANARY_KEY", "%CANARY_KEY%"])
def test_a_variable_as_it_is_named_elsewhere_is_no_key(key: str) -> None:
    assert "${NAME}" in refused(ApiKey(SecretStr(key)))
