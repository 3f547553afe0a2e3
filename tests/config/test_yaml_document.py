"""Files that are no configuration at all: refused in a line, whatever they hold."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, strategies as st
from support.processes import finished

from exporter.config import yaml_document
from exporter.config.yaml_document import DEEPEST, LARGEST_FILE, MOST_VALUES, read
from exporter.errors import ConfigError


def refused(file: object) -> str:
    """The one mistake that is told of a file."""
    with pytest.raises(ConfigError) as caught:
        read(str(file), {})
    assert caught.value.__cause__ is None
    (mistake,) = caught.value.mistakes
    assert "canary" not in str(mistake)
    return str(mistake)


def test_no_configuration_is_larger_than_a_megabyte(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    with file.open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)

    assert refused(file) == f"{file}: must not be larger than 1048576 bytes"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "], ids=["list", "mapping", "block"])
def test_a_file_that_is_nested_without_an_end_is_refused(tmp_path: Path, opening: str) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(opening * 3000, encoding="utf-8")

    assert refused(file) == f"{file}:1: nested too deeply"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a: canary\xff\n", id="latin-1"),
        pytest.param("a: canary\n".encode("utf-16"), id="utf-16"),
        pytest.param(b"a: canary\x00\n", id="nul"),
        pytest.param(b"a: canary\x1b[31m\n", id="escape"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_bytes(content)

    assert refused(file) == f"{file}:1: not a UTF-8 text without control characters"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_bytes(b"\xef\xbb\xbfa: b\n")

    assert read(str(file), {}).data == {"a": "b"}


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: must be a regular file"


@pytest.mark.parametrize(
    "key", ["[canary, b]", "{canary: b}", "? [canary]\n    "], ids=["list", "mapping", "block"]
)
def test_a_key_that_is_no_word_is_told_where_it_stands(tmp_path: Path, key: str) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text(f"top:\n  inner:\n    {key}: x\n    good: y\n", encoding="utf-8")

    found = read(str(file), {})

    assert [str(mistake) for mistake in found.mistakes] == [
        f"{file}:3: top.inner: a key must be a plain word"
    ]
    assert found.data == {"top": {"inner": {"good": "y"}}}


SLIPS = {
    "a: b: c\n": "1: not valid YAML (column 5): mapping values are not allowed here: a text with a"
    " colon and a space in it needs quotation marks",
    "a: [canary\nb: canary": "2: not valid YAML (column 2): expected ',' or ']', but got ':'",
    "a:\n\tb: canary\n": "2: not valid YAML (column 1): YAML is indented with spaces, not with tabs",
    "a: @canary\n": "1: not valid YAML (column 4): a value that begins with @, % or ` needs"
    " quotation marks",
    "a: !canary!x 1\n": "1: not valid YAML (column 4)",
    "a: *canary\n": "1: not valid YAML (column 4): anchors and aliases are not supported",
}


@pytest.mark.parametrize(("text", "says"), SLIPS.items())
def test_without_libyaml_a_slip_is_told_as_well(
    tmp_path: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_document, "Loader", yaml_document.PureLoader)
    file = tmp_path / "seasalt.yml"
    file.write_text(text, encoding="utf-8")

    assert refused(file) == f"{file}:{says}"


def test_a_file_is_read_where_pyyaml_was_built_without_libyaml(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text("a: [b, c]\n", encoding="utf-8")
    program = """
import sys, yaml
yaml.__with_libyaml__ = False
del yaml.CSafeLoader
from exporter.config.yaml_document import read
print(read(sys.argv[1], {}).data)
"""

    done = finished([sys.executable, "-c", program, str(file)])

    assert (done.status, done.stdout) == (0, "{'a': ['b', 'c']}\n"), done.stderr


TEXTS = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_characters="$"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=12,
)


@given(TEXTS)
def test_with_and_without_libyaml_a_file_means_the_same(content: object) -> None:
    text = yaml.safe_dump({"a": content})

    with TemporaryDirectory() as folder:
        file = Path(folder, "seasalt.yml")
        file.write_text(text, encoding="utf-8")
        with_it = read(str(file), {}).data
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yaml_document, "Loader", yaml_document.PureLoader)
            without = read(str(file), {}).data

    assert with_it == without


@pytest.mark.parametrize("loader", [yaml_document.FastLoader, yaml_document.PureLoader])
def test_a_file_has_so_many_values_and_levels_and_no_more(
    tmp_path: Path, loader: type[yaml_document.PureLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_document, "Loader", loader)
    file = tmp_path / "seasalt.yml"
    file.write_text("[" * DEEPEST + "]" * DEEPEST, encoding="utf-8")
    assert read(str(file), {}).mistakes == []
    file.write_text("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), encoding="utf-8")
    assert refused(file) == f"{file}:1: nested too deeply"

    monkeypatch.setattr(yaml_document, "MOST_VALUES", 100)
    file.write_text("[" + "a," * 99 + "]", encoding="utf-8")
    assert read(str(file), {}).mistakes == []
    file.write_text("[" + "canary," * 100 + "]", encoding="utf-8")
    assert refused(file) == f"{file}:1: more than 100 values"


def test_no_configuration_has_more_than_100000_values(tmp_path: Path) -> None:
    file = tmp_path / "seasalt.yml"
    file.write_text("[" + "a," * MOST_VALUES + "]", encoding="utf-8")

    assert refused(file) == f"{file}:1: more than 100000 values"
