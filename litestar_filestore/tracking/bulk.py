"""Tracks INSERT, UPDATE and DELETE on mapped classes: which files they give to rows and take from them.

The values of file columns in a statement have to be known before the database runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import Null

from litestar_filestore.errors import ConflictError, UnsupportedOperationError
from litestar_filestore.ledger.schemas import check_schema
from litestar_filestore.orm.columns import FileColumn, check_backends, file_columns, files_in, single_table_columns
from litestar_filestore.orm.rows import lock_for_writing, matches_any, writing_connection
from litestar_filestore.orm.stored_object import put_held_files
from litestar_filestore.tracking.checks import check_stored
from litestar_filestore.tracking.custody import custody_of, store_pending
from litestar_filestore.tracking.defaults import default_of
from litestar_filestore.tracking.journal import journal_of
from litestar_filestore.tracking.turns import take_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Result
    from sqlalchemy.orm import Mapper, ORMExecuteState, Session

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.tracking.custody import Custody

__all__ = (
    "follow_statement",
    "plain_value",
)


class _Row:
    """The values that a statement gives to one row, or to every row that its condition matches."""

    def __init__(self, values: Mapping[Any, Any], parameters: Mapping[str, Any]) -> None:
        """Read `values` by column, attribute or name; their bound parameters may be in `parameters`."""
        self._values = {getattr(name, "key", name): value for name, value in values.items()}
        self._parameters = parameters

    def __getitem__(self, name: str) -> Any:
        """Return the value of an attribute that is not a file column."""
        return self._values[name]

    def mentions(self, column: FileColumn) -> bool:
        """Return whether the column gets a value."""
        return not self._values.keys().isdisjoint(_names(column))

    def give_defaults(self, columns: Sequence[FileColumn]) -> dict[str, Any]:
        """Add the files from the columns' defaults, and return these by attribute.

        The statement itself applies other defaults, such as an empty list.
        """
        given: dict[str, Any] = {}
        for column in columns:
            if not self.mentions(column):
                value = default_of(column, self._plain_values)
                if any(files_in(value)):
                    given[column.key] = value
        self._values.update(given)
        return given

    def _plain_values(self) -> dict[str, Any]:
        return {name: _unbound(value, self._parameters) for name, value in self._values.items()}

    def value(self, column: FileColumn) -> Any:
        """Return the file or files that the column gets, ``None`` for no file.

        Raises:
            UnsupportedOperationError: If the database would compute them.
        """
        for name in _names(column):
            if name in self._values:
                return plain_value(column.key, self._values[name], self._parameters)
        return None


def plain_value(attribute: str, value: Any, parameters: Mapping[str, Any] | None = None) -> Any:
    """Return the Python value that a column will get.

    Raises:
        UnsupportedOperationError: If it is an SQL expression: only the database would know which file the row then
            holds.
    """
    if hasattr(value, "__clause_element__"):
        value = value.__clause_element__()
    value = _unbound(value, parameters or {})
    if isinstance(value, Null):
        return None
    if isinstance(value, sa.ClauseElement):
        raise UnsupportedOperationError(
            f"The column {attribute!r} holds files, and takes no SQL expression: load the rows and assign the files"
        )
    return value


def _unbound(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, sa.BindParameter):
        bound = cast("sa.BindParameter[Any]", value)  # type: ignore[redundant-cast]  # pyright considers it unknown
        return parameters.get(bound.key, bound.effective_value)
    return value


def _rows_of(state: ORMExecuteState) -> Iterator[_Row]:
    """Yield the values for each row of an INSERT or an UPDATE by primary keys; else those for all rows."""
    statement = cast("Any", state.statement)
    if multi := getattr(statement, "_multi_values", ()):
        for rows in multi:
            yield from (_Row(each, {}) for each in rows)
        return
    single: dict[Any, Any] = {**(statement._values or {}), **dict(getattr(statement, "_ordered_values", None) or ())}  # noqa: SLF001
    given = state.parameters
    for parameters in given if isinstance(given, list) else [given or {}]:
        known = cast("Mapping[str, Any]", parameters)
        yield _Row({**single, **known}, known)


def _check_insert(statement: Any, columns: Sequence[FileColumn], rows: Sequence[_Row]) -> None:
    """Make sure that an INSERT tells which row gets which file.

    Raises:
        UnsupportedOperationError: If it copies files from other rows, or may skip rows or change existing ones instead.
    """
    selected = {getattr(name, "key", name) for name in statement._select_names or ()}  # noqa: SLF001
    if statement.select is not None and any(not selected.isdisjoint(_names(column)) for column in columns):
        raise UnsupportedOperationError(
            "INSERT .. SELECT would give one file to two rows: load the rows, and assign file.copy() to new ones"
        )
    clause = getattr(statement, "_post_values_clause", None)
    if clause is None:
        return
    changes = dict(getattr(clause, "update_values_to_set", None) or getattr(clause, "update", None) or {})
    change = _Row(changes, {})
    if any(each.mentions(column) for column in columns for each in (*rows, change)):
        raise UnsupportedOperationError(
            "An upsert does not tell which rows it inserts, so nobody knows whose the files are: look the rows up "
            "first, or leave the columns with files out and set them afterwards"
        )


def _names(column: FileColumn) -> set[str]:
    return {column.key, column.column.key, column.column.name}


class _Plan:
    """The files of one statement: collected and stored before it runs, and settled afterwards."""

    def __init__(self, session: Session, mapper: Mapper[Any]) -> None:
        self.session = session
        self.mapper = mapper
        self.defaults: Any = None
        """Defaults of columns for the rows of an executemany."""
        self._custody: Custody | None = None
        self._gained: list[FileObject] = []
        self._lost: list[FileObject] = []

    @property
    def custody(self) -> Custody:
        """The custody of the class's files; a statement without files needs none."""
        if self._custody is None:
            self._custody = custody_of(self.session, self.mapper)
        return self._custody

    def store(self, column: FileColumn, value: Any) -> None:
        """Store what is pending in a value of the statement."""
        if value is not None:
            store_pending(self.custody, column, value)

    def exchange(self, column: FileColumn, new: Any, old: Any) -> None:
        """Plan for one row's column."""
        before = list(files_in(old))
        if column.type.multiple:
            put_held_files(column.key, new, before)
        after = list(files_in(new))
        check_backends([column], {column.key: after}, before)
        gained = [file for file in after if file not in before]
        for file in gained:
            check_stored(column, file)
            self.custody.expect(file)
        self._gained += gained
        self._lost += [file for file in before if file not in after]

    def settle(self, check: _Check, result: Result[Any]) -> None:
        """Settle the files, after checking that the statement did what was planned."""
        if self._custody is None:
            return
        try:
            check(result)
            self._custody.settle(self._gained, self._lost)
        except BaseException:
            journal_of(self.session).spoiled(self.session)
            raise


