"""Which attributes of a mapped class hold files, and what they hold now, in memory and in the database."""

from __future__ import annotations

import weakref
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import FileRejectedError, InvalidArgumentError
from litestar_filestore.orm.stored_object import StoredObject, TrackedFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy.orm import InstanceState, Session

__all__ = (
    "FileColumn",
    "check_backends",
    "configured_mappers",
    "current_values",
    "file_columns",
    "files_in",
    "identity_condition",
    "is_modified",
    "lock_for_writing",
    "matches_any",
    "single_table_columns",
    "writing_bind",
    "writing_connection",
)

_ROWS_PER_SELECT = 200
"""Below the limits of all databases: SQLite nests at most 1,000 conditions, asyncpg takes 32,767 parameters."""


class FileColumn(NamedTuple):
    """One attribute of a mapped class that holds files."""

    key: str
    """Name of the attribute."""
    column: sa.Column[Any]
    """The column behind it."""
    type: StoredObject
    """Its type."""


_columns: WeakKeyDictionary[Mapper[Any], tuple[FileColumn, ...]] = WeakKeyDictionary()


def configured_mappers() -> list[Mapper[Any]]:
    """Return all configured mappers of this process, also those without file columns."""
    return list(_columns)


def file_columns(mapper: Mapper[Any]) -> tuple[FileColumn, ...]:
    """Return the file columns of a mapped class, inherited ones included."""
    found = _columns.get(mapper)
    if found is None:
        found = tuple(
            FileColumn(prop.key, column, column.type)
            for prop in mapper.column_attrs
            for column in prop.columns[:1]
            if isinstance(column, sa.Column) and isinstance(column.type, StoredObject)
        )
        _columns[mapper] = found
    return found


def files_in(value: Any) -> Iterator[FileObject]:
    """Yield the files of an attribute's value: one, several or none."""
    if isinstance(value, FileObject):
        yield value
    elif isinstance(value, list):
        for each in value:  # pyright: ignore[reportUnknownVariableType]  # whatever the attribute holds
            if isinstance(each, FileObject):
                yield each


def is_modified(state: InstanceState[Any], key: str) -> bool:
    """Return whether a flush is going to write an attribute, without loading it.

    As SQLAlchemy decides it: what equals the value that was loaded is not written, even where the database holds
    another one by now. To take that one for replaced would leave a row without its bytes.
    """
    if key not in state.committed_state:
        return False
    value = state.dict.get(key)
    if hasattr(value, "__clause_element__") or isinstance(value, sa.ClauseElement):
        return True
    return not state.manager[key].impl.is_equal(value, state.committed_state[key])


def current_values(
    session: Session, mapper: Mapper[Any], states: Sequence[InstanceState[Any]]
) -> dict[tuple[Any, ...], sa.RowMapping]:
    """Return what the database holds now in the file columns of rows, and lock those rows until the transaction ends.

    The session's memory is no substitute: history is empty for expired and deferred attributes, and another
    transaction may have replaced the file since it was loaded.

    Returns:
        Files by attribute name, by primary key. Rows that are gone are missing.
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
    """Return rows by the identities that they were asked for with.

    Not every value comes back as it was given: "5" as 5, a time without its zone. Only the database can compare them.
    """
    rows = ((each, connection.execute(_select(mapper, [each])).mappings().one_or_none()) for each in identities)
    return {identity: row for identity, row in rows if row is not None}


def _select(mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]) -> sa.Select[Any]:
    keys = mapper.primary_key
    columns = [column.column.label(column.key) for column in file_columns(mapper)]
    # One order for everyone: two transactions that lock the same rows must not wait for each other.
    return (
        sa.select(*keys, *columns)
        .select_from(mapper.persist_selectable)
        .where(identity_condition(mapper, identities))
        .order_by(*keys)
        .with_for_update()
    )


def writing_connection(session: Session, mapper: Mapper[Any]) -> sa.Connection:
    """Return the connection on which a session writes rows of a class; one that routes may read them elsewhere."""
    return session.connection(bind_arguments={"mapper": mapper, "clause": _a_write(mapper)})


def writing_bind(session: Session, mapper: Mapper[Any]) -> sa.Engine | sa.Connection:
    """Return what `writing_connection` comes from."""
    return session.get_bind(mapper, clause=_a_write(mapper))


def _a_write(mapper: Mapper[Any]) -> sa.Update:
    return sa.update(cast("sa.Table", mapper.local_table))


def lock_for_writing(connection: sa.Connection, mapper: Mapper[Any]) -> None:
    """Take SQLite's write lock; other databases lock the rows that are selected ``FOR UPDATE``.

    SQLite has no such thing, and sqlite3 reads outside of a transaction until the first write: what is read could be
    replaced before this session gets the lock. A write of nothing gets it.
    """
    if connection.dialect.name == "sqlite":
        first = mapper.primary_key[0]
        connection.execute(sa.update(cast("sa.Table", first.table)).values({first: first}).where(sa.false()))


def identity_condition(mapper: Mapper[Any], identities: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Return the condition that a row has one of these primary keys."""
    return matches_any(mapper.primary_key, identities)


