"""Flush events: content is stored before the row that holds it, and what rows gave up is noted.

Importing this module starts the tracking, for every session of the process, whoever made it. Sessions whose classes
have no file columns pay for a dictionary look-up per changed object.

``before_flush`` does the work, before the first statement of the flush. Later the mapper's events tell which rows were
really written, and bring those that it could not see: rows deleted as orphans, and what other listeners changed after
it. Our own listeners see that to `Mapper` first, and where a class has others, once more behind the last of those.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.base import NO_VALUE
from sqlalchemy.orm.interfaces import EXT_CONTINUE

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import ConflictError
from litestar_filestore.orm.columns import (
    FileColumn,
    check_backends,
    current_values,
    file_columns,
    files_in,
    is_modified,
)

# Their import registers listeners too.
from litestar_filestore.tracking import transactions as _transactions  # noqa: F401  # pyright: ignore[reportUnusedImport]
from litestar_filestore.tracking.bulk import plain_value
from litestar_filestore.tracking.checks import check_content, check_count, check_stored
from litestar_filestore.tracking.custody import Custody, custody_of
from litestar_filestore.tracking.defaults import check_defaults, fill_defaults

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import UOWTransaction

_PLAN = "litestar_filestore.plan"
_ordering = Lock()


@dataclass(slots=True)
class _Change:
    """What a flush does to the file columns of one row."""

    state: InstanceState[Any]
    deleted: bool
    columns: Sequence[FileColumn]
    """Those that are written, all of them for a row that is deleted."""
    old: set[FileObject] = field(default_factory=set["FileObject"])
    """What the database holds in these columns before."""
    new: set[FileObject] = field(default_factory=set["FileObject"])
    """What it holds in them afterwards."""
    written: bool = False
    """Whether the flush got to the row."""
    linked: set[FileObject] = field(default_factory=set["FileObject"])
    """What was linked before the row is written."""


_Plan = dict[InstanceState[Any], _Change]


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, _context: UOWTransaction, _instances: Sequence[Any] | None) -> None:
    gone = session.deleted
    _fill_successors(session, gone)
    for row in session.new:
        fill_defaults(sa.inspect(row))
    changes = [_change(sa.inspect(row), deleted=row in gone) for row in (*session.new, *session.dirty, *gone)]
    for mapper in {change.state.mapper for change in changes}:
        if file_columns(mapper):
            _come_last(mapper)
    session.info[_PLAN] = _prepare(session, [change for change in changes if change.columns])


def _fill_successors(session: Session, gone: Iterable[Any]) -> None:
    """Empty the file columns of new rows that take the place of deleted ones and say nothing about them.

    SQLAlchemy turns such a pair into one UPDATE that leaves unmentioned columns alone: the new row would go on pointing
    at the objects of the old one, which are deleted.
    """
    identities = {sa.inspect(row).key for row in gone if file_columns(sa.inspect(row).mapper)}
    if not identities:
        return
    for row in session.new:
        state = sa.inspect(row)
        if state.mapper.identity_key_from_instance(row) in identities:
            for column in file_columns(state.mapper):
                if column.key not in state.dict:
                    setattr(row, column.key, None)


def _change(state: InstanceState[Any], *, deleted: bool) -> _Change:
    columns = file_columns(state.mapper)
    if not deleted and state.has_identity:
        columns = tuple(column for column in columns if is_modified(state, column.key))
    return _Change(state, deleted, columns)


def _prepare(session: Session, changes: Sequence[_Change]) -> _Plan:
    """Store what rows will hold, then lock the rows and look up what they hold, and return the changes by row."""
    for change in changes:
        if not change.deleted:
            _store_all(session, change)
    by_mapper: dict[Mapper[Any], list[InstanceState[Any]]] = {}
    for change in changes:
        if change.state.has_identity:
            by_mapper.setdefault(change.state.mapper, []).append(change.state)
    # One order for everyone: two transactions that lock rows of the same tables must not wait for each other.
    rows = {mapper: current_values(session, mapper, by_mapper[mapper]) for mapper in sorted(by_mapper, key=str)}
    for change in changes:
        if change.state.key is not None:
            row = rows.get(change.state.mapper, {}).get(tuple(change.state.key[1]))
            if row is None:
                # The statement that follows could hit a row that took its place, and that nobody has locked.
                raise ConflictError("Another transaction deleted this row meanwhile; load it again")
            _check_unchanged(change, row)
            change.old = {file for column in change.columns for file in files_in(row[column.key])}
            _check_places(change, row)
        else:
            _check_places(change, {})
        check_backends(change.columns, change.state.dict, change.old)
        _check_gained(session, change)
    _link_first(session, changes)
    return {change.state: change for change in changes}


def _check_unchanged(change: _Change, row: Mapping[Any, Any]) -> None:
    """Make sure that the database still holds what the session began from, where the session has seen that.

    Raises:
        ConflictError: If it does not. Another transaction's file would be deleted without anybody having seen it.
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


def _link_first(session: Session, changes: Sequence[_Change]) -> None:
    for custody, its in _by_custody(session, changes).items():
        if custody.link_first(
            gained=[file for change in its for file in change.new - change.old - change.linked],
            lost=[file for change in its for file in change.old - change.new],
            kept={file for change in its for file in change.old & change.new},
        ):
            for change in its:
                change.linked = change.new - change.old


def _by_custody(session: Session, changes: Iterable[_Change]) -> dict[Custody, list[_Change]]:
    found: dict[Custody, list[_Change]] = {}
    for change in changes:
        found.setdefault(custody_of(session, change.state.mapper), []).append(change)
    return found


