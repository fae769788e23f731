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
    leaves ``raw_path`` alone. What the client adds to it (slashes, escapes) is not part of the prefix. Neither is the
    path at which the application itself has mounted what answers: Litestar has cut that as well.
    """
    slots: dict[str, Any] = scope  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    seen: str = slots["path"].rstrip("/")
    whole: str = slots.get("raw_path", b"").partition(b"?")[0].decode("latin-1").rstrip("/")
    if whole == seen and "%" not in whole:
        return ""  # as for nearly every request: nothing is before the path
    whole = unquote(whole).rstrip("/")
    seen = max((at + seen for at in _own_mounts(slots) if whole.endswith(at + seen)), key=len, default=seen)
    before = whole.removesuffix(seen) if whole.endswith(seen) else str(slots.get("root_path", ""))
    segments = [segment for segment in before.split("/") if segment]
    return "".join(f"/{segment}" for segment in segments)


def _own_mounts(scope: dict[str, Any]) -> list[str]:
    """Return where the application has mounted the handler that answers, if it is a mount."""
    handler = scope.get("route_handler")
    if not getattr(handler, "is_mount", False):
        return []
    return [each.path for each in scope["litestar_app"].routes if getattr(each, "route_handler", None) is handler]
