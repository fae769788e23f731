"""Rows, ledger and store of a test, as somebody sees them who knows nothing about what happened."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import LocalBackend, storages
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.ledger.fsck import FsckConfig, fsck
from litestar_filestore.ledger.ledger import Ledger, ObjectKey
from litestar_filestore.ledger.sweep import SweepConfig, sweep
from litestar_filestore.ledger.table import State, define_ledger, notes_of
from litestar_filestore.orm.columns import files_in
from tests.ledger.models import BACKEND, Base, Document, a_file, content_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from litestar_filestore.ledger.fsck import FsckReport
    from litestar_filestore.ledger.ledger import Usage
    from litestar_filestore.ledger.sweep import SweepResult

__all__ = ("LEDGER", "LONG", "NOTES", "SEED", "Contents", "Snapshot", "World", "notes_file", "pass_time")

T = TypeVar("T")

_table = define_ledger(Base.metadata)
assert _table is not None
LEDGER = _table
"""The ledger's table."""
_notes = notes_of(Base.metadata)
assert _notes is not None
NOTES = _notes
"""The table of its notes; SQLite has them in a file of their own."""
LONG = 100_000.0
"""Seconds after which every lease, claim and tombstone of the default configuration has run out."""

Contents = dict[int, tuple[str | None, tuple[str, ...]]]
"""What each row holds: the tag of its file, and the tags of its pages."""
SEED: Contents = {1: ("one", ("page", "side")), 2: ("two", ()), 3: ("three", ())}
"""What is there before an operation."""


@dataclass
class Snapshot:
    """One look at the database."""

    rows: list[ObjectKey] = field(default_factory=list[ObjectKey])
    """Every file of every row, as often as it is held."""
    states: dict[ObjectKey, State] = field(default_factory=dict[ObjectKey, State])
    """Every entry of the ledger."""

    @property
    def linked(self) -> set[ObjectKey]:
        """Linked entries."""
        return {key for key, state in self.states.items() if state is State.LINKED}

    @property
    def shared(self) -> set[ObjectKey]:
        """Entries that say that several rows hold the object."""
        return {key for key, state in self.states.items() if state is State.SHARED}


def pass_time(connection: Connection, seconds: float = LONG) -> None:
    """Make everything in the ledger older, instead of waiting."""
    connection.execute(sa.update(LEDGER).values(not_before=LEDGER.c.not_before - seconds))
    connection.execute(sa.update(NOTES).values(not_before=NOTES.c.not_before - seconds))
    if (file := notes_file(connection.engine)) is not None:
        with closing(sqlite3.connect(file)) as notes, notes:
            notes.execute("UPDATE filestore_note SET not_before = not_before - ?", (seconds,))


def notes_file(engine: Engine) -> Path | None:
    """Return SQLite's file of notes, if it is there."""
    file = Path(f"{engine.url.database}-filestore")
    return file if engine.dialect.name == "sqlite" and file.exists() else None