def _check_gained(session: Session, change: _Change) -> None:
    if change.deleted:
        return
    custody = custody_of(session, change.state.mapper)
    for column in change.columns:
        for file in files_in(change.state.dict.get(column.key)):
            if file not in change.old:
                check_stored(column, file)
                custody.expect(file)


def _check_places(change: _Change, row: Mapping[Any, Any]) -> None:
    """Make sure that no file gets a second place in one row: taken out of one, it would be deleted for the other too.

    Raises:
        ConflictError: If one does. Rows that Advanced Alchemy wrote may have such files already, and keep them.
    """
    if change.deleted:
        return
    after = Counter(file for column in change.columns for file in files_in(change.state.dict.get(column.key)))
    before = Counter(file for column in change.columns for file in files_in(row.get(column.key)))
    if any(count > 1 and count > before[file] for file, count in after.items()):
        raise ConflictError("One file was assigned to two places of a row; assign file.copy() to one of them")


def _store_all(session: Session, change: _Change) -> None:
    custody = custody_of(session, change.state.mapper)
    for column in change.columns:
        files = list(files_in(plain_value(column.key, change.state.dict.get(column.key))))
        if column.type.multiple:
            check_count(column, len(files))
        for file in files:
            if file.has_pending_data:
                check_backends([column], {column.key: file}, ())
                check_content(column, file)
                file.key_template = column.type.key_template_for(file)
                custody.store(file)
                file.passed_rules = column.type.rules
            change.new.add(file)


# -- which rows the flush really writes


@event.listens_for(Mapper, "mapper_configured")
def _check_class(mapper: Mapper[Any], _class: type[Any]) -> None:
    check_defaults(mapper)


@event.listens_for(Mapper, "before_insert", raw=True, retval=True)
@event.listens_for(Mapper, "before_update", raw=True, retval=True)
def _before_write(mapper: Mapper[Any], _connection: Connection, target: InstanceState[Any]) -> object:
    if file_columns(mapper):
        if not target.has_identity:
            fill_defaults(target)
        _settle(mapper, target, deleted=False)
    return EXT_CONTINUE


def _before_write_last(mapper: Mapper[Any], _connection: Connection, target: InstanceState[Any]) -> object:
    """See what a listener of the class has set: it is asked after those of `Mapper`."""
    _settle(mapper, target, deleted=False)
    return EXT_CONTINUE


def _come_last(mapper: Mapper[Any]) -> None:
    """Listen behind all others, wherever there are any."""
    for name in ("before_insert", "before_update"):
        if _is_last(mapper, name):
            continue
        with _ordering:
            if _is_last(mapper, name):
                continue  # another thread was faster, and may be calling the listeners already
            if event.contains(mapper, name, _before_write_last):
                event.remove(mapper, name, _before_write_last)
            event.listen(mapper, name, _before_write_last, raw=True, retval=True)


def _is_last(mapper: Mapper[Any], name: str) -> bool:
    dispatch: Any = getattr(mapper.dispatch, name)
    # Raw listeners that return something are called as they are, so they can be told from others.
    if dispatch.listeners:
        return dispatch.listeners[-1] is _before_write_last
    return dispatch.parent_listeners[-1] is _before_write


@event.listens_for(Mapper, "before_delete", raw=True, retval=True)
def _before_delete(mapper: Mapper[Any], _connection: Connection, target: InstanceState[Any]) -> object:
    _settle(mapper, target, deleted=True)
    return EXT_CONTINUE


def _settle(mapper: Mapper[Any], target: InstanceState[Any], *, deleted: bool) -> None:
    session = target.session
    if session is None or not file_columns(mapper):
        return
    now = _change(target, deleted=deleted)
    plan = cast("_Plan", session.info.setdefault(_PLAN, {}))
    planned = plan.get(now.state)
    if planned is not None and planned.deleted and not deleted:
        # Another listener has taken the row out of the deleted ones, as those for soft deletes do.
        del plan[now.state]
        planned = None
    if now.columns and not _agree(planned, now):
        now.linked = planned.linked if planned is not None else set()
        plan.update(_prepare(session, [now]))
        planned = now
    if planned is not None:
        planned.written = True


def _agree(planned: _Change | None, now: _Change) -> bool:
    """Return whether a row is still about to become what was planned."""
    if planned is None or planned.deleted != now.deleted:
        return False
    files = {file for column in now.columns for file in files_in(now.state.dict.get(column.key))}
    return now.deleted or (len(planned.columns) == len(now.columns) and planned.new == files)


@event.listens_for(Session, "after_flush")
def _after_flush(session: Session, _context: UOWTransaction) -> None:
    plan = cast("Mapping[InstanceState[Any], _Change]", session.info.pop(_PLAN, {}))
    written = [change for change in plan.values() if change.written]
    taken = {_identity(change.state) for change in written if not change.deleted}
    # A new row with the primary key of a deleted one takes its place by an UPDATE, so no DELETE is written.
    replaced = [each for each in plan.values() if each.deleted and not each.written and each.state.key in taken]
    changes = [*written, *replaced]
    linked = {file for change in changes for file in change.linked}
    for custody, its in _by_custody(session, changes).items():
        custody.settle(
            gained=[file for change in its for file in change.new - change.old - linked],
            lost=[file for change in its for file in change.old - change.new - linked],
        )


def _identity(state: InstanceState[Any]) -> Any:
    return state.mapper.identity_key_from_instance(state.obj())
