"""The session's old bulk methods, which no event tells of.

``bulk_insert_mappings`` and ``bulk_update_mappings`` do what ``session.execute(insert(Model), rows)`` and its
``update`` do, and become that for classes with file columns, so that `litestar_filestore.orm.bulk` sees them.
``bulk_save_objects`` writes objects behind the session's back, and is refused for such classes.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, Session

from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.orm.columns import file_columns

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ()

_insert_mappings = Session.bulk_insert_mappings
_update_mappings = Session.bulk_update_mappings
_save_objects = Session.bulk_save_objects


@wraps(_insert_mappings)
def _bulk_insert_mappings(
    self: Session,
    mapper: Any,
    mappings: Iterable[dict[str, Any]],
    return_defaults: bool = False,  # noqa: FBT001, FBT002  # SQLAlchemy's signature
    render_nulls: bool = False,  # noqa: FBT001, FBT002
) -> None:
    if not _has_files(mapper):
        _insert_mappings(self, mapper, mappings, return_defaults, render_nulls)
        return
    if return_defaults:
        raise UnsupportedOperationError("bulk_insert_mappings of rows with files cannot return defaults; add the rows")
    if rows := list(mappings):
        self.execute(sa.insert(mapper), rows, execution_options={"render_nulls": render_nulls})


@wraps(_update_mappings)
def _bulk_update_mappings(self: Session, mapper: Any, mappings: Iterable[dict[str, Any]]) -> None:
    if not _has_files(mapper):
        _update_mappings(self, mapper, mappings)
    elif rows := list(mappings):
        self.execute(sa.update(mapper), rows)


@wraps(_save_objects)
def _bulk_save_objects(self: Session, objects: Iterable[object], *args: Any, **kwargs: Any) -> None:
    rows = list(objects)
    if any(_has_files(type(row)) for row in rows):
        raise UnsupportedOperationError("bulk_save_objects does not take rows with files; use add_all() and flush()")
    _save_objects(self, rows, *args, **kwargs)


def _has_files(entity: Any) -> bool:
    mapper: Any = sa.inspect(entity, raiseerr=False)
    return isinstance(mapper, Mapper) and bool(file_columns(cast("Any", mapper)))


# Assigned, since there is nothing to listen to.
setattr(Session, "bulk_insert_mappings", _bulk_insert_mappings)  # noqa: B010
setattr(Session, "bulk_update_mappings", _bulk_update_mappings)  # noqa: B010
setattr(Session, "bulk_save_objects", _bulk_save_objects)  # noqa: B010
