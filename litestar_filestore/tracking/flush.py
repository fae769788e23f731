"""Stores content before the rows that hold it, and notes which files rows give up.

``before_flush`` does the work, before the first statement of the flush. Later the mapper's events tell which rows were
really written, and report those that it could not see: rows deleted as orphans, and later changes by other listeners.
Our listeners run after all others of a class.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import event
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.base import NO_VALUE
from sqlalchemy.orm.interfaces import EXT_CONTINUE

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import ConflictError, InvalidArgumentError
from litestar_filestore.orm.columns import FileColumn, check_backends, file_columns, files_in, is_modified
from litestar_filestore.orm.rows import current_values
from litestar_filestore.orm.stored_object import names_entries, put_held_files, unseen_write
from litestar_filestore.tracking.bulk import plain_value
from litestar_filestore.tracking.checks import check_stored
from litestar_filestore.tracking.custody import Custody, custody_of, store_pending
from litestar_filestore.tracking.defaults import fill_defaults
from litestar_filestore.tracking.journal import known_journal
from litestar_filestore.tracking.turns import take_turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction, UOWTransaction

__all__ = (
    "after_flush",
    "before_flush",
    "follow_rows",
    "refuse_unseen",
)

_PLAN = "litestar_filestore.plan"
_FLUSH = "litestar_filestore.flush"
_ordering = Lock()


@dataclass(slots=True)
class _Change:
    """The change of a flush to the file columns of one row."""

    state: InstanceState[Any]
    deleted: bool
    columns: Sequence[FileColumn]
    """The columns that are written; all of them for a row that is deleted."""
    old: set[FileObject] = field(default_factory=set["FileObject"])
    """The files that the database holds in these columns before the flush."""
    new: set[FileObject] = field(default_factory=set["FileObject"])
    """The files that it holds afterwards."""
    written: bool = False
    """Whether the flush has reached the row."""
    custody: Custody | None = None
    """The custody of its files; ``None`` if there are none."""


_Plan: TypeAlias = "dict[InstanceState[Any], _Change]"


def before_flush(session: Session, context: UOWTransaction, _instances: Sequence[Any] | None) -> None:
    """Store the files of new and changed rows, and lock the rows that give up files."""
    session.info[_FLUSH] = weakref.ref(context)
    session.info.pop(_PLAN, None)
    new, gone = session.new, session.deleted
    states = {instance_state(row): row in gone for row in (*new, *session.dirty, *gone)}
    columns = {mapper: found for mapper in {state.mapper for state in states} if (found := file_columns(mapper))}
    if not columns:
        return
    if gone:
        _fill_successors(new, gone)
    for row in new:
        fill_defaults(state := instance_state(row), columns.get(state.mapper, ()))
    changes = [
        _change(state, columns[state.mapper], deleted=deleted)
        for state, deleted in states.items()
        if state.mapper in columns
    ]
    for mapper in columns:
        _come_last(mapper)
    session.info[_PLAN] = _prepare(session, [change for change in changes if change.columns])


def refuse_unseen(session: Session, transaction: SessionTransaction) -> None:
    """Let file columns refuse values that a session writes without a flush.

    The legacy methods (``bulk_save_objects``, ``bulk_insert_mappings``, ``bulk_update_mappings``) write without a flush
    and without a visible statement, but, like a flush, in a subtransaction.
    """
    if transaction.parent is None or transaction.nested:
        return
    context = session.info[_FLUSH]() if _FLUSH in session.info else None
    if context is None or not context.has_work:
        unseen_write.set(weakref.ref(transaction))


def _fill_successors(new: Iterable[Any], gone: Iterable[Any]) -> None:
    """Empty the file columns of new rows that replace deleted ones, unless the new rows set them.

    SQLAlchemy turns such a pair into one UPDATE that leaves other columns alone: the new row would still point at the
    objects of the old one, which are deleted.
    """
    identities = {state.key for row in gone if file_columns((state := instance_state(row)).mapper)}
    if not identities:
        return
    for row in new:
        state = instance_state(row)
        if state.mapper.identity_key_from_instance(row) in identities:
            for column in file_columns(state.mapper):
                if column.key not in state.dict:
                    setattr(row, column.key, None)


def _change(state: InstanceState[Any], columns: Sequence[FileColumn], *, deleted: bool) -> _Change:
    if not deleted and state.has_identity:
        columns = tuple(column for column in columns if is_modified(state, column.key))
    return _Change(state, deleted, columns)


def _prepare(session: Session, changes: Sequence[_Change]) -> _Plan:
    """Store the new files of rows, lock the rows, look up their current files, and return the changes by row."""
    for mapper, its in _by_mapper(change for change in changes if _may_hold_files(change)).items():
        custody = custody_of(session, mapper)
        for change in its:
            change.custody = custody
    for change in changes:
        if change.custody is not None and not change.deleted:
            _store_all(change.custody, change)
    if (journal := known_journal(session)) is not None:
        for connection in journal.connections:
            take_turn(session, connection)
    by_mapper = _by_mapper(change for change in changes if change.state.has_identity)
    # The same order everywhere: two transactions that lock rows of the same tables must not wait for each other.
    rows = {
        mapper: current_values(session, mapper, [change.state for change in by_mapper[mapper]])
        for mapper in sorted(by_mapper, key=str)
    }
    for change in changes:
        row: Mapping[Any, Any] = {}
        if change.state.key is not None:
            found = rows[change.state.mapper].get(tuple(change.state.key[1]))
            if found is None:
                # The next statement could hit a row that has replaced it and is not locked.
                raise ConflictError("Another transaction deleted this row meanwhile; load it again")
            row = found
            _check_unchanged(change, row)
            change.old = {file for column in change.columns for file in files_in(row[column.key])}
        _resolve_ids(change, row)
        _check_places(change, row)
        check_backends(change.columns, change.state.dict, change.old)
        _check_gained(change)
    return {change.state: change for change in changes}


def _by_mapper(changes: Iterable[_Change]) -> dict[Mapper[Any], list[_Change]]:
    found: dict[Mapper[Any], list[_Change]] = {}
    for change in changes:
        found.setdefault(change.state.mapper, []).append(change)
    return found


def _may_hold_files(change: _Change) -> bool:
    """Return whether a row may have files, as far as is known before it is looked up."""
    values = change.state.dict
    for column in change.columns:
        value: object = values.get(column.key)
        if value is not None and not (isinstance(value, list) and not value):
            return True
    return change.state.has_identity


def _check_unchanged(change: _Change, row: Mapping[Any, Any]) -> None:
    """Make sure that the database still holds the value that the session has loaded, if it has loaded it.

    Raises:
        ConflictError: If it does not. Otherwise another transaction's file would be deleted unseen.
    """
    if change.deleted:
        return
    for column in change.columns:
        seen = change.state.committed_state.get(column.key, NO_VALUE)
        if (seen is None or isinstance(seen, (FileObject, list))) and [*files_in(seen)] != [*files_in(row[column.key])]:
            raise ConflictError(
                f"Another transaction changed {column.key!r} of this row meanwhile; load the row again, and repeat the "
                "change on what it holds now"
            )


def _check_gained(change: _Change) -> None:
    if change.deleted or change.custody is None:
        return
    for column in change.columns:
        for file in files_in(change.state.dict.get(column.key)):
            if file not in change.old:
                check_stored(column, file)
                change.custody.expect(file)


def _resolve_ids(change: _Change, row: Mapping[Any, Any]) -> None:
    """Let the row keep the files that a client has named by their ids, as the row holds them now that it is locked.

    Raises:
        FileRejectedError: If an id names no file of this row.
    """
    for column in change.columns:
        if not column.type.multiple or change.deleted:
            continue
        files: Any = change.state.dict.get(column.key)
        if names_entries(files):
            change.new.difference_update(files)
            put_held_files(column.key, files, files_in(row.get(column.key)))
            change.new.update(files)


def _check_places(change: _Change, row: Mapping[Any, Any]) -> None:
    """Make sure that no file gets a second place in one row: removing it from one place would delete it for the other.

    Raises:
        ConflictError: If one does. Rows that Advanced Alchemy wrote may have such files already, and keep them.
    """
    if change.deleted:
        return
    files = [file for column in change.columns for file in files_in(change.state.dict.get(column.key))]
    if len(files) == 1:
        return
    after = Counter(files)
    before = Counter(file for column in change.columns for file in files_in(row.get(column.key)))
    if any(count > 1 and count > before[file] for file, count in after.items()):
        raise ConflictError("One file was assigned to two places of a row; assign file.copy() to one of them")


def _store_all(custody: Custody, change: _Change) -> None:
    for column in change.columns:
        value = plain_value(column.key, change.state.dict.get(column.key))
        store_pending(custody, column, value)
        change.new.update(files_in(value))


# -- which rows the flush really writes


def follow_rows(mapper: Mapper[Any]) -> None:
    """Listen to what flushes write for a class with file columns."""
    event.listen(mapper, "before_insert", _before_write, raw=True, retval=True)
    event.listen(mapper, "before_update", _before_write, raw=True, retval=True)
    event.listen(mapper, "before_delete", _before_delete, raw=True, retval=True)


def _before_write(_mapper: Mapper[Any], _connection: Connection, target: InstanceState[Any]) -> object:
    columns = file_columns(target.mapper)
    if not target.has_identity:
        fill_defaults(target, columns)
    _check_given(target, columns)
    _settle(target, columns, deleted=False)
    return EXT_CONTINUE


def _check_given(target: InstanceState[Any], columns: Iterable[FileColumn]) -> None:
    """Refuse a row without a file that it must have, in words that say more than those of the database.

    Raises:
        InvalidArgumentError: If it has none. All listeners that could have given it one have run.
    """
    for column in columns:
        if (
            column.column.nullable
            or column.column.server_default is not None
            or target.dict.get(column.key) is not None
        ):
            continue
        if not target.has_identity or column.key in target.committed_state:
            raise InvalidArgumentError(
                f"{target.class_.__name__}.{column.key} must hold a file, and this row has none: assign one, or allow "
                "rows without one, with Mapped[FileObject | None]",
                backend=column.type.storage_key,
            )


def _come_last(mapper: Mapper[Any]) -> None:
    """Listen after all other listeners."""
    for name in ("before_insert", "before_update"):
        if _is_last(mapper, name):
            continue
        with _ordering:
            if _is_last(mapper, name):
                continue  # another thread was faster, and may be calling the listeners already
            event.remove(mapper, name, _before_write)
            event.listen(mapper, name, _before_write, raw=True, retval=True)


def _is_last(mapper: Mapper[Any], name: str) -> bool:
    # Raw listeners with a return value are not wrapped, so ours can be recognised.
    return bool(getattr(mapper.dispatch, name).listeners[-1] is _before_write)


def _before_delete(_mapper: Mapper[Any], _connection: Connection, target: InstanceState[Any]) -> object:
    _settle(target, file_columns(target.mapper), deleted=True)
    return EXT_CONTINUE


def _settle(target: InstanceState[Any], columns: Sequence[FileColumn], *, deleted: bool) -> None:
    session = target.session
    if session is None:
        return
    now = _change(target, columns, deleted=deleted)
    plan: _Plan = session.info.setdefault(_PLAN, {})
    planned = plan.get(now.state)
    if planned is not None and planned.deleted and not deleted:
        # Another listener has removed the row from the deleted ones, as soft deletes do.
        del plan[now.state]
        planned = None
    if now.columns and not _agree(planned, now):
        plan.update(_prepare(session, [now]))
        planned = now
    if planned is not None:
        planned.written = True


def _agree(planned: _Change | None, now: _Change) -> bool:
    """Return whether the flush will still write what was planned for a row."""
    if planned is None or planned.deleted != now.deleted:
        return False
    files = {file for column in now.columns for file in files_in(now.state.dict.get(column.key))}
    return now.deleted or (len(planned.columns) == len(now.columns) and planned.new == files)


def after_flush(session: Session, _context: UOWTransaction) -> None:
    """Settle the files of the rows that the flush has written."""
    plan: _Plan | None = session.info.pop(_PLAN, None)
    if not plan:
        return
    written = [change for change in plan.values() if change.written]
    replaced = [change for change in plan.values() if change.deleted and not change.written]
    if replaced:
        # A new row with the primary key of a deleted one replaces it by an UPDATE, so no DELETE is written.
        taken = {_identity(change.state) for change in written if not change.deleted}
        replaced = [change for change in replaced if change.state.key in taken]
    by_custody: dict[Custody, list[_Change]] = {}
    for change in (*written, *replaced):
        if change.custody is not None:
            by_custody.setdefault(change.custody, []).append(change)
    for custody, its in by_custody.items():
        custody.settle(
            gained=[file for change in its for file in change.new - change.old],
            lost=[file for change in its for file in change.old - change.new],
        )


def _identity(state: InstanceState[Any]) -> Any:
    return state.mapper.identity_key_from_instance(state.obj())