class World:
    """A database with `Document` and the ledger, and a folder with the objects."""

    def __init__(self, engine: Engine, root: Path, registry: StorageRegistry = storages) -> None:
        """Look at the tables behind `engine` and the objects below `root`, and register the backend."""
        self.engine = engine
        self.root = root
        self.backend = LocalBackend(BACKEND, root, fsync=False)
        self.registry = registry
        self.register()

    def register(self) -> None:
        """Make this the backend of the column, in place of that of another world."""
        self.registry.register_backend(self.backend)

    def create(self) -> None:
        """Make the tables and the folder."""
        Base.metadata.create_all(self.engine)
        self.backend.storage_driver.start()

    def seed(self) -> None:
        """Add the rows of `SEED`."""
        with Session(self.engine) as session:
            for number, (tag, pages) in SEED.items():
                file = a_file(tag) if tag else None
                session.add(Document(id=number, file=file, pages=[a_file(page) for page in pages]))
            session.commit()

    # -- what works on it

    @property
    def bind(self) -> Engine:
        """The engine of the sessions of `run`."""
        return self.engine

    def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a new session and close it; a commit is the business of `work`."""
        with Session(self.bind) as session:
            return work(session)

    # -- what is there

    def snapshot(self) -> Snapshot:
        """Read rows and ledger, both at one moment."""
        level = "SERIALIZABLE" if self.engine.dialect.name == "sqlite" else "REPEATABLE READ"
        found = Snapshot()
        with self.engine.connect().execution_options(isolation_level=level) as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            for row in connection.execute(sa.select(Document.file, Document.pages)):
                found.rows += [ObjectKey(file.backend_key, file.path) for value in row for file in files_in(value)]
            for entry in connection.execute(sa.select(LEDGER.c.backend, LEDGER.c.key, LEDGER.c.state)):
                if entry.backend:
                    found.states[ObjectKey(entry.backend, entry.key)] = State(entry.state)
            connection.rollback()
        return found

    def objects(self) -> set[ObjectKey]:
        """Return all objects of the store."""
        return {ObjectKey(BACKEND, info.key) for info in self.backend.list()}

    def files(self) -> set[str]:
        """Return every file below the root, temporary ones included, but not the mark that fsck makes."""
        found = {
            str((Path(folder) / name).relative_to(self.root))
            for folder, _, names in os.walk(self.root)
            for name in names
        }
        return found - {".filestore/database"}

    def notes(self) -> list[str]:
        """Return the keys that are noted."""
        with self.engine.connect() as connection:
            found = list(connection.scalars(sa.select(NOTES.c.key)))
        if (file := notes_file(self.engine)) is not None:
            with closing(sqlite3.connect(file)) as notes:
                found += [key for (key,) in notes.execute("SELECT key FROM filestore_note")]
        return found

    def contents(self) -> Contents:
        """Read the bytes of all rows.

        Raises:
            AssertionError: If the bytes of a file are not those it was made with.
        """
        found: Contents = {}
        with Session(self.engine) as session:
            for row in session.scalars(sa.select(Document).order_by(Document.id)):
                tags = [file.filename.removesuffix(".txt") for file in files_in(row.pages)]
                for file in (*files_in(row.file), *files_in(row.pages)):
                    assert file.get_content() == content_of(file.filename.removesuffix(".txt"))
                found[row.id] = (row.file.filename.removesuffix(".txt") if row.file else None, tuple(tags))
        return found

    # -- what is wrong

    def damage(self) -> list[str]:
        """Return what is never allowed, not even for a moment."""
        snapshot = self.snapshot()
        objects = self.objects()
        dangling = {key for key in snapshot.rows if key not in objects}
        if dangling:
            # The listing is younger than the rows: only what is still held now has really lost its bytes.
            dangling &= set(self.snapshot().rows)
        found = [f"row without object: {key.key}" for key in dangling]
        found += [
            f"object of two rows: {key.key}"
            for key in set(snapshot.rows) - snapshot.shared
            if snapshot.rows.count(key) > 1
        ]
        entered = snapshot.linked | snapshot.shared
        found += [f"row without linked entry: {key.key}" for key in set(snapshot.rows) - entered]
        found += [f"linked entry without row: {key.key}" for key in snapshot.linked - set(snapshot.rows)]
        return found + [f"counter that is wrong: {owner} by {each}" for owner, each in self.drifts().items()]

    def drifts(self) -> dict[str, Usage]:
        """Return by how much counters of owners are wrong."""
        with self.engine.connect() as connection:
            return Ledger(LEDGER).drifts(connection)

    def leftovers(self) -> list[str]:
        """Return what may be there for a while, but not after the sweeps."""
        snapshot = self.snapshot()
        objects = self.objects()
        found = [f"object without row: {key.key}" for key in objects - set(snapshot.rows)]
        found += [f"file that is no object: {name}" for name in self.files() - {key.key for key in objects}]
        found += [f"note: {key}" for key in self.notes()]
        return found + [
            f"{state} entry: {key.key}"
            for key, state in snapshot.states.items()
            if state is not State.LINKED and not (state is State.SHARED and key in snapshot.rows)
        ]

    # -- what mends it

    def sweep(self, config: SweepConfig | None = None, *, limit: int = 10_000) -> SweepResult:
        """Sweep once with the time as it is, up to `limit` objects."""
        return sweep(self.engine, LEDGER, self.registry, config, limit=limit)

    def pass_time(self, seconds: float = LONG) -> None:
        """Make everything in the ledger older, instead of waiting."""
        with self.engine.begin() as connection:
            pass_time(connection, seconds)

    def recover(self) -> None:
        """Let so much time pass that sweepers with the default configuration finish everything."""
        self.backend.storage_driver.clean(0)
        for _ in range(2):  # the second sweep is for the tombstones of the first
            self.pass_time()
            self.sweep()

    def fsck(self, *, repair: bool) -> FsckReport:
        """Compare everything, with no regard to age and amount."""
        config = FsckConfig(repair=repair, minimum_age_seconds=-LONG, max_doomed_percent=100)
        return fsck(self.engine, LEDGER, [sa.inspect(Document)], [self.backend], config)

    def close(self) -> None:
        """Unregister the backend."""
        self.registry.unregister_backend(BACKEND)
