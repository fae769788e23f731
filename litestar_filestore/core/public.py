"""How a stored file looks to a client: never its key, backend or metadata."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar_filestore.core.file_object import FileObject

__all__ = ("PublicFile", "public_file", "url_builder")


class PublicFile(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON form of a stored file."""

    filename: str
    """Name for people, as it is offered for download."""
    content_type: str
    """Media type."""
    size: int | None = None
    """Length in bytes."""
    etag: str | None = None
    """Strong entity tag with its quotes (RFC 9110 §8.8.3)."""
    url: str | None = None
    """Where to download it, where the application has a place for that."""


url_builder: ContextVar[Callable[[FileObject], str | None] | None] = ContextVar(
    "litestar_filestore_url_builder", default=None
)
"""Makes the `url` of a file for the request that is being answered; encoders are given the value alone."""


def public_file(file: FileObject) -> PublicFile:
    """Return what a client may know about `file`."""
    build = url_builder.get()
    return PublicFile(
        filename=file.filename,
        content_type=file.content_type,
        size=file.size,
        etag=file.etag,
        url=build(file) if build is not None else None,
    )
