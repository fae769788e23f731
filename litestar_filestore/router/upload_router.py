"""Makes routers for resumable uploads, in the manner of `create_file_router`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from litestar import Router
from sqlalchemy.orm import InstrumentedAttribute

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.router.router import check_access
from litestar_filestore.uploads.direct import DirectRoutes
from litestar_filestore.uploads.experimental_uploads import ExperimentalMiddleware, ExperimentalRoutes
from litestar_filestore.uploads.forms import FileField, plan_file
from litestar_filestore.uploads.resumable import ResumableRoutes, TusMiddleware

if TYPE_CHECKING:
    from litestar.types import Middleware

    from litestar_filestore.core.rule import Rule
    from litestar_filestore.uploads.plan import PlannedFile
    from litestar_filestore.uploads.resumable import AuthorizeUpload, OwnerOf

__all__ = ("create_upload_router",)

_DAY = 24 * 3600


def create_upload_router(
    path: str,
    column: InstrumentedAttribute[Any] | None = None,
    *,
    backend: str | None = None,
    rules: Sequence[Rule] = (),
    key_template: str | None = None,
    guards: Sequence[Callable[..., Any]] | None = None,
    public: bool = False,
    owner: OwnerOf | None = None,
    authorize: AuthorizeUpload | None = None,
    max_bytes: int | None = None,
    expires_in: int = _DAY,
    max_open_per_owner: int | None = 100,
    experimental_http_uploads: bool = False,
    form_page: str | None = None,
    tags: Sequence[str] | None = None,
    include_in_schema: bool = False,
    security: Sequence[dict[str, list[str]]] | None = None,
    opt: Mapping[str, Any] | None = None,
    middleware: Sequence[Middleware] | None = None,
    exception_handlers: Mapping[int | type[Exception], Callable[..., Any]] | None = None,
    router_class: type[Router] = Router,
) -> Router:
    """Return a router that takes resumable uploads by tus 1.0.0, for files that a form or JSON refers to later.

    The last answer of an upload has the header ``Filestore-Reference``. Its value is accepted where a file is expected.

    Args:
        path: Path of the uploads.
        column: Attribute of a mapped class that will hold the files. Its backend, key template and rules apply.
        backend: Key of the backend that the files go to, instead of a column.
        rules: Rules for the files, in addition to those of the column; a rule here replaces the column's of its class.
        key_template: Template of the keys, instead of the column's or the backend's.
        guards: Guards of the routes, as in Litestar. Either these or `public` has to be given.
        public: Whether everybody may upload.
        owner: Returns the owner of what a connection uploads. The uploads of others do not exist for it, and quotas
            count for this owner. ``None`` takes the value of `owner_of_new_objects`; if that is ``None`` too, an upload
            belongs to all who know its URL.
        authorize: Called with the connection, the upload's metadata (texts by name) and ``"read"``, ``"write"`` or
            ``"delete"``. Only a true value permits the request.
        max_bytes: Largest file in bytes, in addition to the limits of the backend and the rules.
        expires_in: Seconds after which an upload to which nothing comes is removed.
        max_open_per_owner: How many unfinished uploads an owner, or else a client's address, may have; ``None`` for any
            number.
        experimental_http_uploads: Whether the routes also speak the IETF's draft "Resumable Uploads for HTTP" in its
            interop version 8. It changes with the draft, whatever the version of this package.
        form_page: Path of the page of this site to which browsers go after they have sent a plain form, with the
            ``reference`` of the file among the parameters of its query. ``None`` lets them stay where they are.
        tags: As in Litestar, like all arguments below.
        include_in_schema: Whether the routes are in the OpenAPI document.
        security: Security requirements of the OpenAPI document.
        opt: Values for guards and middleware.
        middleware: Middleware of these routes.
        exception_handlers: Exception handlers of these routes.
        router_class: Class of the router.

    Raises:
        ConfigurationError: If the routes would be open by accident, or cannot work.
    """
    check_access(path, guards, public=public)
    if (column is None) == (backend is None):
        raise ConfigurationError(
            "create_upload_router stores for either a column or a backend: give column= or backend="
        )
    if expires_in < 1 or (max_open_per_owner is not None and max_open_per_owner < 1):
        raise ConfigurationError("expires_in and max_open_per_owner must be at least 1")
    # Browsers take //host, and /\\host as well, for another site, which would get references to files.
    if form_page is not None and not re.fullmatch(r"/([\w.~-][\w.~/-]*)?", form_page, re.ASCII):
        raise ConfigurationError(f"form_page must be a path of this site, such as /documents/new, not {form_page!r}")
    planned = replace(_planned(column, FileField(backend, tuple(rules), key_template)), max_bytes=max_bytes)
    place = "/" + path.strip("/")
    of_all = place, planned, owner, authorize, expires_in, max_open_per_owner, form_page
    routes, spoken = ResumableRoutes(*of_all), TusMiddleware()
    if experimental_http_uploads:
        routes = ExperimentalRoutes(*of_all)
        spoken = ExperimentalMiddleware(routes)
    return router_class(
        path=path,
        route_handlers=[*routes.handlers(guards), *DirectRoutes(routes).handlers(guards)],
        tags=tags,
        include_in_schema=include_in_schema,
        security=security,
        opt=opt,
        middleware=[spoken, *(middleware or ())],
        exception_handlers=dict(exception_handlers) if exception_handlers else None,
    )


def _planned(column: Any, said: FileField) -> PlannedFile:
    if column is None:
        return plan_file("file", said)
    if not isinstance(column, InstrumentedAttribute) or not isinstance(column.type, StoredObject):
        raise ConfigurationError(
            f"column= must be an attribute of a mapped class that holds files, such as Document.file, not {column!r}"
        )
    return plan_file(column.key, said, column.type, column.parent.class_)
