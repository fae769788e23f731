"""Bodies as arguments of handlers, for whatever a typed form cannot say: part by part, or as one file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.di import Provide

from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.uploads.form_reader import open_parts
from litestar_filestore.uploads.hooks import body_limit
from litestar_filestore.uploads.intake import FileIntake
from litestar_filestore.uploads.limits import UploadLimits
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.plan import ANY_FORM, owned_by
from litestar_filestore.uploads.raw import RawUpload

__all__ = (
    "parts_provider",
    "raw_upload_provider",
)


def parts_provider(registry: StorageRegistry, limits: UploadLimits) -> Provide:
    """Return what provides a `MultipartStream` of the request that is being answered."""

    async def provide(request: Request[Any, Any, Any]) -> AsyncGenerator[MultipartStream, None]:
        async with aclosing(
            open_parts(
                request,
                ANY_FORM,
                intake=_intake(request, registry, limits),
                limits=limits,
                max_body_bytes=body_limit(request.route_handler),
            )
        ) as parts:
            yield parts

    return Provide(provide)


def raw_upload_provider(registry: StorageRegistry, limits: UploadLimits) -> Provide:
    """Return what provides a `RawUpload` of the request that is being answered."""

    async def provide(request: Request[Any, Any, Any]) -> RawUpload:
        limit = body_limit(request.route_handler)
        return RawUpload(request, _intake(request, registry, limits), limits, max_body_bytes=limit)

    return Provide(provide)


def _intake(request: Request[Any, Any, Any], registry: StorageRegistry, limits: UploadLimits) -> FileIntake:
    return FileIntake(request, storer=owned_by(request.scope).storer, registry=registry, limits=limits)
