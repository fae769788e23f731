"""The options that routes for a column and routes for a backend share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException, PermissionDeniedException

from litestar_filestore.downloads.answer import PreconditionFailedException
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from litestar_filestore.core.file_object import Disposition, FileObject

__all__ = (
    "Authorize",
    "FileAction",
    "FileMethod",
    "RouteOptions",
)

FileAction: TypeAlias = Literal["read", "write", "delete"]
"""What a client wants to do with a file."""
FileMethod: TypeAlias = Literal["GET", "PUT", "DELETE"]
"""Methods of a router; HEAD comes with GET."""
Authorize: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any], Any, FileAction], bool | Awaitable[bool]]
"""Decides whether a connection may do something with the file of a row. Only a true value permits it. It may raise
instead, for example `NotFoundException` if even the existence of the row is secret."""


@dataclass(frozen=True)
class RouteOptions:
    """The arguments of `create_file_router` that all routes share."""

    methods: Collection[FileMethod]
    authorize: Authorize | None
    disposition: Disposition
    cache_control: str | None
    max_bytes: int | None
    name: str | None

    def __post_init__(self) -> None:
        """Check the methods.

        Raises:
            ConfigurationError: If there is none, or one that these routers do not support.
        """
        if not self.methods or not set(self.methods) <= set(get_args(FileMethod)):
            known = ", ".join(get_args(FileMethod))
            raise ConfigurationError(f"methods must be some of {known}, not {sorted(self.methods)}")

    @property
    def raised_by_asking(self) -> list[type[HTTPException]]:
        """The answers to clients that may not use a route, for the OpenAPI document."""
        return [PermissionDeniedException] if self.authorize is not None else []

    def raised_by_changes(self, *others: type[HTTPException]) -> list[type[HTTPException]]:
        """Return the refusals of a route that changes a file, including `others`, for the OpenAPI document."""
        return [*self.raised_by_asking, NotFoundException, PreconditionFailedException, *others]

    async def allow(self, connection: ASGIConnection[Any, Any, Any, Any], subject: Any, action: FileAction) -> None:
        """Call `authorize`.

        Raises:
            PermissionDeniedException: If it does not return a true value; a forgotten ``return`` refuses.
        """
        if self.authorize is None:
            return
        answer = self.authorize(connection, subject, action)
        if isawaitable(answer):
            answer = await answer
        if not answer:
            raise PermissionDeniedException("This file is not yours: sign in as somebody who may use it")

    def download(self, file: FileObject) -> FileDownload:
        """Return the response that sends a file."""
        return FileDownload(file, disposition=self.disposition, cache_control=self.cache_control)
