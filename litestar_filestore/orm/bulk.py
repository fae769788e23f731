"""Bulk statements of the ORM: rows change without being loaded, so the files in them are looked up first.

``session.execute(delete(Model).where(...))`` and its kin give no flush event. Their rows are selected and locked with
the same condition, their files handed on, and the statement narrowed to exactly those rows: without that, a row that
another transaction inserts meanwhile would be deleted with its file still linked. A statement that has met fewer rows
all the same, because somebody narrowed it later, is refused.

What nobody can see from here stays out: SQL text, statements on tables instead of classes, cascades inside the
database, TRUNCATE. ``fsck`` finds what they leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError, UnsupportedOperationError
from litestar_filestore.orm.bulk_values import Row, check_insert, rows_of
from litestar_filestore.orm.checking import check_content, check_count, check_stored
from litestar_filestore.orm.columns import (
    FileColumn,
    check_backends,
    file_columns,
    files_in,
    lock_for_writing,
    matches_any,
    single_table_columns,
    writing_connection,
)
from litestar_filestore.orm.custody import custody_of
from litestar_filestore.orm.journal import journal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Result
    from sqlalchemy.orm import Mapper, ORMExecuteState

    from litestar_filestore.core.file_object import FileObject

__all__ = ()


class _Plan:
    """What one statement does to files: collected and stored before it runs, settled after it has."""

    def __init__(self, session: Session, mapper: Mapper[Any]) -> None:
        self.mapper = mapper
        self.connection = writing_connection(session, mapper)
        self._custody = custody_of(session, mapper)
        self._gained: list[FileObject] = []
        self._lost: list[FileObject] = []
        self.defaults: Any = None
        """What columns give to the rows of an executemany."""

    def store(self, column: FileColumn, value: Any) -> None:
        """Store what is pending in a value of the statement."""
        files = list(files_in(value))
        if column.type.multiple:
            check_count(column, len(files))
        for file in files:
            if file.has_pending_data:
                check_backends([column], {column.key: file}, ())
                check_content(column, file)
                file.key_template = column.type.key_template_for(file)
                self._custody.store(file)
                file.passed_rules = column.type.rules

    def exchange(self, column: FileColumn, new: Any, old: Any) -> None:
        """Plan for one row's column."""
        before, after = list(files_in(old)), list(files_in(new))
        check_backends([column], {column.key: after}, before)
        gained = [file for file in after if file not in before]
        for file in gained:
            check_stored(column, file)
            self._custody.expect(file)
        self._gained += gained
        self._lost += [file for file in before if file not in after]

    def settle(self) -> None:
        """Tell the custody."""
        self._custody.settle(self._gained, self._lost)


@event.listens_for(Session, "do_orm_execute")
def _around_statement(state: ORMExecuteState) -> Result[Any] | None:
    mapper = state.bind_mapper
    if mapper is None or not (state.is_insert or state.is_update or state.is_delete):
        return None
    if not (file_columns(mapper) or single_table_columns(mapper)):
        return None
    if not state.is_insert and state.execution_options.get("autoflush", True):
        state.session._autoflush()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as the statement itself does
    plan = _Plan(state.session, mapper)
    if state.is_insert:
        check = _insert(plan, state)
    elif state.is_executemany:
        check = _update_by_key(plan, state)
    else:
        check = _change_where(plan, state)
    result = state.invoke_statement(params=plan.defaults)
    # After it, because a statement can fail and its transaction go on.
    try:
        check(result)
        plan.settle()
    except BaseException:
        journal_of(state.session).spoiled(state.session)
        raise
    return result


_Check: TypeAlias = "Callable[[Result[Any]], None]"
"""Looks after the statement whether it did what was planned."""


def _fine(_result: Result[Any]) -> None:
    pass


def _insert(plan: _Plan, state: ORMExecuteState) -> _Check:
    columns = file_columns(plan.mapper)
    rows = list(rows_of(state))
    check_insert(state.statement, columns, rows)
    _give_defaults(plan, state, columns, rows)
    for row in rows:
        for column in columns:
            plan.store(column, row.value(column))
    for row in rows:
        for column in columns:
            plan.exchange(column, row.value(column), None)
    return _fine


