"""What the routers for files share: who may do what, and which methods there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from inspect import isawaitable
from typing import Any, Literal, TypeAlias, get_args

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException, PermissionDeniedException

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.download_errors import PreconditionFailedException

__all__ = (
    "Authorize",
    "FileAction",
    "FileMethod",
    "check_access",
    "check_methods",
    "raised_by_asking",
    "raised_by_changes",
    "refuse_unless_allowed",
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
