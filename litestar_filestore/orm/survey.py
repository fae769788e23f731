"""A throw-away index on disk of keys seen somewhere, so that two worlds of any size are compared in flat memory."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from litestar_filestore.orm.ledger import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ("Survey",)

_PAGE = 500


class Survey:
    """Keys with an optional size, in a private temporary SQLite file that goes away with the context."""

    def __init__(self) -> None:
        """Make the file."""
        self._folder = tempfile.TemporaryDirectory(prefix="litestar-filestore-survey-")
        self._database = sqlite3.connect(Path(self._folder.name) / "survey.db", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA temp_store = file;"
            "CREATE TABLE seen (backend TEXT, key TEXT, size INTEGER, PRIMARY KEY (backend, key)) WITHOUT ROWID;"
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
            cursor = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (*key, size))
            if not cursor.rowcount:
                repeated.append(key)
        self._database.execute("COMMIT")
        return repeated

    def sizes(self, keys: Sequence[ObjectKey]) -> dict[ObjectKey, int | None]:
        """Return the sizes of those keys that were noted."""
        found: dict[ObjectKey, int | None] = {}
        for key in keys:
            row = self._database.execute("SELECT size FROM seen WHERE backend = ? AND key = ?", key).fetchone()
            if row is not None:
                found[key] = row[0]
        return found

    def pages(self) -> Iterator[list[ObjectKey]]:
        """Yield all keys in their order, some hundreds at a time."""
        last: tuple[str, str] = ("", "")
        while rows := self._database.execute(
            "SELECT backend, key FROM seen WHERE (backend, key) > (?, ?) ORDER BY backend, key LIMIT ?", (*last, _PAGE)
        ).fetchall():
            yield [ObjectKey(*row) for row in rows]
            last = rows[-1]
