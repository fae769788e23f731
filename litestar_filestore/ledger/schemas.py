"""Makes sure that all connections mean the same tables for rows and ledger, and refuses a change otherwise.

One database may have a ledger in each of several schemas, and ``schema_translate_map`` or ``search_path`` decide which
of them a statement means. If one ledger stages an object and another enters it, the first one would sweep it.
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
"""The owner at the time when an object was entered."""
_expected: WeakKeyDictionary[FileObject, tuple[object, ...]] = WeakKeyDictionary()
"""The ledger that a file was first meant for."""
_saved: WeakKeyDictionary[FileObject, tuple[object, ...]] = WeakKeyDictionary()
"""The ledger with the entry of a file that the program itself stored."""


def mark_staged(file: FileObject, owner: str | None) -> None:
    """Note that a ledger has an entry for the object of a file; call it after storing, when the key is final."""
    _staged[file] = owner


def was_staged(file: FileObject) -> bool:
    """Return whether this process has staged the object of a file, in any ledger."""
    return file in _staged


def has_owner(file: FileObject) -> bool:
    """Return whether the object of a file is known to have an owner, whose quota was checked for it."""
    return _staged.get(file) is not None


def mark_saved(file: FileObject, table: Table, engine: Engine, owner: str | None) -> None:
    """Note that a ledger has an entry for the object of a file that the program itself stored."""
    mark_staged(file, owner)
    _saved[file] = _identity(engine, table, engine)


def was_saved_for(file: FileObject, table: Table, connection: Connection, engine: Engine) -> bool:
    """Return whether the program itself has stored a file, and entered it in the ledger that a session means."""
    found = _saved.get(file)
    return found is not None and found == _identity(engine, table, connection)


def forget_staged(file: FileObject) -> None:
    """Note that no ledger has an entry for the object of a file any more."""
    _staged.pop(file, None)
    _saved.pop(file, None)


def _identity(engine: Engine, table: Table, source: Engine | Connection) -> tuple[object, ...]:
    url = engine.url
    return url.get_backend_name(), url.host, url.port, url.database, table.name, *schema_map(source).items()


def check_expected(file: FileObject, table: Table, connection: Connection, engine: Engine) -> None:
    """Make sure that a file that the program itself stored goes into rows of one ledger only.

    Raises:
        ConflictError: If it was meant for rows of another ledger before: that ledger would sweep it.
    """
    ledger = _identity(engine, table, connection)
    if _expected.setdefault(file, ledger) != ledger:
        raise ConflictError("The file was meant for a row of another database or schema; assign file.copy() instead")


def table_id(connection: Connection, table: Table) -> object:
    """Return the identity of a table, which distinguishes tables of one name in the ``search_path`` of PostgreSQL."""
    if connection.dialect.name != "postgresql" or connection.schema_for_object(table) is not None:
        return None
    return connection.execute(sa.text("SELECT CAST(to_regclass(:name) AS oid)"), {"name": table.name}).scalar()


def check_same_table(connection: Connection, table: Table, expected: object) -> None:
    """Make sure that `connection` means the same table as another one, see `table_id`.

    Raises:
        LedgerError: If it does not.
    """
    if table_id(connection, table) != expected:
        raise LedgerError(
            "The search_path of this transaction leads to another ledger than that of the engine's new connections: "
            "set it for all of them, or use schema_translate_map"
        )


def check_not_elsewhere(ledger: Ledger, keys: Sequence[ObjectKey], connection: Connection, engine: Engine) -> None:
    """Make sure that objects that a session's ledger does not know were not staged through its engine.

    Raises:
        LedgerError: If one was, and the engine means a ledger in another schema, which would sweep it.
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
        LedgerError: If the statement has its own ``schema_translate_map``.
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
