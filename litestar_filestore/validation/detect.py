"""Detects the type of a file from its bytes.

The bytes prove nothing about safety: one file can be both a valid image and a valid script. Detection catches honest
mistakes and decides the type that a file is served as; the response headers are what makes serving safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from litestar_filestore.validation.media_types import (
    UNKNOWN,
    Claims,
    choose,
    extension_of,
    is_text_type,
    types_of_extension,
)
from litestar_filestore.validation.reading import Passage
from litestar_filestore.validation.signatures import BY_NAME, signature_of
from litestar_filestore.validation.text import read_text, text_type

if TYPE_CHECKING:
    from litestar_filestore.core.rule import Reading
    from litestar_filestore.validation.signatures import Signature

__all__ = ("Detector", "ReadingDetector", "SignatureDetector", "default_detector")


class Detector(Protocol):
    """Detects the media type of content. It runs on the event loop and on hostile input: keep it fast and bounded."""

    @property
    def head_bytes(self) -> int:
        """Number of first bytes that it needs."""
        ...

    def detect(self, head: bytes, *, filename: str) -> str:
        """Return the media type, lower case and without parameters; ``application/octet-stream`` if nothing is known.

        Args:
            head: The first `head_bytes` of the content, or all of it if it is shorter.
            filename: The client's name. It may only choose among types that the content leaves open.
        """
        ...


class ReadingDetector(Detector, Protocol):
    """A detector that may read on if the first bytes do not decide."""

    def confirm(self, head: bytes, *, filename: str) -> Reading[str] | None:
        """Return a reading that goes on until the type is known; ``None`` if the result of `detect` is final.

        Called only for content longer than `head_bytes`; `detect` sees all of shorter content.
        """
        ...


class SignatureDetector:
    """Detects binary types by a table of signatures and the directories of containers, and text by its characters.

    The bytes decide the type. If they allow several, the extension of the name chooses among those only: a text may be
    a CSV file, but an archive without the right directory is never a DOCX. Markup that browsers run is distinguished
    from other text. Content that fits nothing is ``application/octet-stream``, whatever its name.
    """

    head_bytes = 64 * 1024

    def detect(self, head: bytes, *, filename: str) -> str:
        """Return the media type; see `Detector`."""
        claimed = types_of_extension(extension_of(filename))
        if not head:
            return next(filter(is_text_type, claimed), UNKNOWN)
        head = head[: self.head_bytes]
        found = signature_of(head)
        if found is None or found.printable:
            text = read_text(head, cut=len(head) == self.head_bytes, padded=found is None)
            if text is not None:
                return _of_text(text_type(text, claimed), head, claimed)
            found = found or _by_name(head, claimed)
        if found is None:
            return "application/pdf" if _has_late_pdf(head) else UNKNOWN
        if found.read is not None:
            reading = found.read(head, claimed)
            passage = Passage(reading, head)
            if len(head) < self.head_bytes:
                passage.end()
            if passage.wanted is None:
                return passage.result or UNKNOWN
            reading.close()
        return _first_guess(found, head, claimed)

    def confirm(self, head: bytes, *, filename: str) -> Reading[str] | None:
        """Return the reading that goes on; see `ReadingDetector`."""
        head = head[: self.head_bytes]
        if not head:
            return None
        claimed = types_of_extension(extension_of(filename))
        found = signature_of(head)
        if found is None or found.printable:
            if read_text(head, cut=True, padded=found is None) is not None:
                return None
            found = found or _by_name(head, claimed)
        return None if found is None or found.read is None else found.read(head, claimed)


def _first_guess(found: Signature, head: bytes, claimed: Claims) -> str:
    return found.tell(head, claimed) if found.tell is not None else choose(found.types, claimed)


def _by_name(head: bytes, claimed: Claims) -> Signature | None:
    """Return the row of a type without a magic number that the name claims, if the bytes fit it."""
    for each in claimed:
        row = BY_NAME.get(each)
        if row is not None and row.fits is not None and row.fits(head):
            return row
    return None


def _has_late_pdf(head: bytes) -> bool:
    # Readers accept up to 1,024 bytes before it, such as printer commands or mail headers (ISO 32000-1, annex H.3).
    return head.find(b"%PDF-", 0, 1029) >= 0


def _of_text(found: str, head: bytes, claimed: Claims) -> str:
    return "application/pdf" if found in _BEFORE_PDF and "application/pdf" in claimed and _has_late_pdf(head) else found


_BEFORE_PDF = frozenset({"text/plain", "application/postscript"})

default_detector: Detector = SignatureDetector()
"""Used if the application names no other."""
