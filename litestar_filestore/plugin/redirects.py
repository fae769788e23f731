"""Handlers that return redirects, as OpenAPI documents describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.http.redirects import FileRedirect

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

__all__ = ("prepare_redirect",)

_FOUND = 302
_REDIRECTS = range(300, 400)


def prepare_redirect(handler: HTTPRouteHandler) -> None:
    """Have a handler documented with the status of its redirect.

    Litestar documents the handler's status, which is 200 unless something else was said, and sends the response's.
    """
    returned = handler.parsed_return_field
    if returned.is_subclass_of(FileRedirect) and handler.status_code not in _REDIRECTS:
        handler.status_code = _FOUND
