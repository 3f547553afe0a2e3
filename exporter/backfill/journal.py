"""The journal: what every answer of a backfill brought, so that nothing is asked for twice.

It is a SQLite database. Each answer is one transaction: either all its readings and the day's count
of requests are there, or nothing. So a crash, a full disk or a lost network costs no more than the
requests that were in flight. A question whose answer brought no reading is asked again by the next
run.

It contains the samples of days, with their labels, and the names of bots, but no answer and no key.
Labels may be personal data: with `agent_labels`, they are agents' accounts. So only its owner may
read it.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final, Self

from exporter.backfill.plan import Request
from exporter.backfill.readings import Reading, decoded, encoded
from exporter.errors import StartError
from exporter.model.entry import Entry
from exporter.model.samples import Sample
from exporter.upstream.limiter import SenderState

NAME: Final = "answers.sqlite3"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS reading (
  account TEXT, bot TEXT, question TEXT, hour INTEGER, day INTEGER, asked INTEGER, samples TEXT,
  PRIMARY KEY (account, bot, question, hour, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bots (
  account TEXT PRIMARY KEY, wanted TEXT, listed TEXT, bots TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget (
  account TEXT PRIMARY KEY, day TEXT, spent INTEGER, not_before TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pushed (
  store BLOB, unit BLOB, PRIMARY KEY (store, unit)
) WITHOUT ROWID;
PRAGMA user_version = 2;
"""
_VERSION: Final = 2

LISTED_FOR: Final = timedelta(days=1)
"""How long a list of bots is used again: for as long as runs follow each other."""


class Journal:
    """The answers of a backfill in a folder; safe to use from several threads.

    Args:
        folder: The folder, which is made if it is missing.

    Raises:
        StartError: If it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = Lock()
        with self._in_our_words():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StartError(f"{folder}: cannot be made: {error.strerror}") from None
            try:
                # SQLite gives the files beside it the same mode.
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise StartError(f"{self._path}: cannot be written: {error.strerror}") from None
            self._connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False)
            try:
                # A second backfill in the folder would send the same requests.
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                [version] = self._connection.execute("PRAGMA user_version").fetchone()
                if version in {0, _VERSION}:
                    self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise
            if version not in {0, _VERSION}:
                self._connection.close()
                raise self._foreign()

    def _foreign(self) -> StartError:
        return StartError(f"{self._path}: was made by another version; name another folder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def missing(self, account: str, request: Request) -> Request | None:
        """The part of a request that is not known yet; None if all of it is.

        Raises:
            StartError: If it cannot be read.
        """
        sql = (
            "SELECT day FROM reading WHERE account = ? AND bot = ? AND question = ? AND hour = ?"
            " AND day BETWEEN ? AND ? AND asked >= ?"
        )
        first, last = (day.toordinal() for day in request.days)

        def known(entry: Entry) -> frozenset[date]:
            about = (account, request.target.bot_id, entry.question, request.hour)
            with self._lock, self._in_our_words():
                rows = self._connection.execute(
                    sql, (*about, first, last, request.since.toordinal())
                )
                return frozenset(date.fromordinal(day) for (day,) in rows)

        return request.missing(known)

    def add(self, account: str, readings: Iterable[Reading], standing: SenderState) -> None:
        """Keep what a request brought, and how many requests the day has had with it.

        Raises:
            StartError: If it cannot be written.
        """
        rows = [
            (account, bot, question, hour, day.toordinal(), asked.toordinal(), encoded(samples))
            for question, bot, day, hour, asked, samples in readings
        ]
        with self._lock, self._in_our_words(), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._keep_standing(account, standing)

    def known(
        self, account: str, bot_id: str, question: str
    ) -> dict[tuple[date, int], Sequence[Sample]]:
        """What one question brought for a workspace or bot, by day and hour.

        Raises:
            StartError: If it cannot be read.
        """
        with self._lock, self._in_our_words():
            rows = self._connection.execute(
                "SELECT day, hour, samples FROM reading"
                " WHERE account = ? AND bot = ? AND question = ? ORDER BY day, hour",
                (account, bot_id, question),
            ).fetchall()
            return {(date.fromordinal(day), hour): decoded(text) for day, hour, text in rows}

    def bots(self, account: str, wanted: str, now: datetime) -> list[tuple[str, str]] | None:
        """The ids and names of an account's bots.

        None if they are unknown, were listed more than `LISTED_FOR` ago, or if other bots were
        wanted then.

        Raises:
            StartError: If it cannot be read.
        """
        sql = "SELECT listed, bots FROM bots WHERE account = ? AND wanted = ?"
        with self._lock, self._in_our_words():
            row = self._connection.execute(sql, (account, wanted)).fetchone()
            if row is None or abs(now - datetime.fromisoformat(row[0])) > LISTED_FOR:
                return None
            return [(identity, name) for identity, name in json.loads(row[1])]

    def add_bots(
        self, account: str, wanted: str, now: datetime, bots: Iterable[tuple[str, str]]
    ) -> None:
        """Keep the bots of an account, so that the next run does not read the list again.

        Raises:
            StartError: If it cannot be written.
        """
        row = (account, wanted, now.isoformat(), json.dumps([*bots]))
        with self._lock, self._in_our_words(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO bots VALUES (?, ?, ?, ?)", row)

    def standing(self, account: str) -> SenderState:
        """What the requests of earlier runs leave to this one: the day's count and a pause.

        Raises:
            StartError: If it cannot be read.
        """
        sql = "SELECT day, spent, not_before FROM budget WHERE account = ?"
        with self._lock, self._in_our_words():
            row = self._connection.execute(sql, (account,)).fetchone()
            if row is None:
                return SenderState()
            day, spent, until = row
            return SenderState(
                not_before=datetime.fromisoformat(until) if until else None,
                day=date.fromisoformat(day) if day else None,
                spent=spent,
            )

    def keep_standing(self, account: str, standing: SenderState) -> None:
        """Keep what this run's requests leave to the next one.

        Raises:
            StartError: If it cannot be written.
        """
        with self._lock, self._in_our_words(), self._connection:
            self._keep_standing(account, standing)

    def _keep_standing(self, account: str, standing: SenderState) -> None:
        day, until = standing.day, standing.not_before
        row = (account, day and day.isoformat(), standing.spent, until and until.isoformat())
        self._connection.execute("INSERT OR REPLACE INTO budget VALUES (?, ?, ?, ?)", row)

    def is_pushed(self, store: bytes, unit: bytes) -> bool:
        """Whether a unit is in a store."""
        sql = "SELECT 1 FROM pushed WHERE store = ? AND unit = ?"
        with self._lock, self._in_our_words():
            return self._connection.execute(sql, (store, unit)).fetchone() is not None

    def pushed(self, store: bytes, units: Iterable[bytes]) -> None:
        """Note that units are in a store.

        Raises:
            StartError: If it cannot be written.
        """
        with self._lock, self._in_our_words(), self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO pushed VALUES (?, ?)", [(store, unit) for unit in units]
            )

    def forget_pushed(self, store: bytes) -> None:
        """Take nothing to be in a store any more.

        Raises:
            StartError: If it cannot be written.
        """
        with self._lock, self._in_our_words(), self._connection:
            self._connection.execute("DELETE FROM pushed WHERE store = ?", (store,))

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise StartError(f"{self._path}: another backfill uses it") from None
            raise StartError(f"{self._path}: {error}") from None
        except ValueError:
            raise self._foreign() from None