def follow_statement(state: ORMExecuteState) -> Result[Any] | None:
    """Run an INSERT, UPDATE or DELETE on a class with files, and track the files; ``None`` for other statements."""
    mapper = state.bind_mapper
    if mapper is None or not (state.is_insert or state.is_update or state.is_delete):
        return None
    if not (file_columns(mapper) or single_table_columns(mapper)):
        return None
    check_schema(state, mapper)
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
    # Afterwards, because the transaction may go on after a failed statement.
    plan.settle(check, result)
    return result


_Check: TypeAlias = "Callable[[Result[Any]], None]"
"""Checks, after the statement, that it did what was planned."""


def _fine(_result: Result[Any]) -> None:
    pass


def _insert(plan: _Plan, state: ORMExecuteState) -> _Check:
    columns = file_columns(plan.mapper)
    rows = list(_rows_of(state))
    _check_insert(state.statement, columns, rows)
    _give_defaults(plan, state, columns, rows)
    for row in rows:
        for column in columns:
            plan.store(column, row.value(column))
    for row in rows:
        for column in columns:
            plan.exchange(column, row.value(column), None)
    return _fine


def _give_defaults(plan: _Plan, state: ORMExecuteState, columns: Sequence[FileColumn], rows: Sequence[_Row]) -> None:
    """Give the rows of an INSERT the files from their columns' defaults, while these can still be stored."""
    statement = cast("sa.Insert", state.statement)
    if statement.select is not None:
        return
    given = [row.give_defaults(columns) for row in rows]
    if not any(given):
        return
    if len(rows) > 1 and not state.is_executemany:
        raise UnsupportedOperationError(
            "An INSERT with several rows in values() takes no files from the defaults of columns: give the rows as "
            "parameters of execute(), or give each row its file"
        )
    if state.is_executemany:
        plan.defaults = given
    else:
        state.statement = statement.values(given[0])


