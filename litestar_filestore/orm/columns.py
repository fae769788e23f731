"""The attributes of mapped classes that hold files, and the tracking of their changes in memory."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm.attributes import flag_modified, instance_dict

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import FileRejectedError, InvalidArgumentError
from litestar_filestore.orm.stored_object import (
    StoredObject,
    TrackedFiles,
    names_entries,
    not_a_file,
    put_held_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sqlalchemy.orm import InstanceState, Mapper

__all__ = (
    "FileColumn",
    "check_backends",
    "configured_mappers",
    "file_columns",
    "files_in",
    "instrument",
    "is_modified",
    "single_table_columns",
)


class FileColumn(NamedTuple):
    """One attribute of a mapped class that holds files."""

    key: str
    """Name of the attribute."""
    column: sa.Column[Any]
    """The column behind it."""
    type: StoredObject
    """Its type."""


_columns: WeakKeyDictionary[Mapper[Any], tuple[FileColumn, ...]] = WeakKeyDictionary()
"""The file columns of every class that SQLAlchemy has configured since the first file column was made."""


def configured_mappers() -> list[Mapper[Any]]:
    """Return all mappers that this process has configured since its first file column, with file columns or without.

    They are sorted by the names of their classes: SQLAlchemy configures them in an order that differs between runs.
    """
    return sorted(_columns, key=lambda mapper: (mapper.class_.__module__, mapper.class_.__qualname__))


def file_columns(mapper: Mapper[Any]) -> tuple[FileColumn, ...]:
    """Return the file columns of a mapped class, inherited ones included."""
    found = _columns.get(mapper)
    if found is None and not mapper.configured:
        mapper.registry.configure(cascade=True)
        found = _columns.get(mapper)
    return found or ()


def files_in(value: Any) -> Sequence[FileObject]:
    """Return the files in the value of an attribute: one, several or none."""
    if isinstance(value, FileObject):
        return (value,)
    held: list[Any] = value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
    return [each for each in held if isinstance(each, FileObject)]


def is_modified(state: InstanceState[Any], key: str) -> bool:
    """Return whether a flush will write an attribute, without loading it.

    This follows SQLAlchemy: a value equal to the loaded one is not written, even if the database holds another one by
    now. To treat that other file as replaced would leave a row without its bytes.
    """
    if key not in state.committed_state:
        return False
    value = state.dict.get(key)
    if _is_sql(value):
        return True
    return not state.manager[key].impl.is_equal(value, state.committed_state[key])


def _is_sql(value: object) -> bool:
    return hasattr(value, "__clause_element__") or isinstance(value, sa.ClauseElement)


def single_table_columns(mapper: Mapper[Any]) -> tuple[FileColumn, ...]:
    """Return the file columns that a bulk statement on a class can touch: those in the class's own table.

    Columns of subclasses that share the table are included, because the statement deletes their rows as well.
    """
    found = {
        column.key: column
        for each in mapper.self_and_descendants
        for column in file_columns(each)
        if column.column.table is mapper.local_table
    }
    return tuple(found.values())


def check_backends(columns: Sequence[FileColumn], values: Mapping[str, Any], old: Collection[FileObject]) -> None:
    """Make sure that files lie in the backends of their columns, or in a backend that the row already used.

    Raises:
        InvalidArgumentError: If a file lies elsewhere.
        FileRejectedError: If it lies elsewhere and a client chose it by a reference.
    """
    known = {file.backend_key for file in old}
    for column in columns:
        for file in files_in(values.get(column.key)):
            if file.backend_key not in {column.type.storage_key, *known}:
                if file.referred is not None:
                    raise FileRejectedError(
                        "This file was uploaded for another purpose: upload it again for this one",
                        backend=file.backend_key,
                    )
                raise InvalidArgumentError(
                    f"The column {column.key!r} stores in {column.type.storage_key!r}, not in {file.backend_key!r}: "
                    "make the file with that backend",
                    backend=file.backend_key,
                )


def instrument(mapper: Mapper[Any], class_: type[Any]) -> tuple[FileColumn, ...]:
    """Return the file columns of a class that was just configured, and track the changes of their files."""
    found = _columns[mapper] = tuple(
        FileColumn(prop.key, column, column.type)
        for prop in mapper.column_attrs
        for column in prop.columns[:1]
        if isinstance(column, sa.Column) and isinstance(column.type, StoredObject)
    )
    inherited = {column.key for column in file_columns(mapper.inherits)} if mapper.inherits else set[str]()
    for column in found:
        if column.key in inherited:
            continue
        attribute = getattr(class_, column.key)
        if column.type.multiple:
            _resolve_ids(column.key, attribute)
            TrackedFiles.associate_with_attribute(attribute)
        else:
            _watch_single(class_, column.key, attribute)
    return found


def _resolve_ids(key: str, attribute: Any) -> None:
    """Resolve the ids in a list that is assigned, if the row's own files are known; otherwise the flush does it."""

    def assigned(_state: InstanceState[Any], value: Any, before: Any, *_: Any) -> Any:
        held: Any = before
        if not names_entries(value) or not isinstance(held, list) or names_entries(cast("Any", held)):
            return value
        files = [*value]
        put_held_files(key, files, files_in(before))
        return files

    event.listen(attribute, "set", assigned, propagate=True, raw=True, retval=True)


def _watch_single(class_: type[Any], key: str, attribute: Any) -> None:
    # With the state instead of the row: these run for each row that is loaded.
    def loaded(state: InstanceState[Any], *_: Any) -> None:
        if isinstance(file := instance_dict(state.obj()).get(key), FileObject):
            file.on_change = partial(_remember, state.obj, key)

    def assigned(state: InstanceState[Any], value: Any, *_: Any) -> None:
        if isinstance(value, FileObject):
            if value.given_id is not None:
                put_held_files(key, value, ())  # refuses it: only files of lists have an id
            value.id = None
            value.on_change = partial(_remember, state.obj, key)
        elif value is not None and not _is_sql(value):
            raise not_a_file(f"{class_.__name__}.{key}", value)

    event.listen(class_, "load", loaded, propagate=True, raw=True)
    event.listen(class_, "refresh", loaded, propagate=True, raw=True)
    event.listen(attribute, "set", assigned, propagate=True, raw=True)


def _remember(owner: Callable[[], Any], key: str, file: FileObject) -> None:
    """Keep the old value of a file that is about to change, for the row that holds it, if that is still there."""
    if (row := owner()) is None:
        return
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
