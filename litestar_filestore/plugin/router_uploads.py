"""How the routers for files take the body of a PUT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from litestar_filestore.core.rules import max_bytes
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.operations import adjusted_operation
from litestar_filestore.http.ownership import owned_by
from litestar_filestore.http.raw import store_body

if TYPE_CHECKING:
    from litestar import Request

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.http.plan import PlannedFile
    from litestar_filestore.plugin.config import FilestoreConfig

__all__ = ("binary_operation", "store_put")


async def store_put(request: Request[Any, Any, Any], planned: PlannedFile, *, filename: str) -> FileObject:
    """Store the body of a request as the application's `FilestoreConfig` says; see `store_body`.

    Args:
        request: Whose body nobody has read.
        planned: Where it goes, and what it has to be.
        filename: What to call it.

    Raises:
        ObjectExistsError: If `planned` names a key, and it is taken.
        StorageError: If it cannot be stored.
    """
    config = _config_of(request)
    return await store_body(
        request,
        planned,
        filename=filename,
        storer=owned_by(request.scope).storer,
        registry=config.registry,
        limits=config.limits,
    )


def _config_of(request: Request[Any, Any, Any]) -> FilestoreConfig:
    from litestar_filestore.plugin.plugin import FilestorePlugin  # it imports what defines routers

    for plugin in request.app.plugins:
        if isinstance(plugin, FilestorePlugin):
            return plugin.config
    raise ConfigurationError("The application has no FilestorePlugin")


def binary_operation(planned: PlannedFile) -> type[Operation]:
    """Return a kind of operation whose request has a file for a body: Litestar documents bodies that it reads."""
    said = [each for each in (max_bytes(planned.rules), planned.max_bytes) if each is not None]
    schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, max_length=min(said, default=None))
    body = RequestBody(content={"application/octet-stream": OpenAPIMediaType(schema=schema)}, required=True)

    def adjust(operation: Operation) -> None:
        operation.request_body = body

    return adjusted_operation(Operation, adjust)
