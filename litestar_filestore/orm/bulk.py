"""Bulk statements of the ORM: rows change without being loaded, so the files in them are looked up first.

``session.execute(delete(Model).where(...))`` and its kin give no flush event. Their rows are selected and locked with
the same condition, their files handed on, and the statement narrowed to exactly those rows: without that, a row that
another transaction inserts meanwhile would be deleted with its file still linked.

What nobody can see from here stays out: SQL text, statements on tables instead of classes, cascades inside the
database, TRUNCATE. ``fsck`` finds what they leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from litestar_filestore.errors import ConflictError, UnsupportedOperationError
from litestar_filestore.orm.checking import check_content, check_count, check_stored
from litestar_filestore.orm.columns import (
    FileColumn,
    check_backends,
    files_in,
    identity_condition,
    lock_for_writing,
    single_table_columns,
)
from litestar_filestore.orm.custody import custody_of
from litestar_filestore.orm.journal import journal_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Result
    from sqlalchemy.orm import Mapper, ORMExecuteState

    from litestar_filestore.core.file_object import FileObject

__all__ = ()


class _Plan:
    """What one statement does to files: collected and stored before it runs, settled after it has."""

    def __init__(self, session: Session, mapper: Mapper[Any]) -> None:
        self.mapper = mapper
        self.connection = session.connection(bind_arguments={"mapper": mapper})
        self._custody = custody_of(session, mapper)
        self._gained: list[FileObject] = []
        self._lost: list[FileObject] = []

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
    columns = single_table_columns(mapper)
    if not columns:
        return None
    plan = _Plan(state.session, mapper)
    if state.is_insert:
        _insert(plan, state, columns)
    elif state.is_executemany:
        _update_by_key(plan, state, columns)
    else:
        _change_where(plan, state, columns)
    result = state.invoke_statement()
    # After it, because a statement can fail and its transaction go on.
    try:
        plan.settle()
    except BaseException:
        journal_of(state.session).spoiled(state.session)
        raise
    return result


def _insert(plan: _Plan, state: ORMExecuteState, columns: Sequence[FileColumn]) -> None:
    statement = cast("sa.Insert", state.statement)
    if statement.select is not None and any(column.key in (statement._select_names or ()) for column in columns):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        raise UnsupportedOperationError("INSERT .. SELECT would give one file to two rows; copy the files instead")
    rows = list(_rows(state))
    for row in rows:
        for column in columns:
            plan.store(column, _value(row, column))
    for row in rows:
        for column in columns:
            plan.exchange(column, _value(row, column), None)


def _update_by_key(plan: _Plan, state: ORMExecuteState, columns: Sequence[FileColumn]) -> None:
    """Plan for ``session.execute(update(Model), [{"id": 1, "file": ...}, ...])``."""
    keys = [plan.mapper.get_property_by_column(column).key for column in plan.mapper.primary_key]
    for row in _rows(state):
        touched = [column for column in columns if _mentions(row, column)]
        if not touched:
            continue
        condition = identity_condition(plan.mapper, [tuple(row[key] for key in keys)])
        _exchange(plan, condition, touched, row)


def _change_where(plan: _Plan, state: ORMExecuteState, columns: Sequence[FileColumn]) -> None:
    statement = cast("sa.Update | sa.Delete", state.statement)
    values: dict[Any, Any] = {}
    if state.is_update:
        values = {**_update_values(statement), **(cast("Mapping[Any, Any]", state.parameters) or {})}
        columns = [column for column in columns if _mentions(values, column)]
        if not columns:
            return
    identities = _exchange(plan, statement.whereclause, columns, values)
    state.statement = statement.where(identity_condition(plan.mapper, identities))


def _exchange(
    plan: _Plan,
    condition: sa.ColumnElement[bool] | None,
    columns: Sequence[FileColumn],
    values: Mapping[Any, Any],
) -> list[tuple[Any, ...]]:
    """Lock the rows that meet `condition`, plan for their files, and return their primary keys."""
    keys = list(plan.mapper.primary_key)
    statement = sa.select(*keys, *(column.column.label(f"file_{index}") for index, column in enumerate(columns)))
    statement = statement.select_from(plan.mapper.local_table).order_by(*keys).with_for_update()
    if condition is not None:
        statement = statement.where(condition)
    for column in columns:
        plan.store(column, _value(values, column))
    lock_for_writing(plan.connection, plan.mapper)
    rows = plan.connection.execute(statement).all()
    for index, column in enumerate(columns):
        new = _value(values, column)
        if len(rows) > 1 and any(files_in(new)):
            raise ConflictError("The statement would give one file to several rows; update them one by one")
        for row in rows:
            plan.exchange(column, new, row[len(keys) + index])
    return [tuple(row[: len(keys)]) for row in rows]


def _rows(state: ORMExecuteState) -> Iterator[Mapping[Any, Any]]:
    parameters = state.parameters
    if isinstance(parameters, list):
        yield from parameters
    elif parameters:
        yield cast("Mapping[Any, Any]", parameters)
    compiled = cast("sa.Insert", state.statement)
    if multi := getattr(compiled, "_multi_values", ()):
        for rows in multi:
            yield from rows
    elif single := _update_values(compiled):
        yield single


def _update_values(statement: Any) -> dict[Any, Any]:
    values: dict[Any, Any] = dict(getattr(statement, "_values", None) or {})
    values.update(getattr(statement, "_ordered_values", None) or ())
    return {key: getattr(value, "effective_value", value) for key, value in values.items()}


def _names(column: FileColumn) -> set[str]:
    return {column.key, column.column.key, column.column.name}


def _mentions(values: Mapping[Any, Any], column: FileColumn) -> bool:
    return any(getattr(key, "key", key) in _names(column) for key in values)


def _value(values: Mapping[Any, Any], column: FileColumn) -> Any:
    for key, value in values.items():
        if getattr(key, "key", key) in _names(column):
            return getattr(value, "effective_value", value)
    return None
