"""The application's own links: their routes, and the URLs that responses show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar_filestore.core.linking import LinkWish
from litestar_filestore.http.link_routes import make_link_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.connection import ASGIConnection

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.http.links import LinkSigner
    from litestar_filestore.plugin.config import FilestoreConfig, URLBuilder

__all__ = ("link_builder", "link_routes")

_WISH = LinkWish(native=False)  # making the store's own link may take a request for credentials


def link_builder(signer: LinkSigner | None) -> URLBuilder | None:
    """Return what fills the `url` of files in responses with the application's links."""
    if signer is None:
        return None

    def build(file: FileObject, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
        del connection  # what a client says about host and scheme is not repeated to others
        return signer.url_for(file, _WISH) if file.key is not None else None

    return build


def link_routes(config: FilestoreConfig) -> Sequence[Any]:
    """Return the handlers that the application needs to serve its links."""
    if config.signer is None:
        return ()
    return make_link_routes(config.signer, config.registry, config.limits)