def matches_any(keys: Sequence[sa.ColumnElement[Any]], identities: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """Return the condition that these columns have the values of one of `identities`."""
    # With the types of the columns, as in the session's own statements. By itself "5" would be text, whatever the key.
    if len(keys) == 1:
        values = [identity[0] for identity in identities]
        return keys[0].in_(sa.bindparam(None, values, keys[0].type, unique=True, expanding=True))
    return sa.or_(
        sa.false(),
        *(sa.and_(*(_equals(key, value) for key, value in zip(keys, each, strict=True))) for each in identities),
    )


def _equals(key: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    return key.is_(None) if value is None else key == sa.literal(value, key.type)


def single_table_columns(mapper: Mapper[Any]) -> tuple[FileColumn, ...]:
    """Return the file columns that a bulk statement on a class can touch: those in the class's own table.

    Subclasses that share the table count, as their rows are deleted along with the others.
    """
    found = {
        column.key: column
        for each in mapper.self_and_descendants
        for column in file_columns(each)
        if column.column.table is mapper.local_table
    }
    return tuple(found.values())


def check_backends(columns: Sequence[FileColumn], values: Mapping[str, Any], old: Collection[FileObject]) -> None:
    """Make sure that files lie in the backends of their columns, or where the row's files lay before.

    Raises:
        InvalidArgumentError: If one does not.
        FileRejectedError: If a client has chosen that one by a reference.
    """
    known = {file.backend_key for file in old}
    for column in columns:
        for file in files_in(values.get(column.key)):
            if file.backend_key not in {column.type.storage_key, *known}:
                if file.referred is not None:
                    raise FileRejectedError("This file was uploaded for another purpose", backend=file.backend_key)
                raise InvalidArgumentError(
                    f"The column {column.key!r} stores in {column.type.storage_key!r}, not in {file.backend_key!r}",
                    backend=file.backend_key,
                )


@event.listens_for(Mapper, "mapper_configured")
def _instrument(mapper: Mapper[Any], class_: type[Any]) -> None:
    inherited = {column.key for column in file_columns(mapper.inherits)} if mapper.inherits else set[str]()
    for column in file_columns(mapper):
        if column.key in inherited:
            continue
        attribute = getattr(class_, column.key)
        if column.type.multiple:
            TrackedFiles.associate_with_attribute(attribute)
        else:
            _watch_single(class_, column.key, attribute)


def _watch_single(class_: type[Any], key: str, attribute: Any) -> None:
    def loaded(target: Any, *_: Any) -> None:
        if isinstance(file := sa.inspect(target).dict.get(key), FileObject):
            _watch(file, target, key)

    def assigned(target: Any, value: Any, *_: Any) -> None:
        if isinstance(value, FileObject):
            _watch(value, target, key)

    event.listen(class_, "load", loaded, propagate=True)
    event.listen(class_, "refresh", loaded, propagate=True)
    event.listen(attribute, "set", assigned, propagate=True)


def _watch(file: FileObject, target: Any, key: str) -> None:
    owner = weakref.ref(target)

    def file_changes(changing: FileObject) -> None:
        if (row := owner()) is not None:
            _remember(row, key, changing)

    file.on_change = file_changes


def _remember(row: Any, key: str, file: FileObject) -> None:
    state = sa.inspect(row)
    old = state.committed_state.get(key, file)
    if old is not file:
        return  # changed already
    twin = copy(file)
    if state.dict.get(key) is file:
        flag_modified(row, key)
    elif key not in state.committed_state:
        return  # the row holds another file, or has forgotten this one
    state.committed_state[key] = twin
