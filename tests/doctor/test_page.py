"""The page about doctor, held to what the command does."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from doctor.conftest import Account
from doctor.test_examination import TEMPERS, USUAL, WRONG

from exporter.commands import doctor
from exporter.doctor.findings import ASKED, Verdict
from exporter.sandbox import Temperament

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/doctor.md"
TRANSCRIPT: Final = re.compile(
    r"(?<=<!-- transcript -->\n).*(?=<!-- end of the transcript -->)", re.DOTALL
)
REWRITE: Final = "REWRITE" in os.environ
ANSWERS: Final = sorted(
    {
        *USUAL.items(),
        *(pair for _, _, others in TEMPERS for pair in others.items()),
        *((question, answer) for *_, question, answer, _ in WRONG),
    }
)


def row(question: str) -> str:
    """The row of the table about a question."""
    (found,) = re.findall(
        rf"^\| `{question}` \|.*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return str(found)


@pytest.mark.parametrize("question", ASKED)
def test_every_question_is_on_the_page(question: str) -> None:
    assert row(question)


@pytest.mark.parametrize(("question", "answer"), ANSWERS)
def test_every_answer_is_on_the_page(question: str, answer: str) -> None:
    assert answer == "unknown" or f"`{answer}`" in row(question)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_on_the_page(verdict: Verdict) -> None:
    assert f"| `{verdict}` |" in PAGE.read_text(encoding="utf-8")


def test_the_page_says_what_the_command_prints(account: Callable[..., Account]) -> None:
    one = account(Temperament.SILENT_MISSING_BOT)
    usage = {"metric": "label_usage", "window": "last_7_days", "labels": ["Support", "sales"]}
    examination = one.examined(
        bots=[{"id": one.owner.bots[0].id}, {"id": "bot_12345"}],
        metrics=["conversation_overview", "csat", usage],
        requests_per_day=500,
    )
    told = f"```\n{doctor.text(examination)}```\n"

    page = PAGE.read_text(encoding="utf-8")
    if REWRITE:
        PAGE.write_text(TRANSCRIPT.sub(lambda _: told, page), encoding="utf-8")
        return
    assert TRANSCRIPT.findall(page) == [told], "tests/rewrite writes it anew"


def test_the_json_on_the_page_has_the_fields_that_are_printed(
    account: Callable[..., Account],
) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed = json.loads(json.dumps(doctor.as_json([account().examined()])))

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {name: shape(item) for name, item in value.items()}
        if isinstance(value, list):
            return [shape(value[0])]
        return "number" if isinstance(value, int | float) else type(value).__name__

    shown = json.loads(text)
    for workspace in printed["workspaces"]:
        workspace["asked"] = [one for one in workspace["asked"] if one["metrics"]]
    assert shape(shown) == shape(printed)


@pytest.mark.parametrize("temperament", Temperament)
def test_every_temperament_is_on_the_page_about_the_sandbox(temperament: Temperament) -> None:
    page = (ROOT / "docs/sandbox.md").read_text(encoding="utf-8")
    assert f"| `{temperament}` |" in page
