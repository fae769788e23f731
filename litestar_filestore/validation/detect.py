"""What a file really is, told from its first bytes.

First bytes prove nothing about safety: one file can be a valid image and a valid script. They keep honest mistakes out
and decide the type that a file is served as; what makes serving safe are the headers of the response.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import filetype  # pyright: ignore[reportMissingTypeStubs]

from litestar_filestore.validation.media_types import UNKNOWN, canonical, extension_of, types_of_extension
from litestar_filestore.validation.text import is_text_type, read_text, text_type

__all__ = ("Detector", "SignatureDetector", "default_detector")

_library: Any = filetype  # it has no type annotations


class Detector(Protocol):
    """Tells the media type of content. It runs on the event loop and on hostile input: keep it fast and bounded."""

    @property
    def head_bytes(self) -> int:
        """How many of the first bytes it wants."""
        ...

    def detect(self, head: bytes, *, filename: str) -> str:
        """Return the media type, lower case and without parameters; ``application/octet-stream`` if nothing is known.

        Args:
            head: The whole content, or at least `head_bytes` of it.
            filename: The client's name. It may choose among types that the content leaves open, nothing more.
        """
        ...


class SignatureDetector:
    """Tells binary types by their signatures, with the library ``filetype``, and text by being text.

    Text has the type of its extension if that is a text type, else it is ``text/plain``; mark-up that browsers run is
    told from other text. Content that is neither text nor has a signature has the type of its extension only if that
    is a type without a signature, as the formats of many programs are.
    """

    head_bytes = 8192

    def detect(self, head: bytes, *, filename: str) -> str:
        """Return the media type; see `Detector`."""
        head, cut = head[: self.head_bytes], len(head) >= self.head_bytes
        claimed = types_of_extension(extension_of(filename))
        if not head:
            return next(filter(is_text_type, claimed), UNKNOWN)
        found = _signature_type(head)
        text = read_text(head, cut=cut)
        # "BM" alone makes a bitmap for the library, but no bitmap is printable; and letters begin like that too.
        if text is not None and found not in _TEXT_WITH_SIGNATURE:
            return text_type(text, claimed)
        if found is None:
            return next((each for each in claimed if not _has_signature(each)), UNKNOWN)
        if found in claimed:
            return found
        return next((each for each in claimed if _may_be(head, found, each)), found)


_TEXT_WITH_SIGNATURE = frozenset({"application/pdf", "application/postscript", "application/rtf"})
_OLE = "application/x-ole-storage"
_OOXML = (b"[Content_Types].xml", b"_rels/.rels")

# Containers whose signature leaves open what is inside: the extension chooses, where the content has the marks of it.
_CONTAINED: dict[str, dict[str, tuple[bytes, ...]]] = {
    "application/zip": {
        "application/java-archive": (b"META-INF/",),
        "application/vnd.android.package-archive": (b"META-INF/", b"AndroidManifest.xml", b"classes.dex"),
        "application/vnd.ms-word.document.macroenabled.12": _OOXML,
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": (*_OOXML, b"ppt/"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": (*_OOXML, b"xl/"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (*_OOXML, b"word/"),
    },
    _OLE: {
        "application/msword": (b"",),
        "application/vnd.ms-excel": (b"",),
        "application/vnd.ms-outlook": (b"",),
        "application/vnd.ms-powerpoint": (b"",),
    },
    "audio/ogg": {"video/ogg": (b"",), "application/ogg": (b"",)},
    "image/apng": {"image/png": (b"",)},
    "image/heic": {"image/heif": (b"",)},
    "video/mp4": {"audio/mp4": (b"",)},
    "video/webm": {"audio/webm": (b"",)},
}
_SIGNED = frozenset(
    {canonical(cast("str", each.mime)) for each in _library.TYPES}
    | {each for inside in _CONTAINED.values() for each in inside}
) - {UNKNOWN}


def _signature_type(head: bytes) -> str | None:
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _OLE
    if head.startswith(b"wOF2"):
        return "font/woff2"  # filetype 1.2.0 calls it by the name of the format before it
    found = _library.guess(head)
    type_ = None if found is None else canonical(cast("str", found.mime))
    return None if type_ == UNKNOWN else type_


def _has_signature(content_type: str) -> bool:
    return content_type in _SIGNED or is_text_type(content_type)


def _may_be(head: bytes, found: str, claimed: str) -> bool:
    return any(mark in head for mark in _CONTAINED.get(found, {}).get(claimed, ()))


default_detector: Detector = SignatureDetector()
"""The one that is used where none is named."""