def _update_by_key(plan: _Plan, state: ORMExecuteState) -> _Check:
    """Plan for ``session.execute(update(Model), [{"id": 1, "file": ...}, ...])``."""
    keys = [plan.mapper.get_property_by_column(column).key for column in plan.mapper.primary_key]
    rows = {tuple(row[key] for key in keys): row for row in _rows_of(state)}
    if len(rows) != len(cast("Sequence[Any]", state.parameters)):
        raise ConflictError("The statement names a row twice, and only one of its files could stay: name each row once")
    touched = {
        identity: columns
        for identity, row in rows.items()
        if (columns := [column for column in file_columns(plan.mapper) if row.mentions(column)])
    }
    # Store all content before the first lock; then take the locks in the same order everywhere.
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
    row = _Row({}, {})
    if state.is_update:
        (row,) = _rows_of(state)
        columns = [column for column in columns if row.mentions(column)]
    if not columns:
        return _fine
    # By the class, not by its table: a class that shares a table adds its own condition, and the options may add
    # others.
    looking = sa.select().select_from(plan.mapper.class_).options(*statement._with_options)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if statement.whereclause is not None:
        looking = looking.where(statement.whereclause)
    keys = _exchange(plan, looking, columns, row)
    here = matches_any(_keys(plan.mapper), keys)
    state.statement = statement.where(here)

    def check(result: Result[Any]) -> None:
        if getattr(result, "rowcount", -1) == len(keys):
            return
        # With RETURNING, some drivers do not report the number.
        values = sa.select(*(column.column for column in columns)).where(here)
        left = writing_connection(plan.session, plan.mapper).execute(values).all()
        new = [row.value(column) for column in columns]
        if left if state.is_delete else any(list(each) != new for each in left):
            raise UnsupportedOperationError(
                "The statement was narrowed after its rows were looked up, and has left some of them as they were: add "
                "the condition to the statement, or an option such as with_loader_criteria"
            )

    return check


def _keys(mapper: Mapper[Any]) -> list[sa.Column[Any]]:
    """Return the primary key of the table that statements on a class change; a subclass may have a separate one."""
    return list(cast("sa.Table", mapper.local_table).primary_key)


def _exchange(plan: _Plan, looking: sa.Select[Any], columns: Sequence[FileColumn], new: _Row) -> list[tuple[Any, ...]]:
    """Lock the rows that `looking` selects, plan for their files, and return their primary keys."""
    keys = _keys(plan.mapper)
    _ = plan.custody  # refuses sessions that cannot lock, before anything is stored
    for column in columns:
        plan.store(column, new.value(column))
    connection = writing_connection(plan.session, plan.mapper)
    take_turn(plan.session, connection)
    lock_for_writing(connection, plan.mapper)
    selected = [column.column.label(f"file_{index}") for index, column in enumerate(columns)]
    statement = looking.with_only_columns(*keys, *selected, maintain_column_froms=True)
    rows = connection.execute(statement.order_by(*keys).with_for_update()).all()
    for index, column in enumerate(columns):
        value = new.value(column)
        if len(rows) > 1 and any(files_in(value)):
            raise ConflictError("The statement would give one file to several rows; update them one by one")
        if not rows:
            put_held_files(column.key, value, ())  # no row has the files that a client has named by their ids
        for row in rows:
            plan.exchange(column, value, row[len(keys) + index])
    return [tuple(row[: len(keys)]) for row in rows]
