"""File columns notice when their values change in place, and remember what they were before.

SQLAlchemy forgets the old value of what is flagged as modified. Here it is kept: a flush compares it with what the
database holds by then, and ``get_history()`` shows it to others.
"""

from __future__ import annotations

import weakref
from copy import copy
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import flag_modified

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.orm.columns import file_columns
from litestar_filestore.orm.file_list import TrackedFiles

__all__ = ()


@event.listens_for(Mapper, "mapper_configured")
def _instrument(mapper: Mapper[Any], class_: type[Any]) -> None:
    inherited = {column.key for column in file_columns(mapper.inherits)} if mapper.inherits else set[str]()
    for column in file_columns(mapper):
        if column.key in inherited:
            continue
        attribute = getattr(class_, column.key)
        if column.type.multiple:
            TrackedFiles.associate_with_attribute(attribute)
        else:
            _watch_single(class_, column.key, attribute)


def _watch_single(class_: type[Any], key: str, attribute: Any) -> None:
    def loaded(target: Any, *_: Any) -> None:
        if isinstance(file := sa.inspect(target).dict.get(key), FileObject):
            _watch(file, target, key)

    def assigned(target: Any, value: Any, *_: Any) -> None:
        if isinstance(value, FileObject):
            _watch(value, target, key)

    event.listen(class_, "load", loaded, propagate=True)
    event.listen(class_, "refresh", loaded, propagate=True)
    event.listen(attribute, "set", assigned, propagate=True)


def _watch(file: FileObject, target: Any, key: str) -> None:
    owner = weakref.ref(target)

    def file_changes(changing: FileObject) -> None:
        if (row := owner()) is not None:
            _remember(row, key, changing)

    file.on_change = file_changes


def _remember(row: Any, key: str, file: FileObject) -> None:
    state = sa.inspect(row)
    old = state.committed_state.get(key, file)
    if old is not file:
        return  # changed already
    twin = copy(file)
    if state.dict.get(key) is file:
        flag_modified(row, key)
    elif key not in state.committed_state:
        return  # the row holds another file, or has forgotten this one
    state.committed_state[key] = twin
