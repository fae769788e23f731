"""File columns as the database holds them: reads and locks rows on the connection that a session writes to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from litestar_filestore.orm.columns import file_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import InstanceState, Mapper, Session

__all__ = (
    "current_values",
    "lock_for_writing",
    "matches_any",
    "writing_bind",
    "writing_connection",
)

_ROWS_PER_SELECT = 200
"""Stays below the limits of all databases: SQLite nests at most 1,000 conditions, asyncpg takes 32,767 parameters."""


def current_values(
    session: Session, mapper: Mapper[Any], states: Sequence[InstanceState[Any]]
) -> dict[tuple[Any, ...], sa.RowMapping]:
    """Return the current file columns of rows in the database, and lock those rows until the transaction ends.

    The session's own state is no substitute: history is empty for expired and deferred attributes, and another
    transaction may have replaced the file since it was loaded.

    Returns:
        For each primary key, the files by attribute name. Deleted rows are missing.
    """
    connection = writing_connection(session, mapper)
    lock_for_writing(connection, mapper)
    identities = sorted((tuple(state.key[1]) for state in states if state.key is not None), key=repr)
    result: dict[tuple[Any, ...], sa.RowMapping] = {}
    for start in range(0, len(identities), _ROWS_PER_SELECT):
        chunk = identities[start : start + _ROWS_PER_SELECT]
        rows = connection.execute(_select(mapper, chunk)).mappings().all()
        found = {tuple(row[key] for key in mapper.primary_key): row for row in rows}
        if not found.keys() <= set(chunk):
            found = _rows_one_by_one(connection, mapper, chunk)
        result.update(found)
    return result


def _rows_one_by_one(
    connection: sa.Connection, mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]
) -> dict[tuple[Any, ...], sa.RowMapping]:
    """Return rows by the identities that were used to select them.

    A value may come back in another form: "5" as 5, a time without its zone. Only the database can compare them.
    """
    rows = ((each, connection.execute(_select(mapper, [each])).mappings().one_or_none()) for each in identities)
    return {identity: row for identity, row in rows if row is not None}


def _select(mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]) -> sa.Select[Any]:
    keys = mapper.primary_key
    columns = [column.column.label(column.key) for column in file_columns(mapper)]
    # Always lock in the same order, so that two transactions that lock the same rows cannot deadlock.
    return (
        sa.select(*keys, *columns)
        .select_from(mapper.persist_selectable)
        .where(matches_any(keys, identities))
        .order_by(*keys)
        .with_for_update()
    )


def writing_connection(session: Session, mapper: Mapper[Any]) -> sa.Connection:
    """Return the connection on which a session writes rows of a class; a routing session may read from another."""
    return session.connection(bind_arguments={"mapper": mapper, "clause": _a_write(mapper)})


def writing_bind(session: Session, mapper: Mapper[Any]) -> sa.Engine | sa.Connection:
    """Return the engine or connection behind `writing_connection`."""
    return session.get_bind(mapper, clause=_a_write(mapper))


@lru_cache(maxsize=64)
def _a_write(mapper: Mapper[Any]) -> sa.Update:
    return sa.update(cast("sa.Table", mapper.local_table))


def lock_for_writing(connection: sa.Connection, mapper: Mapper[Any]) -> None:
    """Take SQLite's write lock; other databases lock the rows selected ``FOR UPDATE``.

    SQLite has no ``FOR UPDATE``, and sqlite3 opens no transaction before the first write: another session could replace
    what is read before this one gets the lock. An update of no rows gets it.
    """
    if connection.dialect.name == "sqlite":
        first = mapper.primary_key[0]
        connection.execute(sa.update(cast("sa.Table", first.table)).values({first: first}).where(sa.false()))


def matches_any(keys: Sequence[sa.ColumnElement[Any]], identities: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Return the condition that these columns have the values of one of `identities`."""
    # Bind with the types of the columns, as the session's own statements do: without, "5" would be text for any key.
    if len(keys) == 1:
        values = [identity[0] for identity in identities]
        return keys[0].in_(sa.bindparam(None, values, keys[0].type, unique=True, expanding=True))
    return sa.or_(
        sa.false(),
        *(sa.and_(*(_equals(key, value) for key, value in zip(keys, each, strict=True))) for each in identities),
    )


def _equals(key: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    return key.is_(None) if value is None else key == sa.literal(value, key.type)
