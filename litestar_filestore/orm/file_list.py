"""The value of a column with several files: a list that notices its own changes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm.base import NO_VALUE

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import SourceTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ("FileObjectList", "TrackedFiles")

FileObjectList: TypeAlias = MutableList[FileObject]
"""Type of an attribute with several files, as Advanced Alchemy names it. The value is a `TrackedFiles`.

An alias and not the class: Litestar's DTOs ask a collection type for the type of its items.
"""


class TrackedFiles(MutableList[FileObject]):
    """A ``list[FileObject]`` whose changes in place (``append``, ``remove``, slices ...) are written at the next flush.

    Columns with ``multiple=True`` turn every list that is assigned to them into one.
    """

    def __init__(self, files: Iterable[FileObject] = ()) -> None:
        """Track `files`."""
        super().__init__(files)
        self._watch()

    def changed(self) -> None:
        """Tell the rows that hold this list to write it."""
        before = self._before
        self._watch()
        self._flag(before)

    def _watch(self) -> None:
        this = weakref.ref(self)

        def file_changes(file: FileObject) -> None:
            if (files := this()) is not None:
                files.file_changes(file)

        self._before = list(self)
        for file in self:
            file.on_change = file_changes

    def file_changes(self, file: FileObject) -> None:
        """Tell the rows that hold this list that one of its files is about to change in place."""
        twin = copy(file)
        self._flag(self._before, {id(file): twin})

    def _flag(self, before: list[FileObject], twins: Mapping[int, FileObject] | None = None) -> None:
        """Flag the attribute of each row, and remember what it was before; SQLAlchemy itself would forget it."""
        parents = [(state, key, state.committed_state.get(key, self)) for state, key in self._parents.items()]
        super().changed()
        for state, key, old in parents:
            was = NO_VALUE if old is self and state.dict.get(key) is not self else before if old is self else old
            if isinstance(was, list) and twins:
                was = [twins.get(id(file), file) for file in cast("list[FileObject]", was)]
            state.committed_state[key] = was

    @classmethod
    def coerce(cls, key: str, value: Any) -> Self | None:
        """Return `value` as a list that is tracked.

        Args:
            key: Name of the attribute, for messages.
            value: ``None``, one file, or an iterable of files.

        Raises:
            SourceTypeError: If it holds anything but files; it is a ``TypeError`` as well.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, FileObject):
            return cls([value])
        kind = type(value).__name__
        files: list[Any] = list(cast("Any", value)) if isinstance(value, Iterable) else [value]
        if not all(isinstance(each, FileObject) for each in files):
            raise SourceTypeError(f"{key!r} takes a list of FileObject, not {kind}")
        return cls(files)
