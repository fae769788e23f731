"""Makes files from ``default=`` and ``insert_default=`` of file columns.

SQLAlchemy evaluates a default while it executes the INSERT, which is too late to store anything. So rows get the
defaults of their file columns earlier. A default that is a file is copied for each row, because a file belongs to one
row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.sql.elements import Null

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import ConfigurationError, UnsupportedOperationError
from litestar_filestore.orm.columns import FileColumn, file_columns, files_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy.orm import InstanceState, Mapper

__all__ = (
    "check_defaults",
    "default_of",
    "fill_defaults",
)


def check_defaults(mapper: Mapper[Any]) -> None:
    """Make sure that a session can evaluate the defaults of a class.

    Raises:
        ConfigurationError: If a file column has an ``onupdate``, or an SQL expression as its default.
    """
    for column in file_columns(mapper):
        if column.column.onupdate is not None:
            raise ConfigurationError(
                f"The file column {column.key!r} of {mapper.class_.__name__} has an onupdate: SQLAlchemy asks for it "
                "while it executes the UPDATE, when no file can be stored any more. Set the file in before_update"
            )
        default: Any = column.column.default
        if default is not None and default.is_clause_element and not isinstance(default.arg, Null):
            raise ConfigurationError(
                f"The default of the file column {column.key!r} of {mapper.class_.__name__} is an SQL expression: "
                "only the database knows which file it gives. Use a callable"
            )


def fill_defaults(state: InstanceState[Any], columns: Iterable[FileColumn]) -> None:
    """Set the file columns of a new row that have no value but a default."""
    for column in columns:
        # Without a value, SQLAlchemy applies the default to None as well.
        if column.column.default is not None and state.dict.get(column.key) is None:
            value = default_of(column, lambda: _values(state))
            if value is not None:
                setattr(state.obj(), column.key, value)


def _values(state: InstanceState[Any]) -> Mapping[str, Any]:
    columns = state.mapper.column_attrs
    return {prop.columns[0].key: state.dict[prop.key] for prop in columns if prop.key in state.dict}


def default_of(column: FileColumn, values: Callable[[], Mapping[str, Any]]) -> Any:
    """Return the default of a column for a new row, ``None`` if there is none.

    Args:
        column: The column.
        values: Returns the values of the row's other columns, for defaults that use their context.

    Raises:
        SourceTypeError: If the default is a file whose content can be read only once; use a callable instead.
    """
    default: Any = column.column.default
    if default is None or default.is_clause_element or default.is_sequence:
        return None
    if default.is_callable:
        return default.arg(_Context(values))
    # A plain value, the same for all rows.
    if isinstance(default.arg, FileObject):
        return default.arg.copy()
    value: object = default.arg
    return [each.copy() for each in files_in(value)] if isinstance(value, list) else value


class _Context:
    """The part of SQLAlchemy's ``DefaultExecutionContext`` that a default may use before there is a statement."""

    def __init__(self, values: Callable[[], Mapping[str, Any]]) -> None:
        self._values = values

    def get_current_parameters(self, isolate_multiinsert_params: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002  # SQLAlchemy's signature
        """Return the values of the row's columns."""
        del isolate_multiinsert_params
        return dict(self._values())

    @property
    def current_parameters(self) -> dict[str, Any]:
        """The values of the row's columns."""
        return self.get_current_parameters()

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedOperationError(
            f"The default of a file column is asked before the statement is made, and its context has no {name!r}, "
            "only get_current_parameters(): set the file in the constructor, or in before_insert"
        )
