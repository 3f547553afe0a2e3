import math
import os
import sqlite3
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from exporter.backfill.journal import LISTED_FOR, NAME, Journal
from exporter.backfill.readings import Reading
from exporter.errors import StartError
from exporter.model.samples import Sample
from exporter.reports.activity_trend import MESSAGES
from exporter.upstream.limiter import SenderState

DAY = date(2026, 11, 19)
READING = Reading(
    "abcd", "b1", DAY, 24, DAY + timedelta(days=1), (Sample(MESSAGES, ("", "bot"), 5.0),)
)
SPENT = SenderState(day=DAY, spent=3)


def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    with Journal(tmp_path / "new") as journal:
        journal.add("acme", [READING], SPENT)
    with Journal(tmp_path / "new") as journal:
        assert journal.standing("acme") == SPENT
        assert journal.standing("other") == SenderState()
        assert journal.known("acme", "b1", "abcd") == {(DAY, 24): [*READING.samples]}
        assert journal.known("other", "b1", "abcd") == {}


def test_a_value_that_cannot_be_read_stays_one(tmp_path: Path) -> None:
    sample = Sample(MESSAGES, ("", "bot"), math.nan)
    with Journal(tmp_path) as journal:
        journal.add("acme", [READING._replace(samples=(sample,))], SPENT)
        [[again]] = journal.known("acme", "b1", "abcd").values()
    assert math.isnan(again.value)


def test_a_second_backfill_in_the_folder_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path) as first:
        first.add("acme", [], SPENT)
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


def test_nobody_but_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Journal(tmp_path) as journal:
            journal.add("acme", [READING], SPENT)
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert NAME in modes
    assert set(modes.values()) == {0o600}


def test_a_list_of_bots_is_used_again_for_a_day_and_for_the_same_wish(tmp_path: Path) -> None:
    now, bots = datetime(2026, 11, 20, 12, tzinfo=UTC), [("b1", "Order Desk")]
    with Journal(tmp_path) as journal:
        assert journal.bots("acme", "all", now) is None
        journal.add_bots("acme", "all", now, bots)
        assert journal.bots("acme", "all", now + LISTED_FOR) == bots
        assert journal.bots("acme", "all", now + LISTED_FOR + timedelta(seconds=1)) is None
        assert journal.bots("acme", "some", now) is None
        assert journal.bots("other", "all", now) is None


def test_what_was_pushed_into_one_store_is_in_no_other_and_can_be_forgotten(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path) as journal:
        journal.pushed(b"one", [b"u1", b"u2"])
        journal.pushed(b"two", [b"u2"])
        assert journal.is_pushed(b"one", b"u1")
        assert not journal.is_pushed(b"two", b"u1")
        journal.forget_pushed(b"one")
        assert not journal.is_pushed(b"one", b"u2")
        assert journal.is_pushed(b"two", b"u2")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be made"):
        Journal(tmp_path / "file")
