"""Finds where the application's own links lead, and makes the URLs in responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from litestar_filestore.core.file_object import LinkWish, answering

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.types import Scope

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.links.signer import LinkSigner

__all__ = (
    "build_link",
    "signer_here",
)

_WISH = LinkWish(native=False)  # the store's own link may need a request for credentials


def build_link(file: FileObject, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """Return the `url` of a file in responses: a link of the application that sends them."""
    del connection  # the host and scheme that one client claims must not reach others
    here = answering.get()
    links = here.links if here is not None else None
    return links.url_for(file, _WISH) if links is not None and file.key is not None else None


def signer_here(signer: LinkSigner, scope: Scope) -> LinkSigner:
    """Return a signer whose links lead to the application that answers the connection, wherever it is mounted."""
    return signer.placed(_mounted_at(scope), scope["litestar_app"].path)


def _mounted_at(scope: Scope) -> str:
    """Return the prefix before the path that the application sees.

    If a server or Starlette has mounted it, ``root_path`` says so. Litestar's ``asgi(is_mount=True)`` cuts the path and
    leaves ``raw_path`` alone. What the client adds to it (slashes, escapes) is not part of the prefix.
    """
    slots: dict[str, Any] = scope  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    seen: str = slots["path"].rstrip("/")
    whole: str = slots.get("raw_path", b"").partition(b"?")[0].decode("latin-1").rstrip("/")
    if whole == seen and "%" not in whole:
        return ""  # as for nearly every request: nothing is before the path
    whole = unquote(whole).rstrip("/")
    before = whole.removesuffix(seen) if whole.endswith(seen) else str(slots.get("root_path", ""))
    segments = [segment for segment in before.split("/") if segment]
    return "".join(f"/{segment}" for segment in segments)
