"""The grammar of ``multipart/form-data`` (RFC 7578): bytes in, parts out, nothing kept.

The library ``multipart`` finds boundaries and headers; this module adds what it leaves to its caller: the boundary
itself, tricks with headers, and an end to bytes that belong to no part.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import multipart  # pyright: ignore[reportMissingTypeStubs]

from litestar_filestore.errors import MultipartError, MultipartLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("MAX_STRAY_BYTES", "Event", "FormParser", "PartHead", "form_boundary")

MAX_STRAY_BYTES: Final = 64 * 1024
"""Most bytes in a row that are neither a part's headers nor content, beyond the block in which they end."""

# RFC 2046 section 5.1.1: one to 70 characters, the last of which is no blank.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# A parameter of a header. The alternatives begin with different characters, so it takes linear time.
_PARAMETER: Final = re.compile(r';[ \t]*([^\s;="]{1,64})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
_SINGLE_HEADERS: Final = frozenset({"Content-Disposition", "Content-Type", "Content-Transfer-Encoding"})


class PartHead(NamedTuple):
    """What the headers of a part say."""

    name: str
    """Name of the form field, never empty."""
    filename: str | None
    """What the client calls the file, unchecked; ``None`` for a text field, ``""`` for a file input without a file."""
    content_type: str | None
    """What the client says it is, lower case and without parameters."""
    charset: str | None
    """Its encoding, in the client's words."""
    headers: tuple[tuple[str, str], ...]
    """All headers, with names such as ``Content-Type``."""


Event: TypeAlias = PartHead | bytes | None
"""The beginning of a part, a piece of its content that is not empty, or ``None`` for its end."""


def form_boundary(content_type: str) -> bytes | None:
    """Return the boundary that a ``Content-Type`` header announces, ``None`` if it is of another media type.

    Raises:
        MultipartError: If it announces no boundary, several, or one that RFC 2046 does not allow.
    """
    media_type, _, _ = content_type.partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    found = [value for name, value in _parameters(content_type) if name == "boundary"]
    if len(found) != 1:
        raise MultipartError("The Content-Type of the form has to announce one boundary")
    boundary = found[0].strip(" \t")
    if boundary.startswith('"'):
        boundary = boundary[1:-1].replace("\\", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise MultipartError("The boundary of the form is not one of 1 to 70 allowed characters")
    return boundary.encode("ascii")


class FormParser:
    """Turns the bytes of a form into events. Feed it blocks of 64 KiB or more: it pays for each."""

    def __init__(self, boundary: bytes, *, max_parts: int, max_headers: int, max_header_bytes: int) -> None:
        """Expect a form.

        Args:
            boundary: As `form_boundary` returns it.
            max_parts: Parts allowed.
            max_headers: Headers allowed in each part.
            max_header_bytes: Length of a header allowed, its name included.
        """
        self._parser: Any = multipart.PushMultipartParser(
            boundary,
            max_segment_count=max_parts,
            max_header_count=max_headers,
            max_header_size=max_header_bytes,
        )
        self._stray_bytes = 0

    def feed(self, block: bytes) -> Iterator[Event]:
        """Yield the events of a block, to be taken all before the next one is fed.

        Raises:
            MultipartError: If this is no form.
            MultipartLimitError: If it exceeds a limit.
        """
        stray = True
        if not self._parser.closed:  # 1.3 closes at the last boundary, 2.0 at the end of the body
            for event in self._events(block):
                stray = False
                yield event
        self._stray_bytes = self._stray_bytes + len(block) if stray else 0
        if self._stray_bytes > MAX_STRAY_BYTES:
            # Preamble, epilogue and headers without end keep a parser busy for nothing (CVE-2024-53981, and others).
            raise MultipartError("The form holds too much that belongs to no part")

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            MultipartError: If the form has not.
        """
        if self._parser.closed:
            return
        try:
            self._parser.close()
        except multipart.MultipartError as error:
            raise MultipartError("The form ends before its last boundary") from error

    def _events(self, block: bytes) -> Iterator[Event]:
        try:
            for event in self._parser.parse(block):
                yield event if event is None or isinstance(event, bytes) else _head(event)
        except multipart.ParserLimitReached as error:
            raise MultipartLimitError(f"The form is too large: {error}") from error
        except multipart.MultipartError as error:
            raise MultipartError(f"The form cannot be read: {error}") from error


def _head(segment: Any) -> PartHead:
    headers = cast("tuple[tuple[str, str], ...]", tuple(segment.headerlist))
    _check_headers(headers)
    name: str = segment.name
    if not name:
        raise MultipartError("A part of the form has no name")
    if _CONTROL.search(name):
        raise MultipartError("The name of a part holds a control character")
    return PartHead(name, segment.filename, segment.content_type, segment.charset, headers)


def _check_headers(headers: tuple[tuple[str, str], ...]) -> None:
    """Refuse what two readers may take for two different things.

    A firewall in front that reads the first of two names, while this reader takes the last, is led around by it.
    """
    names = [name for name, _ in headers if name in _SINGLE_HEADERS]
    if len(names) != len(set(names)):
        raise MultipartError("A part of the form has a header twice")
    for name, value in headers:
        if name == "Content-Disposition":
            parameters = [each for each, _ in _parameters(value)]
            if len(parameters) != len(set(parameters)):
                raise MultipartError("A part of the form names itself twice")
        elif name == "Content-Transfer-Encoding" and value.strip().lower() not in _PLAIN_ENCODINGS:
            # RFC 7578 section 4.7: senders do not use it; decoding it was an attack of its own (CVE-2026-33033).
            raise MultipartError("A part of the form has a transfer encoding")


def _parameters(header: str) -> Iterator[tuple[str, str]]:
    for found in _PARAMETER.finditer(header):
        yield found.group(1).lower(), found.group(2)
