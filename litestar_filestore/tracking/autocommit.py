"""Connections on which each statement commits itself: no transaction holds a row and its entry together.

There an object is linked before its row is written, so that a refusal leaves no row without bytes, and what rows gave
up is doomed after. Nothing locks a row in between, so what needs that is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.errors import LedgerError
from litestar_filestore.ledger.table import ledger_of
from litestar_filestore.orm.columns import single_table_columns, writing_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.orm import ORMExecuteState

__all__ = (
    "autocommits",
    "sqlite_in_transaction",
)


def autocommits(connection: Connection) -> bool:
    """Return whether each statement on a connection commits itself, although SQLAlchemy began a transaction."""
    driver = connection.connection.dbapi_connection
    # In SQLAlchemy from 2.0.43 on. Before, such a connection is taken for an ordinary one.
    detect = getattr(connection.dialect, "detect_autocommit_setting", None)
    if detect is None or not detect(driver):
        return False
    # With sqlite3 the mode may be off because the application sends BEGIN itself, from an event that ran before this.
    return connection.dialect.name != "sqlite" or not sqlite_in_transaction(connection)


def sqlite_in_transaction(connection: Connection) -> bool:
    """Return whether a connection to SQLite has begun a transaction."""
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


@event.listens_for(Session, "do_orm_execute")
def _check_statement(state: ORMExecuteState) -> None:
    """Refuse bulk statements about files: which rows they hit, and what was in them, is known for sure afterwards only.

    Raises:
        LedgerError: If this is one.
    """
    mapper = state.bind_mapper
    if mapper is None or not (state.is_insert or state.is_update or state.is_delete):
        return
    names = {name for each in single_table_columns(mapper) for name in (each.key, each.column.key, each.column.name)}
    table = mapper.local_table
    if not names or not isinstance(table, sa.Table) or ledger_of(table.metadata) is None:
        return
    if not state.is_delete and names.isdisjoint(_written(state)):
        return
    if autocommits(writing_connection(state.session, mapper)):
        raise LedgerError("With AUTOCOMMIT, a bulk statement cannot change files: use a transaction")


def _written(state: ORMExecuteState) -> Iterator[Any]:
    """Yield the names of what an INSERT or UPDATE sets."""
    parameters = state.parameters
    rows: list[Any] = [*parameters] if isinstance(parameters, list) else [parameters or {}]
    statement: Any = state.statement
    rows += [getattr(statement, "_values", None) or {}, dict(getattr(statement, "_ordered_values", None) or ())]
    for several in getattr(statement, "_multi_values", None) or ():
        rows += several
    for row in rows:
        yield from (getattr(key, "key", key) for key in row)
    yield from getattr(statement, "_select_names", None) or ()
