"""The value of a column with several files: a list that notices its own changes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sqlalchemy.ext.mutable import MutableList

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import SourceTypeError

if TYPE_CHECKING:
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
        self._watch()
        super().changed()

    def _watch(self) -> None:
        this = weakref.ref(self)

        def file_changed() -> None:
            if (files := this()) is not None:
                files.changed()

        for file in self:
            file.on_change = file_changed

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
