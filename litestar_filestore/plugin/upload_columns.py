"""What file columns say about the files that requests bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.orm import QueryableAttribute

from litestar_filestore.http.plan import PlannedFile
from litestar_filestore.orm.columns import file_columns
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.validation.rules import effective_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Mapper

    from litestar_filestore.core.rules import Rule
    from litestar_filestore.validation.field import FileField

__all__ = ("ColumnFiles", "column_in", "columns_of", "plan_file")


class ColumnFiles(NamedTuple):
    """A file column, as far as uploads are concerned."""

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


def plan_file(name: str, said: FileField, column: ColumnFiles | None, rules: Iterable[Rule] = ()) -> PlannedFile:
    """Return where a file goes and what it has to be: what is said itself stands in for the same of its column.

    Args:
        name: Of its parts on the wire.
        said: What the form field or the route says.
        column: Whose row is going to hold it; ``None`` where that is not known.
        rules: What files have to be where neither says anything.
    """
    if column is None:
        return PlannedFile(
            name, backend=said.backend, rules=effective_rules(said.rules, rules), key_template=said.key_template
        )
    return PlannedFile(
        name,
        backend=said.backend or column.stored.storage_key,
        rules=effective_rules(said.rules, column.stored.rules, rules),
        key_template=said.key_template or column.stored.key_template,
        key_maker=column.stored.key_template_for if said.key_template is None else None,
        model=column.model,
    )
