"""Notes of objects that cannot be staged in the ledger while the transaction of their row is open.

SQLite has one writer, and that transaction may be it. At REPEATABLE READ it cannot change an entry that is newer than
its snapshot. In both cases it enters the object itself. Until it commits, a note records that there may be an object,
in a table that no transaction of the application touches. On SQLite this table is alone in a file beside the database,
``<database>-filestore``.

When the lease of a note has run out, the note is compared with the ledger, and an object that the ledger does not know
is doomed. If a transaction enters the object late, the primary key decides which of the two succeeds.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Ledger, ObjectKey
from litestar_filestore.ledger.outages import guard_database, has_waited_for_lock
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.staging import run_beside
from litestar_filestore.ledger.table import State, database_now, is_one_of, notes_of
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sqlalchemy import Connection, Engine, Table

__all__ = (
    "doom_noted",
    "note",
    "write_notes",
)

_PAGE = 400
_LOCK_WAIT = "SET LOCAL lock_timeout = '1s'"


class _Notebook(NamedTuple):
    """Where the notes of a database are."""

    table: Table
    engine: Engine
    database: Path | None = None
    """SQLite's file with the ledger."""

    @property
    def is_empty(self) -> bool:
        """Whether there has never been a note."""
        return self.database is not None and not _file_of(self.database).exists()

    def run(self, work: Callable[[Connection], None]) -> None:
        """Run `work` in a separate transaction, from a session event or a sweep."""
        if self.database is None:
            run_beside(self.engine, work)
        else:
            whole = partial(self._run_in_file, self.database, work)
            call(whole, partial(run_blocking, whole))

    def _run_in_file(self, database: Path, work: Callable[[Connection], None]) -> None:
        # A user who may not read the database may not read its keys either.
        _file_of(database).touch(database.stat().st_mode & 0o777)
        with self.engine.begin() as connection:
            connection.execute(CreateTable(self.table, if_not_exists=True))
            for index in self.table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
            work(connection)


def _file_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-filestore")


def _notebook_of(connection: Connection, ledger: Ledger, beside: Engine | None) -> _Notebook | None:
    """Return where notes go; ``None`` for a database in memory, which ends with the process."""
    table = notes_of(ledger.table.metadata)
    if table is None:
        return None
    if connection.dialect.name != "sqlite":
        return None if beside is None else _Notebook(table, beside)
    schema = (connection.schema_for_object(ledger.table) or "main").lower()
    # On SQLite a schema is another, attached file. Ledgers in different files are independent.
    files = {row.name.lower(): row.file for row in connection.exec_driver_sql("PRAGMA database_list")}
    if not files.get(schema) or not (database := Path(files[schema])).exists():
        return None
    # As safe from a power failure as the database itself.
    quoted = connection.dialect.identifier_preparer.quote(schema)
    synchronous: int = connection.exec_driver_sql(f"PRAGMA {quoted}.synchronous").scalar_one()
    engine = _engine_of(_file_of(database), synchronous)
    return _Notebook(table, engine.execution_options(schema_translate_map={table.schema: None}), database)


@lru_cache(maxsize=64)
def _engine_of(file: Path, synchronous: int) -> Engine:
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(file)), poolclass=sa.NullPool)

    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


# -- sessions


def note(connection: Connection, ledger: Ledger, key: ObjectKey, *, beside: Engine | None) -> None:
    """Note that `connection`'s open transaction is going to enter an object; returns after the note is committed.

    Args:
        connection: Identifies the database; nothing is written on it.
        ledger: Where the object is going to be entered.
        key: The object, not stored yet.
        beside: Engine for transactions beside that one; see `staging_engine`.

    Raises:
        LedgerMissingError: If the database lacks the table of the notes.
    """
    if (notebook := _notebook_of(connection, ledger, beside)) is None:
        return
    with guard_database():
        notebook.run(partial(write_notes, ledger, [key]))
    reach("note.after")


def write_notes(ledger: Ledger, keys: Sequence[ObjectKey], connection: Connection) -> None:
    """Write notes in the transaction of `connection`, in place of older ones of the same objects."""
    table = notes_of(ledger.table.metadata)
    if table is not None:
        connection.execute(sa.delete(table).where(is_one_of(table, keys)))
        due = database_now() + LEASE_SECONDS
        connection.execute(sa.insert(table).values([{**key._asdict(), "not_before": due} for key in keys]))


# -- sweeps


def doom_noted(engine: Engine, ledger: Ledger, *, grace_seconds: float, limit: int) -> None:
    """Doom objects whose notes are due and that no transaction has entered.

    Args:
        engine: Database of the ledger.
        ledger: Where they are doomed.
        grace_seconds: How long notes are kept beyond their lease.
        limit: Notes to look at.
    """
    with engine.connect() as connection:
        notebook = _notebook_of(connection, ledger, engine)
    if notebook is None or notebook.is_empty:
        return
    table = notebook.table
    is_due = table.c.not_before <= database_now() - grace_seconds
    due: list[ObjectKey] = []

    def read(connection: Connection) -> None:
        statement = sa.select(table.c.backend, table.c.key).where(is_due).order_by(table.c.not_before).limit(limit)
        due.extend(ObjectKey(*row) for row in connection.execute(statement))

    def forget(keys: Sequence[ObjectKey], connection: Connection) -> None:
        connection.execute(sa.delete(table).where(is_due, is_one_of(table, keys)))

    notebook.run(read)
    for start in range(0, len(due), _PAGE):
        page = due[start : start + _PAGE]
        with engine.connect() as connection:
            known = ledger.states(connection, page)
        done = [key for key in page if key in known or _doom(engine, ledger, key)]
        reach("note.doomed")
        if done:
            notebook.run(partial(forget, done))


def _doom(engine: Engine, ledger: Ledger, key: ObjectKey) -> bool:
    """Enter an object as doomed, and return whether its note can be removed."""
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(_LOCK_WAIT)
            ledger.insert(connection, {key: None}, State.DOOMED)
    except IntegrityError:
        return True  # its transaction has entered it after all
    except DBAPIError as error:
        if not has_waited_for_lock(error):
            raise
        return False  # that transaction is still open: the next sweep will see
    return True
