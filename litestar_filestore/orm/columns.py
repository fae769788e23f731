"""Which attributes of a mapped class hold files, and what they hold now, in memory and in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.base import PassiveFlag

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.orm.stored_object import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import InstanceState, Session

__all__ = ("FileColumn", "current_values", "file_columns", "files_in", "is_modified")

_NO_LOAD = PassiveFlag.PASSIVE_NO_INITIALIZE


class FileColumn(NamedTuple):
    """One attribute of a mapped class that holds files."""

    key: str
    """Name of the attribute."""
    column: sa.Column[Any]
    """The column behind it."""
    type: StoredObject
    """Its type."""


_columns: WeakKeyDictionary[Mapper[Any], tuple[FileColumn, ...]] = WeakKeyDictionary()


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
    """Return whether an attribute will be written, without loading it."""
    if key not in state.dict:
        return False
    return bool(state.get_history(key, _NO_LOAD).has_changes()) or key in state.committed_state


def current_values(
    session: Session, mapper: Mapper[Any], states: Sequence[InstanceState[Any]]
) -> dict[tuple[Any, ...], sa.Row[Any]]:
    """Return what the database holds now in the file columns of rows, and lock those rows until the transaction ends.

    The session's memory is no substitute: history is empty for expired and deferred attributes, and another
    transaction may have replaced the file since it was loaded.

    Returns:
        Rows by primary key, with file columns under their attribute names. Rows that are gone are missing.
    """
    keys = list(mapper.primary_key)
    columns = [column.column.label(column.key) for column in file_columns(mapper)]
    identities = [tuple(state.key[1]) for state in states if state.key is not None]
    if not identities:
        return {}
    condition: sa.ColumnElement[bool]
    if len(keys) == 1:
        condition = keys[0].in_([identity[0] for identity in identities])
    else:
        condition = sa.or_(
            *(sa.and_(*(key == value for key, value in zip(keys, each, strict=True))) for each in identities)
        )
    statement = sa.select(*keys, *columns).select_from(mapper.persist_selectable).where(condition)
    # One order for everyone: two transactions that lock the same rows must not wait for each other.
    statement = statement.order_by(*keys).with_for_update()
    rows = session.connection(bind_arguments={"mapper": mapper}).execute(statement)
    return {tuple(row[: len(keys)]): row for row in rows}