def _give_defaults(plan: _Plan, state: ORMExecuteState, columns: Sequence[FileColumn], rows: Sequence[Row]) -> None:
    """Give the rows of an INSERT what its columns make, while it can still be stored."""
    statement = cast("sa.Insert", state.statement)
    if statement.select is not None:
        return
    given = [row.give_defaults(columns) for row in rows]
    if not any(given):
        return
    if len(rows) > 1 and not state.is_executemany:
        raise UnsupportedOperationError(
            "An INSERT with several rows in values() takes no files from the defaults of columns: give the rows as "
            "parameters of execute(), or each its file"
        )
    if state.is_executemany:
        plan.defaults = given
    else:
        state.statement = statement.values(given[0])


def _update_by_key(plan: _Plan, state: ORMExecuteState) -> _Check:
    """Plan for ``session.execute(update(Model), [{"id": 1, "file": ...}, ...])``."""
    keys = [plan.mapper.get_property_by_column(column).key for column in plan.mapper.primary_key]
    rows = {tuple(row[key] for key in keys): row for row in rows_of(state)}
    if len(rows) != len(cast("Sequence[Any]", state.parameters)):
        raise ConflictError("The statement names a row twice; only one of its files could stay")
    touched = {
        identity: columns
        for identity, row in rows.items()
        if (columns := [column for column in file_columns(plan.mapper) if row.mentions(column)])
    }
    # All content before the first lock, and then the locks in one order for everyone.
    for identity, columns in touched.items():
        for column in columns:
            plan.store(column, rows[identity].value(column))
    for identity in sorted(touched, key=repr):
        here = matches_any(plan.mapper.primary_key, [identity])
        _exchange(plan, sa.select(plan.mapper.persist_selectable).where(here), touched[identity], rows[identity])
    return _fine


def _change_where(plan: _Plan, state: ORMExecuteState) -> _Check:
    statement = cast("sa.Update | sa.Delete", state.statement)
    columns = list(single_table_columns(plan.mapper))
    row = Row({}, {})
    if state.is_update:
        (row,) = rows_of(state)
        columns = [column for column in columns if row.mentions(column)]
    if not columns:
        return _fine
    # By the class, not its table: a class that shares a table has a condition of its own, and so may the options.
    looking = sa.select().select_from(plan.mapper.class_).options(*statement._with_options)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if statement.whereclause is not None:
        looking = looking.where(statement.whereclause)
    keys = _exchange(plan, looking, columns, row)
    here = matches_any(_keys(plan.mapper), keys)
    state.statement = statement.where(here)

    def check(result: Result[Any]) -> None:
        if getattr(result, "rowcount", -1) == len(keys):
            return
        # RETURNING hides the number from some drivers.
        values = sa.select(*(column.column for column in columns)).where(here)
        left = plan.connection.execute(values).all()
        new = [row.value(column) for column in columns]
        if left if state.is_delete else any(list(each) != new for each in left):
            raise UnsupportedOperationError(
                "The statement was narrowed after its rows were looked up, and has left some of them as they were: add "
                "the condition to the statement, or an option such as with_loader_criteria"
            )

    return check


def _keys(mapper: Mapper[Any]) -> list[sa.Column[Any]]:
    """Return the primary key of the table that statements on a class change, of which a subclass may have its own."""
    return list(cast("sa.Table", mapper.local_table).primary_key)


def _exchange(plan: _Plan, looking: sa.Select[Any], columns: Sequence[FileColumn], new: Row) -> list[tuple[Any, ...]]:
    """Lock the rows that `looking` meets, plan for their files, and return their primary keys."""
    keys = _keys(plan.mapper)
    for column in columns:
        plan.store(column, new.value(column))
    lock_for_writing(plan.connection, plan.mapper)
    selected = [column.column.label(f"file_{index}") for index, column in enumerate(columns)]
    statement = looking.with_only_columns(*keys, *selected, maintain_column_froms=True)
    rows = plan.connection.execute(statement.order_by(*keys).with_for_update()).all()
    for index, column in enumerate(columns):
        value = new.value(column)
        if len(rows) > 1 and any(files_in(value)):
            raise ConflictError("The statement would give one file to several rows; update them one by one")
        for row in rows:
            plan.exchange(column, value, row[len(keys) + index])
    return [tuple(row[: len(keys)]) for row in rows]
