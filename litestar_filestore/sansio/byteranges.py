"""``multipart/byteranges``: several ranges of one object in one answer (RFC 9110 section 14.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar_filestore.sansio.ranges import ByteRange

__all__ = ("RangesBody",)


class RangesBody(NamedTuple):
    """The frame around several ranges. Its length is known before a byte of the object is read."""

    ranges: Sequence[ByteRange]
    """What is sent, in this order."""
    size: int
    """Length of the whole object in bytes."""
    part_type: str
    """Media type of the object."""
    boundary: str
    """Separates the parts. It must be random: content that holds it would be cut there."""

    @property
    def content_type(self) -> str:
        """Media type of the answer."""
        return f"multipart/byteranges; boundary={self.boundary}"

    @property
    def content_length(self) -> int:
        """Length of the answer in bytes."""
        return sum(len(self.head_of(each)) + each.length for each in self.ranges) + len(self.tail)

    def head_of(self, part: ByteRange) -> bytes:
        """Return what stands before the bytes of a range, the line break that ends the part before it included."""
        lines = (
            f"\r\n--{self.boundary}",
            f"Content-Type: {self.part_type}",
            f"Content-Range: {part.content_range(self.size)}",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii")

    @property
    def tail(self) -> bytes:
        """What ends the answer."""
        return f"\r\n--{self.boundary}--\r\n".encode("ascii")
