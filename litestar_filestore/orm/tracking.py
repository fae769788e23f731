"""Session events: content is stored before the row that holds it, and old objects go after the commit.

Importing this module starts the tracking, for every session of the process, whoever made it. Sessions whose classes
have no file columns pay for a dictionary look-up per changed object.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import InstanceState, Mapper, Session, object_session
from sqlalchemy.orm.attributes import flag_modified

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import InvalidArgumentError
from litestar_filestore.orm._bridge import call
from litestar_filestore.orm.columns import FileColumn, current_values, file_columns, files_in, is_modified
from litestar_filestore.orm.file_list import FileObjectList
from litestar_filestore.orm.journal import Journal, delete_targets, journal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import SessionTransaction, UOWTransaction

__all__ = ()

_PLANNED = "litestar_filestore.planned"
_connections: weakref.WeakKeyDictionary[Connection, Journal] = weakref.WeakKeyDictionary()


# -- values notice their changes


@event.listens_for(Mapper, "mapper_configured")
def _instrument(mapper: Mapper[Any], class_: type[Any]) -> None:
    inherited = {column.key for column in file_columns(mapper.inherits)} if mapper.inherits else set[str]()
    for column in file_columns(mapper):
        if column.key in inherited:
            continue
        attribute = getattr(class_, column.key)
        if column.type.multiple:
            FileObjectList.associate_with_attribute(attribute)
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

    def file_changed() -> None:
        if (row := owner()) is not None and sa.inspect(row).dict.get(key) is file:
            flag_modified(row, key)

    file.on_change = file_changed


# -- flush


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, _context: UOWTransaction, _instances: Sequence[Any] | None) -> None:
    planned = session.info[_PLANNED] = set[InstanceState[Any]]()
    changed: dict[Mapper[Any], list[InstanceState[Any]]] = {}
    for row in (*session.new, *session.dirty, *session.deleted):
        state = sa.inspect(row)
        if columns := file_columns(state.mapper):
            planned.add(state)
            if state.persistent and (row in session.deleted or any(is_modified(state, each.key) for each in columns)):
                changed.setdefault(state.mapper, []).append(state)
            elif not state.persistent:
                _store_all(session, state, columns, ())
    for mapper, states in changed.items():
        _replace_all(session, mapper, states)


def _replace_all(session: Session, mapper: Mapper[Any], states: list[InstanceState[Any]]) -> None:
    columns = file_columns(mapper)
    rows = current_values(session, mapper, states)
    for state in states:
        row = rows.get(tuple(state.key[1])) if state.key is not None else None
        deleted = state.obj() in session.deleted
        written = () if deleted else [column for column in columns if is_modified(state, column.key)]
        old = {
            file for column in (columns if deleted else written) for file in files_in(getattr(row, column.key, None))
        }
        new = _store_all(session, state, written, old)
        _doom(session, old - new)


def _store_all(
    session: Session, state: InstanceState[Any], columns: Iterable[FileColumn], old: Iterable[FileObject]
) -> set[FileObject]:
    """Store what is pending in `columns` and return all files that the row will hold there."""
    new: set[FileObject] = set()
    known = {file.backend_key for file in old}
    for column in columns:
        for file in files_in(state.dict.get(column.key)):
            if file.backend_key not in {column.type.storage_key, *known}:
                raise InvalidArgumentError(
                    f"The column {column.key!r} stores in {column.type.storage_key!r}, not in {file.backend_key!r}",
                    backend=file.backend_key,
                )
            if file.has_pending_data:
                _store(session, file, column)
            new.add(file)
    return new


def _store(session: Session, file: FileObject, column: FileColumn) -> None:
    pending = file.pending_content()
    file.key_template = column.type.key_template_for(file)
    call(file.save, file.save_async)
    journal_of(session).stored(session, file, pending)


def _doom(session: Session, files: set[FileObject]) -> None:
    for file in files:
        journal_of(session).doomed(session, file)


# What before_flush did not see: rows deleted as orphans, and rows that other listeners touched after us.


@event.listens_for(Mapper, "before_insert")
def _before_insert(mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    if (columns := file_columns(mapper)) and (session := _unplanned(target)) is not None:
        _store_all(session, sa.inspect(target), columns, ())


@event.listens_for(Mapper, "before_update")
@event.listens_for(Mapper, "before_delete")
def _before_change(mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    if not file_columns(mapper) or (session := _unplanned(target)) is None:
        return
    _replace_all(session, mapper, [sa.inspect(target)])


def _unplanned(target: Any) -> Session | None:
    session = object_session(target)
    if session is None or sa.inspect(target) in session.info.get(_PLANNED, ()):
        return None
    return session


@event.listens_for(Session, "after_flush")
def _after_flush(session: Session, _context: UOWTransaction) -> None:
    session.info.pop(_PLANNED, None)


# -- transactions


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    journal = journal_of(session)
    journal.connections.add(connection)
    _connections[connection] = journal


@event.listens_for(Engine, "commit")
def _commit_sent(connection: Connection) -> None:
    if (journal := _connections.get(connection)) is not None:
        journal.commit_sent = True


@event.listens_for(Engine, "commit_twophase")
def _twophase_sent(connection: Connection, _xid: Any, _is_prepared: bool) -> None:  # noqa: FBT001  # SQLAlchemy's
    _commit_sent(connection)


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    journal_of(session).committing(session)


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    if not transaction.nested and transaction.parent is not None:
        return
    if targets := journal_of(session).ended(transaction):
        delete_targets(targets)
