"""The journal: every answer of a backfill, so that no request is sent twice.

It is a SQLite database. Each answer is one transaction: either its request and all its readings are
there, or nothing. So a crash, a full disk or a lost network costs no more than the requests that
were in flight. It contains samples of days and digests of requests, but no answer, no key and no
personal data.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import Final, Self

from exporter.backfill.readings import Reading, decoded, encoded
from exporter.errors import StartError
from exporter.model.samples import Sample
from exporter.upstream.limiter import SenderState

NAME: Final = "answers.sqlite3"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answered (request BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reading (
  workspace TEXT, bot TEXT, question TEXT, day INTEGER, hour INTEGER, samples TEXT,
  PRIMARY KEY (workspace, bot, question, day, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bots (workspace TEXT PRIMARY KEY, bots TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS budget (
  workspace TEXT PRIMARY KEY, day TEXT, spent INTEGER, not_before TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pushed (unit BLOB PRIMARY KEY) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


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
            self._connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False)
            try:
                # A second backfill in the folder would send the same requests.
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                [version] = self._connection.execute("PRAGMA user_version").fetchone()
                if version in {0, 1}:
                    self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise
            if version not in {0, 1}:
                self._connection.close()
                raise self._foreign()

    def _foreign(self) -> StartError:
        return StartError(f"{self._path}: was made by another version; name another folder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def has(self, request: bytes) -> bool:
        """Whether a request is answered, by its key."""
        return self._one("SELECT 1 FROM answered WHERE request = ?", request)

    def add(self, workspace: str, readings: Iterable[Reading], request: bytes | None) -> None:
        """Keep what a request brought; without a request, what is known without one.

        Raises:
            StartError: If it cannot be written.
        """
        rows = [
            (workspace, bot, question, day.toordinal(), hour, encoded(samples))
            for question, bot, day, hour, samples in readings
        ]
        with self._lock, self._in_our_words(), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            if request is not None:
                self._connection.execute("INSERT OR IGNORE INTO answered VALUES (?)", (request,))

    def known(
        self, workspace: str, bot_id: str, question: str
    ) -> dict[tuple[date, int], Sequence[Sample]]:
        """What one question brought for a workspace or bot, by day and hour.

        Raises:
            StartError: If it cannot be read.
        """
        with self._lock, self._in_our_words():
            rows = self._connection.execute(
                "SELECT day, hour, samples FROM reading"
                " WHERE workspace = ? AND bot = ? AND question = ? ORDER BY day, hour",
                (workspace, bot_id, question),
            ).fetchall()
            return {(date.fromordinal(day), hour): decoded(text) for day, hour, text in rows}

    def bots(self, workspace: str) -> list[tuple[str, str]] | None:
        """The ids and names of a workspace's bots; None if they are unknown.

        Raises:
            StartError: If it cannot be read.
        """
        sql = "SELECT bots FROM bots WHERE workspace = ?"
        with self._lock, self._in_our_words():
            row = self._connection.execute(sql, (workspace,)).fetchone()
            return [(identity, name) for identity, name in json.loads(row[0])] if row else None

    def add_bots(self, workspace: str, bots: Iterable[tuple[str, str]]) -> None:
        """Keep the bots of a workspace, so that its list is not read twice.

        Raises:
            StartError: If it cannot be written.
        """
        row = (workspace, json.dumps([*bots]))
        with self._lock, self._in_our_words(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO bots VALUES (?, ?)", row)

    def standing(self, workspace: str) -> SenderState:
        """What the requests of earlier runs leave to this one: the day's count and a pause.

        Raises:
            StartError: If it cannot be read.
        """
        sql = "SELECT day, spent, not_before FROM budget WHERE workspace = ?"
        with self._lock, self._in_our_words():
            row = self._connection.execute(sql, (workspace,)).fetchone()
            if row is None:
                return SenderState()
            day, spent, until = row
            return SenderState(
                not_before=datetime.fromisoformat(until) if until else None,
                day=date.fromisoformat(day) if day else None,
                spent=spent,
            )

    def keep_standing(self, workspace: str, standing: SenderState) -> None:
        """Keep what this run's requests leave to the next one.

        Raises:
            StartError: If it cannot be written.
        """
        day, until = standing.day, standing.not_before
        row = (workspace, day and day.isoformat(), standing.spent, until and until.isoformat())
        with self._lock, self._in_our_words(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO budget VALUES (?, ?, ?, ?)", row)

    def is_pushed(self, unit: bytes) -> bool:
        """Whether a unit is in the store."""
        return self._one("SELECT 1 FROM pushed WHERE unit = ?", unit)

    def pushed(self, units: Iterable[bytes]) -> None:
        """Note that units are in the store.

        Raises:
            StartError: If it cannot be written.
        """
        with self._lock, self._in_our_words(), self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO pushed VALUES (?)", [(unit,) for unit in units]
            )

    def _one(self, sql: str, key: bytes) -> bool:
        with self._lock, self._in_our_words():
            return self._connection.execute(sql, (key,)).fetchone() is not None

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
