"""What the routers for files share: who may do what, and which methods there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.status_codes import HTTP_200_OK

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.download_errors import PreconditionFailedException
from litestar_filestore.sansio.conditional import Validators, check_preconditions, joined_headers, normal_etag

if TYPE_CHECKING:
    from litestar import Request

    from litestar_filestore.core.file_object import FileObject

__all__ = (
    "Authorize",
    "FileAction",
    "FileMethod",
    "check_access",
    "check_methods",
    "refuse_unless_allowed",
    "refuse_unless_current",
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


def refuse_unless_current(request: Request[Any, Any, Any], file: FileObject | None) -> None:
    """Hold a change to what its request says about the present file (RFC 9110 §13.1): ``If-Match`` and its like.

    Raises:
        PreconditionFailedException: If somebody else was faster.
    """
    headers = joined_headers(request.scope["headers"])
    if file is None:
        holds = "if-match" not in headers
    else:
        modified = int(file.last_modified) if file.last_modified is not None else None
        validators = Validators(normal_etag(file.etag), modified)
        holds = check_preconditions(request.method, headers, validators) == HTTP_200_OK
    if not holds:
        raise PreconditionFailedException(detail="The file was changed meanwhile")


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
