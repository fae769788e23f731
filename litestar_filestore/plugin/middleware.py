"""Middleware for each request: provides the URLs of files to encoders, and owns the files of the request."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from litestar_filestore.core.file_object import Answering, answering
from litestar_filestore.core.threads import finish
from litestar_filestore.ledger.intents import leases_renewed
from litestar_filestore.links.urls import signer_here
from litestar_filestore.uploads.intake import RequestFiles
from litestar_filestore.uploads.plan import UploadForm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from litestar import Litestar
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.links.signer import LinkSigner
    from litestar_filestore.plugin.config import URLBuilder
    from litestar_filestore.uploads.intake import UploadSettings
    from litestar_filestore.uploads.plan import PlannedFile
    from litestar_filestore.uploads.storing import ApplicationStorer

__all__ = (
    "FilestoreMiddleware",
    "OwnershipMiddleware",
    "check_uploads",
)


class FilestoreMiddleware(ASGIMiddleware):
    """Makes the application's URL builder known while a connection is being answered.

    Encoders get only a value, so the connection is passed in a context variable. It is set even without a builder: an
    application mounted in another one must not show the other's URLs.
    """

    def __init__(self, build: URLBuilder | None, links: LinkSigner | None = None) -> None:
        """Use `build` for every connection, else `links`, and `links` for everything else that makes links."""
        self._build = build
        self._links = links

    def _links_here(self, scope: Scope) -> LinkSigner | None:
        if self._links is not None:
            # That of the last request is kept: all requests have the same prefix, unless the application is mounted
            # twice.
            self._links = signer_here(self._links, scope)
        return self._links

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer the connection with the builder set."""
        links, here = self._links_here(scope), answering.get()
        build_url: Callable[[FileObject], str | None] | None = links.link_of if links is not None else None
        if self._build is not None:
            build_url = _bound(self._build, scope)
        token = answering.set(Answering(here.keeper if here is not None else None, links, build_url))
        try:
            await next_app(scope, receive, send)
        finally:
            answering.reset(token)


def _bound(build: URLBuilder, scope: Scope) -> Callable[[FileObject], str | None]:
    """Return a URL builder for one connection, which is wrapped when the first file needs it."""

    @cache
    def connection() -> ASGIConnection[Any, Any, Any, Any]:
        return ASGIConnection(scope)

    return lambda file: build(file, connection())


logger = logging.getLogger("litestar_filestore")

_RELEASE_SECONDS = 10.0
"""How long the end of a request waits for a store or a database that does not answer."""


class OwnershipMiddleware(ASGIMiddleware):
    """Owns the files of each request until rows take them or the handler keeps them.

    This is a middleware because nothing else sees the end of every request: the hooks of handlers and responses are not
    called if an error reaches the server or the client has gone.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, storer: ApplicationStorer, settings: UploadSettings) -> None:
        """Use `storer` to store files and to give them up."""
        self._storer = storer
        self._settings = settings

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer the request, and give up the files that it still owns."""
        files = RequestFiles(self._storer, self._settings)
        files.attach(cast("dict[str, Any]", scope))
        status: list[int] = []

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        token = answering.set((answering.get() or Answering())._replace(keeper=files))
        try:
            async with leases_renewed():
                await next_app(scope, receive, noting)
        finally:
            answering.reset(token)
            count = len(files)
            try:
                # The usual request ends here: its rows are committed, so there is nothing to ask the ledger about.
                if files.let_go_of_taken():
                    await finish(_release(files, count, scope, status), seconds=_RELEASE_SECONDS)
            except TimeoutError:
                # The answer is sent, but servers wait for this to end before they shut down.
                logger.warning(
                    "%d uploaded files could not be given up within %g s; what no row has taken is left to its lease",
                    len(files),
                    _RELEASE_SECONDS,
                )


async def _release(files: RequestFiles, count: int, scope: Scope, status: list[int]) -> None:
    given_up = await files.release()
    if given_up and status and 200 <= status[0] < 300:  # noqa: PLR2004  # RFC 9110 §15.3: successful
        logger.warning(
            "%s answered %d, but %d of %d uploaded files went into no row and are deleted: assign them to a row and "
            "commit, or call 'await storages.keep(file)'",
            cast("dict[str, Any]", scope).get("route_handler"),
            status[0],
            given_up,
            count,
        )


def check_uploads(app: Litestar, storer: ApplicationStorer, backends: Sequence[StorageBackend]) -> None:
    """Make sure that, for every form of an application, only one ledger can take its files.

    Raises:
        ConfigurationError: If several can.
    """
    for planned in _planned_files(app):
        backend = planned.backend or next((each.key for each in backends), None)
        if backend is not None:
            storer.storer_for(planned.model, backend)


def _planned_files(app: Litestar) -> Iterator[PlannedFile]:
    for route in app.routes:
        for handler in cast("Sequence[Any]", getattr(route, "route_handlers", ())):
            for form in handler.opt.values():
                if isinstance(form, UploadForm):
                    yield from form.files
