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
    """A link to upload that is being used, and is not to be used again."""

    digest: str
    """SHA-256 of its token in hexadecimal digits."""
    expires_at: int
    """POSIX time in seconds (UTC) after which nobody can use it anyway."""


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is going to be stored: all but its content and its backend."""

    filename: str
    """Name for people."""
    content_type: str | None = None
    """Verified media type; ``None`` guesses by `filename`."""
    ext: str = ""
    """Extension of the verified type with its dot, for the key."""
    metadata: Mapping[str, Any] | None = None
    """User metadata."""
    key_template: str | Callable[[FileObject], str | None] | None = None
    """Where to put it, or what tells that by the file's name and type; ``None`` for the backend's template."""
    key: str | None = None
    """Where to put it instead of under a new key; accepted once."""
    link: UsedLink | None = None
    """The link that the content comes through; accepted once, whatever has become of the object."""
    model: type | None = None
    """Mapped class whose row is going to hold it, where that is known: it says in which database."""
    max_concurrency: int | None = None
    """Parts in flight; ``None`` lets the driver choose."""

    def with_content(self, backend: StorageBackend, content: AsyncDataLike) -> FileObject:
        """Return the file with content to be saved in a backend. It has no key yet, unless `key` says which."""
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
