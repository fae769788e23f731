"""What file columns say about the files of forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.orm import QueryableAttribute

from litestar_filestore.orm.columns import file_columns
from litestar_filestore.orm.stored_object import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Mapper

__all__ = ("ColumnFiles", "column_in", "columns_of")


class ColumnFiles(NamedTuple):
    """A file column, as far as forms are concerned."""

    stored: StoredObject
    """Its type, which says where files go and what they have to be."""
    model: type | None
    """The mapped class, where known."""


def columns_of(model: type) -> dict[str, ColumnFiles]:
    """Return the file columns of a mapped class by attribute, none for any other class."""
    mapper: Mapper[Any] | None = sa.inspect(model, raiseerr=False)
    return {} if mapper is None else {each.key: ColumnFiles(each.type, model) for each in file_columns(mapper)}


def column_in(metadata: Iterable[Any]) -> ColumnFiles | None:
    """Return the column that an annotation names: ``Annotated[FileObject, Document.file]``, or a column's type."""
    for each in metadata:
        if isinstance(each, StoredObject):
            return ColumnFiles(each, None)
        if isinstance(each, QueryableAttribute):
            columns = columns_of(cast("type", each.class_))
            if each.key in columns:
                return columns[each.key]
    return None
