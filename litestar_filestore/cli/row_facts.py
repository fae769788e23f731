"""What the rows of an application say about the objects of a backend, for stores that keep no content types."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.backends.moving.mover import KnownFacts
from litestar_filestore.ledger.adopt import stored_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from sqlalchemy.orm import Mapper

__all__ = ("RowFacts",)


class RowFacts:
    """Facts by key, in a temporary file: there may be millions."""

    def __init__(self, backend: str) -> None:
        """Know nothing yet about the objects of the backend of this key."""
        self._backend = backend
        # A sync engine is read in a worker thread, while this one waits.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "CREATE TABLE facts (key TEXT PRIMARY KEY, content_type TEXT, metadata TEXT, checksum TEXT) WITHOUT ROWID;"
            "BEGIN"
        )

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def read(self, engine: sa.Engine, mappers: Sequence[Mapper[Any]]) -> None:
        """Read all rows of these classes."""
        for mapper in mappers:
            for page in stored_files(engine, mapper):
                self._database.executemany(
                    "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?)",
                    [
                        (file.path, file.content_type, msgspec.json.encode(file.metadata).decode(), file.checksum)
                        for file in page
                        if file.backend_key == self._backend
                    ],
                )

    async def find(self, keys: Sequence[str]) -> dict[str, KnownFacts]:
        """Return what is known about these objects."""
        found: dict[str, KnownFacts] = {}
        for key in keys:
            row = self._database.execute(
                "SELECT content_type, metadata, checksum FROM facts WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                found[key] = KnownFacts(row[0], msgspec.json.decode(row[1]), row[2])
        return found
