"""Reads bodies that consist of one file, as ``PUT`` sends them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Request

from litestar_filestore.sansio.declared import declared_type
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.uploads.arrivals import Arrivals, form_before
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.layers import body_limit
from litestar_filestore.uploads.limits import file_limit
from litestar_filestore.uploads.plan import PlannedFile
from litestar_filestore.uploads.refusals import not_a_file, refuse_part_of_file
from litestar_filestore.validation.rules import effective_rules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.rule import Rule

__all__ = ("RawUpload", "open_body", "provide_raw_upload")


@asynccontextmanager
async def open_body(request: Request[Any, Any, Any], *, max_bytes: int | None = None) -> AsyncGenerator[Arrivals]:
    """Return a context with a request's body as a source, for instance for ``backend.put_async``.

    ``Content-MD5``, ``Repr-Digest`` and ``Content-Digest`` of the request are verified at its end.

    Args:
        request: The request whose body it is; the body may have been read as a whole already.
        max_bytes: Longest body; ``None`` for the longest file.

    Raises:
        HTTPException: 400, 408, 413 or 503, at the beginning or while it is read.
    """
    refuse_part_of_file(request)
    if form_before(request) is not None:
        raise not_a_file()
    limits = owned_by(request.scope).settings.limits
    body = Arrivals(request, limits, max_bytes=limits.max_file_bytes if max_bytes is None else max_bytes)
    try:
        body.start()
        yield body
    finally:
        await body.aclose()


class RawUpload:
    """A request body that consists of one file. Nothing is read before you ask for it."""

    def __init__(self, request: Request[Any, Any, Any], *, max_body_bytes: int | None = None) -> None:
        """Prepare to read.

        Args:
            request: The request whose body it is; the body may have been read as a whole already.
            max_body_bytes: Longest body that the application has set for the handler, in bytes.
        """
        self._request = request
        self._max_body_bytes = max_body_bytes

    def open(self, max_bytes: int | None = None) -> AbstractAsyncContextManager[Arrivals]:
        """Return a context with the body as a source; see `open_body`.

        Args:
            max_bytes: Longest body; ``None`` for the longest file. The handler's ``request_max_body_size`` applies as
                well.
        """
        said = [each for each in (max_bytes, self._max_body_bytes) if each is not None]
        return open_body(self._request, max_bytes=min(said, default=None))

    async def store(
        self, backend: str | None = None, *, filename: str, rules: Sequence[Rule] = (), key_template: str | None = None
    ) -> FileObject:
        """Store the body. The file belongs to the request until a row takes it or ``storages.keep`` keeps it.

        Args:
            backend: Key of the backend; ``None`` for the only one.
            filename: Name of the file; not trusted.
            rules: Rules for the file.
            key_template: Key template, instead of the backend's.

        Raises:
            HTTPException: Like `open_body`.
            FileRejectedError: If a rule refuses it.
            FileTooLargeError: If it is too long.
            StorageError: If the backend fails.
        """
        planned = PlannedFile("body", backend=backend, rules=tuple(rules), key_template=key_template)
        return await self.store_as(planned, filename=filename)

    async def store_as(self, planned: PlannedFile, *, filename: str) -> FileObject:
        """Like `store`, for a planned upload."""
        declared = declared_type(self._request.headers.get("content-type"))
        files = owned_by(self._request.scope)
        rules = effective_rules(planned.rules, files.settings.rules)
        async with self.open(file_limit(rules, files.settings.limits, planned.max_bytes)) as body:
            name = safe_filename(filename)
            return await files.store(body, planned, filename=name, declared_type=declared, arrivals=body)


async def provide_raw_upload(request: Request[Any, Any, Any]) -> RawUpload:
    """Provide a `RawUpload` for the current request."""
    return RawUpload(request, max_body_bytes=body_limit(request.route_handler))
