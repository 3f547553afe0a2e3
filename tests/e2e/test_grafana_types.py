"""Grafana's own types have nothing to say of the dashboards, where Go can build what asks them."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from e2e.programs import ROOT, missing
from support.processes import finished

from grafana.builder.catalogue import BOARDS

FOLDER: Final = ROOT / "grafana" / "dashboards"
OURS: Final = ROOT / ".tools" / "grafana-types"

NEWER: Final = ("enablePagination", "frozenColumns")
"""What a table of Grafana 13 can do, and the newest of these types do not know yet."""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def checker() -> str:
    """The path of the checker."""
    if os.access(OURS, os.X_OK):
        return str(OURS)
    if not shutil.which("go"):
        # Not `missing`: a CI on a plain machine has no Go.
        pytest.skip("no Go: tests/get-grafana-types builds Grafana's types with it")
    return missing("Grafana's types are not built: tests/get-grafana-types says why")


def said(checker: str, file: Path) -> tuple[int, str]:
    """Its exit status and all that it says."""
    done = finished([checker, str(file)])
    return done.status, done.stdout + done.stderr


def shipped(uid: str = "seasalt-usage") -> Json:
    """A dashboard without what the types are too old for."""
    found: Json = json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8"))
    for one in found["panels"]:
        for option in NEWER if one["type"] == "table" else ():
            one["options"].pop(option, None)
    return found


def written(folder: Path, board: Json) -> Path:
    """The file of a dashboard."""
    file = folder / "dashboard.json"
    file.write_text(json.dumps(board), encoding="utf-8")
    return file


@pytest.mark.parametrize("uid", [board.uid for board in BOARDS])
def test_grafanas_own_types_have_nothing_to_say(checker: str, uid: str, tmp_path: Path) -> None:
    assert said(checker, written(tmp_path, shipped(uid))) == (0, "")


def test_what_they_are_too_old_for_is_left_out_only_as_long_as_they_are(checker: str) -> None:
    done = finished([checker, *(str(FOLDER / f"{board.uid}.json") for board in BOARDS)])
    unknown = set(
        re.findall(r"options\.Options: unexpected field '(\w+)'$", done.stdout, re.MULTILINE)
    )
    assert unknown == set(NEWER)


def panel(board: Json, kind: str) -> Json:
    """The first panel of a kind."""
    found: Json = next(one for one in board["panels"] if one["type"] == kind)
    return found


def an_option_that_there_is_not(board: Json) -> None:
    panel(board, "stat")["options"]["grpahMode"] = "area"


def a_setting_of_another_type(board: Json) -> None:
    panel(board, "timeseries")["fieldConfig"]["defaults"]["custom"]["lineWidth"] = "2"


def an_option_that_is_left_out(board: Json) -> None:
    del panel(board, "bargauge")["options"]["valueMode"]


def a_panel_that_is_too_wide(board: Json) -> None:
    panel(board, "timeseries")["gridPos"]["w"] = 25


def a_query_with_a_field_that_there_is_not(board: Json) -> None:
    panel(board, "timeseries")["targets"][0]["query"] = "up"


def a_panel_of_a_kind_that_is_not_known(board: Json) -> None:
    panel(board, "timeseries")["type"] = "timeserie"


def a_query_of_nobody_knows_what(board: Json) -> None:
    target = panel(board, "timeseries")["targets"][0]
    target["datasource"] = {"type": "promotheus", "uid": "${datasource}"}
    panel(board, "timeseries")["datasource"] = target["datasource"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (an_option_that_there_is_not, "unexpected field 'grpahMode'"),
        (a_setting_of_another_type, "lineWidth: json: cannot unmarshal string"),
        (an_option_that_is_left_out, "valueMode: required field is missing"),
        (a_panel_that_is_too_wide, "w: must be <= 24"),
        (a_query_with_a_field_that_there_is_not, "unexpected field 'query'"),
        (a_panel_of_a_kind_that_is_not_known, 'the kind "timeserie" cannot be checked'),
        (a_query_of_nobody_knows_what, "none of Prometheus cannot be checked"),
    ],
)
def test_a_spoilt_dashboard_is_noticed(
    checker: str, spoil: Callable[[Json], None], told: str, tmp_path: Path
) -> None:
    board = shipped()
    spoil(board)
    status, text = said(checker, written(tmp_path, board))
    assert (status, told in text) == (1, True), text


def test_a_file_that_is_no_dashboard_is_noticed(checker: str, tmp_path: Path) -> None:
    status, text = said(checker, written(tmp_path, {}))
    assert (status, "required field is missing" in text) == (1, True)
    status, text = said(checker, written(tmp_path, shipped() | {"panels": []}))
    assert (status, text.endswith(": no panels\n")) == (1, True)
    assert said(checker, tmp_path / "gone.json")[0] == 2
