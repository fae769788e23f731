"""Multipart bodies, right and wrong."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("BOUNDARY", "CONTENT_TYPE", "END", "Piece", "body_of", "part_of")

BOUNDARY = b"----boundary42"
CONTENT_TYPE = "multipart/form-data; boundary=----boundary42"
END = b"--" + BOUNDARY + b"--\r\n"
"""The last boundary, behind the line break that ends the last part."""


class Piece(NamedTuple):
    """A part to be sent."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None
    headers: tuple[str, ...] = ()
    """More headers, as they stand."""


def part_of(piece: Piece) -> bytes:
    """Write a part as browsers do, with its boundary before it and a line break behind it."""
    disposition = f'form-data; name="{_quoted(piece.name)}"'
    if piece.filename is not None:
        disposition += f'; filename="{_quoted(piece.filename)}"'
    lines = [f"Content-Disposition: {disposition}", *piece.headers]
    if piece.content_type is not None:
        lines.append(f"Content-Type: {piece.content_type}")
    head = "\r\n".join(lines).encode("utf-8", "surrogatepass")
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + piece.content + b"\r\n"


def body_of(*pieces: Piece) -> bytes:
    """Write a form."""
    return b"".join(part_of(each) for each in pieces) + END


def _quoted(text: str) -> str:
    """Escape what HTML has escaped in a name (HTML, "multipart/form-data encoding algorithm")."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
