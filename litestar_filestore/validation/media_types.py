"""Which extensions belong to which media types, and which types are one and the same."""

from __future__ import annotations

import mimetypes
import re

__all__ = ("UNKNOWN", "agree", "canonical", "extension_for", "extension_of", "matches", "types_of_extension")

UNKNOWN = "application/octet-stream"
"""The type of bytes about which nothing is known (RFC 2046 §4.5.1)."""

_EXTENSION = re.compile(r"\.[a-z0-9]{1,10}")

_SAME = {
    "application/bzip2": "application/x-bzip2",
    "application/font-sfnt": "font/ttf",
    "application/font-woff": "font/woff",
    "application/ico": "image/vnd.microsoft.icon",
    "application/javascript": "text/javascript",
    "application/x-7z": "application/x-7z-compressed",
    "application/x-compressed": "application/zip",
    "application/x-gzip": "application/gzip",
    "application/x-javascript": "text/javascript",
    "application/x-pdf": "application/pdf",
    "application/x-rar": "application/vnd.rar",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-sqlite3": "application/vnd.sqlite3",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "application/x-zstd": "application/zstd",
    "audio/mp3": "audio/mpeg",
    "audio/m4a": "audio/mp4",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "text/rtf": "application/rtf",
    "text/x-markdown": "text/markdown",
    "text/x-yaml": "application/yaml",
    "text/xml": "application/xml",
    "video/mp4v": "video/mp4",
    "video/x-m4v": "video/mp4",
}

# What Python's table lacks, has under another name, or has in some versions only.
_BY_EXTENSION: dict[str, tuple[str, ...]] = {
    ".7z": ("application/x-7z-compressed",),
    ".aac": ("audio/aac",),
    ".aif": ("audio/aiff",),
    ".aiff": ("audio/aiff",),
    ".amr": ("audio/amr",),
    ".apk": ("application/vnd.android.package-archive",),
    ".apng": ("image/apng",),
    ".avi": ("video/x-msvideo",),
    ".avif": ("image/avif",),
    ".bz2": ("application/x-bzip2",),
    ".csv": ("text/csv",),
    ".dcm": ("application/dicom",),
    ".deb": ("application/x-deb",),
    ".dll": ("application/x-msdownload",),
    ".docm": ("application/vnd.ms-word.document.macroenabled.12",),
    ".docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    ".dwg": ("image/vnd.dwg",),
    ".epub": ("application/epub+zip",),
    ".exe": ("application/x-msdownload",),
    ".flac": ("audio/flac",),
    ".gz": ("application/gzip",),
    ".heic": ("image/heic", "image/heif"),
    ".heif": ("image/heif", "image/heic"),
    ".ico": ("image/vnd.microsoft.icon",),
    ".jar": ("application/java-archive",),
    ".jfif": ("image/jpeg",),
    ".jpg": ("image/jpeg",),
    ".jxl": ("image/jxl",),
    ".m4a": ("audio/mp4",),
    ".m4v": ("video/mp4",),
    ".md": ("text/markdown",),
    ".mid": ("audio/midi",),
    ".mkv": ("video/x-matroska",),
    ".mov": ("video/quicktime",),
    ".mp3": ("audio/mpeg",),
    ".mp4": ("video/mp4", "audio/mp4"),
    ".msg": ("application/vnd.ms-outlook",),
    ".odp": ("application/vnd.oasis.opendocument.presentation",),
    ".ods": ("application/vnd.oasis.opendocument.spreadsheet",),
    ".odt": ("application/vnd.oasis.opendocument.text",),
    ".oga": ("audio/ogg",),
    ".ogg": ("audio/ogg", "video/ogg", "application/ogg"),
    ".ogv": ("video/ogg",),
    ".opus": ("audio/ogg",),
    ".otf": ("font/otf",),
    ".pptx": ("application/vnd.openxmlformats-officedocument.presentationml.presentation",),
    ".psd": ("image/vnd.adobe.photoshop",),
    ".rar": ("application/vnd.rar",),
    ".rtf": ("application/rtf",),
    ".sqlite": ("application/vnd.sqlite3",),
    ".svg": ("image/svg+xml",),
    ".tgz": ("application/gzip",),
    ".tif": ("image/tiff",),
    ".ttf": ("font/ttf",),
    ".wasm": ("application/wasm",),
    ".wav": ("audio/wav",),
    ".weba": ("audio/webm",),
    ".webm": ("video/webm", "audio/webm"),
    ".webp": ("image/webp",),
    ".woff": ("font/woff",),
    ".woff2": ("font/woff2",),
    ".wmv": ("video/x-ms-wmv",),
    ".xhtml": ("application/xhtml+xml",),
    ".xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    ".xz": ("application/x-xz",),
    ".yaml": ("application/yaml",),
    ".yml": ("application/yaml",),
    ".zip": ("application/zip",),
    ".zst": ("application/zstd",),
}
_PREFERRED = {
    "application/gzip": ".gz",
    "application/xml": ".xml",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/jpeg": ".jpg",
    "image/tiff": ".tif",
    "text/html": ".html",
    "text/javascript": ".js",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/mpeg": ".mpg",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}
# Not the one of `mimetypes.init`, which reads files of the operating system: what is allowed must not depend on them.
_PYTHON = mimetypes.MimeTypes()


def canonical(content_type: str) -> str:
    """Return the one name of a media type: lower case, without parameters, and one of those that mean the same."""
    bare = content_type.partition(";")[0].strip().lower()
    return _SAME.get(bare, bare)


def extension_of(filename: str) -> str:
    """Return the last extension of a name in lower case with its dot, ``""`` if there is none that could be one."""
    stem, dot, last = filename.rpartition(".")
    found = f"{dot}{last}".lower()
    return found if stem and _EXTENSION.fullmatch(found) else ""


def types_of_extension(ext: str) -> tuple[str, ...]:
    """Return the media types that files with this extension have, none for an extension that is not known."""
    if ext in _BY_EXTENSION:
        return _BY_EXTENSION[ext]
    found = _PYTHON.types_map[True].get(ext)
    return (canonical(found),) if found else ()


def extension_for(content_type: str, filename: str) -> str:
    """Return the extension for files of a type: that of `filename` if it belongs to it, else the usual one.

    ``""`` where no extension is known, and for `UNKNOWN`.
    """
    if content_type == UNKNOWN:
        return ""
    own = extension_of(filename)
    if content_type in types_of_extension(own):
        return own
    if content_type in _PREFERRED:
        return _PREFERRED[content_type]
    return next((ext for ext, types in _BY_EXTENSION.items() if types[0] == content_type), "") or next(
        (ext for ext, each in _PYTHON.types_map[True].items() if canonical(each) == content_type), ""
    )


def agree(filename: str, content_type: str) -> bool:
    """Return whether the extension of a name may stand on content of this type.

    An extension that is not known, or none, claims nothing. Only the last one counts, as it does for operating systems.
    """
    claimed = types_of_extension(extension_of(filename))
    return not claimed or content_type in claimed


def matches(content_type: str, pattern: str) -> bool:
    """Return whether a canonical type is `pattern`, which may end in ``/*``; compared as a whole, never by prefix."""
    kind, _, subtype = pattern.partition("/")
    return content_type == pattern or (subtype == "*" and kind in {"*", content_type.partition("/")[0]})
