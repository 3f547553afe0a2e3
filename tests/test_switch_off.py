"""The list of protections fits the code, so that `tests/switch-off` tests what it says."""

import ast
from pathlib import Path
from typing import Final

import pytest
from support.protections import PROTECTIONS, Protection

ROOT: Final = Path(__file__).parent.parent

every_protection = pytest.mark.parametrize(
    "protection", [pytest.param(one, id=one.name) for one in PROTECTIONS]
)


@every_protection
def test_a_protection_is_where_the_list_says_and_goes_without_breaking_the_code(
    protection: Protection,
) -> None:
    text = (ROOT / protection.file).read_text(encoding="utf-8")
    assert protection.off(text) != text
    if protection.file.endswith(".py"):
        ast.parse(protection.off(text))
    for test in protection.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_a_protection_that_moved_is_told() -> None:
    with pytest.raises(ValueError, match="found 0 times"):
        PROTECTIONS[0].off("")


def test_there_are_at_least_twelve_each_with_a_name_of_its_own() -> None:
    assert len({one.name for one in PROTECTIONS}) == len(PROTECTIONS) >= 12
