"""What the routers for files share: who may do what, and which methods there are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotFoundException, PermissionDeniedException
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath
from sqlalchemy.orm import InstrumentedAttribute

from litestar_filestore.core.rule import max_bytes
from litestar_filestore.downloads.answer import PreconditionFailedException
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.uploads.documents import adjusted_operation
from litestar_filestore.uploads.raw import RawUpload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Request

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.uploads.plan import PlannedFile

__all__ = (
    "Authorize",
    "ColumnPlace",
    "FileAction",
    "FileMethod",
    "aliased",
    "binary_operation",
    "check_access",
    "check_methods",
    "find_column",
    "identity_of",
    "raised_by_asking",
    "raised_by_changes",
    "refuse_unless_allowed",
    "store_put",
)

FileAction: TypeAlias = Literal["read", "write", "delete"]
"""What somebody wants to do with a file."""
FileMethod: TypeAlias = Literal["GET", "PUT", "DELETE"]
"""What a router offers; HEAD comes with GET."""
Authorize: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any], Any, FileAction], bool | Awaitable[bool]]
"""Says whether a connection may do something with the file of a row. What is not true is no. It may raise instead, for
example `NotFoundException` where even the existence of the row is nobody's business."""


def check_access(path: str, guards: Sequence[Any] | None, *, public: bool) -> None:
    """Refuse routes that are open to everybody by accident.

    Raises:
        ConfigurationError: Unless there are guards or the routes are public on purpose.
    """
    if public and guards:
        raise ConfigurationError(f"The files of {path} are either public or guarded")
    if not public and not guards:
        raise ConfigurationError(
            f"Everybody could reach the files of {path}: give guards=[...], or public=True if that is meant"
        )


def check_methods(methods: Collection[FileMethod]) -> frozenset[FileMethod]:
    """Return the methods as a set.

    Raises:
        ConfigurationError: If there is none, or one that these routers do not have.
    """
    found = frozenset(methods)
    if not found or not found <= set(get_args(FileMethod)):
        raise ConfigurationError(f"methods are some of {', '.join(get_args(FileMethod))}, not {sorted(methods)}")
    return found


def raised_by_asking(authorize: Authorize | None) -> list[type[HTTPException]]:
    """Return how a route may answer whoever is not allowed to use it, for documents."""
    return [PermissionDeniedException] if authorize is not None else []


def raised_by_changes(authorize: Authorize | None, *others: type[HTTPException]) -> list[type[HTTPException]]:
    """Return how a route that changes a file may answer, `others` included, for documents."""
    return [*raised_by_asking(authorize), NotFoundException, PreconditionFailedException, *others]


async def refuse_unless_allowed(
    authorize: Authorize | None, connection: ASGIConnection[Any, Any, Any, Any], subject: Any, action: FileAction
) -> None:
    """Ask `authorize`.

    Raises:
        PermissionDeniedException: If it does not say yes. A forgotten ``return`` is a no.
    """
    if authorize is None:
        return
    answer = authorize(connection, subject, action)
    if isawaitable(answer):
        answer = await answer
    if not answer:
        raise PermissionDeniedException("This file is not yours")


_PARAMETER = re.compile(r"\{([^{}:]+):([^{}:]+)\}")


@dataclass(frozen=True)
class ColumnPlace:
    """One file column, and how a path names a row of its table."""

    model: type[Any]
    """The mapped class."""
    name: str
    """The attribute that holds the file or files."""
    column_type: StoredObject
    """What the column holds, and where."""
    nullable: bool
    """Whether a row may have no file."""
    key_types: Mapping[str, type[Any]]
    """Types of the path's parameters, in the order of the primary key."""


def find_column(column: Any, path: str) -> ColumnPlace:
    """Return what a router has to know about a mapped column.

    Raises:
        ConfigurationError: If it is no file column, or the path does not name the primary key.
    """
    if not isinstance(column, InstrumentedAttribute) or not isinstance(column.type, StoredObject):
        raise ConfigurationError(f"column= is an attribute of a mapped class that holds files, not {column!r}")
    mapper = column.parent
    keys = {mapper.get_property_by_column(each).key: each.type.python_type for each in mapper.primary_key}
    named = [name for name, _ in _PARAMETER.findall(path)]
    if sorted(named) != sorted(keys):
        example = "/".join(f"{{{name}:{type_.__name__.lower()}}}" for name, type_ in keys.items())
        raise ConfigurationError(
            f"The path of the files of {mapper.class_.__name__} names its primary key, for example /files/{example}"
        )
    nullable = bool(mapper.columns[column.key].nullable)
    return ColumnPlace(mapper.class_, column.key, column.type, nullable, keys)


def identity_of(place: ColumnPlace) -> Provide:
    """Return a dependency that is the primary key in the path, as ``Session.get`` takes it."""

    def provide(**values: Any) -> tuple[Any, ...]:
        return tuple(values[name] for name in place.key_types)

    annotations: dict[str, Any] = {name: _of(FromPath, type_) for name, type_ in place.key_types.items()}
    return _provide(provide, annotations, tuple[Any, ...])


def aliased(key: str) -> Provide:
    """Return a dependency that is another one, of a name that is known only now."""

    def provide(**values: Any) -> Any:
        return values[key]

    return _provide(provide, {key: _of(NamedDependency, Any)}, Any)


def _of(marker: Any, type_: Any) -> Any:
    """Return a marker of Litestar's for a type that is known only now."""
    return marker[type_]


def _provide(function: Any, annotations: dict[str, Any], returned: Any) -> Provide:
    """Return a provider whose arguments have names and types that are known only now: Litestar reads signatures."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    function.__annotations__ = {**annotations, "return": returned}
    return Provide(function, sync_to_thread=False)


async def store_put(request: Request[Any, Any, Any], planned: PlannedFile, *, filename: str) -> FileObject:
    """Store the body of a request as the application's `FilestoreConfig` says; see `RawUpload.store`.

    Args:
        request: Whose body nobody has read.
        planned: Where it goes, and what it has to be.
        filename: What to call it.

    Raises:
        ObjectExistsError: If `planned` names a key, and it is taken.
        StorageError: If it cannot be stored.
    """
    return await RawUpload(request).store_as(planned, filename=filename)


def binary_operation(planned: PlannedFile) -> type[Operation]:
    """Return a kind of operation whose request has a file for a body: Litestar documents bodies that it reads."""
    said = [each for each in (max_bytes(planned.rules), planned.max_bytes) if each is not None]
    schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, max_length=min(said, default=None))
    body = RequestBody(content={"application/octet-stream": OpenAPIMediaType(schema=schema)}, required=True)

    def adjust(operation: Operation) -> None:
        operation.request_body = body

    return adjusted_operation(Operation, adjust)
