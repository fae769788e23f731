"""A file before its content is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.core.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.types import AsyncDataLike

__all__ = ("NewFile", "UsedLink")


class UsedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time upload link that is in use and must not be used again."""

    digest: str
    """SHA-256 of its token in hexadecimal digits."""
    expires_at: int
    """POSIX time in seconds (UTC) at which it expires anyway."""


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is about to be stored: everything but its content and its backend."""

    filename: str
    """Name shown to people."""
    content_type: str | None = None
    """Verified media type; ``None`` guesses it from `filename`."""
    ext: str = ""
    """Extension of the verified type with its dot, for the key."""
    metadata: Mapping[str, Any] | None = None
    """User metadata."""
    key_template: str | Callable[[FileObject], str | None] | None = None
    """Template of its key, or a function that chooses one by the file's name and type; ``None`` for the backend's."""
    key: str | None = None
    """Key to use instead of a new one; accepted once."""
    link: UsedLink | None = None
    """The link that the content comes through; accepted once, whatever became of the object."""
    model: type | None = None
    """Mapped class whose row will hold it, where known; it determines the database."""
    max_concurrency: int | None = None
    """Parts in flight; ``None`` lets the driver choose."""

    def with_content(self, backend: StorageBackend, content: AsyncDataLike) -> FileObject:
        """Return a file with this content, to be saved in a backend. It has no key yet unless `key` is set."""
        file = FileObject(
            backend,
            self.filename,
            self.key,
            content_type=self.content_type,
            metadata=self.metadata,
            content=content,
        )
        template = self.key_template
        file.key_template = template(file) if callable(template) else template
        file.key_ext = self.ext
        return file
