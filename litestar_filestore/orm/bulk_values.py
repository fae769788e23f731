"""What a bulk statement says about file columns, as far as it can be known before the database runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.sql.elements import Null

from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.orm.columns import FileColumn, files_in
from litestar_filestore.orm.defaults import default_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import ORMExecuteState

__all__ = ("Row", "check_insert", "plain_value", "rows_of")


class Row:
    """What a statement gives to one row, or to every row that its condition meets."""

    def __init__(self, values: Mapping[Any, Any], parameters: Mapping[str, Any]) -> None:
        """Look at `values` by column, attribute or name, whose bound parameters may stand in `parameters`."""
        self._values = {getattr(name, "key", name): value for name, value in values.items()}
        self._parameters = parameters

    def __getitem__(self, name: str) -> Any:
        """Return the value of an attribute that is no file column."""
        return self._values[name]

    def mentions(self, column: FileColumn) -> bool:
        """Return whether the column gets a value."""
        return not self._values.keys().isdisjoint(_names(column))

    def give_defaults(self, columns: Sequence[FileColumn]) -> dict[str, Any]:
        """Take the files that columns make by themselves, and return those by attribute.

        Other defaults, such as an empty list, are left to the statement.
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
            UnsupportedOperationError: If the database is to compute them.
        """
        for name in _names(column):
            if name in self._values:
                return plain_value(column.key, self._values[name], self._parameters)
        return None


def plain_value(attribute: str, value: Any, parameters: Mapping[str, Any] | None = None) -> Any:
    """Return a value that a column is to get, as it is in Python.

    Raises:
        UnsupportedOperationError: If it is an SQL expression: which file the row holds then only the database knows.
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
        bound = cast("sa.BindParameter[Any]", value)  # type: ignore[redundant-cast]  # pyright takes it for unknown
        return parameters.get(bound.key, bound.effective_value)
    return value


def rows_of(state: ORMExecuteState) -> Iterator[Row]:
    """Yield what an INSERT, or an UPDATE by primary keys, gives to each row; for other UPDATEs what it gives to all."""
    statement = cast("Any", state.statement)
    if multi := getattr(statement, "_multi_values", ()):
        for rows in multi:
            yield from (Row(each, {}) for each in rows)
        return
    single: dict[Any, Any] = {**(statement._values or {}), **dict(getattr(statement, "_ordered_values", None) or ())}  # noqa: SLF001
    given = state.parameters
    for parameters in given if isinstance(given, list) else [given or {}]:
        known = cast("Mapping[str, Any]", parameters)
        yield Row({**single, **known}, known)


def check_insert(statement: Any, columns: Sequence[FileColumn], rows: Sequence[Row]) -> None:
    """Make sure that an INSERT says which row gets which file.

    Raises:
        UnsupportedOperationError: If it copies files from other rows, or may leave rows out or change others instead.
    """
    selected = {getattr(name, "key", name) for name in statement._select_names or ()}  # noqa: SLF001
    if statement.select is not None and any(not selected.isdisjoint(_names(column)) for column in columns):
        raise UnsupportedOperationError("INSERT .. SELECT would give one file to two rows; copy the files instead")
    clause = getattr(statement, "_post_values_clause", None)
    if clause is None:
        return
    changes = dict(getattr(clause, "update_values_to_set", None) or getattr(clause, "update", None) or {})
    change = Row(changes, {})
    if any(each.mentions(column) for column in columns for each in (*rows, change)):
        raise UnsupportedOperationError(
            "An upsert does not tell which rows it inserts, so whose the files are: look the rows up first, or leave "
            "the columns with files out and set them afterwards"
        )


def _names(column: FileColumn) -> set[str]:
    return {column.key, column.column.key, column.column.name}
