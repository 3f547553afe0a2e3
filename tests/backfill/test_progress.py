import sys
from datetime import date
from io import StringIO
from typing import Any

import pytest
from support.workspaces import workspace

from exporter.backfill.plan import Plan, Range, Request
from exporter.backfill.progress import shown

DAY = date(2026, 11, 19)


class Terminal(StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def requests() -> list[Request]:
    made = workspace(["communication_volume"], bots=2)
    return list(Plan(made, made.bots, Range(DAY, DAY)).requests())


def test_on_a_terminal_there_is_a_bar_for_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    with shown({"B": 2}, lambda: 0.0) as progress:
        for request in requests():
            progress.done(request)
        progress.note("waiting [30] s")
    said = out.getvalue()
    assert "2/2" in said
    assert "totals of single days" in said
    assert "waiting [30] s" in said


def test_elsewhere_there_is_a_line_every_ten_seconds_and_at_the_end_of_a_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock: list[Any] = [0.0]
    with shown({"B": 4}, lambda: clock[0]) as progress:
        for request, at in zip(requests() * 2, (1.0, 11.0, 12.0, 13.0), strict=True):
            clock[0] = at
            progress.done(request)
    assert capsys.readouterr().err.splitlines() == ["B: 2 of 4 requests", "B: 4 of 4 requests"]
