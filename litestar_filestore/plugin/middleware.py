"""Ties what encoders need to the connection that is being answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.connection import ASGIConnection
from litestar.middleware import ASGIMiddleware

from litestar_filestore.core.linking import answering_links
from litestar_filestore.core.public import url_builder
from litestar_filestore.plugin.links import signer_here

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.http.links import LinkSigner
    from litestar_filestore.plugin.config import URLBuilder

__all__ = ("FilestoreMiddleware",)


class FilestoreMiddleware(ASGIMiddleware):
    """Makes the application's URL builder known while a connection is being answered.

    Encoders are given a value and nothing else, so the connection travels in a context variable. It is set even without
    a builder: an application mounted in another must not hand out the other's URLs.
    """

    def __init__(self, build: URLBuilder | None, links: LinkSigner | None = None) -> None:
        """Use `build` for every connection, or no builder at all, and `links` for whatever else asks for links."""
        self._build = build
        self._links = links

    def _links_here(self, scope: Scope) -> LinkSigner | None:
        if self._links is not None:
            # The one of the last request is kept: they come in at one place, unless the application is mounted twice.
            self._links = signer_here(self._links, scope)
        return self._links

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer the connection with the builder set."""
        token = url_builder.set(self._bound(scope))
        links_token = answering_links.set(self._links_here(scope))
        try:
            await next_app(scope, receive, send)
        finally:
            answering_links.reset(links_token)
            url_builder.reset(token)

    def _bound(self, scope: Scope) -> _BoundBuilder | None:
        return _BoundBuilder(self._build, scope) if self._build is not None else None


class _BoundBuilder:
    """A URL builder for one connection, which is wrapped when the first file asks."""

    __slots__ = ("_build", "_connection", "_scope")

    def __init__(self, build: URLBuilder, scope: Scope) -> None:
        self._build = build
        self._scope = scope
        self._connection: ASGIConnection[Any, Any, Any, Any] | None = None

    def __call__(self, file: FileObject) -> str | None:
        if self._connection is None:
            self._connection = ASGIConnection(self._scope)
        return self._build(file, self._connection)
