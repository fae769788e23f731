"""Filenames: makes them safe on the way in, and writes them into ``Content-Disposition`` on the way out.

A display name is only for people. It is kept apart from the key, and no path on the server is made from it. But a
browser saves the file under this name, so no system may take it for something else.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from litestar_filestore.sansio.active_types import INLINE_EXTENSIONS, is_active

if TYPE_CHECKING:
    from typing import Literal

__all__ = (
    "DEFAULT_FILENAME",
    "MAX_FILENAME_BYTES",
    "aligned_filename",
    "content_disposition",
    "declared_filename",
    "safe_filename",
)

MAX_FILENAME_BYTES: Final = 200
"""Longest display name in UTF-8 bytes: file systems allow 255, and browsers add `` (1)``."""
DEFAULT_FILENAME: Final = "download"
"""Name of a file if nothing of its own name is left."""

# Normalising sorts runs of combining marks in quadratic time, so the middle of a long name is cut out before.
_READ_CHARS = 512
_MAX_SUFFIX_BYTES = 32
# Cc and Cf can end a header or reverse the reading direction (U+202E shows "exe.fdp" as "pdf.exe"); Cs cannot be
# encoded; Co and Cn look different everywhere; Zl and Zp are line breaks.
_SAFE = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9 ._-]{0,198}[A-Za-z0-9_-])?")  # unless it is reserved
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Not allowed in names on Windows, or a quote that ends the parameter; some browsers decode "%" once more.
_UNSAFE_CHARS = frozenset('<>:"|?*%/\\')
_EDGES = " .\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# Device names of Windows, with any extension; the superscript digits count as digits there.
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])")
# RFC 8187 section 3.2.1: attr-char, besides letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"
_MAX_HEADER_CHARS = 2048
_PARAMETER = re.compile(r';[ \t]*(filename\*?)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;" \t]+))', re.IGNORECASE)
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE)


def safe_filename(name: str) -> str:
    r"""Return a safe display name for a client's filename. Idempotent.

    Args:
        name: Any text: a path of any system, control characters, lone surrogates, the empty string.

    Returns:
        1 to 200 UTF-8 bytes of Unicode NFC: the last segment after ``/`` or ``\``. Characters that could affect a
        terminal, a header, a path or the reading direction are replaced with ``_``. No blanks or dots at either end,
        and no device name of Windows. Shortening keeps the extension. ``"download"`` if nothing is left.
    """
    if _SAFE.fullmatch(name) and not _RESERVED.fullmatch(name.partition(".")[0].rstrip(" ")):
        return name  # as most are
    last = name.replace("\\", "/").rpartition("/")[2]
    if len(last) > 2 * _READ_CHARS:
        last = last[:_READ_CHARS] + last[-_READ_CHARS:]
    clean = _without_unsafe(unicodedata.normalize("NFC", last)).strip(_EDGES)
    shortened = _shortened(clean)
    if _RESERVED.fullmatch(shortened.partition(".")[0].rstrip(_EDGES)):
        shortened = _shortened(f"_{shortened}")
    return shortened or DEFAULT_FILENAME


def _without_unsafe(text: str) -> str:
    return "".join(
        "_" if char in _UNSAFE_CHARS or unicodedata.category(char) in _UNSAFE_CATEGORIES else char for char in text
    )


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        stem, dot, suffix = name, "", ""
    room = MAX_FILENAME_BYTES - len(suffix.encode()) - len(dot)
    # Cut between characters: "ignore" drops half of one.
    return stem.encode()[:room].decode(errors="ignore").rstrip(_EDGES) + dot + suffix


def declared_filename(header: str | None) -> str:
    """Return the filename that a client gives in ``Content-Disposition`` (RFC 6266), which is not safe to use.

    Args:
        header: The header as it was received, in ISO-8859-1. Many clients send UTF-8.

    Returns:
        ``filename*`` if it can be read, else ``filename``; empty if there is none.
    """
    if header is None or len(header) > _MAX_HEADER_CHARS:
        return ""
    found = {each[1].lower(): each for each in _PARAMETER.finditer(header)}
    if "filename*" in found and (extended := _EXTENDED.fullmatch(found["filename*"][3] or "")) is not None:
        return unquote(extended[2], extended[1], "replace")
    if (plain := found.get("filename")) is None:
        return ""
    name = plain[3] if plain[2] is None else re.sub(r"\\(.)", r"\1", plain[2])
    try:
        return name.encode("latin-1").decode("utf-8")
    except ValueError:
        return name


def aligned_filename(name: str, content_type: str) -> str:
    """Return `name` with an extension that matches the content.

    Once saved, a picture called ``x.html`` would open in a browser and run as a page, so it becomes ``x.html.png``.
    Only types that are shown inline have an extension that can be enforced; other names are unchanged.

    Args:
        name: A display name.
        content_type: The verified type, without parameters.
    """
    extensions = INLINE_EXTENSIONS.get(content_type)
    if extensions is None or name.lower().endswith(extensions):
        return name
    if content_type == "text/plain" and not is_active(mimetypes.guess_type(name, strict=False)[0] or ""):
        return name  # source code, configuration, logs: text has more extensions than any list can hold
    return safe_filename(f"{_room_for(name, extensions[0])}{extensions[0]}")


def _room_for(name: str, extension: str) -> str:
    room = MAX_FILENAME_BYTES - len(extension)
    return name.encode()[:room].decode(errors="ignore") if len(name.encode()) > room else name


def content_disposition(kind: Literal["attachment", "inline"], filename: str) -> str:
    """Return the value of a ``Content-Disposition`` header (RFC 6266), in pure ASCII without line breaks.

    Args:
        kind: ``"attachment"`` to save the content, ``"inline"`` to show it.
        filename: Name to save it under; it always passes through `safe_filename`.

    Returns:
        The ASCII form of the name in ``filename``, and the full name in ``filename*`` (RFC 8187) if they differ.
    """
    name = safe_filename(filename)
    fallback = _ascii_name(name)
    value = f'{kind}; filename="{fallback}"'
    return value if fallback == name else f"{value}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def _ascii_name(name: str) -> str:
    if name.isascii():
        return name
    # Drops accents ("Résumé" -> "Resume"); compatibility forms may decompose into "/" or a quote.
    decomposed = unicodedata.normalize("NFKD", name)
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    plain = _without_unsafe("".join(char if char.isascii() else "_" for char in kept))
    stem, dot, suffix = plain.rpartition(".")
    if not dot:
        stem, suffix = plain, ""
    if not any(char.isalnum() for char in stem):
        stem = DEFAULT_FILENAME
    return safe_filename(f"{stem}{dot}{suffix}" if suffix.isalnum() else stem)
