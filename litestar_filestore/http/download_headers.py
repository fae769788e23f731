"""Headers under which untrusted content may leave the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.sansio.active_types import PDF_TYPE, served_type, type_name
from litestar_filestore.sansio.disposition import aligned_filename, content_disposition

if TYPE_CHECKING:
    from litestar_filestore.core.linking import Disposition
    from litestar_filestore.http.download_config import DownloadConfig

__all__ = ("content_headers", "protective_headers")

_NOTHING = "default-src 'none'"
# A browser shows a picture or a video in a page of its own making, which has a style and loads the file once more.
_VIEWER = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'"


def content_headers(
    content_type: str, filename: str, disposition: Disposition, config: DownloadConfig
) -> dict[str, str]:
    """Return the type and the disposition of a file.

    Args:
        content_type: The verified type.
        filename: Display name.
        disposition: What the application wishes; a type that is not allowed in place is saved all the same.
        config: Names the types that are.
    """
    name = type_name(content_type)
    kind: Disposition = "inline" if disposition == "inline" and name in config.inline_types else "attachment"
    return {
        "content-type": served_type(content_type, config.served_types),
        "content-disposition": content_disposition(kind, aligned_filename(filename, name)),
    }


def protective_headers(content_type: str, disposition: Disposition, config: DownloadConfig) -> dict[str, str]:
    """Return the headers that keep content from acting in the name of the site that serves it.

    None of them alone does: the disposition and the type keep a browser from showing active content, the policy keeps
    it from running any where it is shown all the same, and the rest keeps other sites and leftovers away.
    """
    name = type_name(content_type)
    is_inline = disposition == "inline" and name in config.inline_types
    policy = f"{_VIEWER if is_inline else _NOTHING}; frame-ancestors 'none'"
    if not (is_inline and name == PDF_TYPE):  # Chromium does not start its PDF viewer in a sandboxed document
        policy = f"{policy}; sandbox"
    return {
        # Content is not guessed: a script hidden in a picture stays a picture.
        "x-content-type-options": "nosniff",
        "content-security-policy": policy,
        # Other sites cannot load the file into a process of theirs, and so not read it by side channels.
        "cross-origin-resource-policy": config.cross_origin_resource_policy,
        "cross-origin-opener-policy": "same-origin",
        # The address of a file may be all that it takes to read it.
        "referrer-policy": "no-referrer",
    }
