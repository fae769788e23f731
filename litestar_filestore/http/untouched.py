"""Sees to it that nothing on its way out changes the answer to a download."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from litestar.types import Scope

__all__ = ("refuse_alterations", "refuse_cache")


def refuse_cache(handler: Any) -> None:
    """Refuse the response cache on a handler of files.

    Its key knows nothing of ranges: it would give the two bytes that one client asked for to the next, who wants all.

    Raises:
        ConfigurationError: If the handler is cached.
    """
    if handler.cache is not False:
        raise ConfigurationError(
            f"{handler}: remove cache= from this handler. Litestar would answer every request with the range that was "
            "asked for first; caching by clients is set with FileDownload(cache_control=)"
        )


def refuse_alterations(scope: Scope) -> None:
    """Refuse a download that Litestar's middleware would change.

    Start-up excludes every handler whose annotation shows that it returns files. One annotated ``Response`` does not.

    Raises:
        ConfigurationError: If the handler is cached, or the compression middleware is around it.
    """
    slots = cast("dict[str, Any]", scope)
    handler, app = slots.get("route_handler"), slots.get("litestar_app") or slots.get("app")
    if handler is None:  # not called by Litestar's router
        return
    if hasattr(handler, "cache"):
        refuse_cache(handler)
    compression = getattr(app, "compression_config", None)
    if compression is not None and not _is_excluded(compression, handler, slots):
        raise ConfigurationError(
            f"{handler}: annotate the handler with FileDownload, so that compression leaves it alone: a compressed "
            "range is none"
        )


def _is_excluded(compression: Any, handler: Any, scope: dict[str, Any]) -> bool:
    if compression.exclude_opt_key and handler.opt.get(compression.exclude_opt_key):
        return True
    patterns = [compression.exclude] if isinstance(compression.exclude, str) else (compression.exclude or [])
    return bool(patterns) and re.search("|".join(patterns), scope["path"]) is not None
