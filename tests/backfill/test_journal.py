import math
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from exporter.backfill.journal import NAME, Journal
from exporter.backfill.readings import Reading
from exporter.errors import StartError
from exporter.model.samples import Sample
from exporter.reports.activity_trend import MESSAGES

DAY = date(2026, 11, 19)
READING = Reading("abcd", "b1", DAY, 24, (Sample(MESSAGES, ("", "bot"), 5.0),))


def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    with Journal(tmp_path / "new") as journal:
        assert not journal.has(b"one")
        journal.add("acme", [READING], b"one")
    with Journal(tmp_path / "new") as journal:
        assert journal.has(b"one")
        assert journal.known("acme", "b1", "abcd") == {(DAY, 24): [*READING.samples]}
        assert journal.known("other", "b1", "abcd") == {}


def test_a_value_that_cannot_be_read_stays_one(tmp_path: Path) -> None:
    sample = Sample(MESSAGES, ("", "bot"), math.nan)
    with Journal(tmp_path) as journal:
        journal.add("acme", [READING._replace(samples=(sample,))], b"one")
        [[again]] = journal.known("acme", "b1", "abcd").values()
    assert math.isnan(again.value)


def test_a_second_backfill_in_the_folder_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path) as first:
        first.add("acme", [], b"one")
        with pytest.raises(StartError, match="another backfill uses it"):
            Journal(tmp_path)


def test_a_journal_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("no database, but long enough to be looked at" * 100)
    with pytest.raises(StartError, match=f"{NAME}: file is not a database"):
        Journal(tmp_path)


def test_a_journal_of_another_version_is_told(tmp_path: Path) -> None:
    with Journal(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / NAME)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StartError, match="another version; name another folder"):
        Journal(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be made"):
        Journal(tmp_path / "file")
