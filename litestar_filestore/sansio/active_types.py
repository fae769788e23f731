"""Which types a browser may show in place, and which it would execute.

The lists of Rails' ActiveStorage and of tusd, narrowed to what browsers decode without running anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "ACTIVE_TYPES",
    "DEFAULT_CONTENT_TYPE",
    "INLINE_EXTENSIONS",
    "INLINE_TYPES",
    "PDF_TYPE",
    "served_type",
    "type_name",
)

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"
"""What is served where the stored type is unknown, malformed or active: no program is started for it."""
PDF_TYPE: Final = "application/pdf"
"""Shown in place on request only: its viewers parse much, and do not start in a sandboxed document."""

INLINE_EXTENSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "image/avif": (".avif",),
    "audio/mpeg": (".mp3",),
    "audio/mp4": (".m4a", ".mp4"),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "audio/wav": (".wav",),
    "audio/x-wav": (".wav",),
    "audio/flac": (".flac",),
    "audio/webm": (".weba", ".webm"),
    "video/mp4": (".mp4", ".m4v"),
    "video/webm": (".webm",),
    "video/ogg": (".ogv", ".ogg"),
    "text/plain": (".txt",),
}
"""Types that may be shown in place, and the extensions that fit them; the first is the usual one."""

INLINE_TYPES: Final = frozenset(INLINE_EXTENSIONS)
"""Types that may be shown in place: nothing in them is executed."""

ACTIVE_TYPES: Final = frozenset(
    {
        "application/ecmascript",
        "application/hta",
        "application/javascript",
        "application/mathml+xml",
        "application/postscript",
        "application/rdf+xml",
        "application/wasm",
        "application/x-javascript",
        "application/x-shockwave-flash",
        "application/xhtml+xml",
        "application/xml",
        "application/xslt+xml",
        "image/svg+xml",
        "text/cache-manifest",
        "text/css",
        "text/ecmascript",
        "text/html",
        "text/javascript",
        "text/xml",
        "text/xsl",
    }
)
"""Types whose content can run a script, style a page or load others. They are saved, as bytes of no type."""

# type "/" subtype of RFC 9110 section 8.3.1, both tokens.
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


def type_name(content_type: str) -> str:
    """Return ``type/subtype`` in lower case without parameters; `DEFAULT_CONTENT_TYPE` for what is malformed."""
    name = content_type.partition(";")[0].strip().lower()
    # Anchored, and one type only: "text/html;image/png" and "image/pngx" have each passed for a picture somewhere.
    return name if _TYPE.fullmatch(name) else DEFAULT_CONTENT_TYPE


def served_type(content_type: str) -> str:
    """Return the value of ``Content-Type`` under which stored content may leave the server.

    Active types become `DEFAULT_CONTENT_TYPE`, as do ``multipart/*`` (its parts have types of their own) and any XML.
    Text is declared as UTF-8: a browser that has to guess takes ``+ADw-script+AD4-`` for UTF-7.
    """
    name = type_name(content_type)
    if name in ACTIVE_TYPES or name.startswith(("multipart/", "message/")) or name.endswith("+xml"):
        return DEFAULT_CONTENT_TYPE
    return f"{name}; charset=utf-8" if name.startswith("text/") else name
