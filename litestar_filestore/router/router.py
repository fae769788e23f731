"""Makes routers for stored files, like Litestar's ``create_static_files_router``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from litestar import Router

from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.router.backend_routes import BackendRoutes
from litestar_filestore.router.column_routes import ColumnRoutes, find_column
from litestar_filestore.router.options import RouteOptions

if TYPE_CHECKING:
    from litestar.types import Middleware
    from sqlalchemy.orm import InstrumentedAttribute

    from litestar_filestore.core.file_object import Disposition
    from litestar_filestore.router.options import Authorize, FileMethod

__all__ = ("check_access", "create_file_router")

_READING: tuple[FileMethod, ...] = ("GET",)


def create_file_router(
    path: str,
    column: InstrumentedAttribute[Any] | None = None,
    *,
    backend: str | None = None,
    prefix: str = "",
    methods: Collection[FileMethod] = _READING,
    guards: Sequence[Callable[..., Any]] | None = None,
    public: bool = False,
    authorize: Authorize | None = None,
    session_dependency_key: str = "db_session",
    commit: bool = False,
    disposition: Disposition = "attachment",
    cache_control: str | None = None,
    max_bytes: int | None = None,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    include_in_schema: bool = True,
    security: Sequence[dict[str, list[str]]] | None = None,
    opt: Mapping[str, Any] | None = None,
    middleware: Sequence[Middleware] | None = None,
    exception_handlers: Mapping[int | type[Exception], Callable[..., Any]] | None = None,
    registry: StorageRegistry = storages,
    router_class: type[Router] = Router,
) -> Router:
    """Return a router that serves the files of a mapped column, or the objects of a backend.

    Args:
        path: For a column with the primary key as parameters: ``"/documents/{id:uuid}/file"``. A column with several
            files serves them below it, by their index in the list: ``.../0``.
        column: Attribute of a mapped class that holds a file or a list of files.
        backend: Key of a backend whose objects are served by their keys, instead of a column.
        prefix: Folder of that backend; keys in the path are relative to it.
        methods: Any of ``"GET"`` (with HEAD), ``"PUT"`` and ``"DELETE"``.
        guards: Guards of the routes, as in Litestar. Either these or `public` has to be given.
        public: Whether everybody may use the routes.
        authorize: Called with the connection, the row (or the key) and ``"read"``, ``"write"`` or ``"delete"``. Only a
            true value permits the request.
        session_dependency_key: Name of the dependency that provides the database session, sync or async.
        commit: Whether the router commits changes. By default it flushes them, and the provider of the session commits.
        disposition: ``"inline"`` for files that browsers should show.
        cache_control: Value of ``Cache-Control``; ``None`` for that of `DownloadConfig`.
        max_bytes: Largest file in bytes that PUT accepts, in addition to the limits of the backend and the rules of the
            column.
        name: Name of the GET route, for ``route_reverse``.
        tags: As in Litestar, like all arguments below.
        include_in_schema: Whether the routes are in the OpenAPI document.
        security: Security requirements of the OpenAPI document.
        opt: Values for guards and middleware.
        middleware: Middleware of these routes.
        exception_handlers: Exception handlers of these routes.
        registry: Registry in which `backend` is looked up.
        router_class: Class of the router.

    Raises:
        ConfigurationError: If the routes would be open by accident, or cannot work.
    """
    check_access(path, guards, public=public)
    if (column is None) == (backend is None):
        raise ConfigurationError("create_file_router serves either a column or a backend: give column= or backend=")
    options = RouteOptions(methods, authorize, disposition, cache_control, max_bytes, name)
    routes = (
        ColumnRoutes(find_column(column, path), options, session_dependency_key, commit)
        if column is not None
        else BackendRoutes(str(backend), prefix, options, registry)
    )
    return router_class(
        path=path,
        route_handlers=_handlers(routes, methods),
        dependencies=routes.dependencies if isinstance(routes, ColumnRoutes) else None,
        guards=guards,
        tags=tags,
        include_in_schema=include_in_schema,
        security=security,
        opt=opt,
        middleware=middleware,
        exception_handlers=dict(exception_handlers) if exception_handlers else None,
    )


def check_access(path: str, guards: Sequence[Any] | None, *, public: bool) -> None:
    """Refuse routes that are open to everybody by accident.

    Raises:
        ConfigurationError: Unless there are guards or the routes are explicitly public.
    """
    if public and guards:
        raise ConfigurationError(
            f"The files of {path} are either public or guarded: give public=True or guards=[...], not both"
        )
    if not public and not guards:
        raise ConfigurationError(
            f"Everybody could reach the files of {path}: give guards=[...], or public=True if that is meant"
        )


def _handlers(routes: ColumnRoutes | BackendRoutes, methods: Collection[FileMethod]) -> list[Any]:
    reading = routes.reading() if "GET" in methods else ()
    writing = [routes.writing()] if "PUT" in methods else ()
    deleting = [routes.deleting()] if "DELETE" in methods else ()
    return [*reading, *writing, *deleting]
