"""Finds where the application's own links lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from litestar.types import Scope

    from litestar_filestore.links.signer import LinkSigner

__all__ = (
    "mounted_at",
    "signer_here",
)


def signer_here(signer: LinkSigner, scope: Scope) -> LinkSigner:
    """Return a signer whose links lead to the application that answers the connection, wherever it is mounted."""
    return signer.placed(mounted_at(scope), scope["litestar_app"].path)


def mounted_at(scope: Scope) -> str:
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
