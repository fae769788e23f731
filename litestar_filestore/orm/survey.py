"""A throw-away index on disk of keys seen somewhere, so that two worlds of any size are compared in flat memory."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.orm.ledger import Facts, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ("Held", "Survey")

_PAGE = 500


class Held(NamedTuple):
    """One file in a row."""

    object: ObjectKey
    """Which object it is."""
    facts: Facts
    """What the row says of it."""
    place: str
    """Where it is, for people: class, primary key and attribute."""


class Survey:
    """Keys with an optional size, in a private temporary SQLite file that goes away with the context."""

    def __init__(self) -> None:
        """Make the file."""
        self._folder = tempfile.TemporaryDirectory(prefix="litestar-filestore-survey-")
        self._database = sqlite3.connect(Path(self._folder.name) / "survey.db", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA temp_store = file;"
            "CREATE TABLE seen (backend TEXT, key TEXT, size INTEGER, checksum TEXT, place TEXT,"
            " PRIMARY KEY (backend, key)) WITHOUT ROWID;"
            # What is seen for a second time and again; rare, so that most of a world needs no other index.
            "CREATE TABLE again (backend TEXT, key TEXT, place TEXT);"
            "CREATE INDEX again_key ON again (backend, key);"
        )

    def __enter__(self) -> Self:
        """Return the survey."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the file."""
        self._database.close()
        self._folder.cleanup()

    def __len__(self) -> int:
        """Return the number of keys."""
        return int(self._database.execute("SELECT count(*) FROM seen").fetchone()[0])

    def add(self, entries: Iterable[tuple[ObjectKey, int | None]]) -> list[ObjectKey]:
        """Note keys and return those that were there already."""
        repeated: list[ObjectKey] = []
        self._database.execute("BEGIN")
        for key, size in entries:
            if not self._insert(key, size, None, None):
                repeated.append(key)
        self._database.execute("COMMIT")
        return repeated

    def hold(self, files: Iterable[Held]) -> None:
        """Note files of rows, and count how many places hold each object."""
        self._database.execute("BEGIN")
        for key, facts, place in files:
            if not self._insert(key, facts.size, facts.checksum, place):
                self._database.execute("INSERT INTO again VALUES (?, ?, ?)", (*key, place))
        self._database.execute("COMMIT")

    def _insert(self, key: ObjectKey, *known: object) -> bool:
        return bool(
            self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?)", (*key, *known)).rowcount
        )

    def sizes(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, int | None]:
        """Return the sizes of those keys that were noted."""
        found: dict[ObjectKey, int | None] = {}
        for key in keys:
            row = self._database.execute("SELECT size FROM seen WHERE backend = ? AND key = ?", key).fetchone()
            if row is not None:
                found[key] = row[0]
        return found

    def facts(self, key: ObjectKey) -> Facts:
        """Return what the first row said of an object that was noted."""
        query = "SELECT size, checksum FROM seen WHERE backend = ? AND key = ?"
        return Facts(*self._database.execute(query, key).fetchone())

    def holders(self, key: ObjectKey) -> int:
        """Return how many places hold an object; a row may hold it in more than one."""
        (once,) = self._database.execute("SELECT count(*) FROM seen WHERE backend = ? AND key = ?", key).fetchone()
        (more,) = self._database.execute("SELECT count(*) FROM again WHERE backend = ? AND key = ?", key).fetchone()
        return int(once + more)

    def places(self, key: ObjectKey, count: int) -> tuple[str, ...]:
        """Return up to `count` of the places that hold an object."""
        query = (
            "SELECT place FROM seen WHERE backend = :b AND key = :k "
            "UNION ALL SELECT place FROM again WHERE backend = :b AND key = :k LIMIT :n"
        )
        rows = self._database.execute(query, {"b": key.backend, "k": key.key, "n": count})
        return tuple(place for (place,) in rows)

    def pages(self) -> Iterator[list[ObjectKey]]:
        """Yield all keys in their order, some hundreds at a time."""
        last: tuple[str, str] = ("", "")
        while rows := self._database.execute(
            "SELECT backend, key FROM seen WHERE (backend, key) > (?, ?) ORDER BY backend, key LIMIT ?", (*last, _PAGE)
        ).fetchall():
            yield [ObjectKey(*row) for row in rows]
            last = rows[-1]
