"""Rows and their ledger are in the same tables for everybody: what refuses a change where that cannot be said.

One database may have a ledger in each of several schemas, and ``schema_translate_map`` or ``search_path`` tell which of
them a statement means. An object that one of them has staged, and another one enters, would be swept by the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from litestar_filestore.errors import ConflictError, LedgerError, LedgerMissingError
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.staging import run_beside, schema_map, schema_map_in, staging_engine
from litestar_filestore.ledger.table import ledger_of
from litestar_filestore.orm.columns import single_table_columns
from litestar_filestore.orm.rows import writing_connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.orm import Mapper, ORMExecuteState

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.ledger.ledger import Ledger, ObjectKey
    from litestar_filestore.ledger.table import State

__all__ = (
    "check_expected",
    "check_not_elsewhere",
    "check_same_table",
    "check_schema",
    "forget_staged",
    "has_owner",
    "mark_saved",
    "mark_staged",
    "table_id",
    "was_saved_for",
    "was_staged",
)

_staged: WeakKeyDictionary[FileObject, str | None] = WeakKeyDictionary()
"""The owner at the moment at which an object was entered."""
_expected: WeakKeyDictionary[FileObject, tuple[object, ...]] = WeakKeyDictionary()
"""The ledger that a file was meant for first."""
_saved: WeakKeyDictionary[FileObject, tuple[object, ...]] = WeakKeyDictionary()
"""The ledger with the entry of a file that was stored by hand."""


def mark_staged(file: FileObject, owner: str | None) -> None:
    """Note that some ledger has an entry for the object of a file; after it was stored, as its key is final then."""
    _staged[file] = owner


def was_staged(file: FileObject) -> bool:
    """Return whether this process has staged the object of a file, in whatever ledger."""
    return file in _staged


def has_owner(file: FileObject) -> bool:
    """Return whether the object of a file is known to have an owner, whose quota was asked about it."""
    return _staged.get(file) is not None


def mark_saved(file: FileObject, table: Table, engine: Engine, owner: str | None) -> None:
    """Note that a ledger has an entry for the object of a file that was stored by hand."""
    mark_staged(file, owner)
    _saved[file] = _identity(engine, table, engine)


def was_saved_for(file: FileObject, table: Table, connection: Connection, engine: Engine) -> bool:
    """Return whether this process has stored a file by hand, and entered it in the ledger that a session means."""
    return _saved.get(file) == _identity(engine, table, connection)


def forget_staged(file: FileObject) -> None:
    """Note that no ledger has an entry for the object of a file any more."""
    _staged.pop(file, None)
    _saved.pop(file, None)


def _identity(engine: Engine, table: Table, source: Engine | Connection) -> tuple[object, ...]:
    url = engine.url
    return url.get_backend_name(), url.host, url.port, url.database, table.name, *schema_map(source).items()


def check_expected(file: FileObject, table: Table, connection: Connection, engine: Engine) -> None:
    """Make sure that a file that was stored by hand is about to get into rows of one ledger only.

    Raises:
        ConflictError: If rows of another one were to take it before: that one would sweep it.
    """
    ledger = _identity(engine, table, connection)
    if _expected.setdefault(file, ledger) != ledger:
        raise ConflictError("The file was meant for a row of another database or schema; assign file.copy() instead")


def table_id(connection: Connection, table: Table) -> object:
    """Return what tells tables of one name apart that the ``search_path`` of PostgreSQL decides between."""
    if connection.dialect.name != "postgresql" or connection.schema_for_object(table) is not None:
        return None
    return connection.execute(sa.text("SELECT CAST(to_regclass(:name) AS oid)"), {"name": table.name}).scalar()


def check_same_table(connection: Connection, table: Table, expected: object) -> None:
    """Make sure that `connection` means the table that another one means, see `table_id`.

    Raises:
        LedgerError: If it does not.
    """
    if table_id(connection, table) != expected:
        raise LedgerError(
            "The search_path of this transaction leads to another ledger than that of the engine's new connections: "
            "set it for all of them, or use schema_translate_map"
        )


def check_not_elsewhere(ledger: Ledger, keys: Sequence[ObjectKey], connection: Connection, engine: Engine) -> None:
    """Make sure that objects that a session's ledger does not know were not stored by way of its engine alone.

    Raises:
        LedgerError: If one was, and the engine means a ledger in another schema: that one would sweep it.
    """
    beside = staging_engine(engine)
    if beside is None or schema_map(engine) == schema_map(connection):
        return
    known: dict[ObjectKey, State] = {}

    def read(elsewhere: Connection) -> None:
        known.update(ledger.states(elsewhere, keys))

    try:
        with guard_database():
            run_beside(beside, read)
    except LedgerMissingError:
        pass  # nothing can have been stored there
    if known:
        raise LedgerError(
            "The file was stored for the ledger in another schema: store it with an engine that has the "
            "schema_translate_map of this session"
        )


def check_schema(state: ORMExecuteState, mapper: Mapper[Any]) -> None:
    """Make sure that a statement on a class with files changes rows in the schema of their ledger.

    Raises:
        LedgerError: If it has a ``schema_translate_map`` of its own.
    """
    if "schema_translate_map" not in state.execution_options or not single_table_columns(mapper):
        return
    table = mapper.local_table
    if not isinstance(table, sa.Table) or ledger_of(table.metadata) is None:
        return
    connection = writing_connection(state.session, mapper)
    if schema_map(connection) != schema_map_in(state.execution_options):
        raise LedgerError(
            "The schema_translate_map of a statement would change rows of one schema and the ledger of another: give "
            "it to the engine, or to the session's connection"
        )
